//! The output of a command, chunk by chunk, with proof that it is whole.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::engine::{Engine, Exec, ExecStream, Stream};
use crate::failure::{Failure, Result};

/// Runs a command and then says on standard error that it succeeded. An engine that dies lets the
/// output end like that of a command that is done; and Docker can lose the exit code of one of two
/// commands that end at the same time, and then says for ever that it runs.
const PROVE: &str = "\"$@\" && echo 'autoodoo: complete' >&2";
const PROOF: &[u8] = b"autoodoo: complete\n";
/// Bytes of standard error that are kept, the last ones.
const ERRORS: usize = 16 * 1024;
/// Lines of it that are shown.
const EVIDENCE: usize = 25;
/// How long an engine may take to say how a command ended whose output has.
const ENDING: Duration = Duration::from_mins(1);

/// A command under way.
pub(super) struct Proven<S> {
    /// `None` once it has ended.
    stream: Option<S>,
    /// Such as `pg_dump of database acme`.
    what: String,
    /// What the output has to start with, as far as it has not.
    head: &'static [u8],
    errors: Vec<u8>,
}

impl<S: ExecStream> Proven<S> {
    /// `head` is what whole output starts with.
    pub(super) async fn start<E: Engine<ExecStream = S>>(
        engine: &E,
        container: &str,
        mut exec: Exec,
        what: String,
        head: &'static [u8],
    ) -> Result<Proven<S>> {
        exec.argv.splice(0..0, ["sh", "-c", PROVE, "sh"].map(str::to_owned));
        let stream = Some(engine.exec_streamed(container, exec).await?);
        Ok(Proven { stream, what, head, errors: Vec::new() })
    }

    /// The next of its output; `None` only when it succeeded and its output has been handed out.
    /// May be cancelled without losing any.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            match stream.next().await? {
                Some((Stream::Stdout, chunk)) => {
                    self.compare(&chunk)?;
                    return Ok(Some(chunk));
                }
                Some((Stream::Stderr, chunk)) => {
                    self.errors.extend_from_slice(&chunk);
                    let surplus = self.errors.len().saturating_sub(ERRORS);
                    self.errors.drain(..surplus);
                }
                None => return self.finish().await.map(|()| None),
            }
        }
    }

    /// Reads on and throws away, so that nobody is left waiting to write; gives up after a while.
    pub(super) async fn drain(&mut self, patience: Duration) {
        if let Some(stream) = &mut self.stream {
            // An error ends it just as well.
            let _ = timeout(patience, async { while let Ok(Some(_)) = stream.next().await {} }).await;
        }
    }

    fn compare(&mut self, chunk: &[u8]) -> Result<()> {
        let length = self.head.len().min(chunk.len());
        let (expected, rest) = self.head.split_at(length);
        if &chunk[..length] != expected {
            return Err(self.failure("does not have the form that it should"));
        }
        self.head = rest;
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        if !self.errors.ends_with(PROOF) {
            let code = timeout(ENDING, stream.exit_code()).await;
            return Err(match code {
                Ok(Ok(code)) if code != 0 => self.failure(&format!("failed with exit code {code}")),
                Ok(Err(failure)) => failure,
                _ => self.failure("was cut off"),
            });
        }
        if self.head.is_empty() { Ok(()) } else { Err(self.failure("has no output")) }
    }

    fn failure(&self, how: &str) -> Failure {
        let errors = String::from_utf8_lossy(&self.errors);
        let lines: Vec<&str> = errors.lines().collect();
        let last = &lines[lines.len().saturating_sub(EVIDENCE)..];
        Failure::failed(format!("{} {how}", self.what)).evidence(last.iter().map(|line| (*line).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::script::{Output, Script};

    async fn read(parts: &[Output], code: i64) -> Result<Vec<u8>> {
        let stream = Some(Script::new(parts, code));
        let mut proven = Proven { stream, what: "pg_dump".into(), head: b"PGDMP", errors: Vec::new() };
        let mut bytes = Vec::new();
        while let Some(chunk) = proven.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whole_output() {
        use Stream::{Stderr, Stdout};
        let parts: [Output; 5] = [
            (Stdout, b"PG"),
            (Stderr, b"a warning\nautoodoo: "),
            (Stdout, b"DMPrest"),
            (Stderr, b"complete\n"),
            (Stdout, b"more"),
        ];
        assert_eq!(read(&parts, 0).await.unwrap(), b"PGDMPrestmore");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn every_other_end_is_an_error() {
        use Stream::{Stderr, Stdout};
        let table: [(&[Output], i64, &str); 6] = [
            (&[(Stdout, b"PGDMP"), (Stderr, b"server closed\n")], 1, "pg_dump failed with exit code 1"),
            (&[(Stdout, b"PGDMP")], 0, "pg_dump was cut off"),
            (&[(Stdout, b"PGDMP"), (Stderr, b"autoodoo: comp")], 137, "pg_dump failed with exit code 137"),
            (&[(Stdout, b"PGxMP"), (Stderr, PROOF)], 0, "pg_dump does not have the form that it should"),
            (&[(Stdout, b"PGD"), (Stderr, PROOF)], 0, "pg_dump has no output"),
            (&[(Stderr, PROOF)], 0, "pg_dump has no output"),
        ];
        for (parts, code, message) in table {
            assert_eq!(read(parts, code).await.unwrap_err().message, message);
        }
    }
}
