//! The files below `secrets/`: made once, never shown, never overwritten.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::files;
use super::random::{Random, password};
use crate::failure::{Failure, Result};
use crate::render::libpq::Certificates;
use crate::render::odoo_conf::OdooSecrets;
use crate::secret::Secret;

const ADMIN: &str = "admin-password";
const MASTER: &str = "master-password";
const MASTER_HASH: &str = "master-password.hash";
const DATABASE: &str = "database-password";
const SMTP: &str = "smtp-password";

/// Characters of a password that a person types now and then (119 bits).
const TYPED: usize = 20;
/// Characters of a password that only programs use (190 bits).
const UNTYPED: usize = 32;

/// passlib's default for pbkdf2-sha512, which Odoo's own hashes use too.
const ROUNDS: u32 = 25_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// Of Odoo's first user.
    pub admin_password: Secret,
    /// Of Odoo's database manager; odoo.conf gets the hash only.
    pub master_password: Secret,
    pub master_password_hash: Secret,
    /// Of the PostgreSQL role that Odoo uses.
    pub database_password: Secret,
    /// At the mail server; its owner writes the file.
    pub smtp_password: Option<Secret>,
    /// Of a PostgreSQL server elsewhere. They lie where the site file says, which
    /// [`SiteDir`](super::site_dir::SiteDir) does not know: none until somebody reads them.
    pub certificates: Certificates,
}

impl Secrets {
    /// Makes the directory (0700) and each file (0600) that is missing. Existing passwords stay as
    /// they are; the hash is made anew only with its password or when it is missing.
    pub(super) fn ensure(dir: &Path, random: &dyn Random) -> Result<()> {
        files::ensure_dir(dir, 0o700)?;
        for (name, length) in [(ADMIN, TYPED), (DATABASE, UNTYPED)] {
            if is_missing(dir, name)? {
                write(dir, name, password(random, length).expose())?;
            }
        }
        ensure_master(dir, random)
    }

    /// Fails as bad usage when a file is missing, empty, or open to the group or to others.
    pub(super) fn load(dir: &Path) -> Result<Secrets> {
        Ok(Secrets {
            admin_password: read(dir, ADMIN)?,
            master_password: read(dir, MASTER)?,
            master_password_hash: read(dir, MASTER_HASH)?,
            database_password: read(dir, DATABASE)?,
            smtp_password: if is_missing(dir, SMTP)? { None } else { Some(read_line(dir, SMTP)?) },
            certificates: Certificates::default(),
        })
    }

    /// The part that odoo.conf needs.
    #[must_use]
    pub fn of_odoo(&self) -> OdooSecrets<'_> {
        OdooSecrets {
            database_password: &self.database_password,
            master_password_hash: &self.master_password_hash,
            smtp_password: self.smtp_password.as_ref(),
            certificates: &self.certificates,
        }
    }
}

fn ensure_master(dir: &Path, random: &dyn Random) -> Result<()> {
    if is_missing(dir, MASTER)? {
        // The hash goes first: a run that is killed in between must not leave another password's.
        files::remove(&dir.join(MASTER_HASH))?;
        write(dir, MASTER, password(random, UNTYPED).expose())?;
    }
    if is_missing(dir, MASTER_HASH)? {
        let mut salt = [0; 16];
        random.bytes(&mut salt);
        write(dir, MASTER_HASH, &passlib_hash(&read(dir, MASTER)?, salt))?;
    }
    Ok(())
}

pub(super) fn is_missing(dir: &Path, name: &str) -> Result<bool> {
    Ok(files::mode_of(&dir.join(name))?.is_none())
}

pub(super) fn write(dir: &Path, name: &str, value: &str) -> Result<()> {
    files::write_atomic(&dir.join(name), format!("{value}\n").as_bytes(), 0o600)
}

/// One that goes into odoo.conf as its owner wrote it: a second line would be another option.
fn read_line(dir: &Path, name: &str) -> Result<Secret> {
    let secret = read(dir, name)?;
    let text = secret.expose();
    if text.contains(char::is_control) || text.trim() != text {
        let path = dir.join(name);
        return Err(Failure::usage(format!("{} is not one line of text", path.display()))
            .hint("it should hold the password alone, without spaces around it"));
    }
    Ok(secret)
}

