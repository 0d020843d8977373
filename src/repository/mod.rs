//! Repositories in restic's format (its design document, "Repository Format"), by `rustic_core`.
//!
//! What the library does not promise by itself is held here: a backup whose source failed is never
//! saved, streams are always read, short reads are joined, and a snapshot that cannot be read is
//! told apart from a repository that cannot.

pub mod store;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use jiff::Timestamp;

pub use crate::backup::source;
use crate::failure::Result;
use crate::secret::Secret;
use crate::site::backup::Keep;
use source::Source;
use store::Store;

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
    /// Files among the snapshots that are none: half written, or damaged.
    pub unreadable: Vec<String>,
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

/// What a prune removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pruned {
    pub snapshots: u64,
    /// Bytes.
    pub freed: u64,
}

/// An open repository. Every call blocks.
pub struct Repository {
    store: Arc<dyn Store>,
}

impl Repository {
    /// Whether there is one; half of one is an error that says what is missing.
    pub fn exists(_store: &dyn Store) -> Result<bool> {
        todo!()
    }

    /// Makes one. Fails where there is one.
    pub fn init(_store: Arc<dyn Store>, _password: &Secret) -> Result<Repository> {
        todo!()
    }

    /// `cache`: a directory of this host for indexes and snapshots.
    pub fn open(_store: Arc<dyn Store>, _password: &Secret, _cache: Option<&Path>) -> Result<Repository> {
        todo!()
    }

    /// The identity in its `config`.
    #[must_use]
    pub fn id(&self) -> String {
        let _ = &self.store;
        todo!()
    }

    /// Saves everything in `source`, or nothing that looks like a backup.
    pub fn back_up(
        &self,
        _source: Arc<dyn Source>,
        _label: &Label,
        _progress: &Arc<Progress>,
    ) -> Result<Saved> {
        todo!()
    }

    pub fn snapshots(&self) -> Result<Listing> {
        todo!()
    }

    /// Everything below `directory` (`""`: all), parents before their children.
    pub fn walk(
        &self,
        _snapshot: &str,
        _directory: &str,
        _found: &mut dyn FnMut(Node) -> Result<()>,
    ) -> Result<()> {
        todo!()
    }

    /// The content of one file, or of one found by [`walk`](Self::walk).
    pub fn read(&self, _snapshot: &str, _path: &str, _into: &mut dyn Write) -> Result<()> {
        todo!()
    }

    /// Faults that were found, one sentence each; empty when there are none.
    pub fn check(&self, _depth: Depth, _progress: &Arc<Progress>) -> Result<Vec<String>> {
        todo!()
    }

    /// What [`prune`](Self::prune) would keep and forget, newest first.
    pub fn judge(&self, _keep: &Keep, _site: &str, _now: Timestamp) -> Result<Vec<Verdict>> {
        todo!()
    }

    /// Forgets these snapshots, and removes what no snapshot needs any more.
    pub fn prune(&self, _forget: &[String], _progress: &Arc<Progress>) -> Result<Pruned> {
        todo!()
    }
}
