//! Waiting for a record on every server that the CA might ask: the zone's authoritative ones.
//!
//! A CA resolves from the root down (and from several places), so that what a caching resolver says is
//! no witness. The zone is found by climbing from the name to the nearest NS records, short of the
//! top-level domain: its servers know of delegations only. Where none are found and the site names
//! resolvers of its own, those are asked in place of authoritative servers: a name that only they know
//! has no others.
//!
//! A server that answers without the record is waited for. One that gives no answer is no witness
//! either way: many zones have a dead or hidden one, many networks let nobody ask but their own
//! resolver, and the CA is content with what answers it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::{Instant, sleep, sleep_until};

use super::hickory::{Hickory, absolute, climb, direct, records_if_any};
use crate::failure::{Failure, Result};
use crate::plan::preflight::NoAnswer;

/// Aliases that are followed one after the other; a longer chain is a loop.
const LONGEST_CHAIN: usize = 8;
/// Where authoritative servers answer (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long servers that give no answer are waited for, if that is no more than half of all the time.
const GRACE: Duration = Duration::from_mins(1);
/// Times that the way to the zone is asked for: one lost answer is no reason to give up.
const TRIES: u32 = 4;

/// One server to ask.
enum Server {
    Authority(Name),
    /// Stands in for authoritative servers and may ask others.
    Resolver(SocketAddr),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Authority(name) => f.write_str(&relative(name)),
            Server::Resolver(address) => address.fmt(f),
        }
    }
}

/// Why a server does not count as having the value.
enum Doubt {
    Lacks(&'static str),
    Silent(NoAnswer),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Lacks(reason) => f.write_str(reason),
            Doubt::Silent(fault) => fault.fmt(f),
        }
    }
}

