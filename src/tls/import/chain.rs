//! Which certificate is the server's, and who issued whom.

use std::sync::Arc;

use rustls::Error as TlsError;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::error::X509Error;

use super::read::Contents;
use crate::failure::{Failure, Result};
use crate::tls::inspect::{CertificateFacts, PublicKey, facts, parse};

/// The server's certificate with its issuers.
#[derive(Debug)]
pub struct Chain<'a> {
    /// The server's first, each followed by its issuer; the root is not among them, unless it is
    /// the server's own.
    links: Vec<Link<'a>>,
    /// The root's subject, when the files held it.
    pub root: Option<String>,
}

#[derive(Debug)]
pub struct Link<'a> {
    pub der: &'a CertificateDer<'static>,
    pub facts: CertificateFacts,
}

impl<'a> Link<'a> {
    fn new(der: &'a CertificateDer<'static>) -> Result<Link<'a>> {
        Ok(Link { der, facts: facts(der)? })
    }

    /// Named as the issuer, and the signature is its own.
    fn issued(&self, other: &Link<'_>) -> Result<bool> {
        if !self.facts.is_ca || !other.facts.is_from(&self.facts) {
            return Ok(false);
        }
        // Keys of other lengths verify nothing here, right or wrong; the short ones are refused
        // later.
        if matches!(self.facts.key, PublicKey::Rsa(bits) if !(2048..=8192).contains(&bits)) {
            return Ok(true);
        }
        let (issuer, subject) = (parse(self.der)?, parse(other.der)?);
        // An algorithm unknown here is left to the client's own check.
        let verdict = subject.verify_signature(Some(issuer.public_key()));
        Ok(!matches!(verdict, Err(X509Error::SignatureVerificationError)))
    }
}

impl<'a> Chain<'a> {
    /// Fails when a certificate has nothing to do with the server's.
    pub fn build(leaf: &'a CertificateDer<'static>, all: &'a [CertificateDer<'static>]) -> Result<Chain<'a>> {
        let (chain, left) = Chain::pick(leaf, all)?;
        chain.refuse_strangers(&left)?;
        Ok(chain)
    }

    /// The chain, and what was not needed for it.
    pub fn pick(
        leaf: &'a CertificateDer<'static>,
        all: &'a [CertificateDer<'static>],
    ) -> Result<(Chain<'a>, Vec<Link<'a>>)> {
        let mut pool = pool(leaf, all)?;
        let mut links = vec![Link::new(leaf)?];
        let mut root = None;
        while let Some(issuer) = take_issuer(&mut pool, &links)? {
            if issuer.facts.self_signed {
                root = Some(issuer.facts.subject);
                break;
            }
            links.push(issuer);
        }
        Ok((Chain { links, root }, pool))
    }

    /// What a server sends.
    pub fn served(&self) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        self.links.iter().map(|link| link.der)
    }

    pub fn links(&self) -> &[Link<'a>] {
        &self.links
    }

    /// The facts of the server's certificate and of the last one before the root.
    pub fn ends(&self) -> Option<(&CertificateFacts, &CertificateFacts)> {
        Some((&self.links.first()?.facts, &self.links.last()?.facts))
    }

    /// What is left may be a further root or a second certificate of the same authority
    /// (cross-signed), and no more.
    fn refuse_strangers(&self, left: &[Link<'_>]) -> Result<()> {
        let is_known = |link: &Link<'_>| {
            let subject = &link.facts.subject;
            self.root.as_ref() == Some(subject)
                || self.links.iter().skip(1).any(|known| known.facts.subject == *subject)
                || self.links.iter().any(|known| known.facts.is_from(&link.facts))
                || left
                    .iter()
                    .any(|other| other.facts.subject != *subject && other.facts.is_from(&link.facts))
        };
        match (left.iter().find(|link| !is_known(link)), self.ends()) {
            (Some(stranger), Some((leaf, _))) => Err(Failure::usage(format!(
                "the certificate `{}` has nothing to do with the one of `{}`",
                stranger.facts.subject, leaf.subject
            ))
            .hint("take it out of the file")),
            _ => Ok(()),
        }
    }
}

/// Each other certificate once, without older ones for the server's own key.
fn pool<'a>(leaf: &CertificateDer<'_>, all: &'a [CertificateDer<'static>]) -> Result<Vec<Link<'a>>> {
    let own = parse(leaf)?;
    let mut pool: Vec<Link<'a>> = Vec::new();
    for der in all {
        let is_own = parse(der)?.public_key() == own.public_key();
        if !is_own && !pool.iter().any(|link| link.der == der) {
            pool.push(Link::new(der)?);
        }
    }
    Ok(pool)
}

/// Takes the issuer of the last link out of the pool: a root rather than another (the way is
/// shorter), then the one that lasts longest.
fn take_issuer<'a>(pool: &mut Vec<Link<'a>>, links: &[Link<'a>]) -> Result<Option<Link<'a>>> {
    let Some(last) = links.last().filter(|link| !link.facts.self_signed) else { return Ok(None) };
    let mut best: Option<usize> = None;
    for (index, candidate) in pool.iter().enumerate() {
        let rank = |link: &Link<'_>| (link.facts.self_signed, link.facts.not_after);
        if candidate.issued(last)? && best.is_none_or(|best| rank(candidate) > rank(&pool[best])) {
            best = Some(index);
        }
    }
    Ok(best.map(|index| pool.remove(index)))
}

/// The certificate that a key belongs to, and that key. Of several the one that lasts longest: they
/// are renewals of each other.
pub fn leaf_and_key(contents: &Contents) -> Result<(&CertificateDer<'static>, &PrivateKeyDer<'static>)> {
    let mut pairs = Vec::new();
    for key in &contents.keys {
        for certificate in owners(key, &contents.certificates)? {
            pairs.push((facts(certificate)?.not_after, certificate, key));
        }
    }
    let best = pairs.into_iter().max_by_key(|(not_after, ..)| *not_after);
    best.map(|(_, certificate, key)| (certificate, key)).ok_or_else(|| {
        Failure::usage(match contents.certificates.len() {
            1 => "the key does not belong to the certificate",
            _ => "the key does not belong to any of the certificates",
        })
    })
}

fn owners<'a>(
    key: &PrivateKeyDer<'_>,
    certificates: &'a [CertificateDer<'static>],
) -> Result<Vec<&'a CertificateDer<'static>>> {
    let key = any_supported_type(key).map_err(unusable)?;
    let belongs = |certificate: &&CertificateDer<'static>| {
        CertifiedKey::new(vec![(*certificate).clone()], Arc::clone(&key)).keys_match().is_ok()
    };
    Ok(certificates.iter().filter(belongs).collect())
}

fn unusable(error: TlsError) -> Failure {
    Failure::usage("the key cannot be used")
        .because(error)
        .hint("it should be an EC key on the curve P-256 or P-384, or an RSA key of 2048 to 4096 bits")
}
