//! Where PostgreSQL's client programs run, and what there is to capture.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::apply::client;
use crate::backup::manifest::{BackupKind, ImageFacts};
use crate::backup::memory::BackupMemory;
use crate::capture::{Client, Log, Subject, weight};
use crate::command::open::running;
use crate::command::site::Loaded;
use crate::command::up::with_situation;
use crate::command::{Adapters, Context};
use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::name::DbName;
use crate::observed::{Container, Labelled, Observed};
use crate::plan::up::pinned;
use crate::render::libpq::Endpoint;
use crate::site::External;
use crate::site::backup::Target;
use crate::stack::names;
use crate::stack::server;
use crate::stack::spec::Role;

/// PostgreSQL's client programs, for the time of one command.
pub struct Desk {
    pub client: Client,
    /// A container that is there for this command only.
    helper: Option<String>,
}

impl Desk {
    /// In the server's own container; for a server elsewhere in a container made for this and called
    /// `name`.
    pub async fn set_up<A: Adapters>(
        context: &Context<'_, A>,
        loaded: &Loaded,
        engine: &A::Engine,
        observed: &Observed,
        name: String,
    ) -> Result<Desk> {
        let Some(external) = &loaded.site.postgres.external else {
            let container = running(loaded, observed, Role::Postgres)?;
            return Ok(Desk { client: Client::own(container), helper: None });
        };
        crate::command::open::running_server(loaded, observed)?;
        if observed.containers.iter().any(|container| container.name == name) {
            // A killed run's.
            engine.remove(&name).await?;
        }
        let spec = with_situation(context, loaded, observed, 0, |situation| {
            Ok(pinned(situation, &server::client(&situation.inputs)))
        })?;
        engine.create(&crate::stack::spec::ContainerSpec { name: name.clone(), ..spec }).await?;
        let desk = Desk { client: Client::elsewhere(name.clone()), helper: Some(name) };
        match desk.furnish(loaded, engine, external).await {
            Ok(()) => Ok(desk),
            Err(failure) => {
                // What it left is removed by the next run, if not now.
                let _ = desk.clear(engine).await;
                Err(failure)
            }
        }
    }

    async fn furnish<E: Engine>(&self, loaded: &Loaded, engine: &E, external: &External) -> Result<()> {
        let container = &self.client.container;
        engine.start(container).await?;
        client::furnish(engine, container, &Endpoint::of_external(external), &loaded.secrets).await
    }

    pub async fn clear<E: Engine>(self, engine: &E) -> Result<()> {
        match self.helper {
            Some(helper) => engine.remove(&helper).await,
            None => Ok(()),
        }
    }
}

/// The databases to be saved and their size in bytes. Of a server of the site's own it is every one,
/// also one that the site file no longer names or that was made in Odoo's database manager; of a server
/// elsewhere those that are the site's.
pub async fn databases<E: Engine>(
    loaded: &Loaded,
    engine: &E,
    client: &Client,
) -> Result<(Vec<DbName>, u64)> {
    let mut named: Vec<DbName> = made(loaded);
    let mut bytes = 0;
    if loaded.site.postgres.external.is_some() {
        for name in &named {
            bytes += weight::database(engine, client, name).await?.bytes;
        }
        return Ok((named, bytes));
    }
    let found = weight::databases(engine, client).await?;
    let missing = named.iter().find(|name| !found.iter().any(|found| found.name == **name));
    if let Some(missing) = missing {
        return Err(Failure::failed(format!("database {missing} of this site does not exist"))
            .hint("nothing was backed up: a backup without it would in time be the only one")
            .hint(
                "bring it back from a backup, or take it out of autoodoo.yaml if it is not wanted any more",
            ));
    }
    bytes += found.iter().map(|found| found.bytes).sum::<u64>();
    let others = found.into_iter().map(|found| found.name).filter(|name| !named.contains(name));
    let others: Vec<DbName> = others.collect();
    named.extend(others);
    Ok((named, bytes))
}

/// Those that the site file names and that were made.
fn made(loaded: &Loaded) -> Vec<DbName> {
    let names = loaded.site.databases().into_iter().map(|database| database.name);
    let made = loaded.state.made.as_ref();
    names
        .filter(|name| made.is_some_and(|made| made.databases().any(|known| known == name.as_str())))
        .collect()
}

