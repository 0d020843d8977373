//! What a certificate says, and whether it serves its purpose.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::Any;
use x509_parser::der_parser::{Oid, oid};
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};
use crate::name::Fqdn;
use crate::secret::Secret;

/// A local certificate is replaced when no more than this is left of it.
const RENEW_DAYS: i64 = 30;

/// What the first certificate of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// DNS names it is for, in lower case; `*.example.com` is possible. The subject's common name
    /// is not among them: browsers have not looked at it since 2017 (RFC 9525, section 2).
    pub names: Vec<String>,
    pub subject: String,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// SHA-256 of the whole certificate, 64 hexadecimal digits.
    pub fingerprint: String,
    /// The subject's public key.
    pub key: PublicKey,
    /// As the CA numbered it, in lowercase hexadecimal digits.
    pub serial: String,
    /// Where revocation is asked (RFC 6960), if anywhere: stapling needs it.
    pub ocsp_responder: Option<String>,
    /// Browsers insist on a stapled OCSP answer (TLS feature, RFC 7633).
    pub must_staple: bool,
    /// Where the issuer's certificate can be had.
    pub issuer_url: Option<String>,
    /// It may sign others.
    pub is_ca: bool,
    /// It names itself as its issuer.
    pub self_signed: bool,
    subject_key: Option<Vec<u8>>,
    authority_key: Option<Vec<u8>>,
}

/// What kind of key a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// The name of the curve, such as `P-256`, or its object identifier.
    Ec(String),
    /// The length of the modulus in bits.
    Rsa(usize),
    /// Anything else; its name or object identifier.
    Other(String),
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicKey::Ec(curve) => write!(f, "EC {curve}"),
            PublicKey::Rsa(bits) => write!(f, "RSA {bits} bits"),
            PublicKey::Other(name) => f.write_str(name),
        }
    }
}

impl CertificateFacts {
    /// Whether it names `ca` as its issuer, by key where both tell it. The signature itself is
    /// left to the client's own check.
    #[must_use]
    pub fn is_from(&self, ca: &CertificateFacts) -> bool {
        let same_key = match (&self.authority_key, &ca.subject_key) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        same_key && self.issuer == ca.subject
    }

    /// RFC 9525, section 6.3: `*` stands for exactly one leftmost label.
    #[must_use]
    pub fn covers(&self, wanted: &Fqdn) -> bool {
        let wanted = wanted.as_str();
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => wanted.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => name == wanted,
        })
    }
}

/// Reads the first certificate of a PEM file.
pub fn inspect(chain_pem: &str) -> Result<CertificateFacts> {
    let chain = certificates(chain_pem)?;
    // `certificates` refuses an empty file.
    facts(&chain[0])
}

/// Checks that a web server could use the two: the key is the first certificate's, and each
/// certificate is followed by its issuer.
pub fn check_pair(chain_pem: &str, key_pem: &Secret) -> Result<()> {
    let chain = certificates(chain_pem)?;
    check_key(&chain, &private_key(key_pem)?)?;
    let facts = chain.iter().map(|certificate| facts(certificate)).collect::<Result<Vec<_>>>()?;
    for (number, pair) in facts.windows(2).enumerate() {
        if !pair[0].is_from(&pair[1]) {
            return Err(Failure::usage(format!(
                "certificate {} of the chain (`{}`) is not followed by its issuer (`{}`) but by `{}`",
                number + 1,
                pair[0].subject,
                pair[0].issuer,
                pair[1].subject
            ))
            .hint("put the server's certificate first, then each issuer below it"));
        }
    }
    Ok(())
}

/// What keeps this certificate from serving `wanted` at `now`: one sentence each, none when it is
/// fine.
#[must_use]
pub fn problems(facts: &CertificateFacts, wanted: &[Fqdn], now: Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    if now >= facts.not_after {
        found.push(format!("the certificate expired on {}", date(facts.not_after)));
    }
    if now < facts.not_before {
        found.push(format!("the certificate is not valid before {}", date(facts.not_before)));
    }
    if facts.names.is_empty() {
        found.push("the certificate has no subject alternative names, so no browser accepts it".to_owned());
    } else {
        let missing = wanted.iter().filter(|name| !facts.covers(name));
        found.extend(missing.map(|name| {
            format!("the certificate is not for `{name}` (it is for {})", facts.names.join(", "))
        }));
    }
    found
}

