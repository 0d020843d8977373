//! A certificate from elsewhere, made ready to be served: whatever form it comes in, however its
//! parts are ordered. What a browser would refuse is refused here.

mod chain;
mod read;
mod rules;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use pkcs8::der::pem;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::inspect::{CertificateFacts, certificates, facts, parse};
use super::trust::{is_trusted, public_roots};
use crate::failure::{Context, Failure, Result};
use crate::name::Fqdn;
use crate::secret::Secret;
use chain::Chain;
pub use read::needs_passphrase;

/// What the owner handed over. Not to be shown: the key is among it.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// PEM certificates in any order, with or without the key; one certificate as DER; or PKCS#12.
    pub certificate: &'a [u8],
    /// The key as PEM, when it is in a file of its own.
    pub key: Option<&'a [u8]>,
    /// What opens a PKCS#12 file or an encrypted key.
    pub passphrase: Option<&'a Secret>,
}

/// A certificate that browsers take, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The server's certificate first, then each issuer, without the root: a client that does not
    /// have it gains nothing from being sent it (RFC 8446, section 4.4.2).
    pub chain_pem: String,
    /// PKCS#8 without a passphrase.
    pub key_pem: Secret,
    pub facts: CertificateFacts,
    /// What the owner should know all the same, one sentence each.
    pub remarks: Vec<String>,
}

/// Reads, orders and judges a certificate that is to serve `names` at `now`. Fails with usage:
/// nothing was changed, and the sentence says what a browser would object to.
pub fn import(material: &Material<'_>, names: &[Fqdn], now: Timestamp) -> Result<Imported> {
    import_trusting(public_roots(), material, names, now)
}

/// What a server sends of a CA's answer: the first certificate, which is the server's (RFC 8555, section
/// 9.1), each followed by its issuer. CAs have sent issuers in another order, a root, or one too many.
pub fn in_order(answer_pem: &str) -> Result<String> {
    let all = certificates(answer_pem)?;
    // `certificates` refuses an empty file.
    let (chain, _) = Chain::pick(&all[0], &all)?;
    chain_pem(&chain)
}

fn import_trusting(
    roots: RootCertStore,
    material: &Material<'_>,
    names: &[Fqdn],
    now: Timestamp,
) -> Result<Imported> {
    let contents = read::read(material)?;
    let (leaf, key) = chain::leaf_and_key(&contents)?;
    let chain = Chain::build(leaf, &contents.certificates)?;
    let facts = facts(leaf)?;
    rules::refuse(rules::objections(&chain, names, now)?)?;
    let chain_pem = chain_pem(&chain)?;
    let trusted = is_trusted(roots, &chain_pem, names, now)?;
    let remarks = rules::remarks(&facts, &chain, trusted)?;
    Ok(Imported { chain_pem, key_pem: key_pem(key, leaf)?, facts, remarks })
}

fn chain_pem(chain: &Chain<'_>) -> Result<String> {
    chain.served().map(|certificate| encode("CERTIFICATE", certificate)).collect()
}

/// The key as PKCS#8, whatever it came as. The older forms (PKCS#1, RFC 8017; SEC 1, RFC 5915) lack
/// the algorithm, which is the one that the certificate names for its public key.
fn key_pem(key: &PrivateKeyDer<'_>, leaf: &CertificateDer<'_>) -> Result<Secret> {
    let bytes = match key {
        PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
        _ => wrapped(key.secret_der(), leaf)?,
    };
    encode("PRIVATE KEY", &bytes).map(Secret::new)
}

fn wrapped(key: &[u8], leaf: &CertificateDer<'_>) -> Result<Vec<u8>> {
    use pkcs8::der::asn1::OctetStringRef;
    use pkcs8::der::{Decode, Encode};
    let certificate = parse(leaf)?;
    let info = SubjectPublicKeyInfoRef::from_der(certificate.public_key().raw)
        .context("the certificate's key cannot be understood")?;
    let key = OctetStringRef::new(key).context("the key cannot be understood")?;
    PrivateKeyInfoRef::new(info.algorithm, key).to_der().context("the key cannot be written")
}

fn encode(label: &str, bytes: &[u8]) -> Result<String> {
    pem::encode_string(label, LineEnding::LF, bytes)
        .map_err(|error| Failure::failed(format!("cannot write a {label} as PEM")).because(error))
}
