//! A repository's key file (restic's design document, "Keys, Encryption and MAC").
//!
//! rustic always hashes passwords with 128 MiB of memory (scrypt's N = 2^17), which is more than
//! everything else in a backup together. Our passwords have 240 bits of their own: hashing protects
//! nothing there, and N = 2^15 costs 32 MiB and about 0.1 s.

use bytes::Bytes;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use rustic_core::repofile::{KeyFile, MasterKey};

use super::crypto::Cipher;
use super::fault;
use super::store::{FileKind, Store};
use crate::digest::sha256_hex;
use crate::failure::{Context, Result};
use crate::secret::Secret;

const SCRYPT_N: u32 = 1 << 15;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// Adds the master key, encrypted with the password.
pub(super) fn write(store: &dyn Store, master: &MasterKey, password: &Secret) -> Result<()> {
    let mut salt = vec![0; 64];
    getrandom::fill(&mut salt).context("the kernel gives no random bytes")?;
    let mut file = KeyFile {
        hostname: Some("autoodoo".to_owned()),
        username: Some("autoodoo".to_owned()),
        created: Some(Zoned::new(Timestamp::now(), TimeZone::UTC)),
        kdf: "scrypt".to_owned(),
        n: SCRYPT_N,
        r: SCRYPT_R,
        p: SCRYPT_P,
        data: Vec::new(),
        salt,
    };
    let hashed = file.kdf_key(&password.expose());
    let (encrypt, k, r) =
        hashed.map_err(|error| fault::failure("cannot hash the password", &error))?.to_keys();
    let plain = serde_json::to_vec(master).context("cannot write the key as JSON")?;
    file.data = Cipher::of_parts(&encrypt, &k, &r)?.encrypt(&plain)?;
    let content = serde_json::to_vec(&file).context("cannot write the key as JSON")?;
    Ok(store.write(FileKind::Key, &sha256_hex(&content), &[Bytes::from(content)])?)
}
