//! `backup` and `backup create`: one moment of the site, at every target.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::copy::Copying;
use super::desk::{Desk, logs_since, subject};
use super::forecast::{foresee, plan, weigh};
use super::opened::chosen;
use super::performance::Performance;
use super::summary::Outcome;
use super::{cold, kit};
use crate::backup::manifest::BackupKind;
use crate::cli::CreateArgs;
use crate::command::open::has_data;
use crate::command::site::{Loaded, load, load_locked};
use crate::command::{Adapters, Context, run};
use crate::event::Reporter;
use crate::failure::{Failure, Result};
use crate::observed::Observed;
use crate::repository::{Label, Progress};
use crate::site::backup::Target;
use crate::stack::names;

/// How long a run that is to stop may take to let go of what it holds.
const LAST_MOMENT: Duration = Duration::from_mins(3);
/// Between two looks whether a run is to stop.
const LOOK: Duration = Duration::from_millis(100);

pub async fn cmd_create<A: Adapters>(context: &Context<'_, A>, args: &CreateArgs) -> Result<()> {
    if args.dry_run {
        let loaded = load(context)?;
        let targets = chosen(&loaded, &args.target)?;
        has_data(&loaded)?;
        let engine = loaded.engine(context).await?;
        let observed = loaded.observe(&engine).await?;
        return context.ui.backup_plan(&foresee(context, &loaded, &engine, &observed, &targets, args).await?);
    }
    let (loaded, _lock) = load_locked(context, "backup")?;
    let targets = chosen(&loaded, &args.target)?;
    has_data(&loaded)?;
    let engine = loaded.engine(context).await?;
    run::after_interruption(context, &loaded)?;
    let done = copied(context, &loaded, &engine, &targets, args).await;
    if done.is_err() {
        // Whatever went wrong, and whenever: what a cold run has stopped runs again.
        cold::start_what_stands_still(context, &loaded, &engine).await?;
    }
    let outcome = done?;
    remind(context, &loaded);
    finish(context, outcome)
}

/// Of the recovery kit. What is wrong with it takes nothing from a backup that was made.
fn remind<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) {
    match loaded.dir.backups().and_then(|memory| kit::is_to_be_kept(loaded, &memory)) {
        Ok(false) => {}
        Ok(true) => context.ui.warning(
            "nobody has said that the recovery kit is kept elsewhere: without this server's files no backup can be \
             read; `autoodoo backup key show` prints it",
        ),
        Err(failure) => context.ui.warning(format!("there is no recovery kit: {failure}")),
    }
}

async fn copied<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    targets: &[Target],
    args: &CreateArgs,
) -> Result<Outcome> {
    let observed = loaded.observe(engine).await?;
    let helper = names::helper(&loaded.site.name, names::HELPER_BACKUP);
    let desk = Desk::set_up(context, loaded, engine, &observed, helper).await?;
    let done = at_desk(context, loaded, engine, &observed, targets, args, &desk).await;
    if let Err(failure) = desk.clear(engine).await {
        // The next run removes it; what was saved is saved.
        context.ui.warning(failure.to_string());
    }
    done
}

/// Says what came of it.
fn finish<A: Adapters>(context: &Context<'_, A>, outcome: Outcome) -> Result<()> {
    for warning in outcome.warnings() {
        context.ui.warning(warning);
    }
    let global = &context.cli.global;
    if let Some(summary) = outcome.summary()
        && (global.json || !global.quiet)
    {
        context.ui.result(&summary)?;
    }
    outcome.verdict()
}

/// Plans and carries out.
async fn at_desk<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    observed: &Observed,
    targets: &[Target],
    args: &CreateArgs,
    desk: &Desk,
) -> Result<Outcome> {
    let weighed = weigh(context, loaded, engine, desk, targets).await?;
    let names = weighed.names.iter().map(ToString::to_string).collect();
    let plan = plan(loaded, observed, targets, args, names, weighed.weight)?;
    for remark in &plan.remarks {
        context.ui.note(remark.clone());
    }
    let kind = if args.cold { BackupKind::Cold } else { BackupKind::Hot };
    let since = logs_since(&loaded.dir.backups()?, targets, context.adapters.clock().now());
    let subject = subject(context, loaded, observed, desk, weighed.names, kind, since)?;
    let label = Label { site: subject.site.clone(), tags: vec![kind.word().to_owned()], time: subject.began };
    let progress = Arc::new(Progress::default());
    let copying = Copying { context, loaded, label, progress: Arc::clone(&progress) };
    let performance = Performance {
        context,
        loaded,
        engine,
        subject: &subject,
        targets,
        copying,
        stopped: Cell::default(),
    };
    until_interrupted(context, &progress, performance.carry_out(&plan), interruption).await
}

/// Ctrl-C lets the run let go of what it holds; a second one does not wait for that.
pub(super) async fn until_interrupted<A: Adapters, T>(
    context: &Context<'_, A>,
    progress: &Progress,
    work: impl Future<Output = Result<T>>,
    interruption: fn() -> Failure,
) -> Result<T> {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = context.adapters.interrupted() => {}
    }
    progress.stop.store(true, Ordering::Relaxed);
    context.ui.note("stopping; once more Ctrl-C stops at once");
    tokio::select! {
        done = &mut work => done,
        () = context.adapters.interrupted() => Err(interruption()),
        () = tokio::time::sleep(LAST_MOMENT) => Err(interruption()),
    }
}

/// Gives up work that cannot be told to stop.
pub(super) async fn unless_stopped<T>(
    progress: &Progress,
    work: impl Future<Output = Result<T>>,
    interruption: fn() -> Failure,
) -> Result<T> {
    let stopped = async {
        while !progress.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = stopped => Err(interruption()),
    }
}

pub(super) fn interruption() -> Failure {
    Failure::failed("interrupted; no target has a backup of this run but those that were done")
        .hint("nothing half-made is left that looks like a backup; run the command again")
}
