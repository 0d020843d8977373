//! What a run will do, before it does it.

use std::fmt;

use serde::Serialize;

use super::words::bytes;

/// One thing that a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Containers that a killed cold run has left stopped.
    StartOdoo {
        containers: Vec<String>,
    },
    /// Removes what a killed run has left in the filestore's volume and in PostgreSQL.
    Sweep,
    StopOdoo {
        containers: Vec<String>,
    },
    /// Takes hold of one moment of each database and its attachments.
    Capture {
        databases: Vec<String>,
    },
    BackUp {
        target: String,
        /// As people write it, without secrets.
        place: String,
        /// The repository is made, where the place is empty.
        makes_repository: bool,
        /// Bytes that may have to be written; `None` where the databases could not be asked.
        estimated_bytes: Option<u64>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub action: Action,
    /// Why it is done.
    pub cause: String,
}

/// Steps in order. The first target that fails does not keep the others from theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupPlan {
    pub steps: Vec<Step>,
    /// Things worth saying that lead to no step.
    pub remarks: Vec<String>,
}

/// What the plan depends on.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub databases: Vec<String>,
    /// `None` where the databases could not be asked.
    pub weight: Option<Weight>,
    pub targets: Vec<TargetFacts>,
    /// What the site's targets lack together, in a sentence.
    pub lack: Option<&'static str>,
    /// Containers with Odoo in them that a cold run stops; empty for a hot one.
    pub stopped_for_cold: Vec<String>,
    /// Containers that a killed cold run has left stopped.
    pub left_stopped: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// All databases (`pg_database_size`).
    pub database_bytes: u64,
    /// All attachments; needed for a target that has none of them.
    pub filestore_bytes: u64,
}

#[derive(Debug, Clone)]
pub struct TargetFacts {
    pub name: String,
    pub place: String,
    pub required: bool,
    /// It has a repository.
    pub known: bool,
    /// Bytes that the last run added; `None` before the first.
    pub last_added: Option<u64>,
}

impl BackupPlan {
    #[must_use]
    pub fn new(facts: &Facts) -> BackupPlan {
        let mut plan = BackupPlan::default();
        if !facts.left_stopped.is_empty() {
            let action = Action::StartOdoo { containers: facts.left_stopped.clone() };
            plan.push(action, "an earlier run was cut off while Odoo was stopped");
        }
        plan.push(Action::Sweep, "a run that was cut off leaves links and sessions behind");
        if !facts.stopped_for_cold.is_empty() {
            let action = Action::StopOdoo { containers: facts.stopped_for_cold.clone() };
            plan.push(action, "--cold: all databases are of one moment");
        }
        let capture = Action::Capture { databases: facts.databases.clone() };
        plan.push(capture, "dump and attachments of a database must fit each other");
        if !facts.stopped_for_cold.is_empty() {
            let action = Action::StartOdoo { containers: facts.stopped_for_cold.clone() };
            plan.push(action, "the moment is held; Odoo need not wait for the targets");
        }
        for target in &facts.targets {
            plan.back_up(facts, target);
        }
        plan.remarks.extend(facts.lack.map(str::to_owned));
        plan
    }

    fn back_up(&mut self, facts: &Facts, target: &TargetFacts) {
        let estimated_bytes = facts.weight.map(|weight| estimate(target.last_added, weight));
        let cause = match (target.required, target.last_added) {
            (_, None) => "its first backup",
            (true, _) => "it is required",
            (false, _) => "it is optional: its failure is a warning",
        };
        let (name, place) = (target.name.clone(), target.place.clone());
        let makes_repository = !target.known;
        self.push(Action::BackUp { target: name, place, makes_repository, estimated_bytes }, cause);
    }

    fn push(&mut self, action: Action, cause: impl Into<String>) {
        self.steps.push(Step { action, cause: cause.into() });
    }
}

/// Bytes that a run may have to write to a target. The repository knows most of the attachments; of
/// a database's dump it may know nothing, after an upgrade or a `VACUUM FULL`.
#[must_use]
pub fn estimate(last_added: Option<u64>, weight: Weight) -> u64 {
    last_added.unwrap_or(weight.filestore_bytes).saturating_add(weight.database_bytes)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::StartOdoo { containers } => {
                write!(f, "start {} and wait for the login page", containers.join(", "))
            }
            Action::Sweep => write!(f, "remove what earlier runs left"),
            Action::StopOdoo { containers } => write!(f, "stop {}", containers.join(", ")),
            Action::Capture { databases } => {
                write!(f, "hold one moment of {} and its attachments", databases.join(", "))
            }
            Action::BackUp { target, place, makes_repository, estimated_bytes } => {
                let new = if *makes_repository { ", a new repository" } else { "" };
                write!(f, "back up to {target} ({place}{new})")?;
                estimated_bytes.map_or(Ok(()), |estimated| write!(f, ", at most {}", bytes(estimated)))
            }
        }
    }
}

impl fmt::Display for BackupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "[{number}] {}: {}", step.action, step.cause)?;
        }
        for remark in &self.remarks {
            writeln!(f, "note: {remark}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let target = |name: &str, required, last_added: Option<u64>| TargetFacts {
            name: name.to_owned(),
            place: format!("/srv/{name}"),
            required,
            known: last_added.is_some(),
            last_added,
        };
        Facts {
            databases: vec!["acme".to_owned(), "shop".to_owned()],
            weight: Some(Weight { database_bytes: 1_000_000_000, filestore_bytes: 2_000_000_000 }),
            targets: vec![target("near", true, Some(45_000_000)), target("far", false, None)],
            ..Facts::default()
        }
    }

    #[test]
    fn a_hot_run() {
        insta::assert_snapshot!(BackupPlan::new(&facts()), @r"
        [1] remove what earlier runs left: a run that was cut off leaves links and sessions behind
        [2] hold one moment of acme, shop and its attachments: dump and attachments of a database must fit each other
        [3] back up to near (/srv/near), at most 1 GB: it is required
        [4] back up to far (/srv/far, a new repository), at most 3 GB: its first backup
        ");
    }

    #[test]
    fn a_cold_run_after_one_that_was_killed() {
        let odoo = vec!["acme-odoo-a".to_owned(), "acme-cron".to_owned()];
        let mut facts = facts();
        facts.targets.truncate(1);
        facts.lack = Some("there is one target only");
        (facts.stopped_for_cold, facts.left_stopped) = (odoo.clone(), odoo);
        insta::assert_snapshot!(BackupPlan::new(&facts), @r"
        [1] start acme-odoo-a, acme-cron and wait for the login page: an earlier run was cut off while Odoo was stopped
        [2] remove what earlier runs left: a run that was cut off leaves links and sessions behind
        [3] stop acme-odoo-a, acme-cron: --cold: all databases are of one moment
        [4] hold one moment of acme, shop and its attachments: dump and attachments of a database must fit each other
        [5] start acme-odoo-a, acme-cron and wait for the login page: the moment is held; Odoo need not wait for the targets
        [6] back up to near (/srv/near), at most 1 GB: it is required
        note: there is one target only
        ");
    }

    #[test]
    fn a_repository_that_knows_the_attachments_needs_room_for_the_databases() {
        let weight = Weight { database_bytes: 10, filestore_bytes: 200 };
        assert_eq!(estimate(None, weight), 210);
        assert_eq!(estimate(Some(3), weight), 13);
        assert_eq!(estimate(Some(u64::MAX), weight), u64::MAX);
    }
}
