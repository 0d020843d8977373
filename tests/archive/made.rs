//! A made-up site.

use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

use autoodoo::archive::Subject;
use autoodoo::backup::source::{Entry, Source, Stamp};
use sha2::{Digest, Sha256};

const MANIFEST: &str = r#"{
    "format": 1, "autoodoo": "0.1.0", "site": "acme", "site_id": "1", "kind": "hot",
    "began": "2026-11-22T09:30:00Z", "images": [], "odoo_release": 19, "postgres_version": "17.2",
    "databases": [], "bytes": 0, "files": 0, "left_out": []
}"#;

pub fn subject() -> Subject {
    Subject {
        site: "acme".to_owned(),
        databases: vec!["acme".parse().unwrap()],
        role: "odoo".to_owned(),
        odoo_release: 19,
        postgres_release: 17,
        made: "2026-11-22T09:30:00Z".parse().unwrap(),
        autoodoo: "0.1.0".to_owned(),
        file: "acme.tar.zst".to_owned(),
    }
}

/// What a file holds.
#[derive(Clone)]
pub enum Content {
    Text(&'static str),
    /// So many bytes, about half of which zstd saves.
    Noise(u64),
}

impl Content {
    fn reader(&self) -> Box<dyn Read + Send> {
        match self {
            Content::Text(text) => Box::new(text.as_bytes()),
            Content::Noise(size) => Box::new(Noise(88_172_645_463_325_252).take(*size)),
        }
    }

    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        io::copy(&mut self.reader(), &mut hash).unwrap();
        format!("{:x}", hash.finalize())
    }
}

/// xorshift64: eight bytes, the half of them zero.
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let word = (self.0 >> 32).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

pub struct Made(Vec<(String, bool, Content)>);

impl Made {
    /// Entries of known and unknown length.
    pub fn site() -> Made {
        let long = format!("configuration/addons/{}a file of Zoë's", "very-long-name/".repeat(20));
        let files = [
            ("configuration/addons/back\\slash", true, Content::Text("0")),
            (&long, true, Content::Text("a")),
            ("configuration/autoodoo.yaml", true, Content::Text("name: acme\n")),
            ("databases/acme/attachments.tsv", false, Content::Text("aa/aaaa\t5\n")),
            // Two parts.
            ("databases/acme/dump.pgdump", false, Content::Noise((32 << 20) + 12_345)),
            ("databases/globals.sql", false, Content::Text("")),
            ("filestore/acme/aa/aaaa", true, Content::Noise(200_001)),
            ("logs/acme-odoo-a.log", false, Content::Text("a line\n")),
            ("manifest.json", false, Content::Text(MANIFEST)),
        ];
        Made(files.map(|(path, known, content)| (path.to_owned(), known, content)).to_vec())
    }

    /// One long stream.
    pub fn stream(size: u64) -> Made {
        let dump = ("databases/acme/dump.pgdump".to_owned(), false, Content::Noise(size));
        Made(vec![dump, ("manifest.json".to_owned(), false, Content::Text(MANIFEST))])
    }

    /// Many small files.
    pub fn files(number: u64, size: u64) -> Made {
        let manifest = ("manifest.json".to_owned(), false, Content::Text(MANIFEST));
        let path = |number| format!("filestore/acme/{:02x}/{number:040x}", number % 256);
        let files = (0..number).map(|number| (path(number), true, Content::Noise(size)));
        Made(files.chain([manifest]).collect())
    }

    pub fn contents(&self) -> impl Iterator<Item = (&str, &Content)> {
        self.0.iter().map(|(path, _, content)| (path.as_str(), content))
    }
}

impl Source for Made {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        Box::new(self.0.clone().into_iter().map(|(path, known, content)| {
            let size = known.then_some(match &content {
                Content::Text(text) => text.len() as u64,
                Content::Noise(size) => *size,
            });
            let modified = "2026-11-21T23:00:00Z".parse().unwrap();
            let stamp = known.then_some(Stamp { modified, inode: 1, mode: 0o640 });
            Ok(Entry { path: path.into(), size, stamp, open: Box::new(move || Ok(content.reader())) })
        }))
    }

    fn size(&self) -> u64 {
        0
    }
}

/// Runs it with bash, all of a pipeline, and returns its output or else what it complained of.
pub fn shell(dir: &Path, command: &str) -> Result<String, String> {
    let command = format!("set -o pipefail; {command}");
    let output = Command::new("bash").args(["-c", &command]).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{command}: {complaint}")) }
}
