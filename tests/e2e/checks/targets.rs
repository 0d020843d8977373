//! Backups on real servers, prepared and used as a person would.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::backup_account::BackupAccount;
use crate::daemon::{Daemon, free_address};
use crate::process::run;
use crate::s3_server;
use crate::site::Site;
use crate::sshd::new_key;

/// All that these servers let a site do is add.
pub fn on_servers(site: &Site) {
    let mut vault = BackupAccount::with_account("e2e", &[]);
    let bucket = s3_server::Server::start();
    let rest = Rest::start();
    site.edit(
        "\nbackup:\n",
        &format!(
            "\nbackup:\n  to:\n    - {{ name: vault, url: 'sftp://{}@{}/repository', own_password: true }}\n    \
             - {{ name: bucket, url: 's3+http://{}/locked/acme', required: false }}\n    \
             - {{ name: rest, url: 'rest:http://{}/acme/' }}\n",
            vault.account, vault.sshd.address, bucket.address, rest.address
        ),
    );
    let (id, secret) = &bucket.keys["owner"];
    credentials(site, "bucket", &format!("{id}\n{secret}\n"));
    credentials(site, "rest", "site\nsecret\n");
    prepared(site, &vault);

    site.run(&["backup"]).ends(0).says("3 of 3 targets");
    site.run(&["backup", "verify", "--read-data"]).ends(0);
    for target in ["vault", "bucket", "rest"] {
        let databases = newest(site, target)["facts"]["databases"].to_string();
        assert!(databases.contains(&site.database) && databases.contains("e2e_shop"), "{databases}");
    }
    only_added_to(site, &vault);
    a_stranger_answers(site, &mut vault);
}

fn credentials(site: &Site, target: &str, lines: &str) {
    let path = site.path(&format!("secrets/backup/{target}.credentials"));
    fs::create_dir_all(path.parent().expect("a directory")).expect("a site directory of ours");
    fs::write(&path, lines).expect("a site directory of ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a file of ours");
}

/// The server's administrator is given the key that setup made, and says what his server's own is.
fn prepared(site: &Site, vault: &BackupAccount) {
    let mut asked = Command::new("ssh-keygen");
    asked.arg("-lf").arg(vault.sshd.path("host_key.pub"));
    let told = run(asked).ends(0).out;
    let fingerprint = told.split_whitespace().nth(1).expect("a fingerprint").to_owned();
    let setup = ["backup", "setup", "--host-key", &fingerprint];
    let first = site.run(&setup);
    assert_ne!(first.code, Some(0), "nobody has let the site in: {first}");
    let key = site.read("secrets/backup/ssh/vault.pub");
    let text = first.text();
    assert!(text.contains(key.split_whitespace().nth(1).expect("a key")), "the key is not shown: {text}");
    vault.succeeds(&["add", &vault.account, "--chroot", vault.chroot(), "--key", key.trim()]);
    site.run(&setup).ends(0);
    site.run(&setup).ends(0);
}

fn newest(site: &Site, target: &str) -> Value {
    let listed = site.run(&["backup", "list", "--target", target, "--json"]).ends(0).out;
    let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|error| panic!("{error}: {listed}"));
    listed["targets"][0]["backups"][0].clone()
}

fn only_added_to(site: &Site, vault: &BackupAccount) {
    site.run(&["backup", "probe", "vault"]).ends(0);
    let before = newest(site, "vault");
    site.edit("    last: 3\n", "    last: 1\n");
    for rule in ["daily: 7", "weekly: 5", "monthly: 12", "yearly: 3"] {
        let (word, _) = rule.split_once(' ').expect("a word and a number");
        site.edit(rule, &format!("{word} 0"));
    }
    site.edit("within: 2d", "within: 0d");
    site.run(&["backup", "--target", "vault"]).ends(0);
    for target in ["vault", "bucket"] {
        let pruned = site.run(&["backup", "prune", "--target", target]);
        assert!(target == "bucket" || pruned.code == Some(1), "{target}: {pruned}");
    }
    let listed = site.run(&["backup", "list", "--target", "vault"]).ends(0).out;
    let id = before["id"].as_str().expect("an id").get(..8).expect("digits").to_owned();
    assert!(listed.contains(&id), "{id} is gone: {listed}");
    assert!(vault.succeeds(&["list"]).contains(&vault.account));
}

/// Another machine answers in the place of a required target: it is told nothing and the run has
/// failed; the others have their backup.
fn a_stranger_answers(site: &Site, vault: &mut BackupAccount) {
    let before = newest(site, "rest")["id"].clone();
    let (key, known) = (vault.sshd.path("host_key"), vault.sshd.path("host_key.known"));
    fs::rename(&key, &known).expect("a file of ours");
    new_key(&key);
    vault.sshd.restart();
    site.run(&["backup"]).ends(1).says("vault").says("2 of 3 targets");
    assert_ne!(newest(site, "rest")["id"], before);
    fs::rename(&known, &key).expect("a file of ours");
    vault.sshd.restart();
    site.run(&["backup"]).ends(0);
}

/// rclone's server, where nothing can be changed.
struct Rest {
    address: SocketAddr,
    _home: TempDir,
    _process: Daemon,
}

impl Rest {
    fn start() -> Rest {
        let (home, address) = (TempDir::with_prefix("e2e-rest").expect("room"), free_address());
        let mut command = Command::new("rclone");
        command.args(["serve", "restic", "--append-only", "--config", "/dev/null"]);
        command.args(["--addr", &address.to_string()]).arg(home.path().join("repositories"));
        command.env("RCLONE_USER", "site").env("RCLONE_PASS", "secret");
        let mut process = Daemon::logged(&mut command, &home.path().join("log"));
        process.wait_until("rclone", || TcpStream::connect(address).is_ok());
        Rest { address, _home: home, _process: process }
    }
}
