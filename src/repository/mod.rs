//! Repositories in restic's format (its design document, "Repository Format"), by `rustic_core`.
//!
//! What the library does not promise by itself is held here: a backup whose source failed is never
//! saved, streams are always read and have their true size, short reads are joined, and a snapshot
//! that cannot be read is told apart from a repository that cannot.

mod archive;
mod backend;
mod browse;
mod check;
mod crypto;
mod fault;
mod gate;
mod key;
mod locks;
mod mend;
mod packing;
mod prune;
mod save;
mod sizes;
pub mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::repofile::{ConfigFile, MasterKey, SnapshotFile, SnapshotId};
use rustic_core::{
    ConfigOptions, Credentials, Id, KeyOptions, OpenStatus, RepositoryBackends, RepositoryOptions,
    RusticError, RusticResult,
};

use crate::backup::shrink::is_ahead;
pub use crate::backup::source;
use crate::failure::{Context, Failure, Kind, Result};
use crate::secret::Secret;
use crate::site::backup::Keep;
use backend::Backend;
use browse::Browser;
use check::Check;
pub use check::Checked;
use crypto::Cipher;
use gate::{Bars, Gate};
pub use mend::SetAside;
use source::Source;
use store::{FileKind, Store, Trouble};

/// Bytes of a pack. Up to six are in memory while a slow place takes them (rustic's packer is a
/// chain of stages with one each); at 16 MiB that is 96 MiB, and 10 GB are 640 files.
const DATA_PACK: u32 = 16 << 20;
/// The same for packs of directories.
const TREE_PACK: u32 = 4 << 20;

/// The reason of a backup that stays because its time has not come.
const FUTURE: &str = "dated in the future";

/// How far a running operation is, and whether it is to stop. Shared with the thread that watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes (of a backup or a check with reading) or files.
    pub done: AtomicU64,
    /// 0 while it is not known.
    pub total: AtomicU64,
    /// Set from outside: the operation fails as soon as it can.
    pub stop: AtomicBool,
}

/// What a new snapshot is called.
#[derive(Debug, Clone)]
pub struct Label {
    /// restic's `host`: the site's name.
    pub site: String,
    pub tags: Vec<String>,
    pub time: Timestamp,
}

/// A snapshot that was saved.
#[derive(Debug, Clone)]
pub struct Saved {
    /// 64 hexadecimal digits.
    pub id: String,
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes that the repository did not have yet, as stored.
    pub added: u64,
}

/// A snapshot that is there.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub id: String,
    pub time: Timestamp,
    pub host: String,
    pub tags: Vec<String>,
}

/// What a repository holds.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
    /// What is to be said of files among the snapshots that are none, half written or damaged: a
    /// sentence each.
    pub unreadable: Vec<String>,
}

impl Listing {
    /// The site's newest backup. One of the future counts only where there is no other: the clock was
    /// wrong when it was made, or is wrong now.
    #[must_use]
    pub fn newest(&self, site: &str, now: Timestamp) -> Option<&Snapshot> {
        let ours = || self.snapshots.iter().filter(|snapshot| snapshot.host == site);
        let come = ours().filter(|snapshot| !is_ahead(snapshot.time, now));
        come.max_by_key(|snapshot| snapshot.time).or_else(|| ours().max_by_key(|snapshot| snapshot.time))
    }
}

/// A file or directory of a snapshot.
#[derive(Debug, Clone)]
pub struct Node {
    pub path: PathBuf,
    pub size: u64,
    pub is_directory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Depth {
    /// Indexes, packs by name and size, trees.
    Structure,
    /// Also every blob of this share of the packs, 0 to 1: decrypted and hashed.
    Data(f64),
}

/// What `prune` does to one snapshot, and why.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub snapshot: Snapshot,
    pub keep: bool,
    /// restic's words: `daily`, `within`, ….
    pub reasons: Vec<String>,
}

/// When what nobody needs is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is marked, and removed by a prune 23 hours later: other hosts may be writing meanwhile.
    Marked,
    /// At once. Nobody else may be writing.
    Now,
}

/// What a prune removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pruned {
    pub snapshots: u64,
    /// Bytes.
    pub freed: u64,
    /// Bytes that nothing needs any more, which a prune at least 23 hours later frees.
    pub marked: u64,
}

