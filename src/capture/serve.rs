//! Answers readers, which wait on other threads for what only this one can ask the engine for.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::client::{APPLICATION, Client};
use super::held::{Held, PROMPT};
use super::pass::Trouble;
use super::pipe::Sender;
use super::sql;
use super::stream::Proven;
use super::subject::Subject;
use super::sweep::{STATEMENTS, psql};
use crate::backup::manifest::{AttachmentFacts, DatabaseFacts};
use crate::engine::{Engine, Exec, LogQuery};
use crate::failure::Failure;

/// Dumps of PostgreSQL's custom format start like this (PostgreSQL source, `pg_backup_archiver.c`).
const DUMP_HEAD: &[u8] = b"PGDMP";
/// Until a command whose session was ended must have ended too.
const PARTING: Duration = Duration::from_secs(10);

/// What a reader waits for. Databases by their place among those that are held.
pub(super) enum Request {
    Dump {
        database: usize,
        to: Sender,
    },
    Attachments {
        database: usize,
        to: Sender,
    },
    Log {
        container: String,
        to: Sender,
    },
    /// Proof that the moment still holds, and what is known of each database.
    Seal {
        to: oneshot::Sender<io::Result<Vec<DatabaseFacts>>>,
    },
}

/// All that answers need.
pub(super) struct Server<'a, E: Engine> {
    pub engine: &'a E,
    pub subject: &'a Subject,
    pub held: Vec<Held<E::ExecStream>>,
    pub trouble: Trouble,
    pub faults: RefCell<Vec<Failure>>,
    /// The number of the next command.
    pub next: Cell<u32>,
}

struct Command {
    /// The name of its session in the server.
    application: String,
    database: String,
    what: String,
    exec: Exec,
    /// What whole output starts with.
    begins: &'static [u8],
    /// How many lines whole output has, where that is known.
    lines: Option<u64>,
}

/// How an answer came to its end.
enum End {
    Whole,
    Failed(Failure),
    /// The reader is gone, or nothing can be read any more.
    GivenUp,
}

