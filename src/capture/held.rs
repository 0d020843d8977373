//! One database, held at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::client::Client;
use super::session::{SEPARATOR, Session, has_state};
use super::sql;
use crate::engine::{Engine, ExecStream};
use crate::event::{Event, Reporter};
use crate::failure::{Failure, Result};
use crate::filestore::{Farm, Farms, Findings, Named};
use crate::name::DbName;

/// How long a session waits for an answer that takes the server no work.
pub(super) const PROMPT: Duration = Duration::from_secs(30);
/// How long for one that reads a table.
pub(super) const READING: Duration = Duration::from_mins(30);
/// Seconds. Odoo's collector holds the table while it removes files; what holds it longer is a change
/// of its definition, in the middle of which there is no moment to capture.
const LOCK_WAIT: u64 = 60;
/// The same for tables whose rows are counted.
const HOLDING: Duration = Duration::from_secs(sql::LOCK_PATIENCE + PROMPT.as_secs());

/// A database whose snapshot stays importable, and whose files stay.
pub(super) struct Held<S> {
    pub name: String,
    /// Session B. Whoever uses it has the server to himself. It has the snapshot and no lock on a table:
    /// a migration of Odoo's would wait for it until the last target is done, and everybody who reads
    /// the table behind that migration, we too.
    session: Mutex<Session<S>>,
    pub snapshot: String,
    pub at: Timestamp,
    /// `pg_database_size`, bytes.
    pub size: u64,
    pub server_version: String,
    /// `None` in a database without attachments: Odoo has not been installed in it.
    pub farm: Option<Arc<Farm>>,
    /// How long the collector was held off.
    pub lock: Duration,
    pub findings: Arc<Findings>,
    /// Counted once, while dumps stream.
    pub rows: OnceCell<BTreeMap<String, u64>>,
}

impl<S: ExecStream> Held<S> {
    pub(super) async fn begin<E: Engine<ExecStream = S>>(
        engine: &E,
        client: &Client,
        database: &DbName,
        farms: &Farms,
        reporter: &dyn Reporter,
    ) -> Result<Held<S>> {
        let name = database.as_str();
        let mut session = Session::open(engine, client, name, PROMPT).await?;
        let has_attachments = session.value(sql::HAS_ATTACHMENTS, PROMPT).await? == "t";
        let (snapshot, farm, lock) = if has_attachments {
            // Connected before anything is locked.
            let mut collector = Session::open(engine, client, name, PROMPT).await?;
            hold_off(&mut collector, name, reporter).await?;
            let held = Instant::now();
            let snapshot = session.value(sql::EXPORT, PROMPT).await?;
            collector.ask(&format!("{};", sql::adopt(&snapshot)), PROMPT).await?;
            let farm = plant(&mut collector, farms.farm(name)?).await?;
            let committed = collector.ask("COMMIT;", PROMPT).await;
            committed.map_err(|failure| {
                failure.hint("the lock on ir_attachment was lost: files may have gone; run the backup again")
            })?;
            (snapshot, Some(Arc::new(farm)), held.elapsed())
        } else {
            (session.value(sql::EXPORT, PROMPT).await?, None, Duration::ZERO)
        };
        let facts = session.value(sql::FACTS, PROMPT).await?;
        let (at, size, server_version) = parse_facts(&facts).ok_or_else(|| not_understood(name, &facts))?;
        Ok(Held {
            name: name.to_owned(),
            session: Mutex::new(session),
            snapshot,
            at,
            size,
            server_version,
            farm,
            lock,
            findings: Arc::default(),
            rows: OnceCell::new(),
        })
    }

    /// Fails when the snapshot is gone. A server that was ended is noticed only when it is asked.
    pub(super) async fn ping(&self) -> Result<()> {
        self.session.lock().await.ask("SELECT 1;", PROMPT).await.map(drop)
    }

    /// Lets the snapshot go.
    pub(super) async fn release(self) {
        self.session.into_inner().close(PROMPT).await;
    }