/// Why a certificate of the local CA should be replaced now; `None` while it is good.
#[must_use]
pub fn leaf_due(facts: &CertificateFacts, wanted: &[Fqdn], now: Timestamp) -> Option<String> {
    if let Some(name) = wanted.iter().find(|name| !facts.names.iter().any(|known| known == name.as_str())) {
        return Some(format!("it is not for `{name}`"));
    }
    if let Some(name) = facts.names.iter().find(|name| !wanted.iter().any(|wanted| wanted.as_str() == *name))
    {
        return Some(format!("it is for `{name}`, which the site no longer has"));
    }
    if now < facts.not_before {
        return Some(format!("it is not valid before {}", date(facts.not_before)));
    }
    let left = facts.not_after.duration_since(now);
    (left < SignedDuration::from_hours(24 * RENEW_DAYS)).then(|| match left.as_hours() / 24 {
        _ if left <= SignedDuration::ZERO => format!("it expired on {}", date(facts.not_after)),
        0 => "it ends within a day".to_owned(),
        days => format!("it ends in {days} days"),
    })
}

pub(super) fn date(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d").to_string()
}

pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, PemError>>()
        .map_err(|error| Failure::usage("the certificate file is not valid PEM").because(error))?;
    if chain.is_empty() {
        return Err(Failure::usage("the certificate file holds no certificate")
            .hint("it should have a block that begins with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(chain)
}

fn private_key(pem: &Secret) -> Result<PrivateKeyDer<'static>> {
    let pem = pem.expose();
    if pem.contains("ENCRYPTED") {
        return Err(Failure::usage("the key file is protected by a passphrase")
            .hint("a web server starts without anybody to ask: `openssl pkey -in KEY -out PLAIN-KEY` takes the passphrase away"));
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound => Failure::usage("the key file holds no private key"),
        error => Failure::usage("the key file is not valid PEM").because(error),
    })
}

fn check_key(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<()> {
    let key = rustls::crypto::ring::sign::any_supported_type(key)
        .map_err(|error| Failure::usage("the key is of a kind that cannot be used").because(error))?;
    let belongs = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key)).keys_match()
    };
    match belongs(&chain[0]) {
        Ok(()) => Ok(()),
        Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(match chain.iter().position(|certificate| belongs(certificate).is_ok()) {
                Some(index) => Failure::usage(format!(
                    "the key belongs to certificate {} of the chain instead of the first",
                    index + 1
                ))
                .hint("put the server's certificate first, then each issuer below it"),
                None => Failure::usage("the key does not belong to the certificate"),
            })
        }
        Err(error) => Err(Failure::usage("the certificate cannot be used").because(error)),
    }
}

pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| Failure::usage("the certificate cannot be understood").because(error))?;
    Ok(certificate)
}

pub(super) fn facts(der: &CertificateDer<'_>) -> Result<CertificateFacts> {
    let certificate = parse(der)?;
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    let validity = certificate.validity();
    Ok(CertificateFacts {
        names: names(&certificate),
        subject: subject.to_string(),
        issuer: issuer.to_string(),
        not_before: moment(validity.not_before.timestamp())?,
        not_after: moment(validity.not_after.timestamp())?,
        fingerprint: sha256_hex(der),
        key: public_key(&certificate),
        serial: certificate.raw_serial_as_string().replace(':', ""),
        ocsp_responder: access(&certificate, &oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP),
        must_staple: must_staple(&certificate),
        issuer_url: access(&certificate, &oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS),
        is_ca: certificate.is_ca(),
        self_signed: subject == issuer,
        subject_key: key_identifier(&certificate, |extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
            _ => None,
        }),
        authority_key: key_identifier(&certificate, |extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(issuer) => {
                issuer.key_identifier.as_ref().map(|key| key.0.to_vec())
            }
            _ => None,
        }),
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

fn public_key(certificate: &X509Certificate<'_>) -> PublicKey {
    let info = certificate.public_key();
    let kind = &info.algorithm.algorithm;
    match info.parsed() {
        Ok(x509_parser::public_key::PublicKey::RSA(key)) => PublicKey::Rsa(bits(key.modulus)),
        Ok(x509_parser::public_key::PublicKey::EC(_)) => PublicKey::Ec(curve(info)),
        _ if *kind == oid_registry::OID_SIG_ED25519 => PublicKey::Other("Ed25519".to_owned()),
        _ => PublicKey::Other(format!("key of type {kind}")),
    }
}

/// The length of a number in bits, without leading zeros.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(at) => (number.len() - at) * 8 - number[at].leading_zeros() as usize,
        None => 0,
    }
}

fn curve(info: &SubjectPublicKeyInfo<'_>) -> String {
    let Some(Ok(curve)) = info.algorithm.parameters.as_ref().map(Any::as_oid) else {
        return "without a named curve".to_owned();
    };
    let known = [
        (oid_registry::OID_EC_P256, "P-256"),
        (oid_registry::OID_NIST_EC_P384, "P-384"),
        (oid_registry::OID_NIST_EC_P521, "P-521"),
    ];
    match known.into_iter().find(|(oid, _)| *oid == curve) {
        Some((_, name)) => name.to_owned(),
        None => curve.to_id_string(),
    }
}