/// An open repository. Every call blocks.
pub struct Repository {
    store: Arc<dyn Store>,
    master: MasterKey,
    cipher: Cipher,
    id: String,
    /// The repository's, encrypted, with our pack sizes.
    config: Bytes,
    cache: Option<PathBuf>,
    /// Set by the first walk or read, until something is written.
    browser: Mutex<Option<Arc<Browser>>>,
}

impl Repository {
    /// Whether there is one; half of one is an error that says what is missing.
    pub fn exists(store: &dyn Store) -> Result<bool> {
        let is_there = |kind| store.list(kind).map(|files| !files.is_empty());
        let place = store.location();
        match (is_there(FileKind::Config)?, is_there(FileKind::Key)?) {
            (true, true) => Ok(true),
            (true, false) => Err(half(&place, "it has a config and no key", "keys")),
            (false, true) => Err(half(&place, "it has a key and no config", "config")),
            (false, false) if is_there(FileKind::Snapshot)? || is_there(FileKind::Index)? => {
                Err(half(&place, "it has backups, but neither config nor key", "config and keys"))
            }
            (false, false) => Ok(false),
        }
    }

    /// Makes one. Fails where there is one.
    pub fn init(store: Arc<dyn Store>, password: &Secret) -> Result<Repository> {
        if Repository::exists(&*store)? {
            return Err(Failure::failed(format!("there is a repository at {} already", store.location())));
        }
        let master = MasterKey::new();
        store.create()?;
        key::write(&*store, &master, password)?;
        let gate = Gate::new(&Arc::default());
        let made =
            closed(Backend::new(&store, &gate), Bars::bytes(&Arc::default()), None).and_then(|repository| {
                let credentials = Credentials::Masterkey(master.clone());
                repository.init(&credentials, &KeyOptions::default(), &ConfigOptions::default())
            });
        let made = made.map_err(|error| fault::failure("cannot make the repository", &error))?;
        Repository::of(store, master, &made, None)
    }

    /// `cache`: a directory of this host for indexes and snapshots.
    pub fn open(store: Arc<dyn Store>, password: &Secret, cache: Option<&Path>) -> Result<Repository> {
        if !Repository::exists(&*store)? {
            return Err(Failure::failed(format!("there is no repository at {}", store.location())));
        }
        let gate = Gate::new(&Arc::default());
        let credentials = Credentials::password(password.expose());
        let opened = closed(Backend::new(&store, &gate), Bars::bytes(&Arc::default()), None)
            .and_then(|repository| repository.open(&credentials));
        let opened = opened.map_err(|error| not_opened(&*store, &error))?;
        let master = opened.key();
        Repository::of(store, master, &opened, cache)
    }

    fn of(
        store: Arc<dyn Store>,
        master: MasterKey,
        opened: &rustic_core::Repository<OpenStatus>,
        cache: Option<&Path>,
    ) -> Result<Repository> {
        let cipher = Cipher::of(&master)?;
        let id = opened.config().id.to_hex().as_str().to_owned();
        let config = serde_json::to_vec(&with_pack_sizes(opened.config())).context("cannot write JSON")?;
        let config = Bytes::from(cipher.encrypt(&config)?);
        let cache = cache.map(Path::to_owned);
        Ok(Repository { store, master, cipher, id, config, cache, browser: Mutex::default() })
    }

    /// The identity in its `config`.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Saves everything in `source`, or nothing that looks like a backup.
    pub fn back_up(&self, source: Arc<dyn Source>, label: &Label, progress: &Arc<Progress>) -> Result<Saved> {
        self.forget_index();
        save::back_up(self, source, label, progress)
    }

    pub fn snapshots(&self) -> Result<Listing> {
        let (files, unreadable) = self.snapshot_files(self.cache.as_deref())?;
        Ok(Listing { snapshots: files.iter().map(snapshot).collect(), unreadable })
    }

    /// Everything below `directory` (`""`: all), parents before their children.
    pub fn walk(
        &self,
        snapshot: &str,
        directory: &str,
        found: &mut dyn FnMut(Node) -> Result<()>,
    ) -> Result<()> {
        self.browser()?.walk(snapshot, Path::new(directory), found)
    }

    pub fn has_directory(&self, snapshot: &str, directory: &str) -> Result<bool> {
        self.browser()?.has_directory(snapshot, Path::new(directory))
    }

    /// The content of one file, or of one found by [`walk`](Self::walk).
    pub fn read(&self, snapshot: &str, path: &str, into: &mut dyn Write) -> Result<()> {
        self.browser()?.read(snapshot, Path::new(path), into)
    }

