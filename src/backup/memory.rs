//! What is remembered about a site's backups between two runs: the content of `state/backups.json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::site::backup::Target;

/// The only version that is known.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupMemory {
    version: u32,
    /// By the target's name. One that the site file no longer names stays: it may come back.
    targets: BTreeMap<String, TargetMemory>,
    /// When a single-file export was last written whole.
    pub last_export: Option<Timestamp>,
    /// The recovery kit that somebody said is kept elsewhere.
    pub kit: Option<KeptKit>,
}

/// What is remembered of one target, at the place where it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetMemory {
    /// The place, as the site file wrote it. Of another place nothing is remembered.
    location: String,
    /// The repository that was found or made there.
    pub repository: Option<String>,
    pub last_success: Option<Success>,
    /// The last run failed here; `None` when it succeeded, whatever the clock says.
    pub last_failure: Option<FailedRun>,
    pub last_verified: Option<Verified>,
}

/// A backup that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// When the run began.
    pub time: Timestamp,
    /// 64 hexadecimal digits; the file's name at a target that takes sealed exports.
    pub snapshot: String,
    /// Of everything in it.
    pub bytes: u64,
    /// Bytes that the target did not have yet, as stored.
    pub added: u64,
    pub seconds: u64,
    /// Attachments were missing or altered on this host's disk already.
    pub damaged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRun {
    pub time: Timestamp,
    /// One sentence.
    pub why: String,
}

/// A backup was found whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    pub time: Timestamp,
    /// The share of the data that was read, 0 to 1; 0: its structure alone.
    pub share: f64,
}

// A share is never NaN: it was parsed from digits.
impl Eq for Verified {}

/// A person's word that the recovery kit is in another place than this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptKit {
    pub at: Timestamp,
    /// SHA-256 of what the kit held then: another target or password makes another kit.
    pub digest: String,
}

impl Default for BackupMemory {
    fn default() -> Self {
        BackupMemory { version: VERSION, targets: BTreeMap::new(), last_export: None, kit: None }
    }
}

impl TargetMemory {
    fn at(location: String) -> TargetMemory {
        TargetMemory {
            location,
            repository: None,
            last_success: None,
            last_failure: None,
            last_verified: None,
        }
    }
}

impl BackupMemory {
    /// What is remembered of this target where it is now.
    #[must_use]
    pub fn target(&self, target: &Target) -> Option<&TargetMemory> {
        self.targets.get(target.name.as_str()).filter(|known| known.location == target.place.to_string())
    }

    /// The same to be changed. A target that has moved starts anew.
    pub fn target_mut(&mut self, target: &Target) -> &mut TargetMemory {
        let location = target.place.to_string();
        let known =
            self.targets.entry(target.name.to_string()).or_insert_with(|| TargetMemory::at(location.clone()));
        if known.location != location {
            *known = TargetMemory::at(location);
        }
        known
    }

    pub fn succeeded(&mut self, target: &Target, success: Success) {
        let known = self.target_mut(target);
        known.last_success = Some(success);
        known.last_failure = None;
    }

    pub fn failed(&mut self, target: &Target, time: Timestamp, why: impl Into<String>) {
        self.target_mut(target).last_failure = Some(FailedRun { time, why: why.into() });
    }

    pub fn verified(&mut self, target: &Target, time: Timestamp, share: f64) {
        self.target_mut(target).last_verified = Some(Verified { time, share });
    }

    /// Reads what [`to_json`](Self::to_json) wrote. A version or a field that is not known is refused: a
    /// repository's identity that is overlooked lets an empty disk pass for the one with the backups.
    pub fn from_json(text: &str) -> Result<BackupMemory> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |error: serde_json::Error| {
            Failure::failed("what is remembered of the backups cannot be understood")
                .because(error)
                .hint("see that each target is mounted and has its repository: without this file a place that is empty \
                       gets a new one")
                .hint("then remove `state/backups.json`: the next `autoodoo backup` makes it anew")
        };
        let Version { version } = serde_json::from_str(text).map_err(damaged)?;
        if version != VERSION {
            let message =
                format!("`state/backups.json` is of version {version}; this autoodoo knows {VERSION}");
            return Err(Failure::failed(message).hint("use the autoodoo that wrote it, or a newer one"));
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// One field a line, with a final newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and times under text keys: there is nothing that JSON cannot hold.
        let mut text = serde_json::to_string_pretty(self).expect("a memory is plain JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, url: &str) -> Target {
        Target {
            name: name.parse().unwrap(),
            place: url.parse().unwrap(),
            required: true,
            own_password: false,
        }
    }

    fn hour(number: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + number * 3600).unwrap()
    }

    fn success(time: Timestamp) -> Success {
        Success { time, snapshot: "ab".repeat(32), bytes: 9, added: 3, seconds: 2, damaged: false }
    }

    #[test]
    fn the_written_form_is_stable() {
        let mut memory = BackupMemory::default();
        let disk = target("disk", "/srv/backup");
        memory.target_mut(&disk).repository = Some("4f1c".to_owned());
        memory.succeeded(&disk, success(hour(0)));
        memory.verified(&disk, hour(1), 0.1);
        memory.failed(&disk, hour(2), "no space is left");
        memory.kit = Some(KeptKit { at: hour(3), digest: "cd34".to_owned() });
        let text = memory.to_json();
        insta::assert_snapshot!(text);
        assert_eq!(BackupMemory::from_json(&text).unwrap(), memory);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let good = BackupMemory::default().to_json();
        let table = [
            (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (good.replace("\"kit\"", "\"zebra\": 1, \"kit\""), "unknown field `zebra`"),
            (good[..20].to_owned(), "EOF"),
        ];
        for (text, expected) in table {
            let failure = BackupMemory::from_json(&text).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
    }

    #[test]
    fn a_success_ends_a_failure_even_when_the_clock_goes_backwards() {
        let mut memory = BackupMemory::default();
        let disk = target("disk", "/srv/backup");
        memory.failed(&disk, hour(5), "no");
        memory.succeeded(&disk, success(hour(1)));
        assert_eq!(memory.target(&disk).unwrap().last_failure, None);
    }

    #[test]
    fn a_target_that_moves_is_another_place() {
        let mut memory = BackupMemory::default();
        let here = target("disk", "/srv/backup");
        memory.target_mut(&here).repository = Some("4f1c".to_owned());
        let there = target("disk", "/mnt/backup");
        assert_eq!(memory.target(&there), None);
        assert_eq!(memory.target_mut(&there).repository, None);
        assert_eq!(memory.target(&here), None);
    }
}
