//! For whom an export is sealed.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::archive::age_key::AgeKey;
use crate::archive::openpgp::Certificate;
use crate::archive::seal::Recipients;
use crate::cli::SealArgs;
use crate::failure::{Failure, Result};
use crate::host::files;

/// What the flags say. Certificates must be usable `now`.
pub fn by_flags(args: &SealArgs, now: Timestamp) -> Result<Recipients> {
    match (args.age.as_slice(), args.openpgp.as_slice()) {
        ([], []) => Ok(Recipients::Anyone),
        (age, []) => age.iter().map(|key| AgeKey::parse(key)).collect::<Result<_>>().map(Recipients::Age),
        ([], files) => certificates(files, now).map(Recipients::OpenPgp),
        _ => Err(Failure::usage("a file is sealed either with age or with OpenPGP, not with both")
            .hint("make two exports: one with --age, and one with --openpgp")),
    }
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
}
