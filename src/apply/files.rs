//! Steps on files of the site directory.

use std::path::Path;

use super::Bench;
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::probe::Probe;
use crate::name::Fqdn;
use crate::plan::OdooConfFile;
use crate::render::odoo_conf::odoo_conf;
use crate::secret::Secret;
use crate::stack::dirs;
use crate::stack::spec::ContainerSpec;
use crate::state::{Made, Phase};
use crate::tls::inspect::check_pair;
use crate::tls::local_ca::{CaPair, issue, new_ca};

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

    pub(super) fn issue_certificate(&mut self, id: &str, names: &[Fqdn]) -> Result<()> {
        let ca = self.local_ca()?;
        let leaf = issue(&ca, names, self.clock.now())?;
        self.store_certificate(id, &leaf.chain_pem, &leaf.key_pem)
    }

    /// The site's CA; made once.
    fn local_ca(&self) -> Result<CaPair> {
        let certificate = files::read_text_optional(&self.dir.ca_certificate())?;
        let key = files::read_text_optional(&self.dir.ca_key())?;
        match (certificate, key) {
            (Some(certificate_pem), Some(key)) => {
                return Ok(CaPair { certificate_pem, key_pem: Secret::new(key) });
            }
            // The key is written first: without any certificate yet, it is what a killed run left.
            (None, Some(_)) if self.state.certificate.is_none() => {}
            (None, None) => {}
            (None, Some(_)) => return Err(half_a_ca("ca.crt", "secrets/ca.key")),
            (Some(_), None) => return Err(half_a_ca("secrets/ca.key", "ca.crt")),
        }
        let ca = new_ca(&format!("autoodoo local CA ({})", self.state.site_id), self.clock.now())?;
        files::write_atomic(&self.dir.ca_key(), ca.key_pem.expose().as_bytes(), 0o600)?;
        files::write_atomic(&self.dir.ca_certificate(), ca.certificate_pem.as_bytes(), 0o644)?;
        Ok(ca)
    }

    pub(super) fn install_certificate(&mut self, id: &str, certificate: &Path, key: &Path) -> Result<()> {
        let chain = files::read_text(&self.dir.root().join(certificate))?;
        let key = Secret::new(files::read_text(&self.dir.root().join(key))?);
        check_pair(&chain, &key)?;
        self.store_certificate(id, &chain, &key)
    }

    /// Each pair has a directory of its own, so that certificate and key always belong together.
    fn store_certificate(&mut self, id: &str, chain: &str, key: &Secret) -> Result<()> {
        let directory = self.dir.root().join(dirs::TLS).join(id);
        files::ensure_dir(&directory, 0o700)?;
        files::write_atomic(&directory.join("privkey.pem"), key.expose().as_bytes(), 0o600)?;
        files::write_atomic(&directory.join("fullchain.pem"), chain.as_bytes(), 0o600)?;
        self.state.certificate = Some(id.to_owned());
        self.dir.save_state(&self.state)
    }

    pub(super) fn sweep(
        &self,
        confs: &[String],
        certificate: &str,
        ssh_client: &str,
        tunnel_files: &str,
    ) -> Result<()> {
        let root = self.dir.root();
        files::keep_only(&root.join(dirs::SSH_CLIENT), |name| name == ssh_client)?;
        files::keep_only(&root.join(dirs::TUNNEL), |name| name == tunnel_files)?;
        files::keep_only(&root.join(dirs::ODOO), |name| {
            !is_fingerprint(name) || confs.iter().any(|kept| kept == name)
        })?;
        files::keep_only(&root.join(dirs::TLS), |name| !is_certificate(name) || name == certificate)
    }
}

/// People trust this CA: it is never replaced by accident.
fn half_a_ca(missing: &str, there: &str) -> Failure {
    Failure::failed(format!("half of the site's local CA is missing: {missing} does not exist"))
        .hint(format!("bring it back from a copy, or remove {there} too: `autoodoo up` then makes a new CA"))
        .hint("every client that trusts the present CA must be given a new one's ca.crt")
}

/// A name that we gave. What else lies there is the owner's, who may keep certificates of his own
/// beside ours.
fn is_certificate(name: &str) -> bool {
    name.strip_prefix("local-").is_some_and(is_date_and_chance)
        || name.strip_prefix("files-").is_some_and(is_fingerprint)
}

/// `20260131-a1b2c3`, as the next certificate of the local CA is named.
fn is_date_and_chance(text: &str) -> bool {
    text.split_once('-').is_some_and(|(date, chance)| {
        date.len() == 8
            && date.chars().all(|c| c.is_ascii_digit())
            && chance.len() == 6
            && chance.chars().all(|c| c.is_ascii_hexdigit())
    })
}

fn is_fingerprint(name: &str) -> bool {
    name.len() == 16 && name.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_gave_are_swept() {
        assert!(is_certificate("local-20260101-abcdef") && is_certificate("files-0123456789abcdef"));
        for own in
            ["mine", "files-from-the-ca", "local-ca", "local-", "local-20260101", "local-20260101-mine"]
        {
            assert!(!is_certificate(own), "{own}");
        }
        assert!(is_fingerprint("0123456789abcdef") && !is_fingerprint("addons"));
    }
}
