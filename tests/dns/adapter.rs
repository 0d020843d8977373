use std::time::{Duration, Instant};

use autoodoo::dns::{Dns, Hickory};
use autoodoo::name::Fqdn;
use autoodoo::plan::preflight::NoAnswer;
use autoodoo::plan::preflight::caa::CaaRecord;

use crate::bind::{Bind, Zone};
use crate::challtestsrv::ChallTestSrv;
use crate::daemon::free_address;

/// The name servers' addresses, where nobody lives (RFC 5737).
const FIRST: &str = "192.0.2.11";
const SECOND: &str = "192.0.2.12";

const ZONES: &[Zone] = &[
    Zone {
        name: "example.test",
        records: &[
            "@ NS ns1",
            "@ NS ns2",
            "ns1 A 192.0.2.11",
            "ns2 A 192.0.2.12",
            "odoo A 192.0.2.1",
            "www CNAME third.test.",
            "_acme-challenge.odoo CNAME odoo.challenges.test.",
            "_acme-challenge.loop CNAME _acme-challenge.pool",
            "_acme-challenge.pool CNAME _acme-challenge.loop",
        ],
    },
    Zone { name: "challenges.test", records: &["@ NS ns1.example.test.", "@ NS ns2.example.test."] },
    // Its server has no address: whoever asks it waits in vain.
    Zone { name: "third.test", records: &["@ NS ns.nowhere.test.", "@ A 192.0.2.3"] },
];

/// Two primaries of the same zones, which know nothing of each other.
fn two_servers() -> (Bind, Bind, Hickory) {
    let (first, second) = (Bind::start(ZONES), Bind::start(ZONES));
    let detours = [(FIRST, first.address), (SECOND, second.address)];
    let detours = detours.map(|(address, place)| (address.parse().unwrap(), place));
    let dns = Hickory::new(&[first.address]).unwrap().with_detours(detours.into());
    (first, second, dns)
}

fn fqdn(name: &str) -> Fqdn {
    name.parse().unwrap()
}

fn issue(value: &str) -> Vec<CaaRecord> {
    vec![CaaRecord { issuer_critical: false, tag: "issue".to_owned(), value: value.to_owned() }]
}

