//! Files that are whole or absent, whatever happens while they are written.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::{Failure, Result};

/// What the name of every unfinished file starts with.
const TEMPORARY: &str = ".autoodoo-tmp-";

/// Replaces `path` with `bytes`, readable as `mode` says from the first moment. After a crash the
/// old content or the new one is there, never a part; at worst a temporary file stays beside it,
/// which [`sweep_temporary`] removes.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let (temporary, file) =
        create_beside(path, mode).map_err(|error| io_failure("cannot write", path, &error))?;
    let written = fill(file, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; the leftover is swept later.
        let _ = std::fs::remove_file(&temporary);
    }
    // The rename itself must be on disk before anybody relies on it.
    written.and_then(|()| sync_dir(parent(path))).map_err(|error| io_failure("cannot write", path, &error))
}

fn create_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = parent(path).join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            // A killed process with our id left it behind: take the next number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => {
                let file = opened?;
                // The umask may have taken bits away.
                file.set_permissions(Permissions::from_mode(mode))?;
                return Ok((temporary, file));
            }
        }
    }
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes what killed runs left of [`write_atomic`] in `dir`; returns how many files that were.
/// The caller holds the site's lock: a running write must not lose its file.
pub fn sweep_temporary(dir: &Path) -> Result<usize> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(|error| io_failure("cannot list", dir, &error))?,
    };
    let mut swept = 0;
    for entry in entries {
        let entry = entry.map_err(|error| io_failure("cannot list", dir, &error))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            remove(&entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_failure("cannot remove", path, &error)),
        _ => Ok(()),
    }
}

/// Gives a file its final name, in the same directory; on disk when this returns.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let renamed = std::fs::rename(from, to).and_then(|()| sync_dir(parent(to)));
    renamed.map_err(|error| io_failure("cannot rename to", to, &error))
}

/// The file's bytes; `None` when there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure("cannot read", path, &error)),
    }
}

/// The file's text; `None` when there is no such file, a failure when it is not UTF-8.
pub fn read_text_optional(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = read_optional(path)? else { return Ok(None) };
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{} is not a text file in UTF-8", path.display())))?;
    Ok(Some(text))
}

/// The file's text; a file that is not there is a failure that names it.
pub fn read_text(path: &Path) -> Result<String> {
    read_text_optional(path)?.ok_or_else(|| Failure::failed(format!("{} does not exist", path.display())))
}

/// Names of the subdirectories that contain `file`; none when the directory does not exist.
pub fn subdirectories_with(directory: &Path, file: &str) -> Result<BTreeSet<String>> {
    let names = entries(directory)?.into_iter();
    Ok(names.filter(|name| directory.join(name).join(file).is_file()).collect())
}

/// Every directory directly below these; one that does not exist has none.
pub fn subdirectories(directories: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in directories {
        found.extend(
            entries(directory)?.into_iter().map(|name| directory.join(name)).filter(|path| path.is_dir()),
        );
    }
    Ok(found)
}

/// Removes every subdirectory whose name is not kept.
pub fn keep_only(directory: &Path, kept: impl Fn(&str) -> bool) -> Result<()> {
    for name in entries(directory)?.into_iter().filter(|name| !kept(name)) {
        let path = directory.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(|error| io_failure("cannot remove", &path, &error))?;
        }
    }
    Ok(())
}

/// Removes every file in the directory, and none below.
pub fn remove_files(directory: &Path) -> Result<()> {
    let paths = entries(directory)?.into_iter().map(|name| directory.join(name));
    paths.filter(|path| !path.is_dir()).try_for_each(|path| remove(&path))
}

/// Names in a directory; none when it does not exist. Names that are not UTF-8 are not ours.
fn entries(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| io_failure("cannot list", directory, &error))?,
    };
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

/// Makes the directory and those above it where they are missing. `path` itself has exactly the
/// permission bits of `mode` afterwards; directories above are left as they are.
pub fn ensure_dir(path: &Path, mode: u32) -> Result<()> {
    make_dir(path, mode).map_err(|error| io_failure("cannot make the directory", path, &error))
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if !path.is_dir() {
        std::fs::create_dir_all(parent(path))?;
        match DirBuilder::new().mode(mode).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            result => result?,
        }
        sync_dir(parent(path))?;
    }
    if std::fs::metadata(path)?.permissions().mode() & 0o7777 != mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Whether this is a symbolic link; nothing at all is none.