    /// Looks for faults of the repository, and of one backup or of all.
    pub fn check(&self, depth: Depth, of: Option<&str>, progress: &Arc<Progress>) -> Result<Checked> {
        let (files, unreadable) = self.snapshot_files(None)?;
        let trees: Vec<_> = files.iter().map(|file| (file.tree, hex(&file.id))).collect();
        let mut checked = Check::new(&*self.store, &self.cipher, progress).run(&trees, depth, of)?;
        checked.faults.splice(..0, unreadable);
        Ok(checked)
    }

    /// Takes these packs out of the index where they are damaged or gone, so that the next backup stores
    /// anew what was in them. Nothing else may write there meanwhile.
    pub fn set_aside(&self, packs: &BTreeSet<String>) -> Result<SetAside> {
        self.forget_index();
        mend::set_aside(self, packs)
    }

    /// What [`prune`](Self::prune) would keep and forget, newest first. Nobody knows the age of what is of
    /// the future: it stays, and takes no other one's place.
    pub fn judge(&self, keep: &Keep, site: &str, now: Timestamp) -> Result<Vec<Verdict>> {
        let (mut files, _) = self.snapshot_files(self.cache.as_deref())?;
        files.retain(|file| file.hostname == site);
        let (future, files): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| is_ahead(file.time.timestamp(), now));
        let spared = future.iter().rev().map(|file| Verdict {
            snapshot: snapshot(file),
            keep: true,
            reasons: vec![FUTURE.to_owned()],
        });
        let judged = prune::judge(files, keep, now)?;
        Ok(spared.chain(judged).collect())
    }

    /// Forgets these snapshots, and removes what no snapshot needs any more.
    pub fn prune(&self, forget: &[String], removal: Removal, progress: &Arc<Progress>) -> Result<Pruned> {
        self.forget_index();
        prune::prune(self, forget, removal, progress)
    }

    /// rustic's repository for one operation. It costs nothing: the key and the `config` are known.
    fn session(
        &self,
        gate: &Arc<Gate>,
        bars: Bars,
        cache: Option<&Path>,
    ) -> Result<rustic_core::Repository<OpenStatus>> {
        self.session_on(Backend::new(&self.store, gate), bars, cache)
    }

    fn session_on(
        &self,
        backend: Backend,
        bars: Bars,
        cache: Option<&Path>,
    ) -> Result<rustic_core::Repository<OpenStatus>> {
        let credentials = Credentials::Masterkey(self.master.clone());
        let opened = closed(backend.with_config(&self.config), bars, cache)
            .and_then(|repository| repository.open(&credentials));
        opened.map_err(|error| not_opened(&*self.store, &error))
    }

    /// Snapshots, oldest first, and what is to be said of the files that are none.
    fn snapshot_files(&self, cache: Option<&Path>) -> Result<(Vec<SnapshotFile>, Vec<String>)> {
        let (files, unreadable) = self.snapshot_files_once(cache)?;
        if cache.is_none() || unreadable.is_empty() {
            return Ok((files, unreadable));
        }
        // It may be the cache that is damaged.
        self.snapshot_files_once(None)
    }

    fn snapshot_files_once(&self, cache: Option<&Path>) -> Result<(Vec<SnapshotFile>, Vec<String>)> {
        let gate = Gate::new(&Arc::default());
        let session = self.session(&gate, Bars::bytes(&Arc::default()), cache)?;
        let listed = session.list::<SnapshotId>();
        let listed = listed.map_err(|error| fault::failure("cannot list the backups", &error))?;
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for id in listed {
            match session.get_file::<SnapshotFile>(&id) {
                Ok(file) => files.push(SnapshotFile { id, ..file }),
                Err(error) => match fault::store_error(&error).map(|error| error.trouble) {
                    // It was removed meanwhile.
                    Some(Trouble::Absent) => {}
                    Some(Trouble::Connection) => {
                        return Err(fault::failure("cannot list the backups", &error));
                    }
                    _ => unreadable.push(not_read(&id, &error)),
                },
            }
        }
        files.sort_by(|one, other| one.time.cmp(&other.time));
        Ok((files, unreadable))
    }

    /// Without the cache: whoever restores wants what the repository has.
    fn browser(&self) -> Result<Arc<Browser>> {
        let mut browser = self.browser.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(browser) = &*browser {
            return Ok(Arc::clone(browser));
        }
        let quiet = Arc::default();
        let indexed = self.session(&Gate::new(&quiet), Bars::bytes(&quiet), None)?.to_indexed();
        let indexed = indexed.map_err(|error| index_not_read(&error))?;
        Ok(Arc::clone(browser.insert(Arc::new(Browser::new(indexed)))))
    }

    fn forget_index(&self) {
        *self.browser.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What `read` makes of a session, mostly of its index. A cache that is damaged must not stand in
    /// the way of a sound repository: it is emptied, once.
    fn indexed<T>(
        &self,
        gate: &Arc<Gate>,
        bars: impl Fn() -> Bars,
        read: impl Fn(rustic_core::Repository<OpenStatus>) -> RusticResult<T>,
    ) -> Result<T> {
        let cache = self.cache.as_deref();
        let first = read(self.session(gate, bars(), cache)?);
        let indexed = match (first, cache) {
            (Err(error), Some(cache)) if fault::store_error(&error).is_none() => {
                // What cannot be removed is read again, and fails again.
                let _ = std::fs::remove_dir_all(cache.join(&self.id));
                read(self.session(gate, bars(), Some(cache))?)
            }
            (first, _) => first,
        };
        indexed.map_err(|error| index_not_read(&error))
    }
}

