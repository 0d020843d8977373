//! An S3 server, which checks signatures and policies and keeps locks.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::certificate::server_pair;
use super::daemon::{Daemon, free_address};

pub struct Server {
    pub address: SocketAddr,
    pub tls: SocketAddr,
    pub root: String,
    /// For each user the access key and the secret one.
    pub keys: BTreeMap<String, (String, String)>,
    _home: TempDir,
    _process: Daemon,
}

impl Server {
    pub fn start() -> Server {
        let home = tempfile::tempdir().unwrap();
        let root = server_pair(home.path());
        let (address, tls, keys) = (free_address(), free_address(), home.path().join("keys"));
        install();
        let mut command = Command::new(script());
        command.arg(address.to_string()).arg(&keys).arg(tls.to_string());
        command.args(["server.pem", "server.key"].map(|file| home.path().join(file)));
        let mut process = Daemon::logged(&mut command, &home.path().join("log"));
        process.wait_until("the S3 server", || keys.exists());
        let keys = serde_json::from_slice(&fs::read(keys).unwrap()).unwrap();
        Server { address, tls, root, keys, _home: home, _process: process }
    }
}

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/s3-server")
}

/// It may take longer than a server may take to start.
fn install() {
    let output = Command::new(script()).arg("--install").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
