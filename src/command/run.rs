//! Carrying plans out on a site: shared by every command that changes something.

use std::cell::Cell;

use super::order::Clerk;
use super::site::Loaded;
use super::{Adapters, Context};
use crate::apply::Bench;
use crate::apply::certificate::Orders;
use crate::event::Reporter;
use crate::failure::Result;
use crate::plan::{Action, Plan};

/// Applies the plan and keeps the state that it leaves, also when it fails.
pub async fn apply<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &mut Loaded,
    engine: &A::Engine,
    plan: &Plan,
    operation: &str,
) -> Result<()> {
    for remark in &plan.remarks {
        context.ui.note(remark.clone());
    }
    if plan.is_empty() {
        return Ok(());
    }
    super::up::remember_engine(loaded, engine).await?;
    let clerk = clerk(context, loaded);
    let mut bench = bench(context, loaded, engine, &clerk, operation);
    let outcome = bench.apply(plan, context.adapters.interrupted()).await;
    let refused = clerk.refused.get();
    loaded.state = bench.state;
    loaded.refused = refused;
    outcome
}

/// Asks the site for its login page without changing anything.
pub async fn check<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    question: &Action,
) -> Result<()> {
    bench(context, loaded, engine, &clerk(context, loaded), "check").perform(question).await
}

fn clerk<'a, A: Adapters>(context: &Context<'a, A>, loaded: &'a Loaded) -> Clerk<'a, A> {
    Clerk { adapters: context.adapters, dir: &loaded.dir, site: &loaded.site, refused: Cell::new(false) }
}

fn bench<'a, A: Adapters>(
    context: &Context<'a, A>,
    loaded: &'a Loaded,
    engine: &'a A::Engine,
    orders: &'a dyn Orders,
    operation: &'a str,
) -> Bench<'a, A::Engine, A::Probe> {
    Bench {
        engine,
        probe: context.adapters.probe(),
        dir: &loaded.dir,
        secrets: &loaded.secrets,
        ssh: context.adapters.ssh(),
        clock: context.adapters.clock(),
        orders,
        reporter: context.ui,
        operation,
        state: loaded.state.clone(),
    }
}

/// Says that the certificate in use would not survive the next start of nginx; the plan replaces it.
pub fn after_damage<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Result<()> {
    if let Some(broken) = loaded.broken_certificate()? {
        context.ui.warning(broken.to_string());
    }
    Ok(())
}

/// Says when the last operation was cut off. What it left is put right by the plan, which starts
/// from what is there.
pub fn after_interruption<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Result<()> {
    if let Some(cut_off) = loaded.dir.journal().unfinished()? {
        let during = cut_off.step.map(|step| format!(" during: {step}")).unwrap_or_default();
        context.ui.note(format!(
            "the last operation (`{}` of {}) was cut off{during}; going on from what is there",
            cut_off.operation,
            cut_off.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        ));
    }
    Ok(())
}
