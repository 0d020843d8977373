//! Repositories behind a real `sshd`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use autoodoo::repository::store::patience::Patient;
use autoodoo::repository::store::sftp::{SftpStore, authorized_keys_line, prove_append_only};
use autoodoo::repository::store::{DropBox, FileKind, Store, Trouble};
use bytes::Bytes;

use super::contract::{self, content, name, trouble};
use super::daemon::free_address;
use super::fault::{Fault, Proxy};
use super::repository::{self, Restic};
use super::sshd::{RESTRICTED, Sshd, descendants, slowly};

fn files_below(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

#[test]
fn an_ordinary_account_holds_the_contract() {
    let sshd = Sshd::start();
    let home = sshd.own_directory("Sicherung für Büro");
    let repository = home.join("a 'b' \"c\" $(d)/日本");
    let store = sshd.store(&repository);
    assert_eq!(store.list(FileKind::Pack).unwrap(), []);
    store.create().unwrap();
    contract::holds(&store);
    assert_eq!(files_below(&repository.join("tmp")), 0);
    assert_eq!(files_below(&repository.join("data")), 256);
}

#[test]
fn an_account_that_may_only_add_holds_the_contract_and_removes_nothing() {
    let sshd = Sshd::start();
    for line in [authorized_keys_line(&sshd.public_key()), format!("{RESTRICTED}{}", sshd.public_key())] {
        sshd.authorise(&line);
        let repository =
            sshd.prepared_repository(if line.contains("hardlink") { "linked" } else { "direct" });
        let store = sshd.store(&repository);
        store.create().unwrap();
        contract::files_are_added_and_read(&store);
        contract::large_files_come_back_as_they_were(&store);
        contract::threads_share_it(&store);
        assert_eq!(trouble(store.remove(FileKind::Lock, &name(7))), Trouble::Denied);
        assert_eq!(store.read(FileKind::Lock, &name(7)).unwrap(), "content");
        let mode = fs::metadata(repository.join("config")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o400);
    }
}

#[test]
fn a_repository_that_nobody_prepared_is_said_so() {
    let sshd = Sshd::start();
    sshd.authorise(&authorized_keys_line(&sshd.public_key()));
    let store = sshd.store(&sshd.own_directory("empty"));
    let error = store.create().unwrap_err();
    assert_eq!(error.trouble, Trouble::Denied);
    assert!(error.message.contains("cannot make the directory `data`"), "{}", error.message);
}

#[test]
fn what_an_account_may_do_is_found_by_trying() {
    let sshd = Sshd::start();
    let repository = sshd.prepared_repository("repository");
    let store = sshd.store(&repository);
    let open = prove_append_only(&store).unwrap();
    let refused: Vec<_> = open.iter().filter(|f| f.refused).map(|f| f.attempt).collect();
    assert_eq!(refused, ["run a command"], "nobody's shell is nologin");
    assert_eq!(files_below(&repository.join("tmp")), 0);

    sshd.authorise(&format!("{RESTRICTED}{}", sshd.public_key()));
    let closed = prove_append_only(&sshd.store(&repository)).unwrap();
    assert!(closed.iter().all(|finding| finding.refused), "{closed:?}");
    assert_eq!(closed.len(), 12);

    sshd.authorise(&authorized_keys_line(&sshd.public_key()));
    let linking = prove_append_only(&sshd.store(&repository)).unwrap();
    let possible: Vec<_> = linking.iter().filter(|f| !f.refused).collect();
    assert_eq!(possible.len(), 1, "{possible:?}");
    assert!(!possible[0].grave);
}

/// A connection that breaks in the middle of a file, however the account gives names.
#[test]
fn a_cut_upload_is_done_again() {
    let sshd = Sshd::start();
    let proxy = Proxy::start(sshd.address);
    for line in [sshd.public_key(), authorized_keys_line(&sshd.public_key())] {
        sshd.authorise(&line);
        let repository = sshd.prepared_repository(if line.starts_with("ssh") { "plain" } else { "linked" });
        let (kind, data) = (FileKind::Pack, content(8_000_000));
        let store = SftpStore::new(sshd.account_at(proxy.address), repository.to_str().unwrap());
        proxy.then([Fault::BreakSending(3_000_000)]);
        let error = store.write(kind, &name(4), std::slice::from_ref(&data)).unwrap_err();
        assert_eq!(error.trouble, Trouble::Connection);
        assert!(error.message.contains("the connection broke: "), "{error}");
        assert_eq!(store.list(kind).unwrap(), []);

        let store = Patient::new(store);
        proxy.then([Fault::BreakSending(3_000_000)]);
        store.write(kind, &name(5), std::slice::from_ref(&data)).unwrap();
        proxy.then([Fault::BreakReceiving(3_000_000)]);
        assert!(store.read(kind, &name(5)).unwrap() == data);
        assert!(proxy.is_done());
    }
}

#[test]
fn a_cut_upload_under_its_own_name_is_seen() {
    let sshd = Sshd::start();
    let proxy = Proxy::start(sshd.address);
    sshd.authorise(&format!("{RESTRICTED}{}", sshd.public_key()));
    let repository = sshd.prepared_repository("direct");
    let store = SftpStore::new(sshd.account_at(proxy.address), repository.to_str().unwrap());
    proxy.then([Fault::BreakSending(3_000_000)]);
    let error = Patient::new(store).write(FileKind::Pack, &name(5), &[content(8_000_000)]).unwrap_err();
    assert_eq!(error.trouble, Trouble::Exists);
    assert!(error.message.contains("instead of 8000000: an upload was cut off"), "{error}");
}

#[test]
fn servers_that_end_are_found_again() {
    let sshd = Sshd::start();
    let repository = sshd.prepared_repository("repository");
    let store = Patient::new(sshd.store(&repository));
    store.write(FileKind::Index, &name(1), &[content(10)]).unwrap();
    sshd.cut();
    assert_eq!(store.list(FileKind::Index).unwrap(), [(name(1), 10)]);

    let done = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 10..14 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for round in 0..6 {
                    let data = [content(3_000_000)];
                    store.write(FileKind::Pack, &name(number * 100 + round), &data).unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for before in [3, 10] {
            while done.load(Ordering::SeqCst) < before {
                thread::sleep(Duration::from_millis(5));
            }
            sshd.cut();
        }
    });
    let packs = store.list(FileKind::Pack).unwrap();
    assert_eq!(packs.len(), 24);
    assert!(packs.iter().all(|(_, size)| *size == 3_000_000));
}

