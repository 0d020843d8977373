//! Reading attachments and comparing them with their names.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use sha1::{Digest, Sha1};

use super::named::digest_in;

/// Where readers note what they found. Shared by the threads that read.
#[derive(Debug, Default)]
pub struct Findings {
    altered: Mutex<BTreeSet<String>>,
}

impl Findings {
    pub fn note_altered(&self, name: &str) {
        self.altered.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Names of files whose content does not have the SHA-1 that is their name, sorted.
    #[must_use]
    pub fn altered(&self) -> Vec<String> {
        self.altered.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Reads an attachment and, at its end, compares its SHA-1 with its name. One that was altered is noted,
/// and is no error: its bytes are passed on as they are. A read error is one.
pub struct Checked<R> {
    inner: R,
    name: String,
    /// Until the end was reached; `None` for a name that says nothing about the content.
    hasher: Option<Sha1>,
    findings: Arc<Findings>,
}

impl<R: Read> Checked<R> {
    /// `name` as in [`Named`](super::Named).
    pub fn new(inner: R, name: &str, findings: Arc<Findings>) -> Checked<R> {
        let hasher = digest_in(name).map(|_| Sha1::new());
        Checked { inner, name: name.to_owned(), hasher, findings }
    }

    fn finish(&mut self) {
        if let Some(hasher) = self.hasher.take()
            && digest_in(&self.name) != Some(hasher.finalize().into())
        {
            self.findings.note_altered(&self.name);
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..read]);
            }
        } else if !buffer.is_empty() {
            self.finish();
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "da/da39a3ee5e6b4b0d3255bfef95601890afd80709";
    const ABC: &str = "a9/a9993e364706816aba3e25717850c26c9cd0d89d";

    fn read(name: &str, content: &[u8]) -> Vec<String> {
        let findings = Arc::new(Findings::default());
        let mut passed = Vec::new();
        Checked::new(content, name, findings.clone()).read_to_end(&mut passed).unwrap();
        assert_eq!(passed, content);
        findings.altered()
    }

    #[test]
    fn content_is_compared_with_its_name() {
        assert!(read(EMPTY, b"").is_empty());
        assert!(read(ABC, b"abc").is_empty());
        assert_eq!(read(ABC, b"abd"), [ABC]);
        assert_eq!(read(ABC, b""), [ABC]);
        assert!(read("old/name", b"anything").is_empty());
    }

    #[test]
    fn nothing_is_said_of_what_was_not_read_to_its_end() {
        let findings = Arc::new(Findings::default());
        let mut reader = Checked::new(&b"abd"[..], ABC, findings.clone());
        assert_eq!(reader.read(&mut [0; 3]).unwrap(), 3);
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert!(findings.altered().is_empty());
        drop(reader);
        assert!(findings.altered().is_empty());
    }

    #[test]
    fn an_error_stays_one() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("bad sector"))
            }
        }
        let findings = Arc::new(Findings::default());
        let error = Checked::new(Broken, ABC, findings.clone()).read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.to_string(), "bad sector");
        assert!(findings.altered().is_empty());
    }
}
