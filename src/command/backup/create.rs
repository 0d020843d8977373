//! `backup` and `backup create`: one moment of the site, at every target.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::copy::{Copying, is_repository};
use super::desk::{Desk, databases, logs_since, subject, volume};
use super::opened::chosen;
use super::summary::{Copied, Outcome};
use super::{cold, kit};
use crate::backup::manifest::BackupKind;
use crate::backup::memory::{BackupMemory, Success};
use crate::backup::plan::{Action, BackupPlan, Facts, Step, TargetFacts, Weight};
use crate::capture::{Moment, Subject, sweep, weight};
use crate::cli::CreateArgs;
use crate::command::open::has_data;
use crate::command::site::{Loaded, load, load_locked};
use crate::command::{Adapters, Context, run};
use crate::event::{Event, Reporter};
use crate::failure::{Failure, Result};
use crate::host::journal::{BACKUP, Journal, Outcome as Ending};
use crate::observed::Observed;
use crate::repository::{Label, Progress, Saved};
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
    let observed = loaded.observe(&engine).await?;
    let helper = names::helper(&loaded.site.name, names::HELPER_BACKUP);
    let desk = Desk::set_up(context, &loaded, &engine, &observed, helper).await?;
    let done = at_desk(context, &loaded, &engine, &observed, &targets, args, &desk).await;
    let cleared = desk.clear(&engine).await;
    let outcome = done?;
    if kit::is_to_be_kept(&loaded, &loaded.dir.backups()?)? {
        context.ui.warning(
            "nobody has said that the recovery kit is kept elsewhere: without this server's files no backup can be \
             read; `autoodoo backup key show` prints it",
        );
    }
    finish(context, outcome)?;
    cleared
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

/// The plan, without touching anything. Of a server elsewhere nobody can ask how big the databases are
/// without making a container.
async fn foresee<A: Adapters>(
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
    let weighed = weigh(loaded, engine, &desk, targets).await?;
    let names = weighed.names.iter().map(ToString::to_string).collect();
    plan(loaded, observed, targets, args, names, Some(weighed.weight))
}

struct Weighed {
    names: Vec<crate::name::DbName>,
    weight: Weight,
}

/// Attachments are counted for targets that have none yet.
async fn weigh<E: crate::engine::Engine>(
    loaded: &Loaded,
    engine: &E,
    desk: &Desk,
    targets: &[Target],
) -> Result<Weighed> {
    let (names, database_bytes) = databases(loaded, engine, &desk.client).await?;
    let memory = loaded.dir.backups()?;
    let mut filestore_bytes = 0;
    if targets.iter().any(|target| last_added(&memory, target).is_none()) {
        for name in &names {
            filestore_bytes += weight::attachments(engine, &desk.client, name).await?;
        }
    }
    Ok(Weighed { names, weight: Weight { database_bytes, filestore_bytes } })
}

fn last_added(memory: &BackupMemory, target: &Target) -> Option<u64> {
    Some(memory.target(target)?.last_success.as_ref()?.added)
}

fn plan(
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
                last_added: last_added(&memory, target),
            })
            .collect(),
        only: loaded.site.backup.targets.len() < 2,
        left_stopped,
    };
    Ok(BackupPlan::new(&facts))
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
    let weighed = weigh(loaded, engine, desk, targets).await?;
    let names = weighed.names.iter().map(ToString::to_string).collect();
    let plan = plan(loaded, observed, targets, args, names, Some(weighed.weight))?;
    for remark in &plan.remarks {
        context.ui.note(remark.clone());
    }
    let kind = if args.cold { BackupKind::Cold } else { BackupKind::Hot };
    let since = logs_since(&loaded.dir.backups()?, targets);
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

fn interruption() -> Failure {
    Failure::failed("interrupted; no target has a backup of this run but those that were done")
        .hint("nothing half-made is left that looks like a backup; run the command again")
}

/// One run, carried out.
struct Performance<'a, A: Adapters> {
    context: &'a Context<'a, A>,
    loaded: &'a Loaded,
    engine: &'a A::Engine,
    subject: &'a Subject,
    targets: &'a [Target],
    copying: Copying<'a, A>,
    /// Odoo stands still for this run.
    stopped: Cell<bool>,
}

/// What a run holds and has done.
struct Hand<'a, E: crate::engine::Engine> {
    moment: Option<Moment<'a, E>>,
    copies: Vec<Copied>,
}

impl<'a, A: Adapters> Performance<'a, A> {
    async fn carry_out(&self, plan: &BackupPlan) -> Result<Outcome> {
        let (journal, begun) = (self.loaded.dir.journal(), Instant::now());
        let texts = plan.steps.iter().map(|step| step.action.to_string()).collect();
        journal.begin(self.now(), BACKUP, texts)?;
        let mut hand = Hand { moment: None, copies: Vec::new() };
        let done = self.steps(plan, &journal, &mut hand).await;
        let facts = match hand.moment.take() {
            Some(moment) => Some(moment.end().await),
            None => None,
        };
        let running = self.odoo_runs(plan).await;
        let good = done.is_ok() && running.is_ok() && hand.copies.iter().all(|copied| copied.outcome.is_ok());
        journal.end(self.now(), if good { Ending::Done } else { Ending::Failed })?;
        // Odoo that does not come back is worse than a backup that is missing.
        running?;
        done?;
        let (manifest, stalls) = self.learnt(facts, &mut hand.copies);
        Ok(Outcome {
            kind: self.subject.kind,
            databases: self.subject.databases.iter().map(ToString::to_string).collect(),
            copies: hand.copies,
            manifest,
            stalls,
            took: begun.elapsed(),
        })
    }

