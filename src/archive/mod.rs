//! A backup as a single file, written as a stream: tar, zstd, and sealed for age or OpenPGP
//! recipients. What opens it again are those programs alone; the file's own `README.txt` says how.
//!
//! Its members are `README.txt`, the entries of the source, the manifest as the last of these, and
//! `SHA256SUMS` of all of them. One thread reads, hashes and packs; another compresses and seals.

pub mod age_key;
pub mod file;
mod members;
pub mod openpgp;
mod pipe;
mod readme;
pub mod seal;
mod sums;
mod tarball;

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::thread::{self, ScopedJoinHandle};

use zstd::stream::read::Encoder;

use crate::backup::layout;
use crate::backup::manifest::Manifest;
use crate::backup::source::Source;
use crate::failure::{Failure, Result};
use pipe::{Inlet, Outlet, is_unread, pipe};
pub use readme::{Readme, Subject};
use seal::{Recipients, seal};
use tarball::Tarball;

/// Told of bytes that were read; an error of it ends the export.
pub type Watch<'a> = &'a (dyn Fn(u64) -> io::Result<()> + Sync);

/// zstd's own default.
const LEVEL: i32 = 3;
/// Bytes between two calls of the operating system.
const BUFFER: usize = 256 << 10;

/// What is to be exported, and for whom.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    pub source: &'a dyn Source,
    pub subject: &'a Subject,
    pub recipients: &'a Recipients,
    pub watch: Watch<'a>,
}

/// What is in an export that was written to its end.
#[derive(Debug, Clone)]
pub struct Written {
    /// Entries of the source.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    pub manifest: Manifest,
}

/// Which side of an export did not work.
enum Fault {
    Source(io::Error),
    Sink(io::Error),
}

impl Export<'_> {
    /// Writes all of it. `into` is what a failure calls the place; what is there after a failure
    /// cannot be opened to its end.
    pub fn write_to(&self, into: &str, sink: impl Write) -> Result<Written> {
        self.write(sink).map_err(|fault| match fault {
            Fault::Source(error) => unreadable(&error),
            Fault::Sink(error) => Failure::failed(format!("cannot write {into}")).because(error),
        })
    }

    /// Writes all of it into what `consume` reads, on a thread of its own. The reader fails where the
    /// source did: it ends only once everything is in it.
    pub fn read_by<T>(&self, consume: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<(Written, T)> {
        let (mut inlet, mut outlet) = pipe();
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let written = self.write(&mut inlet)?;
                inlet.finish().map_err(Fault::Sink)?;
                Ok(written)
            });
            let consumed = consume(&mut outlet);
            // A writer that waits for its reader must learn that there is none any more.
            drop(outlet);
            match (join(writer), consumed) {
                (Err(Fault::Source(error)), _) => Err(unreadable(&error)),
                (_, Err(failure)) => Err(failure),
                (Err(Fault::Sink(error)), Ok(_)) => {
                    Err(Failure::failed("the export was not read to its end").because(error))
                }
                (Ok(written), Ok(consumed)) => Ok((written, consumed)),
            }
        })
    }

    fn write(&self, sink: impl Write) -> Result<Written, Fault> {
        let (inlet, outlet) = pipe();
        thread::scope(|scope| {
            let packer = scope.spawn(move || self.pack(inlet));
            let sealed = compress(outlet, self.recipients, sink);
            match (join(packer), sealed) {
                (Err(error), _) if !is_unread(&error) => Err(Fault::Source(error)),
                (_, Err(error)) | (Err(error), Ok(())) => Err(Fault::Sink(error)),
                (Ok(written), Ok(())) => Ok(written),
            }
        })
    }

    fn pack(&self, into: Inlet) -> io::Result<Written> {
        let mut tarball = Tarball::new(into, self.subject.made, self.watch);
        let readme = Readme { subject: self.subject, recipients: self.recipients };
        tarball.readme(&readme.to_string())?;
        for entry in self.source.entries() {
            let entry = entry?;
            // Of what is for everybody the source has left out the secrets, and counted without them.
            if self.recipients.is_sealed() || !layout::is_secret(&entry.path) {
                tarball.entry(entry)?;
            }
        }
        let (into, written) = tarball.finish()?;
        into.finish()?;
        Ok(written)
    }
}

fn compress(content: Outlet, recipients: &Recipients, sink: impl Write) -> io::Result<()> {
    let mut compressed = Encoder::with_buffer(BufReader::with_capacity(BUFFER, content), LEVEL)?;
    compressed.include_checksum(true)?;
    let mut sink = BufWriter::with_capacity(BUFFER, sink);
    seal(recipients, compressed, &mut sink)?;
    sink.flush()
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::failed("the export failed: not everything could be read").because(error)
}

/// A panic goes on where the thread was begun.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests;
