//! A whole repository on a place, and what the `restic` program makes of it.

use std::io::{self, Cursor};
use std::process::Command;
use std::sync::Arc;

use autoodoo::repository::source::{Entry, Source};
use autoodoo::repository::store::{FileKind, Store};
use autoodoo::repository::{Depth, Label, Progress, Removal, Repository, Saved};
use autoodoo::secret::Secret;
use autoodoo::site::backup::Keep;
use bytes::Bytes;
use jiff::Timestamp;

use crate::contract::content;

const PASSWORD: &str = "a password for tests";
const NOW: &str = "2026-01-31T12:00:00Z";
const ONLY_THE_LAST: Keep =
    Keep { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within_days: 0 };

/// The `restic` program, told how to get to the same place.
pub struct Restic {
    place: String,
    environment: Vec<(&'static str, String)>,
}

impl Restic {
    pub fn at(place: String) -> Restic {
        Restic { place, environment: vec![("RESTIC_PASSWORD", PASSWORD.to_owned())] }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Restic {
        self.environment.push((name, value.to_owned()));
        self
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("restic");
        command.args(["--no-cache", "--repo", &self.place]).args(arguments);
        let output = command.envs(self.environment.iter().map(|(name, value)| (name, value))).output();
        let output = output.expect("scripts/test installs restic");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

/// Two files, in a directory whose name is not all ASCII.
struct Files([Bytes; 2]);

impl Source for Files {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        let files = ["Büro/eins", "Büro/zwei"].into_iter().zip(self.0.clone());
        Box::new(files.map(|(path, bytes)| {
            let open = Box::new(move || Ok(Box::new(Cursor::new(bytes)) as Box<dyn io::Read + Send>));
            Ok(Entry { path: path.into(), size: None, stamp: None, open })
        }))
    }

    fn size(&self) -> u64 {
        self.0.iter().map(|bytes| bytes.len() as u64).sum()
    }
}

fn back_up(repository: &Repository, length: usize, time: &str) -> Saved {
    let source = Arc::new(Files([content(length), Bytes::from_static(b"zwei")]));
    let label = Label { site: "acme".to_owned(), tags: vec![], time: time.parse().unwrap() };
    repository.back_up(source, &label, &Arc::default()).unwrap()
}

fn assert_whole(repository: &Repository) {
    let faults = repository.check(Depth::Data(1.0), None, &Arc::<Progress>::default()).unwrap().all();
    assert_eq!(faults, [""; 0]);
}

/// Two backups, of which one is made.
fn filled(store: &Arc<dyn Store>) -> (Repository, Saved) {
    assert!(!Repository::exists(&**store).unwrap());
    let password = Secret::new(PASSWORD);
    Repository::init(Arc::clone(store), &password).unwrap();
    let repository = Repository::open(Arc::clone(store), &password, None).unwrap();
    back_up(&repository, 9_000_000, "2026-01-30T12:00:00Z");
    let saved = back_up(&repository, 5_000_000, NOW);
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 2);
    assert_whole(&repository);
    (repository, saved)
}

fn forget_the_older(repository: &Repository) -> autoodoo::failure::Result<()> {
    let now: Timestamp = NOW.parse().unwrap();
    let verdicts = repository.judge(&ONLY_THE_LAST, "acme", now).unwrap();
    let forget: Vec<_> = verdicts.into_iter().filter(|it| !it.keep).map(|it| it.snapshot.id).collect();
    assert_eq!(forget.len(), 1);
    repository.prune(&forget, Removal::Marked, &Arc::default()).map(drop)
}

pub fn works(store: &Arc<dyn Store>, restic: &Restic) {
    let (repository, saved) = filled(store);
    restic.run(&["check", "--read-data"]);
    let (big, small) =
        (restic.run(&["dump", &saved.id, "/Büro/eins"]), restic.run(&["dump", &saved.id, "/Büro/zwei"]));
    assert!(big == content(5_000_000));
    assert_eq!(small, b"zwei");

    forget_the_older(&repository).unwrap();
    let left = repository.snapshots().unwrap().snapshots;
    assert_eq!(left.iter().map(|it| &it.id).collect::<Vec<_>>(), [&saved.id]);
    assert_whole(&repository);
    restic.run(&["check", "--read-data"]);
}

/// On a place that lets nothing be removed, pruning fails and all of it stays.
pub fn only_grows(store: &Arc<dyn Store>) {
    let (repository, _) = filled(store);
    let failure = forget_the_older(&repository).unwrap_err();
    assert!(failure.message.ends_with("lets nothing be removed from here"), "{failure}");
    assert_eq!(store.list(FileKind::Snapshot).unwrap().len(), 2);
    assert_whole(&repository);
}
