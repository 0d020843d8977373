//! `backup key`: the recovery kit, and the word that it is kept.

use std::fmt;

use serde::Serialize;

use super::opened::chosen;
use crate::backup::kit::{Kit, KitTarget, restic};
use crate::backup::memory::{BackupMemory, KeptKit};
use crate::cli::KeyCommand;
use crate::command::site::{Loaded, load, load_locked};
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Result};
use crate::render::libpq::Endpoint;
use crate::secret::Secret;
use crate::site::backup::{Place, Target};

pub fn cmd_key<A: Adapters>(context: &Context<'_, A>, command: &KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Show => show(context),
        KeyCommand::Kept => kept(context),
    }
}

/// It goes to standard output, and nowhere else: neither a journal nor a log line has a part of it.
fn show<A: Adapters>(context: &Context<'_, A>) -> Result<()> {
    let loaded = load(context)?;
    let kit = kit(&loaded)?;
    let text = kit.page(context.adapters.clock().now());
    context.ui.result(&Page {
        event: "recovery-kit",
        site: &kit.site,
        targets: kit.targets.iter().map(Fields::of).collect(),
        text,
    })
}

fn kept<A: Adapters>(context: &Context<'_, A>) -> Result<()> {
    let (loaded, _lock) = load_locked(context, "backup key kept")?;
    let digest = kit(&loaded)?.digest();
    let mut memory = loaded.dir.backups()?;
    memory.kit = Some(KeptKit { at: context.adapters.clock().now(), digest });
    loaded.dir.save_backups(&memory)?;
    context.ui.result(&Kept { event: "recovery-kit-kept" })
}

/// The kit of all targets. Fails where there is none, or where one is not set up.
fn kit(loaded: &Loaded) -> Result<Kit> {
    let targets = chosen(loaded, &[])?;
    let secrets = loaded.dir.backup_secrets();
    let kit_target = |target: &Target| {
        let password = match target.place {
            Place::Drop { .. } => None,
            _ if !secrets.has_password(target)? => {
                let why = format!("target {} has no password yet", target.name);
                return Err(Failure::usage(why).hint("make the targets ready with `autoodoo backup setup`"));
            }
            _ => Some(secrets.password(target)?),
        };
        Ok(KitTarget {
            name: target.name.clone(),
            place: target.place.clone(),
            password,
            credentials: secrets.credentials(&target.name)?,
            own_roots: secrets.roots(&target.name)?.is_some(),
        })
    };
    let site = &loaded.site;
    Ok(Kit {
        site: site.name.to_string(),
        url: site.url(),
        odoo_release: site.odoo.release.number(),
        postgres_major: site.postgres.major,
        role: Endpoint::of(&site.postgres).user,
        databases: site.databases().into_iter().map(|database| database.name.to_string()).collect(),
        targets: targets.iter().map(kit_target).collect::<Result<_>>()?,
    })
}

/// Nobody has said of the present kit that it is kept elsewhere. There is no kit while a target is not
/// set up.
pub fn is_to_be_kept(loaded: &Loaded, memory: &BackupMemory) -> Result<bool> {
    let secrets = loaded.dir.backup_secrets();
    for target in &loaded.site.backup.targets {
        if !matches!(target.place, Place::Drop { .. }) && !secrets.has_password(target)? {
            return Ok(false);
        }
    }
    if loaded.site.backup.targets.is_empty() {
        return Ok(false);
    }
    let digest = kit(loaded)?.digest();
    Ok(memory.kit.as_ref().is_none_or(|kept| kept.digest != digest))
}

#[derive(Serialize)]
struct Page<'a> {
    event: &'static str,
    site: &'a str,
    targets: Vec<Fields<'a>>,
    text: String,
}

/// Here the secrets leave our hands, as they are meant to.
#[derive(Serialize)]
struct Fields<'a> {
    name: &'a str,
    place: String,
    restic_repository: String,
    password: Option<&'a str>,
    user: Option<&'a str>,
    secret: Option<&'a str>,
}

impl Fields<'_> {
    fn of(target: &KitTarget) -> Fields<'_> {
        Fields {
            name: target.name.as_str(),
            place: target.place.to_string(),
            restic_repository: restic(&target.place),
            password: target.password.as_ref().map(Secret::expose),
            user: target.credentials.as_ref().map(|(user, _)| user.as_str()),
            secret: target.credentials.as_ref().map(|(_, secret)| secret.expose()),
        }
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Serialize)]
struct Kept {
    event: &'static str,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noted: the recovery kit is kept elsewhere; it is asked for anew when targets or passwords change")
    }
}
