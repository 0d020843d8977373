//! Somebody with GnuPG and a key of their own.

use std::fs;
use std::path::Path;

use autoodoo::archive::openpgp::Certificate;
use autoodoo::failure::Result;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::made::shell;

pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    /// `algorithm` as `gpg --quick-generate-key` takes it; a use may follow a slash. Two years long.
    pub fn with_key(algorithm: &str) -> Gpg {
        let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        let gpg = Gpg { home };
        let (algorithm, usage) = algorithm.split_once('/').unwrap_or((algorithm, "default"));
        let user = "'Export Test <test@example.com>'";
        gpg.run(&format!("--passphrase '' --quick-generate-key {user} {algorithm} {usage} 2y"));
        if algorithm.starts_with("rsa") {
            gpg.run(&format!("--passphrase '' --quick-add-key {} {algorithm} encr 2y", gpg.fingerprint()));
        }
        gpg
    }

    pub fn public(&self) -> Vec<u8> {
        self.export("--export")
    }

    pub fn private(&self) -> Vec<u8> {
        self.export("--passphrase '' --export-secret-keys")
    }

    pub fn certificates(&self) -> Result<Vec<Certificate>> {
        Certificate::parse("test.asc", &self.public(), Timestamp::now())
    }

    pub fn fingerprint(&self) -> String {
        let listed = self.run("--with-colons --list-secret-keys");
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// The command that opens what comes in.
    pub fn decrypt(&self) -> String {
        format!("gpg --homedir {} --batch --quiet --decrypt", self.home().display())
    }

    pub fn import(&self, keys: &[u8]) {
        fs::write(self.home().join("other"), keys).unwrap();
        self.run(&format!("--import {}/other", self.home().display()));
    }

    pub fn expire_subkeys(&self) {
        self.run(&format!("--passphrase '' --quick-set-expire {} 2d '*'", self.fingerprint()));
    }

    pub fn revoke_subkey(&self) {
        let dialogue = "key 1\nrevkey\ny\n0\n\ny\nsave\n";
        let edit = format!("--command-fd 0 --passphrase '' --edit-key {}", self.fingerprint());
        self.run_with(dialogue, &edit);
    }

    /// With the revocation that GnuPG made together with the key.
    pub fn revoke(&self) {
        let revocation = format!("{}/openpgp-revocs.d/{}.rev", self.home().display(), self.fingerprint());
        self.run_with("", &format!("--import <(sed 's/^:---/---/' {revocation})"));
    }

    fn export(&self, command: &str) -> Vec<u8> {
        self.run(&format!("--armor {command}")).into_bytes()
    }

    fn run(&self, arguments: &str) -> String {
        self.run_with("", arguments)
    }

    fn run_with(&self, input: &str, arguments: &str) -> String {
        fs::write(self.home().join("input"), input).unwrap();
        let home = self.home().display();
        let command = format!(
            "gpg --homedir {home} --quiet --no-tty --batch --yes --pinentry-mode loopback {arguments} < {home}/input"
        );
        shell(self.home(), &command).unwrap()
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent would live on.
        let _ = shell(self.home(), &format!("gpgconf --homedir {} --kill gpg-agent", self.home().display()));
    }
}
