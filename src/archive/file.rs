//! The file that an export becomes: `FILE.part` while it is written, `FILE` once it is whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use rustix::io::Errno;

use crate::failure::{Context, Failure, Result};

/// A file that is being written, and that goes away unless it is [kept](Unfinished::keep). It is
/// locked: one that a killed run has left is told from one that is still written.
pub struct Unfinished {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Unfinished {
    /// Fails where `path` exists: an export is never overwritten. Readable by its owner alone.
    pub fn create(path: &Path) -> Result<Unfinished> {
        refuse_existing(path)?;
        let temporary = with_suffix(path, ".part");
        remove_stale(&temporary)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = file.context(format!("cannot make {}", temporary.display()))?;
        let unfinished = Unfinished { file, temporary, path: path.to_owned(), kept: false };
        match unfinished.file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(busy(&unfinished.temporary)),
            // A file system without locks cannot tell, and nobody else writes there in all likelihood.
            _ => Ok(unfinished),
        }
    }

    /// Bytes that may still be written beside it; `None` where nobody can tell.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let space = statvfs(directory(&self.path)).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Bytes that it has so far.
    pub fn length(&self) -> Result<u64> {
        let metadata =
            self.file.metadata().context(format!("cannot look at {}", self.temporary.display()))?;
        Ok(metadata.len())
    }

    /// Gives it its name, once its bytes are on the disk.
    pub fn keep(mut self) -> Result<()> {
        let place = |error: io::Error| {
            Failure::failed(format!("cannot give {} its name", self.temporary.display())).because(error)
        };
        self.file.sync_all().map_err(place)?;
        rename_new(&self.temporary, &self.path).map_err(place)?;
        self.kept = true;
        // A directory that cannot be synchronised, as on some network file systems, holds it all the same.
        let _ = File::open(directory(&self.path)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is plainly a part, and the next run takes it away.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn refuse_existing(path: &Path) -> Result<()> {
    if path.file_name().is_none() {
        return Err(Failure::usage(format!("{} is no name for a file", path.display())));
    }
    match path.symlink_metadata() {
        Ok(_) => Err(Failure::usage(format!("{} exists; an export overwrites nothing", path.display()))
            .hint("give another name, or remove it first")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot look at {}", path.display())).because(error)),
    }
}

/// What a killed run has left is removed and not reused: its permissions may be anybody's.
fn remove_stale(temporary: &Path) -> Result<()> {
    match File::open(temporary) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(file) if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) => return Err(busy(temporary)),
        _ => {}
    }
    std::fs::remove_file(temporary).context(format!("cannot remove {}", temporary.display()))
}

fn busy(temporary: &Path) -> Failure {
    Failure::failed(format!("another export writes {} now", temporary.display()))
        .hint("wait for its end, or give another name")
}

/// Never replaces what got the name meanwhile, as far as the file system can promise that.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !to.exists() => std::fs::rename(from, to),
        done => done.map_err(io::Error::from),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn it_has_its_name_once_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.tar.zst");
        let mut file = Unfinished::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(file.length().unwrap(), 5);
        assert_eq!(names(dir.path()), ["acme.tar.zst.part"]);
        assert!(file.free().unwrap() > 0);
        file.keep().unwrap();
        assert_eq!(names(dir.path()), ["acme.tar.zst"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(Unfinished::create(&dir.path().join("acme.tar.zst")).unwrap());
        assert_eq!(names(dir.path()), <[String; 0]>::default());
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.tar.zst");
        let file = Unfinished::create(&path).unwrap();
        std::fs::write(&path, "made meanwhile").unwrap();
        file.keep().unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"made meanwhile");
        let failure = Unfinished::create(&path).err().unwrap();
        assert_eq!(failure.kind, Kind::Usage);
        assert_eq!(names(dir.path()), ["acme.tar.zst"]);
        std::os::unix::fs::symlink("/nonexistent", dir.path().join("link")).unwrap();
        assert!(Unfinished::create(&dir.path().join("link")).is_err());
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.tar.zst");
        std::fs::write(dir.path().join("acme.tar.zst.part"), "half of the last one").unwrap();
        let first = Unfinished::create(&path).unwrap();
        let failure = Unfinished::create(&path).err().unwrap();
        assert!(failure.message.contains("another export writes"), "{failure}");
        first.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        assert_eq!(Unfinished::create(Path::new("/")).err().unwrap().kind, Kind::Usage);
        assert!(Unfinished::create(Path::new("/nonexistent/acme.tar.zst")).is_err());
    }
}
