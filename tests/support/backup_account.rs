//! An account of this machine that `scripts/backup-server` makes, on an `sshd` of the test's own. Settings,
//! jobs and folders go where the test says.

#![allow(dead_code, reason = "each suite uses its part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use autoodoo::repository::store::sftp::{Account, SftpStore};
use tempfile::TempDir;

use super::sshd::Sshd;

/// An account, its server and its folders. All of it goes with this.
pub struct BackupAccount {
    pub sshd: Sshd,
    pub account: String,
    /// Root's alone up to the top, as a chroot has to be.
    pub folder: TempDir,
}

impl BackupAccount {
    /// `purpose` makes the name unique among tests that run at once.
    pub fn with_account(purpose: &str, options: &[&str]) -> BackupAccount {
        let folder = TempDir::with_prefix_in("ao-stores", "/srv").expect("the tests run as root");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let dropins = folder.path().join("sshd_config.d");
        fs::create_dir(&dropins).unwrap();
        let include = format!("Subsystem sftp internal-sftp\nInclude {}/*.conf\n", dropins.display());
        fs::write(folder.path().join("sshd_config"), &include).unwrap();
        let mut server = BackupAccount {
            sshd: Sshd::with(&include),
            account: format!("ao-{purpose}-{}", std::process::id()),
            folder,
        };
        let key = server.sshd.public_key();
        let mut words = vec!["add", &server.account, "--key", key.trim(), "--chroot", server.chroot()];
        words.extend(options);
        let added = server.call(&words);
        assert!(added.status.success(), "{added:?}");
        assert!(String::from_utf8_lossy(&added.stderr).contains("SHA256:"), "{added:?}");
        server.sshd.restart();
        server
    }

    pub fn chroot(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    pub fn call(&self, words: &[&str]) -> Output {
        let here = |name: &str| self.folder.path().join(name);
        let host_key = self.sshd.path("host_key");
        let config = here("sshd_config");
        let text = fs::read_to_string(&config).unwrap();
        if !text.contains("HostKey") {
            fs::write(&config, format!("HostKey {}\n{text}", host_key.display())).unwrap();
        }
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/backup-server"))
            .args(words)
            .env("AUTOODOO_SSHD_CONFIG", config)
            .env("AUTOODOO_CRON_DIR", here("cron.d"))
            .env("AUTOODOO_LIB_DIR", here("lib"))
            .env("AUTOODOO_SETTINGS", here("settings"))
            .env("AUTOODOO_PATIENCE", "2")
            .output()
            .unwrap()
    }

    #[track_caller]
    pub fn succeeds(&self, words: &[&str]) -> String {
        let output = self.call(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub fn refuses(&self, words: &[&str], why: &str) {
        let output = self.call(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{words:?}: {said}");
    }

    /// As the account itself names it, in its chroot.
    pub fn store(&self, path: &str) -> SftpStore {
        let account = Account { user: self.account.parse().unwrap(), ..self.sshd.account() };
        SftpStore::new(account, path)
    }

    pub fn base(&self) -> PathBuf {
        self.folder.path().join(&self.account)
    }
}

impl Drop for BackupAccount {
    fn drop(&mut self) {
        self.call(&["remove", &self.account, "--data", "--confirm", &self.account]);
    }
}
