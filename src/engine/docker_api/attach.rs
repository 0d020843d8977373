//! This process's standard streams, joined to a stream of the engine's.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::frames::{Format, Output};
use super::wire::Wire;
use crate::engine::Stream;
use crate::failure::{Context, Failure, Result};

/// Keys that would detach. Engines want some; four presses of a rare key happen to nobody, while
/// their own `ctrl-p` makes every press of it wait for the next key.
pub(super) const DETACH_KEYS: &str = "ctrl-^,ctrl-^,ctrl-^,ctrl-_";

/// Copies until the other side's output ends. `target` is what to resize, such as `/exec/ID`.
pub(super) async fn join(wire: &Wire, stream: super::wire::Stream, target: &str, tty: bool) -> Result<()> {
    let format = if tty { Format::Raw } else { Format::Framed };
    let _raw = if tty { Some(RawMode::enter()?) } else { None };
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        done = copy_output(Output::new(reader, format)) => done.context("the command's output was cut off"),
        never = copy_input(writer) => match never {},
        never = follow_size(wire, target), if tty => match never {},
        ended = told_to_end(), if tty => Err(ended),
    }
}

/// A terminal in raw mode until dropped, whichever way its owner is left.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Result<RawMode> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).map_err(|error| {
            Failure::usage("standard input is not a terminal").because(io::Error::from(error))
        })?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)
            .map_err(io::Error::from)
            .context("cannot put the terminal into raw mode")?;
        Ok(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

async fn copy_output<R: AsyncRead + Unpin>(mut output: Output<R>) -> io::Result<()> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some((stream, chunk)) = output.next().await? {
        match stream {
            Stream::Stdout => write(&mut stdout, &chunk).await?,
            Stream::Stderr => write(&mut stderr, &chunk).await?,
        }
    }
    Ok(())
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Copies standard input, closes the other side's at its end, and then waits for ever: when to stop
/// is for the output to say.
async fn copy_input<W: AsyncWrite + Unpin>(mut writer: W) -> Infallible {
    let mut input = standard_input();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = input.read(&mut buffer).await {
        if write(&mut writer, &buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = writer.shutdown().await;
    pending().await
}

/// Standard input. Terminals and pipes are waited for without a thread, because a thread that
/// blocks in `read` would keep the finished program alive until the next key. They are opened anew,
/// because the descriptor we were lent must go on blocking for the shell.
fn standard_input() -> Box<dyn AsyncRead + Unpin> {
    // Unchecked: what is said of pipes holds for terminals too.
    match pipe::OpenOptions::new().unchecked(true).open_receiver("/dev/stdin") {
        Ok(polled) => Box::new(polled),
        // A file, which cannot be waited for and never blocks.
        Err(_) => Box::new(tokio::io::stdin()),
    }
}

/// Tells the engine the terminal's size now and at every change.
async fn follow_size(wire: &Wire, target: &str) -> Infallible {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return pending().await };
    loop {
        send_size(wire, target).await;
        changes.recv().await;
    }
}

/// The engine refuses until the command has started, so it is asked a few times. A wrong size is
/// ugly and no more, so giving up is silent.
async fn send_size(wire: &Wire, target: &str) {
    let Ok(size) = tcgetwinsize(io::stdin()) else { return };
    let path = format!("{target}/resize?h={}&w={}", size.ws_row, size.ws_col);
    for attempt in 1..=10 {
        if wire.ask(Method::POST, &path, Bytes::new()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10 * attempt)).await;
    }
}

/// Waits for a signal that ends the program, so that the terminal is put right first.
async fn told_to_end() -> Failure {
    let ends = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut hangup)) = ends else { return pending().await };
    tokio::select! { _ = terminate.recv() => {}, _ = hangup.recv() => {} }
    Failure::failed("interrupted by a signal")
}
