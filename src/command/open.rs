//! `psql`, `shell` and `odoo`: a person at the site's own tools. Exit codes are passed on.

use super::site::{Loaded, load};
use super::up::with_situation;
use super::{Adapters, Context, external};
use crate::cli::{OdooArgs, PsqlArgs, ShellArgs};
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::name::{DbName, nearest};
use crate::observed::{Container, Labelled, Observed, RunState};
use crate::plan::up::{pinned, target};
use crate::render::odoo_conf::DATABASE_ROLE;
use crate::site::Site;
use crate::stack::names;
use crate::stack::spec::{ContainerSpec, MountSource, Restart, Role};
use crate::state::Phase;

pub async fn cmd_psql<A: Adapters>(context: &Context<'_, A>, args: &PsqlArgs) -> Result<u8> {
    let loaded = load(context)?;
    has_data(&loaded)?;
    let database = chosen(&loaded.site, args.database.as_deref())?;
    let engine = loaded.engine(context).await?;
    if let Some(external) = &loaded.site.postgres.external {
        return external::psql(context, &loaded, &engine, external, &database, args).await;
    }
    let container = running(&loaded, &loaded.observe(&engine).await?, Role::Postgres)?;
    let mut words = ["psql", "--username=postgres", "--dbname"].map(str::to_owned).to_vec();
    words.push(database.to_string());
    words.extend(args.args.iter().cloned());
    // What was asked is not kept: it may hold what the database holds.
    let mut exec = Exec::new(words).user("postgres").env("PSQL_HISTORY", "/dev/null");
    if !args.superuser {
        // What is made by hand must belong to Odoo, or Odoo could not use it.
        exec = exec.env("PGOPTIONS", &format!("-c role={DATABASE_ROLE}"));
    }
    let code = engine.exec_attached(&container, exec, context.adapters.machine().terminal).await?;
    Ok(exit_code(code))
}

pub async fn cmd_shell<A: Adapters>(context: &Context<'_, A>, args: &ShellArgs) -> Result<u8> {
    let words = std::iter::once("shell".to_owned()).chain(args.args.iter().cloned());
    run_odoo(context, words.collect(), args.database.as_deref()).await
}

pub async fn cmd_odoo<A: Adapters>(context: &Context<'_, A>, args: &OdooArgs) -> Result<u8> {
    run_odoo(context, args.args.clone(), args.database.as_deref()).await
}

/// Runs Odoo in a container of its own, beside those that serve, with the site's volumes, socket
/// and configuration. It goes when the command ends.
async fn run_odoo<A: Adapters>(
    context: &Context<'_, A>,
    mut command: Vec<String>,
    database: Option<&str>,
) -> Result<u8> {
    let loaded = load(context)?;
    has_data(&loaded)?;
    if database.is_some() {
        let database = chosen(&loaded.site, database)?;
        // A command of Odoo's, such as `shell`, is always the first word.
        let at = usize::from(command.first().is_some_and(|word| !word.starts_with('-')));
        command.insert(at, format!("--database={database}"));
    }
    let engine = loaded.engine(context).await?;
    let spec = session(context, &loaded, &engine, command).await?;
    let tty = spec.tty;
    let id = engine.create(&spec).await?;
    let code = engine.run_attached(&id, tty).await?;
    Ok(exit_code(code))
}

async fn session<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    command: Vec<String>,
) -> Result<ContainerSpec> {
    let observed = loaded.observe(engine).await?;
    running_server(loaded, &observed)?;
    let spec = with_situation(context, loaded, &observed, 0, |situation| {
        Ok(pinned(situation, &target(situation)?.command.spec))
    })?;
    let machine = context.adapters.machine();
    let mut spec = ContainerSpec {
        name: names::helper(&loaded.site.name, &format!("session-{}", machine.pid)),
        command,
        restart: Restart::No,
        stdin: true,
        tty: machine.terminal,
        auto_remove: true,
        ..spec
    };
    for mount in &mut spec.mounts {
        if let MountSource::Directory(path) = &mut mount.source {
            *path = loaded.dir.root().join(&path);
            if files::mode_of(&path.join("odoo.conf"))?.is_none() {
                return Err(Failure::failed("the site file has changed since the last `up`")
                    .hint("bring the site in line with `autoodoo up` first"));
            }
        }
    }
    Ok(spec)
}

/// Fails unless that runs through which the database is reached.
pub(super) fn running_server(loaded: &Loaded, observed: &Observed) -> Result<()> {
    let role = match &loaded.site.postgres.external {
        None => Role::Postgres,
        Some(external) if external.ssh.is_some() => Role::Tunnel,
        Some(_) => return Ok(()),
    };
    running(loaded, observed, role).map(drop)
}

/// The id of the site's own container of this role, found by its labels: a name could be anybody's.
pub(super) fn running(loaded: &Loaded, observed: &Observed, role: Role) -> Result<String> {
    let ours = |container: &&Container| {
        container.role() == Some(role)
            && container.site_id() == Some(loaded.owner.site_id.as_str())
            && container.state == RunState::Running
    };
    observed.containers.iter().find(ours).map(|container| container.id.clone()).ok_or_else(|| {
        let what = if role == Role::Tunnel { "the tunnel to PostgreSQL" } else { "PostgreSQL" };
        Failure::failed(format!("{what} of this site is not running"))
            .hint("start the site with `autoodoo up`")
    })
}

/// The site's database of this name, or its first one.
pub(super) fn chosen(site: &Site, name: Option<&str>) -> Result<DbName> {
    let Some(name) = name else { return Ok(site.database.clone()) };
    let databases: Vec<DbName> = site.databases().into_iter().map(|database| database.name).collect();
    if let Some(known) = databases.iter().find(|known| known.as_str() == name) {
        return Ok(known.clone());
    }
    let names: Vec<&str> = databases.iter().map(DbName::as_str).collect();
    let near = nearest(name, names.iter().copied());
    let near = near.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
    Err(Failure::usage(format!("the site has no database `{name}`{near}"))
        .hint(format!("autoodoo.yaml names {}", names.join(", "))))
}

pub(super) fn has_data(loaded: &Loaded) -> Result<()> {
    if loaded.state.phase == Phase::Ready {
        return Ok(());
    }
    Err(Failure::failed("the site has no database yet").hint("make it with `autoodoo up`"))
}

/// A process exit code as the shell sees it.
pub(super) fn exit_code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(1)
}
