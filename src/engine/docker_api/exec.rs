//! Commands in running containers.

use std::pin::pin;
use std::time::Duration;

use bollard::errors::Error;
use futures_util::future::{Either, select};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::frames::{Format, Output};
use super::lines::{Lines, Tail};
use super::wire::Wire;
use crate::engine::{ExecOutput, Stream};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    exit_code: Option<i64>,
}

/// The exit code of an exec whose output has ended. Engines close the output a moment before they
/// note the code, and a command may close its output long before it ends.
pub(super) async fn exit_code(wire: &Wire, id: &str) -> Result<i64, Error> {
    let mut pause = Duration::from_millis(2);
    loop {
        let state: State = wire.get(&format!("/exec/{id}/json")).await?;
        if let (false, Some(code)) = (state.running, state.exit_code) {
            return Ok(code);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Writes `stdin` and reads the output at the same time: a command that answers before it has read
/// everything would otherwise block us and itself for ever.
pub(super) async fn talk<S: AsyncRead + AsyncWrite>(
    stream: S,
    stdin: Option<&[u8]>,
    line: &mut dyn FnMut(Stream, &str),
) -> std::io::Result<ExecOutput> {
    let (reader, writer) = tokio::io::split(stream);
    let feeding = pin!(feed(writer, stdin));
    let reading = pin!(collect(Output::new(reader, Format::Framed), line));
    match select(feeding, reading).await {
        Either::Left((_writer, reading)) => reading.await,
        // The command ended and left the rest of its input unread.
        Either::Right((output, _)) => output,
    }
}

/// Hands the writer back, because dropping it must not close a stream that is still read. An error
/// means that the command no longer reads, which its exit code explains better.
async fn feed<W: AsyncWrite + Unpin>(mut writer: W, stdin: Option<&[u8]>) -> W {
    if let Some(bytes) = stdin
        && writer.write_all(bytes).await.is_ok()
    {
        let _ = writer.shutdown().await;
    }
    writer
}

async fn collect<R: AsyncRead + Unpin>(
    mut output: Output<R>,
    line: &mut dyn FnMut(Stream, &str),
) -> std::io::Result<ExecOutput> {
    let (mut stdout, mut stderr) = (Kept::default(), Kept::default());
    while let Some((stream, chunk)) = output.next().await? {
        let kept = if stream == Stream::Stdout { &mut stdout } else { &mut stderr };
        kept.tail.push(&chunk);
        kept.lines.feed(&chunk, &mut |text| line(stream, text));
    }
    stdout.lines.finish(&mut |text| line(Stream::Stdout, text));
    stderr.lines.finish(&mut |text| line(Stream::Stderr, text));
    Ok(ExecOutput { exit_code: 0, stdout: stdout.tail.into_text(), stderr: stderr.tail.into_text() })
}

#[derive(Default)]
struct Kept {
    lines: Lines,
    tail: Tail,
}
