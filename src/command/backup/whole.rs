//! Whether a backup holds what its manifest says: every attachment that a row names, every dump.
//! Everything here blocks.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha1::{Digest, Sha1};

use super::manifests::parse;
use crate::backup::layout;
use crate::backup::manifest::{DatabaseFacts, Manifest};
use crate::backup::words::count;
use crate::failure::{Failure, Result};
use crate::filestore::{Named, digest_in};
use crate::repository::{Progress, Repository};

/// What `pg_dump --format=custom` begins with (PostgreSQL, `pg_backup_archiver.c`).
const MAGIC: &[u8] = b"PGDMP";
/// Findings of one kind that are named; more are counted.
const NAMED: usize = 10;

/// Which attachments are read back: those whose first byte lies in a window that moves from run to
/// run. The names are hashes, so that a window of a tenth holds a tenth of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// 0 to 1.
    pub share: f64,
    pub offset: u8,
}

impl Sample {
    fn takes(self, name: &str) -> bool {
        let digits = name.rsplit('/').next().and_then(|hash| hash.get(..2));
        let Some(first) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return self.share > 0.0;
        };
        f64::from(first.wrapping_sub(self.offset)) < self.share * 256.0
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Examined {
    /// One sentence each; empty when there is nothing to say.
    pub findings: Vec<String>,
    /// Attachments that rows name and the backup holds.
    pub attachments: u64,
    /// Those that were read back and compared with their SHA-1, and their bytes.
    pub read: u64,
    pub read_bytes: u64,
}

/// Looks through one backup.
pub fn examine(
    repository: &Repository,
    snapshot: &str,
    sample: Sample,
    progress: &Arc<Progress>,
) -> Result<Examined> {
    let mut examined = Examined::default();
    let manifest = match manifest(repository, snapshot) {
        Ok(manifest) => manifest,
        Err(failure) => {
            examined.findings.push(format!("{}: {failure}", layout::MANIFEST));
            return Ok(examined);
        }
    };
    progress.done.store(0, Ordering::Relaxed);
    progress.total.store(attachment_bytes(&manifest, sample), Ordering::Relaxed);
    let mut examination = Examination { repository, snapshot, sample, progress, examined: &mut examined };
    for database in &manifest.databases {
        examination.database(database)?;
    }
    Ok(examined)
}

fn manifest(repository: &Repository, snapshot: &str) -> Result<Manifest> {
    let mut bytes = Vec::new();
    repository.read(snapshot, layout::MANIFEST, &mut bytes)?;
    parse(&bytes)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a sum of bytes, for a progress bar"
)]
fn attachment_bytes(manifest: &Manifest, sample: Sample) -> u64 {
    let all: u64 = manifest.databases.iter().map(|database| database.attachments.bytes).sum();
    (all as f64 * sample.share) as u64
}

struct Examination<'a> {
    repository: &'a Repository,
    snapshot: &'a str,
    sample: Sample,
    progress: &'a Progress,
    examined: &'a mut Examined,
}

