//! A psql that stays: statements go in, their answers come out, one after the other.

use std::time::Duration;

use tokio::time::timeout;

use super::client::Client;
use crate::engine::{Engine, ExecStream, Stream};
use crate::failure::{Failure, Result};

/// Standard error is kept up to this many bytes, the first ones: they say what went wrong first.
const ERRORS: usize = 16 * 1024;
/// The last word of an answer. `COPY` writes no line without a tab for us, and the other answers are
/// numbers and names.
const END: &str = "autoodoo: end of answer";
/// Between columns of an answer.
pub(super) const SEPARATOR: char = '\t';

const WORDS: [&str; 10] = [
    "--no-psqlrc",
    "--quiet",
    "--no-align",
    "--tuples-only",
    "--field-separator=\t",
    "--set=ON_ERROR_STOP=1",
    // The SQLSTATE is in the message, which may be in the server's language.
    "--set=VERBOSITY=verbose",
    "--set=SHOW_CONTEXT=never",
    "--file=-",
    "--no-readline",
];

/// A session of its own in the server. It ends when this is dropped, and with it its transaction and
/// locks: psql sees the end of its input.
pub(super) struct Session<S> {
    stream: S,
    database: String,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl<S: ExecStream> Session<S> {
    /// Connects; fails when the server does not let us in within `patience`.
    pub(super) async fn open<E: Engine<ExecStream = S>>(
        engine: &E,
        client: &Client,
        database: &str,
        patience: Duration,
    ) -> Result<Session<S>> {
        let stream = engine.exec_streamed(&client.container, client.exec("psql", database, &WORDS)).await?;
        let mut session =
            Session { stream, database: database.to_owned(), output: Vec::new(), errors: Vec::new() };
        session.ask(super::sql::LIMITS, patience).await?;
        Ok(session)
    }

    /// The lines of the answer to these statements.
    pub(super) async fn ask(&mut self, sql: &str, patience: Duration) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        self.run(sql, patience, &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .await?;
        Ok(lines)
    }

    /// The first line of the answer.
    pub(super) async fn value(&mut self, sql: &str, patience: Duration) -> Result<String> {
        let lines = self.ask(sql, patience).await?;
        lines.into_iter().next().ok_or_else(|| self.failure("gave no answer"))
    }

    /// Hands out each line of the answer to these statements. Fails when one of them fails, when the
    /// session ends, and when nothing is heard for as long as `patience`.
    pub(super) async fn run(
        &mut self,
        sql: &str,
        patience: Duration,
        line: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        self.stream.write(format!("{sql}\n\\echo {END}\n").as_bytes()).await?;
        loop {
            let next = timeout(patience, self.stream.next()).await;
            let next = next
                .map_err(|_| self.failure(&format!("has not answered for {} seconds", patience.as_secs())))?;
            match next? {
                None => return Err(self.failure("ended")),
                Some((Stream::Stderr, bytes)) => {
                    let room = ERRORS.saturating_sub(self.errors.len());
                    self.errors.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Some((Stream::Stdout, bytes)) => {
                    self.output.extend_from_slice(&bytes);
                    if self.deliver(line)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Hands out the whole lines that are there; true at the end of the answer.
    fn deliver(&mut self, line: &mut dyn FnMut(&str) -> Result<()>) -> Result<bool> {
        let Some(last) = self.output.iter().rposition(|byte| *byte == b'\n') else { return Ok(false) };
        let rest = self.output.split_off(last + 1);
        let lines = std::mem::replace(&mut self.output, rest);
        let lines =
            String::from_utf8(lines).map_err(|_| self.failure("answered with bytes that are no text"))?;
        for text in lines.lines() {
            if text == END {
                return Ok(true);
            }
            line(text)?;
        }
        Ok(false)
    }

    /// Ends it, and waits until it has ended.
    pub(super) async fn close(mut self, patience: Duration) {
        // It ends in any case, soon after this value is dropped.
        if self.stream.close().await.is_ok() {
            let _ = timeout(patience, async { while let Ok(Some(_)) = self.stream.next().await {} }).await;
        }
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::failed(format!("psql in database {} {what}", self.database))
            .evidence(String::from_utf8_lossy(&self.errors).lines().map(str::to_owned))
    }
}

/// Whether the failure shows this SQLSTATE (PostgreSQL manual, "PostgreSQL Error Codes").
pub(super) fn has_state(failure: &Failure, state: &str) -> bool {
    failure.evidence.iter().any(|line| line.contains(&format!("  {state}: ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::script::{Output, Script};

    const PATIENCE: Duration = Duration::from_secs(1);

    fn session(parts: &[Output]) -> Session<Script> {
        let stream = Script::new(parts, 0);
        Session { stream, database: "acme".into(), output: Vec::new(), errors: Vec::new() }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn answers_follow_each_other() {
        let parts: [Output; 4] = [
            (Stream::Stdout, b"one\nt"),
            (Stream::Stdout, b"wo\nautoodoo: end of"),
            (Stream::Stdout, b" answer\n"),
            (Stream::Stdout, b"autoodoo: end of answer\n"),
        ];
        let mut session = session(&parts);
        assert_eq!(session.ask("SELECT 1;", PATIENCE).await.unwrap(), ["one", "two"]);
        assert!(session.ask("COMMIT;", PATIENCE).await.unwrap().is_empty());
        let end = "\\echo autoodoo: end of answer\n";
        assert_eq!(session.stream.written, format!("SELECT 1;\n{end}COMMIT;\n{end}"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_session_that_ends_says_why() {
        let mut session = session(&[
            (Stream::Stdout, b"half"),
            (Stream::Stderr, b"psql:<stdin>:1: ERROR:  55P03: canceling statement\n"),
        ]);
        let failure = session.ask("LOCK x;", PATIENCE).await.unwrap_err();
        assert_eq!(failure.message, "psql in database acme ended");
        assert!(has_state(&failure, "55P03") && !has_state(&failure, "42P01"), "{failure:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_that_is_refused_ends_it() {
        let mut session = session(&[(Stream::Stdout, b"one\nautoodoo: end of answer\n")]);
        let refused = session.run("SELECT 1;", PATIENCE, &mut |_| Err(Failure::failed("full"))).await;
        assert_eq!(refused.unwrap_err().message, "full");
    }
}
