//! What a run came to: one line for people, one object for programs, one exit code.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::cold;
use crate::backup::manifest::{BackupKind, Manifest};
use crate::backup::words::{bytes, count, duration};
use crate::failure::{Failure, Kind};
use crate::repository::Saved;

/// Damaged attachments that are named; more are counted.
const NAMED: usize = 10;

/// What one target got.
#[derive(Debug)]
pub struct Copied {
    pub target: String,
    pub required: bool,
    pub outcome: Result<Saved, Failure>,
    pub took: Duration,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub kind: BackupKind,
    pub databases: Vec<String>,
    pub copies: Vec<Copied>,
    /// `None` when no target was read to its end.
    pub manifest: Option<Manifest>,
    /// Why Odoo, which was stopped for this run, does not answer now.
    pub silent: Option<Failure>,
    /// How long Odoo's collector was held off, by database: nobody's write waits longer.
    pub stalls: BTreeMap<String, Duration>,
    pub took: Duration,
}

impl Outcome {
    /// What to say of it; `None` when nothing was saved.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let saved = || self.copies.iter().filter_map(|copied| copied.outcome.as_ref().ok());
        let bytes = saved().map(|saved| saved.bytes).max()?;
        Some(Summary {
            event: "backed-up",
            kind: self.kind,
            databases: self.databases.clone(),
            bytes,
            added_bytes: saved().map(|saved| saved.added).max().unwrap_or_default(),
            files: saved().map(|saved| saved.files).max().unwrap_or_default(),
            saved: saved().count(),
            targets: self.copies.iter().map(line).collect(),
            seconds: self.took.as_secs(),
            longest_stall_milliseconds: milliseconds(self.longest_stall()),
            damaged: self.damage(),
            left_out: self.manifest.as_ref().map(|manifest| manifest.left_out.clone()).unwrap_or_default(),
            took: self.took,
            stall: self.longest_stall(),
        })
    }

    fn longest_stall(&self) -> Duration {
        self.stalls.values().copied().max().unwrap_or_default()
    }

    fn damage(&self) -> Vec<String> {
        self.manifest.iter().flat_map(damage).collect()
    }

    /// What the [`verdict`](Self::verdict) does not tell: failures of optional targets, where others
    /// have the backup, and that Odoo does not answer, where something else is the verdict.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let is_saved = self.is_saved_as_required();
        let silent = self.silent.iter().filter(|_| !is_saved || !self.damage().is_empty());
        let silent = silent.map(|failure| format!("Odoo does not answer: {failure}"));
        let failed = self.copies.iter().filter_map(|copied| Some((copied, copied.outcome.as_ref().err()?)));
        let failed = failed.filter(|_| is_saved).map(|(copied, failure)| {
            format!("optional target {} has no backup of this run: {failure}", copied.target)
        });
        silent.chain(failed).collect()
    }

    fn is_saved_as_required(&self) -> bool {
        let required = |copied: &&Copied| copied.required;
        self.copies.iter().any(|copied| copied.outcome.is_ok())
            && self.copies.iter().filter(required).all(|copied| copied.outcome.is_ok())
    }

    /// The exit code's reason: 1 where a target lacks its backup, 7 where the source was damaged, 1 where
    /// Odoo does not come back.
    pub fn verdict(self) -> Result<(), Failure> {
        if !self.is_saved_as_required() {
            return Err(self.failed());
        }
        let (done, damage) = ("the backup was saved", self.damage());
        if !damage.is_empty() {
            return Err(damaged(done, &damage));
        }
        self.silent.map_or(Ok(()), |beneath| Err(cold::silent(done, beneath)))
    }

    fn failed(self) -> Failure {
        let all_optional = self.copies.iter().all(|copied| !copied.required);
        let failed: Vec<(String, Failure)> = self
            .copies
            .into_iter()
            .filter(|copied| copied.required || all_optional)
            .filter_map(|copied| Some((copied.target, copied.outcome.err()?)))
            .collect();
        let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
        let targets = if names.len() == 1 { "target" } else { "targets" };
        let mut failure = Failure::failed(format!("no backup at {targets} {}", names.join(", ")));
        let one = failed.len() == 1;
        for (name, beneath) in failed {
            failure.causes.push(if one { beneath.message } else { format!("{name}: {}", beneath.message) });
            failure.causes.extend(beneath.causes);
            failure.evidence.extend(beneath.evidence);
            for hint in beneath.hints {
                if !failure.hints.contains(&hint) {
                    failure.hints.push(hint);
                }
            }
        }
        failure
    }
}

