//! The site directory: where each thing lies, and the state file.

use std::path::{Path, PathBuf};

use super::backup_secrets::BackupSecrets;
use super::files;
use super::journal::Journal;
use super::random::Random;
use super::secrets::Secrets;
use crate::backup::memory::BackupMemory;
use crate::failure::{Context, Result};
use crate::pins::Pins;
use crate::plan::renewal_memory::RenewalMemory;
use crate::site::backup::TargetName;
use crate::state::State;

/// A site directory, by its absolute path. It need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteDir {
    root: PathBuf,
}

/// The path of a directory that does not exist, below the nearest one that does.
fn not_yet(absolute: &Path) -> PathBuf {
    let existing = absolute.ancestors().find_map(|ancestor| {
        Some((ancestor.canonicalize().ok()?, absolute.strip_prefix(ancestor).ok()?.to_owned()))
    });
    existing.map_or_else(|| absolute.to_owned(), |(ancestor, rest)| ancestor.join(rest))
}

impl SiteDir {
    /// `root` may be relative to the working directory.
    pub fn new(root: &Path) -> Result<SiteDir> {
        let unusable =
            |error: &std::io::Error| files::io_failure("cannot use the site directory", root, error);
        let absolute = std::path::absolute(root).map_err(|error| unusable(&error))?;
        // One directory has one path, whatever link or `..` led to it: containers are compared by it.
        let root = match absolute.canonicalize() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => not_yet(&absolute),
            path => path.map_err(|error| unusable(&error))?,
        };
        Ok(SiteDir { root })
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the owner wants.
    #[must_use]
    pub fn site_file(&self) -> PathBuf {
        self.root.join("autoodoo.yaml")
    }

