//! Steps on files of the site directory.

use std::path::Path;

use super::Bench;
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::probe::Probe;
use crate::plan::OdooConfFile;
use crate::render::odoo_conf::odoo_conf;
use crate::stack::dirs;
use crate::stack::spec::ContainerSpec;
use crate::state::{Made, Phase};

/// A configuration file until it has its owner; `odoo.conf` itself is therefore always complete.
const UNOWNED: &str = "odoo.conf.new";
/// Gives each directory's files to the image's own user `odoo` and puts it in place.
/// odoo.conf comes last in the order of names: where it is, everything is.
const GIVE_AWAY: &str = "for d in \"$@\"; do for f in \"$d\"/*.new; do chown odoo \"$f\" && \
     chmod 0400 \"$f\" && mv \"$f\" \"${f%.new}\" || exit 1; done; done";

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) fn record_phase(&mut self, phase: Phase, generation: u32, made: Option<Made>) -> Result<()> {
        self.state.phase = phase;
        self.state.made = made;
        self.state.generation = generation;
        if phase == Phase::New {
            self.state.system_identifier = None;
        }
        self.dir.save_state(&self.state)
    }

    pub(super) fn write_file(&self, path: &Path, content: &str) -> Result<()> {
        let path = self.dir.root().join(path);
        if let Some(directory) = path.parent() {
            files::ensure_dir(directory, 0o755)?;
        }
        files::write_atomic(&path, content.as_bytes(), 0o644)
    }

    /// The files are written here with mode 0600 and given away by a helper container as root in
    /// Odoo's image: only the image knows which number its user has.
    pub(super) async fn write_odoo_conf(&self, confs: &[OdooConfFile], helper: &ContainerSpec) -> Result<()> {
        let secrets = self.secrets.of_odoo();
        let mut in_helper = Vec::new();
        for file in confs {
            let directory = self.dir.root().join(&file.directory);
            files::ensure_dir(&directory, 0o755)?;
            for (name, text) in self.secrets.certificates.files() {
                files::write_atomic(&directory.join(format!("{name}.new")), text.as_bytes(), 0o600)?;
            }
            let text = odoo_conf(&file.conf, &secrets);
            files::write_atomic(&directory.join(UNOWNED), text.expose().as_bytes(), 0o600)?;
            let name = file.directory.file_name().unwrap_or_default().to_string_lossy();
            in_helper.push(format!("/conf/{name}"));
        }
        let argv = ["sh", "-c", GIVE_AWAY, "sh"].map(str::to_owned).into_iter().chain(in_helper);
        self.run_helper(helper, Exec::new(argv), "cannot give odoo.conf to the user of Odoo's image").await
    }

    /// Runs a command in a container made for it alone. `otherwise` is told when it fails.
    pub(super) async fn run_helper(
        &self,
        helper: &ContainerSpec,
        command: Exec,
        otherwise: &str,
    ) -> Result<()> {
        self.retire(&helper.name, 0).await?;
        self.create(helper).await?;
        self.engine.start(&helper.name).await?;
        let output = self.exec(&helper.name, command).await?;
        self.engine.remove(&helper.name).await?;
        if output.exit_code == 0 {
            return Ok(());
        }
        Err(Failure::failed(otherwise).evidence(output.stderr.lines().map(str::to_owned)))
    }

    pub(super) fn sweep(&self, confs: &[String], ssh_client: &str, tunnel_files: &str) -> Result<()> {
        let root = self.dir.root();
        files::keep_only(&root.join(dirs::SSH_CLIENT), |name| name == ssh_client)?;
        files::keep_only(&root.join(dirs::TUNNEL), |name| name == tunnel_files)?;
        files::keep_only(&root.join(dirs::ODOO), |name| {
            !is_fingerprint(name) || confs.iter().any(|kept| kept == name)
        })
    }
}

fn is_fingerprint(name: &str) -> bool {
    name.len() == 16 && name.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_gave_are_swept() {
        assert!(is_fingerprint("0123456789abcdef") && !is_fingerprint("addons"));
    }
}