/// Attachments that were missing or altered on this host, one sentence each.
pub(super) fn damage(manifest: &Manifest) -> Vec<String> {
    let told = manifest.databases.iter().flat_map(|database| {
        let facts = &database.attachments;
        let tell = move |what: &'static str| {
            move |name: &String| format!("database {}: {name} is {what}", database.name)
        };
        facts.missing.iter().map(tell("missing")).chain(facts.altered.iter().map(tell("altered")))
    });
    told.collect()
}

/// `done`: what was done all the same.
pub(super) fn damaged(done: &str, damage: &[String]) -> Failure {
    let more = damage.len().saturating_sub(NAMED);
    let told = damage.iter().take(NAMED).cloned().chain((more > 0).then(|| format!("and {more} more")));
    let attachments = count(damage.len() as u64, "attachment");
    let (are, were) = if damage.len() == 1 { ("is", "was") } else { ("are", "were") };
    Failure::new(
        Kind::Verification,
        format!("{done}, and {attachments} of the site {are} damaged"),
    )
    .evidence(told)
    .hint(format!("an older backup may have what {were} lost: `autoodoo backup cat ID filestore/DATABASE/NAME > FILE`"))
    .hint("or delete those attachments in Odoo; until then each backup says so")
}

#[derive(Debug, Serialize)]
pub struct Summary {
    event: &'static str,
    kind: BackupKind,
    databases: Vec<String>,
    /// Of everything in the backup.
    bytes: u64,
    /// What the target that had least did not have yet.
    added_bytes: u64,
    files: u64,
    saved: usize,
    targets: Vec<Line>,
    seconds: u64,
    longest_stall_milliseconds: u64,
    damaged: Vec<String>,
    left_out: Vec<String>,
    #[serde(skip)]
    took: Duration,
    #[serde(skip)]
    stall: Duration,
}

