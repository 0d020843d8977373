//! Files below a directory, in the order of their paths.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, statat};

use super::beneath;

/// Every regular file below a directory, in the order of their paths compared part by part. Only the
/// names of the directories on the way are in memory. Names that are not UTF-8 are no attachment's.
pub struct Walk {
    levels: Vec<Level>,
}

struct Level {
    directory: Arc<OwnedFd>,
    /// Its path below the start, with a slash at the end; empty for the start.
    path: String,
    /// What has not been looked at, last first.
    names: Vec<(String, FileType)>,
}

/// A file that was found. Its directory stays open with it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Below the start, such as `aa/SHA-1`.
    pub path: String,
    directory: Arc<OwnedFd>,
}

/// What the file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Unix time: seconds and nanoseconds.
    pub modified: (i64, i32),
    pub inode: u64,
    /// Permission bits.
    pub mode: u32,
}

impl Found {
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub fn stat(&self) -> io::Result<Stat> {
        let found = statat(&*self.directory, self.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Stat {
            size: u64::try_from(found.st_size).unwrap_or(0),
            modified: (found.st_mtime, i32::try_from(found.st_mtime_nsec).unwrap_or(0)),
            inode: found.st_ino,
            mode: found.st_mode & 0o7777,
        })
    }

    pub fn open(&self) -> io::Result<File> {
        beneath::file(&*self.directory, self.name())
    }
}

impl Walk {
    pub(super) fn new(start: Arc<OwnedFd>) -> io::Result<Walk> {
        Ok(Walk { levels: vec![Level::read(start, String::new())?] })
    }

    fn step(&mut self) -> io::Result<Option<Found>> {
        while let Some(level) = self.levels.last_mut() {
            let Some((name, kind)) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let path = format!("{}{name}", level.path);
            match kind {
                FileType::RegularFile => {
                    return Ok(Some(Found { path, directory: level.directory.clone() }));
                }
                FileType::Directory => {
                    // One that has just gone has no files.
                    if let Some(below) = beneath::directory(&*level.directory, &name)? {
                        self.levels.push(Level::read(Arc::new(below), path + "/")?);
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Level {
    fn read(directory: Arc<OwnedFd>, path: String) -> io::Result<Level> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory.as_fd())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !matches!(name, "." | "..") {
                names.push((name.to_owned(), kind(&directory, name, entry.file_type())?));
            }
        }
        names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        Ok(Level { directory, path, names })
    }
}

/// Some file systems do not tell the kind while a directory is listed.
fn kind(directory: &OwnedFd, name: &str, told: FileType) -> io::Result<FileType> {
    if told != FileType::Unknown {
        return Ok(told);
    }
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(FileType::Unknown),
        stat => Ok(FileType::from_raw_mode(stat?.st_mode)),
    }
}

impl Iterator for Walk {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_paths() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b/2", "b/1", "a-b/x", "a/z", "a/y/n", "top", "a.txt"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "four").unwrap();
        }
        std::os::unix::fs::symlink("top", dir.path().join("a/link")).unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("linked")).unwrap();
        let walk = Walk::new(Arc::new(beneath::trusted(dir.path()).unwrap())).unwrap();
        let found: Vec<Found> = walk.map(Result::unwrap).collect();
        let paths: Vec<&str> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, ["a/y/n", "a/z", "a-b/x", "a.txt", "b/1", "b/2", "top"]);
        let mut sorted = paths.clone();
        sorted.sort_by(|a, b| std::path::Path::new(a).cmp(std::path::Path::new(b)));
        assert_eq!(paths, sorted);
        assert!(found.iter().all(|found| found.stat().unwrap().size == 4 && found.open().is_ok()));
    }
}
