//! The site's own certificate authority, for names that no public one certifies.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::inspect::inspect;
use super::keys::new_key;
use crate::failure::{Context, Failure, Result};
use crate::name::Fqdn;
use crate::secret::Secret;
use crate::site::key_kind::KeyKind;

const CA_DAYS: i64 = 3650;
/// Apple's and Chrome's limit for publicly trusted ones is 398; some clients hold private CAs to it.
const LEAF_DAYS: i64 = 397;
/// Certificates begin so much before now, for clients whose clock is behind.
const EARLIER_DAYS: i64 = 1;
/// RFC 5280, appendix A.1: ub-common-name.
const LONGEST_COMMON_NAME: usize = 64;

/// A certificate authority: keep both, and show the certificate only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaPair {
    pub certificate_pem: String,
    pub key_pem: Secret,
}

/// What a web server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The server's certificate only: RFC 8446, section 4.4.2, lets the trust anchor be left out,
    /// and a client that does not have it gains nothing from being sent it.
    pub chain_pem: String,
    pub key_pem: Secret,
}

/// A new CA (P-256, ten years) that may sign server certificates and no further CA.
pub fn new_ca(common_name: &str, now: Timestamp) -> Result<CaPair> {
    let key = new_pair()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lasting(&mut params, days_from(now, -EARLIER_DAYS)?, days_from(now, CA_DAYS)?);
    let certificate = params.self_signed(&key).context("cannot make the local CA")?;
    Ok(CaPair { certificate_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
}

/// A new server certificate (P-256, 397 days or until the CA ends) with a key of its own. The
/// first name becomes the subject too, where it is short enough.
pub fn issue(ca: &CaPair, names: &[Fqdn], now: Timestamp) -> Result<Leaf> {
    let authority = inspect(&ca.certificate_pem)?;
    if authority.not_after <= now {
        let message = format!("the local CA ended on {}", authority.not_after.strftime("%Y-%m-%d"));
        return Err(Failure::failed(message).hint(
            "remove `ca.crt` and `secrets/ca.key`: `autoodoo up` makes new ones, and each client must be \
             given the new `ca.crt`",
        ));
    }
    let ca_key = KeyPair::from_pem(ca.key_pem.expose()).context("cannot read the local CA's key")?;
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate_pem, ca_key)
        .context("cannot read the local CA's certificate")?;

    let begin = days_from(now, -EARLIER_DAYS)?;
    let end = days_from(begin, LEAF_DAYS)?.min(authority.not_after);
    let mut params = server_params(names)?;
    lasting(&mut params, begin, end);
    let key = new_pair()?;
    let certificate = params.signed_by(&key, &issuer).context("cannot sign the certificate")?;
    Ok(Leaf { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
}

fn server_params(names: &[Fqdn]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = match names.first() {
        Some(first) if first.as_str().len() <= LONGEST_COMMON_NAME => named(first.as_str()),
        _ => DistinguishedName::new(),
    };
    for name in names {
        let name = name.as_str().try_into().context("cannot put the name into a certificate")?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn new_pair() -> Result<KeyPair> {
    KeyPair::from_pem(new_key(KeyKind::P256)?.expose()).context("cannot make a key")
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn lasting(params: &mut CertificateParams, begin: Timestamp, end: Timestamp) {
    // rcgen's type for a moment has no way in from seconds but by way of a date.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |at: Timestamp| epoch + std::time::Duration::from_secs(at.as_second().max(0).unsigned_abs());
    params.not_before = moment(begin);
    params.not_after = moment(end);
}

fn days_from(moment: Timestamp, days: i64) -> Result<Timestamp> {
    moment.checked_add(SignedDuration::from_hours(24 * days)).context("the machine's clock is far off")
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    fn fqdns(names: &[&str]) -> Vec<Fqdn> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn pair(names: &[&str]) -> (CaPair, Leaf) {
        let now = Timestamp::now();
        let ca = new_ca("acme local CA", now).unwrap();
        let leaf = issue(&ca, &fqdns(names), now).unwrap();
        (ca, leaf)
    }

    /// The output of `openssl` with these arguments, in a directory with both certificates.
    fn openssl(ca: &CaPair, leaf: &Leaf, arguments: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), &ca.certificate_pem).unwrap();
        std::fs::write(dir.path().join("leaf.crt"), &leaf.chain_pem).unwrap();
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(dir.path())
            .output()
            .expect("openssl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[test]
    fn openssl_verifies_the_leaf_strictly() {
        let (ca, leaf) = pair(&["odoo.example.com", "crm.example.com"]);
        let verify = |rest: &str| {
            openssl(&ca, &leaf, &format!("verify -x509_strict -purpose sslserver -CAfile ca.crt {rest}"))
        };
        assert_eq!(verify("-verify_hostname crm.example.com leaf.crt"), "leaf.crt: OK\n");
        assert!(verify("-verify_hostname www.example.com leaf.crt").contains("hostname mismatch"));
    }

    #[test]
    fn openssl_shows_the_extensions_meant() {
        let (ca, leaf) = pair(&["odoo.example.com"]);
        let text = openssl(&ca, &leaf, "x509 -in ca.crt -noout -text");
        for expected in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject Key Identifier"] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        let text = openssl(&ca, &leaf, "x509 -in leaf.crt -noout -text");
        for expected in [
            "CA:FALSE",
            "Digital Signature",
            "TLS Web Server Authentication",
            "DNS:odoo.example.com",
            "Authority Key Identifier",
            "Subject Key Identifier",
            "NIST CURVE: P-256",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }

    #[test]
    fn a_browser_that_has_the_ca_connects() {
        let (ca, leaf) = pair(&["odoo.example.com"]);
        shake_hands(&ca, &leaf, "odoo.example.com").unwrap();
        let (stranger, _) = pair(&["odoo.example.com"]);
        for (ca, name) in [(&ca, "www.example.com"), (&stranger, "odoo.example.com")] {
            let refusal = shake_hands(ca, &leaf, name).unwrap_err();
            assert!(matches!(refusal, rustls::Error::InvalidCertificate(_)), "{refusal}");
        }
    }

    /// A whole TLS handshake in memory; the client's error when it refuses.
    fn shake_hands(ca: &CaPair, leaf: &Leaf, name: &str) -> Result<(), rustls::Error> {
        let mut server = ServerConnection::new(Arc::new(server_config(leaf))).unwrap();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(client_config(ca)), name).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    fn server_config(leaf: &Leaf) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose().as_bytes()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }

    fn client_config(ca: &CaPair) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.certificate_pem.as_bytes()).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    #[test]
    fn a_leaf_never_outlives_its_ca() {
        let long_ago = Timestamp::now().checked_sub(SignedDuration::from_hours(24 * 3600)).unwrap();
        let ca = new_ca("acme local CA", long_ago).unwrap();
        let leaf = issue(&ca, &fqdns(&["odoo.example.com"]), Timestamp::now()).unwrap();
        let end = |pem: &str| inspect(pem).unwrap().not_after;
        assert_eq!(end(&leaf.chain_pem), end(&ca.certificate_pem));

        let after = end(&ca.certificate_pem);
        let failure = issue(&ca, &fqdns(&["odoo.example.com"]), after).unwrap_err();
        assert!(failure.message.starts_with("the local CA ended on"), "{failure}");
    }

    #[test]
    fn a_name_too_long_for_a_subject_is_still_served() {
        let long = format!("{}.example.com", "a".repeat(60));
        let (ca, leaf) = pair(&[&long]);
        assert_eq!(inspect(&leaf.chain_pem).unwrap().subject, "");
        shake_hands(&ca, &leaf, &long).unwrap();
    }
}
