//! Reads a source as a repository does, on a thread of its own.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use autoodoo::backup::manifest::Manifest;
use autoodoo::repository::source::Source;

/// Everything, by path.
pub type Copy = BTreeMap<PathBuf, Vec<u8>>;

/// Reads everything; fails at the first entry that cannot be read.
pub fn copy(source: &dyn Source) -> io::Result<Copy> {
    let mut copy: Copy = BTreeMap::new();
    for entry in source.entries() {
        let entry = entry?;
        let mut bytes = Vec::new();
        (entry.open)()?.read_to_end(&mut bytes)?;
        assert!(entry.size.is_none_or(|size| size == bytes.len() as u64), "{}", entry.path.display());
        let last = copy.last_key_value().map(|(path, _)| path.clone());
        assert!(last < Some(entry.path.clone()), "{last:?} before {}", entry.path.display());
        copy.insert(entry.path, bytes);
    }
    Ok(copy)
}

pub fn manifest(copy: &Copy) -> Manifest {
    serde_json::from_slice(&copy[&PathBuf::from("manifest.json")]).unwrap()
}

/// Reads the beginning of the first dump, sets `begun`, waits for `go`, then reads everything after it.
pub fn copy_slowly(source: &dyn Source, begun: &AtomicBool, go: &AtomicBool) -> io::Result<()> {
    for entry in source.entries() {
        let entry = entry?;
        let is_dump = entry.path.ends_with("dump.pgdump");
        let mut reader = (entry.open)()?;
        if is_dump {
            reader.read_exact(&mut [0; 4096])?;
            begun.store(true, Ordering::SeqCst);
            while !go.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        io::copy(&mut reader, &mut io::sink())?;
    }
    Ok(())
}