#[test]
fn doors_that_stay_shut_say_why() {
    let sshd = Sshd::start();
    let repository = sshd.prepared_repository("repository");
    let path = repository.to_str().unwrap();
    let message = |account| {
        let error = SftpStore::new(account, path).free().unwrap_err();
        (error.trouble, error.message)
    };

    let mut wrong_key = sshd.account();
    wrong_key.key = sshd.path("other_key");
    let (kind, words) = message(wrong_key);
    let line = authorized_keys_line(&fs::read_to_string(sshd.path("other_key.pub")).unwrap());
    assert_eq!(kind, Trouble::Denied);
    assert!(words.contains(&line), "{words}");

    let changed = sshd.account();
    let other = fs::read_to_string(sshd.path("other_key.pub")).unwrap();
    fs::write(&changed.known_hosts, format!("[127.0.0.1]:{} {other}", changed.port)).unwrap();
    let (kind, words) = message(changed.clone());
    assert_eq!(kind, Trouble::Denied);
    assert!(words.contains("shows another host key than the one that was confirmed"), "{words}");

    fs::write(&changed.known_hosts, "").unwrap();
    let (kind, words) = message(changed);
    assert_eq!(kind, Trouble::Denied);
    assert!(words.contains("has not been confirmed yet"), "{words}");

    let (kind, words) = message(sshd.account_at(free_address()));
    assert_eq!(kind, Trouble::Connection);
    assert!(words.contains("Connection refused"), "{words}");

    let without = Sshd::with("");
    let (kind, words) = message(without.account());
    assert_eq!(kind, Trouble::Other);
    assert!(words.contains("offers no sftp"), "{words}");
}