pub fn is_link(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_symlink()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_failure("cannot look at", path, &error)),
    }
}

/// The permission bits, such as `0o600`; `None` when there is no such file.
pub fn mode_of(path: &Path) -> Result<Option<u32>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.permissions().mode() & 0o7777)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure("cannot look at", path, &error)),
    }
}

/// `doing` is such as "cannot read".
pub(crate) fn io_failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::failed(format!("{doing} {}", path.display())).because(Beneath(error));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure.hint("make room on that file system, then run the command again")
        }
        ErrorKind::ReadOnlyFilesystem => failure.hint("mount it writable, or use another site directory"),
        ErrorKind::PermissionDenied => failure.hint("run the command as the owner of the site directory"),
        _ => failure,
    }
}

/// An I/O error in plain words, without the number of the operating system's error where we know better.
#[derive(Debug)]
struct Beneath<'a>(&'a io::Error);

impl std::fmt::Display for Beneath<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0.kind() {
            ErrorKind::StorageFull => "no space is left on its file system",
            ErrorKind::QuotaExceeded => "the disk quota is used up",
            ErrorKind::ReadOnlyFilesystem => "its file system is read-only",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::NotFound => "there is no such file or directory",
            ErrorKind::NotADirectory => "a part of its path is not a directory",
            ErrorKind::IsADirectory => "it is a directory",
            _ => return self.0.fmt(f),
        })
    }
}

impl std::error::Error for Beneath<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writes_replaces_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odoo.conf");
        for (text, mode) in [("old", 0o600), ("new", 0o644), ("", 0o400)] {
            write_atomic(&path, text.as_bytes(), mode).unwrap();
            assert_eq!(read_text_optional(&path).unwrap().as_deref(), Some(text));
            assert_eq!(mode_of(&path).unwrap(), Some(mode));
        }
        assert_eq!(names(dir.path()), ["odoo.conf"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::create_dir_all(path.join("inside")).unwrap();
        let failure = write_atomic(&path, b"x", 0o600).unwrap_err();
        assert!(failure.message.contains(path.to_str().unwrap()), "{failure}");
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn leftovers_of_killed_runs_are_skipped_over_and_swept() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3000 {
            let name = format!("{TEMPORARY}{}-{number}", std::process::id());
            std::fs::write(dir.path().join(name), "half").unwrap();
        }
        write_atomic(&dir.path().join("state.json"), b"{}", 0o600).unwrap();
        assert_eq!(sweep_temporary(dir.path()).unwrap(), 3000);
        assert_eq!(names(dir.path()), ["state.json"]);
        assert_eq!(sweep_temporary(&dir.path().join("missing")).unwrap(), 0);
    }

    #[test]
    fn what_is_missing_is_none() {
        let missing = Path::new("/nonexistent/file");
        assert_eq!(read_optional(missing).unwrap(), None);
        assert_eq!(mode_of(missing).unwrap(), None);
        remove(missing).unwrap();
    }

    #[test]
    fn directories_are_made_and_tightened() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = dir.path().join("site/secrets");
        ensure_dir(&secrets, 0o755).unwrap();
        assert_eq!(mode_of(&secrets).unwrap(), Some(0o755));
        ensure_dir(&secrets, 0o700).unwrap();
        assert_eq!(mode_of(&secrets).unwrap(), Some(0o700));
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(ensure_dir(&dir.path().join("file"), 0o700).is_err());
    }

    #[test]
    fn errors_are_plain_and_name_the_path() {
        let table = [
            (ErrorKind::StorageFull, "cannot write /srv/a: no space is left on its file system"),
            (ErrorKind::ReadOnlyFilesystem, "cannot write /srv/a: its file system is read-only"),
            (ErrorKind::PermissionDenied, "cannot write /srv/a: permission denied"),
        ];
        for (kind, text) in table {
            let failure = io_failure("cannot write", Path::new("/srv/a"), &io::Error::from(kind));
            assert_eq!(failure.to_string(), text);
            assert_eq!(failure.hints.len(), 1);
        }
    }

    /// /dev/full refuses every byte as a full disk does.
    #[test]
    fn a_full_disk_is_told_so() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = fill(full, b"x").unwrap_err();
        let failure = io_failure("cannot write", Path::new("/x"), &error);
        assert_eq!(failure.causes, ["no space is left on its file system"]);
    }
}