impl<E: Engine> Server<'_, E> {
    pub(super) async fn answer(&self, request: Request) {
        match request {
            Request::Dump { database, to } => {
                let held = &self.held[database];
                // Rows are counted while there is something else to wait for.
                let counting = held.count(self.engine, self.client());
                // What kept it from counting is told when the manifest asks for the rows.
                let _ = tokio::join!(self.send(self.dump(held), &to), counting);
            }
            Request::Attachments { database, to } => {
                self.send(self.attachments(&self.held[database]), &to).await;
            }
            Request::Log { container, to } => self.send_log(&container, &to).await,
            Request::Seal { to } => {
                // Whoever asked and does not wait any more needs no answer.
                let _ = to.send(self.seal().await);
            }
        }
    }

    fn client(&self) -> &Client {
        &self.subject.client
    }

    fn dump(&self, held: &Held<E::ExecStream>) -> Command {
        let snapshot = format!("--snapshot={}", held.snapshot);
        // An upgrade of a module must not keep us waiting for ever, nor we it.
        let patience = format!("--lock-wait-timeout={}s", sql::LOCK_PATIENCE);
        let words = ["--format=custom", "--compress=0", &patience, &snapshot];
        let what = format!("pg_dump of database {}", held.name);
        self.command(held, what, "pg_dump", &words, DUMP_HEAD)
    }

    fn attachments(&self, held: &Held<E::ExecStream>) -> Command {
        let reading = sql::reading(&held.snapshot);
        let statements = [sql::LIMITS].into_iter().chain(reading.iter().map(String::as_str));
        let mut words = STATEMENTS.to_vec();
        words.extend(statements.chain([sql::ATTACHMENTS]).flat_map(|statement| ["--command", statement]));
        let what = format!("the list of attachments of database {}", held.name);
        let lines = held.farm.as_ref().map(|farm| farm.files + farm.missing.len() as u64);
        Command { lines, ..self.command(held, what, "psql", &words, b"") }
    }

    fn command(
        &self,
        held: &Held<E::ExecStream>,
        what: String,
        program: &str,
        words: &[&str],
        begins: &'static [u8],
    ) -> Command {
        let application = format!("{APPLICATION}:{}", self.next.replace(self.next.get() + 1));
        let exec = self.client().exec(program, &held.name, words).env("PGAPPNAME", &application);
        Command { application, database: held.name.clone(), what, exec, begins, lines: None }
    }

    /// Sends a command's output until its end, or until nobody wants it.
    async fn send(&self, command: Command, to: &Sender) {
        let Command { application, database, what, exec, begins, lines } = command;
        let container = &self.client().container;
        let mut proven = match Proven::start(self.engine, container, exec, what, begins).await {
            Ok(proven) => proven,
            Err(failure) => return self.tell(failure, to).await,
        };
        match self.unless_over(to, copy(&mut proven, lines, &database, to)).await {
            End::Whole => {}
            End::Failed(failure) => {
                self.find_trouble().await;
                self.tell(failure, to).await;
            }
            End::GivenUp => {
                // It writes to a stream that nobody reads, or waits in the server: it does not end by
                // itself. What this statement cannot end, the next run sweeps.
                let sql = sql::end_sessions(&application, &database);
                let _ = psql(self.engine, self.client(), &database, &sql, PROMPT).await;
                proven.drain(PARTING).await;
            }
        }
    }

    /// The engine hands out a log line by line, faster than a reader may want it: it is asked for
    /// more only once the reader has what there is.
    async fn send_log(&self, container: &str, to: &Sender) {
        let query = LogQuery { since: self.subject.logs_since, timestamps: true, ..LogQuery::default() };
        let ready = RefCell::new(BytesMut::new());
        let mut line = |_, text: &str| {
            let mut ready = ready.borrow_mut();
            ready.extend_from_slice(text.as_bytes());
            ready.extend_from_slice(b"\n");
        };
        let sending = async {
            let mut reading = pin!(self.engine.logs(container, &query, &mut line));
            loop {
                let read = poll_fn(|context| match reading.as_mut().poll(context) {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending if ready.borrow().is_empty() => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                })
                .await;
                let chunk = ready.borrow_mut().split().freeze();
                if !chunk.is_empty() && to.send(Ok(Some(chunk))).await.is_err() {
                    return End::GivenUp;
                }
                match read {
                    None => {}
                    Some(Ok(())) => return finish(to).await,
                    Some(Err(failure)) => return End::Failed(failure),
                }
            }
        };
        if let End::Failed(failure) = self.unless_over(to, sending).await {
            self.tell(failure, to).await;
        }
    }

    async fn unless_over(&self, to: &Sender, sending: impl Future<Output = End>) -> End {
        tokio::select! {
            biased;
            () = self.trouble.comes() => End::GivenUp,
            () = to.closed() => End::GivenUp,
            end = sending => end,
        }
    }

    /// Lets the reader know, and remembers it for people.
    async fn tell(&self, failure: Failure, to: &Sender) {
        let error = self.known(failure);
        // A reader that has gone has an error of its own.
        let _ = to.send(Err(error)).await;
    }

    /// Remembers a failure for people; a reader gets it in one line.
    fn known(&self, failure: Failure) -> io::Error {
        let shown = failure.evidence.last().map_or_else(String::new, |line| format!(": {line}"));
        let error = io::Error::other(format!("{failure}{shown}"));
        self.faults.borrow_mut().push(failure);
        error
    }

    async fn seal(&self) -> io::Result<Vec<DatabaseFacts>> {
        let mut facts = Vec::new();
        let mut counted = Ok(());
        for held in &self.held {
            counted = counted.and(held.count(self.engine, self.client()).await);
        }
        self.find_trouble().await;
        self.trouble.error().map_or(Ok(()), Err)?;
        counted.map_err(|failure| self.known(failure))?;
        for held in &self.held {
            facts.push(facts_of(held));
        }
        Ok(facts)
    }

    /// Asks every session that keeps a snapshot whether it is still there.
    pub(super) async fn find_trouble(&self) {
        for held in &self.held {
            if self.trouble.error().is_some() {
                return;
            }
            if let Err(failure) = held.ping().await {
                let failure = self.explain(&held.name, failure).await;
                self.break_off(failure);
            }
        }
    }

    /// The moment is lost, or nobody wants it any more.
    fn break_off(&self, failure: Failure) {
        self.trouble.set(failure.to_string());
        self.faults.borrow_mut().push(failure);
    }

    async fn explain(&self, database: &str, failure: Failure) -> Failure {
        // A database that is being dropped loses its sessions first. A new one waits for the outcome.
        let _ = psql(self.engine, self.client(), database, "SELECT 1", PROMPT).await;
        let asked = psql(self.engine, self.client(), "postgres", &sql::exists(database), PROMPT).await;
        let message = match asked.as_deref().map(str::trim) {
            Ok("0") => format!("database {database} was dropped during the backup"),
            _ => format!("the session that held the moment of database {database} was lost"),
        };
        Failure { message, causes: vec![failure.message], ..failure }
            .hint("nothing was saved; run the backup again")
    }
}

async fn copy<S: crate::engine::ExecStream>(
    proven: &mut Proven<S>,
    expected: Option<u64>,
    database: &str,
    to: &Sender,
) -> End {
    let mut lines = 0;
    loop {
        match proven.next().await {
            Err(failure) => return End::Failed(failure),
            Ok(None) if expected.is_some_and(|expected| expected != lines) => {
                return End::Failed(rewritten(database));
            }
            Ok(None) => return finish(to).await,
            Ok(Some(chunk)) => {
                lines += expected.map_or(0, |_| line_ends(&chunk));
                if to.send(Ok(Some(chunk))).await.is_err() {
                    return End::GivenUp;
                }
            }
        }
    }
}

fn line_ends(chunk: &[u8]) -> u64 {
    // Parts are one more than what parts them.
    chunk.split(|byte| *byte == b'\n').count() as u64 - 1
}

/// A table that was written anew looks empty to older snapshots (PostgreSQL manual, "Caveats" of
/// "Concurrency Control").
fn rewritten(database: &str) -> Failure {
    Failure::failed(format!("table ir_attachment of database {database} was rewritten during the backup"))
        .hint("a module is being installed or updated; run the backup again when that is done")
}

/// Says that this was all.
async fn finish(to: &Sender) -> End {
    if to.send(Ok(None::<Bytes>)).await.is_ok() { End::Whole } else { End::GivenUp }
}

/// What does not depend on who reads: the dump's length is the reader's to say.
fn facts_of<S>(held: &Held<S>) -> DatabaseFacts {
    let attachments = held.farm.as_ref().map_or_else(AttachmentFacts::default, |farm| AttachmentFacts {
        files: farm.files,
        bytes: farm.bytes,
        missing: farm.missing.clone(),
        altered: held.findings.altered(),
    });
    DatabaseFacts {
        name: held.name.clone(),
        at: held.at,
        size: held.size,
        dump: 0,
        rows: held.rows.get().cloned().unwrap_or_default(),
        attachments,
    }
}
