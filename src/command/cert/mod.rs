//! `cert`: the site's certificate, looked at, replaced, brought in.

mod import;
mod show;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::certificate::{Asker, minute};
use super::order::{endpoint, order_key, ready};
use super::site::{Loaded, load, load_locked};
use super::standing::{Fault, Standing};
use super::up::with_situation;
use super::{Adapters, Context, run};
use crate::acme::Ca;
use crate::cli::{CertCommand, IssueArgs, RenewArgs};
use crate::event::Reporter;
use crate::failure::{Failure, Kind, Result};
use crate::host::journal;
use crate::plan::Plan;
use crate::plan::certificate::is_ordered;
use crate::plan::renewal::{Decision, Window};
use crate::plan::up::certificate_only;
use crate::site::Tls;

pub async fn cmd_cert<A: Adapters>(context: &Context<'_, A>, command: &CertCommand) -> Result<()> {
    match command {
        CertCommand::Show => show::cmd_show(context).await,
        CertCommand::Issue(IssueArgs { dry_run }) => replace(context, Asker::Issue, *dry_run).await,
        CertCommand::Renew(RenewArgs { force: true, dry_run }) => {
            replace(context, Asker::Issue, *dry_run).await
        }
        CertCommand::Renew(RenewArgs { force: false, dry_run }) => {
            replace(context, Asker::Schedule, *dry_run).await
        }
        CertCommand::Import(args) => import::cmd_import(context, args).await,
    }
}

/// Another certificate, if one is due or a person asks for it; nothing else of the site moves.
async fn replace<A: Adapters>(context: &Context<'_, A>, asker: Asker, dry_run: bool) -> Result<()> {
    if dry_run {
        let mut loaded = load(context)?;
        loaded.asker = asker;
        let engine = loaded.engine(context).await?;
        return context.ui.plan(&plan(context, &loaded, &engine).await?);
    }
    let (mut loaded, _lock) = load_locked(context, "cert")?;
    loaded.asker = asker;
    if asker == Asker::Schedule {
        ask_for_window(context, &loaded).await?;
    }
    put_in_use(context, &mut loaded).await
}

/// Carries out what [`plan`] finds, and says what serves then.
async fn put_in_use<A: Adapters>(context: &Context<'_, A>, loaded: &mut Loaded) -> Result<()> {
    let engine = loaded.engine(context).await?;
    run::after_interruption(context, loaded)?;
    run::after_damage(context, loaded)?;
    let plan = plan(context, loaded, &engine).await?;
    ready(context, loaded, &plan).await?;
    if plan.is_empty() {
        return idle(context, loaded, &plan.remarks);
    }
    run::apply(context, loaded, &engine, &plan, journal::CERTIFICATE).await?;
    context.ui.result(&outcome(context, loaded, RENEWED)?.0)
}

/// The end of a command that had nothing to do: a success only where nothing was asked for and
/// nothing has to be seen to.
fn idle<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, remarks: &[String]) -> Result<()> {
    let event = match (loaded.asker, remarks) {
        (Asker::Up, _) => UNCHANGED,
        (_, []) => NOT_DUE,
        (_, _) => WAITS,
    };
    let (outcome, standing) = outcome(context, loaded, event)?;
    if loaded.asker == Asker::Issue {
        return Err(not_issued(loaded, remarks, standing));
    }
    for remark in remarks {
        context.ui.note(remark.clone());
    }
    if let (Asker::Schedule, Some(fault)) = (loaded.asker, &standing.fault) {
        return Err(neglected(loaded, &standing, fault));
    }
    let global = &context.cli.global;
    if global.quiet && !global.json {
        return Ok(());
    }
    context.ui.result(&outcome)
}

/// A new one was wanted, and there is none.
fn not_issued(loaded: &Loaded, remarks: &[String], standing: Standing) -> Failure {
    if let Tls::Files { .. } = loaded.site.tls {
        let what = "`tls:` in autoodoo.yaml names a certificate of your own, which serves already";
        return Failure::usage(what).hint(OWNERS_TO_REPLACE);
    }
    let mut failure = Failure::failed(remarks.join("; "));
    failure.causes.extend(standing.failure.map(|cause| format!("the last attempt failed: {cause}")));
    failure
}

