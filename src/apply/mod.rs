//! Carries a plan out, step by step, and chooses nothing while doing so. Each step is written to
//! the journal before and after, so that a run that was cut off can be told from one that ended.

pub mod certificate;
pub mod client;
mod containers;
mod database;
mod external;
mod files;
mod nginx;
mod odoo;
mod postgres;
mod sql;
mod tunnel;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use certificate::Orders;

use crate::engine::{Engine, Exec, ExecOutput, LogQuery};
use crate::event::{Event, Reporter};
use crate::failure::{Failure, Kind, Result};
use crate::host::clock::Clock;
use crate::host::journal::Outcome;
use crate::host::probe::Probe;
use crate::host::secrets::Secrets;
use crate::host::site_dir::SiteDir;
use crate::host::ssh::Ssh;
use crate::plan::{Action, Plan, Step};
use crate::render::odoo_conf::SOCKET_DIRECTORY;
use crate::stack::server::CANDIDATE_SOCKET;
use crate::state::State;

/// Milliseconds between two questions while something is waited for.
const POLL: Duration = Duration::from_millis(100);
/// How long a step may go on once the user wants to stop.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How long the engine may go on with a request of a run that was killed.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Log lines shown when a container fails.
const LAST_LINES: u32 = 20;

/// Everything that steps work on.
pub struct Bench<'a, E, P> {
    pub engine: &'a E,
    pub probe: &'a P,
    pub dir: &'a SiteDir,
    pub secrets: &'a Secrets,
    pub ssh: &'a dyn Ssh,
    pub clock: &'a dyn Clock,
    pub orders: &'a dyn Orders,
    pub reporter: &'a dyn Reporter,
    /// The operation's name, such as `up`; it marks what we run inside containers.
    pub operation: &'a str,
    pub state: State,
}

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    /// Does the steps in order until one fails or `interrupted` resolves.
    pub async fn apply(&mut self, plan: &Plan, interrupted: impl Future<Output = ()>) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        let journal = self.dir.journal();
        let texts = plan.steps.iter().map(|step| step.action.to_string()).collect();
        journal.begin(self.clock.now(), self.operation, texts)?;
        let mut interrupted = std::pin::pin!(interrupted);
        for (number, step) in (1..).zip(&plan.steps) {
            journal.step_begin(self.clock.now(), number)?;
            let done = {
                let mut running = std::pin::pin!(self.step(number, plan.steps.len(), step));
                tokio::select! {
                    done = &mut running => done,
                    () = &mut interrupted => {
                        // A request that the engine has begun is better seen through.
                        let _ = tokio::time::timeout(LAST_MOMENT, running).await;
                        Err(interruption(step))
                    }
                }
            };
            if let Err(failure) = done {
                return Err(match journal.end(self.clock.now(), Outcome::Failed) {
                    Ok(()) => failure,
                    Err(second) => failure.hint(format!("the journal could not be written either: {second}")),
                });
            }
            journal.step_end(self.clock.now(), number)?;
        }
        journal.end(self.clock.now(), Outcome::Done)
    }

    async fn step(&mut self, number: usize, of: usize, step: &Step) -> Result<()> {
        let (action, cause) = (step.action.to_string(), step.cause.clone());
        self.reporter.report(Event::StepStarted { number, of, action, cause });
        let begun = Instant::now();
        match self.perform(&step.action).await {
            Ok(()) => {
                let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
                self.reporter.report(Event::StepDone { number, of, milliseconds });
                Ok(())
            }
            Err(failure) => {
                self.reporter.report(Event::StepFailed { number, of });
                Err(self.after_failure(step, failure).await)
            }
        }
    }

    /// Undoes what the plan says is undone when this step fails; what served before serves on.
    async fn after_failure(&mut self, step: &Step, mut failure: Failure) -> Failure {
        for action in &step.on_failure {
            if let Err(second) = self.perform(action).await {
                return failure.hint(format!("undoing it failed too ({action}: {second})"));
            }
        }
        if step.gate {
            // A wrong site file stays one.
            if failure.kind == Kind::Failed {
                failure.kind = Kind::HealthGate;
            }
            failure = failure.hint("what served before still serves");
        } else if !step.on_failure.is_empty() && failure.kind == Kind::Verification {
            failure = failure.hint("the certificate that was there before serves again");
        }
        failure
    }

    /// Does one action and writes nothing to the journal.
    pub async fn perform(&mut self, action: &Action) -> Result<()> {
        use Action as A;
        match action {
            A::PullImage { image } => self.pull(image).await,
            A::PinImages { pin, keep } => self.pin_images(pin, keep).await,
            A::RecordPhase { phase, generation, made } => {
                self.record_phase(*phase, *generation, made.clone())
            }
            A::CreateNetwork(spec) => self.create_network(spec).await,
            A::RemoveNetwork { name } => self.engine.remove_network(name).await,
            A::CreateVolume(spec) => self.engine.create_volume(spec).await,
            A::RemoveVolume { name } => self.engine.remove_volume(name).await,
            A::WriteFile { path, content } => self.write_file(path, &content.0),
            A::WriteOdooConf { files, helper } => self.write_odoo_conf(files, helper).await,
            A::IssueCertificate { id, names } => self.issue_certificate(id, names),
            A::InstallCertificate { id, certificate, key } => self.install_certificate(id, certificate, key),
            A::CreateContainer(spec) => self.create(spec).await,
            A::StartContainer { name } => self.engine.start(name).await,
            A::StopContainer { name, grace } => self.engine.stop(name, *grace).await,
            A::RetireContainer { name, grace } => self.retire(name, *grace).await,
            A::AwaitPostgres { container, seconds, system_identifier } => {
                self.await_postgres(container, *seconds, system_identifier.as_deref()).await
            }
            A::PrepareTunnel(tunnel) => self.prepare_tunnel(tunnel).await,
            A::AwaitTunnel { container, external, seconds } => {
                // What it wrote before tells of a trouble that may be over.
                let since = Some(self.clock.now().as_second());
                self.await_tunnel(container, external, *seconds, SOCKET_DIRECTORY, since).await
            }
            A::ProveTunnel { container, external, seconds } => {
                self.await_tunnel(container, external, *seconds, CANDIDATE_SOCKET, None).await
            }
            A::CheckServer(check) => self.check_server(check).await,
            A::ClaimDatabase { check, database } => self.claim_database(check, database).await,
            A::CompleteDatabase { container, database, site_id } => {
                self.complete_database(container, database, site_id).await
            }
            A::ReloadPostgres { container } => self.reload_postgres(container).await,
            A::PrepareRole { container, createdb } => self.prepare_role(container, *createdb).await,
            A::MarkComplete { container, database } => self.mark_complete(container, database).await,
            A::CreateDatabase { container, name, becomes, collation } => {
                self.create_database(container, name, becomes, collation).await
            }
            A::InstallBase { container, database, release, language } => {
                self.install_base(container, database, *release, language).await
            }
            A::SetFirstUser { container, database, user } => {
                self.set_first_user(container, database, user).await
            }
            A::AdoptFilestore { container, from, to } => self.adopt_filestore(container, from, to).await,
            A::RenameDatabase { container, from, to } => self.rename_database(container, from, to).await,
            A::AwaitOdoo { container, address, host, seconds } => {
                self.await_odoo(container, *address, host, *seconds).await
            }
            A::TestNginxConf { helper } => self.test_nginx_conf(helper).await,
            A::TestInNginx { container } => self.test_in_nginx(container).await,
            A::PublishNginxConf { .. } => self.publish_nginx_conf(),
            A::ReloadNginx { container, fingerprint } => self.reload_nginx(container, fingerprint).await,
            A::AwaitNginx { container, address, host, fingerprint, seconds } => {
                self.await_nginx(container, *address, host, fingerprint, *seconds).await
            }
            A::DrainOdoo { container, address, front, seconds } => {
                self.drain_odoo(container, *address, front, *seconds).await
            }
            A::AwaitCron { container, seconds } => self.await_cron(container, *seconds).await,
            A::ProbeSite { address, host, trust, seconds } => {
                self.probe_site(*address, host, trust, *seconds).await
            }
            A::Sweep { ssh_client, tunnel_files, keep } => self.sweep(keep, ssh_client, tunnel_files),
            A::OrderCertificate(order) => self.order_certificate(order).await,
            A::VerifyCertificate { address, names, certificate, seconds } => {
                self.verify_certificate(*address, names, certificate, *seconds).await
            }
            A::UseCertificate { id } => self.use_certificate(id),
            A::SweepCertificates { keep } => self.sweep_certificates(keep),
        }
    }

    /// Runs a command in a container and returns how it ended; output goes nowhere else.
    async fn exec(&self, container: &str, exec: Exec) -> Result<ExecOutput> {
        self.engine.exec(container, exec, &mut |_, _| {}).await
    }

    fn waiting(&self, reason: impl Into<String>, seconds: u32) {
        self.reporter.report(Event::Waiting { reason: reason.into(), seconds_at_most: seconds.into() });
    }

    fn note(&self, text: impl Into<String>) {
        self.reporter.report(Event::Note { text: text.into() });
    }

    /// The last lines that a container wrote; what cannot be read is left out, since it only
    /// illustrates another failure.
    async fn last_lines(&self, container: &str) -> Vec<String> {
        self.lines(container, &LogQuery { tail: Some(LAST_LINES), ..LogQuery::default() }).await
    }

    async fn lines(&self, container: &str, query: &LogQuery) -> Vec<String> {
        let mut lines = Vec::new();
        let _ = self.engine.logs(container, query, &mut |_, line| lines.push(line.to_owned())).await;
        lines
    }
}

/// A point in time until which something may take.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn after(seconds: u32) -> Deadline {
        Deadline(Instant::now() + Duration::from_secs(seconds.into()))
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

fn interruption(step: &Step) -> Failure {
    Failure::failed(format!("interrupted during: {}", step.action))
        .hint("nothing is lost; the same command goes on from here")
}
