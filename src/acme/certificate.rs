//! The request for a certificate, and whether what came is what was asked for.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::failure::{Context, Failure, Result};
use crate::secret::Secret;

/// A certificate signing request (RFC 2986) as DER, with the names as subject alternative names
/// and an empty subject: RFC 8555, section 7.4, takes the names from either.
pub(super) fn request(key: &Secret, names: &[String]) -> Result<Vec<u8>> {
    let key = key_pair(key)?;
    let mut params =
        CertificateParams::new(names).context("the names cannot be put into a certificate request")?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).context("cannot make the certificate request")?;
    Ok(request.der().to_vec())
}

fn key_pair(key: &Secret) -> Result<KeyPair> {
    KeyPair::from_pem(key.expose()).context("the certificate's private key cannot be used")
}

/// The leaf is for the key and for all the names. Whether a browser believes it is judged by whoever
/// installs it.
pub(super) fn check(chain_pem: &str, key: &Secret, names: &[String]) -> Result<()> {
    let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes())
        .context("the CA sent something that is no certificate")?;
    let (_, leaf) =
        X509Certificate::from_der(&leaf).context("the CA sent a certificate that cannot be understood")?;
    // Not the whole SubjectPublicKeyInfo: encodings of an algorithm's parameters differ.
    if leaf.public_key().subject_public_key.data != key_pair(key)?.der_bytes() {
        return Err(Failure::failed("the CA sent a certificate for another key"));
    }
    let certified = dns_names(&leaf)?;
    match names.iter().find(|name| !certified.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        None => Ok(()),
        Some(name) => Err(Failure::failed(format!(
            "the CA sent a certificate that is not for `{name}` (it is for {})",
            certified.join(", ")
        ))),
    }
}

/// Whether the first certificates of both chains are one.
pub(super) fn have_same_leaf(one: &str, other: &str) -> bool {
    let leaf = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    leaf(one).is_some_and(|one| Some(one) == leaf(other))
}

fn dns_names<'a>(certificate: &X509Certificate<'a>) -> Result<Vec<&'a str>> {
    let names = certificate
        .subject_alternative_name()
        .context("the CA sent a certificate whose names cannot be understood")?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn key() -> Secret {
        Secret::new(KeyPair::generate().unwrap().serialize_pem())
    }

    fn certificate(key: &Secret, certified: &[&str]) -> String {
        let params = CertificateParams::new(names(certified)).unwrap();
        params.self_signed(&key_pair(key).unwrap()).unwrap().pem()
    }

    #[test]
    fn a_certificate_is_for_its_key_and_names() {
        let key = key();
        let pem = certificate(&key, &["a.example", "*.a.example"]);
        check(&pem, &key, &names(&["*.a.example", "a.example"])).unwrap();
        let message =
            |pem: &str, key: &Secret, wanted: &[&str]| check(pem, key, &names(wanted)).unwrap_err().message;
        assert_eq!(
            message(&pem, &key, &["b.a.example"]),
            "the CA sent a certificate that is not for `b.a.example` (it is for a.example, *.a.example)"
        );
        assert_eq!(message(&pem, &self::key(), &["a.example"]), "the CA sent a certificate for another key");
        assert_eq!(message("<html>", &key, &["a.example"]), "the CA sent something that is no certificate");
    }

    #[test]
    fn chains_are_compared_by_their_first_certificates() {
        let (key, other_key) = (key(), key());
        let (one, other) = (certificate(&key, &["a.example"]), certificate(&other_key, &["a.example"]));
        assert!(have_same_leaf(&one, &format!("{one}{other}")));
        assert!(!have_same_leaf(&one, &other));
        assert!(!have_same_leaf("nothing", "nothing"));
    }

    #[test]
    fn the_request_has_the_names_and_no_subject() {
        let der = request(&key(), &names(&["a.example", "*.b.example"])).unwrap();
        let (_, request) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&der).unwrap();
        assert_eq!(request.certification_request_info.subject.to_string(), "");
        let text = format!("{:?}", request.requested_extensions().unwrap().collect::<Vec<_>>());
        assert!(text.contains("a.example") && text.contains("*.b.example"), "{text}");
    }
}
