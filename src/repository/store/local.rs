//! A directory of this host, laid out as the `restic` program's local backend does.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use rustix::io::Errno;

use super::{FileKind, Store, StoreError, StoreResult, Trouble, is_name};

/// How the names of unfinished files begin. A killed write leaves one behind.
const UNFINISHED: &str = ".unfinished-";
/// Nothing is being written for so long: an unfinished file of this age is a leftover.
const LEFT_OVER_AFTER: Duration = Duration::from_hours(24);

/// Files are 0600 and directories 0700, whatever the umask allows beyond that.
#[derive(Debug, Clone)]
pub struct Local {
    root: PathBuf,
}

impl Local {
    #[must_use]
    pub fn new(root: &Path) -> Local {
        Local { root: root.to_owned() }
    }

    fn path(&self, kind: FileKind, name: &str) -> PathBuf {
        self.root.join(kind.path(name))
    }

    /// Where files of this kind lie. Packs are spread over the directories below `data`.
    fn directories(&self, kind: FileKind) -> io::Result<Vec<PathBuf>> {
        let directory = self.root.join(kind.directory());
        if kind != FileKind::Pack {
            return Ok(vec![directory]);
        }
        let mut below: Vec<PathBuf> = entries(&directory)?.iter().map(DirEntry::path).collect();
        below.retain(|path| path.is_dir());
        Ok(below)
    }

    fn config(&self) -> io::Result<Vec<(String, u64)>> {
        match fs::metadata(self.root.join("config")) {
            Ok(found) if found.is_file() => Ok(vec![("config".to_owned(), found.len())]),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(Vec::new()),
        }
    }

    fn names(&self, kind: FileKind) -> io::Result<Vec<(String, u64)>> {
        if kind == FileKind::Config {
            return self.config();
        }
        let mut found = Vec::new();
        for directory in self.directories(kind)? {
            for entry in entries(&directory)? {
                found.extend(named(&entry)?);
            }
        }
        Ok(found)
    }

    fn make(&self) -> io::Result<()> {
        for kind in FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config) {
            make_directory(&self.root.join(kind.directory()))?;
        }
        for number in 0..=255_u8 {
            make_directory(&self.root.join(format!("data/{number:02x}")))?;
        }
        sync_directory(&self.root.join("data"))?;
        sync_directory(&self.root)
    }

    fn put(&self, path: &Path, parts: &[Bytes]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.root);
        let (temporary, file) = match create_in(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_directory(directory)?;
                create_in(directory)?
            }
            created => created?,
        };
        let put = fill(file, parts).and_then(|()| rename_new(&temporary, path));
        if put.is_err() {
            // The first error is the one to tell; a leftover is swept in a day.
            let _ = fs::remove_file(&temporary);
        }
        // Whoever relies on the file relies on its name as well.
        put.and_then(|()| sync_directory(directory))
    }

    /// The directory, or what of its path there is.
    fn existing(&self) -> &Path {
        self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
    }

    fn failed(&self, what: &str, file: &str, error: &io::Error) -> StoreError {
        let path = self.root.join(file);
        StoreError::new(trouble(error), format!("cannot {what} {}: {error}", path.display()))
    }
}

impl Store for Local {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        self.names(kind).map_err(|error| self.failed("list", kind.directory(), &error))
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        let read = fs::read(self.path(kind, name));
        read.map(Bytes::from).map_err(|error| self.failed("read", &kind.path(name), &error))
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        let read = || {
            let file = File::open(self.path(kind, name))?;
            // A length out of a damaged index must not ask for more memory than there is file.
            if file.metadata()?.len() < offset.saturating_add(length) {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file is too short"));
            }
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(Bytes::from(bytes))
        };
        read().map_err(|error| self.failed("read", &kind.path(name), &error))
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        let path = self.path(kind, name);
        match self.put(&path, parts) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && has_length(&path, parts) => Ok(()),
            put => put.map_err(|error| self.failed("write", &kind.path(name), &error)),
        }
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        match fs::remove_file(self.path(kind, name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(self.failed("remove", &kind.path(name), &error))
            }
            _ => Ok(()),
        }
    }

    fn create(&self) -> StoreResult<()> {
        self.make().map_err(|error| self.failed("make directories in", "", &error))
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        let found = statvfs(self.existing()).map_err(io::Error::from);
        let found = found.map_err(|error| self.failed("ask for the free space of", "", &error))?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }
}

/// A directory that does not exist has none.
fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        found => found?.collect(),
    }
}

/// Name and length of a repository's file; nothing of any other. Leftovers are removed in passing:
/// nothing else would ever look at them.
fn named(entry: &DirEntry) -> io::Result<Option<(String, u64)>> {
    let name = entry.file_name().to_string_lossy().into_owned();
    if name.starts_with(UNFINISHED) && is_left_over(entry) {
        let _ = fs::remove_file(entry.path());
    }
    if !is_name(&name) {
        return Ok(None);
    }
    match entry.metadata() {
        // Another process removed it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => Ok(Some((name, found?.len()))),
    }
}

