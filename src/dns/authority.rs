//! Waiting for a record on every server that the CA might ask: the zone's authoritative ones.
//!
//! A CA resolves from the root down (and from several places), so that what a caching resolver says is
//! no witness. The zone is found by climbing from the name to the nearest NS records. Where none are
//! found up to the root and the site names resolvers of its own, those are asked in place of
//! authoritative servers: a name that only they know has no others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::{Instant, sleep_until};

use super::hickory::{Hickory, absolute, climb, direct, records_if_any};
use crate::failure::{Failure, Result};
use crate::plan::preflight::NoAnswer;

/// Aliases that are followed one after the other; a longer chain is a loop.
const LONGEST_CHAIN: usize = 8;
/// Where authoritative servers answer (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

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

/// The deadline ends the waiting; a question that is under way then is waited for.
pub(super) async fn txt_everywhere(dns: &Hickory, name: &str, value: &str, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    let target = follow(dns, &absolute(name)?).await?;
    let mut lacking = servers(dns, &target).await?;
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = lacking.into_iter().map(|server| lack(dns, server, &target, value));
        let still: Vec<(Server, String)> = join_all(asked).await.into_iter().flatten().collect();
        if still.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        if now >= end {
            return Err(late(name, &target, &still, deadline));
        }
        lacking = still.into_iter().map(|(server, _)| server).collect();
        sleep_until(end.min(now + pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn late(name: &str, target: &Name, still: &[(Server, String)], deadline: Duration) -> Failure {
    let servers: Vec<_> = still.iter().map(|(server, _)| server.to_string()).collect();
    let reasons = still.iter().map(|(server, reason)| format!("{server}: {reason}"));
    Failure::failed(format!(
        "the TXT record of {name} was not on every name server after {} s; still missing on {}",
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
    for zone in climb(target) {
        let names = name_servers(dns, &zone).await?;
        if !names.is_empty() {
            return Ok(names.into_iter().map(Server::Authority).collect());
        }
    }
    if dns.given.is_empty() {
        return Err(Failure::failed(format!("no name servers are known for {}", relative(target))).hint(
            "see that the domain is registered and delegated; for names that only your own DNS knows, \
                   set `tls.resolvers` in autoodoo.yaml",
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
async fn lack(dns: &Hickory, server: Server, target: &Name, value: &str) -> Option<(Server, String)> {
    let reason = match answer(dns, &server, target).await {
        Ok(values) if values.iter().any(|found| found == value.as_bytes()) => return None,
        Ok(values) if values.is_empty() => "it has no such record".to_owned(),
        Ok(_) => "it has another value only".to_owned(),
        Err(fault) => fault.to_string(),
    };
    Some((server, reason))
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

/// Each TXT record's strings joined (RFC 7208, section 3.3); none when there is no such record.
async fn values(server: SocketAddr, recursive: bool, name: &Name) -> Result<Vec<Vec<u8>>, NoAnswer> {
    let resolver =
        direct(server, recursive).map_err(|failure| NoAnswer::ServerFailure(failure.to_string()))?;
    let text = |record: Record| match record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    };
    Ok(records_if_any(&resolver, name, RecordType::TXT).await?.into_iter().filter_map(text).collect())
}
