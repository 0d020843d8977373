//! `pebble-challtestsrv` (Debian: pebble): a DNS server that answers what it is told over HTTP.

#![allow(dead_code, reason = "each suite uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::daemon::{Daemon, free_address};

/// Names end in a dot everywhere here. A name that it was told nothing about has no records; it
/// knows no NXDOMAIN, no NS and no SOA.
pub struct ChallTestSrv {
    _daemon: Daemon,
    pub dns: SocketAddr,
    management: SocketAddr,
}

impl ChallTestSrv {
    pub fn start() -> ChallTestSrv {
        let dns = free_address();
        let management = free_address();
        let mut daemon = Daemon::start(
            Command::new("pebble-challtestsrv")
                .args([
                    "-defaultIPv4",
                    "",
                    "-defaultIPv6",
                    "",
                    "-http01",
                    "",
                    "-https01",
                    "",
                    "-tlsalpn01",
                    "",
                ])
                .args(["-dns01", &dns.to_string(), "-management", &management.to_string()]),
        );
        daemon.wait_until("pebble-challtestsrv", || {
            TcpStream::connect(management).is_ok() && TcpStream::connect(dns).is_ok()
        });
        ChallTestSrv { _daemon: daemon, dns, management }
    }

    pub fn a(&self, host: &str, address: &str) {
        self.post("add-a", &format!(r#"{{"host":"{host}","addresses":["{address}"]}}"#));
    }

    pub fn aaaa(&self, host: &str, address: &str) {
        self.post("add-aaaa", &format!(r#"{{"host":"{host}","addresses":["{address}"]}}"#));
    }

    pub fn cname(&self, host: &str, target: &str) {
        self.post("set-cname", &format!(r#"{{"host":"{host}","target":"{target}"}}"#));
    }

    pub fn txt(&self, host: &str, value: &str) {
        self.post("set-txt", &format!(r#"{{"host":"{host}","value":"{value}"}}"#));
    }

    pub fn caa(&self, host: &str, tag: &str, value: &str) {
        let policy = format!(r#"{{"tag":"{tag}","value":"{value}"}}"#);
        self.post("add-caa", &format!(r#"{{"host":"{host}","policies":[{policy}]}}"#));
    }

    /// Every question about this name is answered with SERVFAIL.
    pub fn servfail(&self, host: &str) {
        self.post("set-servfail", &format!(r#"{{"host":"{host}"}}"#));
    }

    fn post(&self, verb: &str, body: &str) {
        let mut stream = TcpStream::connect(self.management).unwrap();
        let length = body.len();
        let request = format!("POST /{verb} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{verb} {body}: {answer}");
    }
}
