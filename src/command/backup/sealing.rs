//! For whom an export is sealed.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::archive::age_key::AgeKey;
use crate::archive::openpgp::Certificate;
use crate::archive::seal::Recipients;
use crate::cli::SealArgs;
use crate::failure::{Failure, Result};
use crate::host::backup_secrets::BackupSecrets;
use crate::host::files;
use crate::site::backup::TargetName;

/// What the flags say. Certificates must be usable `now`.
pub fn by_flags(args: &SealArgs, now: Timestamp) -> Result<Recipients> {
    match (args.age.as_slice(), args.openpgp.as_slice()) {
        ([], []) => Ok(Recipients::Anyone),
        (age, []) => age.iter().map(|key| AgeKey::parse(key)).collect::<Result<_>>().map(Recipients::Age),
        ([], files) => certificates(files, now).map(Recipients::OpenPgp),
        _ => Err(Failure::usage(EITHER).hint("make two exports: one with --age, and one with --openpgp")),
    }
}

/// What the file says that lies beside a target's other access: an export to a place that others can
/// look into is sealed.
pub fn of_target(secrets: &BackupSecrets, target: &TargetName, now: Timestamp) -> Result<Recipients> {
    let file = secrets.recipients_file(target);
    let name = file.display().to_string();
    let bytes = files::read_optional(&file)?.unwrap_or_default();
    in_file(&name, &bytes, now).map_err(|failure| {
        failure.hint(format!(
            "exports to target {target} are sealed for them: `autoodoo backup setup {target} --recipient RECIPIENT` \
             writes this file, RECIPIENT being age1… or a file with an OpenPGP public key"
        ))
    })
}

/// Nobody has said yet for whom exports to the target are sealed.
pub fn names_nobody(secrets: &BackupSecrets, target: &TargetName) -> Result<bool> {
    let bytes = files::read_optional(&secrets.recipients_file(target))?.unwrap_or_default();
    Ok(String::from_utf8(bytes).is_ok_and(|text| lines(&text).next().is_none()))
}

/// The content of a target's file for these people: each is a recipient of age, or a file with
/// certificates of OpenPGP or with recipients of age.
pub fn file_for(said: &[String], now: Timestamp) -> Result<Vec<u8>> {
    let mut keys = String::new();
    let mut certificates = Vec::new();
    for word in said {
        let Some(bytes) = files::read_optional(Path::new(word))? else {
            let key = AgeKey::parse(word).map_err(|failure| failure.hint(NO_FILE))?;
            let _ = writeln!(keys, "{key}"); // Writing to a String cannot fail.
            continue;
        };
        match in_file(word, &bytes, now)? {
            Recipients::OpenPgp(_) => certificates.extend(Certificate::unarmored(word, &bytes)?),
            age => keys.extend(age.names().iter().map(|key| format!("{key}\n"))),
        }
    }
    match (keys.is_empty(), certificates.is_empty()) {
        (false, false) => Err(Failure::usage(EITHER).hint("name recipients of one kind")),
        (true, _) => Ok(certificates),
        (_, true) => Ok(keys.into_bytes()),
    }
}

const EITHER: &str = "a file is sealed either with age or with OpenPGP, not with both";
const NO_FILE: &str = "there is no file of this name either, with an OpenPGP public key in it";

/// Recipients of age, one a line, or certificates of OpenPGP.
fn in_file(name: &str, bytes: &[u8], now: Timestamp) -> Result<Recipients> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains("-----BEGIN PGP"));
    let Some(text) = text else { return Certificate::parse(name, bytes, now).map(Recipients::OpenPgp) };
    let keys = lines(text).map(AgeKey::parse).collect::<Result<Vec<_>>>()?;
    if keys.is_empty() {
        return Err(Failure::usage(format!("nobody is named in {name}"))
            .hint("write recipients of age into it, one a line (age1…), or a certificate of OpenPGP"));
    }
    Ok(Recipients::Age(keys))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn certificates(paths: &[PathBuf], now: Timestamp) -> Result<Vec<Certificate>> {
    let mut certificates = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let bytes = files::read_optional(path)?
            .ok_or_else(|| Failure::usage(format!("there is no file {name} with an OpenPGP certificate")))?;
        certificates.extend(Certificate::parse(&name, &bytes, now)?);
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    const KEY: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn sealed(age: &[&str], openpgp: &[&str]) -> Result<Recipients> {
        let args = SealArgs {
            file: "acme.tar.zst".into(),
            age: age.iter().map(ToString::to_string).collect(),
            openpgp: openpgp.iter().map(PathBuf::from).collect(),
            cold: false,
        };
        by_flags(&args, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_way_of_sealing_or_none() {
        assert!(matches!(sealed(&[], &[]).unwrap(), Recipients::Anyone));
        assert_eq!(sealed(&[KEY, KEY], &[]).unwrap().names(), [KEY, KEY]);
        let both = sealed(&[KEY], &["/nonexistent"]).unwrap_err();
        assert_eq!(both.kind, Kind::Usage);
        assert!(both.hints[0].contains("two exports"), "{:?}", both.hints);
        let missing = sealed(&[], &["/nonexistent"]).unwrap_err();
        assert_eq!(missing.message, "there is no file /nonexistent with an OpenPGP certificate");
    }

    #[test]
    fn a_targets_file_is_written_for_recipients_of_one_kind() {
        let dir = tempfile::tempdir().unwrap();
        let (list, certificate) = (dir.path().join("office.txt"), dir.path().join("office.asc"));
        std::fs::write(&list, format!("# the office\n{KEY}\n")).unwrap();
        std::fs::write(&certificate, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n").unwrap();
        let file = |said: &[&str]| {
            let said: Vec<String> = said.iter().map(ToString::to_string).collect();
            file_for(&said, Timestamp::UNIX_EPOCH).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(file(&[KEY, list.to_str().unwrap()]).unwrap(), format!("{KEY}\n{KEY}\n"));
        let wrong = file(&["office.asc"]).unwrap_err();
        assert_eq!(wrong.message, "`office.asc` is no recipient of age");
        assert_eq!(wrong.hints.last().unwrap(), NO_FILE);
        let damaged = file(&[certificate.to_str().unwrap()]).unwrap_err();
        assert!(damaged.message.ends_with("office.asc holds no OpenPGP certificate"), "{damaged}");
    }

    #[test]
    fn a_file_names_recipients_of_one_kind() {
        let read = |text: &str| in_file("drop.recipients", text.as_bytes(), Timestamp::UNIX_EPOCH);
        assert_eq!(read(&format!("# the office\n\n  {KEY}\n{KEY}")).unwrap().names(), [KEY, KEY]);
        assert_eq!(read("# nobody\n").unwrap_err().message, "nobody is named in drop.recipients");
        assert_eq!(read("acme").unwrap_err().message, "`acme` is no recipient of age");
        let certificate = read("-----BEGIN PGP PUBLIC KEY BLOCK-----\n").unwrap_err();
        assert_eq!(certificate.message, "drop.recipients holds no OpenPGP certificate");
    }
}
