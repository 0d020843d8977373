//! What is in the files: PEM, DER or PKCS#12.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls_pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Material;
use crate::failure::{Failure, Result};
use crate::secret::Secret;

const BEGIN_ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END_ENCRYPTED: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// RFC 1421, section 4.6.1.1; the key is derived by one round of MD5.
const OLD_ENCRYPTION: &str = "Proc-Type: 4,ENCRYPTED";

/// Everything in the files, in their order.
#[derive(Debug, Default)]
pub struct Contents {
    pub certificates: Vec<CertificateDer<'static>>,
    pub keys: Vec<PrivateKeyDer<'static>>,
}

/// Whether reading this file takes a passphrase: a PEM file with an encrypted key, or a PKCS#12
/// file that the empty one does not open.
#[must_use]
pub fn needs_passphrase(bytes: &[u8]) -> bool {
    if is_pkcs12(bytes) {
        return matches!(Pkcs12Archive::from_pkcs12(bytes, ""), Err(error) if is_wrong_passphrase(&error));
    }
    as_pem(bytes).is_some_and(|text| text.contains(BEGIN_ENCRYPTED))
}

pub fn read(material: &Material<'_>) -> Result<Contents> {
    let mut contents = Contents::default();
    contents.add(material.certificate, material.passphrase)?;
    if contents.certificates.is_empty() {
        return Err(Failure::usage("the certificate file holds no certificate")
            .hint("it should have a block that begins with `-----BEGIN CERTIFICATE-----`, or be PKCS#12"));
    }
    if let Some(key) = material.key {
        contents.add(key, material.passphrase)?;
    }
    if contents.keys.is_empty() {
        return Err(Failure::usage("no private key was given").hint(
            "name the key's file, too: it has a block that begins with `-----BEGIN PRIVATE KEY-----`",
        ));
    }
    Ok(contents)
}

impl Contents {
    fn add(&mut self, bytes: &[u8], passphrase: Option<&Secret>) -> Result<()> {
        if is_pkcs12(bytes) {
            return self.add_pkcs12(bytes, passphrase);
        }
        match as_pem(bytes) {
            Some(text) => self.add_pem(&text, passphrase),
            None if X509Certificate::from_der(bytes).is_ok() => {
                self.certificates.push(CertificateDer::from(bytes.to_vec()));
                Ok(())
            }
            None => Err(Failure::usage("the file is neither PEM nor PKCS#12").hint(
                "`openssl pkey -inform DER -in KEY -out KEY.pem` rewrites a binary key, `openssl pkcs7 \
                       -print_certs -in CHAIN.p7b -out CHAIN.pem` a list of certificates",
            )),
        }
    }

    fn add_pem(&mut self, text: &str, passphrase: Option<&Secret>) -> Result<()> {
        if text.contains(OLD_ENCRYPTION) {
            return Err(Failure::usage(
                "the key is protected by a passphrase in an outdated way (PEM of RFC 1421)",
            )
            .hint("`openssl pkcs8 -topk8 -in KEY -out KEY.pem` rewrites it as PKCS#8"));
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let (kind, bytes) = section.map_err(invalid_pem)?;
            match kind {
                SectionKind::Certificate => self.certificates.push(CertificateDer::from(bytes)),
                kind => self.keys.extend(PrivateKeyDer::from_pem(kind, bytes)),
            }
        }
        for block in encrypted_blocks(text) {
            self.keys.push(decrypted(block, passphrase)?);
        }
        Ok(())
    }

    fn add_pkcs12(&mut self, bytes: &[u8], passphrase: Option<&Secret>) -> Result<()> {
        let archive = open_pkcs12(bytes, passphrase)?;
        let certificates = archive.certs.iter().map(|bag| CertificateDer::from(bag.cert.as_der().to_vec()));
        self.certificates.extend(certificates);
        let keys = archive.keys.iter().map(|bag| PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into());
        self.keys.extend(keys);
        Ok(())
    }
}

/// `PFX ::= SEQUENCE { version INTEGER (3), …` (RFC 7292, section 4): no certificate and no key
/// begins so.
fn is_pkcs12(bytes: &[u8]) -> bool {
    const VERSION_3: [u8; 3] = [0x02, 0x01, 0x03];
    let header = match bytes {
        // A length with its high bit set says how many bytes of length follow; none: it is
        // indefinite.
        [0x30, length, ..] if length & 0x80 != 0 => 2 + usize::from(length & 0x7f),
        [0x30, ..] => 2,
        _ => return false,
    };
    bytes.get(header..).is_some_and(|content| content.starts_with(&VERSION_3))
}

/// The text of a file with PEM blocks. Around them there may be anything: names in Latin-1, or the mark
/// that some editors of Windows put in front.
fn as_pem(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        bytes => String::from_utf8_lossy(bytes),
    };
    text.contains("-----BEGIN ").then_some(text)
}

/// What PowerShell writes by default.
fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Cow<'static, str> {
    let (pairs, _) = bytes.as_chunks();
    let units = pairs.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn invalid_pem(error: PemError) -> Failure {
    Failure::usage("the file is not valid PEM").because(error)
}

fn encrypted_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split(BEGIN_ENCRYPTED).skip(1).map(|rest| rest.split(END_ENCRYPTED).next().unwrap_or(rest))
}

/// The key in the base64 of an `ENCRYPTED PRIVATE KEY` block.
fn decrypted(block: &str, passphrase: Option<&Secret>) -> Result<PrivateKeyDer<'static>> {
    let text: String = block.split_whitespace().collect();
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|error| Failure::usage("the encrypted key is not valid PEM").because(error))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(bytes.as_slice()).map_err(unknown_protection)?;
    let passphrase = required(passphrase, "the key")?;
    let document = info.decrypt(passphrase.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            wrong_passphrase("the key")
        }
        error => unknown_protection(error),
    })?;
    Ok(PrivatePkcs8KeyDer::from(document.as_bytes().to_vec()).into())
}

fn unknown_protection(error: pkcs8::Error) -> Failure {
    Failure::usage("the key is protected in a way that cannot be read here")
        .because(error)
        .hint("`openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out KEY.pem` rewrites it")
}

/// Without a passphrase the empty one is tried: not every file has one.
fn open_pkcs12(bytes: &[u8], passphrase: Option<&Secret>) -> Result<Pkcs12Archive> {
    let given = passphrase.map_or("", Secret::expose);
    Pkcs12Archive::from_pkcs12(bytes, given).map_err(|error| match (is_wrong_passphrase(&error), passphrase) {
        (true, Some(_)) => wrong_passphrase("the PKCS#12 file"),
        (true, None) => no_passphrase("the PKCS#12 file"),
        (false, _) => Failure::usage("the PKCS#12 file cannot be read")
            .because(error)
            .hint("`openssl pkcs12 -in FILE -nodes -out FILE.pem` (with `-legacy` for old ones) rewrites it as PEM"),
    })
}

/// The checksum comes first, so that what follows fails for other reasons. A file without a
/// checksum is known by its padding.
fn is_wrong_passphrase(error: &Pkcs12Error) -> bool {
    matches!(error, Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_))
}

fn required<'a>(passphrase: Option<&'a Secret>, what: &str) -> Result<&'a Secret> {
    passphrase.ok_or_else(|| no_passphrase(what))
}

fn no_passphrase(what: &str) -> Failure {
    Failure::usage(format!("{what} is protected by a passphrase, and none was given"))
}

fn wrong_passphrase(what: &str) -> Failure {
    Failure::usage(format!("the passphrase does not open {what}"))
}
