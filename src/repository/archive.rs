//! A [`Source`] as rustic reads it, and what is known of it afterwards.
//!
//! rustic's archiver (0.13, `archiver.rs`) pulls entries on one thread, at most twice as many ahead
//! as there are cores, and reads them on as many threads as there are cores, in the order in which
//! they came. An opener may therefore wait until the readers of earlier entries are gone, on one core
//! too: each earlier entry was taken by a thread before, and is dropped there when it has been read,
//! or was found unchanged. Only the last entry may wait for all others.

use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind as IoErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult};

use super::gate::{Fault, Gate};
use super::sizes::Sizes;
use super::source::{Entry, Opener, Source};

/// What of a file is read ahead, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// What went through.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Files that were offered.
    pub(super) files: u64,
    /// The source came to its end.
    pub(super) complete: bool,
    /// Sizes that were not what was said beforehand.
    pub(super) sizes: Sizes,
}

impl Tally {
    fn note(&self, note: impl FnOnce(&mut Counts)) {
        note(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Adapter {
    pub(super) source: Arc<dyn Source>,
    pub(super) gate: Arc<Gate>,
    pub(super) tally: Arc<Tally>,
}

impl ReadSource for Adapter {
    type Open = Opened;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(Some(self.source.size()))
    }

    fn entries(&self) -> Entries {
        Entries {
            offered: self.source.entries(),
            ready: VecDeque::new(),
            last: PathBuf::new(),
            gate: Arc::clone(&self.gate),
            tally: Arc::clone(&self.tally),
        }
    }
}

/// Entries with the directories on the way to them. It ends early when the gate is shut: rustic
/// would go through all that is left, and open it.
pub(super) struct Entries {
    offered: Box<dyn Iterator<Item = io::Result<Entry>> + Send>,
    ready: VecDeque<ReadSourceEntry<Opened>>,
    last: PathBuf,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
}

impl Entries {
    fn pull(&mut self) -> Result<(), Fault> {
        self.gate.open()?;
        match self.offered.next() {
            None => self.tally.note(|counts| counts.complete = true),
            Some(Err(error)) => {
                return Err(Fault::Source(format!("cannot list what is to be saved: {error}")));
            }
            Some(Ok(entry)) => {
                self.checked(&entry.path)?;
                self.directories(&entry.path);
                self.last.clone_from(&entry.path);
                self.file(entry)?;
            }
        }
        Ok(())
    }

    /// rustic and restic rely on the order; a path that leads elsewhere would be restored there.
    fn checked(&self, path: &Path) -> Result<(), Fault> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let ordered =
            path > self.last.as_path() && !path.starts_with(&self.last) || self.last == Path::new("");
        if plain && ordered && path.file_name().is_some() {
            return Ok(());
        }
        let last = self.last.display();
        Err(Fault::Source(format!("the entry {} cannot come after {last}: this is a defect", path.display())))
    }

    /// Always the same, so that trees change only with what is in them; private, because a restored
    /// tree has secrets in it.
    fn directories(&mut self, path: &Path) {
        let mut new: Vec<&Path> = path.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        new.retain(|directory| !self.last.starts_with(directory));
        for directory in new.into_iter().rev() {
            let Some(name) = directory.file_name() else { continue };
            let node = Node::new_node(name, NodeType::Dir, metadata(0o700, Timestamp::UNIX_EPOCH));
            self.ready.push_back(ReadSourceEntry { path: directory.to_owned(), node, open: None });
        }
    }

    fn file(&mut self, entry: Entry) -> Result<(), Fault> {
        let size = entry.size.unwrap_or(0);
        let mut meta = match entry.stamp {
            Some(stamp) => Metadata { inode: stamp.inode, ..metadata(stamp.mode & 0o777, stamp.modified) },
            // Neither time nor inode are those of any file before: it is never taken as unchanged.
            None => Metadata { inode: any_inode()?, ..metadata(0o600, Timestamp::now()) },
        };
        meta.size = size;
        meta.links = 1;
        // `checked`: it has a name.
        let name = entry.path.file_name().unwrap_or_default();
        let node = Node::new_node(name, NodeType::File, meta);
        let path = entry.path.clone();
        let open = Opened {
            open: entry.open,
            path: entry.path,
            size,
            gate: Arc::clone(&self.gate),
            tally: Arc::clone(&self.tally),
        };
        self.tally.note(|counts| counts.files += 1);
        self.ready.push_back(ReadSourceEntry { path, node, open: Some(open) });
        Ok(())
    }
}

/// Without access time restic would set one before 1970.
fn metadata(mode: u32, modified: Timestamp) -> Metadata {
    let time = Some(modified);
    Metadata { mode: Some(mode), mtime: time, atime: time, ctime: time, ..Metadata::default() }
}

fn any_inode() -> Result<u64, Fault> {
    getrandom::u64().map_err(|error| Fault::Source(format!("the kernel gives no random bytes: {error}")))
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Opened>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty()
            && let Err(fault) = self.pull()
        {
            self.gate.shut(fault);
        }
        self.ready.pop_front().map(Ok)
    }
}

/// An entry on its way to one of rustic's reading threads.
pub(super) struct Opened {
    open: Opener,
    path: PathBuf,
    size: u64,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
}

impl ReadSourceOpen for Opened {
    type Reader = Filling;

    fn open(self) -> RusticResult<Filling> {
        let opened = going_on(&self.gate).and_then(|()| (self.open)());
        let inner = opened.map_err(|error| {
            self.gate.shut(unreadable(&self.path, &error));
            RusticError::with_source(ErrorKind::InputOutput, "cannot be opened", error)
        })?;
        Ok(Filling {
            inner: BufReader::with_capacity(READ_AHEAD, inner),
            path: self.path,
            expected: self.size,
            read: 0,
            ended: false,
            gate: self.gate,
            tally: self.tally,
        })
    }
}

fn going_on(gate: &Gate) -> io::Result<()> {
    gate.open().map_err(|_| io::Error::other("the backup was given up"))
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::Source(format!("cannot read {}: {error}", path.display()))
}

/// Gives as much as is asked for, until the end: rustic's chunker shrinks its buffer for good after
/// a short read. An error shuts the gate, and so does being dropped before the end.
pub(super) struct Filling {
    inner: BufReader<Box<dyn Read + Send>>,
    path: PathBuf,
    expected: u64,
    read: u64,
    ended: bool,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
}

impl Filling {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            going_on(&self.gate)?;
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn end(&mut self) {
        self.ended = true;
        if self.read != self.expected {
            self.tally.note(|counts| counts.sizes.insert(&self.path, self.read));
        }
    }
}

impl Read for Filling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = self.fill(buffer).inspect_err(|error| self.gate.shut(unreadable(&self.path, error)))?;
        self.read += filled as u64;
        if filled == 0 && !buffer.is_empty() && !self.ended {
            self.end();
        }
        Ok(filled)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.ended {
            let message = format!("{} was not read to its end", self.path.display());
            self.gate.shut(Fault::Source(message));
        }
    }
}
