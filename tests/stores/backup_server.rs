//! `scripts/backup-server`: what an account that it made may do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use super::contract::{self, content, name, trouble};
use crate::backup_account::BackupAccount;
use autoodoo::repository::store::sftp::prove_append_only;
use autoodoo::repository::store::{DropBox, FileKind, Store, Trouble};

#[test]
fn a_prepared_account_adds_and_nothing_else() {
    let server = BackupAccount::with_account("add", &[]);
    let store = server.store("/repository");
    store.create().unwrap();
    contract::files_are_added_and_read(&store);
    contract::large_files_come_back_as_they_were(&store);
    assert_eq!(trouble(store.remove(FileKind::Lock, &name(7))), Trouble::Denied);
    let findings = prove_append_only(&store).unwrap();
    let grave: Vec<_> = findings.iter().filter(|finding| finding.grave && !finding.refused).collect();
    assert!(grave.is_empty(), "{grave:?}");

    // Nothing outside the repository is seen, and nothing that a login reads is the account's.
    assert!(server.store("/etc").free().is_ok(), "the way up from a directory that is not there");
    assert_eq!(trouble(server.store("/").write(FileKind::Config, "config", &[content(1)])), Trouble::Denied);
    for guarded in [server.base(), server.base().join(".ssh"), server.base().join(".ssh/authorized_keys")] {
        assert_eq!(fs::metadata(&guarded).unwrap().uid(), 0, "{}", guarded.display());
    }
}

#[test]
fn what_is_asked_wrongly_changes_nothing() {
    let server = BackupAccount::with_account("usage", &[]);
    let keys = || fs::read_to_string(server.base().join(".ssh/authorized_keys")).unwrap();
    let before = keys();
    let chroot = server.chroot().to_owned();
    let add = |key: &str, why: &str| {
        server.refuses(&["add", &server.account, "--chroot", &chroot, "--key", key], why);
    };
    add("no key", "is no public key");
    add(&format!("command=\"sh\" {}", server.sshd.public_key().trim()), "is no public key");
    add(&format!("{}\nssh-ed25519 AAAA", server.sshd.public_key().trim()), "is no public key");
    server.refuses(&["add", "root", "--key", server.sshd.public_key().trim()], "not one of ours");
    server.refuses(&["remove", "root"], "there is no backup account 'root'");
    server.refuses(&["remove", &server.account, "--data"], "would delete every backup");
    server.refuses(&["add", "Big Name", "--key", "x"], "is no name for an account");
    assert_eq!(keys(), before);

    server.succeeds(&["add", &server.account, "--chroot", &chroot, "--key", server.sshd.public_key().trim()]);
    assert_eq!(keys(), before, "the same key once");
    let other = fs::read_to_string(server.sshd.path("other_key.pub")).unwrap();
    server.succeeds(&["add", &server.account, "--chroot", &chroot, "--key", other.trim()]);
    assert_eq!(keys().lines().count(), 2);
    assert!(server.succeeds(&["list"]).contains(&format!("{}\trepository\t", server.account)));
    server.succeeds(&["remove", &server.account]);
    assert!(!server.succeeds(&["list"]).contains(&server.account));
    assert!(server.base().join("repository/data/ff").is_dir(), "the backups stay");
}

#[test]
fn whole_exports_are_moved_away() {
    let server = BackupAccount::with_account("drop", &["--drop"]);
    let store = server.store("/drop");
    let export = content(5_000_000);
    store.deposit("acme.tar.age", &mut export.as_ref()).unwrap();
    fs::write(server.base().join("drop/cut.tar.age"), "half").unwrap();
    server.succeeds(&["run-collect", &server.account]);
    let kept = server.base().join("kept/acme.tar.age");
    assert!(fs::read(&kept).unwrap() == export);
    let about = fs::metadata(&kept).unwrap();
    assert_eq!((about.uid(), about.mode() & 0o777), (0, 0o400));
    let left: Vec<_> =
        fs::read_dir(server.base().join("drop")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["cut.tar.age"]);

    // The same name again is kept beside the first, and a lie is told.
    store.deposit("acme.tar.age", &mut content(10).as_ref()).unwrap();
    server.succeeds(&["run-collect", &server.account]);
    assert_eq!(fs::read(&kept).unwrap().len(), 10);
    assert_eq!(fs::read(server.base().join("kept/acme.tar.age.~1~")).unwrap().len(), 5_000_000);
    fs::write(server.base().join("drop/cut.tar.age.done"), format!("{}  cut.tar.age\n", "0".repeat(64)))
        .unwrap();
    server.refuses(&["run-collect", &server.account], "is not what its companion says");
    fs::write(server.base().join("drop/cut.tar.age.done"), format!("{}  ../../x\n", "0".repeat(64))).unwrap();
    server.refuses(&["run-collect", &server.account], "does not name it");
}

