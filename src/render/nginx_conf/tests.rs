use super::*;
use crate::site::TlsProfile;

fn host(names: &[&str], database: &str, last: u8) -> Host {
    Host {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        database: database.parse().unwrap(),
        odoo: Ipv4Addr::new(10, 213, 7, last),
        other: Ipv4Addr::new(10, 213, 7, last + 1),
    }
}

fn conf(release: u32) -> NginxConf {
    NginxConf {
        release: Release::new(release).unwrap(),
        hosts: vec![host(&["odoo.example.com", "www.example.com"], "acme", 11)],
        https: Port::HTTPS,
        certificate: "20260101-abcdef".to_owned(),
        tls_profile: TlsProfile::Intermediate,
        gateway: Ipv4Addr::new(10, 213, 7, 1),
        static_version: "0123456789abcdef".to_owned(),
        hsts: Hsts::OneYear,
        upload_limit_mib: 100,
        manager: Manager::default(),
        proxy: None,
        sizing: NginxSizes {
            worker_processes: 2,
            worker_connections: 2048,
            open_files: 4096,
            cache_mib: 512,
            cache_keys_mib: 8,
        },
    }
}

fn cidrs(texts: &[&str]) -> Vec<crate::site::value::Cidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn whole_file_of_19() {
    insta::assert_snapshot!(nginx_conf(&conf(19)));
}

#[test]
fn whole_file_of_14_with_its_own_certificate() {
    insta::assert_snapshot!(nginx_conf(&NginxConf {
        hsts: Hsts::Off,
        https: "8443".parse().unwrap(),
        ..conf(14)
    }));
}

#[test]
fn whole_file_of_two_databases_behind_a_proxy_with_the_manager_open() {
    let mut conf = conf(19);
    conf.hosts.push(host(&["shop.example.com"], "shop", 21));
    conf.hsts = Hsts::OneYearWithSubdomains;
    conf.manager =
        Manager { allow: cidrs(&["192.0.2.0/24"]), selector: cidrs(&["198.51.100.7/32", "2001:db8::/32"]) };
    conf.proxy = Some(Proxy {
        trusted: cidrs(&["203.0.113.0/24", "2001:db8:1::/48"]),
        header: "X-Forwarded-For".parse().unwrap(),
    });
    insta::assert_snapshot!(nginx_conf(&conf));
}

#[test]
fn every_release_has_every_value_and_even_braces() {
    for release in Release::all() {
        let text = nginx_conf(&conf(release.number()));
        assert!(!text.contains("<<"), "{release}");
        assert_eq!(text.matches('{').count(), text.matches('}').count(), "{release}");
        assert_eq!(text.contains("alias /var/lib/odoo/filestore/"), release.number() >= 16, "{release}");
    }
}

/// nginx gives a location none of the outer headers once it has one of its own.
#[test]
fn a_location_with_headers_of_its_own_has_them_all() {
    let text = nginx_conf(&conf(19));
    let own = text.split("        location ").filter(|location| location.contains("add_header"));
    let own: Vec<_> = own.skip(1).collect();
    assert!(own.len() > 6, "{}", own.len());
    for location in own {
        for header in ["X-Content-Type-Options nosniff", "X-Frame-Options", "Strict-Transport-Security"] {
            assert!(location.contains(header), "{header} in {location}");
        }
    }
}

#[test]
fn the_static_version_is_found_again() {
    assert_eq!(static_version_in(&nginx_conf(&conf(19))), Some("0123456789abcdef"));
    assert_eq!(static_version_in(""), None);
    let text = nginx_conf(&conf(19));
    assert!(asks(&text, Ipv4Addr::new(10, 213, 7, 11)) && !asks(&text, Ipv4Addr::new(10, 213, 7, 12)));
}

#[test]
fn no_answer_can_leave_its_quotes() {
    let text = nginx_conf(&conf(19));
    let answers: Vec<_> =
        text.lines().filter(|line| line.contains("return") && line.contains('\'')).collect();
    assert_eq!(answers.len(), 6);
    for answer in answers {
        assert_eq!(answer.matches('\'').count(), 2, "{answer}");
        assert!(!answer.contains('$'), "{answer}");
    }
}
