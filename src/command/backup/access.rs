//! What lets this site into a target: the repository's password, and the way to where it lies.

use std::path::PathBuf;

use crate::command::site::Loaded;
use crate::failure::{Failure, Result};
use crate::host::backup_secrets::BackupSecrets;
use crate::host::files;
use crate::repository::store::Access;
use crate::secret::Secret;
use crate::site::backup::{Place, Target};

/// The password of the target's repository, and its [`Access`]. Fails as bad usage where
/// `backup setup` has not been run yet.
pub fn of(loaded: &Loaded, target: &Target) -> Result<(Secret, Access)> {
    let secrets = loaded.dir.backup_secrets();
    // A password that is lost is another matter than one that was never made.
    let known = loaded.dir.backups()?.target(target).is_some_and(|memory| memory.repository.is_some());
    if !known && !secrets.has_password(target)? {
        return Err(not_ready(target));
    }
    Ok((secrets.password(target)?, access(&secrets, target)?))
}

/// The same without the password: a place for sealed exports has none.
pub fn access(secrets: &BackupSecrets, target: &Target) -> Result<Access> {
    let name = &target.name;
    match &target.place {
        Place::Local { .. } => Ok(Access::default()),
        Place::Sftp { .. } | Place::Drop { .. } => Ok(Access {
            ssh_key: existing(secrets.ssh_key(name), target)?,
            known_hosts: existing(secrets.known_hosts(name), target)?,
            ..Access::default()
        }),
        Place::S3 { .. } => {
            let credentials = secrets.credentials(name)?.ok_or_else(|| no_credentials(secrets, target))?;
            let roots_pem = secrets.roots(name)?;
            Ok(Access { credentials: Some(credentials), roots_pem, ..Access::default() })
        }
        Place::Rest { .. } => Ok(Access {
            credentials: secrets.credentials(name)?,
            roots_pem: secrets.roots(name)?,
            ..Access::default()
        }),
    }
}

fn existing(path: PathBuf, target: &Target) -> Result<PathBuf> {
    match files::mode_of(&path)? {
        Some(_) => Ok(path),
        None => Err(not_ready(target)),
    }
}

fn not_ready(target: &Target) -> Failure {
    let name = &target.name;
    Failure::usage(format!("target {name} is not ready yet"))
        .hint(format!("make it ready with `autoodoo backup setup {name}`"))
}

/// What to write where, when nobody can be asked.
pub fn no_credentials(secrets: &BackupSecrets, target: &Target) -> Failure {
    let file = secrets.credentials_file(&target.name);
    Failure::usage(format!("the credentials for target {} are missing", target.name)).hint(format!(
        "write the access key into the first line of {}, the secret key into the second, then `chmod 600` it; or \
         run `autoodoo backup setup {}` in a terminal",
        file.display(),
        target.name
    ))
}
