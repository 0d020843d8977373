//! `backup list`: what every target has.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::manifests::{Catalogue, Described, catalogue};
use super::opened::{open, readable, short};
use crate::backup::manifest::{BackupKind, Manifest};
use crate::backup::words::bytes;
use crate::cli::ListArgs;
use crate::command::site::{Loaded, load};
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Result};
use crate::site::backup::Target;
use crate::ui::table::table;

#[derive(Debug, Serialize)]
struct Lists {
    targets: Vec<List>,
}

#[derive(Debug, Serialize)]
struct List {
    target: String,
    /// Without secrets.
    place: String,
    /// Newest first.
    backups: Vec<Line>,
    /// What is to be said of files among the snapshots that are none.
    unreadable: Vec<String>,
    /// Why the target could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: String,
    /// RFC 3339, UTC.
    time: Timestamp,
    /// The same on this machine's clock.
    local: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
    /// Why nobody can say what it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Facts {
    kind: BackupKind,
    databases: Vec<String>,
    bytes: u64,
    files: u64,
    /// Attachments that were missing or altered on the server.
    damaged: u64,
}

pub async fn cmd_list<A: Adapters>(context: &Context<'_, A>, args: &ListArgs) -> Result<()> {
    let loaded = load(context)?;
    let targets = readable(&loaded, args.target.as_deref())?;
    let zone = context.adapters.clock().zone();
    let (mut lists, mut failures) = (Vec::new(), Vec::new());
    for target in &targets {
        match look(context, &loaded, target).await {
            Ok(catalogue) => lists.push(list(target, catalogue, &zone)),
            Err(failure) => {
                let mut list = list(target, Catalogue::default(), &zone);
                list.failure = Some(failure.to_string());
                lists.push(list);
                failures.push((target.name.to_string(), failure));
            }
        }
    }
    context.ui.result(&Lists { targets: lists })?;
    unread(failures)
}

async fn look<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, target: &Target) -> Result<Catalogue> {
    let repository = open(context, loaded, target).await?;
    catalogue(loaded, &repository).await
}

/// A target that could not be read is a failure, after the others were shown.
fn unread(failures: Vec<(String, Failure)>) -> Result<()> {
    let names: Vec<String> = failures.iter().map(|(name, _)| name.clone()).collect();
    match failures.into_iter().next() {
        None => Ok(()),
        Some((_, failure)) if names.len() == 1 => Err(failure),
        Some((_, failure)) => {
            let mut all = Failure::failed(format!("targets {} could not be read", names.join(", ")));
            all.hints = failure.hints;
            Err(all)
        }
    }
}

fn list(target: &Target, catalogue: Catalogue, zone: &TimeZone) -> List {
    List {
        target: target.name.to_string(),
        place: target.place.to_string(),
        backups: catalogue.backups.into_iter().rev().map(|backup| line(backup, zone)).collect(),
        unreadable: catalogue.unreadable,
        failure: None,
    }
}

fn line(backup: Described, zone: &TimeZone) -> Line {
    let time = backup.snapshot.time;
    let (facts, failure) = match backup.manifest {
        Ok(manifest) => (Some(facts(&manifest)), None),
        Err(failure) => (None, Some(failure.to_string())),
    };
    let local = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    Line { id: backup.snapshot.id, time, local, facts, failure }
}

fn facts(manifest: &Manifest) -> Facts {
    let damaged = |database: &crate::backup::manifest::DatabaseFacts| {
        database.attachments.missing.len() + database.attachments.altered.len()
    };
    Facts {
        kind: manifest.kind,
        databases: manifest.databases.iter().map(|database| database.name.clone()).collect(),
        bytes: manifest.bytes,
        files: manifest.files,
        damaged: manifest.databases.iter().map(damaged).sum::<usize>() as u64,
    }
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, list) in self.targets.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{list}")?;
        }
        Ok(())
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.target, self.place)?;
        match (&self.failure, self.backups.is_empty()) {
            (Some(failure), _) => writeln!(f, "cannot be read: {failure}")?,
            (None, true) => writeln!(f, "no backup of this site")?,
            (None, false) => {
                let rows: Vec<_> = self.backups.iter().map(row).collect();
                let headings = ["ID", "TIME", "UTC", "KIND", "SIZE", "DATABASES", "STATE"];
                f.write_str(&table(&headings, &rows))?;
            }
        }
        for told in &self.unreadable {
            writeln!(f, "no backup: {told}")?;
        }
        Ok(())
    }
}

fn row(line: &Line) -> Vec<String> {
    let (id, utc) = (short(&line.id).to_owned(), line.time.strftime("%m-%d %H:%M").to_string());
    let Some(facts) = &line.facts else {
        let why = line.failure.clone().unwrap_or_default();
        let dash = || "-".to_owned();
        return vec![id, line.local.clone(), utc, dash(), dash(), dash(), format!("UNREADABLE: {why}")];
    };
    let state = match facts.damaged {
        0 => "whole".to_owned(),
        1 => "DAMAGED: 1 attachment".to_owned(),
        many => format!("DAMAGED: {many} attachments"),
    };
    vec![
        id,
        line.local.clone(),
        utc,
        facts.kind.word().to_owned(),
        bytes(facts.bytes),
        facts.databases.join(" "),
        state,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_both_clocks_and_what_is_wrong() {
        let line = |facts, failure| Line {
            id: "ab12".repeat(16),
            time: "2026-01-31T02:00:00Z".parse().unwrap(),
            local: "2026-01-31 03:00".to_owned(),
            facts,
            failure,
        };
        let facts = |damaged| Facts {
            kind: BackupKind::Hot,
            databases: vec!["acme".to_owned(), "shop".to_owned()],
            bytes: 1_234_000_000,
            files: 20_000,
            damaged,
        };
        let backups =
            vec![line(Some(facts(0)), None), line(Some(facts(2)), None), line(None, Some("torn".to_owned()))];
        let empty = List {
            target: "far".to_owned(),
            place: "sftp://a@b/c".to_owned(),
            backups: Vec::new(),
            unreadable: Vec::new(),
            failure: None,
        };
        let full = List {
            target: "near".to_owned(),
            place: "/srv/backup".to_owned(),
            backups,
            unreadable: vec!["snapshots/cd34 is damaged".to_owned()],
            failure: None,
        };
        insta::assert_snapshot!(Lists { targets: vec![full, empty] }, @r"
        near (/srv/backup)
        ID        TIME              UTC          KIND  SIZE    DATABASES  STATE
        ab12ab12  2026-01-31 03:00  01-31 02:00  hot   1.2 GB  acme shop  whole
        ab12ab12  2026-01-31 03:00  01-31 02:00  hot   1.2 GB  acme shop  DAMAGED: 2 attachments
        ab12ab12  2026-01-31 03:00  01-31 02:00  -     -       -          UNREADABLE: torn
        no backup: snapshots/cd34 is damaged

        far (sftp://a@b/c)
        no backup of this site
        ");
    }
}
