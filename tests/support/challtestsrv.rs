//! `pebble-challtestsrv` (Debian: pebble): a DNS server that answers what it is told over HTTP, and
//! a web server that answers HTTP-01.

#![allow(dead_code, reason = "each suite uses its part")]

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::daemon::{Daemon, free_address};

/// A name that it was told nothing about has no records, unless all names lead somewhere; it knows
/// no NXDOMAIN, no NS and no SOA. Names may end in a dot.
pub struct ChallTestSrv {
    _daemon: Daemon,
    pub dns: SocketAddr,
    pub http_port: u16,
    management: SocketAddr,
}

impl ChallTestSrv {
    pub fn start() -> ChallTestSrv {
        let (dns, http, management) = (free_address(), free_address(), free_address());
        let mut command = Command::new("pebble-challtestsrv");
        for off in ["-defaultIPv4", "-defaultIPv6", "-https01", "-tlsalpn01"] {
            command.args([off, ""]);
        }
        for (option, address) in [("-http01", http), ("-dns01", dns), ("-management", management)] {
            command.args([option, &address.to_string()]);
        }
        let mut daemon = Daemon::start(&mut command);
        daemon.wait_until("pebble-challtestsrv", || {
            [management, dns, http].iter().all(|address| TcpStream::connect(address).is_ok())
        });
        ChallTestSrv { _daemon: daemon, dns, http_port: http.port(), management }
    }

    /// Every name that has no address of its own leads here.
    pub fn leading_here() -> ChallTestSrv {
        let server = ChallTestSrv::start();
        server.lead_to("127.0.0.1");
        server
    }

    /// Where names lead that have no address of their own; none when it is empty.
    pub fn lead_to(&self, address: &str) {
        self.tell("set-default-ipv4", &json!({ "ip": address }));
    }

    pub fn a(&self, host: &str, address: &str) {
        self.tell("add-a", &json!({ "host": absolute(host), "addresses": [address] }));
    }

    pub fn aaaa(&self, host: &str, address: &str) {
        self.tell("add-aaaa", &json!({ "host": absolute(host), "addresses": [address] }));
    }

    pub fn cname(&self, host: &str, target: &str) {
        self.tell("set-cname", &json!({ "host": absolute(host), "target": absolute(target) }));
    }

    /// Adds a value: a name may have several.
    pub fn txt(&self, host: &str, value: &str) {
        self.tell("set-txt", &json!({ "host": absolute(host), "value": value }));
    }

    /// Takes away all values of the name.
    pub fn clear_txt(&self, host: &str) {
        self.tell("clear-txt", &json!({ "host": absolute(host) }));
    }

    pub fn caa(&self, host: &str, tag: &str, value: &str) {
        let policy = json!({ "tag": tag, "value": value });
        self.tell("add-caa", &json!({ "host": absolute(host), "policies": [policy] }));
    }

    /// Every question about this name is answered with SERVFAIL.
    pub fn servfail(&self, host: &str) {
        self.tell("set-servfail", &json!({ "host": absolute(host) }));
    }

    /// The name is answered for again.
    pub fn forget_servfail(&self, host: &str) {
        self.tell("clear-servfail", &json!({ "host": absolute(host) }));
    }

    pub fn answer_http(&self, token: &str, content: &str) {
        self.tell("add-http01", &json!({ "token": token, "content": content }));
    }

    pub fn forget_http(&self, token: &str) {
        self.tell("del-http01", &json!({ "token": token }));
    }

    /// The URL for what a program does in the place of [`ChallTestSrv::txt`] and such.
    pub fn management(&self, verb: &str) -> String {
        format!("http://{}/{verb}", self.management)
    }

    fn tell(&self, verb: &str, body: &Value) {
        curl(&["--data", &body.to_string(), &self.management(verb)]);
    }
}

fn absolute(host: &str) -> String {
    format!("{}.", host.trim_end_matches('.'))
}

/// Runs curl, which must succeed.
pub fn curl(arguments: &[&str]) -> Output {
    let output = Command::new("curl").args(["--silent", "--show-error", "--fail"]).args(arguments).output();
    let output = output.expect("curl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
