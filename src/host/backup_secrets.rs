//! The files below `secrets/backup/`: passwords of repositories, and what lets this site into the
//! places where they lie. Mode 0600 below 0700.

use std::path::PathBuf;

use super::files;
use super::random::{Random, passphrase};
use super::secrets::{is_missing, read, write};
use crate::failure::{Failure, Result};
use crate::secret::Secret;
use crate::site::backup::{Target, TargetName};

#[derive(Debug, Clone)]
pub struct BackupSecrets {
    dir: PathBuf,
}

impl BackupSecrets {
    pub(super) fn new(dir: PathBuf) -> BackupSecrets {
        BackupSecrets { dir }
    }

    /// The file with the password of this target's repository: its own, or the site's.
    #[must_use]
    pub fn password_file(&self, target: &Target) -> PathBuf {
        self.dir.join(password_name(target))
    }

    pub fn has_password(&self, target: &Target) -> Result<bool> {
        Ok(!is_missing(&self.dir, &password_name(target))?)
    }

    /// Makes the password unless there is one. It is never replaced: the repositories made with it could
    /// not be read any more.
    pub fn ensure_password(&self, target: &Target, random: &dyn Random) -> Result<()> {
        self.ensure_dirs()?;
        if self.has_password(target)? {
            return Ok(());
        }
        write(&self.dir, &password_name(target), passphrase(random).expose())
    }

    /// Fails as bad usage when the file is missing, empty, or open to others than its owner.
    pub fn password(&self, target: &Target) -> Result<Secret> {
        read(&self.dir, &password_name(target))
    }

    /// Two lines: the access key or user, and the secret key or password.
    #[must_use]
    pub fn credentials_file(&self, name: &TargetName) -> PathBuf {
        self.dir.join(credentials_name(name))
    }

    /// `None` when there is no such file.
    pub fn credentials(&self, name: &TargetName) -> Result<Option<(String, Secret)>> {
        if is_missing(&self.dir, &credentials_name(name))? {
            return Ok(None);
        }
        let text = read(&self.dir, &credentials_name(name))?;
        let lines: Vec<&str> = text.expose().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [user, secret] => Ok(Some(((*user).to_owned(), Secret::new(*secret)))),
            _ => Err(Failure::usage(format!(
                "{} does not have two lines",
                self.credentials_file(name).display()
            ))
            .hint("write the access key or user into the first, the secret key or password into the second")),
        }
    }

    pub fn save_credentials(&self, name: &TargetName, user: &str, secret: &Secret) -> Result<()> {
        self.ensure_dirs()?;
        write(&self.dir, &credentials_name(name), &format!("{user}\n{}", secret.expose()))
    }

    /// Certificates in PEM that certify the target's server; the owner puts them there.
    pub fn roots(&self, name: &TargetName) -> Result<Option<String>> {
        files::read_text_optional(&self.dir.join(format!("{name}.roots.pem")))
    }

    /// For whom exports to a drop directory are sealed: recipients of age, one a line, or certificates of
    /// OpenPGP. They are no secret.
    #[must_use]
    pub fn recipients_file(&self, name: &TargetName) -> PathBuf {
        self.dir.join(format!("{name}.recipients"))
    }

    #[must_use]
    pub fn ssh_key(&self, name: &TargetName) -> PathBuf {
        self.dir.join("ssh").join(name.as_str())
    }

    /// The file with the one key by which the target's ssh server is known.
    #[must_use]
    pub fn known_hosts(&self, name: &TargetName) -> PathBuf {
        self.dir.join("ssh").join(format!("known_hosts-{name}"))
    }

    /// Makes the directories.
    pub fn ensure_dirs(&self) -> Result<()> {
        files::ensure_dir(&self.dir, 0o700)?;
        files::ensure_dir(&self.dir.join("ssh"), 0o700)
    }
}

fn password_name(target: &Target) -> String {
    if target.own_password { format!("{}.password", target.name) } else { "password".to_owned() }
}

fn credentials_name(name: &TargetName) -> String {
    format!("{name}.credentials")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;
    use crate::host::random::SeededRandom;

    fn target(name: &str, own_password: bool) -> Target {
        let place = "/srv/backup".parse().unwrap();
        Target { name: name.parse().unwrap(), place, required: true, own_password }
    }

    fn fresh() -> (tempfile::TempDir, BackupSecrets) {
        let dir = tempfile::tempdir().unwrap();
        let secrets = BackupSecrets::new(dir.path().join("backup"));
        (dir, secrets)
    }

    #[test]
    fn targets_share_a_password_unless_they_have_their_own_and_it_stays() {
        let (_dir, secrets) = fresh();
        let (one, two, own) = (target("one", false), target("two", false), target("own", true));
        assert_eq!(secrets.password(&one).unwrap_err().kind, Kind::Usage);
        for (seed, target) in [(1, &one), (2, &two), (3, &own)] {
            secrets.ensure_password(target, &SeededRandom::new(seed)).unwrap();
        }
        assert_eq!(secrets.password(&one).unwrap(), secrets.password(&two).unwrap());
        let first = secrets.password(&own).unwrap();
        assert_ne!(secrets.password(&one).unwrap(), first);
        secrets.ensure_password(&own, &SeededRandom::new(4)).unwrap();
        assert_eq!(secrets.password(&own).unwrap(), first);
        assert_eq!(files::mode_of(&secrets.password_file(&own)).unwrap(), Some(0o600));
        assert_eq!(files::mode_of(secrets.ssh_key(&own.name).parent().unwrap()).unwrap(), Some(0o700));
    }

    #[test]
    fn credentials_are_two_lines() {
        let (_dir, secrets) = fresh();
        let name = target("s3", false).name;
        assert_eq!(secrets.credentials(&name).unwrap(), None);
        secrets.save_credentials(&name, "AKIA", &Secret::new("s/e+c")).unwrap();
        assert_eq!(secrets.credentials(&name).unwrap(), Some(("AKIA".to_owned(), Secret::new("s/e+c"))));
        for wrong in ["AKIA", "AKIA\n\n", "a\nb\nc"] {
            std::fs::write(secrets.credentials_file(&name), wrong).unwrap();
            let failure = secrets.credentials(&name).unwrap_err();
            assert!(failure.message.ends_with("does not have two lines"), "{failure}");
        }
    }
}
