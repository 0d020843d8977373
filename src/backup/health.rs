//! What somebody has to see to about a site's backups.

use jiff::{SignedDuration, Timestamp};

use super::memory::{BackupMemory, TargetMemory};
use super::words;
use crate::site::backup::Target;

/// A daily backup and a day to notice that it does not come.
const OLD: SignedDuration = SignedDuration::from_hours(48);
const VERIFY_EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);
const EXPORT_EVERY: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Sentences, the worst first. `kit_is_kept`: somebody has said so of the present recovery kit.
#[must_use]
pub fn problems(targets: &[Target], memory: &BackupMemory, kit_is_kept: bool, now: Timestamp) -> Vec<String> {
    if targets.is_empty() {
        return vec!["nothing is backed up: autoodoo.yaml names no place under `backup:`".to_owned()];
    }
    let mut problems: Vec<String> =
        targets.iter().flat_map(|target| of_target(target, memory.target(target), now)).collect();
    problems.extend(lack(targets).map(str::to_owned));
    if !kit_is_kept {
        problems.push(
            "nobody has said that the recovery kit is kept elsewhere: `autoodoo backup key show`, then `key kept`"
                .to_owned(),
        );
    }
    problems.extend(export(memory.last_export, now));
    problems
}

/// What all targets together are not, however well each of them is.
#[must_use]
pub fn lack(targets: &[Target]) -> Option<&'static str> {
    if targets.iter().all(|target| target.place.is_on_this_host()) {
        Some("what destroys this server destroys its backups: no target is elsewhere")
    } else if targets.len() < 2 {
        Some("there is one target only; have a second one in another place")
    } else {
        None
    }
}

fn of_target(target: &Target, memory: Option<&TargetMemory>, now: Timestamp) -> Vec<String> {
    let name = &target.name;
    let mut problems = Vec::new();
    if let Some(failed) = memory.and_then(|memory| memory.last_failure.as_ref()) {
        problems.push(format!(
            "the last run failed at target {name}, {}: {}",
            ago(failed.time, now),
            failed.why
        ));
    }
    let Some(success) = memory.and_then(|memory| memory.last_success.as_ref()) else {
        problems.push(format!("target {name} has no backup yet"));
        return problems;
    };
    if now.duration_since(success.time) > OLD {
        problems.push(format!("the last backup at target {name} was made {}", ago(success.time, now)));
    }
    if success.damaged {
        problems.push(format!("attachments were missing or altered when target {name} got its last backup"));
    }
    let is_repository = !matches!(target.place, crate::site::backup::Place::Drop { .. });
    match memory.and_then(|memory| memory.last_verified.as_ref()) {
        None if is_repository => problems.push(format!("no backup at target {name} was ever verified")),
        Some(verified) if now.duration_since(verified.time) > VERIFY_EVERY => {
            problems.push(format!("backups at target {name} were last verified {}", ago(verified.time, now)));
        }
        _ => {}
    }
    problems
}

fn export(last: Option<Timestamp>, now: Timestamp) -> Option<String> {
    match last {
        None => Some(
            "nothing was ever exported to a medium that is kept offline: `autoodoo backup export`".to_owned(),
        ),
        Some(at) if now.duration_since(at) > EXPORT_EVERY => {
            Some(format!("the last export was made {}: `autoodoo backup export`", ago(at, now)))
        }
        Some(_) => None,
    }
}

/// `just now`, `5 minutes ago`, `3 days ago`. A moment that lies ahead was noted by a wrong clock.
#[must_use]
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let minutes = u64::try_from(now.duration_since(time).as_mins()).unwrap_or(0);
    match minutes {
        0 => "just now".to_owned(),
        1..60 => format!("{} ago", words::count(minutes, "minute")),
        60..2880 => format!("{} ago", words::count(minutes / 60, "hour")),
        _ => format!("{} ago", words::count(minutes / 1440, "day")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::memory::Success;

    fn target(name: &str, url: &str) -> Target {
        let (name, place) = (name.parse().unwrap(), url.parse().unwrap());
        Target { name, place, required: true, own_password: false }
    }

    fn hour(number: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + number * 3600).unwrap()
    }

    /// Two targets that were backed up, verified and exported at hour 0.
    fn well() -> (Vec<Target>, BackupMemory) {
        let targets = vec![target("disk", "/srv/b"), target("offsite", "sftp://b@h/x")];
        let mut memory = BackupMemory::default();
        memory.last_export = Some(hour(0));
        for target in &targets {
            let snapshot = "ab".repeat(32);
            let success = Success { time: hour(0), snapshot, bytes: 9, added: 3, seconds: 2, damaged: false };
            memory.succeeded(target, success);
            memory.verified(target, hour(0), 1.0);
        }
        (targets, memory)
    }

    #[test]
    fn a_site_that_is_well_has_no_problems() {
        let (targets, memory) = well();
        assert!(problems(&targets, &memory, true, hour(40)).is_empty());
        // The clock was set back.
        assert!(problems(&targets, &memory, true, hour(-40)).is_empty());
    }

    #[test]
    fn nothing_is_backed_up() {
        let told = problems(&[], &BackupMemory::default(), false, hour(0));
        assert_eq!(told, ["nothing is backed up: autoodoo.yaml names no place under `backup:`"]);
    }

    #[test]
    fn every_problem_is_told() {
        let (targets, mut memory) = well();
        memory.failed(&targets[0], hour(2500), "no space is left");
        if let Some(success) = &mut memory.target_mut(&targets[1]).last_success {
            success.damaged = true;
        }
        insta::assert_snapshot!(problems(&targets, &memory, false, hour(2501)).join("\n"), @r"
        the last run failed at target disk, 1 hour ago: no space is left
        the last backup at target disk was made 104 days ago
        backups at target disk were last verified 104 days ago
        the last backup at target offsite was made 104 days ago
        attachments were missing or altered when target offsite got its last backup
        backups at target offsite were last verified 104 days ago
        nobody has said that the recovery kit is kept elsewhere: `autoodoo backup key show`, then `key kept`
        the last export was made 104 days ago: `autoodoo backup export`
        ");
    }

    #[test]
    fn new_targets_and_too_few_of_them() {
        let one = [target("disk", "/srv/b")];
        insta::assert_snapshot!(problems(&one, &BackupMemory::default(), true, hour(0)).join("\n"), @r"
        target disk has no backup yet
        what destroys this server destroys its backups: no target is elsewhere
        nothing was ever exported to a medium that is kept offline: `autoodoo backup export`
        ");
        let elsewhere = [target("offsite", "sftp://b@h/x")];
        let told = problems(&elsewhere, &well().1, true, hour(1));
        assert_eq!(told, ["there is one target only; have a second one in another place"]);
    }

    #[test]
    fn ages_in_words() {
        let table =
            [(0, "just now"), (1, "1 hour ago"), (47, "47 hours ago"), (48, "2 days ago"), (-9, "just now")];
        for (hours, words) in table {
            assert_eq!(ago(hour(0), hour(hours)), words);
        }
    }
}
