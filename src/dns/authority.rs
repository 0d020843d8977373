//! Waiting for a record on every server that the CA might ask: the zone's authoritative ones.
//!
//! A CA resolves from the root down (and from several places), so that what a caching resolver says is
//! no witness. The zone is found by climbing from the name to the nearest NS records. Where none are
//! found up to the root and the site names resolvers of its own, those are asked in place of
//! authoritative servers: a name that only they know has no others.

use std::net::SocketAddr;
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
#[derive(Debug, Clone)]
struct Server {
    name: String,
    /// Tried in this order until one answers.
    addresses: Vec<SocketAddr>,
    recursive: bool,
}

/// The deadline ends the waiting; a question that is under way then is waited for.
pub(super) async fn txt_everywhere(dns: &Hickory, name: &str, value: &str, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    let target = follow(dns, &absolute(name)?).await?;
    let mut lacking = servers(dns, &target).await?;
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = lacking.into_iter().map(|server| lack(server, &target, value));
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
    let servers: Vec<_> = still.iter().map(|(server, _)| server.name.as_str()).collect();
    let reasons = still.iter().map(|(server, reason)| format!("{}: {reason}", server.name));
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
            return Ok(join_all(names.iter().map(|name| server(dns, name))).await);
        }
    }
    if dns.given.is_empty() {
        return Err(Failure::failed(format!("no name servers are known for {}", relative(target))).hint(
            "see that the domain is registered and delegated; for names that only your own DNS knows, \
                   set `tls.resolvers` in autoodoo.yaml",
        ));
    }
    let resolver =
        |given: &SocketAddr| Server { name: given.to_string(), addresses: vec![*given], recursive: true };
    Ok(dns.given.iter().map(resolver).collect())
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

async fn server(dns: &Hickory, name: &Name) -> Server {
    let mut addresses = dns.addresses_of(name).await.unwrap_or_default();
    // IPv4 first: a machine without IPv6 would wait in vain.
    addresses.sort_by_key(|address| address.is_ipv6());
    let place =
        |address| dns.detours.get(&address).copied().unwrap_or_else(|| SocketAddr::new(address, DNS_PORT));
    let addresses = addresses.into_iter().map(place).collect();
    Server { name: relative(name), addresses, recursive: false }
}

/// The server with the reason why it does not count as having the value; `None` when it has it.
async fn lack(server: Server, target: &Name, value: &str) -> Option<(Server, String)> {
    let mut reason = "it has no address in the DNS".to_owned();
    for address in &server.addresses {
        match values(*address, server.recursive, target).await {
            Ok(values) if values.iter().any(|found| found == value.as_bytes()) => return None,
            Ok(values) if values.is_empty() => {
                reason = "it has no such record".to_owned();
                break;
            }
            Ok(_) => {
                reason = "it has another value only".to_owned();
                break;
            }
            Err(fault) => reason = fault.to_string(),
        }
    }
    Some((server, reason))
}

/// Each TXT record's strings joined (RFC 7208, section 3.3); none when there is no such record.
async fn values(server: SocketAddr, recursive: bool, name: &Name) -> Result<Vec<Vec<u8>>> {
    let records = records_if_any(&direct(server, recursive)?, name, RecordType::TXT).await;
    let records = records.map_err(|fault| unreadable(name, &fault))?;
    let text = |record: Record| match record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    };
    Ok(records.into_iter().filter_map(text).collect())
}
