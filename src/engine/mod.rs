//! What autoodoo asks of a container engine, in its own words. [`docker_api`] answers with a real
//! Docker or Podman, [`memory`] with a stateful fake for tests.

pub mod docker_api;
pub mod endpoint;
pub mod memory;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::failure::Result;
use crate::name::ImageRef;
use crate::observed::{Container, ContainerSummary, EngineInfo, Image, Network, Volume};
use crate::stack::spec::{ContainerSpec, NetworkSpec, VolumeSpec};

/// A command to run inside a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    pub argv: Vec<String>,
    /// `None`: the container's own user.
    pub user: Option<String>,
    /// Never a secret: `inspect` shows it.
    pub env: BTreeMap<String, String>,
    /// Written to the command's standard input, which is then closed. May hold secrets.
    pub stdin: Option<Vec<u8>>,
}

impl Exec {
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Exec { argv: argv.into_iter().map(Into::into).collect(), ..Exec::default() }
    }

    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }
}

/// How a command in a container ended. Output beyond 1 MiB a stream is cut at the front: the last
/// lines say what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i64,
    pub stdout: String,
    pub stderr: String,
}

/// How far a pull has come, over all layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullProgress {
    pub done_bytes: u64,
    /// What the registry has announced so far; it grows as layers are found.
    pub total_bytes: u64,
}

/// Which log lines to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub follow: bool,
    /// Unix time in seconds; lines before it are left out.
    pub since: Option<i64>,
    /// The last so many lines; `None` for all.
    pub tail: Option<u32>,
    pub timestamps: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A command that runs in a container while its output is read.
#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait ExecStream {
    /// The next part of its output; `None` once it has ended.
    async fn next(&mut self) -> Result<Option<(Stream, Bytes)>>;
    /// Writes to its standard input. That ends with [`close`](Self::close), or when this value is
    /// dropped, or with this program: the command does not outlive who asked for it.
    async fn write(&mut self, bytes: &[u8]) -> Result<()>;
    async fn close(&mut self) -> Result<()>;
    /// Its exit code, once its output has ended.
    async fn exit_code(self) -> Result<i64>;
}

/// The verbs. Each is one domain action; an adapter hides how many requests it takes. `container`
/// is an id or a name. Stopping, starting and removing what is already so succeeds.
#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Engine {
    type ExecStream: ExecStream;

    async fn info(&self) -> Result<EngineInfo>;

    /// `None` when the image is not on this host.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;
    async fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<()>;

    async fn networks(&self) -> Result<Vec<Network>>;
    async fn create_network(&self, spec: &NetworkSpec) -> Result<()>;
    async fn remove_network(&self, name: &str) -> Result<()>;

    async fn volumes(&self) -> Result<Vec<Volume>>;
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()>;
    async fn remove_volume(&self, name: &str) -> Result<()>;

    /// Every container of the host, running or not.
    async fn containers(&self) -> Result<Vec<ContainerSummary>>;
    /// `None` when there is no such container.
    async fn inspect(&self, container: &str) -> Result<Option<Container>>;
    /// Makes it and does not start it. Returns its id. Mounted volumes and directories must exist.
    async fn create(&self, spec: &ContainerSpec) -> Result<String>;
    async fn start(&self, container: &str) -> Result<()>;
    /// Stop signal, then SIGKILL after `grace` seconds.
    async fn stop(&self, container: &str, grace: u32) -> Result<()>;
    async fn signal(&self, container: &str, signal: &str) -> Result<()>;
    /// Changes the restart policy to `no`, so that an engine restart does not bring it back.
    async fn forbid_restart(&self, container: &str) -> Result<()>;
    /// Removes it and the anonymous volumes made for it; a running one is killed first.
    async fn remove(&self, container: &str) -> Result<()>;
    /// Waits until it ends; returns its exit code.
    async fn wait(&self, container: &str) -> Result<i64>;

    /// Runs a command to its end; `line` receives each line of output as it comes.
    async fn exec(
        &self,
        container: &str,
        exec: Exec,
        line: &mut dyn FnMut(Stream, &str),
    ) -> Result<ExecOutput>;
    /// Starts a command whose output is read part by part, so that none of it is kept. `exec.stdin` is
    /// written first, and standard input stays open.
    async fn exec_streamed(&self, container: &str, exec: Exec) -> Result<Self::ExecStream>;
    /// Runs a command with this process's standard input, output and error, as a terminal when
    /// `tty`. Returns the exit code.
    async fn exec_attached(&self, container: &str, exec: Exec, tty: bool) -> Result<i64>;
    /// Attaches this process's standard streams to a created container, starts it and waits for
    /// its end. Returns its exit code.
    async fn run_attached(&self, container: &str, tty: bool) -> Result<i64>;

    async fn logs(&self, container: &str, query: &LogQuery, line: &mut dyn FnMut(Stream, &str))
    -> Result<()>;
}