/// Backups by the restic program, dated as wished, in the account's repository.
#[test]
fn old_backups_go_unless_something_is_odd() {
    let server = BackupAccount::with_account("prune", &[]);
    let repository = server.base().join("repository");
    let password = server.folder.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let data = server.folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let restic = |words: &[&str]| {
        let run = Command::new("runuser")
            .args([
                "-u",
                &server.account,
                "--",
                "env",
                "HOME=/nonexistent",
                "RESTIC_PASSWORD=secret",
                "restic",
            ])
            .args(["--no-cache", "--quiet", "--repo", repository.to_str().unwrap()])
            .args(words)
            .output()
            .expect("restic is installed");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    let back_up = |bytes: usize, when: &str| {
        fs::write(data.join("file"), content(bytes)).unwrap();
        let moment = Command::new("date").args(["-d", when, "+%Y-%m-%d %H:%M:%S"]).output().unwrap();
        let moment = String::from_utf8(moment.stdout).unwrap();
        restic(&["backup", "--host", "acme", "--time", moment.trim(), data.to_str().unwrap()]);
    };
    let packs = || {
        let packs = server.base().join("repository/data");
        fs::read_dir(packs).unwrap().map(|d| fs::read_dir(d.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    let count = || restic(&["snapshots", "--json"]).matches("\"short_id\"").count();
    let file = password.to_str().unwrap();

    restic(&["init"]);
    back_up(199_000, "100 days ago");
    back_up(160_000, "20 days ago");
    back_up(100_000, "1 day ago");
    server.refuses(&["run-prune", &server.account], "is not pruned here");
    server.succeeds(&["prune", &server.account, "--password-file", file, "--keep-within", "30d"]);
    let job =
        fs::read_to_string(server.folder.path().join(format!("cron.d/autoodoo-backup-{}", server.account)));
    assert!(job.unwrap().contains(&format!("run-prune {}\n", server.account)));

    // An upload that was cut, under the name of an index, is out of the way.
    let cut = repository.join("index").join(name(3));
    fs::write(&cut, "half").unwrap();
    assert!(Command::new("touch").args(["-d", "2 days ago"]).arg(&cut).status().unwrap().success());
    let before = packs();
    server.succeeds(&["run-prune", &server.account]);
    assert_eq!(count(), 2);
    assert!(packs() < before, "{before} packs before");
    assert!(server.base().join("damaged").join(name(3)).is_file());
    let owners = fs::read_dir(repository.join("index")).unwrap();
    let account = fs::metadata(&repository).unwrap().uid();
    assert!(owners.map(|entry| entry.unwrap().metadata().unwrap().uid()).all(|owner| owner == account));

    // A backup may be under way.
    let store = server.store("/repository");
    store.free().unwrap();
    server.refuses(&["run-prune", &server.account], "was connected");
    drop(store);

    back_up(10_000, "1 hour ago");
    server.refuses(&["run-prune", &server.account], "nothing was removed");
    assert_eq!(count(), 3);
    back_up(100_000, "now");
    server.succeeds(&["run-prune", &server.account]);
    back_up(100_000, "3 days");
    server.refuses(&["run-prune", &server.account], "is in the future");
    assert_eq!(count(), 5);

    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let words = ["prune", &server.account, "--password-file", file];
    server.refuses(&words, "readable to nobody else");
}
