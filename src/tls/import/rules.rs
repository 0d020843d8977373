//! What browsers object to, and what the owner should know.

use jiff::{SignedDuration, Timestamp};
use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::X509Certificate;

use super::chain::{Chain, Link};
use crate::failure::{Failure, Result};
use crate::name::Fqdn;
use crate::tls::inspect::{CertificateFacts, PublicKey, date, parse, problems};

/// Signatures that no browser takes since 2017, by their object identifiers.
const BROKEN: [(Oid<'static>, &str); 5] = [
    (oid!(1.2.840.113549.1.1.2), "MD2"),
    (oid!(1.2.840.113549.1.1.4), "MD5"),
    (oid!(1.2.840.113549.1.1.5), "SHA-1"),
    (oid!(1.2.840.10040.4.3), "SHA-1"),
    (oid!(1.2.840.10045.4.1), "SHA-1"),
];
/// Proofs of having been logged in public, which only public authorities embed (RFC 6962, section
/// 3.3).
const LOGGED: Oid<'static> = oid!(1.3.6.1.4.1.11129.2.4.2);
/// CA/Browser Forum, Baseline Requirements, section 6.3.2, as of ballot SC-081v3: certificates
/// issued from this day on (seconds since 1970) last so many days at most.
const LONGEST: [(i64, &str, i64); 4] = [
    (1_868_227_200, "2029-03-15", 47),
    (1_805_068_800, "2027-03-15", 100),
    (1_773_532_800, "2026-03-15", 200),
    (1_598_918_400, "2020-09-01", 398),
];

/// What a browser would refuse it for, one sentence each.
pub fn objections(chain: &Chain<'_>, names: &[Fqdn], now: Timestamp) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let Some((leaf, issuers)) = chain.links().split_first() else { return Ok(found) };
    found.extend(problems(&leaf.facts, names, now));
    found.extend(unfit_for_a_server(leaf)?);
    for issuer in issuers {
        found.extend(out_of_date(&issuer.facts, now));
    }
    for link in chain.links() {
        found.extend(weak(link)?);
    }
    Ok(found)
}

/// One failure for all objections.
pub fn refuse(mut objections: Vec<String>) -> Result<()> {
    match objections.len() {
        0 => Ok(()),
        1 => Err(Failure::usage(objections.remove(0))),
        count => Err(Failure::usage(format!("browsers would refuse the certificate for {count} reasons"))
            .evidence(objections)),
    }
}

fn unfit_for_a_server(leaf: &Link<'_>) -> Result<Vec<String>> {
    let certificate = parse(leaf.der)?;
    let mut found = Vec::new();
    if leaf.facts.is_ca {
        found.push("the certificate is that of an authority, not of a server (`CA:TRUE`)".to_owned());
    }
    if !allows_servers(&certificate) {
        found.push(
            "the certificate is not meant for TLS servers (extended key usage without `serverAuth`)"
                .to_owned(),
        );
    }
    // TLS 1.3, and 1.2 as nginx is set up here, have the server sign (RFC 8446, section 4.4.2.2).
    if !allows_signatures(&certificate) {
        found.push("the certificate's key may not sign (key usage without `digitalSignature`)".to_owned());
    }
    Ok(found)
}

/// RFC 5280, section 4.2.1.12: without the extension every purpose is allowed.
fn allows_servers(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.server_auth),
        Err(_) => false,
    }
}

/// RFC 5280, section 4.2.1.3.
fn allows_signatures(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.digital_signature()),
        Err(_) => false,
    }
}

fn out_of_date(issuer: &CertificateFacts, now: Timestamp) -> Option<String> {
    if now >= issuer.not_after {
        Some(format!("its issuer's certificate `{}` expired on {}", issuer.subject, date(issuer.not_after)))
    } else if now < issuer.not_before {
        Some(format!(
            "its issuer's certificate `{}` is not valid before {}",
            issuer.subject,
            date(issuer.not_before)
        ))
    } else {
        None
    }
}

fn weak(link: &Link<'_>) -> Result<Vec<String>> {
    let certificate = parse(link.der)?;
    let subject = &link.facts.subject;
    let mut found = Vec::new();
    let weakness = match &link.facts.key {
        PublicKey::Rsa(..2048) => Some("is too short: 2048 bits is the least"),
        PublicKey::Rsa(_) => None,
        PublicKey::Ec(curve) if ["P-256", "P-384"].contains(&curve.as_str()) => None,
        PublicKey::Ec(_) | PublicKey::Other(_) => Some("is of a kind that not every browser takes"),
    };
    found.extend(weakness.map(|why| format!("the key of `{subject}` ({}) {why}", link.facts.key)));
    let algorithm = &certificate.signature_algorithm.algorithm;
    let broken = BROKEN.into_iter().find(|(oid, _)| oid == algorithm);
    found.extend(broken.map(|(_, name)| format!("the certificate of `{subject}` is signed with {name}")));
    Ok(found)
}

/// What to know about a certificate without objections. `trusted`: browsers know its root.
pub fn remarks(facts: &CertificateFacts, chain: &Chain<'_>, trusted: bool) -> Result<Vec<String>> {
    if trusted {
        return Ok(too_long(facts).into_iter().collect());
    }
    if facts.self_signed {
        return Ok(vec![
            "the certificate is signed by itself: each browser warns until it is told to trust it".to_owned(),
        ]);
    }
    if let Some(root) = &chain.root {
        return Ok(vec![format!("no browser trusts `{root}` by itself: it must be told to")]);
    }
    let Some((_, last)) = chain.ends() else { return Ok(Vec::new()) };
    // With its issuers, the root may be one that browsers know and this program does not know yet.
    if chain.links().len() == 1 && was_logged(chain)? {
        let missing = Failure::usage(format!(
            "the issuer `{}` is neither in the file nor known to browsers",
            last.issuer
        ));
        let from = last.issuer_url.as_ref().map(|url| format!("; it is at {url}")).unwrap_or_default();
        return Err(missing.hint(format!("add its certificate, or take the authority's full chain{from}")));
    }
    Ok(vec![format!(
        "the issuer `{}` is not in the file: a browser refuses the certificate unless it knows that authority",
        last.issuer
    )])
}

/// A public authority issued it: browsers can be expected to know the root.
fn was_logged(chain: &Chain<'_>) -> Result<bool> {
    let Some(leaf) = chain.links().first() else { return Ok(false) };
    Ok(parse(leaf.der)?.extensions().iter().any(|extension| extension.oid == LOGGED))
}

fn too_long(facts: &CertificateFacts) -> Option<String> {
    // Both ends are part of the time (RFC 5280, section 4.1.2.5).
    let length = facts.not_after.duration_since(facts.not_before) + SignedDuration::from_secs(1);
    let begin = facts.not_before.as_second();
    let (_, since, days) = LONGEST.iter().find(|(from, _, _)| begin >= *from)?;
    (length > SignedDuration::from_hours(24 * days)).then(|| {
        format!(
            "the certificate lasts {} days, but browsers accept {days} for those issued since {since}",
            length.as_hours() / 24
        )
    })
}
