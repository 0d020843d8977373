//! Odoo stopped for a moment, and always started again: also after a failure and after Ctrl-C, and
//! after a kill by the next `backup` or `up`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::command::site::Loaded;
use crate::command::{Adapters, Context as Command, run};
use crate::engine::Engine;
use crate::failure::{Context, Failure, Kind, Result};
use crate::host::files;
use crate::observed::{Container, Labelled, Observed, RunState};
use crate::plan::Action;
use crate::plan::up::probes;
use crate::stack::ODOO_GRACE;
use crate::stack::spec::Role;

/// Seconds until Odoo shows its login page again, as `up` gives it.
const ANSWERS: u32 = 300;

/// What was stopped and is to be started again. On disk before anything stops.
#[derive(Debug, Serialize, Deserialize)]
struct Stopped {
    containers: Vec<String>,
    /// The process that stopped them.
    #[serde(default)]
    pid: u32,
}

/// The site's containers in which Odoo runs now: those that serve and the one for scheduled actions.
#[must_use]
pub fn running(loaded: &Loaded, observed: &Observed) -> Vec<String> {
    let runs = |container: &&Container| container.state == RunState::Running;
    ours(loaded, observed).filter(runs).map(|container| container.name.clone()).collect()
}

/// Those that a run which was cut off has stopped and not started again.
pub fn left_stopped(loaded: &Loaded, observed: &Observed) -> Result<Vec<String>> {
    let Some(bytes) = files::read_optional(&mark(loaded))? else { return Ok(Vec::new()) };
    // A mark that a crash tore says that something was stopped, and not what: all that stands still.
    let stopped: Option<Stopped> = serde_json::from_slice(&bytes).ok();
    let meant = |name: &String| stopped.as_ref().is_none_or(|stopped| stopped.containers.contains(name));
    let still = ours(loaded, observed).filter(|container| container.state == RunState::Exited);
    Ok(still.map(|container| container.name.clone()).filter(meant).collect())
}

fn ours<'a>(loaded: &'a Loaded, observed: &'a Observed) -> impl Iterator<Item = &'a Container> {
    observed.containers.iter().filter(|container| {
        matches!(container.role(), Some(Role::Odoo | Role::Cron))
            && container.site_id() == Some(loaded.owner.site_id.as_str())
    })
}

pub async fn stop<A: Adapters>(
    command: &Command<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    containers: &[String],
) -> Result<()> {
    let stopped = Stopped { containers: containers.to_vec(), pid: command.adapters.machine().pid };
    let text = serde_json::to_vec(&stopped).context("cannot write down what is stopped")?;
    files::write_atomic(&mark(loaded), &text, 0o600)?;
    // Scheduled actions first: what they have begun needs nobody else.
    for container in containers.iter().rev() {
        engine.stop(container, ODOO_GRACE).await?;
    }
    Ok(())
}

/// Starts them.
pub async fn start<E: Engine>(loaded: &Loaded, engine: &E, containers: &[String]) -> Result<()> {
    // One that cannot be started must not keep the others from it.
    let mut started = Ok(());
    for container in containers {
        started = started.and(engine.start(container).await);
    }
    started?;
    forget(loaded)
}

/// Waits until the site shows its login page and scheduled actions run. Its failure is no reason to
/// save nothing: of a site that is ill a backup is wanted most.
pub async fn answers<A: Adapters>(
    command: &Command<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
) -> Result<()> {
    let certificate = loaded.state.certificate.clone().unwrap_or_default();
    for mut probe in probes(&loaded.site, &certificate) {
        if let Action::ProbeSite { seconds, .. } = &mut probe {
            *seconds = ANSWERS;
        }
        run::check(command, loaded, engine, &probe).await?;
    }
    Ok(())
}

/// `done`: what was done all the same.
pub fn silent(done: &str, beneath: Failure) -> Failure {
    let message = format!("{done}, and Odoo, which was started again, does not answer");
    let causes = [beneath.message].into_iter().chain(beneath.causes).collect();
    Failure { kind: Kind::Failed, message, causes, ..beneath }
}

/// After a run that failed: what it, or one before it, has stopped and not started. Ctrl-C ends the
/// waiting for the login page.
pub async fn start_what_stands_still<A: Adapters>(
    command: &Command<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
) -> Result<()> {
    if !is_marked(loaded)? {
        return Ok(());
    }
    let observed = loaded.observe(engine).await?;
    for container in on_their_way_down(command, loaded, &observed)? {
        engine.stop(&container, ODOO_GRACE).await?;
    }
    let observed = loaded.observe(engine).await?;
    let still = left_stopped(loaded, &observed)?;
    if still.is_empty() {
        return forget(loaded);
    }
    start(loaded, engine, &still).await?;
    tokio::select! {
        answers = answers(command, loaded, engine) => answers,
        () = command.adapters.interrupted() => Ok(()),
    }
}

/// Those that this process was stopping when it was told to leave at once. They run still, and nothing
/// holds them up: only once they stand still can they be started.
fn on_their_way_down<A: Adapters>(
    command: &Command<'_, A>,
    loaded: &Loaded,
    observed: &Observed,
) -> Result<Vec<String>> {
    let bytes = files::read_optional(&mark(loaded))?.unwrap_or_default();
    let stopped = serde_json::from_slice::<Stopped>(&bytes).ok();
    let Some(stopped) = stopped.filter(|stopped| stopped.pid == command.adapters.machine().pid) else {
        return Ok(Vec::new());
    };
    let mut running = running(loaded, observed);
    running.retain(|name| stopped.containers.contains(name));
    Ok(running)
}

fn is_marked(loaded: &Loaded) -> Result<bool> {
    Ok(files::mode_of(&mark(loaded))?.is_some())
}

/// Nothing stands still any more.
pub fn forget(loaded: &Loaded) -> Result<()> {
    files::remove(&mark(loaded))
}

fn mark(loaded: &Loaded) -> PathBuf {
    loaded.dir.state_dir().join("stopped-for-backup.json")
}
