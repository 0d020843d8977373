//! Private keys for certificates.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;

use crate::failure::{Context, Result};
use crate::secret::Secret;
use crate::site::key_kind::KeyKind;

/// A new private key as PEM (PKCS#8, RFC 5958). RSA with 4096 bits takes seconds; call it where
/// nothing waits.
pub fn new_key(kind: KeyKind) -> Result<Secret> {
    match kind {
        KeyKind::P256 => elliptic(&PKCS_ECDSA_P256_SHA256),
        KeyKind::P384 => elliptic(&PKCS_ECDSA_P384_SHA384),
        KeyKind::Rsa2048 => rsa(2048),
        KeyKind::Rsa3072 => rsa(3072),
        KeyKind::Rsa4096 => rsa(4096),
    }
}

fn elliptic(algorithm: &'static SignatureAlgorithm) -> Result<Secret> {
    let key = KeyPair::generate_for(algorithm).context("cannot make a key")?;
    Ok(Secret::new(key.serialize_pem()))
}

/// ring signs with RSA keys and makes none.
fn rsa(bits: usize) -> Result<Secret> {
    let key = RsaPrivateKey::new(&mut OsRng, bits).context("cannot make an RSA key")?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).context("cannot write the RSA key")?;
    Ok(Secret::new(pem.as_str()))
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;

    use super::*;
    use crate::tls::inspect::{check_pair, inspect};
    use crate::tls::openssl::Workshop;

    /// rcgen signs with it, rustls serves with it, and openssl finds it whole.
    fn works(kind: KeyKind, named: &str) {
        let key = new_key(kind).unwrap();
        let pair = KeyPair::from_pem(key.expose()).unwrap();
        let certificate =
            CertificateParams::new(["a.example".to_owned()]).unwrap().self_signed(&pair).unwrap().pem();
        check_pair(&certificate, &key).unwrap();
        assert_eq!(inspect(&certificate).unwrap().key.to_string(), named);
        let workshop = Workshop::new();
        workshop.write("key.pem", key.expose());
        assert!(workshop.run("pkey -in key.pem -check -noout").contains("Key is valid"), "{named}");
        workshop.write("certificate.pem", &certificate);
        assert_eq!(workshop.run("verify -CAfile certificate.pem certificate.pem"), "certificate.pem: OK\n");
    }

    #[test]
    fn elliptic_keys_work_everywhere() {
        works(KeyKind::P256, "EC P-256");
        works(KeyKind::P384, "EC P-384");
    }

    #[test]
    fn rsa_keys_work_everywhere() {
        works(KeyKind::Rsa2048, "RSA 2048 bits");
        works(KeyKind::Rsa3072, "RSA 3072 bits");
    }

    /// Among so many keys are some whose first prime is the smaller one.
    #[test]
    fn every_rsa_key_is_accepted() {
        for _ in 0..6 {
            KeyPair::from_pem(new_key(KeyKind::Rsa2048).unwrap().expose()).unwrap();
        }
    }
}
