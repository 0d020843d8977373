//! Who may ask for what.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::NginxConf;
use crate::site::Proxy;
use crate::site::value::Cidr;

/// Whether an address counts for limits; and with a proxy in front, who asks in truth.
pub(super) fn people(conf: &NginxConf) -> String {
    let mut text = format!(
        "    \
    # ---- Who asks. Connections that the engine passes on by a process of its own (from this machine
    # itself, by IPv6, in a rootless engine) all have the gateway's address: it is nobody in particular.
    geo $counted {{
        default 1;
        {}/32 0;
    }}
",
        conf.gateway
    );
    if let Some(proxy) = &conf.proxy {
        text.push_str(&only_through(proxy, conf.gateway));
    }
    text.push('\n');
    text
}

/// The client's address comes from the proxy's header, and only from the proxy. The gateway is
/// never believed, even if the proxy's networks contain it.
fn only_through(proxy: &Proxy, gateway: Ipv4Addr) -> String {
    let lines = |before: &str, after: &str| {
        let lines = proxy.trusted.iter().map(|cidr| format!("{before}{cidr}{after};\n"));
        lines.collect::<String>()
    };
    format!(
        "    \
    # Only the proxy in front is answered; the client's address is the last one in its header that is
    # not a proxy's. The gateway may see the login page: `autoodoo up` ends with a look at it.
{}    real_ip_header {};
    real_ip_recursive on;
    geo $realip_remote_addr $sender {{
        default stranger;
{}        {gateway}/32 gateway;
    }}
    map \"$sender $request_method $uri\" $refused {{
        default 1;
        \"~^proxy \" 0;
        \"~^gateway (?:GET|HEAD) /web/login$\" 0;
    }}
",
        lines("    set_real_ip_from ", ""),
        proxy.header,
        lines("        ", " proxy"),
    )
}

/// In the server: turns away whoever is not the proxy.
pub(super) fn refusal(conf: &NginxConf) -> String {
    let mut text = String::new();
    if conf.proxy.is_some() {
        text.push_str("        if ($refused) {\n            return 403;\n        }\n\n");
    }
    if conf.release.number() <= 14 {
        text.push_str(
            "        # The Werkzeug of Odoo 14's time takes what follows two slashes for a host and serves the rest,\n        \
             # a path that no rule here has judged.\n        \
             if ($request_uri ~ \"^//\") {\n            return 400;\n        }\n\n",
        );
    }
    text
}

/// The database manager, which can drop a database with one password, and the same by RPC. nginx
/// compares decoded paths without double slashes; the case is left open, and the website's language
/// in front of it.
pub(super) fn manager(conf: &NginxConf) -> String {
    let manager = &conf.manager;
    let mut text = String::from("        # The database manager can drop a database with one password.\n");
    if !manager.selector.is_empty() {
        let who = manager.allow.iter().chain(&manager.selector);
        text.push_str(&guarded("^(?:/[^/]+)?/web/database/selector/?$", who, conf));
    }
    let doors = "^(?:/[^/]+)?/(?:web/database|xmlrpc/db|xmlrpc/2/db)(?:/|$)";
    text.push_str(&guarded(doors, manager.allow.iter(), conf));
    if manager.is_open() {
        // Its body may ask for the manager's service, and Odoo no longer refuses that by itself.
        text.push_str("        # JSON-RPC is a door to the same while Odoo lists its databases.\n");
        text.push_str(&guarded("^(?:/[^/]+)?/jsonrpc/?$", manager.allow.iter(), conf));
    }
    text
}

fn guarded<'a>(pattern: &str, allowed: impl Iterator<Item = &'a Cidr>, conf: &NginxConf) -> String {
    let mut text = format!("        location ~* \"{pattern}\" {{\n");
    let mut allowed = allowed.peekable();
    if allowed.peek().is_some() {
        // It may be anybody, whatever network it lies in.
        let _ = writeln!(text, "            deny {};", conf.gateway); // writing to a String cannot fail
        for cidr in allowed {
            let _ = writeln!(text, "            allow {cidr};");
        }
        text.push_str("            deny all;\n            proxy_pass http://$odoo;\n");
    } else {
        text.push_str("            return 403;\n");
    }
    text.push_str("        }\n");
    text
}
