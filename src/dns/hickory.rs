//! The DNS by the library hickory.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::{Dns, authority};
use crate::failure::{Context, Failure, Result};
use crate::name::Fqdn;
use crate::plan::preflight::NoAnswer;
use crate::plan::preflight::caa::CaaRecord;

/// For one question to one server.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A datagram may be lost.
const RETRIES: usize = 1;

/// Asks this machine's resolvers, or those that the site names.
pub struct Hickory {
    resolver: TokioResolver,
    pub(super) given: Vec<SocketAddr>,
    pub(super) detours: BTreeMap<IpAddr, SocketAddr>,
}

impl Hickory {
    /// Without `resolvers`: those of /etc/resolv.conf. With them it is not read.
    pub fn new(resolvers: &[SocketAddr]) -> Result<Self> {
        let builder = match resolvers {
            [] => TokioResolver::builder_tokio().context("cannot read /etc/resolv.conf")?,
            given => builder(given),
        };
        Ok(Hickory { resolver: build(builder)?, given: resolvers.to_vec(), detours: BTreeMap::new() })
    }

    /// Authoritative servers with these addresses are asked elsewhere: a test's own servers cannot
    /// have port 53.
    #[must_use]
    pub fn with_detours(mut self, detours: BTreeMap<IpAddr, SocketAddr>) -> Self {
        self.detours = detours;
        self
    }

    /// Records of the name or, where it is an alias, of what that leads to. Never empty.
    async fn records(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, NoAnswer> {
        let found = lookup(&self.resolver, name, kind).await.map_err(|error| no_answer(&error))?;
        if found.is_empty() { Err(NoAnswer::NoRecords) } else { Ok(found) }
    }

    /// The same, where having none is an answer too.
    pub(super) async fn records_if_any(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<Vec<Record>, NoAnswer> {
        records_if_any(&self.resolver, name, kind).await
    }
}

/// Asks exactly these servers.
fn builder(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let server = |address: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        NameServerConfig::new(address.ip(), true, connections)
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

/// A name in /etc/hosts is known to this machine alone and would hide what the CA sees. Answers are
/// not kept: what is waited for is about to change.
fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver> {
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options.timeout = TIMEOUT;
    options.attempts = options.attempts.min(RETRIES);
    builder.build().context("cannot set up the DNS client")
}

/// Asks one server alone, once: who waits asks again anyway. `recursive` lets it ask others.
pub(super) fn direct(server: SocketAddr, recursive: bool) -> Result<TokioResolver> {
    let mut builder = builder(&[server]);
    let options: &mut ResolverOpts = builder.options_mut();
    options.recursion_desired = recursive;
    options.attempts = 0;
    build(builder)
}

async fn lookup(resolver: &TokioResolver, name: &Name, kind: RecordType) -> Result<Vec<Record>, NetError> {
    let answer = resolver.lookup(name.clone(), kind).await?;
    Ok(answer.answers().iter().filter(|record| record.record_type() == kind).cloned().collect())
}

/// A server that does not implement a type (RFC 1035, section 4.1.1) has no such records either. For
/// CAA records that would be too kind: a CA does not take it for an answer.
pub(super) async fn records_if_any(
    resolver: &TokioResolver,
    name: &Name,
    kind: RecordType,
) -> Result<Vec<Record>, NoAnswer> {
    match lookup(resolver, name, kind).await {
        Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::NotImp))) => Ok(Vec::new()),
        Err(error) => match no_answer(&error) {
            NoAnswer::NoSuchName | NoAnswer::NoRecords => Ok(Vec::new()),
            failure @ NoAnswer::ServerFailure(_) => Err(failure),
        },
        Ok(found) => Ok(found),
    }
}

fn no_answer(error: &NetError) -> NoAnswer {
    let code = |code: ResponseCode| NoAnswer::ServerFailure(format!("the name server answers `{code}`"));
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => NoAnswer::NoSuchName,
            ResponseCode::NoError => NoAnswer::NoRecords,
            other => code(other),
        },
        NetError::Dns(DnsError::ResponseCode(other)) => code(*other),
        NetError::Timeout => NoAnswer::ServerFailure("no name server answers in time".to_owned()),
        NetError::NoConnections => NoAnswer::ServerFailure("no name server can be reached".to_owned()),
        other => NoAnswer::ServerFailure(other.to_string()),
    }
}