/// The deadline ends the waiting; a question that is under way then is waited for. `Some`: what to
/// warn of.
pub(super) async fn txt_everywhere(
    dns: &Hickory,
    name: &str,
    value: &str,
    deadline: Duration,
) -> Result<Option<String>> {
    let start = Instant::now();
    let end = start + deadline;
    let name = absolute(name)?;
    let target = patiently(end, async || follow(dns, &name).await).await?;
    let mut waiting = patiently(end, async || servers(dns, &target).await).await?;
    let count = waiting.len();
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = waiting.into_iter().map(|server| doubt(dns, server, &target, value));
        let still: Vec<(Server, Doubt)> = join_all(asked).await.into_iter().flatten().collect();
        if still.is_empty() {
            return Ok(None);
        }
        let now = Instant::now();
        let none_lacks = still.iter().all(|(_, doubt)| matches!(doubt, Doubt::Silent(_)));
        if none_lacks && now >= start + GRACE.min(deadline / 2) {
            let seen = still.len() < count || resolver_has(dns, &target, value).await;
            if seen || now >= end {
                return Ok(Some(unheard(&target, &still)));
            }
        }
        if now >= end {
            return Err(late(&name, &target, &still, deadline));
        }
        waiting = still.into_iter().map(|(server, _)| server).collect();
        sleep_until(end.min(now + pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks again when it fails, though not for long.
async fn patiently<T>(end: Instant, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match ask().await {
            Err(_) if Instant::now() + pause < end => sleep(pause).await,
            answer => return answer,
        }
        pause *= 2;
    }
    ask().await
}

/// The next best witness. It is asked last: a resolver that has answered once that there is no such
/// record may say so for long (RFC 2308, section 5).
async fn resolver_has(dns: &Hickory, target: &Name, value: &str) -> bool {
    let records = dns.records_if_any(target, RecordType::TXT).await.unwrap_or_default();
    texts(records).iter().any(|found| found == value.as_bytes())
}

fn unheard(target: &Name, silent: &[(Server, Doubt)]) -> String {
    let reasons: Vec<_> = silent.iter().map(|(server, doubt)| format!("{server}: {doubt}")).collect();
    format!(
        "not every name server could be asked for the TXT record of {} ({}); the CA may fare better",
        relative(target),
        reasons.join("; ")
    )
}

fn late(name: &Name, target: &Name, still: &[(Server, Doubt)], deadline: Duration) -> Failure {
    let servers: Vec<_> = still.iter().map(|(server, _)| server.to_string()).collect();
    let reasons = still.iter().map(|(server, reason)| format!("{server}: {reason}"));
    Failure::failed(format!(
        "the TXT record of {} was not on every name server after {} s; still missing on {}",
        relative(name),
        deadline.as_secs(),
        servers.join(", ")
    ))
    .evidence(reasons)
    .hint(format!(
        "see that the DNS hook writes {} into the zone that these servers serve, and that they take over \
         changes in time",
        relative(target)
    ))
}

/// Without the final dot.
fn relative(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

/// The name at the end of the aliases: challenges are often delegated to a zone of their own.
async fn follow(dns: &Hickory, name: &Name) -> Result<Name> {
    let mut target = name.clone();
    for _ in 0..LONGEST_CHAIN {
        let aliases = dns.records_if_any(&target, RecordType::CNAME).await;
        let aliases = aliases.map_err(|fault| unreadable(&target, &fault))?;
        match aliases.into_iter().find(|alias| alias.name == target).map(|alias| alias.data) {
            Some(RData::CNAME(next)) => target = next.0,
            _ => return Ok(target),
        }
    }
    Err(Failure::failed(format!("{} is an alias that leads in a circle", relative(name)))
        .hint("correct the CNAME records"))
}

fn unreadable(name: &Name, fault: &NoAnswer) -> Failure {
    Failure::failed(format!("the DNS could not be asked about {}", relative(name))).because(fault)
}

async fn servers(dns: &Hickory, target: &Name) -> Result<Vec<Server>> {
    for zone in climb(target).filter(|zone| zone.num_labels() > 1) {
        let names = name_servers(dns, &zone).await?;
        if !names.is_empty() {
            return Ok(names.into_iter().map(Server::Authority).collect());
        }
    }
    if dns.given.is_empty() {
        return Err(Failure::failed(format!("no name servers are known for {}", relative(target))).hint(
            "see that the domain is registered and delegated; for names that only your own DNS knows, \
                   set `tls.acme.resolvers` in autoodoo.yaml",
        ));
    }
    Ok(dns.given.iter().copied().map(Server::Resolver).collect())
}

/// The NS records of exactly this name. Those of an alias's target belong to another zone: below an
/// alias `www` there may well be a record `_acme-challenge.www`.
async fn name_servers(dns: &Hickory, zone: &Name) -> Result<Vec<Name>> {
    let records = dns.records_if_any(zone, RecordType::NS).await;
    let records = records.map_err(|fault| unreadable(zone, &fault))?;
    let own = records.into_iter().filter(|record| record.name == *zone);
    Ok(own
        .filter_map(|record| if let RData::NS(server) = record.data { Some(server.0) } else { None })
        .collect())
}

/// The server with the reason why it does not count as having the value; `None` when it has it.
async fn doubt(dns: &Hickory, server: Server, target: &Name, value: &str) -> Option<(Server, Doubt)> {
    let doubt = match answer(dns, &server, target).await {
        Ok(values) if values.iter().any(|found| found == value.as_bytes()) => return None,
        Ok(values) if values.is_empty() => Doubt::Lacks("it has no such record"),
        Ok(_) => Doubt::Lacks("it has another value only"),
        Err(fault) => Doubt::Silent(fault),
    };
    Some((server, doubt))
}

/// The values of the name, from the first of the server's addresses that answers.
async fn answer(dns: &Hickory, server: &Server, target: &Name) -> Result<Vec<Vec<u8>>, NoAnswer> {
    let name = match server {
        Server::Resolver(address) => return values(*address, true, target).await,
        Server::Authority(name) => name,
    };
    let mut fault = NoAnswer::ServerFailure("it has no address in the DNS".to_owned());
    for address in places(dns, name).await {
        match values(address, false, target).await {
            Err(unanswered) => fault = unanswered,
            answered => return answered,
        }
    }
    Err(fault)
}

/// IPv4 first: a machine without IPv6 would wait in vain.
async fn places(dns: &Hickory, server: &Name) -> Vec<SocketAddr> {
    let mut addresses = dns.addresses_of(server).await.unwrap_or_default();
    addresses.sort_by_key(IpAddr::is_ipv6);
    let detour = |address| dns.detours.get(&address).copied();
    let place = |address| detour(address).unwrap_or_else(|| SocketAddr::new(address, DNS_PORT));
    addresses.into_iter().map(place).collect()
}

/// None when there is no such record.
async fn values(server: SocketAddr, recursive: bool, name: &Name) -> Result<Vec<Vec<u8>>, NoAnswer> {
    let resolver =
        direct(server, recursive).map_err(|failure| NoAnswer::ServerFailure(failure.to_string()))?;
    Ok(texts(records_if_any(&resolver, name, RecordType::TXT).await?))
}

/// Each TXT record's strings joined (RFC 7208, section 3.3).
fn texts(records: Vec<Record>) -> Vec<Vec<u8>> {
    let text = |record: Record| match record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    };
    records.into_iter().filter_map(text).collect()
}
