//! For whose eyes an export is.

use std::io::{self, Read, Write};

use pgp::composed::MessageBuilder;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use rsa::rand_core::OsRng;

use super::age_key::AgeKey;
use super::openpgp::Certificate;

/// A file is sealed in one way only: whoever holds one of the keys opens all of it.
#[derive(Debug, Clone, Default)]
pub enum Recipients {
    /// Everybody who gets the file.
    #[default]
    Anyone,
    Age(Vec<AgeKey>),
    OpenPgp(Vec<Certificate>),
}

impl Recipients {
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        !matches!(self, Recipients::Anyone)
    }

    /// How the name of such a file ends.
    #[must_use]
    pub fn suffix(&self) -> &'static str {
        match self {
            Recipients::Anyone => ".tar.zst",
            Recipients::Age(_) => ".tar.zst.age",
            Recipients::OpenPgp(_) => ".tar.zst.gpg",
        }
    }

    /// Each of them, as people know them.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Recipients::Anyone => Vec::new(),
            Recipients::Age(keys) => keys.iter().map(ToString::to_string).collect(),
            Recipients::OpenPgp(certificates) => certificates.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Copies everything, sealed. An error leaves something that cannot be opened to its end.
pub fn seal(recipients: &Recipients, mut content: impl Read, mut into: impl Write) -> io::Result<()> {
    match recipients {
        Recipients::Anyone => io::copy(&mut content, &mut into).map(drop),
        Recipients::Age(keys) => seal_for_age(keys, content, into),
        Recipients::OpenPgp(certificates) => seal_for_openpgp(certificates, content, into),
    }
}

/// The age file format (age-encryption.org/v1), not armored.
fn seal_for_age(keys: &[AgeKey], mut content: impl Read, into: impl Write) -> io::Result<()> {
    let recipients = keys.iter().map(AgeKey::recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let mut sealed = encryptor.wrap_output(into)?;
    io::copy(&mut content, &mut sealed)?;
    sealed.finish().map(drop)
}

/// RFC 9580 section 5.13.1, version 1: what GnuPG 2.2 opens, and whose end it knows. Not compressed
/// once more.
fn seal_for_openpgp(certificates: &[Certificate], content: impl Read, into: impl Write) -> io::Result<()> {
    let mut message = MessageBuilder::from_reader("", content).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    for certificate in certificates {
        certificate.give_key(&mut message).map_err(io_error)?;
    }
    message.to_writer(OsRng, into).map_err(io_error)
}

/// The error of a reader or writer as it was.
fn io_error(error: pgp::errors::Error) -> io::Error {
    match error {
        pgp::errors::Error::IO { source, .. } => source,
        other => io::Error::other(other),
    }
}