/// The first address that the certificate tells for `method` (RFC 5280, section 4.2.2.1).
fn access(certificate: &X509Certificate<'_>, method: &Oid<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().find_map(|told| match &told.access_location {
                GeneralName::URI(uri) if told.access_method == *method => Some((*uri).to_owned()),
                _ => None,
            })
        }
        _ => None,
    })
}

/// RFC 7633, section 4.1: a sequence of numbers, of which 5 is `status_request`.
fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    const TLS_FEATURE: Oid<'_> = oid!(1.3.6.1.5.5.7.1.24);
    const STATUS_REQUEST: [u8; 3] = [2, 1, 5];
    let feature = certificate.extensions().iter().find(|extension| extension.oid == TLS_FEATURE);
    feature.is_some_and(|feature| feature.value.windows(3).any(|number| number == STATUS_REQUEST))
}

fn key_identifier(
    certificate: &X509Certificate<'_>,
    pick: impl Fn(&ParsedExtension<'_>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| pick(extension.parsed_extension()))
}

fn moment(second: i64) -> Result<Timestamp> {
    Timestamp::from_second(second).context("the certificate's dates cannot be understood")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};

    use super::*;
    use crate::failure::Kind;
    use crate::tls::local_ca::{CaPair, Leaf, issue, new_ca};
    use crate::tls::openssl::Workshop;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + number * 24 * 3600).unwrap()
    }

    fn fqdns(names: &[&str]) -> Vec<Fqdn> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn ca() -> CaPair {
        new_ca("acme local CA", day(0)).unwrap()
    }

    fn leaf(names: &[&str]) -> Leaf {
        issue(&ca(), &fqdns(names), day(0)).unwrap()
    }

    fn facts_for(names: &[&str]) -> CertificateFacts {
        let facts = inspect(&leaf(&["odoo.example.com"]).chain_pem).unwrap();
        CertificateFacts { names: names.iter().map(|name| (*name).to_owned()).collect(), ..facts }
    }

    #[test]
    fn facts_of_a_leaf_and_its_ca() {
        let ca = ca();
        let leaf = issue(&ca, &fqdns(&["odoo.example.com", "crm.example.com"]), day(0)).unwrap();
        let (leaf, ca) = (inspect(&leaf.chain_pem).unwrap(), inspect(&ca.certificate_pem).unwrap());
        assert_eq!(leaf.names, ["odoo.example.com", "crm.example.com"]);
        assert_eq!(leaf.issuer, "CN=acme local CA");
        assert_eq!((leaf.not_before, leaf.not_after), (day(-1), day(396)));
        assert!(!leaf.is_ca && !leaf.self_signed && leaf.is_from(&ca));
        assert_eq!((ca.not_before, ca.not_after), (day(-1), day(3650)));
        assert!(ca.is_ca && ca.self_signed && !ca.is_from(&leaf));
    }

    #[test]
    fn another_ca_of_the_same_name_is_told_apart() {
        let (old, new) = (ca(), ca());
        let leaf = issue(&old, &fqdns(&["odoo.example.com"]), day(0)).unwrap();
        let leaf = inspect(&leaf.chain_pem).unwrap();
        assert!(leaf.is_from(&inspect(&old.certificate_pem).unwrap()));
        assert!(!leaf.is_from(&inspect(&new.certificate_pem).unwrap()));
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        let table = [
            ("*.example.com", "odoo.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("odoo.example.com", "odoo.example.com", true),
            ("example.com", "odoo.example.com", false),
            ("*.com", "com", false),
        ];
        for (name, wanted, expected) in table {
            assert_eq!(facts_for(&[name]).covers(&wanted.parse().unwrap()), expected, "{name} {wanted}");
        }
    }

    #[test]
    fn problems_are_told_each() {
        let wanted = fqdns(&["odoo.example.com", "shop.example.org"]);
        let facts = facts_for(&["*.example.com"]);
        let missing = "the certificate is not for `shop.example.org` (it is for *.example.com)";
        assert_eq!(problems(&facts, &wanted[..1], day(0)), Vec::<String>::new());
        assert_eq!(problems(&facts, &wanted, day(0)), [missing]);
        assert_eq!(problems(&facts, &wanted, day(396)), ["the certificate expired on 2027-03-05", missing]);
        assert_eq!(
            problems(&facts, &wanted[..1], day(-2)),
            ["the certificate is not valid before 2026-02-01"]
        );
        assert_eq!(problems(&facts_for(&[]), &wanted, day(0)).len(), 1);
    }

    #[test]
    fn a_leaf_is_due_when_its_names_or_its_time_have_changed() {
        let wanted = fqdns(&["a.example", "b.example"]);
        let facts = facts_for(&["b.example", "a.example"]);
        let table = [
            (&facts, &wanted[..], day(0), None),
            (&facts, &wanted[..], day(366), None),
            (&facts, &wanted[..], day(367), Some("it ends in 29 days")),
            (&facts, &wanted[..], day(396), Some("it expired on 2027-03-05")),
            (&facts, &wanted[..], day(-2), Some("it is not valid before 2026-02-01")),
            (&facts, &wanted[..1], day(0), Some("it is for `b.example`, which the site no longer has")),
            (&facts_for(&["a.example"]), &wanted[..], day(0), Some("it is not for `b.example`")),
            (&facts_for(&["*.example"]), &wanted[..], day(0), Some("it is not for `a.example`")),
        ];
        for (facts, wanted, now, expected) in table {
            assert_eq!(leaf_due(facts, wanted, now).as_deref(), expected);
        }
    }

    #[test]
    fn a_pair_that_fits_is_accepted() {
        let ca = ca();
        let leaf = issue(&ca, &fqdns(&["odoo.example.com"]), day(0)).unwrap();
        check_pair(&leaf.chain_pem, &leaf.key_pem).unwrap();
        check_pair(&(leaf.chain_pem.clone() + &ca.certificate_pem), &leaf.key_pem).unwrap();
        check_pair(&ca.certificate_pem, &ca.key_pem).unwrap();
    }

    #[test]
    fn pairs_that_do_not_fit_say_why() {
        let ca = ca();
        let leaf = issue(&ca, &fqdns(&["odoo.example.com"]), day(0)).unwrap();
        let reversed = ca.certificate_pem.clone() + &leaf.chain_pem;
        let unrelated = leaf.chain_pem.clone() + &super::tests::ca().certificate_pem;
        let locked = Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
        let table = [
            (&leaf.chain_pem, &ca.key_pem, "the key does not belong to the certificate"),
            (&reversed, &leaf.key_pem, "the key belongs to certificate 2 of the chain"),
            (&unrelated, &leaf.key_pem, "certificate 1 of the chain (`CN=odoo.example.com`) is not followed"),
            (&leaf.chain_pem, &locked, "the key file is protected by a passphrase"),
            (&leaf.chain_pem, &Secret::new("none"), "the key file holds no private key"),
            (&"none".to_owned(), &leaf.key_pem, "the certificate file holds no certificate"),
            (&leaf.chain_pem[..300].to_owned(), &leaf.key_pem, "the certificate file is not valid PEM"),
        ];
        for (chain, key, expected) in table {
            let failure = check_pair(chain, key).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message.starts_with(expected), "{failure}");
        }
    }

    /// A certificate without names and with a key of another kind is read all the same.
    #[test]
    fn foreign_certificates_are_read() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "odoo.example.com");
        let pem = params.self_signed(&key).unwrap().pem();
        let facts = inspect(&pem).unwrap();
        assert_eq!(facts.names, Vec::<String>::new());
        assert!(facts.self_signed && !facts.is_ca);
        check_pair(&pem, &Secret::new(key.serialize_pem())).unwrap();
    }

    #[test]
    fn keys_revocation_and_numbers_are_told() {
        let workshop = Workshop::new();
        let read = |key: &str, further: &str| {
            workshop.write("empty.cnf", "[req]\ndistinguished_name=dn\n[dn]\n");
            workshop.make(&format!(
                "req -x509 -config empty.cnf -newkey {key} -nodes -keyout key.pem -subj /CN=a {further} -out a.crt"
            ));
            inspect(&workshop.text("a.crt")).unwrap()
        };
        let access =
            "authorityInfoAccess=OCSP;URI:http://ocsp.example/,caIssuers;URI:http://ca.example/ca.der";
        let facts = read(
            "rsa:2048",
            &format!("-set_serial 0x0a1b -addext {access} -addext tlsfeature=status_request"),
        );
        assert_eq!((facts.key.to_string().as_str(), facts.serial.as_str()), ("RSA 2048 bits", "0a1b"));
        assert_eq!(facts.ocsp_responder.as_deref(), Some("http://ocsp.example/"));
        assert_eq!(facts.issuer_url.as_deref(), Some("http://ca.example/ca.der"));
        assert!(facts.must_staple);
        let curve =
            |name: &str| read(&format!("ec -pkeyopt ec_paramgen_curve:{name}"), "-addext tlsfeature=17");
        assert!(!curve("P-256").must_staple);
        assert_eq!((curve("P-384").ocsp_responder, curve("P-384").issuer_url), (None, None));
        for (name, told) in [("P-384", "EC P-384"), ("P-521", "EC P-521"), ("secp256k1", "EC 1.3.132.0.10")] {
            assert_eq!(curve(name).key.to_string(), told);
        }
        assert_eq!(read("ed25519", "").key.to_string(), "Ed25519");
    }
}
