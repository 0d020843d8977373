//! Paths below a directory that belongs to somebody else, walked without following a link.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe in the place of a file must not make us wait for its writer.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A directory whose path nobody else decides.
pub(super) fn trusted(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The directory `name` directly below; `None` when there is none, or something else.
pub(super) fn directory(above: impl AsFd, name: &str) -> io::Result<Option<OwnedFd>> {
    match openat(above, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// The same, made where it is missing.
pub(super) fn directory_made(above: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(&above, name, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => made?,
    }
    directory(above, name)?.ok_or_else(|| ErrorKind::NotADirectory.into())
}

/// A regular file directly below; what is none is [`ErrorKind::NotFound`].
pub(super) fn file(above: impl AsFd, name: &str) -> io::Result<File> {
    match openat(above, name, FILE, Mode::empty()) {
        Err(Errno::LOOP | Errno::NXIO) => Err(ErrorKind::NotFound.into()),
        opened => {
            let file = File::from(opened?);
            if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::NotFound.into()) }
        }
    }
}

/// The parts of a name that stays below the directory that it starts from: the directories above the
/// file, joined, and the file's own.
pub(super) fn parts(name: &str) -> Option<(&str, &str)> {
    let stays = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    name.split('/').all(stays).then(|| name.rsplit_once('/').unwrap_or(("", name)))
}

/// Finds directories below one, and remembers the last: names that are asked for come sorted.
pub(super) struct Finder {
    top: Arc<OwnedFd>,
    last: Option<(String, Arc<OwnedFd>)>,
    make: bool,
}

impl Finder {
    pub(super) fn new(top: Arc<OwnedFd>) -> Finder {
        Finder { top, last: None, make: false }
    }

    /// Makes the directories that are missing.
    pub(super) fn making(top: Arc<OwnedFd>) -> Finder {
        Finder { top, last: None, make: true }
    }

    /// `None` when there is no such directory.
    pub(super) fn find(&mut self, path: &str) -> io::Result<Option<Arc<OwnedFd>>> {
        if let Some((known, directory)) = &self.last
            && known == path
        {
            return Ok(Some(directory.clone()));
        }
        let mut found = self.top.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let below =
                if self.make { Some(directory_made(&*found, part)?) } else { directory(&*found, part)? };
            let Some(below) = below else { return Ok(None) };
            found = Arc::new(below);
        }
        self.last = Some((path.to_owned(), found.clone()));
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below() {
        assert_eq!(parts("ab/cd"), Some(("ab", "cd")));
        assert_eq!(parts("a/b/c"), Some(("a/b", "c")));
        assert_eq!(parts("file"), Some(("", "file")));
        for name in ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b/c"] {
            assert_eq!(parts(name), None, "{name}");
        }
    }

    #[test]
    fn links_and_pipes_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("real"), "x").unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("directory", dir.path().join("way")).unwrap();
        rustix::fs::mkfifoat(CWD, dir.path().join("pipe"), Mode::RWXU).unwrap();
        let top = trusted(dir.path()).unwrap();
        assert!(file(&top, "real").is_ok());
        for name in ["link", "pipe", "directory", "absent"] {
            assert_eq!(file(&top, name).unwrap_err().kind(), ErrorKind::NotFound, "{name}");
        }
        assert!(directory(&top, "directory").unwrap().is_some());
        for name in ["way", "real", "absent"] {
            assert!(directory(&top, name).unwrap().is_none(), "{name}");
        }
    }
}
