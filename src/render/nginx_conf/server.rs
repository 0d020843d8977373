//! The names of the site and the servers behind them.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::template::fill;
use super::{CHALLENGE_MOUNT, Host, NginxConf, TLS_MOUNT, access, answers, assets};
use crate::name::{Fqdn, Port};
use crate::render::odoo_conf::{EVENTED_PORT, HTTP_PORT};
use crate::site::TlsProfile;

/// Which Odoo and which database a name leads to.
pub(super) fn hosts(conf: &NginxConf) -> String {
    let mut upstreams = String::new();
    let (mut odoo, mut database) = (String::new(), String::new());
    for (number, host) in (1..).zip(&conf.hosts) {
        upstreams.push_str(&upstream(number, host));
        for name in &host.names {
            // Writing to a String cannot fail.
            let _ = writeln!(odoo, "        {name} odoo_{number};");
            let _ = writeln!(database, "        {name} {};", host.database);
        }
    }
    let mut text =
        format!("    # ---- Which Odoo a name leads to\n{upstreams}    map $host $odoo {{\n{odoo}    }}\n");
    if conf.release.has_x_accel() {
        let _ = write!(text, "    map $host $database {{\n{database}    }}\n");
    }
    text.push('\n');
    text
}

fn upstream(number: usize, host: &Host) -> String {
    let (database, address, other) = (&host.database, host.odoo, host.other);
    format!(
        "    \
    # {database}
    upstream odoo_{number} {{
        {};
        # Where its successor stands: a request that came in before a change and was not handed on by
        # then, such as a slow upload, goes there.
        server {other}:{HTTP_PORT} max_fails=0 backup;
    }}
    upstream odoo_{number}_live {{
        server {address}:{EVENTED_PORT} max_fails=0;
        server {other}:{EVENTED_PORT} max_fails=0 backup;
    }}
",
        asked(address)
    )
}

/// The words by which an Odoo is the one that is asked.
pub(super) fn asked(address: Ipv4Addr) -> String {
    format!("server {address}:{HTTP_PORT} max_fails=0")
}

fn names(conf: &NginxConf) -> String {
    conf.hosts.iter().flat_map(|host| &host.names).map(Fqdn::as_str).collect::<Vec<_>>().join(" ")
}

/// Redirects to https; unknown names get no answer.
pub(super) fn plain_http(conf: &NginxConf) -> String {
    let names = names(conf);
    let port = match conf.https {
        Port::HTTPS => String::new(),
        port => format!(":{port}"),
    };
    format!(
        "    \
    # ---- reuseport: a new nginx can stand beside the old one in the same network namespace.
    server {{
        listen 80 default_server reuseport;
        server_name _;
        return 444;
    }}
    server {{
        listen 80;
        server_name {names};
        # A CA sees here that the name is ours.
        location ^~ /.well-known/acme-challenge/ {{
            alias {CHALLENGE_MOUNT}/;
            default_type text/plain;
        }}
        location / {{
            return 301 https://$host{port}$request_uri;
        }}
    }}
"
    )
}

pub(super) fn https(conf: &NginxConf) -> String {
    fill(
        include_str!("text/https.conf"),
        &[
            ("tls", tls(conf.tls_profile)),
            ("names", &names(conf)),
            ("certificate", &format!("{TLS_MOUNT}/{}", conf.certificate)),
            ("refusal", &access::refusal(conf)),
            ("browser_headers", &browser_headers(conf, "        ")),
            ("odoo_headers", &odoo_headers("        ")),
            ("evented", conf.release.evented_path()),
            ("manager", &(access::manager(conf) + "\n")),
            ("assets", &assets::locations(conf)),
            ("answer_locations", &answers::locations(conf)),
        ],
    )
}

/// As Mozilla's "Server Side TLS" has them.
fn tls(profile: TlsProfile) -> &'static str {
    match profile {
        TlsProfile::Intermediate => include_str!("text/tls_intermediate.conf"),
        TlsProfile::Modern => include_str!("text/tls_modern.conf"),
    }
}

/// Headers of every question to Odoo. A location that sets one of its own must repeat them, as with
/// [`browser_headers`].
pub(super) fn odoo_headers(indent: &str) -> String {
    [
        ("Host", "$asked_host"),
        ("X-Forwarded-Host", "$asked_host"),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "$remote_addr"),
        ("X-Request-ID", "$request_id"),
        ("Forwarded", "\"\""),
        ("Upgrade", "$http_upgrade"),
        ("Connection", "$connection_upgrade"),
    ]
    .map(|(name, value)| format!("{indent}proxy_set_header {name} {value};\n"))
    .concat()
}

/// Whether Odoo itself keeps uploaded pages from running.
fn sends_policy(conf: &NginxConf) -> bool {
    conf.release.number() >= 16
}

/// The variables that [`browser_headers`] uses.
pub(super) fn header_maps(conf: &NginxConf) -> String {
    let maps = include_str!("text/headers.conf").to_owned();
    if sends_policy(conf) { maps } else { maps + include_str!("text/content_policy.conf") }
}

/// Headers of every answer. A location that adds one of its own must repeat them: it inherits none
/// then (nginx: `ngx_http_headers_module`).
pub(super) fn browser_headers(conf: &NginxConf, indent: &str) -> String {
    let hsts = conf.hsts.value().map(|value| ("Strict-Transport-Security", format!("\"{value}\"")));
    let always = [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "$frame_options"),
        ("Referrer-Policy", "$referrer_policy"),
        ("Permissions-Policy", "$permissions_policy"),
    ];
    let policy = (!sends_policy(conf)).then_some(("Content-Security-Policy", "$content_policy"));
    let always = always.into_iter().chain(policy).map(|(name, value)| (name, value.to_owned()));
    let lines = always.chain(hsts);
    let line = |(name, value)| format!("{indent}add_header {name} {value} always;\n");
    lines.map(line).collect::<Vec<_>>().concat()
}
