//! A PostgreSQL server that is not the site's, with TLS, and an ssh server in front of it. Both listen
//! on an address of this machine that nobody outside can reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::engine::{Engine, engine};
use crate::process::{Run, run, start, until};
use crate::site::image;

/// Of a range for documentation (RFC 5737), added to the loopback interface while the tests run.
/// Both engines may be tested at once.
const ADDRESSES: [&str; 2] = ["198.51.100.34", "198.51.100.35"];
const CONTAINER: &str = "e2e-elsewhere";
pub const ROLE: &str = "acme";
pub const PASSWORD: &str = "right:with\\odd-signs";

/// Lets everybody in who has a password, through TLS or from this machine itself.
const PG_HBA: &str = "local all all trust\n\
                      host all all 127.0.0.1/32 scram-sha-256\n\
                      hostssl all all 0.0.0.0/0 scram-sha-256\n";
/// Demands a certificate too.
const PG_HBA_CERTIFICATE: &str = "local all all trust\n\
                      hostssl all all 0.0.0.0/0 scram-sha-256 clientcert=verify-full\n";

pub struct Elsewhere {
    engine: Engine,
    directory: TempDir,
    pub address: &'static str,
    pub port: u16,
    pub ssh_port: u16,
    sshd: Sshd,
}

/// An ssh server.
pub struct Sshd {
    process: Child,
    keys: PathBuf,
}

impl Sshd {
    pub fn authorise(&self, line: &str) {
        fs::write(&self.keys, format!("{line}\n")).expect("a directory of ours");
    }

    /// Process ids of its connections.
    fn connections(&self) -> Vec<String> {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // One whose client was removed with its network would wait for it for ever.
        for process in self.connections() {
            run_program("kill", &[&process]);
        }
        if self.process.kill().is_ok() {
            // It was killed: there is nothing to learn from how it ended.
            let _ = self.process.wait();
        }
    }
}

impl Elsewhere {
    pub fn begin() -> Elsewhere {
        let engine = engine();
        let (address, port) = match engine {
            Engine::Docker => (ADDRESSES[0], 20_180),
            Engine::Podman => (ADDRESSES[1], 21_180),
        };
        let directory = TempDir::with_prefix("e2e-elsewhere").expect("a directory");
        // It stays from a run that was killed.
        call("ip", &["address", "replace", &format!("{address}/32"), "dev", "lo"]);
        certificates(directory.path(), address);
        host_key(directory.path());
        let sshd = sshd(directory.path(), address, port + 1);
        let elsewhere = Elsewhere { engine, directory, address, port, ssh_port: port + 1, sshd };
        elsewhere.start_server();
        elsewhere
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start_server(&self) {
        self.engine.remove_by_force("container", CONTAINER);
        let port = format!("port={}", self.port);
        let listen = format!("listen_addresses={},127.0.0.1", self.address);
        let server = "chown -R postgres /etc/e2e && exec docker-entrypoint.sh postgres \"$@\"";
        let settings = [
            &port,
            &listen,
            "hba_file=/etc/e2e/pg_hba.conf",
            "ssl=on",
            "ssl_cert_file=/etc/e2e/server.pem",
            "ssl_key_file=/etc/e2e/server.key",
            "ssl_ca_file=/etc/e2e/ca.pem",
            "password_encryption=scram-sha-256",
        ];
        let image = image("postgres", 17);
        let mut args = vec!["create", "--name", CONTAINER, "--network", "host"];
        args.extend(["--env", "POSTGRES_PASSWORD=administrator", &image, "sh", "-c", server, "sh"]);
        args.extend(settings.iter().flat_map(|setting| ["-c", setting]));
        self.engine.call(&args);
        self.write_hba(PG_HBA);
        let files = format!("{}/.", self.path("server").display());
        self.engine.call(&["cp", &files, &format!("{CONTAINER}:/etc/e2e")]);
        self.engine.call(&["start", CONTAINER]);
        let ready = format!("[ \"$(cat /proc/1/comm)\" = postgres ] && pg_isready -q -p {}", self.port);
        until("the server elsewhere is ready", 120, || {
            self.engine.attempt(&["exec", CONTAINER, "sh", "-c", &ready]).succeeded().then_some(())
        });
        self.administer(&format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}';"));
    }

    fn write_hba(&self, text: &str) {
        fs::write(self.path("server/pg_hba.conf"), text).expect("a directory of ours");
    }

    /// From now on the server demands a client certificate.
    pub fn demand_certificate(&self) {
        self.change_rules(PG_HBA_CERTIFICATE);
    }

    pub fn lets_in_by_password(&self) {
        self.change_rules(PG_HBA);
    }

    fn change_rules(&self, rules: &str) {
        self.write_hba(rules);
        let file = self.path("server/pg_hba.conf");
        self.engine.call(&["cp", &file.display().to_string(), &format!("{CONTAINER}:/etc/e2e/pg_hba.conf")]);
        self.engine.call(&["exec", CONTAINER, "chown", "postgres", "/etc/e2e/pg_hba.conf"]);
        self.administer("SELECT pg_reload_conf();");
        // The postmaster reads them after it has answered.
        std::thread::sleep(std::time::Duration::from_secs(1));
        let faults = "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL";
        assert_eq!(self.ask("postgres", faults), "0");
    }

    /// Runs SQL as the server's administrator, who knows psql.
    #[track_caller]
    pub fn administer(&self, sql: &str) {
        self.psql("postgres", sql).ends(0);
    }

    /// One value.
    #[track_caller]
    pub fn ask(&self, database: &str, query: &str) -> String {
        self.psql(database, query).ends(0).out.trim().to_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> Run {
        let port = self.port.to_string();
        let mut command = Command::new(self.engine.word());
        if self.engine == Engine::Docker {
            command.args(["--host", "unix:///run/docker.sock"]);
        }
        command.args(["exec", "--interactive", "--user", "postgres", CONTAINER, "psql", "--port", &port]);
        command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "--dbname", database]);
        start(command, sql).finish()
    }