async fn addresses(dns: &Hickory, name: &str) -> Result<Vec<String>, NoAnswer> {
    let mut found: Vec<_> =
        dns.addresses(&fqdn(name)).await?.into_iter().map(|address| address.to_string()).collect();
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn addresses_of_both_families_and_of_aliases() {
    let server = ChallTestSrv::start();
    server.a("both.example.test.", "192.0.2.1");
    server.aaaa("both.example.test.", "2001:db8::1");
    server.aaaa("six.example.test.", "2001:db8::6");
    server.cname("alias.example.test.", "both.example.test.");
    let dns = Hickory::new(&[server.dns]).unwrap();
    for name in ["both.example.test", "alias.example.test"] {
        assert_eq!(addresses(&dns, name).await.unwrap(), ["192.0.2.1", "2001:db8::1"], "{name}");
    }
    assert_eq!(addresses(&dns, "six.example.test").await.unwrap(), ["2001:db8::6"]);
}

#[tokio::test]
async fn what_keeps_a_name_from_resolving_is_told_apart() {
    let server = ChallTestSrv::start();
    server.servfail("broken.example.test.");
    let dns = Hickory::new(&[server.dns]).unwrap();
    assert_eq!(addresses(&dns, "empty.example.test").await, Err(NoAnswer::NoRecords));
    let broken = addresses(&dns, "broken.example.test").await.unwrap_err();
    assert_eq!(broken, NoAnswer::ServerFailure("the name server answers `Server Failure`".to_owned()));

    let (_first, _second, dns) = two_servers();
    assert_eq!(addresses(&dns, "absent.example.test").await, Err(NoAnswer::NoSuchName));
    assert_eq!(addresses(&dns, "odoo.example.test").await.unwrap(), ["192.0.2.1"]);

    let nobody = free_address();
    let started = Instant::now();
    let silent = addresses(&Hickory::new(&[nobody]).unwrap(), "odoo.example.test").await;
    assert!(matches!(silent, Err(NoAnswer::ServerFailure(_))), "{silent:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn caa_records_of_the_nearest_name_that_has_any() {
    let server = ChallTestSrv::start();
    server.caa("example.test.", "issue", "above.example");
    server.caa("own.example.test.", "issue", "own.example");
    server.caa("target.other.", "issue", "alias.example");
    server.cname("alias.example.test.", "target.other.");
    server.servfail("broken.example.test.");
    let dns = Hickory::new(&[server.dns]).unwrap();
    let table = [
        ("own.example.test", issue("own.example")),
        ("a.b.example.test", issue("above.example")),
        ("below.own.example.test", issue("own.example")),
        ("alias.example.test", issue("alias.example")),
        ("example.org", Vec::new()),
    ];
    for (name, records) in table {
        assert_eq!(dns.caa(&fqdn(name)).await, Ok(records), "{name}");
    }
    // What cannot be read must not pass for a name without records.
    let broken = dns.caa(&fqdn("broken.example.test")).await;
    assert!(matches!(broken, Err(NoAnswer::ServerFailure(_))), "{broken:?}");
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_authoritative_server_is_waited_for() {
    let (first, second, dns) = two_servers();
    let name = "_acme-challenge.example.test";
    first.add_txt(name, "token");

    let early = dns.txt_everywhere(name, "token", Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(
        early.message,
        "the TXT record of _acme-challenge.example.test was not on every name server after 1 s; still missing \
         on ns2.example.test"
    );
    assert_eq!(early.evidence, ["ns2.example.test: it has no such record"]);

    second.add_txt(name, "other");
    let other = dns.txt_everywhere(name, "token", Duration::ZERO).await.unwrap_err();
    assert_eq!(other.evidence, ["ns2.example.test: it has another value only"]);

    let started = Instant::now();
    let adding = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        second.add_txt(name, "token");
    };
    let (waited, ()) = tokio::join!(dns.txt_everywhere(name, "token", SOON), adding);
    assert_eq!(waited.unwrap(), None);
    assert!(started.elapsed() > Duration::from_millis(1200), "{:?}", started.elapsed());

    // One that gives no answer keeps nobody from a certificate, as long as no other lacks the record.
    drop(second);
    let gone = dns.txt_everywhere(name, "token", Duration::ZERO).await.unwrap().unwrap();
    assert!(gone.contains("(ns2.example.test: no name server"), "{gone}");
    let lacking = dns.txt_everywhere(name, "another", Duration::ZERO).await.unwrap_err();
    let first_lacks = "ns1.example.test: it has another value only".to_owned();
    assert!(lacking.evidence.contains(&first_lacks), "{lacking:?}");
}

/// As in a network that lets nobody ask but its own resolver.
#[tokio::test]
async fn where_no_name_server_can_be_asked_the_resolver_is() {
    let server = Bind::start(&[Zone { name: "example.test", records: &["@ NS ns1", "ns1 A 192.0.2.11"] }]);
    let name = "_acme-challenge.example.test";
    let closed = [(FIRST.parse().unwrap(), free_address())];
    let dns = Hickory::new(&[server.address]).unwrap().with_detours(closed.into());
    server.add_txt(name, "token");
    let started = Instant::now();
    let deadline = Duration::from_secs(20);
    let warned = dns.txt_everywhere(name, "token", deadline).await.unwrap().unwrap();
    assert!(
        warned.starts_with("not every name server could be asked for the TXT record of _acme-"),
        "{warned}"
    );
    let took = started.elapsed();
    assert!(took >= deadline / 2 && took < deadline, "{took:?}");
}

#[tokio::test]
async fn the_servers_of_a_top_level_domain_are_not_asked() {
    let server = Bind::start(&[Zone { name: "test", records: &["@ NS ns1.test.", "ns1 A 192.0.2.11"] }]);
    let dns = Hickory::new(&[server.address]).unwrap();
    // The resolver that was given stands in.
    let failure = dns.txt_everywhere("_acme-challenge.mistyped.test", "x", Duration::ZERO).await.unwrap_err();
    assert_eq!(failure.evidence, [format!("{}: it has no such record", server.address)]);
}

#[tokio::test]
async fn aliases_lead_into_the_zone_that_has_the_record() {
    let (first, second, dns) = two_servers();
    for server in [&first, &second] {
        server.add_txt("odoo.challenges.test", "delegated");
        server.add_txt("_acme-challenge.www.example.test", "beside");
    }
    dns.txt_everywhere("_acme-challenge.odoo.example.test", "delegated", SOON).await.unwrap();
    // `www` itself is an alias; the servers of what it leads to have nothing to do with this record.
    dns.txt_everywhere("_acme-challenge.www.example.test", "beside", SOON).await.unwrap();
    let circle = dns.txt_everywhere("_acme-challenge.loop.example.test", "x", SOON).await.unwrap_err();
    assert!(circle.message.contains("leads in a circle"), "{circle}");
}

#[tokio::test]
async fn resolvers_of_the_site_stand_in_where_there_are_no_name_servers() {
    let server = ChallTestSrv::start();
    server.txt("_acme-challenge.example.test.", "token");
    server.cname("_acme-challenge.alias.test.", "_acme-challenge.example.test.");
    let dns = Hickory::new(&[server.dns]).unwrap();
    for name in ["_acme-challenge.example.test", "_acme-challenge.alias.test"] {
        dns.txt_everywhere(name, "token", SOON).await.unwrap();
    }
    let failure =
        dns.txt_everywhere("_acme-challenge.other.test", "token", Duration::ZERO).await.unwrap_err();
    assert_eq!(failure.evidence, [format!("{}: it has no such record", server.dns)]);
}
