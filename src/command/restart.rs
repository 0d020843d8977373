//! `restart`: stop, then `up`, which starts what is stopped in the right order and waits for it.

use super::external::place;
use super::site::{Loaded, load_locked};
use super::{Adapters, Context, order, run, up};
use crate::cli::{RestartArgs, Service};
use crate::failure::{Failure, Result};
use crate::plan::down::stop_for_restart;

pub async fn cmd_restart<A: Adapters>(context: &Context<'_, A>, args: &RestartArgs) -> Result<()> {
    let (mut loaded, _lock) = load_locked(context, "restart")?;
    let engine = loaded.engine(context).await?;
    let observed = loaded.observe(&engine).await?;
    if observed.containers.is_empty() {
        return Err(Failure::failed("the site is down; there is nothing to restart")
            .hint("start it with `autoodoo up`"));
    }
    if let Some(service) = args.service {
        is_ours(&loaded, service)?;
    }
    run::after_interruption(context, &loaded)?;
    // What stands in the way of `up` is told before anything is stopped.
    let plan = up::plan(context, &loaded, &engine, args.wait_timeout).await?;
    order::ready(context, &loaded, &plan).await?;
    // The stops below end well: what came before must not be forgotten for it.
    loaded.unproven = !loaded.dir.journal().is_settled()?;
    let plan = stop_for_restart(&loaded.owner, &observed, args.service.map(Service::role));
    run::apply(context, &mut loaded, &engine, &plan, "restart").await?;
    up::converge(context, &mut loaded, &engine, args.wait_timeout, "restart").await?;
    context.ui.result(&super::status::serving(&loaded))
}

/// Success must not be said of a service that the site does not have.
fn is_ours(loaded: &Loaded, service: Service) -> Result<()> {
    let external = loaded.site.postgres.external.as_ref();
    match (service, external) {
        (Service::Postgres, Some(external)) => Err(Failure::usage(format!(
            "PostgreSQL at {} is not ours; nothing was restarted",
            place(external)
        ))
        .hint("restart it where it runs; Odoo connects again by itself")),
        (Service::Tunnel, external) if external.is_none_or(|external| external.ssh.is_none()) => {
            Err(Failure::usage("this site has no tunnel; nothing was restarted"))
        }
        _ => Ok(()),
    }
}