impl Examination<'_> {
    fn database(&mut self, facts: &DatabaseFacts) -> Result<()> {
        let parts = self.sizes(&format!("{}/{}", layout::DATABASES, facts.name))?;
        self.dump(facts, &parts);
        let damaged = facts.attachments.missing.iter().chain(&facts.attachments.altered);
        let damaged: Vec<&str> = damaged.map(String::as_str).collect();
        self.finding(&facts.name, "missing or altered on the server already", damaged.iter().copied());
        // A database that is not Odoo's has no attachments, and no list of them.
        let has_list = parts.contains_key(layout::ATTACHMENTS);
        if !has_list && facts.attachments.files == 0 && damaged.is_empty() {
            return Ok(());
        }
        match self.named(&facts.name) {
            Ok(named) => self.attachments(facts, &named, &damaged),
            Err(failure) => {
                self.examined.findings.push(format!("{}: {failure}", layout::attachments(&facts.name)));
                Ok(())
            }
        }
    }

    /// Those that rows name are there, and where they are in the sample they are what their name says.
    fn attachments(&mut self, facts: &DatabaseFacts, named: &[Named], damaged: &[&str]) -> Result<()> {
        let found = self.sizes(&layout::filestore(&facts.name))?;
        let expected = named.iter().filter(|named| !damaged.contains(&named.name.as_str()));
        let (mut missing, mut truncated, mut altered) = (Vec::new(), Vec::new(), Vec::new());
        for named in expected {
            match found.get(&named.name) {
                None => missing.push(named.name.as_str()),
                Some(size) if named.size.is_some_and(|told| told != *size) => {
                    truncated.push(named.name.as_str());
                }
                Some(_) => {
                    self.examined.attachments += 1;
                    if self.sample.takes(&named.name) && !self.is_itself(&facts.name, &named.name)? {
                        altered.push(named.name.as_str());
                    }
                }
            }
        }
        self.finding(&facts.name, "not in the backup", missing);
        self.finding(&facts.name, "not of the length that the row tells", truncated);
        self.finding(&facts.name, "not readable or not what its name says", altered);
        Ok(())
    }

    /// The dump is of the length that was noted when it was written, and begins like one.
    fn dump(&mut self, facts: &DatabaseFacts, parts: &BTreeMap<String, u64>) {
        let path = layout::dump(&facts.name);
        let finding = match parts.get(layout::DUMP) {
            None => Some("it is not in the backup".to_owned()),
            Some(size) if *size != facts.dump => {
                Some(format!("it has {size} bytes, the manifest says {}", facts.dump))
            }
            Some(_) => match self.beginning(&path) {
                Ok(true) => None,
                Ok(false) => Some("it does not begin like an archive of pg_dump".to_owned()),
                Err(failure) => Some(failure.to_string()),
            },
        };
        self.examined.findings.extend(finding.map(|finding| format!("{path}: {finding}")));
    }

    fn beginning(&self, path: &str) -> Result<bool> {
        let mut beginning = Beginning(Vec::new());
        let read = self.repository.read(self.snapshot, path, &mut beginning);
        // It is stopped on purpose once enough was seen.
        if beginning.0.len() < MAGIC.len() {
            read?;
        }
        Ok(beginning.0 == MAGIC)
    }

    /// What the rows of a database named at that moment.
    fn named(&self, database: &str) -> Result<Vec<Named>> {
        let mut text = Vec::new();
        self.repository.read(self.snapshot, &layout::attachments(database), &mut text)?;
        let text = String::from_utf8(text).map_err(|_| Failure::failed("it is no text"))?;
        text.lines().map(Named::parse).collect()
    }

    /// Files below a directory by their path in it, with their sizes; none when it is not there.
    fn sizes(&self, directory: &str) -> Result<BTreeMap<String, u64>> {
        let mut sizes = BTreeMap::new();
        if !self.repository.has_directory(self.snapshot, directory)? {
            return Ok(sizes);
        }
        self.repository.walk(self.snapshot, directory, &mut |node| {
            let path = node.path.strip_prefix(directory).unwrap_or(&node.path);
            if !node.is_directory {
                sizes.insert(path.display().to_string(), node.size);
            }
            Ok(())
        })?;
        Ok(sizes)
    }

    /// Reads an attachment and compares it with its SHA-1. What cannot be read is not itself.
    fn is_itself(&mut self, database: &str, name: &str) -> Result<bool> {
        if self.progress.stop.load(Ordering::Relaxed) {
            return Err(Failure::failed("interrupted; nothing was changed"));
        }
        let path = format!("{}/{name}", layout::filestore(database));
        let mut hashing = Hashing { hash: Sha1::new(), bytes: 0 };
        let read = self.repository.read(self.snapshot, &path, &mut hashing);
        self.progress.done.fetch_add(hashing.bytes, Ordering::Relaxed);
        self.examined.read += 1;
        self.examined.read_bytes += hashing.bytes;
        // About the content of a file with another name nothing is known.
        let told = digest_in(name);
        Ok(read.is_ok() && told.is_none_or(|told| told == <[u8; 20]>::from(hashing.hash.finalize())))
    }

    fn finding<'n>(&mut self, database: &str, what: &str, names: impl IntoIterator<Item = &'n str>) {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        if !names.is_empty() {
            let attachments = count(names.len() as u64, "attachment");
            let names = crate::backup::words::some(&names, NAMED);
            self.examined.findings.push(format!("database {database}: {attachments} {what}: {names}"));
        }
    }
}

/// Takes as many bytes as the magic has, then refuses more.
struct Beginning(Vec<u8>);

impl Write for Beginning {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let left = MAGIC.len() - self.0.len();
        if left == 0 {
            return Err(io::Error::other("enough was seen"));
        }
        let taken = chunk.len().min(left);
        self.0.extend_from_slice(&chunk[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Hashing {
    hash: Sha1,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_its_share_and_moves() {
        let names: Vec<String> = (0..256).map(|byte| format!("{byte:02x}/{byte:02x}aa")).collect();
        let taken = |share, offset| {
            let sample = Sample { share, offset };
            names.iter().filter(|name| sample.takes(name)).count()
        };
        assert_eq!((taken(0.0, 0), taken(1.0, 77), taken(0.25, 200)), (0, 256, 64));
        assert!(!Sample { share: 0.1, offset: 3 }.takes("02/02aa"));
        assert!(Sample { share: 0.1, offset: 2 }.takes("02/02aa"));
        assert!(Sample { share: 0.1, offset: 0 }.takes("odd name"), "what is no hash is always read");
    }

    #[test]
    fn a_beginning_is_all_that_is_taken() {
        let mut beginning = Beginning(Vec::new());
        assert_eq!(beginning.write(b"PGD").unwrap(), 3);
        assert_eq!(beginning.write(b"MP and more").unwrap(), 2);
        assert!(beginning.write(b" more").is_err());
        assert_eq!(beginning.0, MAGIC);
    }
}
