//! A real ACME CA for tests: Debian's `pebble`, with `pebble-challtestsrv` for its DNS.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(20);

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
}

impl Options {
    pub fn new(http_port: u16, dns: SocketAddr) -> Options {
        Options { http_port, dns, eab: None, nonces_rejected: 20, authorizations_reused: 0 }
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
    process: Process,
}

impl Pebble {
    #[must_use]
    pub fn start(options: Options) -> Pebble {
        let home = tempfile::tempdir().unwrap();
        let server_root = write_server_pair(home.path());
        let (address, management) = (free_address(), free_address());
        let config = config(&options, address, management, home.path());
        fs::write(home.path().join("pebble.json"), config).unwrap();
        let process = run_pebble(&options, home.path(), address);
        let directory = format!("https://{address}/dir");
        Pebble { directory, server_root, address, management, options, home, process }
    }

    /// The CA forgets everything, its accounts and its own keys too.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = run_pebble(&self.options, self.home.path(), self.address);
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
    }})
    .to_string()
}

fn run_pebble(options: &Options, home: &Path, address: SocketAddr) -> Process {
    let mut command = Command::new("pebble");
    command
        .args(["-strict", "-config"])
        .arg(home.join("pebble.json"))
        .args(["-dnsserver", &options.dns.to_string()])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", options.nonces_rejected.to_string())
        .env("PEBBLE_AUTHZREUSE", options.authorizations_reused.to_string());
    Process::start(command, home, address)
}

/// A root and a server certificate for 127.0.0.1 and `localhost`; the root's PEM.
fn write_server_pair(home: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    // The leaf must not have its issuer's name: OpenSSL would take it for self-signed.
    params.distinguished_name.push(rcgen::DnType::CommonName, "the test's own root");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);

    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    for (file, text) in
        [("root.pem", &root), ("server.pem", &leaf.pem()), ("server.key", &key.serialize_pem())]
    {
        fs::write(home.join(file), text).unwrap();
    }
    root
}

/// DNS in which every name leads to 127.0.0.1, and a web server that answers HTTP-01.
pub struct Names {
    pub http_port: u16,
    pub dns: SocketAddr,
    management: SocketAddr,
    _home: tempfile::TempDir,
    _process: Process,
}

impl Names {
    #[must_use]
    pub fn start() -> Names {
        let home = tempfile::tempdir().unwrap();
        let (http, dns, management) = (free_address(), free_address(), free_address());
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-defaultIPv6", "", "-https01", "", "-tlsalpn01", ""]);
        for (option, address) in [("-http01", http), ("-dns01", dns), ("-management", management)] {
            command.args([option, &address.to_string()]);
        }
        let process = Process::start(command, home.path(), management);
        Names { http_port: http.port(), dns, management, _home: home, _process: process }
    }

    pub fn answer_http(&self, token: &str, content: &str) {
        self.tell("add-http01", &serde_json::json!({ "token": token, "content": content }));
    }

    pub fn forget_http(&self, token: &str) {
        self.tell("del-http01", &serde_json::json!({ "token": token }));
    }

    /// Adds a value: a name may have several.
    pub fn set_txt(&self, record: &str, value: &str) {
        self.tell("set-txt", &serde_json::json!({ "host": format!("{record}."), "value": value }));
    }

    /// Takes away all values of the name.
    pub fn clear_txt(&self, record: &str) {
        self.tell("clear-txt", &serde_json::json!({ "host": format!("{record}.") }));
    }

    /// Where names lead that have no address of their own; none when it is empty.
    pub fn lead_to(&self, address: &str) {
        self.tell("set-default-ipv4", &serde_json::json!({ "ip": address }));
    }

    fn tell(&self, what: &str, body: &serde_json::Value) {
        curl(&["--data", &body.to_string(), &format!("http://{}/{what}", self.management)]);
    }
}

fn curl(arguments: &[&str]) -> Output {
    let output = Command::new("curl").args(["--silent", "--show-error", "--fail"]).args(arguments).output();
    let output = output.expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A server; killed when it goes.
struct Process(Child);

impl Process {
    /// Returns when it takes connections.
    fn start(mut command: Command, home: &Path, address: SocketAddr) -> Process {
        let log = File::create(home.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let name = command.get_program().to_owned();
        let child = command.spawn();
        let mut process = Process(child.unwrap_or_else(|error| {
            panic!("{}: {error}: scripts/test installs Debian's package `pebble`", name.display())
        }));
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            let ended = process.0.try_wait().unwrap().is_some();
            let log = || fs::read_to_string(home.join("log")).unwrap();
            assert!(!ended && Instant::now() < deadline, "{} does not start:\n{}", name.display(), log());
            thread::sleep(Duration::from_millis(20));
        }
        process
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that nobody uses, for TCP and UDP.
#[must_use]
pub fn free_address() -> SocketAddr {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    loop {
        let listener = TcpListener::bind(any).unwrap();
        let address = listener.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
