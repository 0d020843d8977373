//! Members of a tar archive, each with its line in `SHA256SUMS`.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::sums::Sums;
use crate::backup::source::Stamp;

/// The name of the sums; a number follows where there are several.
pub const SUMS: &str = "SHA256SUMS";

/// What a member's header says of it.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    pub modified: Timestamp,
}

impl Attributes {
    /// Of what is made while it is read.
    pub fn made(now: Timestamp) -> Attributes {
        Attributes { mode: 0o600, modified: now }
    }
}

impl From<Stamp> for Attributes {
    /// Whoever unpacks it can read it, and no program of the source becomes a set-uid one.
    fn from(stamp: Stamp) -> Attributes {
        Attributes { mode: (stamp.mode | 0o400) & 0o777, modified: stamp.modified }
    }
}

pub struct Members<W: Write> {
    tar: tar::Builder<W>,
    sums: Sums,
    /// Members of sums before the last one.
    written: usize,
}

impl<W: Write> Members<W> {
    pub fn new(into: W) -> Self {
        Members { tar: tar::Builder::new(into), sums: Sums::default(), written: 0 }
    }

    /// A member of exactly `size` bytes. After an error the archive is good for nothing.
    pub fn add(
        &mut self,
        path: &Path,
        size: u64,
        attributes: Attributes,
        content: impl Read,
    ) -> io::Result<()> {
        let mut content = Hashed { inner: content, hash: Sha256::new(), bytes: 0 };
        self.tar.append_data(&mut header(size, attributes), path, &mut content)?;
        if content.bytes != size {
            return Err(io::Error::new(ErrorKind::InvalidData, "it changed while it was read"));
        }
        self.sums.add(path, &format!("{:x}", content.hash.finalize()));
        Ok(())
    }

    /// Sums of very many files go in between, so that they need not all be remembered.
    pub fn relieve(&mut self, now: Timestamp) -> io::Result<()> {
        if self.sums.is_full() {
            self.write_sums(numbered(Path::new(SUMS), self.written), now)?;
            self.written += 1;
        }
        Ok(())
    }

    /// Writes the last of the sums and the end of the archive.
    pub fn finish(mut self, now: Timestamp) -> io::Result<W> {
        let name = match self.written {
            0 => PathBuf::from(SUMS),
            number => numbered(Path::new(SUMS), number),
        };
        self.write_sums(name, now)?;
        self.tar.into_inner()
    }

    fn write_sums(&mut self, name: PathBuf, now: Timestamp) -> io::Result<()> {
        let lines = self.sums.take();
        let size = lines.len() as u64;
        self.tar.append_data(&mut header(size, Attributes::made(now)), name, lines.as_slice())
    }
}

/// `PATH.00007`: five digits, so that every shell puts parts in their order.
pub fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:05}"));
    name.into()
}

/// GNU's kind of header, which knows long names and sizes beyond 8 GiB (GNU tar manual, "GNU tar and
/// POSIX tar"). No owner: who unpacks it owns it.
fn header(size: u64, attributes: Attributes) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(attributes.mode);
    header.set_mtime(u64::try_from(attributes.modified.as_second()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header
}

struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn very_many_sums_go_in_between() {
        let now = Timestamp::UNIX_EPOCH;
        let mut members = Members::new(Vec::new());
        let long = "d/".repeat(1000);
        for number in 0..5000 {
            let path = format!("{long}{number}");
            members.add(Path::new(&path), 0, Attributes::made(now), io::empty()).unwrap();
            members.relieve(now).unwrap();
        }
        let names = names(&members.finish(now).unwrap());
        let sums: Vec<&String> = names.iter().filter(|name| name.starts_with(SUMS)).collect();
        assert_eq!(sums, ["SHA256SUMS.00000", "SHA256SUMS.00001"]);
        assert_eq!(names.last(), Some(&"SHA256SUMS.00001".to_owned()));
    }

    #[test]
    fn a_member_has_the_length_that_was_told() {
        for content in ["shor", "longer"] {
            let mut members = Members::new(Vec::new());
            let attributes = Attributes::made(Timestamp::UNIX_EPOCH);
            let error = members.add(Path::new("a"), 5, attributes, content.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "it changed while it was read");
        }
    }

    #[test]
    fn a_path_does_not_lead_out() {
        for path in ["/etc/passwd", "../passwd", "logs/../../passwd"] {
            let mut members = Members::new(Vec::new());
            let attributes = Attributes::made(Timestamp::UNIX_EPOCH);
            assert!(members.add(Path::new(path), 0, attributes, io::empty()).is_err(), "{path}");
        }
    }

    #[test]
    fn modes_are_readable_and_never_set_uid() {
        let attributes = |mode| Attributes::from(Stamp { modified: Timestamp::UNIX_EPOCH, inode: 1, mode });
        assert_eq!(attributes(0o104_755).mode, 0o755);
        assert_eq!(attributes(0o000).mode, 0o400);
    }
}