/// A file system of its own that is mounted while this lives.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path, bytes: u32) -> SmallDisk<'_> {
        let options = format!("size={bytes},uid=65534,gid=65534");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        assert!(mounted.unwrap().success(), "the tests run as root");
        SmallDisk(at)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_server_says_so_and_keeps_what_it_has() {
    let sshd = Sshd::start();
    let disk = sshd.own_directory("disk");
    let _mounted = SmallDisk::mount(&disk, 4_000_000);
    let store = sshd.store(&disk.join("repository"));
    store.create().unwrap();
    assert!(store.free().unwrap().unwrap() < 4_100_000);
    store.write(FileKind::Pack, &name(1), &[content(1_000_000)]).unwrap();
    let error = store.write(FileKind::Pack, &name(2), &[content(5_000_000)]).unwrap_err();
    assert_eq!(error.trouble, Trouble::Full);
    assert!(error.message.contains("the server is full"), "{}", error.message);
    assert_eq!(store.list(FileKind::Pack).unwrap(), [(name(1), 1_000_000)]);
    // What was begun is gone again: a smaller file fits.
    store.write(FileKind::Pack, &name(3), &[content(1_000_000)]).unwrap();
}

#[test]
fn a_slow_line_is_only_slow() {
    let sshd = Sshd::start();
    let repository = sshd.prepared_repository("repository");
    let address = slowly(sshd.address, Duration::from_millis(20));
    let store = SftpStore::new(sshd.account_at(address), repository.to_str().unwrap());
    let began = Instant::now();
    let data = content(2_000_000);
    store.write(FileKind::Pack, &name(1), std::slice::from_ref(&data)).unwrap();
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(store.read(FileKind::Pack, &name(1)).unwrap() == data);
}

#[test]
fn clients_end_with_their_store() {
    let sshd = Sshd::start();
    let repository = sshd.prepared_repository("repository");
    let store = sshd.store(&repository);
    store.free().unwrap();
    let port = sshd.address.port().to_string();
    assert_eq!(clients(&port).len(), 1);
    drop(store);
    assert_eq!(clients(&port), [0; 0]);
}

/// ssh clients of this test's process that were told this port.
fn clients(port: &str) -> Vec<u32> {
    let told = |process: &u32| {
        let arguments = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        arguments.starts_with("ssh\0") && arguments.split('\0').any(|argument| argument == port)
    };
    descendants(std::process::id()).into_iter().filter(told).collect()
}

#[test]
fn an_export_is_left_with_its_companion() {
    let sshd = Sshd::start();
    sshd.authorise(&format!("{RESTRICTED}{}", sshd.public_key()));
    let place = sshd.own_directory("drop");
    let store = sshd.store(&place);
    let export = content(9_000_000);
    assert_eq!(store.deposit("acme ü.tar.age", &mut export.as_ref()).unwrap(), 9_000_000);
    assert!(fs::read(place.join("acme ü.tar.age")).unwrap() == export);
    let checked = Command::new("sha256sum").args(["-c", "acme ü.tar.age.done"]).current_dir(&place).status();
    assert!(checked.unwrap().success());
    assert!(store.deposit("acme ü.tar.age", &mut Bytes::new().as_ref()).is_err());
}

#[test]
fn leftovers_of_killed_runs_are_removed_the_next_day() {
    let sshd = Sshd::start();
    let repository = sshd.prepared_repository("repository");
    for (name, age) in [("old", "2 days ago"), ("young", "2 hours ago")] {
        let file = sshd.own_directory("repository/tmp").join(name);
        fs::write(&file, "").unwrap();
        assert!(Command::new("touch").args(["-d", age]).arg(&file).status().unwrap().success());
    }
    sshd.store(&repository).free().unwrap();
    let left: Vec<_> =
        fs::read_dir(repository.join("tmp")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["young"]);
}

/// restic reads the same directory on the server itself.
#[test]
fn a_whole_repository_lies_there() {
    let sshd = Sshd::start();
    let directory = sshd.own_directory("ordinary");
    let store: Arc<dyn Store> = Arc::new(sshd.store(&directory));
    repository::works(&store, &Restic::at(directory.to_str().unwrap().to_owned()));

    for line in [authorized_keys_line(&sshd.public_key()), format!("{RESTRICTED}{}", sshd.public_key())] {
        sshd.authorise(&line);
        let prepared = sshd.prepared_repository(if line.contains("hardlink") { "linked" } else { "direct" });
        let store: Arc<dyn Store> = Arc::new(sshd.store(&prepared));
        repository::only_grows(&store);
    }
}
