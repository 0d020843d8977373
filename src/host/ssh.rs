//! This host's OpenSSH: its client as files to copy, new keys, and the keys that other hosts show.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::files;
use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};
use crate::name::Port;
use crate::site::value::{HostKey, HostName};
use crate::stack::server::LOADER;

/// Digits of a fingerprint of files.
const DIGITS: usize = 16;

/// The ssh client and every library that it loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshClient {
    /// Of the content of all files.
    pub fingerprint: String,
    /// The name that each file is to have, and where it lies. `ssh` and the loader are among them.
    pub files: Vec<(String, PathBuf)>,
}

/// What is asked of OpenSSH.
pub trait Ssh {
    fn client(&self) -> Result<SshClient>;
    /// Makes an Ed25519 key without a passphrase; the file's mode is 0600.
    fn new_key(&self, path: &Path, comment: &str) -> Result<()>;
    /// The public half of a key, as authorized_keys has it.
    fn public_key(&self, path: &Path) -> Result<String>;
    /// The keys that a host shows to anybody who asks, as lines of known_hosts.
    fn host_keys(&self, host: &HostName, port: Port) -> Result<String>;
}

/// The programs of this host.
pub struct OpenSsh;

impl Ssh for OpenSsh {
    fn client(&self) -> Result<SshClient> {
        let ssh = on_path("ssh")?;
        let listed = run(Command::new("ldd").arg(&ssh))?;
        let mut files = vec![("ssh".to_owned(), ssh)];
        files.extend(libraries(&listed));
        files.extend(name_services(&files));
        if !files.iter().any(|(name, _)| name == LOADER) {
            return Err(Failure::failed("cannot tell how this machine's ssh client is loaded"));
        }
        let mut digests = String::new();
        for (name, path) in &files {
            digests.push_str(name);
            digests.push_str(&sha256_hex(&files::read_optional(path)?.unwrap_or_default()));
        }
        let mut fingerprint = sha256_hex(digests.as_bytes());
        fingerprint.truncate(DIGITS);
        Ok(SshClient { fingerprint, files })
    }

    fn new_key(&self, path: &Path, comment: &str) -> Result<()> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
        run(&mut command).map(drop)
    }

    fn public_key(&self, path: &Path) -> Result<String> {
        run(Command::new("ssh-keygen").arg("-y").arg("-f").arg(path))
    }

    fn host_keys(&self, host: &HostName, port: Port) -> Result<String> {
        let mut command = Command::new("ssh-keyscan");
        command.args(["-T", "10", "-p", &port.to_string(), host.as_str()]);
        let lines = run(&mut command).unwrap_or_default();
        if fingerprints(&lines).is_empty() {
            return Err(Failure::failed(format!("no ssh server answers at {host}:{port}")));
        }
        Ok(lines)
    }
}

fn on_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::failed(format!("`{program}` is not on this machine"))
                .hint("install the OpenSSH client (openssh-client)")
        })
}

/// Standard output of a program that succeeds.
fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .context(format!("cannot run `{program}`"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::failed(format!("`{program}` failed")).evidence(stderr.lines().map(str::to_owned)))
}

/// Reads `ldd`: `libz.so.1 => /lib/…/libz.so.1 (0x…)`, and the loader as an absolute path alone. What
/// the kernel itself provides (`linux-vdso.so.1`) has no path.
fn libraries(ldd: &str) -> Vec<(String, PathBuf)> {
    let file = |line: &str| {
        let line = line.trim();
        let (name, path) = match line.split_once(" => ") {
            Some((name, path)) => (name, path),
            None if line.starts_with('/') => (LOADER, line),
            None => return None,
        };
        let path = path.split(" (").next()?.trim();
        // musl lists its loader as the C library too.
        let name = if name.starts_with('/') { LOADER } else { name };
        path.starts_with('/').then(|| (name.to_owned(), PathBuf::from(path)))
    };
    ldd.lines().filter_map(file).collect()
}

/// Libraries that older versions of the GNU C library load by themselves to find users and hosts.
fn name_services(files: &[(String, PathBuf)]) -> Vec<(String, PathBuf)> {
    let libc = files.iter().find(|(name, _)| name == "libc.so.6");
    let Some(directory) = libc.and_then(|(_, path)| path.parent()) else { return Vec::new() };
    ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"]
        .into_iter()
        .filter(|name| !files.iter().any(|(known, _)| known == name))
        .map(|name| (name.to_owned(), directory.join(name)))
        .filter(|(_, path)| path.is_file())
        .collect()
}

