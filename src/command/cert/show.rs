//! `cert show`: what is on disk, what is served, and when it changes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use crate::acme::Ca;
use crate::command::certificate::{Stored, minute};
use crate::command::order::{account, endpoint};
use crate::command::site::{Loaded, load};
use crate::command::standing::Fault;
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Kind, Result};
use crate::host::probe::{Probe, Shown};
use crate::name::Fqdn;
use crate::plan::preflight::caa::caa_advice;
use crate::plan::renewal::Decision;
use crate::site::acme::{Acme, DirectoryUrl};
use crate::site::{Site, Tls};
use crate::tls::inspect::{leaf_due, problems};

/// How long one address may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct Report {
    certificate: String,
    mode: &'static str,
    names: Vec<String>,
    issuer: String,
    key: String,
    serial: String,
    /// RFC 3339.
    not_before: String,
    not_after: String,
    days_left: i64,
    sha256: String,
    renewal: Renewal,
    served: Vec<Look>,
    /// What is wrong, one sentence each.
    problems: Vec<String>,
    /// A record that lets this CA alone certify the domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    caa: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Renewal {
    /// RFC 3339; null when it is due now or is the owner's affair.
    at: Option<String>,
    why: String,
}

/// What one address shows for one name.
#[derive(Debug, Serialize)]
struct Look {
    address: SocketAddr,
    name: String,
    sha256: Option<String>,
    matches: bool,
    /// Why there is no certificate to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

pub async fn cmd_show<A: Adapters>(context: &Context<'_, A>) -> Result<()> {
    let loaded = load(context)?;
    let now = context.adapters.clock().now();
    if let Some(broken) = loaded.broken_certificate()? {
        return Err(broken.hint(
            "`autoodoo cert issue` gets another one and puts it in place; until then nginx must not restart",
        ));
    }
    let Some(stored) = loaded.certificate_in_use()? else {
        return Err(Failure::new(Kind::Verification, "the site has no certificate yet")
            .hint("`autoodoo up` gets one"));
    };
    let served = looks(context, &loaded.site, &stored.facts.fingerprint).await;
    let report = report(context, &loaded, &stored, served, now).await?;
    context.ui.result(&report)?;
    match report.problems.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Failure::new(Kind::Verification, first.clone()).hint(advised(&loaded, &report))),
    }
}

fn advised(loaded: &Loaded, report: &Report) -> &'static str {
    let served = report.served.iter().all(|look| look.matches);
    match &loaded.site.tls {
        _ if !served => "`autoodoo up` puts the stored certificate in place",
        Tls::Files { .. } => super::OWNERS_TO_REPLACE,
        Tls::Acme(_) => "`autoodoo cert issue` gets another one",
        Tls::SelfSigned => "`autoodoo up` makes another one",
    }
}

async fn report<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    stored: &Stored,
    served: Vec<Look>,
    now: Timestamp,
) -> Result<Report> {
    let facts = &stored.facts;
    let names: Vec<Fqdn> = loaded.site.names().cloned().collect();
    let standing = loaded.standing(stored, now)?;
    let mut found = problems(facts, &names, now);
    // `problems` knows of its end.
    let fault = standing.fault.filter(|fault| !matches!(fault, Fault::Ended { .. }));
    found.extend(fault.map(|fault| fault.sentence()));
    found.extend(served.iter().filter(|look| !look.matches).map(Look::problem));
    Ok(Report {
        certificate: stored.id.clone(),
        mode: mode(&loaded.site.tls),
        names: facts.names.clone(),
        issuer: facts.issuer.clone(),
        key: facts.key.to_string(),
        serial: facts.serial.clone(),
        not_before: facts.not_before.to_string(),
        not_after: facts.not_after.to_string(),
        days_left: stored.days_left(now),
        sha256: facts.fingerprint.clone(),
        renewal: renewal(&loaded.site, standing.decision, stored, now),
        served,
        problems: found,
        caa: advice(context, loaded).await,
    })
}

fn mode(tls: &Tls) -> &'static str {
    match tls {
        Tls::SelfSigned => "self-signed",
        Tls::Files { .. } => "files",
        Tls::Acme(_) => "acme",
    }
}

fn renewal(site: &Site, decision: Option<Decision>, stored: &Stored, now: Timestamp) -> Renewal {
    match (decision, &site.tls) {
        (Some(Decision::Renew { why }), _) => Renewal { at: None, why: format!("due now: {why}") },
        (Some(Decision::Wait { until, why, .. }), _) => Renewal { at: Some(until.to_string()), why },
        (None, Tls::Files { .. }) => Renewal {
            at: None,
            why: "yours: replace the files and run `autoodoo cert renew`, or use `cert import`".to_owned(),
        },
        (None, _) => {
            let names: Vec<Fqdn> = site.names().cloned().collect();
            let why = leaf_due(&stored.facts, &names, now).map_or_else(
                || "30 days before it ends, with `up` or `cert renew`".to_owned(),
                |why| format!("due with the next `up` or `cert renew`: {why}"),
            );
            Renewal { at: None, why }
        }
    }
}

