//! The entries of a source as members of a tar archive.
//!
//! tar says how long a member is before its bytes. The length of a dump is not known before its
//! end, and a copy on the disk is not wanted: a stream that does not fit in one part becomes several
//! members `dump.pgdump.00000`, `dump.pgdump.00001`, …, which `cat dump.pgdump*` joins in order.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use jiff::Timestamp;

use super::members::{Attributes, Members, numbered};
use super::{Watch, Written};
use crate::backup::layout;
use crate::backup::source::Entry;

/// Bytes of a part: the most of an entry that is ever in memory.
pub const PART: usize = 32 << 20;
/// As many as five digits tell apart: 3 TB.
const PARTS: usize = 100_000;
/// The first member, for people.
const README: &str = "README.txt";

pub struct Tarball<'a, W: Write> {
    members: Members<W>,
    watch: Watch<'a>,
    /// When what has no file on the disk was made.
    now: Timestamp,
    part: Vec<u8>,
    manifest: Vec<u8>,
    files: u64,
    bytes: u64,
}

impl<'a, W: Write> Tarball<'a, W> {
    pub fn new(into: W, now: Timestamp, watch: Watch<'a>) -> Self {
        // All at once: memory that grew step by step would be there twice.
        let part = Vec::with_capacity(PART);
        Tarball { members: Members::new(into), watch, now, part, manifest: Vec::new(), files: 0, bytes: 0 }
    }

    /// The first member.
    pub fn readme(&mut self, text: &str) -> io::Result<()> {
        let attributes = Attributes::made(self.now);
        self.members.add(Path::new(README), text.len() as u64, attributes, text.as_bytes())
    }

    /// An error names the entry. After it the archive is good for nothing.
    pub fn entry(&mut self, entry: Entry) -> io::Result<()> {
        let path = entry.path.clone();
        self.read(entry).map_err(|error| at(&path, &error))?;
        self.files += 1;
        self.members.relieve(self.now)
    }

    /// Declares the archive whole. One without a manifest is not.
    pub fn finish(self) -> io::Result<(W, Written)> {
        let manifest = serde_json::from_slice(&self.manifest)
            .map_err(|error| at(Path::new(layout::MANIFEST), &error.into()))?;
        let into = self.members.finish(self.now)?;
        Ok((into, Written { files: self.files, bytes: self.bytes, manifest }))
    }

    fn read(&mut self, entry: Entry) -> io::Result<()> {
        let attributes = entry.stamp.map_or_else(|| Attributes::made(self.now), Attributes::from);
        let mut content = Watched { inner: (entry.open)()?, watch: self.watch, bytes: 0 };
        self.fill(&entry.path, &mut content)?;
        match entry.size {
            // Whatever was told before: this is what it has.
            _ if self.part.len() < PART => self.write_part(&entry.path, attributes)?,
            Some(size) => self.write_long(&entry.path, size, attributes, &mut content)?,
            None => self.write_parts(&entry.path, attributes, &mut content)?,
        }
        self.bytes += content.bytes;
        Ok(())
    }

    /// Reads the next part.
    fn fill(&mut self, path: &Path, content: &mut impl Read) -> io::Result<()> {
        self.part.clear();
        content.take(PART as u64).read_to_end(&mut self.part)?;
        if path == Path::new(layout::MANIFEST) {
            self.manifest.extend_from_slice(&self.part);
        }
        Ok(())
    }

    fn write_part(&mut self, path: &Path, attributes: Attributes) -> io::Result<()> {
        self.members.add(path, self.part.len() as u64, attributes, self.part.as_slice())
    }

    fn write_long(
        &mut self,
        path: &Path,
        size: u64,
        attributes: Attributes,
        rest: &mut impl Read,
    ) -> io::Result<()> {
        self.members.add(path, size, attributes, self.part.as_slice().chain(rest))
    }

    fn write_parts(&mut self, path: &Path, attributes: Attributes, rest: &mut impl Read) -> io::Result<()> {
        for number in 0..PARTS {
            self.write_part(&numbered(path, number), attributes)?;
            self.fill(path, rest)?;
            if self.part.is_empty() {
                return Ok(());
            }
        }
        Err(io::Error::new(ErrorKind::FileTooLarge, "it is longer than an export can hold"))
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Tells somebody of the bytes, who may end it.
struct Watched<'a, R> {
    inner: R,
    watch: Watch<'a>,
    bytes: u64,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        // An error of the kind `Interrupted` would be taken for "try again".
        (self.watch)(read as u64).map_err(io::Error::other)?;
        Ok(read)
    }
}
