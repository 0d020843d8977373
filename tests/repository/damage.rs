//! Bytes that changed, files that were cut short or are gone: each is found, and none brings the
//! program down. `AUTOODOO_SOAK` sets how many places are tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoodoo::failure::Failure;
use autoodoo::repository::{Depth, Removal, Repository};

use crate::support::{Files, Random, local, made, password, restic, saved, soak};

/// Everything that opening, listing and checking have to say against a repository.
fn complaints(at: &Path) -> Vec<String> {
    let found = || -> Result<Vec<String>, Failure> {
        let repository = Repository::open(local(at), &password(), None)?;
        let mut found = repository.snapshots()?.unreadable;
        found.extend(repository.check(Depth::Data(1.0), None, &Arc::default())?.all());
        Ok(found)
    };
    found().unwrap_or_else(|failure| vec![failure.to_string()])
}

fn repository(at: &Path) -> Vec<PathBuf> {
    let repository = made(at);
    saved(&repository, &Files::made_of(1, 2));
    saved(&repository, &Files::made_of(2, 2));
    assert_eq!(complaints(at), [""; 0]);
    let mut files: Vec<PathBuf> = crate::support::tree(at).into_keys().map(|path| at.join(path)).collect();
    files.sort();
    files
}

/// Does something to a file, looks, and puts it back.
fn found_after(at: &Path, file: &Path, harm: &str, damaged: Option<&[u8]>) {
    let sound = fs::read(file).unwrap();
    match damaged {
        Some(bytes) => fs::write(file, bytes).unwrap(),
        None => fs::remove_file(file).unwrap(),
    }
    let complaints = complaints(at);
    assert!(!complaints.is_empty(), "nobody found: {harm} in {}", file.display());
    for complaint in complaints {
        assert!(!complaint.contains('\n') && !complaint.contains("rustic"), "{complaint:?}");
    }
    fs::write(file, sound).unwrap();
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let place = tempfile::tempdir().unwrap();
    let files = repository(place.path());
    let mut random = Random::new(11);
    for _ in 0..soak(10) {
        let file = random.of(&files);
        let mut bytes = fs::read(file).unwrap();
        let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
        bytes[at] ^= u8::try_from(random.below(255) + 1).unwrap();
        found_after(place.path(), file, &format!("byte {at} changed"), Some(&bytes));
    }
    assert_eq!(complaints(place.path()), [""; 0]);
}

#[test]
fn a_file_that_was_cut_short_is_found() {
    let place = tempfile::tempdir().unwrap();
    let files = repository(place.path());
    let mut random = Random::new(12);
    for _ in 0..soak(10) {
        let file = random.of(&files);
        let mut bytes = fs::read(file).unwrap();
        bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).unwrap());
        found_after(place.path(), file, &format!("only {} bytes", bytes.len()), Some(&bytes));
    }
}

/// A snapshot that is gone is a backup less, and nobody can know.
#[test]
fn a_file_that_is_gone_is_found() {
    let place = tempfile::tempdir().unwrap();
    let files = repository(place.path());
    for file in files.iter().filter(|file| !file.starts_with(place.path().join("snapshots"))) {
        found_after(place.path(), file, "it is gone", None);
    }
}

/// What is lost with one pack is named, and all else is still looked at.
#[test]
fn each_damaged_pack_is_told() {
    let place = tempfile::tempdir().unwrap();
    let files = repository(place.path());
    let packs: Vec<&PathBuf> =
        files.iter().filter(|file| file.starts_with(place.path().join("data"))).collect();
    for pack in &packs {
        let mut bytes = fs::read(pack).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(pack, bytes).unwrap();
    }
    let complaints = complaints(place.path());
    for pack in &packs {
        let name = pack.file_name().unwrap().to_str().unwrap();
        assert!(
            complaints.iter().any(|it| it.contains(name) && it.contains("is damaged")),
            "{name}: {complaints:?}"
        );
    }
}

#[test]
fn half_a_repository_is_told_apart_from_none() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path().join("repository");
    assert!(!Repository::exists(&*local(&at)).unwrap());
    drop(made(&at));
    assert!(Repository::exists(&*local(&at)).unwrap());
    let (config, aside) = (at.join("config"), place.path().join("config"));
    fs::rename(&config, &aside).unwrap();
    let told = Repository::exists(&*local(&at)).unwrap_err().to_string();
    assert!(told.ends_with("it has a key and no config"), "{told}");
    assert!(Repository::init(local(&at), &password()).is_err());
    fs::rename(&aside, &config).unwrap();
    fs::remove_dir_all(at.join("keys")).unwrap();
    let told = Repository::exists(&*local(&at)).unwrap_err().to_string();
    assert!(told.ends_with("it has a config and no key"), "{told}");
}

/// What is lost is lost to the backups that had it; the next one is whole, and restic says so too.
#[test]
fn after_packs_were_set_aside_restic_finds_the_next_backup_whole() {
    let place = tempfile::tempdir().unwrap();
    let (at, target) = (place.path().join("repository"), place.path().join("restored"));
    let repository = made(&at);
    let files = Files::made_of(5, 2);
    let first = saved(&repository, &files);
    let packs: Vec<PathBuf> =
        crate::support::tree(&at).into_keys().filter(|path| path.starts_with("data")).collect();
    for (number, pack) in packs.iter().enumerate() {
        let pack = at.join(pack);
        let mut bytes = fs::read(&pack).unwrap();
        bytes[40] ^= 1;
        fs::remove_file(&pack).unwrap();
        if number > 0 {
            fs::write(&pack, bytes).unwrap();
        }
    }
    let found = repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap();
    assert_eq!(found.packs.len(), packs.len());
    let aside = repository.set_aside(&found.packs).unwrap();
    assert_eq!(aside.packs.len(), packs.len());
    let second = saved(&repository, &files);
    let of_second = repository.check(Depth::Data(1.0), Some(&second.id), &Arc::default()).unwrap();
    assert_eq!(of_second.faults, [""; 0]);
    assert!(of_second.elsewhere.iter().all(|fault| fault.contains(&first.id)), "{of_second:?}");
    repository.prune(&[first.id], Removal::Marked, &Arc::default()).unwrap();
    let checked = restic(&at, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    restic(&at, &["restore", &second.id, "--verify", "--target", target.to_str().unwrap()]);
    assert_eq!(crate::support::tree(&target), files.0);
}