    /// The image digests in use.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("autoodoo.lock")
    }

    /// Files in `generated/` belong to user numbers of the images, which can be somebody else's on this
    /// host: nobody but the site's owner enters. Containers see the directories inside it by
    /// themselves.
    pub fn close_generated(&self) -> Result<()> {
        files::ensure_dir(&self.root.join("generated"), 0o700)
    }

    /// Passwords and keys; mode 0700.
    #[must_use]
    pub fn secrets_dir(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// The lock, the state and the journal; mode 0700.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The local CA's certificate, for people to install.
    #[must_use]
    pub fn ca_certificate(&self) -> PathBuf {
        self.root.join("ca.crt")
    }

    #[must_use]
    pub fn ca_key(&self) -> PathBuf {
        self.secrets_dir().join("ca.key")
    }

    /// Accounts with CAs, and the order under way; mode 0700.
    #[must_use]
    pub fn acme_dir(&self) -> PathBuf {
        self.secrets_dir().join("acme")
    }

    /// The HMAC key that a CA gave with an account of its own making.
    #[must_use]
    pub fn eab_key(&self) -> PathBuf {
        self.secrets_dir().join("acme-eab-key")
    }

    /// The key with which the tunnel to PostgreSQL logs in.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.secrets_dir().join("ssh/id_ed25519")
    }

    /// Makes what is missing of the secrets, as [`Secrets::ensure`] says.
    pub fn ensure_secrets(&self, random: &dyn Random) -> Result<()> {
        Secrets::ensure(&self.secrets_dir(), random)
    }

    pub fn secrets(&self) -> Result<Secrets> {
        Secrets::load(&self.secrets_dir())
    }

    /// Passwords of repositories, and what lets this site into the places where they lie.
    #[must_use]
    pub fn backup_secrets(&self) -> BackupSecrets {
        BackupSecrets::new(self.secrets_dir().join("backup"))
    }

    /// What this host keeps of a target's repository, to read less of it; can be made again.
    #[must_use]
    pub fn backup_cache(&self, target: &TargetName) -> PathBuf {
        self.state_dir().join("cache").join(target.as_str())
    }

    /// `None` when this directory never had a state.
    pub fn load_state(&self) -> Result<Option<State>> {
        let text = files::read_text_optional(&self.state_file())?;
        text.map(|text| State::from_json(&text)).transpose()
    }

    /// Replaces the state; on disk when this returns.
    pub fn save_state(&self, state: &State) -> Result<()> {
        files::ensure_dir(&self.state_dir(), 0o700)?;
        files::write_atomic(&self.state_file(), state.to_json().as_bytes(), 0o600)
    }

    /// What is remembered about the renewal of the certificate. A file that cannot be read tells nothing:
    /// at worst the CA is asked once more than needed, and no site goes without a certificate for it.
    #[must_use]
    pub fn renewal(&self) -> RenewalMemory {
        let bytes = files::read_optional(&self.renewal_file()).ok().flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub fn save_renewal(&self, memory: &RenewalMemory) -> Result<()> {
        let text = serde_json::to_vec_pretty(memory).context("cannot write down the renewal")?;
        files::write_atomic(&self.renewal_file(), &text, 0o600)
    }

    fn renewal_file(&self) -> PathBuf {
        self.state_dir().join("renewal.json")
    }

    /// What is remembered of the backups. A file that cannot be read is a failure: it knows which
    /// repository belongs to which target.
    pub fn backups(&self) -> Result<BackupMemory> {
        match files::read_text_optional(&self.backups_file())? {
            None => Ok(BackupMemory::default()),
            Some(text) => BackupMemory::from_json(&text),
        }
    }

    /// Replaces it; on disk when this returns.
    pub fn save_backups(&self, memory: &BackupMemory) -> Result<()> {
        files::ensure_dir(&self.state_dir(), 0o700)?;
        files::write_atomic(&self.backups_file(), memory.to_json().as_bytes(), 0o600)
    }

    fn backups_file(&self) -> PathBuf {
        self.state_dir().join("backups.json")
    }

    /// What autoodoo.lock pins; nothing when there is no such file.
    pub fn pins(&self) -> Result<Pins> {
        let path = self.lock_file();
        match files::read_optional(&path)? {
            None => Ok(Pins::default()),
            Some(bytes) => {
                serde_json::from_slice(&bytes).context(format!("cannot understand {}", path.display()))
            }
        }
    }

    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::new(self.state_dir())
    }

    /// Removes the half-written files that a killed run left. Only for the holder of the lock.
    pub fn sweep_temporary(&self) -> Result<()> {
        let (secrets, generated) = (self.secrets_dir(), self.root.join("generated"));
        let fixed = [
            self.root.clone(),
            self.state_dir(),
            secrets.clone(),
            secrets.join("imported"),
            generated.join("postgres"),
            self.acme_dir(),
            secrets.join("backup"),
            secrets.join("backup/ssh"),
        ];
        let below = ["odoo", "nginx", "ssh", "tunnel"].map(|name| generated.join(name));
        let below: Vec<PathBuf> = below.into_iter().chain([secrets.join("tls")]).collect();
        for directory in fixed.into_iter().chain(files::subdirectories(&below)?) {
            files::sweep_temporary(&directory)?;
        }
        Ok(())
    }

    fn state_file(&self) -> PathBuf {
        self.state_dir().join("state.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Phase;

    #[test]
    fn the_state_survives_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let site = SiteDir::new(&dir.path().join("acme")).unwrap();
        assert_eq!(site.load_state().unwrap(), None);
        let mut state = State::new("4f1c");
        site.save_state(&state).unwrap();
        state.phase = Phase::Ready;
        site.save_state(&state).unwrap();
        assert_eq!(site.load_state().unwrap(), Some(state));
        assert_eq!(files::mode_of(&site.state_dir()).unwrap(), Some(0o700));
    }

    #[test]
    fn one_directory_has_one_path() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("acme")).unwrap();
        std::os::unix::fs::symlink(real.join("acme"), real.join("link")).unwrap();
        for path in ["acme", "link", "acme/../acme", "acme/."] {
            assert_eq!(SiteDir::new(&real.join(path)).unwrap().root(), real.join("acme"), "{path}");
        }
        assert_eq!(SiteDir::new(&real.join("link/new/site")).unwrap().root(), real.join("acme/new/site"));
    }

    #[test]
    fn the_path_is_absolute() {
        assert!(SiteDir::new(Path::new("acme")).unwrap().site_file().is_absolute());
        assert!(SiteDir::new(Path::new("")).is_err());
    }
}