/// Key type and fingerprint of each line of known_hosts.
#[must_use]
pub fn fingerprints(known_hosts: &str) -> Vec<(String, String)> {
    known_hosts.lines().filter_map(fingerprint).collect()
}

/// The line whose key has this fingerprint.
#[must_use]
pub fn pinned_line(known_hosts: &str, pin: &HostKey) -> Option<String> {
    let is_pinned = |line: &&str| fingerprint(line).is_some_and(|(_, print)| print == pin.as_str());
    known_hosts.lines().find(is_pinned).map(|line| format!("{line}\n"))
}

/// Makes a key of one's own, unless there is one. Returns its public half, as authorized_keys has it.
pub fn ensure_key(ssh: &dyn Ssh, key: &Path, comment: &str) -> Result<String> {
    if files::mode_of(key)?.is_none() {
        if let Some(directory) = key.parent() {
            files::ensure_dir(directory, 0o700)?;
        }
        ssh.new_key(key, comment)?;
    }
    Ok(ssh.public_key(key)?.trim().to_owned())
}

/// From now on the host is believed by this key alone. `shown`: what [`Ssh::host_keys`] gave when a
/// person confirmed one of its [`fingerprints`].
pub fn pin(shown: &str, confirmed: &HostKey, known_hosts: &Path) -> Result<()> {
    let line = pinned_line(shown, confirmed)
        .ok_or_else(|| Failure::failed(format!("the host shows no key with the fingerprint {confirmed}")))?;
    if let Some(directory) = known_hosts.parent() {
        files::ensure_dir(directory, 0o700)?;
    }
    files::write_atomic(known_hosts, line.as_bytes(), 0o600)
}

/// `SHA256:` and the digest of the key's own encoding (RFC 4253, section 6.6) in base64, as OpenSSH
/// shows it.
fn fingerprint(line: &str) -> Option<(String, String)> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace().skip(1);
    let (kind, key) = (fields.next()?, fields.next()?);
    let key = STANDARD.decode(key).ok()?;
    Some((kind.to_owned(), format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with ssh-keygen 9.2; the fingerprint is what `ssh-keygen -l` printed.
    const LINES: &str = "# db.example.com:22 SSH-2.0-OpenSSH_9.2p1\ndb.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEE8zBLA+aoLNP0LmnHe4TdL7IqOofBC+a5Dmay5ogH5\n";

    #[test]
    fn ldd_is_read() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                      \tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
                      \tlibgone.so => not found\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let files = libraries(listed);
        let files: Vec<_> =
            files.iter().map(|(name, path)| (name.as_str(), path.to_str().unwrap())).collect();
        assert_eq!(
            files,
            [("libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"), ("ld.so", "/lib64/ld-linux-x86-64.so.2")]
        );
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\
                    \tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(libraries(musl).len(), 2);
    }

    #[test]
    fn one_confirmed_key_is_pinned() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ssh/known_hosts-offsite");
        let other = format!("SHA256:{}", "A".repeat(43)).parse().unwrap();
        assert!(pin(LINES, &other, &file).unwrap_err().message.contains("shows no key"));
        assert_eq!(files::mode_of(&file).unwrap(), None);
        let confirmed = "SHA256:fZ4idSebg7sVCOsiJlQbZU4arYzFNkpsPrrHm5IEvk8".parse().unwrap();
        pin(LINES, &confirmed, &file).unwrap();
        assert_eq!(files::mode_of(&file).unwrap(), Some(0o600));
        assert_eq!(files::read_text(&file).unwrap(), LINES.lines().nth(1).unwrap().to_owned() + "\n");
    }

    #[test]
    fn fingerprints_are_those_of_openssh() {
        assert_eq!(
            fingerprints(LINES),
            [("ssh-ed25519".to_owned(), "SHA256:fZ4idSebg7sVCOsiJlQbZU4arYzFNkpsPrrHm5IEvk8".to_owned())]
        );
        assert!(
            pinned_line(LINES, &"SHA256:fZ4idSebg7sVCOsiJlQbZU4arYzFNkpsPrrHm5IEvk8".parse().unwrap())
                .unwrap()
                .starts_with("db.example.com ssh-ed25519 ")
        );
        let other = format!("SHA256:{}", "A".repeat(43));
        assert_eq!(pinned_line(LINES, &other.parse().unwrap()), None);
    }
}