    /// The fingerprint of the ssh server's key, as its administrator reads it.
    pub fn host_key(&self) -> String {
        let key = self.path("host_key.pub").display().to_string();
        let line = call("ssh-keygen", &["-l", "-f", &key]).out;
        line.split_whitespace().nth(1).expect("a fingerprint").to_owned()
    }

    pub fn authorise(&self, line: &str) {
        self.sshd.authorise(line);
    }

    /// The line that was authorised last.
    pub fn authorised(&self) -> String {
        fs::read_to_string(&self.sshd.keys).expect("a directory of ours").trim().to_owned()
    }

    /// Another ssh server with the same key, which lets nobody in yet, and its port.
    pub fn second_sshd(&self) -> (Sshd, u16) {
        let port = self.ssh_port + 1;
        (sshd(self.directory.path(), self.address, port), port)
    }

    /// Ends every connection of the ssh server, which goes on listening.
    pub fn cut_connections(&self) {
        let connections = self.sshd.connections();
        assert!(!connections.is_empty(), "nobody is connected through ssh");
        for process in connections {
            call("kill", &[&process]);
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.engine.remove_by_force("container", CONTAINER);
        run_program("ip", &["address", "delete", &format!("{}/32", self.address), "dev", "lo"]);
    }
}

fn run_program(program: &str, args: &[&str]) -> Run {
    let mut command = Command::new(program);
    command.args(args);
    run(command)
}

#[track_caller]
fn call(program: &str, args: &[&str]) -> Run {
    run_program(program, args).ends(0)
}

/// Two CAs, of which the first signs the server's certificate and our role's.
fn certificates(directory: &Path, address: &str) {
    let server = directory.join("server");
    fs::create_dir(&server).expect("a directory of ours");
    let script = "set -e; cd \"$1\"; new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n\
        for name in ca other-ca; do\n\
          openssl req -x509 $new -days 2 -subj /CN=$name -keyout $name.key -out $name.pem\n\
        done\n\
        sign() { openssl req $new -subj \"/CN=$2\" -keyout $1.key -out $1.csr\n\
          echo \"$3\" > $1.ext\n\
          openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $1.ext -out $1.pem; }\n\
        sign server $2 subjectAltName=IP:$2,DNS:$2\n\
        sign client $3 extendedKeyUsage=clientAuth\n\
        chmod 600 *.key; cp ca.pem server.pem server.key server";
    call("sh", &["-c", script, "sh", &directory.display().to_string(), address, ROLE]);
}

fn host_key(directory: &Path) {
    let file = directory.join("host_key").display().to_string();
    call("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file]);
}

/// An ssh server that knows only its own files. Nobody's key is authorised yet.
fn sshd(directory: &Path, address: &str, port: u16) -> Sshd {
    let file = |name: &str| directory.join(name).display().to_string();
    let keys = directory.join(format!("authorized_keys-{port}"));
    let configuration = file(&format!("sshd_config-{port}"));
    let config = format!(
        "Port {port}\nListenAddress {address}\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n",
        file("host_key"),
        keys.display(),
    );
    fs::write(&configuration, config).expect("a directory of ours");
    // sshd refuses to start without it.
    fs::create_dir_all("/run/sshd").expect("the tests run as root");
    fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).expect("ours");
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-f", &configuration, "-E", &file("sshd.log")]).stdin(Stdio::null());
    let process = command.spawn().expect("OpenSSH's server is installed (openssh-server)");
    Sshd { process, keys }
}
