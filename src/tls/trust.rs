//! Whether browsers believe a certificate without being told to.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::inspect::{certificates, inspect};
use crate::failure::{Context, Result};
use crate::name::Fqdn;

/// Whether the chain leads to an authority of Mozilla's root program, for every one of `names`. A
/// certificate that has ended is judged as of its last day: what it promised still holds.
pub fn is_publicly_trusted(chain_pem: &str, names: &[Fqdn], now: Timestamp) -> Result<bool> {
    is_trusted(public_roots(), chain_pem, names, now)
}

/// The authorities of Mozilla's root program.
pub(super) fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

pub(super) fn is_trusted(
    roots: RootCertStore,
    chain_pem: &str,
    names: &[Fqdn],
    now: Timestamp,
) -> Result<bool> {
    let facts = inspect(chain_pem)?;
    let chain = certificates(chain_pem)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .context("cannot judge certificates")?;
    // Not `clamp`: a certificate may end before it begins.
    let moment = now.max(facts.not_before).min(facts.not_after);
    Ok(names.iter().all(|name| believes(&verifier, &chain, name, moment)))
}

fn believes(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'_>],
    name: &Fqdn,
    moment: Timestamp,
) -> bool {
    let Ok(name) = ServerName::try_from(name.as_str()) else { return false };
    let Some((server, issuers)) = chain.split_first() else { return false };
    let seconds = u64::try_from(moment.as_second()).unwrap_or(0);
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_server_cert(server, issuers, &name, &[], moment).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::local_ca::{issue, new_ca};
    use rustls_pki_types::pem::PemObject;

    fn names(texts: &[&str]) -> Vec<Fqdn> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_chain_is_believed_by_who_knows_its_root_for_its_names() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2046-01-31T00:00:00Z".parse().unwrap();
        let ca = new_ca("test", now).unwrap();
        let leaf = issue(&ca, &names(&["a.example.com", "b.example.com"]), now).unwrap();
        let trusts = |wanted: &[&str], now: Timestamp| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(ca.certificate_pem.as_bytes()).unwrap()).unwrap();
            is_trusted(roots, &leaf.chain_pem, &names(wanted), now).unwrap()
        };
        assert!(trusts(&["a.example.com", "b.example.com"], now));
        assert!(trusts(&["a.example.com"], later), "as of its last day");
        assert!(!trusts(&["a.example.com", "c.example.com"], now));
        assert!(!is_publicly_trusted(&leaf.chain_pem, &names(&["a.example.com"]), now).unwrap());
    }
}
