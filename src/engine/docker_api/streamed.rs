//! A command in a container whose output is read part by part.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::exec::exit_code;
use super::fault::failure;
use super::frames::{Format, Output};
use super::wire::{self, Wire};
use crate::engine::{ExecStream, Stream};
use crate::failure::{Context, Result};

pub struct DockerExec {
    wire: Wire,
    id: String,
    /// For messages.
    container: String,
    output: Output<ReadHalf<wire::Stream>>,
    input: WriteHalf<wire::Stream>,
}

impl DockerExec {
    pub(super) fn new(wire: Wire, id: String, container: &str, stream: wire::Stream) -> DockerExec {
        let (reader, input) = tokio::io::split(stream);
        let output = Output::new(reader, Format::Framed);
        DockerExec { wire, id, container: container.to_owned(), output, input }
    }
}

impl ExecStream for DockerExec {
    async fn next(&mut self) -> Result<Option<(Stream, Bytes)>> {
        let next = self.output.next().await;
        next.context(format!("the output of a command in `{}` was cut off", self.container))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.input.write_all(bytes).await;
        written.context(format!("a command in `{}` takes no more input", self.container))
    }

    async fn close(&mut self) -> Result<()> {
        let closed = self.input.shutdown().await;
        closed.context(format!("a command in `{}` takes no more input", self.container))
    }

    async fn exit_code(self) -> Result<i64> {
        let code = exit_code(&self.wire, &self.id).await;
        code.map_err(|error| failure("cannot learn how a command in a container ended", error))
    }
}
