//! What backups say of themselves, read from a repository once and then from this host.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backup::layout;
use crate::backup::manifest::{FORMAT, Manifest};
use crate::command::site::Loaded;
use crate::failure::{Context, Failure, Result};
use crate::host::files;
use crate::host::site_dir::SiteDir;
use crate::repository::{Repository, Snapshot};

/// A manifest is a few kilobytes for each database; what is longer is none.
const LONGEST: usize = 64 << 20;

/// Manifests by the id of their snapshot, which is the hash of its content: none ever changes.
#[derive(Debug, Clone)]
pub struct Manifests(PathBuf);

/// A backup that is there, and what it says of itself.
#[derive(Debug)]
pub struct Described {
    pub snapshot: Snapshot,
    /// Why it cannot be read, where that is so.
    pub manifest: Result<Manifest>,
}

/// The backups of one site in a repository.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Oldest first.
    pub backups: Vec<Described>,
    /// What is to be said of files among the snapshots that are none: half written, or damaged.
    pub unreadable: Vec<String>,
}

impl Manifests {
    #[must_use]
    pub fn of(dir: &SiteDir) -> Manifests {
        Manifests(dir.state_dir().join("cache").join("manifests"))
    }

    /// Blocks.
    pub fn get(&self, repository: &Repository, snapshot: &str) -> Result<Manifest> {
        // A copy that is torn or gone is read anew: the repository has it.
        let kept = files::read_optional(&self.file(snapshot)).ok().flatten();
        if let Some(manifest) = kept.and_then(|bytes| parse(&bytes).ok()) {
            return Ok(manifest);
        }
        let mut bytes = Vec::new();
        repository.read(snapshot, layout::MANIFEST, &mut Bounded { bytes: &mut bytes, left: LONGEST })?;
        let manifest = parse(&bytes)?;
        self.write(snapshot, &bytes)?;
        Ok(manifest)
    }

    /// Keeps what was written just now, so that nobody has to fetch it. Blocks.
    pub fn keep(&self, snapshot: &str, manifest: &Manifest) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(manifest).context("cannot write a manifest as JSON")?;
        self.write(snapshot, &bytes)
    }

    fn write(&self, snapshot: &str, bytes: &[u8]) -> Result<()> {
        files::ensure_dir(&self.0, 0o700)?;
        files::write_atomic(&self.file(snapshot), bytes, 0o600)
    }

    fn file(&self, snapshot: &str) -> PathBuf {
        self.0.join(format!("{snapshot}.json"))
    }

    /// Every backup of this site. Blocks.
    pub fn catalogue(&self, repository: &Repository, site: &str) -> Result<Catalogue> {
        let listing = repository.snapshots()?;
        let ours = listing.snapshots.into_iter().filter(|snapshot| snapshot.host == site);
        let backups = ours.map(|snapshot| {
            let manifest = self.get(repository, &snapshot.id);
            Described { snapshot, manifest }
        });
        Ok(Catalogue { backups: backups.collect(), unreadable: listing.unreadable })
    }
}

/// The catalogue of an open repository.
pub async fn catalogue(loaded: &Loaded, repository: &Arc<Repository>) -> Result<Catalogue> {
    let (manifests, site) = (Manifests::of(&loaded.dir), loaded.site.name.to_string());
    let repository = Arc::clone(repository);
    super::opened::blocking(move || manifests.catalogue(&repository, &site)).await
}

/// Reads a manifest; one of a later autoodoo is refused rather than half understood.
pub fn parse(bytes: &[u8]) -> Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let strange =
        |error: serde_json::Error| Failure::failed("its manifest.json cannot be understood").because(error);
    let Format { format } = serde_json::from_slice(bytes).map_err(strange)?;
    if format != FORMAT {
        let message = format!("its manifest.json is of format {format}; this autoodoo knows {FORMAT}");
        return Err(Failure::failed(message).hint("use the autoodoo that made the backup, or a newer one"));
    }
    serde_json::from_slice(bytes).map_err(strange)
}

/// Refuses more than it has room for.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    left: usize,
}

impl std::io::Write for Bounded<'_> {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        self.left = self
            .left
            .checked_sub(chunk.len())
            .ok_or_else(|| std::io::Error::other("it is too long for a manifest"))?;
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_that_are_not_known_are_refused() {
        for (text, said) in [
            ("", "cannot be understood"),
            ("{\"format\":2,\"zebra\":1}", "is of format 2; this autoodoo knows 1"),
            ("{\"format\":1}", "missing field"),
        ] {
            let failure = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(failure.contains(said), "{failure}");
        }
    }
}