    async fn steps(
        &self,
        plan: &BackupPlan,
        journal: &Journal,
        hand: &mut Hand<'a, A::Engine>,
    ) -> Result<()> {
        for (number, step) in (1..).zip(&plan.steps) {
            if self.is_stopped() {
                return Err(interruption());
            }
            journal.step_begin(self.now(), number)?;
            self.step((number, plan.steps.len()), step, hand).await?;
            journal.step_end(self.now(), number)?;
        }
        Ok(())
    }

    async fn step(
        &self,
        (number, of): (usize, usize),
        step: &Step,
        hand: &mut Hand<'a, A::Engine>,
    ) -> Result<()> {
        let (action, cause) = (step.action.to_string(), step.cause.clone());
        self.context.ui.report(Event::StepStarted { number, of, action, cause });
        let begun = Instant::now();
        let good = self.perform(&step.action, hand).await;
        let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.context.ui.report(match good {
            Ok(true) => Event::StepDone { number, of, milliseconds },
            Ok(false) | Err(_) => Event::StepFailed { number, of },
        });
        good.map(drop)
    }

    /// `Ok(false)`: it failed, and the run goes on.
    async fn perform(&self, action: &Action, hand: &mut Hand<'a, A::Engine>) -> Result<bool> {
        match action {
            Action::StartOdoo { containers } => self.start(containers).await?,
            Action::Sweep => self.sweep().await?,
            Action::StopOdoo { containers } => {
                self.stopped.set(true);
                cold::stop(self.loaded, self.engine, containers).await?;
            }
            Action::Capture { .. } => {
                let beginning = Moment::begin(self.engine, self.subject, self.context.ui);
                hand.moment = Some(unless_stopped(&self.copying.progress, beginning, interruption).await?);
            }
            Action::BackUp { target, estimated_bytes, .. } => {
                return self.back_up(target, estimated_bytes.unwrap_or_default(), hand).await;
            }
        }
        Ok(true)
    }

    async fn start(&self, containers: &[String]) -> Result<()> {
        cold::start(self.context, self.loaded, self.engine, containers).await?;
        self.stopped.set(false);
        Ok(())
    }

    /// Whatever happened: what this run has stopped runs again.
    async fn odoo_runs(&self, plan: &BackupPlan) -> Result<()> {
        let stopped = plan.steps.iter().find_map(|step| match &step.action {
            Action::StopOdoo { containers } => Some(containers),
            _ => None,
        });
        match stopped {
            Some(containers) if self.stopped.get() => self.start(containers).await,
            _ => Ok(()),
        }
    }

    async fn sweep(&self) -> Result<()> {
        let Subject { client, volume, databases, .. } = self.subject;
        sweep(self.engine, client, volume, databases).await
    }

    async fn back_up(
        &self,
        name: &str,
        estimated_bytes: u64,
        hand: &mut Hand<'a, A::Engine>,
    ) -> Result<bool> {
        let target = self.targets.iter().find(|target| target.name.as_str() == name);
        let (Some(target), Some(moment)) = (target, &mut hand.moment) else { return Ok(true) };
        let begun = Instant::now();
        let outcome = if is_repository(&target.place) {
            self.copying.to(moment, target, estimated_bytes).await
        } else {
            Err(Failure::failed("sealed exports to a drop directory are not built yet"))
        };
        if self.is_stopped() && outcome.is_err() {
            return Err(interruption());
        }
        let took = begun.elapsed();
        let is_damaged = moment.manifest().is_some_and(|manifest| manifest.is_damaged());
        self.remember(target, &outcome, is_damaged, took)?;
        let good = outcome.is_ok();
        let (target, required) = (target.name.to_string(), target.required);
        hand.copies.push(Copied { target, required, outcome, took });
        Ok(good)
    }

    /// At once: what happens to the next target must not lose it.
    fn remember(
        &self,
        target: &Target,
        outcome: &Result<Saved>,
        damaged: bool,
        took: Duration,
    ) -> Result<()> {
        let mut memory = self.loaded.dir.backups()?;
        match outcome {
            Ok(saved) => memory.succeeded(
                target,
                Success {
                    time: self.subject.began,
                    snapshot: saved.id.clone(),
                    bytes: saved.bytes,
                    added: saved.added,
                    seconds: took.as_secs(),
                    damaged,
                },
            ),
            Err(failure) => memory.failed(target, self.now(), failure.to_string()),
        }
        self.loaded.dir.save_backups(&memory)
    }

    /// What the moment said at its end. Why it was lost is the cause of whatever failed.
    fn learnt(
        &self,
        facts: Option<Result<crate::capture::Facts>>,
        copies: &mut [Copied],
    ) -> (Option<crate::backup::manifest::Manifest>, std::collections::BTreeMap<String, Duration>) {
        match facts {
            None => (None, std::collections::BTreeMap::new()),
            Some(Ok(facts)) => (facts.manifest, facts.locks),
            Some(Err(lost)) => {
                let failed = copies.iter_mut().find_map(|copied| copied.outcome.as_mut().err());
                match failed {
                    Some(failure) => {
                        failure.causes.push(lost.to_string());
                        failure.evidence.extend(lost.evidence);
                        failure.hints.extend(lost.hints);
                    }
                    // Every target has it already.
                    None => self.context.ui.warning(lost.to_string()),
                }
                (None, std::collections::BTreeMap::new())
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.copying.progress.stop.load(Ordering::Relaxed)
    }

    fn now(&self) -> jiff::Timestamp {
        self.context.adapters.clock().now()
    }
}