/// A name from the root down: no search list is tried.
pub(super) fn absolute(name: &str) -> Result<Name> {
    let mut absolute = Name::from_ascii(name)
        .map_err(|error| Failure::usage(format!("`{name}` cannot be a name in the DNS")).because(error))?;
    absolute.set_fqdn(true);
    Ok(absolute)
}

fn absolute_fqdn(name: &Fqdn) -> Result<Name, NoAnswer> {
    absolute(name.as_str()).map_err(|failure| NoAnswer::ServerFailure(failure.to_string()))
}

/// The name and every name above it, without the root.
pub(super) fn climb(name: &Name) -> impl Iterator<Item = Name> {
    std::iter::successors(Some(name.clone()), |name| Some(name.base_name()))
        .take_while(|name| !name.is_root())
}

/// What one family tells is enough. Where neither tells anything, a name that exists without the
/// other records is less of an answer than a failure.
fn joined(
    v4: Result<Vec<IpAddr>, NoAnswer>,
    v6: Result<Vec<IpAddr>, NoAnswer>,
) -> Result<Vec<IpAddr>, NoAnswer> {
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(NoAnswer::NoRecords), Err(fault)) | (Err(fault), Err(_)) => Err(fault),
    }
}

impl Hickory {
    pub(super) async fn addresses_of(&self, name: &Name) -> Result<Vec<IpAddr>, NoAnswer> {
        let of = async |kind| {
            let records = self.records(name, kind).await?;
            Ok(records.iter().filter_map(|record| record.data.ip_addr()).collect())
        };
        let (v4, v6) = join(of(RecordType::A), of(RecordType::AAAA)).await;
        joined(v4, v6)
    }
}

impl Dns for Hickory {
    async fn addresses(&self, name: &Fqdn) -> Result<Vec<IpAddr>, NoAnswer> {
        self.addresses_of(&absolute_fqdn(name)?).await
    }

    async fn caa(&self, name: &Fqdn) -> Result<Vec<CaaRecord>, NoAnswer> {
        for name in climb(&absolute_fqdn(name)?) {
            match self.records(&name, RecordType::CAA).await {
                Ok(records) => return Ok(records.into_iter().filter_map(caa_record).collect()),
                Err(NoAnswer::NoSuchName | NoAnswer::NoRecords) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Vec::new())
    }

    async fn txt_everywhere(&self, name: &str, value: &str, deadline: Duration) -> Result<Option<String>> {
        authority::txt_everywhere(self, name, value, deadline).await
    }
}

fn caa_record(record: Record) -> Option<CaaRecord> {
    let RData::CAA(caa) = record.data else { return None };
    let value = String::from_utf8_lossy(&caa.value).into_owned();
    Some(CaaRecord { issuer_critical: caa.issuer_critical, tag: caa.tag, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_above() {
        let name = absolute("_acme-challenge.odoo.example.com").unwrap();
        let above: Vec<String> = climb(&name).map(|name| name.to_ascii()).collect();
        assert_eq!(above, ["_acme-challenge.odoo.example.com.", "odoo.example.com.", "example.com.", "com."]);
    }

    #[test]
    fn one_family_is_enough() {
        let found = || Ok(vec!["203.0.113.5".parse().unwrap()]);
        let broken = || Err(NoAnswer::ServerFailure("broken".to_owned()));
        assert_eq!(joined(found(), broken()), found());
        assert_eq!(joined(Err(NoAnswer::NoRecords), found()), found());
        assert_eq!(joined(Err(NoAnswer::NoRecords), broken()), broken());
        assert_eq!(joined(broken(), Err(NoAnswer::NoRecords)), broken());
        assert_eq!(joined(Err(NoAnswer::NoSuchName), Err(NoAnswer::NoSuchName)), Err(NoAnswer::NoSuchName));
    }
}
