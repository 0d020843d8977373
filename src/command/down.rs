//! `down`: stop the site; with `--volumes` and the site's name, remove its data too.

use super::external::place;
use super::site::{Loaded, load, load_locked};
use super::{Adapters, Context, run};
use crate::cli::DownArgs;
use crate::event::Reporter;
use crate::failure::{Failure, Result};
use crate::observed::{Labelled, Observed};
use crate::plan::down::down;
use crate::ui::prompt::{Prompter, Text};

pub async fn cmd_down<A: Adapters>(context: &Context<'_, A>, args: &DownArgs) -> Result<()> {
    if args.dry_run {
        let loaded = load(context)?;
        let engine = loaded.engine(context).await?;
        let observed = loaded.observe(&engine).await?;
        return context.ui.plan(&down(&loaded.owner, &loaded.state, &observed, args.volumes));
    }
    let (mut loaded, _lock) = load_locked(context, "down")?;
    let engine = loaded.engine(context).await?;
    let observed = loaded.observe(&engine).await?;
    let plan = down(&loaded.owner, &loaded.state, &observed, args.volumes);
    if args.volumes {
        confirm_loss(context, args, &loaded, &observed)?;
    }
    if plan.is_empty() {
        context.ui.note("the site is down already; nothing was done");
        return Ok(());
    }
    run::after_interruption(context, &loaded)?;
    run::apply(context, &mut loaded, &engine, &plan, "down").await?;
    context.ui.note(if args.volumes {
        format!("{} is down and its data is gone; `secrets/` and autoodoo.yaml stay", loaded.site.name)
    } else {
        format!("{} is down; its data stays, `autoodoo up` brings it back", loaded.site.name)
    });
    if let (true, Some(external)) = (args.volumes, &loaded.site.postgres.external) {
        context.ui.note(format!(
            "the databases at {} were left alone; their administrator drops them if they are not needed",
            place(external)
        ));
    }
    Ok(())
}

/// Data goes only to somebody who wrote the site's name; `--yes` alone is a habit, not a decision.
fn confirm_loss<A: Adapters>(
    context: &Context<'_, A>,
    args: &DownArgs,
    loaded: &Loaded,
    observed: &Observed,
) -> Result<()> {
    let name = loaded.site.name.as_str();
    let typed = match &args.confirm {
        Some(typed) => typed.clone(),
        None => ask_name(context.adapters.prompter(), loaded, observed)?,
    };
    if typed == name {
        return Ok(());
    }
    Err(Failure::usage(format!("`{typed}` is not the name of this site (`{name}`); nothing was removed")))
}

fn ask_name(prompter: &dyn Prompter, loaded: &Loaded, observed: &Observed) -> Result<String> {
    let name = loaded.site.name.as_str();
    if !prompter.is_interactive() {
        return Err(Failure::usage("removing all data needs the site's name; nothing was removed")
            .hint(format!("say `autoodoo down --volumes --confirm {name}`")));
    }
    let site_id = loaded.owner.site_id.as_str();
    let volumes: Vec<_> = observed
        .volumes
        .iter()
        .filter(|volume| volume.site_id() == Some(site_id))
        .map(|volume| volume.name.as_str())
        .collect();
    let explanation = format!("This removes all data of the site for good: {}.", volumes.join(", "));
    prompter.text(&Text {
        question: format!("Type the site's name ({name}) to go on"),
        explanation,
        default: None,
        validate: &|_| Ok(()),
    })
}