/// Asks every published address for every name.
async fn looks<A: Adapters>(context: &Context<'_, A>, site: &Site, wanted: &str) -> Vec<Look> {
    let addresses = published(site.listen.address, &context.adapters.machine().addresses);
    let looks = addresses.into_iter().flat_map(|address| {
        let address = SocketAddr::new(address, site.listen.https.get());
        site.names().map(move |name| look(context.adapters.probe(), address, name, wanted))
    });
    join_all(looks).await
}

/// The host's addresses of the same family, where the site is published on all of them.
fn published(listen: IpAddr, own: &[IpAddr]) -> Vec<IpAddr> {
    if !listen.is_unspecified() {
        return vec![listen];
    }
    let loopback = crate::plan::certificate::reachable(listen);
    let others = own.iter().filter(|own| own.is_ipv4() == listen.is_ipv4() && !own.is_loopback());
    std::iter::once(loopback).chain(others.copied()).collect()
}

async fn look(probe: &impl Probe, address: SocketAddr, name: &Fqdn, wanted: &str) -> Look {
    let answer = probe.certificate(address, name.as_str(), HANDSHAKE).await;
    let (sha256, fault) = match answer {
        Ok(Shown { fingerprint }) => (Some(fingerprint), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let matches = sha256.as_deref() == Some(wanted);
    Look { address, name: name.to_string(), sha256, matches, fault }
}

impl Look {
    fn problem(&self) -> String {
        let Look { address, name, .. } = self;
        match &self.fault {
            Some(fault) => format!("no certificate for {name}: {fault}"),
            None => {
                format!("{address} shows another certificate for {name} than the one in the site directory")
            }
        }
    }
}

/// A CAA record for each domain, where the CA's name for itself is known or it tells it.
async fn advice<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Vec<String> {
    let Tls::Acme(acme) = &loaded.site.tls else { return Vec::new() };
    let Some(identity) = identity(context, loaded, acme).await else { return Vec::new() };
    let account = account(&loaded.dir, acme);
    loaded.site.names().map(|name| caa_advice(name, &identity, account.as_deref())).collect()
}

async fn identity<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, acme: &Acme) -> Option<String> {
    let lets_encrypt = [DirectoryUrl::LETS_ENCRYPT, DirectoryUrl::LETS_ENCRYPT_STAGING];
    if lets_encrypt.contains(&acme.directory.as_str()) {
        return Some("letsencrypt.org".to_owned());
    }
    // Only an advice: a CA that does not answer now is no trouble of the certificate's.
    let facts = context.adapters.ca().meet(&endpoint(&loaded.dir, acme).ok()?).await.ok()?;
    facts.caa_identities.into_iter().next()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |text: &str| text.parse().map_or_else(|_| text.to_owned(), minute);
        writeln!(f, "names     {}", self.names.join(", "))?;
        writeln!(f, "issuer    {}", self.issuer)?;
        writeln!(f, "key       {}", self.key)?;
        writeln!(f, "serial    {}", self.serial)?;
        let (from, until) = (moment(&self.not_before), moment(&self.not_after));
        writeln!(f, "valid     {from} to {until}, {} days left", self.days_left)?;
        match &self.renewal.at {
            Some(at) => writeln!(f, "renewal   {}: {}", moment(at), self.renewal.why)?,
            None => writeln!(f, "renewal   {}", self.renewal.why)?,
        }
        writeln!(f, "sha256    {}", self.sha256)?;
        for look in &self.served {
            let answer = match (&look.fault, look.matches) {
                (Some(fault), _) => fault.clone(),
                (None, true) => "shows it".to_owned(),
                (None, false) => format!("SHOWS ANOTHER, {}", look.sha256.as_deref().unwrap_or_default()),
            };
            writeln!(f, "served    {} for {}: {answer}", look.address, look.name)?;
        }
        for record in &self.caa {
            writeln!(f, "advice    {record}")?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM   {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_the_family_are_asked() {
        let own: Vec<IpAddr> =
            ["127.0.0.1", "192.0.2.7", "2001:db8::7", "::1"].map(|text| text.parse().unwrap()).to_vec();
        let asked = |listen: &str| {
            let listen = listen.parse().unwrap();
            published(listen, &own).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(asked("0.0.0.0"), ["127.0.0.1", "192.0.2.7"]);
        assert_eq!(asked("::"), ["::1", "2001:db8::7"]);
        assert_eq!(asked("192.0.2.7"), ["192.0.2.7"]);
    }
}
