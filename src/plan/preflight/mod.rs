//! What would make a CA refuse a certificate, judged before the CA is asked and told in plain words.
//!
//! Findings warn and never block: behind NAT or a CDN a name rightly leads elsewhere, and the CA sees
//! the site from outside, where this machine cannot look.

pub mod caa;

use std::fmt;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::name::{Fqdn, Port};
use crate::site::Listen;
use crate::site::acme::ChallengeKind;
use caa::CaaRecord;

/// A clock this far off is worth a word. CAs date orders by their own clock, but a certificate may
/// look not yet valid here, and an expired one may look fine.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Why the DNS told nothing of what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The name does not exist (NXDOMAIN).
    NoSuchName,
    /// The name exists, without records of the type asked for.
    NoRecords,
    /// No server gave an answer; the words say what came instead.
    ServerFailure(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::NoSuchName => f.write_str("the name does not exist"),
            NoAnswer::NoRecords => f.write_str("there are no such records"),
            NoAnswer::ServerFailure(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// What came back from `http://NAME/.well-known/acme-challenge/<random>` on port 80.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port80 {
    /// The content that this site had put there.
    Reached,
    /// An answer with another content.
    Other { status: u16 },
    /// No answer; the words say why.
    NoConnection(String),
}

/// What was learned about one name of the certificate.
#[derive(Debug, Clone)]
pub struct NameFacts {
    /// Without `*.`.
    pub name: Fqdn,
    /// The certificate is to have `*.name`.
    pub wildcard: bool,
    pub addresses: Result<Vec<IpAddr>, NoAnswer>,
    /// The relevant record set (RFC 8659, section 3); empty when there is none.
    pub caa: Result<Vec<CaaRecord>, NoAnswer>,
    /// `None` when it was not asked.
    pub port_80: Option<Port80>,
}

impl NameFacts {
    /// As the certificate has it.
    fn shown(&self) -> String {
        if self.wildcard { format!("*.{}", self.name) } else { self.name.to_string() }
    }

    fn reached(&self) -> bool {
        self.port_80 == Some(Port80::Reached)
    }
}

/// What is known of the CA.
#[derive(Debug, Clone, Default)]
pub struct CaFacts {
    /// `caaIdentities` of its directory (RFC 8555, section 9.7.6); empty when it tells none.
    pub identities: Vec<String>,
    /// The URL of our account there, once there is one.
    pub account: Option<String>,
    /// The `Date` of one of its answers.
    pub date: Option<Timestamp>,
}

/// Everything that the judgement looks at.
#[derive(Debug, Clone)]
pub struct Facts {
    pub names: Vec<NameFacts>,
    /// The addresses of this machine.
    pub own: Vec<IpAddr>,
    pub listen: Listen,
    pub challenge: ChallengeKind,
    pub ca: CaFacts,
    pub now: Timestamp,
}

/// One thing that may keep the CA from issuing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name that it is about; `None`: the whole site.
    pub name: Option<String>,
    pub text: String,
    pub hint: String,
}

impl Finding {
    fn about(name: &NameFacts, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding { name: Some(name.shown()), text: text.into(), hint: hint.into() }
    }

    fn site(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding { name: None, text: text.into(), hint: hint.into() }
    }
}

/// What the owner should know before the CA is asked: the site first, then each name in its order.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(clock(facts.ca.date, facts.now));
    if facts.challenge == ChallengeKind::Http01 {
        found.extend(published(facts));
    }
    for name in &facts.names {
        if facts.challenge == ChallengeKind::Http01 {
            found.extend(resolution(name, facts));
            found.extend(ipv6(name, facts));
            found.extend(port_80(name, &facts.listen));
        }
        found.extend(caa::finding(name, facts.challenge, &facts.ca));
    }
    found
}

fn clock(ca: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let off = now.duration_since(ca?);
    if off.abs() <= CLOCK_TOLERANCE {
        return None;
    }
    let direction = if off.is_positive() { "ahead of" } else { "behind" };
    Some(Finding::site(
        format!("this machine's clock is {} {direction} the CA's", rough(off.abs())),
        "set the clock and keep it right, such as with `timedatectl set-ntp true`",
    ))
}

/// The largest unit that fits, rounded down: `2 days`, `7 minutes`.
fn rough(duration: SignedDuration) -> String {
    let (count, unit) = match duration.as_mins() {
        minutes if minutes >= 2 * 24 * 60 => (minutes / (24 * 60), "days"),
        minutes if minutes >= 2 * 60 => (minutes / 60, "hours"),
        minutes => (minutes, "minutes"),
    };
    format!("{count} {unit}")
}

/// The CA asks on port 80 and nowhere else (RFC 8555, section 8.3). Whoever was reached has a router
/// or a proxy that brings port 80 here.
fn published(facts: &Facts) -> Option<Finding> {
    let Listen { address, http, .. } = &facts.listen;
    if facts.names.iter().any(NameFacts::reached) {
        None
    } else if address.is_loopback() {
        Some(Finding::site(
            format!("the site listens on {address}, where only this machine can reach it"),
            "publish it on an address that the CA can reach (`--bind`), or let a proxy bring port 80 here",
        ))
    } else if *http != Port::HTTP {
        Some(Finding::site(
            format!("the site listens on port {http}, and the CA asks on port 80 only"),
            format!(
                "publish it on port 80 (`--http-port 80`), have your router bring port 80 to port {http}, \
                 or use the challenge dns-01"
            ),
        ))
    } else {
        None
    }
}

