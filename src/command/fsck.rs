//! `fsck`: the live filestore against the rows that name its files.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::backup::desk::{Desk, databases, volume};
use super::backup::opened::telling;
use super::open::{chosen, has_data};
use super::site::{Loaded, load};
use super::{Adapters, Context};
use crate::backup::words::{bytes, duration};
use crate::capture::{examine, weight};
use crate::cli::FsckArgs;
use crate::event::{Event, Reporter, Unit};
use crate::failure::{Failure, Kind, Result};
use crate::filestore::Standing;
use crate::name::DbName;
use crate::observed::Observed;
use crate::stack::names;
use crate::ui::table::table;

/// Files of a kind that are named for each database; more are counted.
const NAMED: usize = 10;

#[derive(Debug, Serialize)]
struct Report {
    event: &'static str,
    databases: Vec<Checked>,
    seconds: u64,
    /// Of what was read.
    bytes_per_second: u64,
    #[serde(skip)]
    took: Duration,
}

#[derive(Debug, Serialize)]
struct Checked {
    database: String,
    /// Every row has its file, and every file is what its name says.
    whole: bool,
    standing: Standing,
}

pub async fn cmd_fsck<A: Adapters>(context: &Context<'_, A>, args: &FsckArgs) -> Result<()> {
    let loaded = load(context)?;
    has_data(&loaded)?;
    let only = args.database.as_deref().map(|name| chosen(&loaded.site, Some(name))).transpose()?;
    let engine = loaded.engine(context).await?;
    let observed = loaded.observe(&engine).await?;
    let helper = names::helper(&loaded.site.name, &format!("fsck-{}", context.adapters.machine().pid));
    let desk = Desk::set_up(context, &loaded, &engine, &observed, helper).await?;
    let checked = check(context, &loaded, &engine, &observed, &desk, only).await;
    let cleared = desk.clear(&engine).await;
    let report = checked?;
    context.ui.result(&report)?;
    verdict(&report)?;
    cleared
}

async fn check<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    observed: &Observed,
    desk: &Desk,
    only: Option<DbName>,
) -> Result<Report> {
    let (directory, client) = (volume(loaded, observed)?, desk.client.examining());
    let names = match only {
        Some(name) => vec![name],
        None => databases(loaded, engine, &client).await?.0,
    };
    let (of, begun) = (names.len(), Instant::now());
    let stop = Arc::new(AtomicBool::new(false));
    let checking = async {
        let mut checked = Vec::new();
        for (number, name) in (1..).zip(&names) {
            let action = format!("read every attachment of {name}");
            context.ui.report(Event::StepStarted { number, of, action, cause: String::new() });
            let (since, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
            let total = weight::attachments(engine, &client, name).await.unwrap_or_else(|failure| {
                context.ui.warning(failure.to_string());
                0
            });
            let position = || (done.load(Ordering::Relaxed), total);
            let reading = examine(engine, &client, name, &directory, Arc::clone(&done), Arc::clone(&stop));
            let standing = telling(context, position, Unit::Bytes, reading).await;
            let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            context.ui.report(match &standing {
                Ok(_) => Event::StepDone { number, of, milliseconds },
                Err(_) => Event::StepFailed { number, of },
            });
            let standing = standing?;
            checked.push(Checked { database: name.to_string(), whole: !standing.is_damaged(), standing });
        }
        Ok::<_, Failure>(checked)
    };
    tokio::select! {
        checked = checking => Ok(report(checked?, begun.elapsed())),
        () = context.adapters.interrupted() => {
            // Threads that read end soon; a list that is being read ends with its session.
            stop.store(true, Ordering::Relaxed);
            Err(Failure::failed("interrupted before every attachment was read; nothing was changed"))
        }
    }
}

fn report(databases: Vec<Checked>, took: Duration) -> Report {
    let read: u64 = databases.iter().map(|checked| checked.standing.bytes).sum();
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let bytes_per_second = read.saturating_mul(1000) / milliseconds;
    Report { event: "checked", databases, seconds: took.as_secs(), bytes_per_second, took }
}

fn verdict(report: &Report) -> Result<()> {
    let damaged: Vec<&str> = report
        .databases
        .iter()
        .filter(|checked| !checked.whole)
        .map(|checked| checked.database.as_str())
        .collect();
    if damaged.is_empty() {
        return Ok(());
    }
    let what = format!("the filestore of {} is damaged", damaged.join(", "));
    Err(Failure::new(Kind::Verification, what)
        .hint("an older backup may have the files: `autoodoo backup cat ID filestore/DATABASE/NAME > FILE`")
        .hint("or delete those attachments in Odoo, under Settings > Technical > Attachments"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings =
            ["DATABASE", "FILES", "SIZE", "MISSING", "ALTERED", "WRONG LENGTH", "ORPHANS", "STATE"];
        let rows: Vec<_> = self.databases.iter().map(row).collect();
        f.write_str(&table(&headings, &rows))?;
        for checked in &self.databases {
            let standing = &checked.standing;
            let kinds = [
                ("missing", &standing.missing),
                ("not what its name says", &standing.altered),
                ("not of the length that its row tells", &standing.truncated),
            ];
            for (what, names) in kinds {
                for name in names.iter().take(NAMED) {
                    writeln!(f, "{}: {name} is {what}", checked.database)?;
                }
                if let more @ 1.. = names.len().saturating_sub(NAMED) {
                    writeln!(f, "{}: {more} more are {what}", checked.database)?;
                }
            }
        }
        let (time, rate) = (duration(self.took), bytes(self.bytes_per_second));
        write!(f, "read in {time}, {rate} a second")
    }
}

fn row(checked: &Checked) -> Vec<String> {
    let standing = &checked.standing;
    let orphans = match standing.orphans {
        0 => "0".to_owned(),
        some => format!("{} ({})", some, bytes(standing.orphan_bytes)),
    };
    vec![
        checked.database.clone(),
        standing.files.to_string(),
        bytes(standing.bytes),
        standing.missing.len().to_string(),
        standing.altered.len().to_string(),
        standing.truncated.len().to_string(),
        orphans,
        if checked.whole { "whole".to_owned() } else { "DAMAGED".to_owned() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_counts_and_the_first_names() {
        let whole = Checked {
            database: "acme".to_owned(),
            whole: true,
            standing: Standing { files: 20_000, bytes: 2_000_000_000, ..Standing::default() },
        };
        let standing = Standing {
            files: 3,
            bytes: 50,
            missing: (0..12).map(|number| format!("aa/{number}")).collect(),
            altered: vec!["bb/1".to_owned()],
            orphans: 2,
            orphan_bytes: 7_000,
            ..Standing::default()
        };
        let damaged = Checked { database: "shop".to_owned(), whole: false, standing };
        let report = report(vec![whole, damaged], Duration::from_secs(8));
        assert_eq!(report.bytes_per_second, 250_000_006);
        let text = report.to_string();
        insta::assert_snapshot!(text.lines().take(3).chain(text.lines().rev().take(3)).collect::<Vec<_>>().join("\n"), @r"
        DATABASE  FILES  SIZE      MISSING  ALTERED  WRONG LENGTH  ORPHANS   STATE
        acme      20000  2 GB      0        0        0             0         whole
        shop      3      50 bytes  12       1        0             2 (7 kB)  DAMAGED
        read in 8.0 s, 250 MB a second
        shop: bb/1 is not what its name says
        shop: 2 more are missing
        ");
        let failure = verdict(&report).unwrap_err();
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (Kind::Verification, "the filestore of shop is damaged")
        );
    }
}
