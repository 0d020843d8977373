//! BIND's `named` (Debian: bind9): authoritative servers that take updates signed with a key.

#![allow(dead_code, reason = "each suite uses its part")]

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{Daemon, free_address};

/// A zone's name without the final dot, and its records after the SOA record, one a line.
pub struct Zone<'a> {
    pub name: &'a str,
    pub records: &'a [&'a str],
}

pub struct Bind {
    _daemon: Daemon,
    directory: TempDir,
    pub address: SocketAddr,
}

impl Bind {
    /// Serves the zones and asks nobody else.
    pub fn start(zones: &[Zone]) -> Bind {
        let address = free_address();
        let directory = tempfile::tempdir().unwrap();
        let configuration = write_configuration(directory.path(), address, zones);
        // Debian confines /usr/sbin/named to its own directories, by path: a copy may read ours.
        let program = directory.path().join("named");
        fs::copy("/usr/sbin/named", &program).expect("BIND is installed (Debian: bind9)");
        let arguments = ["-4", "-f", "-n", "1", "-c"];
        let mut command = Command::new(program);
        let mut daemon =
            Daemon::start(command.args(arguments).arg(configuration).current_dir(directory.path()));
        daemon.wait_until("named", || TcpStream::connect(address).is_ok());
        Bind { _daemon: daemon, directory, address }
    }

    /// The key that may change TXT records of every zone, as `tsig-keygen` writes it.
    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("update.key")
    }

    /// Adds a TXT record as a zone's owner would.
    pub fn add_txt(&self, name: &str, value: &str) {
        let (address, port) = (self.address.ip(), self.address.port());
        let commands = format!("server {address} {port}\nupdate add {name}. 60 IN TXT \"{value}\"\nsend\n");
        let file = self.directory.path().join("commands");
        fs::write(&file, commands).unwrap();
        let status = Command::new("nsupdate").arg("-k").arg(self.key_file()).arg(file).status().unwrap();
        assert!(status.success(), "nsupdate: {status}");
    }
}

fn write_configuration(directory: &Path, address: SocketAddr, zones: &[Zone]) -> PathBuf {
    let key = Command::new("tsig-keygen").arg("update").output().expect("tsig-keygen runs (Debian: bind9)");
    write_secret(&directory.join("update.key"), &key.stdout);
    let path = directory.display();
    let (ip, port): (IpAddr, u16) = (address.ip(), address.port());
    let mut text = format!(
        "include \"{path}/update.key\";\n\
         controls {{ }};\n\
         options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion no; notify no;\n\
         empty-zones-enable no; dnssec-validation no; allow-transfer {{ none; }};\n\
         listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; }};\n"
    );
    for Zone { name, records } in zones {
        let file = directory.join(format!("{name}.zone"));
        let soa = format!("$TTL 60\n@ IN SOA ns1.{name}. hostmaster.{name}. 1 3600 600 86400 60\n");
        fs::write(&file, format!("{soa}{}\n", records.join("\n"))).unwrap();
        let policy = "update-policy { grant update zonesub TXT; }";
        let file = file.display();
        writeln!(text, "zone \"{name}\" {{ type primary; file \"{file}\"; {policy}; }};").unwrap();
    }
    let configuration = directory.join("named.conf");
    fs::write(&configuration, text).unwrap();
    configuration
}

fn write_secret(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}
