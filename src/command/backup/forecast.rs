//! What a run will do: asked of the site, before anything is touched.

use super::cold;
use super::copy::is_repository;
use super::desk::{Desk, databases, volume};
use crate::backup::health;
use crate::backup::memory::BackupMemory;
use crate::backup::plan::{BackupPlan, Facts, TargetFacts, Weight};
use crate::capture::weight;
use crate::cli::CreateArgs;
use crate::command::site::Loaded;
use crate::command::{Adapters, Context};
use crate::event::Reporter;
use crate::failure::Result;
use crate::name::DbName;
use crate::observed::Observed;
use crate::site::backup::Target;

/// The plan, without touching anything. Of a server elsewhere nobody can ask how big the databases are
/// without making a container.
pub async fn foresee<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    observed: &Observed,
    targets: &[Target],
    args: &CreateArgs,
) -> Result<BackupPlan> {
    volume(loaded, observed)?;
    if loaded.site.postgres.external.is_some() {
        let names = loaded.site.databases().into_iter().map(|database| database.name.to_string());
        return plan(loaded, observed, targets, args, names.collect(), None);
    }
    let desk = Desk::set_up(context, loaded, engine, observed, String::new()).await?;
    let weighed = weigh(context, loaded, engine, &desk, targets).await?;
    let names = weighed.names.iter().map(ToString::to_string).collect();
    plan(loaded, observed, targets, args, names, weighed.weight)
}

/// How big the site is.
pub struct Weighed {
    pub names: Vec<DbName>,
    /// `None` where it took too long to find out.
    pub weight: Option<Weight>,
}

/// Attachments are counted for targets that have none yet.
pub async fn weigh<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    desk: &Desk,
    targets: &[Target],
) -> Result<Weighed> {
    let (names, database_bytes) = databases(loaded, engine, &desk.client).await?;
    let memory = loaded.dir.backups()?;
    let mut filestore_bytes = 0;
    if targets.iter().any(|target| last_added(&memory, target).is_none()) {
        for name in &names {
            match weight::attachments(engine, &desk.client, name).await {
                Ok(bytes) => filestore_bytes += bytes,
                Err(failure) => {
                    context.ui.warning(format!("{failure}; whether targets have room is not looked at"));
                    return Ok(Weighed { names, weight: None });
                }
            }
        }
    }
    Ok(Weighed { names, weight: Some(Weight { database_bytes, filestore_bytes }) })
}

fn last_added(memory: &BackupMemory, target: &Target) -> Option<u64> {
    Some(memory.target(target)?.last_success.as_ref()?.added)
}

pub fn plan(
    loaded: &Loaded,
    observed: &Observed,
    targets: &[Target],
    args: &CreateArgs,
    databases: Vec<String>,
    weight: Option<Weight>,
) -> Result<BackupPlan> {
    let memory = loaded.dir.backups()?;
    let left_stopped = cold::left_stopped(loaded, observed)?;
    let running = cold::running(loaded, observed);
    // What an earlier run has stopped runs again by the time this one stops it.
    let running = left_stopped.iter().chain(running.iter().filter(|name| !left_stopped.contains(name)));
    let facts = Facts {
        databases,
        weight,
        stopped_for_cold: if args.cold { running.cloned().collect() } else { Vec::new() },
        targets: targets
            .iter()
            .map(|target| TargetFacts {
                name: target.name.to_string(),
                place: target.place.to_string(),
                required: target.required,
                known: !is_repository(&target.place)
                    || memory.target(target).is_some_and(|memory| memory.repository.is_some()),
                last_added: last_added(&memory, target),
            })
            .collect(),
        lack: health::lack(&loaded.site.backup.targets),
        left_stopped,
    };
    Ok(BackupPlan::new(&facts))
}
