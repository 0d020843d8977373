//! The ssh client of this host: how it is called, and what its complaints mean.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::{StoreError, StoreResult, Trouble};
use crate::name::Port;
use crate::site::value::{HostName, SystemUser};

/// How long a client that lost its server takes to end by itself.
const ENDING: Duration = Duration::from_secs(3);
/// Lines of a client's complaints that are kept.
const LINES: usize = 60;

/// An account of a server, and what lets us in.
#[derive(Debug, Clone)]
pub struct Account {
    pub user: SystemUser,
    pub host: HostName,
    pub port: Port,
    /// The private key. Empty: whatever this user's own configuration of ssh offers.
    pub key: PathBuf,
    /// The only file whose host keys are believed.
    pub known_hosts: PathBuf,
}

impl Account {
    /// ssh(1) without a command. It asks nothing, forwards nothing and is no master: it ends with its
    /// standard input. What `ssh_config` says beyond that (ssh_config(5)) holds.
    pub(super) fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-a", "-x", "-p", &self.port.to_string(), "-l", self.user.as_str()]);
        if !self.key.as_os_str().is_empty() {
            command.arg("-i").arg(&self.key).args(["-o", "IdentitiesOnly=yes"]);
        }
        let known_hosts = format!("UserKnownHostsFile=\"{}\"", self.known_hosts.display());
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            known_hosts.as_str(),
            "UpdateHostKeys=no",
            "ConnectTimeout=20",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
            "ControlMaster=no",
            "ControlPath=none",
            "PermitLocalCommand=no",
            "ClearAllForwardings=yes",
            "LogLevel=INFO",
        ] {
            command.args(["-o", option]);
        }
        command
    }

    /// The client with the server's sftp at its other end (RFC 4254, section 6.5).
    pub(super) fn sftp(&self) -> Command {
        let mut command = self.ssh();
        command.args(["-s", "--", self.host.as_str(), "sftp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What an ssh client that ended says about why.
    pub(super) fn explain(&self, said: &str) -> StoreError {
        let (host, port, user) = (&self.host, self.port, &self.user);
        let has = |words: &str| said.contains(words);
        if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            return denied(format!(
                "the ssh server at {host}:{port} shows another host key than the one that was confirmed: \
                 either it was set up anew, or somebody stands in between; nothing was sent. Ask its \
                 administrator for the key's fingerprint, then confirm it with `autoodoo backup setup`"
            ));
        }
        if has("Host key verification failed") {
            return denied(format!(
                "the host key of {host}:{port} has not been confirmed yet: `autoodoo backup setup` shows it"
            ));
        }
        if has("Permission denied (") {
            return denied(self.refused());
        }
        if has("subsystem request failed") {
            let message = format!(
                "the ssh server at {host}:{port} lets {user} in but offers no sftp: its sshd_config needs \
                 `Subsystem sftp internal-sftp`"
            );
            return StoreError::new(Trouble::Other, message);
        }
        let reason = last_line(said).map(|line| format!(": {line}")).unwrap_or_default();
        StoreError::new(Trouble::Connection, format!("no connection to {host}:{port}{reason}"))
    }

    fn refused(&self) -> String {
        let (host, user) = (&self.host, &self.user);
        let mut public = self.key.clone().into_os_string();
        public.push(".pub");
        match std::fs::read_to_string(public) {
            Ok(key) => format!(
                "the ssh server at {host}:{} refuses this host's key: the authorized_keys of {user} there \
                 lacks the line `{}`",
                self.port,
                authorized_keys_line(&key)
            ),
            Err(_) => format!("the ssh server at {host}:{} refuses the keys offered for {user}", self.port),
        }
    }
}

fn denied(message: String) -> StoreError {
    StoreError::new(Trouble::Denied, message)
}

fn last_line(said: &str) -> Option<&str> {
    said.lines().map(str::trim).rfind(|line| !line.is_empty())
}

/// Requests of sftp-server(8) that a key may make which only adds files. `hardlink` gives a finished
/// file its name; it never replaces one.
const REQUESTS: &str = "open,close,read,write,lstat,fstat,stat,opendir,readdir,realpath,fsync,statvfs,\
                        fstatvfs,limits,hardlink";

/// The line that lets a key add files and nothing else (sshd(8), "AUTHORIZED_KEYS FILE FORMAT";
/// sftp-server(8)). The umask makes every file read-only from its first moment.
#[must_use]
pub fn authorized_keys_line(public_key: &str) -> String {
    format!("restrict,command=\"internal-sftp -u 0277 -p {REQUESTS}\" {}", public_key.trim())
}

/// A client that runs. It ends with this.
pub struct Client {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl Client {
    pub fn start(command: &mut Command) -> StoreResult<Client> {
        let mut child = command.spawn().map_err(|error| {
            StoreError::new(Trouble::Other, format!("cannot run `ssh`: {error}: install openssh-client"))
        })?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let listener = child.stderr.take().map(|stderr| listen(stderr, Arc::clone(&said)));
        Ok(Client { child, said, listener })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its complaints. It is given a moment to end, for the last one says why.
    pub fn last_words(&mut self) -> String {
        let deadline = Instant::now() + ENDING;
        while Instant::now() < deadline && !self.has_ended() {
            thread::sleep(Duration::from_millis(10));
        }
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn has_ended(&mut self) -> bool {
        let silent = self.listener.as_ref().is_none_or(JoinHandle::is_finished);
        silent && !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Everything that was asked for has been answered: an end by force loses nothing.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

fn listen(stderr: ChildStderr, said: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let mut lines = said.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == LINES {
                lines.remove(0);
            }
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            user: "acme".parse().unwrap(),
            host: "backup.example.com".parse().unwrap(),
            port: "2222".parse().unwrap(),
            key: PathBuf::from("/site/secrets/backup/ssh/offsite"),
            known_hosts: PathBuf::from("/site/my secrets/known_hosts"),
        }
    }

    /// What OpenSSH 9.2 printed.
    #[test]
    fn complaints_are_understood() {
        let table = [
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Trouble::Denied,
                "another host key",
            ),
            (
                "No ED25519 host key is known for x and you have requested strict checking.\nHost key verification failed.",
                Trouble::Denied,
                "not been confirmed",
            ),
            ("acme@backup.example.com: Permission denied (publickey).", Trouble::Denied, "refuses the keys"),
            ("subsystem request failed on channel 0", Trouble::Other, "offers no sftp"),
            (
                "ssh: connect to host backup.example.com port 2222: Connection refused\n",
                Trouble::Connection,
                "Connection refused",
            ),
            ("Timeout, server backup.example.com not responding.", Trouble::Connection, "not responding"),
            ("", Trouble::Connection, "no connection to backup.example.com:2222"),
        ];
        for (said, trouble, words) in table {
            let error = account().explain(said);
            assert_eq!(error.trouble, trouble, "{said}");
            assert!(error.message.contains(words), "{}", error.message);
        }
    }

    #[test]
    fn a_path_with_spaces_is_one_file_of_known_hosts() {
        let command = format!("{:?}", account().sftp());
        assert!(command.contains(r#"UserKnownHostsFile=\"/site/my secrets/known_hosts\""#), "{command}");
    }
}
