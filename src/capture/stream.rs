//! The output of a command, chunk by chunk, with proof that it is whole.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::engine::{Engine, Exec, ExecStream, Stream};
use crate::failure::{Failure, Result};

/// Runs a command and then says behind its output that it succeeded. An engine that dies lets the
/// output end like that of a command that is done, a busy one may lose its end, and Docker can lose the
/// exit code of one of two commands that end at the same time, and then says for ever that it runs.
const PROVE: &str = "\"$@\" && printf 'autoodoo: complete'";
const PROOF: &[u8] = b"autoodoo: complete";
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
    /// The last of the output, at least as long as the proof: it may be that.
    tail: Bytes,
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
        Ok(Proven { stream, what, head, tail: Bytes::new(), errors: Vec::new() })
    }

    /// The next of its output; `None` only when it succeeded and its output has been handed out.
    /// May be cancelled without losing any.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            match stream.next().await? {
                Some((Stream::Stdout, chunk)) => {
                    if let Some(earlier) = self.hold_back(chunk) {
                        self.compare(&earlier)?;
                        return Ok(Some(earlier));
                    }
                }
                Some((Stream::Stderr, chunk)) => {
                    self.errors.extend_from_slice(&chunk);
                    let surplus = self.errors.len().saturating_sub(ERRORS);
                    self.errors.drain(..surplus);
                }
                None => return self.finish().await,
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

    /// Keeps this chunk and gives the one before, or adds it to that where it is short.
    fn hold_back(&mut self, chunk: Bytes) -> Option<Bytes> {
        if chunk.len() < PROOF.len() {
            self.tail = [&self.tail[..], &chunk].concat().into();
            let surplus = self.tail.len().saturating_sub(PROOF.len());
            return (surplus > 0).then(|| self.tail.split_to(surplus));
        }
        let earlier = std::mem::replace(&mut self.tail, chunk);
        (!earlier.is_empty()).then_some(earlier)
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

    /// What is left of the output before the proof.
    async fn finish(&mut self) -> Result<Option<Bytes>> {
        let Some(stream) = self.stream.take() else { return Ok(None) };
        let mut last = std::mem::take(&mut self.tail);
        if !last.ends_with(PROOF) {
            let code = timeout(ENDING, stream.exit_code()).await;
            return Err(match code {
                Ok(Ok(code)) if code != 0 => self.failure(&format!("failed with exit code {code}")),
                Ok(Err(failure)) => failure,
                _ => self.failure("was cut off"),
            });
        }
        last.truncate(last.len() - PROOF.len());
        self.compare(&last)?;
        if self.head.is_empty() {
            Ok((!last.is_empty()).then_some(last))
        } else {
            Err(self.failure("has no output"))
        }
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
        let mut proven =
            Proven { stream, what: "pg_dump".into(), head: b"PGDMP", tail: Bytes::new(), errors: Vec::new() };
        let mut bytes = Vec::new();
        while let Some(chunk) = proven.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whole_output() {
        use Stream::{Stderr, Stdout};
        let parts: [Output; 6] = [
            (Stdout, b"PG"),
            (Stderr, b"a warning\n"),
            (Stdout, b"DMP and all the rest"),
            (Stdout, b" and more"),
            (Stdout, b"autoodoo: co"),
            (Stdout, b"mplete"),
        ];
        assert_eq!(read(&parts, 0).await.unwrap(), b"PGDMP and all the rest and more");
        for parts in [
            &[(Stdout, &b"PGDMPautoodoo: complete"[..])][..],
            &[(Stdout, b"PGDMP"), (Stdout, PROOF)],
            &[(Stdout, b"PGDMPautoodoo: complet"), (Stdout, b"e")],
        ] {
            assert_eq!(read(parts, 0).await.unwrap(), b"PGDMP");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn every_other_end_is_an_error() {
        use Stream::{Stderr, Stdout};
        let table: [(&[Output], i64, &str); 6] = [
            (&[(Stdout, b"PGDMP"), (Stderr, b"server closed\n")], 1, "pg_dump failed with exit code 1"),
            (&[(Stdout, b"PGDMP")], 0, "pg_dump was cut off"),
            (&[(Stdout, b"PGDMPautoodoo: comp")], 137, "pg_dump failed with exit code 137"),
            (&[(Stdout, b"PGxMP"), (Stdout, PROOF)], 0, "pg_dump does not have the form that it should"),
            (&[(Stdout, b"PGD"), (Stdout, PROOF)], 0, "pg_dump has no output"),
            (&[(Stdout, PROOF)], 0, "pg_dump has no output"),
        ];
        for (parts, code, message) in table {
            assert_eq!(read(parts, code).await.unwrap_err().message, message);
        }
    }
}