/// The directory on this host of the volume with Odoo's filestores.
pub fn volume(loaded: &Loaded, observed: &Observed) -> Result<PathBuf> {
    let name = names::web_volume(&loaded.site.name, loaded.state.generation);
    let found = observed.volumes.iter().find(|volume| volume.name == name);
    found.map(|volume| volume.directory.clone()).ok_or_else(|| {
        Failure::failed(format!("the volume {name} with the site's attachments does not exist"))
            .hint("nothing was backed up; `autoodoo status` shows what is there")
    })
}

/// Everything that a run captures.
pub fn subject<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    observed: &Observed,
    desk: &Desk,
    databases: Vec<DbName>,
    kind: BackupKind,
    logs_since: Option<i64>,
) -> Result<Subject> {
    Ok(Subject {
        site: loaded.site.name.to_string(),
        site_id: loaded.owner.site_id.clone(),
        root: loaded.dir.root().to_owned(),
        named: loaded.site.named_files(),
        volume: volume(loaded, observed)?,
        databases,
        client: desk.client.clone(),
        logs: logs(loaded, observed),
        logs_since,
        began: context.adapters.clock().now(),
        kind,
        images: images(loaded, observed),
        odoo_release: loaded.site.odoo.release.number(),
    })
}

fn logs(loaded: &Loaded, observed: &Observed) -> Vec<Log> {
    let speaks =
        |role| matches!(role, Some(Role::Postgres | Role::Tunnel | Role::Odoo | Role::Cron | Role::Nginx));
    let ours = observed.containers.iter().filter(|container| {
        container.site_id() == Some(loaded.owner.site_id.as_str()) && speaks(container.role())
    });
    let mut logs: Vec<Log> = ours.map(log).collect();
    logs.sort_by(|a, b| a.container.cmp(&b.container));
    logs
}

fn log(container: &Container) -> Log {
    // A tunnel may be silent for ever; the others tell that they start.
    let tells = container.role() != Some(Role::Tunnel);
    let started = container.started_at.as_ref().filter(|_| tells);
    Log { container: container.name.clone(), begun: started.and_then(|time| time.parse().ok()) }
}

/// Since when a target may lack log lines; `None` where one has none at all, and where nobody can tell:
/// a backup that was made after `now` was dated by a clock that has been put right since. In Unix
/// seconds.
#[must_use]
pub fn logs_since(memory: &BackupMemory, targets: &[Target], now: Timestamp) -> Option<i64> {
    let last = targets.iter().map(|target| Some(memory.target(target)?.last_success.as_ref()?.time));
    let last: Vec<Timestamp> = last.collect::<Option<_>>()?;
    let is_known = last.iter().all(|time| *time <= now);
    last.into_iter().min().filter(|_| is_known).map(Timestamp::as_second)
}

fn images(loaded: &Loaded, observed: &Observed) -> Vec<ImageFacts> {
    let site = &loaded.site;
    let named =
        [("odoo", &site.odoo.image), ("postgres", &site.postgres.image), ("nginx", &site.nginx.image)];
    let facts = named.into_iter().map(|(service, reference)| {
        let id = loaded.pins.image_id(reference, observed).unwrap_or_default().to_owned();
        let image = observed.images.values().find(|image| image.id == id);
        let digests = image.map(|image| image.repo_digests.clone()).unwrap_or_default();
        ImageFacts { service: service.to_owned(), reference: reference.to_string(), id, digests }
    });
    facts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::memory::Success;

    #[test]
    fn log_lines_are_read_from_the_oldest_last_backup_on_unless_its_time_cannot_be() {
        let hour = |number: i64| Timestamp::from_second(1_780_000_000 + number * 3600).unwrap();
        let target = |name: &str| Target {
            name: name.parse().unwrap(),
            place: format!("/srv/{name}").parse().unwrap(),
            required: true,
            own_password: false,
        };
        let targets = [target("one"), target("two")];
        let mut memory = BackupMemory::default();
        let mut succeeded = |target: &Target, time| {
            let snapshot = "ab".repeat(32);
            let success = Success { time, snapshot, bytes: 1, added: 1, seconds: 1, damaged: false };
            memory.succeeded(target, success);
            memory.clone()
        };
        let table = [
            (succeeded(&targets[0], hour(5)), None, "one target has no backup"),
            (succeeded(&targets[1], hour(3)), Some(hour(3).as_second()), "the older one counts"),
            (succeeded(&targets[0], hour(9)), None, "the clock went back"),
        ];
        for (memory, since, why) in table {
            assert_eq!(logs_since(&memory, &targets, hour(8)), since, "{why}");
        }
    }
}
