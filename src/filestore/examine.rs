//! A live filestore against the rows that name its files.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use sha1::{Digest, Sha1};

use super::CHECKLIST;
use super::beneath::{self, Finder};
use super::farm::open_filestore;
use super::named::{Named, digest_in};
use super::walk::Walk;
use crate::failure::{Context, Failure, Result};

/// Files that a thread takes at once: neighbours of one directory.
const BATCH: usize = 32;
/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// How the filestore of a database stands against its rows. Lists are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// Files that are there, and their bytes.
    pub files: u64,
    pub bytes: u64,
    pub missing: Vec<String>,
    /// Files whose content does not have the SHA-1 that is their name.
    pub altered: Vec<String>,
    /// Files whose length is not what their row tells, all of them altered ones too where the name
    /// says what the content should be.
    pub truncated: Vec<String>,
    /// Files that no row names: Odoo's collector takes them away in time.
    pub orphans: u64,
    pub orphan_bytes: u64,
}

impl Standing {
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !(self.missing.is_empty() && self.altered.is_empty() && self.truncated.is_empty())
    }
}

/// Reads every file that rows name, on as many threads as the machine has cores. `volume` is the
/// directory of Odoo's volume on this host; `named` is sorted by name. `done` counts bytes; `stop`, set
/// from outside, makes it fail soon. A file that cannot be read is an error. A filestore that serves
/// meanwhile may lose a file whose row has gone since: ask again about what is missing.
pub fn examine(
    volume: &Path,
    database: &str,
    named: &[Named],
    done: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Standing> {
    let doing = || format!("cannot examine the filestore of {database}");
    let Some(filestore) = open_filestore(volume, database).context(doing())? else {
        let missing = named.iter().map(|named| named.name.clone()).collect();
        return Ok(Standing { missing, ..Standing::default() });
    };
    let work = Work { filestore: Arc::new(filestore), named, next: AtomicUsize::new(0), done, stop };
    let mut standing = work.on_every_core().context(doing())?;
    if stop.load(Ordering::Relaxed) {
        return Err(Failure::failed("stopped before every attachment was examined"));
    }
    (standing.orphans, standing.orphan_bytes) = orphans(work.filestore, named, stop).context(doing())?;
    Ok(standing)
}

struct Work<'a> {
    filestore: Arc<OwnedFd>,
    named: &'a [Named],
    /// The first that no thread has taken.
    next: AtomicUsize,
    done: &'a AtomicU64,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    fn on_every_core(&self) -> io::Result<Standing> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parts: io::Result<Vec<Standing>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.on_one_core())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        Ok(parts?.into_iter().fold(Standing::default(), merged))
    }

    fn on_one_core(&self) -> io::Result<Standing> {
        let (mut standing, mut buffer) = (Standing::default(), vec![0; BUFFER]);
        let mut finder = Finder::new(self.filestore.clone());
        loop {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed).min(self.named.len());
            let batch = &self.named[first..self.named.len().min(first + BATCH)];
            if batch.is_empty() {
                return Ok(standing);
            }
            for named in batch {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(standing);
                }
                let looked = self.look(named, &mut finder, &mut buffer, &mut standing);
                // Nobody needs the rest once one file could not be read.
                looked.inspect_err(|_| self.next.store(self.named.len(), Ordering::Relaxed)).map_err(
                    |error| io::Error::new(error.kind(), format!("cannot read {}: {error}", named.name)),
                )?;
            }
        }
    }

    fn look(
        &self,
        named: &Named,
        finder: &mut Finder,
        buffer: &mut [u8],
        standing: &mut Standing,
    ) -> io::Result<()> {
        let Some(mut file) = open(&named.name, finder)? else {
            standing.missing.push(named.name.clone());
            return Ok(());
        };
        let (mut length, mut hasher) = (0, Sha1::new());
        loop {
            let read = file.read(buffer)?;
            // What was stopped is told to nobody.
            if read == 0 || self.stop.load(Ordering::Relaxed) {
                break;
            }
            hasher.update(&buffer[..read]);
            length += read as u64;
            self.done.fetch_add(read as u64, Ordering::Relaxed);
        }
        standing.files += 1;
        standing.bytes += length;
        if digest_in(&named.name).is_some_and(|digest| digest != *hasher.finalize()) {
            standing.altered.push(named.name.clone());
        }
        if named.size.is_some_and(|size| size != length) {
            standing.truncated.push(named.name.clone());
        }
        Ok(())
    }
}

