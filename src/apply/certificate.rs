//! Steps on certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{Bench, Deadline, POLL};
use crate::engine::Engine;
use crate::event::Reporter;
use crate::failure::{Failure, Kind, Result};
use crate::host::files;
use crate::host::probe::{Probe, Shown};
use crate::name::Fqdn;
use crate::plan::certificate::{CertificateOrder, is_ordered};
use crate::secret::Secret;
use crate::site::acme::CertificateName;
use crate::stack::dirs;
use crate::tls::inspect::{check_pair, inspect};
use crate::tls::local_ca::{CaPair, issue, new_ca};

const CHAIN: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";
/// What nginx is told besides, about this pair.
const STAPLING: &str = "stapling.conf";
/// What it was ordered for, a name a line.
const NAMES: &str = "names";
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A pair that a CA certified.
#[derive(Debug)]
pub struct Issued {
    pub chain_pem: String,
    pub key_pem: Secret,
}

/// Orders certificates from a CA: everything that this takes besides the site's containers.
pub trait Orders {
    fn obtain<'a>(
        &'a self,
        order: &'a CertificateOrder,
        reporter: &'a dyn Reporter,
    ) -> LocalBoxFuture<'a, Result<Issued>>;

    /// Remembers that this order came to its end.
    fn remember(&self, order: &CertificateOrder) -> Result<()>;

    /// What was ordered is stored: the CA need not be asked for it again. Doing it twice is no
    /// failure.
    fn settle(&self) -> Result<()>;
}

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) fn issue_certificate(&mut self, id: &str, names: &[Fqdn]) -> Result<()> {
        let ca = self.local_ca()?;
        let leaf = issue(&ca, names, self.clock.now())?;
        self.store_certificate(id, &leaf.chain_pem, &leaf.key_pem)
    }

    /// The site's CA; made once.
    fn local_ca(&self) -> Result<CaPair> {
        let certificate = files::read_text_optional(&self.dir.ca_certificate())?;
        let key = files::read_text_optional(&self.dir.ca_key())?;
        match (certificate, key) {
            (Some(certificate_pem), Some(key)) => {
                return Ok(CaPair { certificate_pem, key_pem: Secret::new(key) });
            }
            // The key is written first: without any certificate yet, it is what a killed run left.
            (None, Some(_)) if self.state.certificate.is_none() => {}
            (None, None) => {}
            (None, Some(_)) => return Err(half_a_ca("ca.crt", "secrets/ca.key")),
            (Some(_), None) => return Err(half_a_ca("secrets/ca.key", "ca.crt")),
        }
        let ca = new_ca(&format!("autoodoo local CA ({})", self.state.site_id), self.clock.now())?;
        files::write_atomic(&self.dir.ca_key(), ca.key_pem.expose().as_bytes(), 0o600)?;
        files::write_atomic(&self.dir.ca_certificate(), ca.certificate_pem.as_bytes(), 0o644)?;
        Ok(ca)
    }

    pub(super) fn install_certificate(&mut self, id: &str, certificate: &Path, key: &Path) -> Result<()> {
        let chain = files::read_text(&self.dir.root().join(certificate))?;
        let key = Secret::new(files::read_text(&self.dir.root().join(key))?);
        check_pair(&chain, &key)?;
        self.store_certificate(id, &chain, &key)
    }

    pub(super) async fn order_certificate(&mut self, order: &CertificateOrder) -> Result<()> {
        let issued = self.orders.obtain(order, self.reporter).await?;
        let names: Vec<&str> = order.names.iter().map(CertificateName::as_str).collect();
        let directory = self.certificate_directory(&order.id);
        files::ensure_dir(&directory, 0o700)?;
        files::write_atomic(&directory.join(NAMES), names.join("\n").as_bytes(), 0o600)?;
        self.store_certificate(&order.id, &issued.chain_pem, &issued.key_pem)?;
        self.orders.remember(order)?;
        self.orders.settle()
    }

    fn store_certificate(&mut self, id: &str, chain: &str, key: &Secret) -> Result<()> {
        store_pair(&self.certificate_directory(id), chain, key)?;
        self.state.stored_certificate = Some(id.to_owned());
        self.dir.save_state(&self.state)
    }

    pub(super) fn use_certificate(&mut self, id: &str) -> Result<()> {
        if is_ordered(id) {
            // A run may have died between storing it and this.
            self.orders.settle()?;
        }
        self.state.certificate = Some(id.to_owned());
        self.state.stored_certificate = None;
        self.dir.save_state(&self.state)
    }

    fn certificate_directory(&self, id: &str) -> std::path::PathBuf {
        self.dir.root().join(dirs::TLS).join(id)
    }

    /// SHA-256 of a stored certificate.
    pub(super) fn fingerprint(&self, id: &str) -> Result<String> {
        let chain = files::read_text(&self.certificate_directory(id).join(CHAIN))?;
        Ok(inspect(&chain)?.fingerprint)
    }

    pub(super) async fn verify_certificate(
        &self,
        address: SocketAddr,
        names: &[Fqdn],
        certificate: &str,
        seconds: u32,
    ) -> Result<()> {
        let wanted = self.fingerprint(certificate)?;
        let deadline = Deadline::after(seconds);
        for name in names {
            while let Err(fault) = self.shows(address, name, &wanted).await {
                if deadline.passed() {
                    let what = format!("{address} does not show the new certificate for {name}: {fault}");
                    return Err(Failure::new(Kind::Verification, what)
                        .hint("`autoodoo logs nginx` says more; `autoodoo cert show` compares again"));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn shows(&self, address: SocketAddr, name: &Fqdn, wanted: &str) -> Result<(), String> {
        match self.probe.certificate(address, name.as_str(), HANDSHAKE).await {
            Ok(Shown { fingerprint, .. }) if fingerprint == wanted => Ok(()),
            Ok(Shown { fingerprint, .. }) => Err(format!("it shows another, SHA-256 {fingerprint}")),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn sweep_certificates(&self, keep: &[String]) -> Result<()> {
        files::keep_only(&self.dir.root().join(dirs::TLS), |name| {
            !is_ours(name) || keep.iter().any(|kept| kept == name)
        })
    }
}

/// Each pair has a directory of its own, so that certificate and key always belong together. The chain
/// comes last: without it the pair counts as not there.
pub fn store_pair(directory: &Path, chain: &str, key: &Secret) -> Result<()> {
    files::ensure_dir(directory, 0o700)?;
    let stapling = if inspect(chain)?.ocsp_responder.is_some() { "ssl_stapling on;\n" } else { "" };
    files::write_atomic(&directory.join(KEY), key.expose().as_bytes(), 0o600)?;
    files::write_atomic(&directory.join(STAPLING), stapling.as_bytes(), 0o600)?;
    files::write_atomic(&directory.join(CHAIN), chain.as_bytes(), 0o600)
}

/// People trust this CA: it is never replaced by accident.
fn half_a_ca(missing: &str, there: &str) -> Failure {
    Failure::failed(format!("half of the site's local CA is missing: {missing} does not exist"))
        .hint(format!("bring it back from a copy, or remove {there} too: `autoodoo up` then makes a new CA"))
        .hint("every client that trusts the present CA must be given a new one's ca.crt")
}

/// A name that we gave. What else lies there is the owner's, who may keep certificates of his own
/// beside ours.
fn is_ours(name: &str) -> bool {
    let rest = |kind: &str| name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
    rest("local").is_some_and(is_date_and_chance)
        || rest("files").is_some_and(is_fingerprint)
        || rest("imported").is_some_and(is_fingerprint)
        || rest("acme")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(origin, rest)| is_hexadecimal(origin, 8) && is_date_and_chance(rest))
}

/// `20260131-a1b2c3`, as the next certificate is named.
fn is_date_and_chance(text: &str) -> bool {
    text.split_once('-').is_some_and(|(date, chance)| {
        date.len() == 8 && date.chars().all(|c| c.is_ascii_digit()) && is_hexadecimal(chance, 6)
    })
}

fn is_fingerprint(name: &str) -> bool {
    is_hexadecimal(name, 16)
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_gave_are_swept() {
        for name in [
            "local-20260101-abcdef",
            "files-0123456789abcdef",
            "imported-0123456789abcdef",
            "acme-01234567-20260101-abcdef",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for own in [
            "mine",
            "files-from-the-ca",
            "local-ca",
            "local-",
            "local-20260101",
            "local-20260101-mine",
            "acme-20260101-abcdef",
            "acme-company",
        ] {
            assert!(!is_ours(own), "{own}");
        }
    }
}