fn resolution(name: &NameFacts, facts: &Facts) -> Option<Finding> {
    match &name.addresses {
        Ok(addresses) => elsewhere(name, addresses, facts),
        Err(fault) => Some(unresolved(name, fault, &facts.own)),
    }
}

fn unresolved(name: &NameFacts, fault: &NoAnswer, own: &[IpAddr]) -> Finding {
    let shown = &name.name;
    let record = format!("make an A record for {shown} that leads to {}", destination(own));
    match fault {
        NoAnswer::NoSuchName => Finding::about(name, format!("{shown} does not exist in the DNS"), record),
        NoAnswer::NoRecords => {
            Finding::about(name, format!("{shown} has no address in the DNS (neither A nor AAAA)"), record)
        }
        NoAnswer::ServerFailure(reason) => Finding::about(
            name,
            format!("the DNS could not be asked about {shown}: {reason}"),
            "look whether the zone's name servers answer and whether its DNSSEC signatures are valid; if \
             they are, look at this machine's resolvers",
        ),
    }
}

/// Where a record should lead, as far as this machine can tell.
fn destination(own: &[IpAddr]) -> String {
    let public: Vec<_> = own.iter().filter(|address| is_public(**address)).collect();
    let v4 = public.iter().find(|address| address.is_ipv4());
    match v4.or(public.first()) {
        Some(address) => format!("this server ({address})"),
        None => "this server's public address".to_owned(),
    }
}

/// The question on port 80 is the better witness: a name that reaches us is fine wherever it resolves.
fn elsewhere(name: &NameFacts, addresses: &[IpAddr], facts: &Facts) -> Option<Finding> {
    if name.reached() || addresses.iter().any(|address| facts.own.contains(address)) {
        return None;
    }
    let resolves = format!("{} resolves to {}", name.name, list(addresses));
    Some(if facts.own.iter().any(|address| is_public(*address)) {
        Finding::about(
            name,
            format!("{resolves}, which is no address of this machine"),
            format!(
                "fine if that is your CDN or router and it brings port 80 here; otherwise let the name lead \
                 to {}",
                destination(&facts.own)
            ),
        )
    } else {
        Finding::about(
            name,
            format!("{resolves}; this machine knows only private addresses of its own"),
            "usual behind a router: see that it has this public address and brings port 80 to this machine",
        )
    })
}

/// CAs ask an IPv6 address first when a name has one. A name whose IPv4 address is ours and whose
/// IPv6 address is not was often forgotten in a move: our own question may have gone by IPv4.
fn ipv6(name: &NameFacts, facts: &Facts) -> Option<Finding> {
    let addresses = name.addresses.as_deref().ok()?;
    let ours = |address: &&IpAddr| facts.own.contains(address);
    let v6: Vec<IpAddr> = addresses.iter().filter(|address| address.is_ipv6()).copied().collect();
    let here_by_v4 = addresses.iter().filter(|address| address.is_ipv4()).any(|address| ours(&address));
    if v6.is_empty() || facts.listen.address.is_ipv6() || (name.reached() && !here_by_v4) {
        return None;
    }
    // An IPv6 address that is ours leads nowhere either: the site does not listen there.
    let whose = if v6.iter().any(|address| ours(&address)) {
        "this machine, but the site listens on IPv4 only"
    } else {
        "another machine"
    };
    Some(Finding::about(
        name,
        format!(
            "the AAAA record of {} ({}) leads to {whose}, and the CA asks by IPv6 first",
            name.name,
            list(&v6)
        ),
        "remove the AAAA record, or publish the site on IPv6 (`--bind ::`)",
    ))
}

fn port_80(name: &NameFacts, listen: &Listen) -> Option<Finding> {
    // Why a name without addresses cannot be reached is said already.
    if name.addresses.is_err() {
        return None;
    }
    let shown = &name.name;
    match name.port_80.as_ref()? {
        Port80::Reached => None,
        Port80::Other { status } => Some(Finding::about(
            name,
            format!("somebody else answers at http://{shown} (status {status}, not this site's content)"),
            "see which web server or proxy has port 80 there, and let it pass \
             /.well-known/acme-challenge/ on to this site",
        )),
        Port80::NoConnection(reason) => Some(Finding::about(
            name,
            format!("http://{shown} on port 80 cannot be reached from here: {reason}"),
            format!(
                "open port 80 in the firewall and bring it to port {} of this machine; some routers do not \
                 lead a machine back to itself, then only a question from outside tells",
                listen.http
            ),
        )),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether the internet could lead to it: not loopback, private (RFC 1918), shared (RFC 6598),
/// link-local or unique local (RFC 4193).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests;
