//! One run, step by step as it was planned.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::cold;
use super::copy::{Copying, is_repository};
use super::create::{interruption, unless_stopped};
use super::summary::{Copied, Outcome};
use crate::backup::memory::Success;
use crate::backup::plan::{Action, BackupPlan, Step};
use crate::capture::{self, Moment, Subject};
use crate::command::site::Loaded;
use crate::command::{Adapters, Context};
use crate::engine::Engine;
use crate::event::{Event, Reporter};
use crate::failure::{Failure, Result};
use crate::host::journal::{BACKUP, Journal, Outcome as Ending};
use crate::repository::Saved;
use crate::site::backup::Target;

/// One run, carried out.
pub struct Performance<'a, A: Adapters> {
    pub context: &'a Context<'a, A>,
    pub loaded: &'a Loaded,
    pub engine: &'a A::Engine,
    pub subject: &'a Subject,
    pub targets: &'a [Target],
    pub copying: Copying<'a, A>,
    /// Odoo stands still for this run.
    pub stopped: Cell<bool>,
}

/// What a run holds and has done.
struct Hand<'a, E: Engine> {
    moment: Option<Moment<'a, E>>,
    copies: Vec<Copied>,
    /// Odoo was started and does not answer.
    silent: Option<Failure>,
}

impl<'a, A: Adapters> Performance<'a, A> {
    pub async fn carry_out(&self, plan: &BackupPlan) -> Result<Outcome> {
        let (journal, begun) = (self.loaded.dir.journal(), Instant::now());
        let texts = plan.steps.iter().map(|step| step.action.to_string()).collect();
        journal.begin(self.now(), BACKUP, texts)?;
        let mut hand = Hand { moment: None, copies: Vec::new(), silent: None };
        let done = self.steps(plan, &journal, &mut hand).await;
        // What targets have been told of damage holds, however the moment ends.
        let manifest = hand.moment.as_ref().and_then(Moment::manifest);
        let ended = match hand.moment.take() {
            Some(moment) => Some(moment.end().await),
            None => None,
        };
        let running = self.odoo_runs(plan, &mut hand).await;
        let good = done.is_ok()
            && running.is_ok()
            && hand.silent.is_none()
            && hand.copies.iter().all(|copied| copied.outcome.is_ok());
        journal.end(self.now(), if good { Ending::Done } else { Ending::Failed })?;
        // Odoo that does not come back is worse than a backup that is missing.
        running?;
        if let (Err(_), Some(silent)) = (&done, &hand.silent) {
            self.context.ui.warning(format!("Odoo does not answer: {silent}"));
        }
        done?;
        let stalls = self.learnt(ended, &mut hand.copies);
        Ok(Outcome {
            kind: self.subject.kind,
            databases: self.subject.databases.iter().map(ToString::to_string).collect(),
            copies: hand.copies,
            manifest,
            silent: hand.silent,
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
            Action::StartOdoo { containers } => return self.start(containers, hand).await,
            Action::Sweep => self.sweep().await?,
            Action::StopOdoo { containers } => {
                self.stopped.set(true);
                cold::stop(self.context, self.loaded, self.engine, containers).await?;
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

    /// `Ok(false)`: it runs and does not answer, which keeps no target from its backup.
    async fn start(&self, containers: &[String], hand: &mut Hand<'a, A::Engine>) -> Result<bool> {
        cold::start(self.loaded, self.engine, containers).await?;
        self.stopped.set(false);
        let progress = &self.copying.progress;
        let answers = cold::answers(self.context, self.loaded, self.engine);
        let answers = unless_stopped(progress, answers, interruption);
        let answers = match &mut hand.moment {
            // Its sessions are not to be idle for as long as that takes.
            Some(moment) => moment.serve_until(&progress.stop, answers).await,
            None => answers.await,
        };
        match answers {
            Ok(()) => Ok(true),
            Err(failure) if self.is_stopped() => Err(failure),
            Err(failure) => {
                hand.silent = Some(failure);
                Ok(false)
            }
        }
    }

    /// Whatever happened: what this run has stopped runs again.
    async fn odoo_runs(&self, plan: &BackupPlan, hand: &mut Hand<'a, A::Engine>) -> Result<()> {
        let stopped = plan.steps.iter().find_map(|step| match &step.action {
            Action::StopOdoo { containers } => Some(containers),
            _ => None,
        });
        match stopped {
            Some(containers) if self.stopped.get() => self.start(containers, hand).await.map(drop),
            _ => Ok(()),
        }
    }

    async fn sweep(&self) -> Result<()> {
        let Subject { client, volume, databases, .. } = self.subject;
        capture::sweep(self.engine, client, volume, databases).await?;
        // Odoo runs: what a killed run had meant to stop, it did not come to stop.
        cold::forget(self.loaded)
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
            self.copying.deposit(moment, target, self.subject).await
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

    /// For how long the collector was held off. Why the moment was lost is the cause of whatever failed.
    fn learnt(
        &self,
        ended: Option<Result<capture::Facts>>,
        copies: &mut [Copied],
    ) -> BTreeMap<String, Duration> {
        match ended {
            None => BTreeMap::new(),
            Some(Ok(facts)) => facts.locks,
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
                BTreeMap::new()
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.copying.progress.stop.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        self.context.adapters.clock().now()
    }
}
