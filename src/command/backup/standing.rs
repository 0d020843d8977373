//! What `status` says of the backups, from what is remembered: no target is asked.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::kit;
use crate::backup::health::{ago, problems};
use crate::backup::memory::{FailedRun, Success, TargetMemory, Verified};
use crate::backup::words;
use crate::command::site::Loaded;
use crate::site::backup::Target;

#[derive(Debug, Serialize)]
pub struct BackupStatus {
    targets: Vec<TargetStatus>,
    last_export: Option<Timestamp>,
    /// What has to be seen to, one sentence each.
    problems: Vec<String>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
struct TargetStatus {
    name: String,
    place: String,
    required: bool,
    last_success: Option<Success>,
    last_failure: Option<FailedRun>,
    last_verified: Option<Verified>,
}

/// What cannot be read is a problem of the backups', and none of the rest of the site.
#[must_use]
pub fn standing(loaded: &Loaded, now: Timestamp) -> BackupStatus {
    let targets = &loaded.site.backup.targets;
    let memory = match loaded.dir.backups() {
        Ok(memory) => memory,
        Err(failure) => {
            let problems = vec![format!("what is known of the backups cannot be read: {failure}")];
            return BackupStatus { targets: Vec::new(), last_export: None, problems, now };
        }
    };
    // While a target is not set up there is no kit, and something else to be told.
    let (kit_is_kept, fault) = match kit::is_to_be_kept(loaded, &memory) {
        Ok(is_to_be_kept) => (!is_to_be_kept, None),
        Err(failure) => (true, Some(format!("there is no recovery kit: {failure}"))),
    };
    let status = |target: &Target| TargetStatus::of(target, memory.target(target).cloned());
    BackupStatus {
        targets: targets.iter().map(status).collect(),
        last_export: memory.last_export,
        problems: fault.into_iter().chain(problems(targets, &memory, kit_is_kept, now)).collect(),
        now,
    }
}

impl TargetStatus {
    fn of(target: &Target, memory: Option<TargetMemory>) -> TargetStatus {
        let (last_success, last_failure, last_verified) = match memory {
            Some(memory) => (memory.last_success, memory.last_failure, memory.last_verified),
            None => (None, None, None),
        };
        TargetStatus {
            name: target.name.to_string(),
            place: target.place.to_string(),
            required: target.required,
            last_success,
            last_failure,
            last_verified,
        }
    }
}

impl fmt::Display for BackupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut label = "backup";
        for target in &self.targets {
            let state = match &target.last_success {
                Some(success) => format!("{}, {}", ago(success.time, self.now), words::bytes(success.bytes)),
                None => "no backup yet".to_owned(),
            };
            writeln!(f, "{label:<6}  {}: {state}, at {}", target.name, target.place)?;
            label = "";
        }
        for problem in &self.problems {
            writeln!(f, "{label:<6}  PROBLEM: {problem}")?;
            label = "";
        }
        Ok(())
    }
}
