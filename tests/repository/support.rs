//! A site's files, made up from a seed, and the programs that look at a repository.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use autoodoo::repository::source::{Entry, Source, Stamp};
use autoodoo::repository::store::{Access, Store};
use autoodoo::repository::{Label, Progress, Repository, Saved, store};
use autoodoo::secret::Secret;
use autoodoo::site::backup::Place;
use jiff::Timestamp;

pub const PASSWORD: &str = "abcdef-ghijkl-mnopqr";

/// Repeats itself for the same seed: xorshift64*.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    pub fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.number().to_le_bytes()).flatten();
        words.take(length).collect()
    }
}

/// Files by path. Those below `filestore` have a stamp and a size; the others are streams.
#[derive(Clone, Default)]
pub struct Files(pub BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    /// `scale` 1: about 1.3 MB.
    pub fn made_of(seed: u64, scale: usize) -> Files {
        let mut random = Random::new(seed);
        let mut files = BTreeMap::new();
        files.insert("configuration/autoodoo.yaml".into(), b"name: acme\n".to_vec());
        files.insert("configuration/secrets/empty".into(), Vec::new());
        files.insert("databases/acme/dump.pgdump".into(), random.bytes(scale << 20));
        files.insert("databases/globals.sql".into(), b"CREATE ROLE odoo;\n".repeat(100));
        for _ in 0..60 * scale {
            let name = format!("{:040x}", random.number());
            let length = random.below(10_000);
            let content = random.bytes(usize::try_from(length).unwrap());
            files.insert(Path::new("filestore/acme").join(&name[24..26]).join(&name), content);
        }
        files.insert("manifest.json".into(), format!("{{\"seed\": {seed}}}").into_bytes());
        Files(files)
    }

    pub fn bytes(&self) -> u64 {
        self.0.values().map(|content| content.len() as u64).sum()
    }
}

impl Source for Files {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        let entries = self.0.clone().into_iter().map(|(path, content)| {
            let is_stream = !path.starts_with("filestore");
            let modified = Timestamp::from_second(1_700_000_000).unwrap();
            let stamp = Stamp { modified, inode: 7, mode: 0o640 };
            Ok(Entry {
                path,
                size: (!is_stream).then_some(content.len() as u64),
                stamp: (!is_stream).then_some(stamp),
                open: Box::new(move || Ok(Box::new(Cursor::new(content)) as Box<dyn Read + Send>)),
            })
        });
        Box::new(entries)
    }

    fn size(&self) -> u64 {
        self.bytes()
    }
}

/// How often something is tried.
pub fn soak(usually: u64) -> u64 {
    std::env::var("AUTOODOO_SOAK").map_or(usually, |count| count.parse().expect("AUTOODOO_SOAK is a number"))
}

pub fn local(path: &Path) -> Arc<dyn Store> {
    store::open(&Place::Local { path: path.to_owned() }, &Access::default()).unwrap()
}

pub fn password() -> Secret {
    Secret::new(PASSWORD)
}

pub fn made(path: &Path) -> Repository {
    Repository::init(local(path), &password()).unwrap()
}

pub fn opened(path: &Path) -> Repository {
    Repository::open(local(path), &password(), None).unwrap()
}

pub fn saved(repository: &Repository, files: &Files) -> Saved {
    repository.back_up(Arc::new(files.clone()), &label(), &Arc::<Progress>::default()).unwrap()
}

pub fn label() -> Label {
    Label { site: "acme".to_owned(), tags: vec!["autoodoo".to_owned()], time: Timestamp::now() }
}

/// Everything in a backup, as we read it.
pub fn content(repository: &Repository, snapshot: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut nodes = Vec::new();
    repository
        .walk(snapshot, "", &mut |node| {
            nodes.push(node);
            Ok(())
        })
        .unwrap();
    let mut files = BTreeMap::new();
    for node in nodes.into_iter().filter(|node| !node.is_directory) {
        let mut content = Vec::new();
        repository.read(snapshot, node.path.to_str().unwrap(), &mut content).unwrap();
        assert_eq!(node.size, content.len() as u64, "{}", node.path.display());
        files.insert(node.path, content);
    }
    files
}

/// Every file below a directory.
pub fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                files.insert(path.strip_prefix(directory).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The `restic` program. Its words come with a failure.
pub fn restic(repository: &Path, arguments: &[&str]) -> String {
    let output = restic_output(repository, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restic {arguments:?}: {said}{complained}");
    said
}

pub fn restic_output(repository: &Path, arguments: &[&str]) -> Output {
    let ran = Command::new("restic")
        .args(["--no-cache", "--repo"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .output();
    ran.expect("restic is installed: apt-get install restic")
}
