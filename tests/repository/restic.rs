//! Everybody's emergency exit: the stock program reads what we wrote, and we what it wrote.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use autoodoo::repository::source::{Entry, Source};
use autoodoo::repository::{Depth, Removal};

use crate::support::{Files, PASSWORD, content, label, made, opened, restic, saved, tree};

#[test]
fn restic_restores_what_we_saved() {
    let place = tempfile::tempdir().unwrap();
    let (at, target) = (place.path().join("repository"), place.path().join("restored"));
    let files = Files::made_of(1, 3);
    let saved = saved(&made(&at), &files);
    assert_eq!((saved.files, saved.bytes), (files.0.len() as u64, files.bytes()));

    let listed = restic(&at, &["snapshots", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["id"], saved.id.as_str());
    assert_eq!((&listed[0]["hostname"], &listed[0]["tags"][0]), (&"acme".into(), &"autoodoo".into()));

    let checked = restic(&at, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");

    restic(&at, &["restore", "latest", "--verify", "--target", target.to_str().unwrap()]);
    assert_eq!(tree(&target), files.0);
}

#[test]
fn we_read_what_restic_saved() {
    let place = tempfile::tempdir().unwrap();
    let (at, source) = (place.path().join("repository"), place.path().join("source"));
    let files = Files::made_of(2, 3);
    for (path, content) in &files.0 {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    restic(&at, &["init"]);
    restic(&at, &["backup", "--host", "acme", "--tag", "by hand", source.to_str().unwrap()]);

    let repository = opened(&at);
    let listing = repository.snapshots().unwrap();
    let [snapshot] = listing.snapshots.as_slice() else { panic!("{listing:?}") };
    assert_eq!((snapshot.host.as_str(), snapshot.tags.as_slice()), ("acme", &["by hand".to_owned()][..]));
    let below = source.strip_prefix("/").unwrap();
    let read = content(&repository, &snapshot.id);
    let read =
        read.into_iter().map(|(path, content)| (path.strip_prefix(below).unwrap().to_owned(), content));
    assert_eq!(read.collect::<BTreeMap<_, _>>(), files.0);
    assert_eq!(repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap().all(), [""; 0]);
}

/// The two take turns on one repository, and restic removes what we no longer need.
#[test]
fn both_write_into_one_repository() {
    let place = tempfile::tempdir().unwrap();
    let (at, target) = (place.path().join("repository"), place.path().join("restored"));
    restic(&at, &["init"]);
    let repository = opened(&at);
    saved(&repository, &Files::made_of(3, 2));
    let files = Files::made_of(4, 2);
    let last = saved(&repository, &files);
    restic(&at, &["backup", "/etc/hostname"]);
    restic(&at, &["forget", "--prune", "--host", "acme", "--keep-last", "1"]);

    let listing = repository.snapshots().unwrap();
    assert_eq!(listing.snapshots.len(), 2, "{listing:?}");
    assert_eq!(content(&repository, &last.id), files.0);
    assert_eq!(repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap().all(), [""; 0]);
    restic(&at, &["restore", &last.id, "--target", target.to_str().unwrap()]);
    assert_eq!(tree(&target), files.0);
}

/// After our pruning restic still finds everything in order.
#[test]
fn restic_finds_nothing_wrong_after_our_prune() {
    let place = tempfile::tempdir().unwrap();
    let (at, target) = (place.path().join("repository"), place.path().join("restored"));
    let repository = made(&at);
    let first = saved(&repository, &Files::made_of(5, 2));
    let files = Files::made_of(6, 2);
    saved(&repository, &files);
    let pruned = repository.prune(&[first.id], Removal::Marked, &Arc::default()).unwrap();
    assert_eq!((pruned.snapshots, pruned.freed), (1, 0));
    assert!(pruned.marked > 2 << 20, "{pruned:?}");
    restic(&at, &["check", "--read-data"]);
    restic(&at, &["restore", "latest", "--target", target.to_str().unwrap()]);
    assert_eq!(tree(&target), files.0);
}

/// While the last entry of a backup is read, restic prunes.
struct PrunedMeanwhile {
    files: Files,
    at: PathBuf,
}

impl Source for PrunedMeanwhile {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        let at = self.at.clone();
        Box::new(self.files.entries().map(move |entry| {
            let (mut entry, at) = (entry?, at.clone());
            if entry.path == Path::new("manifest.json") {
                let open = entry.open;
                entry.open = Box::new(move || {
                    let of_no_index = || restic(&at, &["prune", "--dry-run"]).contains("unreferenced packs");
                    let began = Instant::now();
                    while !of_no_index() && began.elapsed() < Duration::from_secs(20) {}
                    restic(&at, &["prune"]);
                    open()
                });
            }
            Ok(entry)
        }))
    }

    fn size(&self) -> u64 {
        self.files.size()
    }
}

/// restic takes packs that no index names yet for rubbish: what it took is missed before anything is
/// called a backup.
#[test]
fn a_prune_of_restic_in_the_middle_of_a_backup_is_seen() {
    let place = tempfile::tempdir().unwrap();
    let repository = made(place.path());
    let files = Files::made_of(7, 2);
    let first = saved(&repository, &files);
    let source = PrunedMeanwhile { files: Files::made_of(8, 60), at: place.path().to_owned() };
    let failure = repository.back_up(Arc::new(source), &label(), &Arc::default()).unwrap_err();
    assert!(failure.to_string().contains("was pruned while the backup was written"), "{failure}");
    let listed = repository.snapshots().unwrap().snapshots;
    assert_eq!(listed.iter().map(|backup| &backup.id).collect::<Vec<_>>(), [&first.id]);
    let next = saved(&repository, &Files::made_of(8, 2));
    assert_eq!(content(&repository, &next.id), Files::made_of(8, 2).0);
    assert_eq!(repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap().all(), [""; 0]);
}

/// restic's locks are read with the repository's key.
#[test]
fn a_lock_of_restic_stops_pruning() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path().join("repository");
    let repository = made(&at);
    let last = saved(&repository, &Files::made_of(7, 1));
    // restic takes its lock, then waits for standard input.
    let mut restic = Command::new("restic")
        .args(["--no-cache", "--quiet", "--repo", at.to_str().unwrap(), "backup", "--stdin"])
        .env("RESTIC_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_a_file_in(&at.join("locks"));
    let refused = repository.prune(&[last.id], Removal::Marked, &Arc::default()).unwrap_err().message;
    let holder = format!("(process {}, ", restic.id());
    assert!(refused.contains("is locked by restic on") && refused.contains(&holder), "{refused}");
    // It is not exclusive: backups go on.
    saved(&repository, &Files::made_of(8, 1));
    restic.stdin.take().unwrap().write_all(b"text").unwrap();
    assert!(restic.wait().unwrap().success());
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 3);
}

fn wait_for_a_file_in(directory: &Path) {
    let deadline = Instant::now() + Duration::from_mins(1);
    // It is written under another name first.
    let is_there = || {
        let files = std::fs::read_dir(directory).unwrap();
        files.map(|file| file.unwrap().file_name()).any(|name| name.len() == 64)
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "nothing comes into {}", directory.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
