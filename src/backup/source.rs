//! What goes into a backup: entries that are read when their turn comes.

use std::io::{self, Read};
use std::path::PathBuf;

use jiff::Timestamp;

/// A reader that is opened on another thread than the one that offers it.
pub type Opener = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// A file of a backup. Entries come in the order of their paths, compared component by component.
pub struct Entry {
    /// Below the backup, such as `databases/acme/dump.pgdump`.
    pub path: PathBuf,
    /// Bytes, when known before it is read.
    pub size: Option<u64>,
    /// Of a file on the disk; `None` of what is made while it is read, which is always read anew.
    pub stamp: Option<Stamp>,
    pub open: Opener,
}

/// By which a file that has not changed since the last backup is known. It is not read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub modified: Timestamp,
    pub inode: u64,
    /// Permission bits.
    pub mode: u32,
}

/// Can be gone through once for each target.
pub trait Source: Send + Sync {
    /// An error fails the backup.
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send>;

    /// Bytes in all, as far as they are known beforehand.
    fn size(&self) -> u64;
}