#[derive(Debug, Serialize)]
struct Line {
    target: String,
    required: bool,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

fn line(copied: &Copied) -> Line {
    let saved = copied.outcome.as_ref().ok();
    Line {
        target: copied.target.clone(),
        required: copied.required,
        seconds: copied.took.as_secs(),
        id: saved.map(|saved| saved.id.clone()),
        added_bytes: saved.map(|saved| saved.added),
        failure: copied.outcome.as_ref().err().map(ToString::to_string),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backed up {}, {}, {} new, to {} of {} in {}",
            count(self.databases.len() as u64, "database"),
            bytes(self.bytes),
            bytes(self.added_bytes),
            self.saved,
            count(self.targets.len() as u64, "target"),
            duration(self.took)
        )?;
        match self.kind {
            BackupKind::Hot => write!(f, "; longest stall of a write {}", duration(self.stall))?,
            BackupKind::Cold => write!(f, "; cold")?,
        }
        for left_out in &self.left_out {
            write!(f, "\nnot in it: {left_out}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::manifest::{AttachmentFacts, DatabaseFacts, FORMAT};

    fn copied(target: &str, required: bool, outcome: Result<(), &str>) -> Copied {
        let saved = Saved { id: "ab".repeat(32), files: 20_000, bytes: 1_200_000_000, added: 45_000_000 };
        let outcome = outcome.map(|()| saved).map_err(|why| Failure::new(Kind::Usage, why).hint("try this"));
        Copied { target: target.to_owned(), required, outcome, took: Duration::from_secs(19) }
    }

    fn outcome(copies: Vec<Copied>) -> Outcome {
        Outcome {
            kind: BackupKind::Hot,
            databases: ["acme", "shop", "test"].map(str::to_owned).into(),
            copies,
            manifest: None,
            silent: None,
            stalls: [("acme".to_owned(), Duration::from_millis(438))].into(),
            took: Duration::from_secs(38),
        }
    }

    fn damaged(missing: usize) -> Manifest {
        let missing = (0..missing).map(|number| format!("aa/{number}")).collect();
        let attachments =
            AttachmentFacts { missing, altered: vec!["bb/1".to_owned()], ..AttachmentFacts::default() };
        let at = jiff::Timestamp::UNIX_EPOCH;
        let database = DatabaseFacts {
            name: "acme".to_owned(),
            at,
            size: 0,
            dump: 0,
            rows: BTreeMap::new(),
            attachments,
        };
        Manifest {
            format: FORMAT,
            autoodoo: String::new(),
            site: "acme".to_owned(),
            site_id: String::new(),
            kind: BackupKind::Hot,
            began: at,
            images: Vec::new(),
            odoo_release: 19,
            postgres_version: String::new(),
            databases: vec![database],
            bytes: 0,
            files: 0,
            left_out: Vec::new(),
        }
    }

    #[test]
    fn one_line_says_it() {
        let outcome = outcome(vec![copied("near", true, Ok(())), copied("far", true, Ok(()))]);
        insta::assert_snapshot!(outcome.summary().unwrap(), @"backed up 3 databases, 1.2 GB, 45 MB new, to 2 of 2 targets in 38 s; longest stall of a write 0.4 s");
        assert!(outcome.verdict().is_ok());
    }

    #[test]
    fn what_is_required_decides() {
        let table: [(Vec<Copied>, Option<&str>, usize); 4] = [
            (vec![copied("near", true, Ok(())), copied("far", false, Err("no route"))], None, 1),
            (
                vec![copied("near", true, Err("disk full")), copied("far", true, Ok(()))],
                Some("no backup at target near: disk full"),
                0,
            ),
            (vec![copied("far", false, Err("no route"))], Some("no backup at target far: no route"), 0),
            (
                vec![copied("near", true, Err("disk full")), copied("far", true, Err("no route"))],
                Some("no backup at targets near, far: near: disk full: far: no route"),
                0,
            ),
        ];
        for (copies, said, warnings) in table {
            let outcome = outcome(copies);
            assert_eq!(outcome.warnings().len(), warnings, "{said:?}");
            let failure = outcome.verdict().err();
            assert_eq!(failure.as_ref().map(ToString::to_string).as_deref(), said);
            assert!(
                failure.is_none_or(|failure| failure.kind == Kind::Failed && failure.hints == ["try this"])
            );
        }
    }

    #[test]
    fn damage_is_named_up_to_ten_and_then_counted() {
        let mut outcome = outcome(vec![copied("near", true, Ok(()))]);
        outcome.manifest = Some(damaged(12));
        let failure = outcome.verdict().unwrap_err();
        assert_eq!(failure.kind, Kind::Verification);
        assert_eq!(failure.message, "the backup was saved, and 13 attachments of the site are damaged");
        assert_eq!(failure.evidence.len(), 11);
        assert_eq!(failure.evidence[0], "database acme: aa/0 is missing");
        assert_eq!(failure.evidence[10], "and 3 more");
    }

    #[test]
    fn odoo_that_does_not_answer_is_told_in_any_case() {
        let silent = || Some(Failure::failed("no login page for 300 seconds").hint("look at its log"));
        let mut saved = outcome(vec![copied("near", true, Ok(()))]);
        saved.silent = silent();
        assert_eq!(saved.warnings(), <[String; 0]>::default());
        let failure = saved.verdict().unwrap_err();
        assert_eq!(
            (failure.kind, failure.to_string().as_str()),
            (
                Kind::Failed,
                "the backup was saved, and Odoo, which was started again, does not answer: no login page for 300 seconds"
            )
        );
        assert_eq!(failure.hints, ["look at its log"]);
        for (required, manifest, kind) in
            [(Ok(()), Some(damaged(1)), Kind::Verification), (Err("disk full"), None, Kind::Failed)]
        {
            let mut other = outcome(vec![copied("near", true, required)]);
            (other.silent, other.manifest) = (silent(), manifest);
            assert_eq!(other.warnings(), ["Odoo does not answer: no login page for 300 seconds"]);
            assert_eq!(other.verdict().unwrap_err().kind, kind);
        }
    }

    #[test]
    fn nothing_saved_is_nothing_to_boast_of() {
        assert!(outcome(vec![copied("near", true, Err("no"))]).summary().is_none());
    }
}
