//! The files of the site directory that belong to a backup.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::backup::layout;
use crate::failure::{Context, Result};
use crate::site::named::{NamedFile, NamedKind};
use crate::stack::dirs;

/// Below the site directory. What `up` makes anew from the host, and what lives for a moment, is not
/// among them. A local CA's certificate is: nothing makes another one that fits its key.
const PARTS: [&str; 7] =
    ["autoodoo.yaml", "autoodoo.lock", "ca.crt", "generated", "secrets", "state/state.json", ADDONS];
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
    /// It is one wherever it lies: the site file names it as a key, or as a program.
    is_secret: bool,
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
        self.is_secret || layout::is_secret(&Path::new(layout::CONFIGURATION).join(&self.path))
    }

    pub(super) fn bytes(&self) -> u64 {
        match &self.content {
            Content::Kept(bytes) => bytes.len() as u64,
            Content::OnDisk { bytes } => *bytes,
        }
    }
}

/// Reads them, and those that the site file names; addons, which may be large, are only found.
pub(super) fn read(root: &Path, named: &[NamedFile]) -> Result<Configuration> {
    let mut found = Configuration::default();
    let doing = |path: &Path| format!("cannot read {} for the backup", root.join(path).display());
    for file in named {
        name(root, file, &mut found).with(|| doing(&file.path))?;
    }
    for part in PARTS.map(Path::new) {
        visit(root, part, &mut found).with(|| doing(part))?;
    }
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A file that the site file names. Where a link lies, what it leads to is meant.
fn name(root: &Path, file: &NamedFile, found: &mut Configuration) -> io::Result<()> {
    let mut leave_out = |why: &str| {
        found.left_out.push(format!("{}, which autoodoo.yaml names, {why}", file.path.display()));
        Ok(())
    };
    let Some(path) = below(root, &file.path) else {
        return leave_out("lies outside of the site directory: keep a copy of it");
    };
    let whole = root.join(&path);
    let length = match fs::metadata(&whole) {
        Err(error) if error.kind() == ErrorKind::NotFound => return leave_out("does not exist"),
        metadata => match metadata? {
            metadata if metadata.is_file() => metadata.len(),
            _ => return leave_out("is no file"),
        },
    };
    let content = match file.kind {
        // Read from the disk it keeps the right to be executed.
        NamedKind::Program => Content::OnDisk { bytes: length },
        NamedKind::Certificate | NamedKind::Key => Content::Kept(fs::read(&whole)?.into()),
    };
    if !found.has(&path) {
        found.files.push(Piece { path, content, is_secret: file.kind != NamedKind::Certificate });
    }
    Ok(())
}

/// The same path from the site directory on; `None` when its words lead out of there.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let relative = if path.is_absolute() { path.strip_prefix(root).ok()? } else { path };
    let mut plain = PathBuf::new();
    for part in relative.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir if plain.pop() => {}
            _ => return None,
        }
    }
    Some(plain)
}

impl Configuration {
    fn has(&self, path: &Path) -> bool {
        self.files.iter().any(|piece| piece.path == path)
    }
}

fn visit(root: &Path, path: &Path, found: &mut Configuration) -> io::Result<()> {
    let is_temporary = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
    let is_passing = PASSING.iter().any(|passing| path == Path::new(passing));
    if is_temporary || is_passing || found.has(path) {
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
    } else {
        let content = if path.starts_with(ADDONS) {
            Content::OnDisk { bytes: kind.len() }
        } else {
            Content::Kept(fs::read(&whole)?.into())
        };
        found.files.push(Piece { path: path.to_owned(), content, is_secret: false });
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

    fn write(root: &Path, paths: &[&str]) {
        for path in paths {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
    }

    fn paths<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> String {
        let paths: Vec<String> = pieces.into_iter().map(|piece| piece.path.display().to_string()).collect();
        paths.join("\n")
    }

    #[test]
    fn what_belongs_to_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "autoodoo.yaml",
            "ca.crt",
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
        ];
        write(dir.path(), &files);
        std::os::unix::fs::symlink("/etc", dir.path().join("addons/linked")).unwrap();
        let found = read(dir.path(), &[]).unwrap();
        insta::assert_snapshot!(paths(&found.files), @r"
        addons/sale/models.py
        autoodoo.yaml
        ca.crt
        generated/nginx/live/nginx.conf
        secrets/admin-password
        secrets/ssh/id
        state/state.json
        ");
        assert_eq!(found.left_out, ["addons/linked is no file and no directory"]);
        assert!(found.files.iter().all(|file| file.bytes() == 4));
        assert_eq!(found.files.iter().filter(|file| file.is_secret()).count(), 3);
    }

    #[test]
    fn files_that_the_site_file_names_belong_to_it_wherever_they_lie_in_the_site_directory() {
        use NamedKind::{Certificate, Key, Program};
        let dir = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (dir.path().join("acme"), dir.path().join("elsewhere.pem"));
        write(&root, &["certs/chain.pem", "certs/key.pem", "hooks/dns", "addons/db.key", "secrets/c.pem"]);
        fs::write(&elsewhere, "text").unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("secrets/linked.key")).unwrap();
        let absolute = root.join("certs/chain.pem").display().to_string();
        let named = [
            (absolute.as_str(), Certificate),
            ("./certs/../certs/key.pem", Key),
            ("hooks/dns", Program),
            ("addons/db.key", Key),
            ("secrets/c.pem", Certificate),
            ("secrets/linked.key", Key),
            ("../elsewhere.pem", Certificate),
            ("/nonexistent/chain.pem", Certificate),
            ("certs/nothing.pem", Certificate),
            ("certs", Key),
        ];
        let named = named.map(|(path, kind)| NamedFile { path: path.into(), kind });
        let found = read(&root, &named).unwrap();
        insta::assert_snapshot!(paths(&found.files), @r"
        addons/db.key
        certs/chain.pem
        certs/key.pem
        hooks/dns
        secrets/c.pem
        secrets/linked.key
        ");
        insta::assert_snapshot!(paths(found.files.iter().filter(|piece| piece.is_secret())), @r"
        addons/db.key
        certs/key.pem
        hooks/dns
        secrets/c.pem
        secrets/linked.key
        ");
        insta::assert_snapshot!(found.left_out.join("\n"), @r"
        ../elsewhere.pem, which autoodoo.yaml names, lies outside of the site directory: keep a copy of it
        /nonexistent/chain.pem, which autoodoo.yaml names, lies outside of the site directory: keep a copy of it
        certs/nothing.pem, which autoodoo.yaml names, does not exist
        certs, which autoodoo.yaml names, is no file
        ");
        let on_disk = found.files.iter().filter(|piece| matches!(piece.content, Content::OnDisk { .. }));
        assert_eq!(paths(on_disk), "hooks/dns", "with its mode");
    }
}