fn index_not_read(error: &RusticError) -> Failure {
    fault::failure("cannot read what the repository holds", error)
}

/// rustic's repository before it is opened.
fn closed(backend: Backend, bars: Bars, cache: Option<&Path>) -> RusticResult<rustic_core::Repository<()>> {
    let mut options = RepositoryOptions::default();
    options.no_cache = cache.is_none();
    options.cache_dir = cache.map(Path::to_owned);
    rustic_core::Repository::new_with_progress(
        &options,
        &RepositoryBackends::new(Arc::new(backend), None),
        bars,
    )
}

/// rustic's packs grow with the repository, and memory with them: ours have a fixed size. Nothing is
/// written of that: the repository may have been made by the `restic` program, and be used by it.
fn with_pack_sizes(config: &ConfigFile) -> ConfigFile {
    ConfigFile {
        datapack_size: Some(DATA_PACK),
        datapack_growfactor: Some(0),
        treepack_size: Some(TREE_PACK),
        treepack_growfactor: Some(0),
        ..config.clone()
    }
}

fn half(place: &str, state: &str, missing: &str) -> Failure {
    damaged(format!("the repository at {place} is not whole: {state}")).hint(format!(
        "restore its {missing} from a copy; where no backup is in it yet, empty it and begin anew"
    ))
}

/// What is there is not what was written.
fn damaged(sentence: impl Into<String>) -> Failure {
    Failure::new(Kind::Verification, sentence)
}

fn not_opened(store: &dyn Store, error: &RusticError) -> Failure {
    let place = store.location();
    if !error.is_incorrect_password() {
        let failure = fault::failure(&format!("cannot open the repository at {place}"), error);
        // Where the place gave the files, it is they that are wrong.
        return match fault::store_error(error) {
            Some(_) => failure,
            None => Failure { kind: Kind::Verification, ..failure },
        };
    }
    match damaged_key(store) {
        Some(damage) => damaged(damage).hint("restore its keys from a copy"),
        None => Failure::failed(format!("the password is not that of the repository at {place}")),
    }
}

/// rustic tells a password that fits no key, and no key that could fit, alike.
fn damaged_key(store: &dyn Store) -> Option<String> {
    let keys = store.list(FileKind::Key).ok()?;
    keys.iter()
        .find_map(|(name, _)| backend::read_sound(store, FileKind::Key, name).err())
        .map(|it| it.message)
}

fn hex(id: &Id) -> String {
    id.to_hex().as_str().to_owned()
}

fn not_read(id: &SnapshotId, error: &RusticError) -> String {
    let sentence = fault::sentence(error);
    let name = id.to_hex();
    if sentence.contains(name.as_str()) {
        return sentence;
    }
    format!("snapshots/{} cannot be read: {sentence}", name.as_str())
}

fn snapshot(file: &SnapshotFile) -> Snapshot {
    Snapshot {
        id: hex(&file.id),
        time: file.time.timestamp(),
        host: file.hostname.clone(),
        tags: file.tags.iter().cloned().collect(),
    }
}