pub(super) fn read(dir: &Path, name: &str) -> Result<Secret> {
    let path = dir.join(name);
    let shown = path.display();
    let Some(mode) = files::mode_of(&path)? else {
        return Err(Failure::usage(format!("{shown} is missing"))
            .hint("put it back from a copy of the site directory; it is made only once"));
    };
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "{shown} can be read by others than its owner (mode {mode:04o})"
        ))
        .hint(format!("chmod 600 {shown}")));
    }
    let text = files::read_text_optional(&path)?.unwrap_or_default();
    let value = text.strip_suffix('\n').unwrap_or(&text);
    if value.is_empty() {
        return Err(Failure::usage(format!("{shown} is empty")).hint("write the password into it"));
    }
    Ok(Secret::new(value))
}

/// The form that Odoo's `admin_passwd` accepts: passlib's `pbkdf2_sha512`, which writes base64 with
/// `.` for `+` and without padding.
fn passlib_hash(password: &Secret, salt: [u8; 16]) -> String {
    let mut key = [0; 64];
    pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password.expose().as_bytes(), &salt, ROUNDS, &mut key);
    let ab64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes).replace('+', ".");
    format!("$pbkdf2-sha512${ROUNDS}${}${}", ab64(&salt), ab64(&key))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::failure::Kind;
    use crate::host::random::SeededRandom;

    fn fresh() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        Secrets::ensure(dir.path(), &SeededRandom::new(1)).unwrap();
        dir
    }

    /// The expected text is passlib 1.7.4's own for this password and salt.
    #[test]
    fn the_hash_is_passlibs() {
        let salt = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(
            passlib_hash(&Secret::new("correct horse"), salt),
            "$pbkdf2-sha512$25000$AAECAwQFBgcICQoLDA0ODw$no0pQATH8VKOEmBWJw50YZrk2tmzRj9Ae6xEw1vLLehsKeOP\
             WOMVonpc79bKsUZLnXvPrnJcFkEt9hwlEgxdKw"
        );
    }

    #[test]
    fn a_new_site_gets_every_secret_and_keeps_it() {
        let dir = fresh();
        let first = Secrets::load(dir.path()).unwrap();
        assert_eq!(first.admin_password.expose().len(), TYPED);
        assert!(first.master_password_hash.expose().starts_with("$pbkdf2-sha512$25000$"));

        Secrets::ensure(dir.path(), &SeededRandom::new(2)).unwrap();
        assert_eq!(Secrets::load(dir.path()).unwrap(), first);
    }

    #[test]
    fn only_what_is_missing_is_made() {
        let dir = fresh();
        let first = Secrets::load(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(MASTER)).unwrap();
        Secrets::ensure(dir.path(), &SeededRandom::new(2)).unwrap();
        let second = Secrets::load(dir.path()).unwrap();
        assert_ne!(second.master_password, first.master_password);
        assert_ne!(second.master_password_hash, first.master_password_hash);
        assert_eq!(second.admin_password, first.admin_password);
    }

    #[test]
    fn one_newline_is_not_part_of_a_password() {
        let dir = fresh();
        for (text, password) in [("s3cret\n", "s3cret"), ("s3cret", "s3cret"), ("s3cret \n\n", "s3cret \n")] {
            std::fs::write(dir.path().join(ADMIN), text).unwrap();
            assert_eq!(Secrets::load(dir.path()).unwrap().admin_password.expose(), password);
        }
    }

    #[test]
    fn open_missing_and_empty_files_are_refused() {
        let dir = fresh();
        let path = dir.path().join(DATABASE);
        let refused = || {
            let failure = Secrets::load(dir.path()).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            (failure.message, failure.hints)
        };
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let (message, hints) = refused();
        assert!(message.contains("mode 0640"), "{message}");
        assert_eq!(hints, [format!("chmod 600 {}", path.display())]);

        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "\n").unwrap();
        assert!(refused().0.ends_with("is empty"));
        std::fs::remove_file(&path).unwrap();
        assert!(refused().0.ends_with("is missing"));
    }
}
