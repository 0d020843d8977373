//! A real ACME CA for tests: Debian's `pebble`, with `pebble-challtestsrv` for its DNS.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate::server_pair;
use super::challtestsrv::curl;
use super::daemon::{Daemon, free_address};

/// What a CA is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port at which names are validated by HTTP-01.
    pub http_port: u16,
    /// The DNS server that names are looked up with.
    pub dns: SocketAddr,
    /// Key id and base64url key of an external account; new accounts must be bound to it.
    pub eab: Option<(String, String)>,
    /// Per cent of good nonces that are rejected.
    pub nonces_rejected: u8,
    /// Per cent of orders that find a valid authorization again.
    pub authorizations_reused: u8,
    /// Seconds that a certificate lasts.
    pub lifetime: u32,
}

impl Options {
    pub fn new(http_port: u16, dns: SocketAddr) -> Options {
        Options {
            http_port,
            dns,
            eab: None,
            nonces_rejected: 20,
            authorizations_reused: 0,
            lifetime: 90 * 24 * 3600,
        }
    }
}

/// A CA in strict mode, on ports of its own. It dies with this value.
pub struct Pebble {
    /// The directory's URL.
    pub directory: String,
    /// PEM of the authority that certifies the CA's own server.
    pub server_root: String,
    pub address: SocketAddr,
    management: SocketAddr,
    options: Options,
    home: tempfile::TempDir,
    process: Daemon,
}

impl Pebble {
    #[must_use]
    pub fn start(options: Options) -> Pebble {
        let home = tempfile::tempdir().unwrap();
        let server_root = server_pair(home.path());
        let (address, management) = (free_address(), free_address());
        let config = config(&options, address, management, home.path());
        fs::write(home.path().join("pebble.json"), config).unwrap();
        let process = run_pebble(&options, home.path(), address);
        let directory = format!("https://{address}/dir");
        Pebble { directory, server_root, address, management, options, home, process }
    }

    /// The CA forgets everything, its accounts and its own keys too.
    pub fn restart(&mut self) {
        self.restart_with(|_| ());
    }

    /// The same, and it is another one afterwards.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.process.stop();
        let config = config(&self.options, self.address, self.management, self.home.path());
        fs::write(self.home.path().join("pebble.json"), config).unwrap();
        self.process = run_pebble(&self.options, self.home.path(), self.address);
    }

    /// How many orders it took, and how many certificates it issued, since it was started.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let log = self.log();
        let count = |words: &str| log.matches(words).count();
        (count("Added order "), count("Issued certificate serial "))
    }

    /// PEM of the root that issued certificates lead to.
    #[must_use]
    pub fn issuing_root(&self) -> String {
        let ca = self.home.path().join("root.pem");
        let url = format!("https://{}/roots/0", self.management);
        let output = curl(&["--cacert", ca.to_str().unwrap(), &url]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Certificate and key of the CA's own server, for a proxy in front of it.
    #[must_use]
    pub fn server_pair(&self) -> (PathBuf, PathBuf) {
        (self.home.path().join("server.pem"), self.home.path().join("server.key"))
    }

    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

fn config(options: &Options, address: SocketAddr, management: SocketAddr, home: &Path) -> String {
    let (required, keys) = match &options.eab {
        Some((kid, key)) => (true, serde_json::json!({ kid: key })),
        None => (false, serde_json::json!({})),
    };
    serde_json::json!({ "pebble": {
        "listenAddress": address.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": home.join("server.pem"),
        "privateKey": home.join("server.key"),
        "httpPort": options.http_port,
        "tlsPort": free_address().port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": required,
        "externalAccountMACKeys": keys,
        "certificateValidityPeriod": options.lifetime,
    }})
    .to_string()
}

fn run_pebble(options: &Options, home: &Path, address: SocketAddr) -> Daemon {
    let mut command = Command::new("pebble");
    command
        .args(["-strict", "-config"])
        .arg(home.join("pebble.json"))
        .args(["-dnsserver", &options.dns.to_string()])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", options.nonces_rejected.to_string())
        .env("PEBBLE_AUTHZREUSE", options.authorizations_reused.to_string());
    let mut daemon = Daemon::logged(&mut command, &home.join("log"));
    daemon.wait_until("pebble", || TcpStream::connect(address).is_ok());
    daemon
}
