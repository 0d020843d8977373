//! What `backup setup` would do, by what is there.

use std::fmt;

use serde::Serialize;

use crate::command::backup::sealing;
use crate::command::site::Loaded;
use crate::failure::Result;
use crate::host::files;
use crate::site::backup::{Place, Target};

#[derive(Serialize)]
struct Steps {
    target: String,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Step {
    action: String,
    cause: &'static str,
}

/// What is there of a target.
#[expect(clippy::struct_excessive_bools, reason = "each is a file of its own")]
struct Facts {
    password: bool,
    key: bool,
    host_key: bool,
    credentials: bool,
    recipients: bool,
    repository: bool,
}

impl Facts {
    fn of(loaded: &Loaded, target: &Target) -> Result<Facts> {
        let (secrets, name) = (loaded.dir.backup_secrets(), &target.name);
        Ok(Facts {
            password: secrets.has_password(target)?,
            key: files::mode_of(&secrets.ssh_key(name))?.is_some(),
            host_key: files::mode_of(&secrets.known_hosts(name))?.is_some(),
            credentials: secrets.credentials(name)?.is_some(),
            recipients: !sealing::names_nobody(&secrets, name)?,
            repository: loaded.dir.backups()?.target(target).is_some_and(|found| found.repository.is_some()),
        })
    }
}

impl Planned {
    pub fn of(loaded: &Loaded, targets: &[Target]) -> Result<Planned> {
        let facts = targets.iter().map(|target| Facts::of(loaded, target)).collect::<Result<Vec<_>>>()?;
        Ok(planned(targets.iter().zip(facts)))
    }
}

/// The password that several targets share is made once.
fn planned<'a>(targets: impl Iterator<Item = (&'a Target, Facts)>) -> Planned {
    let mut has_shared = false;
    let steps = targets.map(|(target, mut facts)| {
        let shares = !target.own_password && !matches!(target.place, Place::Drop { .. });
        facts.password |= shares && has_shared;
        has_shared |= shares;
        Steps { target: target.name.to_string(), steps: steps(target, &facts) }
    });
    Planned { targets: steps.collect() }
}

fn steps(target: &Target, facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |wanted: bool, action: String, cause: &'static str| {
        if wanted {
            steps.push(Step { action, cause });
        }
    };
    let (name, place) = (&target.name, &target.place);
    let repository = !matches!(place, Place::Drop { .. });
    let password = if target.own_password { format!("{name}.password") } else { "password".to_owned() };
    match place {
        Place::Sftp { host, port, .. } | Place::Drop { host, port, .. } => {
            let host_key = format!("ask {host}:{port} for its host key, and you whether it is the right one");
            step(!facts.host_key, host_key, "nobody has said yet by which key the server is known");
            step(!facts.key, format!("make the ssh key secrets/backup/ssh/{name}"), "the target has none");
            let ask =
                format!("ask for whom exports are sealed, and keep it in secrets/backup/{name}.recipients");
            step(!repository && !facts.recipients, ask, "the file names nobody");
        }
        Place::S3 { .. } | Place::Rest { .. } => {
            let ask = format!("ask for the credentials, and keep them in secrets/backup/{name}.credentials");
            step(!facts.credentials && !facts.repository, ask, "the file does not exist");
        }
        Place::Local { .. } => {}
    }
    let make = format!("make the password secrets/backup/{password}");
    step(repository && !facts.password && !facts.repository, make, "the file does not exist");
    let open = format!("open the repository at {place}");
    step(repository && facts.repository, open, "to see that it is the one that was there");
    let found = format!("make the repository at {place}, or open the one that is there");
    step(repository && !facts.repository, found, "none was seen there yet");
    steps
}

#[derive(Serialize)]
pub struct Planned {
    targets: Vec<Steps>,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.targets.iter().flat_map(|target| target.steps.iter().map(move |step| (target, step)));
        for (number, (Steps { target, .. }, Step { action, cause })) in (1..).zip(all) {
            writeln!(f, "[{number}] {target}: {action}: {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, own_password: bool) -> Target {
        let place: Place = url.parse().unwrap();
        Target { name: place.own_name().unwrap(), place, required: true, own_password }
    }

    #[test]
    fn the_plan_follows_from_what_is_there() {
        let facts = |there| Facts {
            password: there,
            key: there,
            host_key: there,
            credentials: there,
            recipients: there,
            repository: there,
        };
        let targets = [
            target("/srv/b", false),
            target("/mnt/b", false),
            target("sftp://b@h:2222/x", true),
            target("s3://h/buck", false),
            target("rest:https://h/x", false),
            target("drop+sftp://b@h/in", false),
        ];
        let plan = |there| planned(targets.iter().map(|target| (target, facts(there)))).to_string();
        insta::assert_snapshot!(format!("{}\n{}", plan(false), plan(true)));
    }
}
