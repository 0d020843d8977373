//! Where the files of a repository lie.

pub mod http;
pub mod local;
#[cfg(test)]
pub mod memory;
pub mod patience;
pub mod rest;
pub mod s3;
pub mod sftp;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::failure::{Failure, Result};
use crate::secret::Secret;
use crate::site::backup::Place;
use http::Limits;
use local::Local;
use patience::Patient;
use rest::Rest;
use s3::{Bucket, S3};
use sftp::SftpStore;

/// What it takes to be let in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Of ssh: the private key and the file with the server's key.
    pub ssh_key: PathBuf,
    pub known_hosts: PathBuf,
    /// Of S3: the access key's identifier and the secret one. Of REST: user and password.
    pub credentials: Option<(String, Secret)>,
    /// Certificates in PEM that certify the server, where it is not a public one.
    pub roots_pem: Option<String>,
}

/// The place that the site file names. Nothing is connected before the first call.
pub fn open(place: &Place, access: &Access) -> Result<Arc<dyn Store>> {
    if let Some(store) = SftpStore::at(place, access) {
        return Ok(Arc::new(Patient::new(store)));
    }
    match place {
        Place::Local { path } => Ok(Arc::new(Local::new(path))),
        Place::S3 { endpoint, bucket, prefix, region } => {
            let bucket = Bucket { endpoint, name: bucket, prefix, region };
            Ok(Arc::new(Patient::new(S3::new(bucket, access, Limits::default())?)))
        }
        Place::Rest { url } => Ok(Arc::new(Patient::new(Rest::new(url, access, Limits::default())?))),
        Place::Sftp { .. } | Place::Drop { .. } => Err(Failure::failed("this place is none of ssh")),
    }
}

/// A place that takes whole sealed exports and shows nothing of what it has.
pub trait DropBox: Send + 'static {
    /// Sends everything under a new name; returns its bytes. What was cut short does not count there.
    /// Blocks. It is not tried again: the content cannot be read twice.
    fn deposit(&self, name: &str, content: &mut dyn Read) -> StoreResult<u64>;
}

/// The drop directory that the site file names. Nothing is connected before the first call.
pub fn drop_box(place: &Place, access: &Access) -> Result<Box<dyn DropBox>> {
    match SftpStore::at(place, access) {
        Some(store) => Ok(Box::new(store)),
        None => Err(Failure::failed("this place takes no exports")),
    }
}

/// The kinds of file of restic's repository format (its design document, "Repository Layout").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    Config,
    Key,
    Snapshot,
    Index,
    Pack,
    Lock,
}

/// What the format calls a file: 64 lower-case hexadecimal digits (`config` apart).
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FileKind {
    pub const ALL: [FileKind; 6] = [
        FileKind::Config,
        FileKind::Key,
        FileKind::Snapshot,
        FileKind::Index,
        FileKind::Pack,
        FileKind::Lock,
    ];

    /// Its directory; `config` is a file.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            FileKind::Config => "config",
            FileKind::Key => "keys",
            FileKind::Snapshot => "snapshots",
            FileKind::Index => "index",
            FileKind::Pack => "data",
            FileKind::Lock => "locks",
        }
    }

    /// Where a file lies below the repository; packs are spread over directories named by two digits.
    #[must_use]
    pub fn path(self, name: &str) -> String {
        match self {
            FileKind::Config => "config".to_owned(),
            FileKind::Pack => format!("data/{}/{name}", name.get(..2).unwrap_or(name)),
            _ => format!("{}/{name}", self.directory()),
        }
    }
}

/// What went wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such file.
    Absent,
    /// There is one of this name already.
    Exists,
    /// The place refuses: wrong credentials, or a file that may only be added.
    Denied,
    /// No space, or a quota is used up.
    Full,
    /// What is there is not what was written.
    Damaged,
    /// The connection failed or broke; another attempt may succeed.
    Connection,
    Other,
}

#[derive(Debug, Clone, thiserror::Error)]
pub struct StoreError {
    pub trouble: Trouble,
    /// What did not work and why, in one sentence.
    pub message: String,
}

impl StoreError {
    pub fn new(trouble: Trouble, message: impl Into<String>) -> StoreError {
        StoreError { trouble, message: message.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub type StoreResult<T> = std::result::Result<T, StoreError>;

/// A place for the files of one repository. Calls block, and come from several threads at once.
/// Names are what the format says, 64 hexadecimal digits: an implementation lists nothing else.
pub trait Store: Send + Sync + 'static {
    /// As people write it, without secrets.
    fn location(&self) -> String;

    /// Names with their sizes in bytes. A directory that does not exist is empty. Of
    /// [`FileKind::Config`] there is at most one, named `config`.
    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>>;

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes>;

    /// Exactly `length` bytes from `offset`.
    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes>;

    /// The parts one after the other become a new file. It is durable when this returns; until then,
    /// where the place knows renaming, nothing has this name. A file of this name is never replaced:
    /// when it has the same length, it is what an attempt before has left, and this succeeds.
    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()>;

    /// What is gone already is no error.
    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()>;

    /// Makes the directories of a new repository.
    fn create(&self) -> StoreResult<()>;

    /// Bytes that may still be written; `None` where nobody can tell.
    fn free(&self) -> StoreResult<Option<u64>>;
}

/// What a write that found a file of `size` bytes makes of it: one of its own length was left by an
/// attempt before.
fn left_before(store: &dyn Store, kind: FileKind, name: &str, size: u64, length: u64) -> StoreResult<()> {
    if size == length {
        return Ok(());
    }
    let (place, path) = (store.location(), kind.path(name));
    let message = format!("{place} has another `{path}` already, of {size} bytes instead of {length}");
    Err(StoreError::new(Trouble::Exists, message))
}
