//! Which backups go, and making room.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use rustic_core::repofile::{SnapshotFile, SnapshotId};
use rustic_core::{KeepOptions, Open, PruneOptions, PrunePlan, RusticResult};

use super::gate::{Bars, Fault, Gate};
use super::locks::{self, Doing};
use super::store::Trouble;
use super::{Progress, Pruned, Removal, Repository, Verdict, fault, snapshot};
use crate::failure::{Context, Failure, Result};
use crate::site::backup::Keep;

/// rustic's options for ours. Zero is no rule.
fn options(keep: &Keep) -> Result<KeepOptions> {
    let rule = |count: u32| (count > 0).then(|| i32::try_from(count).unwrap_or(i32::MAX));
    let within = (keep.within_days > 0).then(|| Span::new().try_days(keep.within_days));
    let mut options = KeepOptions::default();
    options.keep_last = rule(keep.last);
    options.keep_hourly = rule(keep.hourly);
    options.keep_daily = rule(keep.daily);
    options.keep_weekly = rule(keep.weekly);
    options.keep_monthly = rule(keep.monthly);
    options.keep_yearly = rule(keep.yearly);
    options.keep_within = within.transpose().context("backup.keep.within is too long")?;
    Ok(options)
}

/// Newest first.
pub(super) fn judge(snapshots: Vec<SnapshotFile>, keep: &Keep, now: Timestamp) -> Result<Vec<Verdict>> {
    let now = Zoned::new(now, TimeZone::system());
    let judged = options(keep)?.apply(snapshots, &now);
    let judged = judged.map_err(|_| Failure::usage("backup.keep has no rule: every backup would go"))?;
    let verdict = |judged: rustic_core::ForgetSnapshot| Verdict {
        snapshot: snapshot(&judged.snapshot),
        keep: judged.keep,
        reasons: judged.reasons,
    };
    Ok(judged.into_iter().map(verdict).collect())
}

/// rustic prunes in two steps, a day apart: what nothing needs is marked, and removed by a later run
/// unless a backup that ran at the same time turned out to need it. Several hosts may therefore share
/// a repository without locks.
pub(super) fn prune(
    repository: &Repository,
    forget: &[String],
    removal: Removal,
    progress: &Arc<Progress>,
) -> Result<Pruned> {
    locks::respect(&*repository.store, &repository.cipher, Doing::Pruning, Timestamp::now())?;
    let ids = forget.iter().map(|id| id.parse::<SnapshotId>()).collect::<RusticResult<Vec<_>>>();
    let ids = ids.map_err(|error| fault::failure("these are no backups", &error))?;
    let gate = Gate::new(progress);
    let mut options = PruneOptions::default().ignore_snaps(ids.clone());
    options.instant_delete = removal == Removal::Now;
    // The plan comes first: where it fails, for a snapshot that cannot be read or a pack that is
    // missing, nothing is removed.
    let planned = repository.indexed(
        &gate,
        || Bars::everything(progress),
        |session| {
            let plan = session.prune_plan(&options)?;
            Ok((session, plan))
        },
    );
    let (session, plan) = planned.map_err(|failure| {
        failure.hint(
            "while a backup lacks something nobody knows what it needs; `autoodoo backup verify` names it",
        )
    })?;
    let pruned = carry_out(&session, &ids, &options, plan);
    gate.open().map_err(|fault| refused(&repository.store.location(), fault))?;
    pruned.map_err(|error| fault::failure("cannot remove old backups", &error))
}

fn carry_out<S: Open>(
    session: &rustic_core::Repository<S>,
    forget: &[SnapshotId],
    options: &PruneOptions,
    plan: PrunePlan,
) -> RusticResult<Pruned> {
    let sizes = plan.stats.size_sum();
    let due = plan.stats.size_to_delete.remove;
    let others = plan.stats.size_to_delete.keep + plan.stats.size_unref + sizes.remove + sizes.repackrm;
    let (freed, marked) = if options.instant_delete { (due + others, 0) } else { (due, others) };
    session.delete_snapshots(forget)?;
    session.prune(options, plan)?;
    Ok(Pruned { snapshots: forget.len() as u64, freed, marked })
}

/// A place that only takes is meant to be so: an intruder here must not remove backups.
fn refused(place: &str, fault: Fault) -> Failure {
    match fault {
        Fault::Store(error) if error.trouble == Trouble::Denied => {
            let mut failure = Failure::failed(format!("{place} lets nothing be removed from here"));
            failure.causes.push(error.message);
            failure.hint("that protects the backups: the server itself prunes them, by age")
        }
        Fault::Stopped => Failure::failed("pruning was stopped; the next one goes on with it"),
        fault => fault.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshots(times: &[&str]) -> Vec<SnapshotFile> {
        let made = |time: &&str| {
            let time: Timestamp = time.parse().unwrap();
            SnapshotFile { time: Zoned::new(time, TimeZone::UTC), ..SnapshotFile::default() }
        };
        times.iter().map(made).collect()
    }

    const NONE: Keep =
        Keep { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within_days: 0 };

    fn judged(keep: &Keep, times: &[&str]) -> Vec<String> {
        let now = "2026-03-10T12:00:00Z".parse().unwrap();
        let verdicts = judge(snapshots(times), keep, now).unwrap();
        verdicts
            .iter()
            .map(|it| format!("{} {} {}", it.snapshot.time, it.keep, it.reasons.join(",")))
            .collect()
    }

    #[test]
    fn reasons_are_restics_words() {
        let times =
            ["2026-03-07T01:00:00Z", "2026-03-08T01:00:00Z", "2026-03-09T01:00:00Z", "2026-03-09T13:00:00Z"];
        let keep = Keep { last: 1, daily: 2, within_days: 1, ..NONE };
        assert_eq!(
            judged(&keep, &times),
            [
                "2026-03-09T13:00:00Z true last,within,daily",
                "2026-03-09T01:00:00Z true within",
                "2026-03-08T01:00:00Z true daily",
                "2026-03-07T01:00:00Z false ",
            ]
        );
    }

    #[test]
    fn without_any_rule_nothing_is_judged() {
        let now = "2026-03-10T12:00:00Z".parse().unwrap();
        let failure = judge(snapshots(&["2026-03-07T01:00:00Z"]), &NONE, now).unwrap_err();
        assert!(failure.message.contains("has no rule"), "{failure}");
    }
}
