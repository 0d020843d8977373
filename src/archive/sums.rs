//! `SHA256SUMS`, as `sha256sum --check` reads it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lines that are kept in memory before they become a member of the archive: those of 60,000
/// attachments.
pub const LIMIT: usize = 8 << 20;

/// Lines that have not been written yet.
#[derive(Default)]
pub struct Sums {
    lines: Vec<u8>,
}

impl Sums {
    /// `digest`: 64 hexadecimal digits.
    pub fn add(&mut self, path: &Path, digest: &str) {
        let name = path.as_os_str().as_bytes();
        let escaped = name.iter().any(|byte| matches!(byte, b'\\' | b'\n'));
        // A backslash in front says that the name is escaped (coreutils manual, "md5sum invocation").
        if escaped {
            self.lines.push(b'\\');
        }
        self.lines.extend_from_slice(digest.as_bytes());
        self.lines.extend_from_slice(b"  ");
        for byte in name {
            match byte {
                b'\\' => self.lines.extend_from_slice(b"\\\\"),
                b'\n' => self.lines.extend_from_slice(b"\\n"),
                _ => self.lines.push(*byte),
            }
        }
        self.lines.push(b'\n');
    }

    pub fn is_full(&self) -> bool {
        self.lines.len() >= LIMIT
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_sha256sum_does_it() {
        let mut sums = Sums::default();
        sums.add(Path::new("logs/a b.log"), "ab01");
        sums.add(Path::new("a\\b\nc"), "00");
        assert_eq!(sums.take(), b"ab01  logs/a b.log\n\\00  a\\\\b\\nc\n");
        assert_eq!(sums.take(), b"");
    }
}
