//! When `prune` must not go on by itself: an emptied Odoo is backed up as faithfully as a full one,
//! and in time its backups would be the only ones.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::manifest::Manifest;
use super::words::{bytes, some};

/// How far clocks of two machines may be apart.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// Whether a time has not come yet: by more than two clocks differ.
#[must_use]
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time > now + CLOCK_SKEW
}

/// Damaged files that a sentence names.
const NAMED: usize = 3;

/// What a backup holds, as far as its removal depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The first digits of its id.
    pub id: String,
    pub time: Timestamp,
    /// `None` where its manifest could not be read.
    pub content: Option<Content>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    pub bytes: u64,
    pub rows: u64,
    pub databases: BTreeSet<String>,
    /// Attachments that were missing or altered on the server: `database/aa/SHA-1`.
    pub damaged: BTreeSet<String>,
}

impl Content {
    #[must_use]
    pub fn of(manifest: &Manifest) -> Content {
        let damaged = manifest.databases.iter().flat_map(|database| {
            let names = database.attachments.missing.iter().chain(&database.attachments.altered);
            names.map(|name| format!("{}/{name}", database.name))
        });
        Content {
            bytes: manifest.bytes,
            rows: manifest.rows(),
            databases: manifest.databases.iter().map(|database| database.name.clone()).collect(),
            damaged: damaged.collect(),
        }
    }
}

impl Weight {
    fn is_whole(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.damaged.is_empty())
    }
}

/// Why nothing is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// A backup is of a time that has not come, and none was made since: ages mean nothing.
    Future { id: String, time: Timestamp, now: Timestamp },
    /// Nobody can say what the newest backup holds.
    Unreadable { id: String },
    /// It lacks attachments that one about to go still has.
    Lacking { newest: String, going: String, names: Vec<String> },
    /// It has nothing of a database that is in one about to go.
    Gone { newest: String, going: String, databases: Vec<String> },
    /// It is less than half of one about to go.
    Shrunk { newest: String, going: String, what: Vec<Shrunk> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    pub what: &'static str,
    pub now: u64,
    pub before: u64,
}

impl Objection {
    /// Whether a person may say that it is meant so.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        matches!(self, Objection::Lacking { .. } | Objection::Gone { .. } | Objection::Shrunk { .. })
    }
}

/// The backup that must not be forgotten, although the rules say so: the newest whole one, when none
/// of those that stay is whole. Both lists come in any order.
#[must_use]
pub fn spared<'a>(kept: &[Weight], going: &'a [Weight]) -> Option<&'a Weight> {
    if kept.iter().any(Weight::is_whole) {
        return None;
    }
    going.iter().filter(|weight| weight.is_whole()).max_by_key(|weight| weight.time)
}

/// Why the backups about to go should stay; `None` when there is no reason.
///
/// `last_run`: the time that the last run gave its backup. Where that has come, and other backups are
/// of the future, the clock was wrong once and is no longer: they count for nothing.
#[must_use]
pub fn objection(
    kept: &[Weight],
    going: &[Weight],
    now: Timestamp,
    last_run: Option<Timestamp>,
) -> Option<Objection> {
    let all = || kept.iter().chain(going);
    let was_put_right = last_run.is_some_and(|time| !is_ahead(time, now));
    let future = all().filter(|weight| is_ahead(weight.time, now)).max_by_key(|weight| weight.time);
    if let (Some(future), false) = (future, was_put_right) {
        return Some(Objection::Future { id: future.id.clone(), time: future.time, now });
    }
    if going.is_empty() {
        return None;
    }
    let newest = all().filter(|weight| !is_ahead(weight.time, now)).max_by_key(|weight| weight.time)?;
    let Some(content) = &newest.content else {
        return Some(Objection::Unreadable { id: newest.id.clone() });
    };
    let known = going.iter().filter_map(|weight| Some((weight, weight.content.as_ref()?)));
    known
        .clone()
        .find_map(|(weight, before)| gone(newest, content, weight, before))
        .or_else(|| known.clone().find_map(|(weight, before)| shrunk(newest, content, weight, before)))
        .or_else(|| known.into_iter().find_map(|(weight, before)| lacking(newest, content, weight, before)))
}