fn open(name: &str, finder: &mut Finder) -> io::Result<Option<std::fs::File>> {
    let Some((above, file)) = beneath::parts(name) else { return Ok(None) };
    let Some(directory) = finder.find(above)? else { return Ok(None) };
    match beneath::file(&*directory, file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn merged(mut all: Standing, part: Standing) -> Standing {
    all.files += part.files;
    all.bytes += part.bytes;
    for (into, from) in [
        (&mut all.missing, part.missing),
        (&mut all.altered, part.altered),
        (&mut all.truncated, part.truncated),
    ] {
        into.extend(from);
        into.sort_unstable();
    }
    all
}

fn panicked() -> io::Error {
    io::Error::other("a thread that examined attachments panicked")
}

/// Files that no row names, and their bytes. The collector's own list is none of them.
fn orphans(filestore: Arc<OwnedFd>, named: &[Named], stop: &AtomicBool) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for found in Walk::new(filestore)? {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped before everything was looked at"));
        }
        let found = found?;
        let is_named = named.binary_search_by(|named| named.name.as_str().cmp(&found.path)).is_ok();
        if is_named || found.path.split('/').next() == Some(CHECKLIST) {
            continue;
        }
        match found.stat() {
            // The collector was here meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            stat => {
                files += 1;
                bytes += stat?.size;
            }
        }
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha1_name(content: &[u8]) -> String {
        use std::fmt::Write;
        let mut digits = String::new();
        for byte in Sha1::digest(content) {
            write!(digits, "{byte:02x}").unwrap();
        }
        format!("{}/{digits}", &digits[..2])
    }

    struct Filestore {
        volume: tempfile::TempDir,
        named: Vec<Named>,
    }

    impl Filestore {
        /// `count` good files.
        fn of(count: usize) -> Filestore {
            let mut filestore = Filestore { volume: tempfile::tempdir().unwrap(), named: Vec::new() };
            for number in 0..count {
                let content = format!("content {number}").into_bytes();
                filestore.write(&sha1_name(&content), &content);
                filestore.name(&sha1_name(&content), content.len());
            }
            filestore
        }

        fn write(&self, name: &str, content: &[u8]) {
            let path = self.volume.path().join("filestore/acme").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn name(&mut self, name: &str, size: usize) {
            self.named.push(Named { name: name.to_owned(), size: Some(size as u64) });
            self.named.sort();
        }

        fn examine(&self) -> (Standing, u64) {
            let done = AtomicU64::new(0);
            let standing =
                examine(self.volume.path(), "acme", &self.named, &done, &AtomicBool::new(false)).unwrap();
            (standing, done.into_inner())
        }
    }

    #[test]
    fn a_whole_filestore() {
        let filestore = Filestore::of(500);
        let (standing, done) = filestore.examine();
        assert!(!standing.is_damaged(), "{standing:?}");
        assert_eq!((standing.files, standing.bytes, standing.orphans), (500, done, 0));
    }

    #[test]
    fn every_kind_of_damage_is_told_apart() {
        let mut filestore = Filestore::of(100);
        let [altered, short, gone] = [b"alter", b"short", b"gone!"].map(|content| sha1_name(content));
        for name in [&altered, &short, &gone] {
            filestore.name(name, 5);
        }
        filestore.name("../../secret", 3);
        filestore.write("../../secret", b"key");
        filestore.write(&altered, b"ALTER");
        filestore.write(&short, b"shor");
        filestore.write("ff/orphan", b"1234567");
        filestore.write("checklist/ff/orphan", b"");
        let (standing, _) = filestore.examine();
        let mut both = [altered, short.clone()];
        both.sort();
        assert_eq!(standing.altered, both);
        assert_eq!(standing.truncated, [short]);
        assert_eq!(standing.missing, ["../../secret".to_owned(), gone]);
        assert_eq!((standing.files, standing.orphans, standing.orphan_bytes), (102, 1, 7));
    }

    #[test]
    fn no_filestore_at_all() {
        let volume = tempfile::tempdir().unwrap();
        let filestore = Filestore { volume, named: vec![Named { name: "aa/a".into(), size: None }] };
        assert_eq!(filestore.examine().0.missing, ["aa/a"]);
    }

    #[test]
    fn it_can_be_stopped() {
        let filestore = Filestore::of(10);
        let stop = AtomicBool::new(true);
        let failure = examine(filestore.volume.path(), "acme", &filestore.named, &AtomicU64::new(0), &stop);
        assert!(failure.unwrap_err().message.starts_with("stopped"));
    }
}