fn is_left_over(entry: &DirEntry) -> bool {
    let modified = entry.metadata().and_then(|found| found.modified());
    let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > LEFT_OVER_AFTER)
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn create_in(directory: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            // A killed process with our id left it behind: take the next number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return Ok((path, opened?)),
        }
    }
}

fn fill(mut file: File, parts: &[Bytes]) -> io::Result<()> {
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Renames unless `to` exists. File systems that do not know such a rename (NFS) are asked first:
/// two writers of one name write the same bytes, since the name is their hash.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !to.exists() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn has_length(path: &Path, parts: &[Bytes]) -> bool {
    let length: usize = parts.iter().map(Bytes::len).sum();
    fs::metadata(path).is_ok_and(|found| usize::try_from(found.len()) == Ok(length))
}

fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::NotFound => Trouble::Absent,
        ErrorKind::AlreadyExists => Trouble::Exists,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Trouble::Denied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Trouble::Full,
        ErrorKind::StaleNetworkFileHandle | ErrorKind::TimedOut | ErrorKind::HostUnreachable => {
            Trouble::Connection
        }
        _ => Trouble::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NAME: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn store() -> (tempfile::TempDir, Local) {
        let directory = tempfile::tempdir().unwrap();
        let store = Local::new(&directory.path().join("repository"));
        store.create().unwrap();
        (directory, store)
    }

    fn parts(parts: &[&'static str]) -> Vec<Bytes> {
        parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect()
    }

    #[test]
    fn what_is_written_is_listed_and_read() {
        let (_directory, store) = store();
        for kind in FileKind::ALL {
            let name = if kind == FileKind::Config { "config" } else { NAME };
            assert_eq!(store.list(kind).unwrap(), []);
            store.write(kind, name, &parts(&["ab", "", "cde"])).unwrap();
            assert_eq!(store.list(kind).unwrap(), [(name.to_owned(), 5)]);
            assert_eq!(store.read(kind, name).unwrap(), "abcde");
            assert_eq!(store.read_range(kind, name, 1, 3).unwrap(), "bcd");
            store.remove(kind, name).unwrap();
            store.remove(kind, name).unwrap();
            assert_eq!(store.read(kind, name).unwrap_err().trouble, Trouble::Absent);
        }
    }

    #[test]
    fn a_file_is_never_replaced() {
        let (_directory, store) = store();
        store.write(FileKind::Key, NAME, &parts(&["first"])).unwrap();
        store.write(FileKind::Key, NAME, &parts(&["again"])).unwrap();
        let refused = store.write(FileKind::Key, NAME, &parts(&["longer one"])).unwrap_err();
        assert_eq!(refused.trouble, Trouble::Exists);
        assert_eq!(store.read(FileKind::Key, NAME).unwrap(), "first");
        assert_eq!(fs::read_dir(store.root.join("keys")).unwrap().count(), 1);
    }

    #[test]
    fn nobody_else_reads_it() {
        let (_directory, store) = store();
        store.write(FileKind::Pack, NAME, &parts(&["x"])).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = store.path(FileKind::Pack, NAME);
        assert_eq!(mode(&file), 0o600);
        assert!(file.ancestors().skip(1).take(3).all(|directory| mode(directory) == 0o700));
    }

    #[test]
    fn more_than_there_is_cannot_be_read() {
        let (_directory, store) = store();
        store.write(FileKind::Pack, NAME, &parts(&["abc"])).unwrap();
        for (offset, length) in [(2, 2), (3, 1), (u64::MAX, 2), (0, 1 << 60)] {
            let error = store.read_range(FileKind::Pack, NAME, offset, length).unwrap_err();
            assert!(error.message.contains("too short"), "{error}");
        }
    }

    #[test]
    fn what_a_killed_write_left_is_not_listed_and_goes_in_a_day() {
        let (_directory, store) = store();
        let left = store.root.join("index").join(format!("{UNFINISHED}1-0"));
        let file = File::create(&left).unwrap();
        assert_eq!(store.list(FileKind::Index).unwrap(), []);
        assert!(left.exists());
        file.set_modified(SystemTime::now() - LEFT_OVER_AFTER - Duration::from_mins(1)).unwrap();
        assert_eq!(store.list(FileKind::Index).unwrap(), []);
        assert!(!left.exists());
    }

    #[test]
    fn a_directory_that_is_missing_is_made() {
        let (_directory, store) = store();
        fs::remove_dir(store.root.join("data/01")).unwrap();
        store.write(FileKind::Pack, NAME, &parts(&["x"])).unwrap();
        assert_eq!(store.list(FileKind::Pack).unwrap().len(), 1);
    }

    #[test]
    fn space_is_known_before_the_directory_exists() {
        let store = Local::new(Path::new("/tmp/autoodoo-does-not-exist/repository"));
        assert!(store.free().unwrap().unwrap() > 0);
    }
}