fn gone(newest: &Weight, now: &Content, going: &Weight, before: &Content) -> Option<Objection> {
    let databases: Vec<String> = before.databases.difference(&now.databases).cloned().collect();
    (!databases.is_empty()).then(|| Objection::Gone {
        newest: newest.id.clone(),
        going: going.id.clone(),
        databases,
    })
}

fn shrunk(newest: &Weight, now: &Content, going: &Weight, before: &Content) -> Option<Objection> {
    let pairs = [("bytes", now.bytes, before.bytes), ("rows", now.rows, before.rows)];
    let what: Vec<Shrunk> = pairs
        .into_iter()
        .filter(|(_, now, before)| now.saturating_mul(2) < *before)
        .map(|(what, now, before)| Shrunk { what, now, before })
        .collect();
    (!what.is_empty()).then(|| Objection::Shrunk { newest: newest.id.clone(), going: going.id.clone(), what })
}

fn lacking(newest: &Weight, now: &Content, going: &Weight, before: &Content) -> Option<Objection> {
    let names: Vec<String> = now.damaged.difference(&before.damaged).cloned().collect();
    (!names.is_empty()).then(|| Objection::Lacking {
        newest: newest.id.clone(),
        going: going.id.clone(),
        names,
    })
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |count: u64| if self.what == "bytes" { bytes(count) } else { count.to_string() };
        let unit = if self.what == "bytes" { String::new() } else { format!(" {}", self.what) };
        write!(f, "{}{unit} instead of {}", amount(self.now), amount(self.before))
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Future { id, time, now } => write!(
                f,
                "the newest backup {id} is of {}, and this machine's clock says {}",
                minute(*time),
                minute(*now)
            ),
            Objection::Unreadable { id } => {
                write!(f, "what the newest backup {id} holds cannot be read")
            }
            Objection::Lacking { newest, going, names } => write!(
                f,
                "the newest backup {newest} lacks {} whole in {going}, which would go: {}",
                if names.len() == 1 {
                    "1 attachment that may be".to_owned()
                } else {
                    format!("{} attachments that may be", names.len())
                },
                some(names, NAMED)
            ),
            Objection::Gone { newest, going, databases } => write!(
                f,
                "the newest backup {newest} has no database {}, which is in {going}, which would go",
                some(databases, NAMED)
            ),
            Objection::Shrunk { newest, going, what } => {
                let what: Vec<String> = what.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the newest backup {newest} holds less than half of {going}, which would go: {}",
                    what.join(", ")
                )
            }
        }
    }
}

fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_780_000_000, 0);

    fn weight(days: i64, rows: u64) -> Weight {
        let content = Content {
            bytes: rows * 1_000_000,
            rows,
            databases: BTreeSet::from(["acme".to_owned(), "shop".to_owned()]),
            damaged: BTreeSet::new(),
        };
        let time = NOW - SignedDuration::from_hours(24 * days);
        Weight { id: format!("day{days}"), time, content: Some(content) }
    }

    fn damaged(mut weight: Weight, names: &[&str]) -> Weight {
        if let Some(content) = &mut weight.content {
            content.damaged = names.iter().map(|name| (*name).to_owned()).collect();
        }
        weight
    }

    fn unreadable(weight: Weight) -> Weight {
        Weight { content: None, ..weight }
    }

    fn said(kept: &[Weight], going: &[Weight]) -> String {
        objection(kept, going, NOW, None).map(|objection| objection.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_site_that_grows_or_shrinks_slowly_is_pruned() {
        for rows in [50, 51, 100, 1000] {
            assert_eq!(said(&[weight(0, rows)], &[weight(8, 100), weight(9, 60)]), "", "{rows}");
        }
        assert_eq!(said(&[weight(0, 1)], &[]), "", "nothing is about to go");
        assert_eq!(said(&[weight(0, 100)], &[unreadable(weight(8, 1))]), "");
    }

    #[test]
    fn a_sudden_loss_is_told_in_numbers() {
        let objection = objection(&[weight(0, 49), weight(1, 100)], &[weight(8, 100)], NOW, None).unwrap();
        assert!(objection.is_answerable());
        insta::assert_snapshot!(objection, @"the newest backup day0 holds less than half of day8, which would go: 49 MB instead of 100 MB, 49 rows instead of 100");
        let mut newest = weight(0, 100);
        newest.content.as_mut().unwrap().databases.remove("shop");
        insta::assert_snapshot!(said(&[newest], &[weight(8, 100)]), @"the newest backup day0 has no database shop, which is in day8, which would go");
    }

    /// Also when the rules would have the newest one go, as after the clock went back.
    #[test]
    fn the_newest_counts_wherever_it_stands() {
        assert_ne!(said(&[weight(3, 100)], &[weight(0, 1), weight(8, 100)]), "");
    }

    #[test]
    fn new_damage_keeps_what_is_whole_and_old_damage_keeps_nothing() {
        let old = damaged(weight(8, 100), &["acme/aa/1"]);
        assert_eq!(said(&[damaged(weight(0, 100), &["acme/aa/1"])], std::slice::from_ref(&old)), "");
        let newest = damaged(weight(0, 100), &["acme/aa/1", "acme/bb/2"]);
        insta::assert_snapshot!(said(&[newest], &[old]), @"the newest backup day0 lacks 1 attachment that may be whole in day8, which would go: acme/bb/2");
    }

    #[test]
    fn nobody_answers_for_a_newest_one_that_cannot_be_judged() {
        for (newest, expected) in [
            (unreadable(weight(0, 100)), "what the newest backup day0 holds cannot be read"),
            (
                weight(-1, 100),
                "the newest backup day-1 is of 2026-05-29 20:26 UTC, and this machine's clock says 2026-05-28 20:26 UTC",
            ),
        ] {
            let objection = objection(&[newest], &[weight(8, 100)], NOW, None).unwrap();
            assert!(!objection.is_answerable());
            assert_eq!(objection.to_string(), expected);
        }
        let soon = Weight { time: NOW + SignedDuration::from_mins(5), ..weight(0, 100) };
        assert_eq!(said(&[soon], &[weight(8, 100)]), "", "clocks are never quite the same");
    }

    /// The clock was wrong once: a run since then shows that it is no longer.
    #[test]
    fn a_backup_of_the_future_stands_in_the_way_until_one_was_made_after_it() {
        let (future, going) = (weight(-400, 1), [weight(8, 100)]);
        let kept = [future, weight(0, 100)];
        let is_future =
            |last_run| matches!(objection(&kept, &going, NOW, last_run), Some(Objection::Future { .. }));
        assert!(is_future(None) && is_future(Some(kept[0].time)));
        assert_eq!(objection(&kept, &going, NOW, Some(NOW)), None, "what it holds does not count");
        assert!(objection(&kept[..1], &[], NOW, None).is_some(), "also when nothing is about to go");
    }

    #[test]
    fn the_last_whole_one_is_spared() {
        let broken = |days| damaged(weight(days, 100), &["acme/aa/1"]);
        let going = [broken(7), weight(9, 100), weight(8, 100), unreadable(weight(6, 100))];
        let id = |kept: &[Weight]| spared(kept, &going).map(|weight| weight.id.clone());
        assert_eq!(id(&[broken(0), unreadable(weight(1, 100))]).as_deref(), Some("day8"));
        assert_eq!(id(&[broken(0), weight(1, 100)]), None);
        assert_eq!(spared(&[broken(0)], &[broken(1)]), None);
    }
}
