//! `init`, second half: what was decided becomes a site directory.

use std::fmt;

use serde::Serialize;

use super::init::{InitArgs, Machine, decide};
use super::{Adapters, Context};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::lock::{Holder, SiteLock};
use crate::host::random::identifier;
use crate::host::site_dir::SiteDir;
use crate::render::site_file::site_file;
use crate::state::{Phase, State};

pub fn cmd_init<A: Adapters>(context: &Context<'_, A>, args: &InitArgs) -> Result<()> {
    let dir = SiteDir::new(&context.cli.global.site_dir)?;
    refuse_existing(&dir)?;
    let machine = context.adapters.machine();
    let defaults = Machine {
        directory_name: dir.root().file_name().map(|name| name.to_string_lossy().into_owned()),
        fqdn: machine.fqdn.clone(),
        lang: machine.lang.clone(),
        cpus: machine.cpus,
    };
    let site = decide(args, context.cli.global.yes, &defaults, context.adapters.prompter())?;
    files::ensure_dir(&dir.state_dir(), 0o700)?;
    let holder = Holder {
        command: "autoodoo init".to_owned(),
        pid: machine.pid,
        since: context.adapters.clock().now(),
    };
    let _lock = SiteLock::acquire(&dir.state_dir(), &holder)?;
    refuse_existing(&dir)?;
    dir.ensure_secrets(context.adapters.random())?;
    if dir.load_state()?.is_none() {
        dir.save_state(&State::new(identifier(context.adapters.random())))?;
    }
    // Last: a directory with a site file is a site, one without is not one yet.
    files::write_atomic(&dir.site_file(), site_file(&site).as_bytes(), 0o644)?;
    context.ui.result(&Written {
        event: "initialised",
        site_file: dir.site_file().display().to_string(),
        backup_targets: site.backup.targets.len(),
    })
}

/// A site is never overwritten; what an interrupted `init` left is.
fn refuse_existing(dir: &SiteDir) -> Result<()> {
    let root = dir.root().display();
    if files::mode_of(&dir.site_file())?.is_some() {
        return Err(Failure::usage(format!("{root} is a site already; nothing was written")).hint(
            "change its autoodoo.yaml and run `autoodoo up`, or give another directory with `-C DIR`",
        ));
    }
    match dir.load_state()? {
        Some(state) if state.phase != Phase::New => Err(Failure::failed(format!(
            "{root} belongs to a site that has data, but its autoodoo.yaml is gone; nothing was written"
        ))
        .hint("bring autoodoo.yaml back from a copy, or choose another directory with `-C DIR`")),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Written {
    event: &'static str,
    site_file: String,
    backup_targets: usize,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "wrote {} and secrets/; start the site with `autoodoo up`", self.site_file)?;
        let place = match self.backup_targets {
            0 => "name a place under `backup:` in autoodoo.yaml, then ",
            _ => "",
        };
        write!(
            f,
            "nothing is backed up yet: {place}set backups up with `autoodoo backup setup`, and keep the kit of \
             `autoodoo backup key show` elsewhere"
        )
    }
}
