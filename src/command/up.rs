//! `up`: bring the site to what its file says.

use super::site::{Loaded, load, load_locked};
use super::sizing::Chosen;
use super::{Adapters, Context, order, run};
use crate::cli::UpArgs;
use crate::engine::Engine;
use crate::event::Reporter;
use crate::failure::Result;
use crate::observed::{Labelled, Observed};
use crate::plan::certificate::is_ordered;
use crate::plan::up::Situation;
use crate::plan::{Plan, up};
use crate::stack::Inputs;

pub async fn cmd_up<A: Adapters>(context: &Context<'_, A>, args: &UpArgs) -> Result<()> {
    if args.dry_run {
        let loaded = load(context)?;
        let engine = loaded.engine(context).await?;
        let plan = plan(context, &loaded, &engine, args.wait_timeout).await?;
        return context.ui.plan(&plan);
    }
    let (mut loaded, _lock) = load_locked(context, "up")?;
    let engine = loaded.engine(context).await?;
    let outcome = converge(context, &mut loaded, &engine, args.wait_timeout, "up").await;
    // The order comes last: without its certificate the site is up all the same.
    if outcome.is_ok() || loaded.refused {
        context.ui.result(&super::status::serving(&loaded))?;
    }
    outcome
}

/// Plans and applies until nothing is left to do; the caller holds the site's lock.
pub async fn converge<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &mut Loaded,
    engine: &A::Engine,
    wait_seconds: u32,
    operation: &str,
) -> Result<()> {
    run::after_interruption(context, loaded)?;
    run::after_damage(context, loaded)?;
    let plan = plan(context, loaded, engine, wait_seconds).await?;
    order::ready(context, loaded, &plan).await?;
    let was_ordered = loaded.state.certificate.as_deref().is_some_and(is_ordered);
    run::apply(context, loaded, engine, &plan, operation).await?;
    if !was_ordered && loaded.state.certificate.as_deref().is_some_and(is_ordered) {
        context.ui.note(format!(
            "nothing renews the certificate by itself yet: add `0 4 * * * autoodoo -C {} cert renew --quiet` to cron",
            loaded.dir.root().display()
        ));
    }
    if plan.is_empty() {
        // Nothing to change is not yet a site that answers.
        let certificate = loaded.state.certificate.clone().unwrap_or_default();
        for probe in up::probes(&loaded.site, &certificate) {
            run::check(context, loaded, engine, &probe).await?;
        }
    }
    Ok(())
}

/// Makes the plan and changes nothing.
pub async fn plan<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    wait_seconds: u32,
) -> Result<Plan> {
    let observed = loaded.observe(engine).await?;
    let mut plan = with_situation(context, loaded, &observed, wait_seconds, up::up)?;
    plan.remarks.extend(Chosen::of(context, loaded, observed.engine.kind).warnings());
    Ok(plan)
}

/// Gathers what the planning functions want and gives it to one of them.
pub fn with_situation<A: Adapters, T>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    observed: &Observed,
    wait_seconds: u32,
    f: impl FnOnce(&Situation<'_>) -> Result<T>,
) -> Result<T> {
    let local = loaded.local_facts(context)?;
    let sizing = Chosen::of(context, loaded, observed.engine.kind).sizing;
    let port_holders = port_holders(context, loaded, observed)?;
    let secrets = loaded.secrets.of_odoo();
    f(&Situation {
        inputs: Inputs { site: &loaded.site, owner: &loaded.owner, sizing: &sizing, secrets: &secrets },
        observed,
        state: &loaded.state,
        pins: &loaded.pins,
        local: &local,
        root: loaded.dir.root(),
        routed: &context.adapters.machine().routed,
        port_holders: &port_holders,
        wait_seconds,
        settled: !loaded.unproven && loaded.dir.journal().is_settled()?,
    })
}

/// Who has a port of the site, if it is not the site itself.
fn port_holders<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    observed: &Observed,
) -> Result<Vec<(crate::name::Port, String)>> {
    let listen = &loaded.site.listen;
    let site_id = loaded.owner.site_id.as_str();
    let mut holders = Vec::new();
    for port in [listen.http, listen.https] {
        let container = observed.all_containers.iter().find(|c| c.takes(listen.address, port));
        let holder = match container {
            Some(container) if container.site_id() == Some(site_id) => None,
            Some(container) => Some(format!("container {}", container.name)),
            None => context.adapters.port_holder(listen.address, port)?,
        };
        holders.extend(holder.map(|holder| (port, holder)));
    }
    Ok(holders)
}

/// Remembers the engine that the site lives on.
pub async fn remember_engine<E: Engine>(loaded: &mut Loaded, engine: &E) -> Result<()> {
    let endpoint = engine.info().await?.endpoint;
    if loaded.state.engine.as_deref() != Some(&endpoint) {
        loaded.state.engine = Some(endpoint);
        loaded.dir.save_state(&loaded.state)?;
    }
    Ok(())
}
