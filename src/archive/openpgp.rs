//! Certificates of OpenPGP: which of their keys a message is sealed for (RFC 9580 sections 5.2.3 and
//! 10.1).

use std::fmt;
use std::io::Read;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use pgp::armor::Dearmor;
use pgp::composed::{EncryptionSeipdV1, MessageBuilder, PublicOrSecret, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};
use rsa::rand_core::OsRng;

use crate::failure::{Failure, Result};

/// Somebody to seal for: the key that is theirs for it today.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Key,
    /// Of the primary key, in upper case as GnuPG shows it.
    fingerprint: String,
    user: String,
}

#[derive(Debug, Clone)]
enum Key {
    Primary(PublicKey),
    Sub(PublicSubkey),
}

impl Certificate {
    /// Every certificate in a file, armored or not. `name` is the file's, for failures; each of the
    /// certificates must be usable at `now`.
    pub fn parse(name: &str, bytes: &[u8], now: Timestamp) -> Result<Vec<Certificate>> {
        let (found, _) = PublicOrSecret::from_reader_many(bytes).map_err(|_| none_in(name))?;
        let certificates = found
            .map(|found| match found.map_err(|_| none_in(name))? {
                PublicOrSecret::Secret(_) => Err(private(name)),
                PublicOrSecret::Public(certificate) => judge(name, &certificate, now),
            })
            .collect::<Result<Vec<_>>>()?;
        if certificates.is_empty() { Err(none_in(name)) } else { Ok(certificates) }
    }

    /// The certificates of a file as OpenPGP packets: those of several files can follow each other.
    pub fn unarmored(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        if !bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP") {
            return Ok(bytes.to_vec());
        }
        let mut packets = Vec::new();
        Dearmor::new(bytes).read_to_end(&mut packets).map_err(|_| none_in(name))?;
        Ok(packets)
    }

    /// Lets them open the message.
    pub(super) fn give_key<R: Read>(
        &self,
        message: &mut MessageBuilder<'_, R, EncryptionSeipdV1>,
    ) -> pgp::errors::Result<()> {
        match &self.key {
            Key::Primary(key) => message.encrypt_to_key(OsRng, key).map(drop),
            Key::Sub(key) => message.encrypt_to_key(OsRng, key).map(drop),
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.fingerprint, self.user)
    }
}

fn none_in(name: &str) -> Failure {
    Failure::usage(format!("{name} holds no OpenPGP certificate"))
        .hint("`gpg --armor --export NAME > FILE` writes one")
}

fn private(name: &str) -> Failure {
    Failure::usage(format!("{name} holds a private OpenPGP key; `--openpgp` takes the public one"))
        .hint("`gpg --armor --export NAME > FILE` writes it; keep the private key away from this server")
}

fn judge(file: &str, certificate: &SignedPublicKey, now: Timestamp) -> Result<Certificate> {
    let fingerprint = format!("{:X}", certificate.primary_key.fingerprint());
    let user = certificate.details.users.first();
    let user = user.map_or_else(|| "without a name".to_owned(), |user| printable(user.id.id()));
    let key = usable(certificate, now).map_err(|why| {
        Failure::usage(format!("the OpenPGP certificate {fingerprint} ({user}) in {file} {why}"))
            .hint("ask its owner for the present one")
    })?;
    Ok(Certificate { key, fingerprint, user })
}

/// A name may be any bytes.
fn printable(id: &[u8]) -> String {
    String::from_utf8_lossy(id).chars().filter(|c| !c.is_control()).collect()
}

/// The newest key for encryption that is in force, as GnuPG chooses; else why there is none.
fn usable(certificate: &SignedPublicKey, now: Timestamp) -> Result<Key, String> {
    let primary = &certificate.primary_key;
    if certificate.details.revocation_signatures.iter().any(|sign| sign.verify_key(primary).is_ok()) {
        return Err("is revoked".to_owned());
    }
    let about = newest(own_signatures(certificate)).ok_or("has no signature of its owner")?;
    in_force(primary, about, now)?;
    let mut subkeys: Vec<_> = certificate.public_subkeys.iter().filter(|key| is_for(key)).collect();
    subkeys.sort_by_key(|key| std::cmp::Reverse(seconds(key.key.created_at().into())));
    let mut why = "has no key for encryption".to_owned();
    for subkey in subkeys {
        match subkey_in_force(primary, subkey, now) {
            Ok(()) => return Ok(Key::Sub(subkey.key.clone())),
            Err(reason) => why = format!("has a key for encryption that {reason}"),
        }
    }
    if seals(about) && primary.algorithm().can_encrypt() {
        return Ok(Key::Primary(primary.clone()));
    }
    Err(why)
}

fn own_signatures(certificate: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let primary = &certificate.primary_key;
    let users = certificate.details.users.iter().flat_map(move |user| {
        let own = move |sign: &&Signature| sign.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(|sign| sign.typ() != Some(SignatureType::CertRevocation)).filter(own)
    });
    let direct = certificate.details.direct_signatures.iter();
    users.chain(direct.filter(move |sign| sign.verify_key(primary).is_ok()))
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|sign| sign.created().map(|time| seconds(time.into())))
}

/// Meant for encryption, by somebody's word: whose, is checked later.
fn is_for(subkey: &SignedPublicSubKey) -> bool {
    subkey.key.algorithm().can_encrypt() && subkey.signatures.iter().any(seals)
}

fn seals(signature: &Signature) -> bool {
    signature.key_flags().encrypt_storage() || signature.key_flags().encrypt_comms()
}

fn subkey_in_force(primary: &PublicKey, subkey: &SignedPublicSubKey, now: Timestamp) -> Result<(), String> {
    let own = |sign: &&Signature| sign.verify_subkey_binding(primary, &subkey.key).is_ok();
    let (revocations, bindings): (Vec<_>, Vec<_>) = (subkey.signatures.iter().filter(own))
        .partition(|sign| sign.typ() == Some(SignatureType::SubkeyRevocation));
    if !revocations.is_empty() {
        return Err("is revoked".to_owned());
    }
    let binding = newest(bindings.into_iter().filter(|sign| seals(sign)));
    in_force(&subkey.key, binding.ok_or("its owner has not signed")?, now)
}

/// By what the owner says of the key, and by how long that holds.
fn in_force(key: &impl KeyDetails, about: &Signature, now: Timestamp) -> Result<(), String> {
    let limits = [
        (Some(key.created_at()), about.key_expiration_time()),
        (about.created(), about.signature_expiration_time()),
    ];
    for (from, lasts) in limits {
        let (Some(from), Some(lasts)) = (from, lasts) else { continue };
        let seconds_it_lasts = Duration::from(lasts).as_secs();
        let end = seconds(from.into()) + i64::try_from(seconds_it_lasts).unwrap_or(i64::MAX / 2);
        // Zero says that there is no end (RFC 9580 section 5.2.3.13).
        if seconds_it_lasts > 0 && end <= now.as_second() {
            return Err(format!("expired on {}", day(end)));
        }
    }
    Ok(())
}

fn seconds(time: SystemTime) -> i64 {
    // OpenPGP's times have 32 bits.
    Timestamp::try_from(time).map_or(0, Timestamp::as_second)
}

fn day(second: i64) -> String {
    let time = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(second));
    time.map_or_else(|_| "an unknown day".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}
