//! The process that backs up or prunes is killed at some moment. What is listed afterwards is whole,
//! nothing is damaged, and the next backup works. `AUTOODOO_SOAK` sets how many are killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use autoodoo::repository::{Depth, Removal};

use crate::support::{Files, Random, content, made, opened, saved, soak};

const SCALE: usize = 8;
/// Where the child finds its repository, and the seed of what it saves; without a seed it prunes.
const PLACE: &str = "AUTOODOO_TEST_REPOSITORY";
const SEED: &str = "AUTOODOO_TEST_SEED";

fn child(at: &Path, seed: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kill::victim", "--exact", "--ignored"]).env(PLACE, at);
    command.env(SEED, seed.map_or_else(String::new, |seed| seed.to_string()));
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
#[ignore = "it is what the other tests here run and kill"]
fn victim() {
    let place = std::env::var(PLACE).expect("it is started by the other tests");
    let repository = opened(Path::new(&place));
    if let Ok(seed) = std::env::var(SEED).unwrap().parse() {
        saved(&repository, &Files::made_of(seed, SCALE));
    } else {
        let mut snapshots = repository.snapshots().unwrap().snapshots;
        snapshots.pop().expect("there is a backup");
        let forget: Vec<String> = snapshots.into_iter().map(|snapshot| snapshot.id).collect();
        repository.prune(&forget, Removal::Marked, &Arc::default()).unwrap();
    }
}

/// How long the child takes when nobody disturbs it.
fn undisturbed(at: &Path, seed: Option<u64>) -> Duration {
    let began = Instant::now();
    assert!(child(at, seed).wait().unwrap().success());
    began.elapsed()
}

/// Whether it was still at work when it was killed.
fn killed(at: &Path, seed: Option<u64>, after: Duration) -> bool {
    let mut child = child(at, seed);
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

/// Every backup that is listed is one of those that were made, to the last byte.
fn assert_sound(at: &Path, what: &str) {
    let repository = opened(at);
    let listing = repository.snapshots().unwrap();
    assert_eq!(listing.unreadable, [""; 0], "{what}");
    assert_eq!(repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap().all(), [""; 0], "{what}");
    for snapshot in listing.snapshots {
        let files = content(&repository, &snapshot.id);
        let manifest: serde_json::Value = serde_json::from_slice(&files[Path::new("manifest.json")]).unwrap();
        let made = Files::made_of(manifest["seed"].as_u64().unwrap(), SCALE);
        assert!(files == made.0, "{what}: backup {} is another", snapshot.id);
    }
}

fn moment(random: &mut Random, whole: Duration) -> Duration {
    whole.mul_f64(f64::from(u32::try_from(random.below(1000)).unwrap()) / 1000.0)
}

#[test]
fn a_killed_backup_leaves_none_or_a_whole_one() {
    let place = tempfile::tempdir().unwrap();
    drop(made(place.path()));
    let mut random = Random::new(21);
    let whole = undisturbed(place.path(), Some(1));
    let count = soak(6);
    let mut at_work = 0;
    for seed in 2..2 + count {
        let after = moment(&mut random, whole);
        at_work += u64::from(killed(place.path(), Some(seed), after));
        assert_sound(place.path(), &format!("backup {seed} killed after {after:?} of {whole:?}"));
    }
    assert!(at_work * 2 > count, "only {at_work} of {count} were killed at work");
    let repository = opened(place.path());
    let last = saved(&repository, &Files::made_of(1000, SCALE));
    assert!(content(&repository, &last.id) == Files::made_of(1000, SCALE).0);
    assert_sound(place.path(), "the backup after all those");
}

#[test]
fn a_killed_prune_takes_nothing_that_is_needed() {
    let place = tempfile::tempdir().unwrap();
    let repository = made(place.path());
    let two = |seed: u64| {
        saved(&repository, &Files::made_of(2 * seed, SCALE));
        saved(&repository, &Files::made_of(2 * seed + 1, SCALE));
    };
    two(1);
    let whole = undisturbed(place.path(), None);
    let mut random = Random::new(22);
    for seed in 2..2 + soak(6) {
        two(seed);
        let after = moment(&mut random, whole);
        killed(place.path(), None, after);
        assert_sound(place.path(), &format!("prune {seed} killed after {after:?} of {whole:?}"));
    }
    undisturbed(place.path(), None);
    assert_eq!(opened(place.path()).snapshots().unwrap().snapshots.len(), 1);
    assert_sound(place.path(), "the prune after all those");
}