/// A schedule found nothing to do, and yet somebody should look.
fn neglected(loaded: &Loaded, standing: &Standing, fault: &Fault) -> Failure {
    let kind = if let Fault::Ended { .. } = fault { Kind::Verification } else { Kind::Failed };
    let mut failure = Failure::new(kind, fault.sentence());
    if let Tls::Files { .. } = loaded.site.tls {
        return failure.hint(OWNERS_TO_REPLACE);
    }
    if let Some(Decision::Wait { until, why, .. }) = &standing.decision {
        if !matches!(fault, Fault::Overdue { .. }) {
            failure.causes.push(why.clone());
        }
        failure = failure.hint(format!("the next attempt is made on {}", minute(*until)));
    }
    if standing.may_issue { failure.hint("`autoodoo cert issue` tries at once") } else { failure }
}

const OWNERS_TO_REPLACE: &str =
    "replace its files and run `autoodoo cert renew`, or bring another one in with `autoodoo cert import`";

async fn plan<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, engine: &A::Engine) -> Result<Plan> {
    let observed = loaded.observe(engine).await?;
    with_situation(context, loaded, &observed, 0, certificate_only)
}

/// Asks the CA when it would like the renewal (RFC 9773), as often as it wants to be asked. Without
/// an answer the certificate's own time decides.
async fn ask_for_window<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Result<()> {
    let Tls::Acme(acme) = &loaded.site.tls else { return Ok(()) };
    let now = context.adapters.clock().now();
    let memory = loaded.dir.renewal();
    let Some(stored) = loaded.certificate_in_use()?.filter(|stored| is_ordered(&stored.id)) else {
        return Ok(());
    };
    let key = order_key(acme, &loaded.certificate_names()?);
    if !memory.attempts(&key, &stored.facts.fingerprint).window_is_stale(now) {
        return Ok(());
    }
    let endpoint = endpoint(&loaded.dir, acme)?;
    match context.adapters.ca().renewal_info(&endpoint, &stored.chain).await {
        Ok(info) => {
            let window = info
                .map(|info| Window::told(info.start, info.end, now.checked_add(info.retry_after).ok(), now));
            loaded.dir.save_renewal(&memory.with_window(&stored.facts.fingerprint, window))
        }
        Err(failure) => {
            let host = acme.directory.host();
            context.ui.note(format!("{host} was not asked when it wants the renewal: {}", failure.failure));
            Ok(())
        }
    }
}

const RENEWED: &str = "renewed";
const NOT_DUE: &str = "not-due";
/// What was imported serves already.
const UNCHANGED: &str = "unchanged";
/// Another is wanted, and the CA does not want to be asked yet.
const WAITS: &str = "waits";

/// The last words of `cert issue`, `renew` and `import`.
#[derive(Debug, Serialize)]
struct Outcome {
    event: &'static str,
    certificate: String,
    names: Vec<String>,
    /// RFC 3339.
    not_after: Timestamp,
    days_left: i64,
    /// `None` when it is due already or comes from somewhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_renewal: Option<Timestamp>,
    #[serde(skip)]
    why: String,
}

fn outcome<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    event: &'static str,
) -> Result<(Outcome, Standing)> {
    let now = context.adapters.clock().now();
    let Some(stored) = loaded.certificate_in_use()? else {
        let none = || Failure::failed("the site has no certificate").hint("`autoodoo up` gets one");
        // One that would have to be replaced, and the schedule waits after a failed attempt.
        return Err(loaded.broken_certificate()?.map_or_else(none, |broken| {
            broken.hint("`autoodoo cert issue` gets another one at once and puts it in place")
        }));
    };
    let standing = loaded.standing(&stored, now)?;
    let (next_renewal, why) = match &standing.decision {
        Some(Decision::Wait { until, why, .. }) => (Some(*until), why.clone()),
        _ => (None, String::new()),
    };
    let outcome = Outcome {
        event,
        days_left: stored.days_left(now),
        certificate: stored.id,
        names: stored.facts.names,
        not_after: stored.facts.not_after,
        next_renewal,
        why,
    };
    Ok((outcome, standing))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.event {
            RENEWED => "serves",
            NOT_DUE => "is not due",
            UNCHANGED => "serves already",
            _ => "serves on",
        };
        write!(f, "the certificate for {} {state}", self.names.join(", "))?;
        match self.days_left {
            ..0 => write!(f, "; it ended on {}", minute(self.not_after))?,
            days => write!(f, "; it ends on {}, in {days} days", minute(self.not_after))?,
        }
        match self.next_renewal {
            Some(at) => write!(f, "; next renewal on {}: {}", minute(at), self.why),
            None => Ok(()),
        }
    }
}
