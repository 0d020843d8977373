use super::*;

const NOW: &str = "2026-03-01T12:00:00Z";

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

fn name() -> NameFacts {
    NameFacts {
        name: "odoo.example.com".parse().unwrap(),
        wildcard: false,
        addresses: Ok(addresses(&["203.0.113.5"])),
        caa: Ok(Vec::new()),
        port_80: Some(Port80::Reached),
    }
}

/// A public server whose one name leads to it.
fn server(name: NameFacts) -> Facts {
    Facts {
        names: vec![name],
        own: addresses(&["127.0.0.1", "203.0.113.5", "172.17.0.1"]),
        listen: Listen { address: "0.0.0.0".parse().unwrap(), http: Port::HTTP, https: Port::HTTPS },
        challenge: ChallengeKind::Http01,
        ca: CaFacts::default(),
        now: NOW.parse().unwrap(),
    }
}

fn texts(facts: &Facts) -> Vec<String> {
    findings(facts).into_iter().map(|finding| finding.text).collect()
}

fn none(facts: &Facts) {
    assert_eq!(texts(facts), Vec::<String>::new());
}

#[test]
fn a_server_in_order_has_no_findings() {
    none(&server(name()));
}

#[test]
fn names_that_do_not_resolve() {
    let table = [
        (NoAnswer::NoSuchName, "odoo.example.com does not exist in the DNS"),
        (NoAnswer::NoRecords, "odoo.example.com has no address in the DNS (neither A nor AAAA)"),
        (
            NoAnswer::ServerFailure("SERVFAIL".to_owned()),
            "the DNS could not be asked about odoo.example.com: SERVFAIL",
        ),
    ];
    for (fault, text) in table {
        // That port 80 cannot be reached follows, and is not said again.
        let port_80 = Some(Port80::NoConnection("no address".to_owned()));
        let facts = server(NameFacts { addresses: Err(fault), port_80, ..name() });
        assert_eq!(texts(&facts), [text]);
        assert_eq!(findings(&facts)[0].name.as_deref(), Some("odoo.example.com"));
    }
    let missing = server(NameFacts { addresses: Err(NoAnswer::NoSuchName), ..name() });
    assert_eq!(
        findings(&missing)[0].hint,
        "make an A record for odoo.example.com that leads to this server (203.0.113.5)"
    );
}

#[test]
fn a_name_that_leads_elsewhere() {
    let away = NameFacts {
        addresses: Ok(addresses(&["198.51.100.7"])),
        port_80: Some(Port80::Other { status: 404 }),
        ..name()
    };
    assert_eq!(
        texts(&server(away.clone())),
        [
            "odoo.example.com resolves to 198.51.100.7, which is no address of this machine",
            "somebody else answers at http://odoo.example.com (status 404, not this site's content)",
        ]
    );
    none(&server(NameFacts { port_80: Some(Port80::Reached), ..away }));
}

#[test]
fn behind_a_router_the_words_are_softer() {
    let facts = Facts {
        own: addresses(&["127.0.0.1", "192.168.1.10", "100.64.0.3", "fe80::1", "fd00::1"]),
        ..server(NameFacts { port_80: Some(Port80::NoConnection("timed out".to_owned())), ..name() })
    };
    let found = findings(&facts);
    assert_eq!(
        found[0].text,
        "odoo.example.com resolves to 203.0.113.5; this machine knows only private addresses of its own"
    );
    assert!(found[0].hint.starts_with("usual behind a router"), "{found:?}");
    assert_eq!(found[1].text, "http://odoo.example.com on port 80 cannot be reached from here: timed out");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_forgotten_ipv6_address() {
    let both = |v6: &str| NameFacts { addresses: Ok(addresses(&["203.0.113.5", v6])), ..name() };
    assert_eq!(
        texts(&server(both("2001:db8::9"))),
        [
            "the AAAA record of odoo.example.com (2001:db8::9) leads to another machine, and the CA asks by IPv6 \
          first"
        ]
    );
    let mut own = server(both("2001:db8::5"));
    own.own.push("2001:db8::5".parse().unwrap());
    assert_eq!(
        texts(&own),
        ["the AAAA record of odoo.example.com (2001:db8::5) leads to this machine, but the site listens on \
          IPv4 only, and the CA asks by IPv6 first"]
    );
    own.listen.address = "::".parse().unwrap();
    none(&own);
}

#[test]
fn a_cdn_with_ipv6_is_fine_when_it_brings_us_port_80() {
    let cdn = Ok(addresses(&["198.51.100.7", "2001:db8::9"]));
    none(&server(NameFacts { addresses: cdn, ..name() }));
}

#[test]
fn other_ports_and_addresses() {
    let unreached = || NameFacts { port_80: None, ..name() };
    let with = |address: &str, port: &str, name: NameFacts| Facts {
        listen: Listen { address: address.parse().unwrap(), http: port.parse().unwrap(), https: Port::HTTPS },
        ..server(name)
    };
    assert_eq!(
        texts(&with("0.0.0.0", "8080", unreached())),
        ["the site listens on port 8080, and the CA asks on port 80 only"]
    );
    assert_eq!(
        texts(&with("127.0.0.1", "80", unreached())),
        ["the site listens on 127.0.0.1, where only this machine can reach it"]
    );
    assert_eq!(findings(&with("127.0.0.1", "80", unreached()))[0].name, None);
    none(&with("127.0.0.1", "8080", name()));
}

#[test]
fn dns_01_asks_nothing_of_port_80() {
    let hidden = NameFacts {
        wildcard: true,
        addresses: Err(NoAnswer::NoSuchName),
        port_80: Some(Port80::NoConnection("refused".to_owned())),
        ..name()
    };
    let mut facts = server(hidden);
    facts.challenge = ChallengeKind::Dns01;
    facts.listen.http = "8080".parse().unwrap();
    none(&facts);
    facts.names[0].caa = Err(NoAnswer::ServerFailure("SERVFAIL".to_owned()));
    let found = findings(&facts);
    assert_eq!(found[0].text, "the CAA records of odoo.example.com cannot be read: SERVFAIL");
    assert_eq!(found[0].name.as_deref(), Some("*.odoo.example.com"));
}

#[test]
fn the_clock() {
    let table = [
        ("2026-03-01T12:05:00Z", None),
        ("2026-03-01T11:55:00Z", None),
        ("2026-03-01T12:05:01Z", Some("this machine's clock is 5 minutes behind the CA's")),
        ("2026-03-01T10:29:00Z", Some("this machine's clock is 91 minutes ahead of the CA's")),
        ("2026-03-02T00:00:00Z", Some("this machine's clock is 12 hours behind the CA's")),
        ("2026-02-27T11:00:00Z", Some("this machine's clock is 2 days ahead of the CA's")),
    ];
    for (date, text) in table {
        let mut facts = server(name());
        facts.ca.date = Some(date.parse().unwrap());
        assert_eq!(texts(&facts), text.into_iter().collect::<Vec<_>>(), "{date}");
    }
}
