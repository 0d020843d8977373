//! An ssh server of Debian's openssh-server with files of its own, on loopback, and accounts in it.

#![allow(dead_code, reason = "each suite uses its part")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use autoodoo::repository::store::sftp::{Account, SftpStore};
use tempfile::TempDir;

use super::daemon::{Daemon, free_address};

/// A user of every Debian who owns nothing; root would pass by every permission.
pub const USER: &str = "nobody";
const UID: u32 = 65534;

/// The authorized_keys line for an account that only adds files, without the request that names them.
pub const RESTRICTED: &str = "restrict,command=\"internal-sftp -u 0277 -p open,close,read,write,lstat,\
                              fstat,stat,opendir,readdir,realpath,fsync,statvfs,fstatvfs,limits\" ";

pub struct Sshd {
    daemon: Daemon,
    pub directory: TempDir,
    pub address: SocketAddr,
}

impl Sshd {
    pub fn start() -> Sshd {
        Sshd::with("Subsystem sftp internal-sftp\n")
    }

    /// `further`: lines of its configuration.
    pub fn with(further: &str) -> Sshd {
        let directory = TempDir::with_prefix("stores-sshd").unwrap();
        // The account has to come as far as its repository.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for key in ["host_key", "key", "other_key"] {
            new_key(&directory.path().join(key));
        }
        let mut sshd = Sshd { daemon: placeholder(), directory, address: free_address() };
        sshd.authorise(&sshd.public_key());
        sshd.run(further);
        sshd
    }

    fn run(&mut self, further: &str) {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n\
             MaxStartups 100\n{further}",
            self.address.port(),
            file("host_key"),
            file("authorized_keys"),
        );
        fs::write(file("sshd_config"), config).unwrap();
        // sshd refuses to start without it.
        fs::create_dir_all("/run/sshd").expect("the tests run as root");
        self.listen();
    }

    fn listen(&mut self) {
        let config = self.path("sshd_config");
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(config);
        self.daemon = Daemon::logged(&mut command, &self.directory.path().join("sshd.log"));
        let address = self.address;
        self.daemon.wait_until("sshd", || TcpStream::connect(address).is_ok());
    }

    /// With the configuration as it is now.
    pub fn restart(&mut self) {
        self.daemon.stop();
        self.listen();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn public_key(&self) -> String {
        fs::read_to_string(self.path("key.pub")).unwrap()
    }

    pub fn authorise(&self, line: &str) {
        fs::write(self.path("authorized_keys"), line).unwrap();
    }

    /// Makes a directory that belongs to the account.
    pub fn own_directory(&self, name: &str) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        chown(&directory, Some(UID), Some(UID)).unwrap();
        directory
    }

    /// What an administrator prepares.
    pub fn prepared_repository(&self, name: &str) -> PathBuf {
        let directory = self.own_directory(name);
        for kind in ["keys", "snapshots", "index", "locks", "tmp", "data"] {
            self.own_directory(&format!("{name}/{kind}"));
        }
        for byte in 0..=u8::MAX {
            self.own_directory(&format!("{name}/data/{byte:02x}"));
        }
        directory
    }

    /// The account at this address, with the server's true key pinned.
    pub fn account_at(&self, address: SocketAddr) -> Account {
        let known_hosts = self.path(&format!("known hosts-{}", address.port()));
        let key = fs::read_to_string(self.path("host_key.pub")).unwrap();
        fs::write(&known_hosts, format!("[127.0.0.1]:{} {key}", address.port())).unwrap();
        Account {
            user: USER.parse().unwrap(),
            host: "127.0.0.1".parse().unwrap(),
            port: address.port().to_string().parse().unwrap(),
            key: self.path("key"),
            known_hosts,
        }
    }

    pub fn account(&self) -> Account {
        self.account_at(self.address)
    }

    pub fn store(&self, directory: &Path) -> SftpStore {
        SftpStore::new(self.account(), directory.to_str().unwrap())
    }

    /// Ends every connection; the server goes on listening.
    pub fn cut(&self) {
        let processes = descendants(self.daemon.id());
        assert!(!processes.is_empty(), "nobody is connected");
        end(&processes);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let processes = descendants(self.daemon.id());
        self.daemon.stop();
        end(&processes);
    }
}

fn end(processes: &[u32]) {
    for process in processes {
        // One may have ended because another did.
        let _ = Command::new("kill").args(["-9", &process.to_string()]).output().unwrap();
    }
}

fn placeholder() -> Daemon {
    Daemon::start(Command::new("sleep").arg("0"))
}

pub fn new_key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// Children of a process, their children, and so on.
pub fn descendants(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return found };
    for task in tasks.map_while(Result::ok) {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().map(|number| number.parse().unwrap()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

/// An address at which the server is slow: each 16 KiB of the client's waits for so long.
pub fn slowly(server: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).unwrap();
            let (client_back, server_back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(client, server, delay));
            thread::spawn(move || pass(server_back, client_back, Duration::ZERO));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut into: TcpStream, delay: Duration) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        thread::sleep(delay);
        if into.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    for end in [from, into] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