    /// The rows of each table at this moment, counted in a session of their own.
    pub(super) async fn count<E: Engine<ExecStream = S>>(&self, engine: &E, client: &Client) -> Result<()> {
        self.rows.get_or_try_init(|| self.counted(engine, client)).await.map(drop)
    }

    async fn counted<E: Engine<ExecStream = S>>(
        &self,
        engine: &E,
        client: &Client,
    ) -> Result<BTreeMap<String, u64>> {
        let mut session = Session::open(engine, client, &self.name, PROMPT).await?;
        session.ask(&(sql::reading(&self.snapshot).join(";\n") + ";"), PROMPT).await?;
        session.ask(&sql::hold(), HOLDING).await?;
        let mut rows = BTreeMap::new();
        let mut take = |line: &str| {
            let parsed =
                line.rsplit_once(SEPARATOR).and_then(|(table, rows)| Some((table, rows.parse().ok()?)));
            let (table, count) = parsed.ok_or_else(|| not_understood(&self.name, line))?;
            rows.insert(table.to_owned(), count);
            Ok(())
        };
        session.run(&sql::rows(), READING, &mut take).await?;
        Ok(rows)
    }
}

/// Session A's part: from now on no file goes that a visible row names.
async fn hold_off<S: ExecStream>(
    session: &mut Session<S>,
    name: &str,
    reporter: &dyn Reporter,
) -> Result<()> {
    reporter.report(Event::Waiting {
        reason: format!("a moment of database {name} in which no attachment is removed"),
        seconds_at_most: LOCK_WAIT,
    });
    let patience = Duration::from_secs(LOCK_WAIT) + PROMPT;
    session.ask(&sql::lock(LOCK_WAIT), patience).await.map(drop).map_err(|failure| locked(name, failure))
}

/// SQLSTATE 55P03: `lock_not_available`.
fn locked(name: &str, failure: Failure) -> Failure {
    if !has_state(&failure, "55P03") {
        return failure;
    }
    Failure::failed(format!(
        "another transaction has locked ir_attachment in database {name} for more than {LOCK_WAIT} seconds"
    ))
    .hint("a module is being installed or updated, or a query of an administrator's holds the table")
    .hint("run the backup again when that is done")
}

/// Session A reads what it has locked: any other would wait behind a migration that waits for A.
async fn plant<S: ExecStream>(session: &mut Session<S>, mut farm: Farm) -> Result<Farm> {
    let list = format!("{};", sql::ATTACHMENTS);
    session.run(&list, READING, &mut |line| farm.plant(&Named::parse(line)?)).await?;
    Ok(farm)
}

fn parse_facts(line: &str) -> Option<(Timestamp, u64, String)> {
    let mut columns = line.split(SEPARATOR);
    let at = Timestamp::from_microsecond(columns.next()?.parse().ok()?).ok()?;
    Some((at, columns.next()?.parse().ok()?, columns.next()?.to_owned()))
}

fn not_understood(name: &str, line: &str) -> Failure {
    Failure::failed(format!("cannot understand what database {name} says of itself: `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_database() {
        let (at, size, version) = parse_facts("1780000000123456\t8000000\t17.2 (Debian)").unwrap();
        assert_eq!(at.as_microsecond(), 1_780_000_000_123_456);
        assert_eq!((size, version.as_str()), (8_000_000, "17.2 (Debian)"));
        for line in ["", "x\t1\t17", "1\tx\t17", "1\t1"] {
            assert_eq!(parse_facts(line), None, "{line}");
        }
    }

    #[test]
    fn a_lock_that_does_not_come_is_told_as_what_it_is() {
        let failure = Failure::failed("psql in database acme ended");
        let message =
            locked("acme", failure.evidence(["ERROR:  55P03: canceling statement".to_owned()])).message;
        assert!(message.starts_with("another transaction has locked ir_attachment in database acme"));
        let other = Failure::failed("psql in database acme ended");
        assert_eq!(locked("acme", other).message, "psql in database acme ended");
    }
}
