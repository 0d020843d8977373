//! The files of the site directory that belong to a backup.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::backup::layout;
use crate::failure::{Context, Result};
use crate::stack::dirs;

/// Below the site directory. What `up` makes anew from the host, and what lives for a moment, is not
/// among them.
const PARTS: [&str; 6] =
    ["autoodoo.yaml", "autoodoo.lock", "generated", "secrets", "state/state.json", ADDONS];
const ADDONS: &str = "addons";
const PASSING: [&str; 3] = [dirs::CHALLENGE, dirs::SSH_CLIENT, "generated/nginx/candidate"];
/// What is half written has a name that starts so ([`crate::host::files`]).
const TEMPORARY: &str = ".autoodoo-tmp-";

/// What was found, sorted by path.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub files: Vec<Piece>,
    /// What is not part of a backup though it lies there, one sentence each.
    pub left_out: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Piece {
    /// Below the site directory.
    pub path: PathBuf,
    pub content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// As it was when the run began.
    Kept(Bytes),
    /// Read when its turn comes.
    OnDisk { bytes: u64 },
}

impl Piece {
    pub(super) fn is_secret(&self) -> bool {
        layout::is_secret(&Path::new(layout::CONFIGURATION).join(&self.path))
    }

    pub(super) fn bytes(&self) -> u64 {
        match &self.content {
            Content::Kept(bytes) => bytes.len() as u64,
            Content::OnDisk { bytes } => *bytes,
        }
    }
}

/// Reads them; addons, which may be large, are only found.
pub(super) fn read(root: &Path) -> Result<Configuration> {
    let mut found = Configuration::default();
    for part in PARTS {
        let doing = || format!("cannot read {} for the backup", root.join(part).display());
        visit(root, Path::new(part), &mut found).with(doing)?;
    }
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn visit(root: &Path, path: &Path, found: &mut Configuration) -> io::Result<()> {
    let is_temporary = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
    if is_temporary || PASSING.iter().any(|passing| path == Path::new(passing)) {
        return Ok(());
    }
    let whole = root.join(path);
    let kind = match fs::symlink_metadata(&whole) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if kind.is_dir() {
        for entry in fs::read_dir(&whole)? {
            visit(root, &path.join(entry?.file_name()), found)?;
        }
    } else if !kind.is_file() {
        found.left_out.push(format!("{} is no file and no directory", path.display()));
    } else if path.starts_with(ADDONS) {
        found.files.push(Piece { path: path.to_owned(), content: Content::OnDisk { bytes: kind.len() } });
    } else {
        let content = Content::Kept(fs::read(&whole)?.into());
        found.files.push(Piece { path: path.to_owned(), content });
    }
    Ok(())
}

/// [`Context`] whose message is made only when it is needed.
trait With<T> {
    fn with(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> With<T> for io::Result<T> {
    fn with(self, message: impl FnOnce() -> String) -> Result<T> {
        self.or_else(|error| Err(error).context(message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "autoodoo.yaml",
            "generated/nginx/live/nginx.conf",
            "generated/nginx/candidate/nginx.conf",
            "generated/nginx/challenge/token",
            "generated/ssh/ab/ssh",
            "generated/postgres/.autoodoo-tmp-1-0",
            "secrets/ssh/id",
            "secrets/admin-password",
            "state/state.json",
            "state/lock",
            "addons/sale/models.py",
            "notes.txt",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("addons/linked")).unwrap();
        let found = read(dir.path()).unwrap();
        let paths: Vec<String> = found.files.iter().map(|file| file.path.display().to_string()).collect();
        insta::assert_snapshot!(paths.join("\n"), @r"
        addons/sale/models.py
        autoodoo.yaml
        generated/nginx/live/nginx.conf
        secrets/admin-password
        secrets/ssh/id
        state/state.json
        ");
        assert_eq!(found.left_out, ["addons/linked is no file and no directory"]);
        assert!(found.files.iter().all(|file| file.bytes() == 4));
        assert_eq!(found.files.iter().filter(|file| file.is_secret()).count(), 3);
    }
}
