//! Odoo's filestore on the disk: attachments as files `aa/SHA-1`, which are written before the row
//! that names them, and never changed (Odoo, `ir.attachment`). Read through the volume's directory
//! on this host.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use crate::failure::Result;

/// A line of [`crate::backup::layout::ATTACHMENTS`]: a file that rows name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// `aa/SHA-1`, or whatever an old database has.
    pub name: String,
    /// Bytes, as the row tells; `None` where it does not.
    pub size: Option<u64>,
}

/// Hard links to the files that a database names, in a directory of the same volume: Odoo's
/// collector can no longer take them away.
#[derive(Debug)]
pub struct Farm {
    pub directory: PathBuf,
    /// Those that were there.
    pub files: u64,
    pub bytes: u64,
    /// Those that were not.
    pub missing: Vec<String>,
}

impl Farm {
    /// Links `named` from `filestore` into the new `directory`. Names that lead out of the filestore
    /// count as missing.
    pub fn plant(_filestore: &Path, _directory: &Path, _named: &[Named]) -> Result<Farm> {
        todo!()
    }

    pub fn clear(_directory: &Path) -> Result<()> {
        todo!()
    }
}

/// Reads an attachment and, at its end, compares its SHA-1 with its name.
pub struct Checked<R> {
    pub inner: R,
}

/// Where readers note what they found.
#[derive(Debug, Default)]
pub struct Findings {
    pub altered: Mutex<Vec<String>>,
}

/// How the filestore of a database stands against its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    pub files: u64,
    pub bytes: u64,
    pub missing: Vec<String>,
    pub altered: Vec<String>,
    /// Files whose length is not what their row tells.
    pub truncated: Vec<String>,
    /// Files that no row names: Odoo's collector takes them away in time.
    pub orphans: u64,
    pub orphan_bytes: u64,
}

/// Reads every file that rows name, on as many threads as the machine has cores. `done` counts bytes.
pub fn examine(_filestore: &Path, _named: &BTreeMap<String, Named>, _done: &AtomicU64) -> Result<Standing> {
    todo!()
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(buffer)
    }
}
