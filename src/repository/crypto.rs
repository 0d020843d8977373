//! restic's encryption (its design document, "Keys, Encryption and MAC"): AES-256-CTR, authenticated
//! with Poly1305-AES. `rustic_core` keeps its own to itself; here it serves what rustic does not
//! write: key files at a cost we choose, trees with corrected sizes, snapshots, and checks.

use aes256ctr_poly1305aes::aead::Aead;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce};
use rustic_core::repofile::MasterKey;

use crate::failure::{Context, Failure, Result};

const NONCE: usize = 16;
/// Nonce and authentication code: what encrypting adds to a length.
pub(super) const OVERHEAD: usize = 32;
/// How a compressed file that is no pack begins (format version 2).
const COMPRESSED: u8 = 2;

#[derive(Clone)]
pub(super) struct Cipher(Aes256CtrPoly1305Aes);

impl Cipher {
    pub(super) fn of(key: &MasterKey) -> Result<Cipher> {
        Cipher::of_parts(&key.encrypt, &key.mac.k, &key.mac.r)
    }

    /// The encryption key of 32 bytes, and Poly1305-AES's `k` and `r` of 16.
    pub(super) fn of_parts(encrypt: &[u8], k: &[u8], r: &[u8]) -> Result<Cipher> {
        let key: [u8; 64] = [encrypt, k, r]
            .concat()
            .try_into()
            .map_err(|_| Failure::failed("the repository's key does not have 64 bytes"))?;
        Ok(Cipher(Aes256CtrPoly1305Aes::new(&Key::from(key))))
    }

    pub(super) fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = Nonce::default();
        getrandom::fill(&mut nonce).context("the kernel gives no random bytes")?;
        let sealed = self.0.encrypt(&nonce, plain);
        let sealed = sealed.map_err(|_| Failure::failed("encrypting failed"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// `None`: damaged, or encrypted with another key.
    pub(super) fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() < OVERHEAD {
            return None;
        }
        let (nonce, sealed) = sealed.split_at(NONCE);
        self.0.decrypt(Nonce::from_slice(nonce), sealed).ok()
    }

    /// The JSON in a file that is neither pack nor key.
    pub(super) fn decrypt_file(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let plain = self.decrypt(sealed)?;
        match plain.split_first() {
            Some((&COMPRESSED, compressed)) => zstd::decode_all(compressed).ok(),
            _ => Some(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_not_decrypted() {
        let cipher = Cipher::of(&MasterKey::new()).unwrap();
        let sealed = cipher.encrypt(b"text").unwrap();
        assert_eq!(sealed.len(), 4 + OVERHEAD);
        assert_eq!(cipher.decrypt(&sealed).unwrap(), b"text");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(cipher.decrypt(&changed), None, "byte {place}");
            assert_eq!(cipher.decrypt(&sealed[..place]), None, "{place} bytes");
        }
    }

    #[test]
    fn another_key_does_not_decrypt() {
        let sealed = Cipher::of(&MasterKey::new()).unwrap().encrypt(b"text").unwrap();
        assert_eq!(Cipher::of(&MasterKey::new()).unwrap().decrypt(&sealed), None);
    }

    #[test]
    fn files_may_be_compressed() {
        let cipher = Cipher::of(&MasterKey::new()).unwrap();
        let compressed = zstd::encode_all(&b"{}"[..], 0).unwrap();
        let sealed = cipher.encrypt(&[&[COMPRESSED], compressed.as_slice()].concat()).unwrap();
        assert_eq!(cipher.decrypt_file(&sealed).unwrap(), b"{}");
        assert_eq!(cipher.decrypt_file(&cipher.encrypt(b"{}").unwrap()).unwrap(), b"{}");
    }
}
