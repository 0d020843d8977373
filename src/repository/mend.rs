//! Packs that are damaged or gone are taken out of the index. rustic asks the index alone whether
//! something is stored: as long as it names them, every later backup relies on what nobody can read.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::repofile::{BlobType, IndexFile, IndexPack};

use super::backend::read_sound;
use super::check::plain;
use super::locks::{self, Doing};
use super::packing::{Part, pack};
use super::store::{FileKind, Store, StoreError, Trouble};
use super::{Repository, hex};
use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};

/// What became of packs that a check complained about.
#[derive(Debug, Default)]
pub struct SetAside {
    /// Names of those that were taken out of the index.
    pub packs: Vec<String>,
    /// Parts of them, and how many could still be read and were stored anew.
    pub parts: u64,
    pub saved: u64,
}

/// An index file that names some of those packs.
struct Old {
    name: String,
    content: IndexFile,
}

impl Old {
    fn packs(&self) -> impl Iterator<Item = &IndexPack> {
        self.content.packs.iter().chain(&self.content.packs_to_delete)
    }
}

/// Crash-safe: until the old index files are gone, which is the last thing to happen, everything is
/// named that was named before. The packs themselves stay, and go with a later prune.
pub(super) fn set_aside(repository: &Repository, suspects: &BTreeSet<String>) -> Result<SetAside> {
    let store = &*repository.store;
    locks::respect(store, &repository.cipher, Doing::Pruning, Timestamp::now())?;
    may_remove(store)?;
    let suspects: BTreeSet<&String> = suspects.iter().collect();
    let mut told = SetAside::default();
    let mut broken = BTreeSet::new();
    let old = naming(repository, &suspects)?;
    for entry in old.iter().flat_map(Old::packs) {
        let name = hex(&entry.id);
        if suspects.contains(&name) && !broken.contains(&name) && is_set_aside(repository, entry, &mut told)?
        {
            broken.insert(name);
        }
    }
    replace(repository, old, &broken)?;
    told.packs = broken.into_iter().collect();
    Ok(told)
}

/// Writes the index files anew without these packs, then removes the old ones.
fn replace(repository: &Repository, mut old: Vec<Old>, broken: &BTreeSet<String>) -> Result<()> {
    let is_broken = |entry: &IndexPack| broken.contains(&hex(&entry.id));
    let store = &*repository.store;
    old.retain(|old| old.packs().any(is_broken));
    for Old { content, .. } in &mut old {
        content.packs.retain(|entry| !is_broken(entry));
        content.packs_to_delete.retain(|entry| !is_broken(entry));
    }
    for Old { content, .. } in old.iter().filter(|old| old.packs().next().is_some()) {
        let json = serde_json::to_vec(content).context("cannot write an index as JSON")?;
        write_index(store, repository.cipher.encrypt(&json)?.into())?;
    }
    for Old { name, .. } in &old {
        store.remove(FileKind::Index, name).map_err(|error| refused(store, error))?;
    }
    Ok(())
}

/// Asked before anything is written: a place that only takes would keep both indexes, run after run.
fn may_remove(store: &dyn Store) -> Result<()> {
    let nobodys = "0".repeat(64);
    store.remove(FileKind::Index, &nobodys).map_err(|error| refused(store, error))
}

fn refused(store: &dyn Store, error: StoreError) -> Failure {
    if error.trouble != Trouble::Denied {
        return error.into();
    }
    let mut failure = Failure::failed(format!("{} lets nothing be removed from here", store.location()));
    failure.causes.push(error.message);
    failure
        .hint("on the backup server itself run `restic repair packs` with the names of the damaged packs, and `restic repair index` for missing ones")
        .hint("until then every new backup relies on them; then run `autoodoo backup`, which reads anew what is lacking")
}

/// Index files that cannot be read are no business of this: they name nothing.
fn naming(repository: &Repository, packs: &BTreeSet<&String>) -> Result<Vec<Old>> {
    let mut found = Vec::new();
    for (name, _) in repository.store.list(FileKind::Index)? {
        let sealed = match read_sound(&*repository.store, FileKind::Index, &name) {
            Err(error) if matches!(error.trouble, Trouble::Absent | Trouble::Damaged) => continue,
            sealed => sealed?,
        };
        let json = repository.cipher.decrypt_file(&sealed);
        let Some(Ok(content)) = json.map(|json| serde_json::from_slice::<IndexFile>(&json)) else { continue };
        let old = Old { name, content };
        if old.packs().any(|entry| packs.contains(&hex(&entry.id))) {
            found.push(old);
        }
    }
    Ok(found)
}

/// Whether the pack is broken indeed, seen a second time. What of it can still be read is stored in a
/// pack of its own first.
fn is_set_aside(repository: &Repository, entry: &IndexPack, told: &mut SetAside) -> Result<bool> {
    let name = hex(&entry.id);
    let content = match repository.store.read(FileKind::Pack, &name) {
        Err(error) if error.trouble == Trouble::Absent => Bytes::new(),
        content => content?,
    };
    let parts = intact(repository, entry, &content);
    if sha256_hex(&content) == name && parts.len() == entry.blobs.len() {
        return Ok(false);
    }
    told.parts += entry.blobs.len() as u64;
    told.saved += parts.len() as u64;
    if !parts.is_empty() {
        let packed = pack(&repository.cipher, &parts)?;
        repository.store.write(FileKind::Pack, &packed.name, &[packed.pack])?;
        write_index(&*repository.store, packed.index)?;
    }
    Ok(true)
}

fn intact(repository: &Repository, entry: &IndexPack, content: &[u8]) -> Vec<Part> {
    let kind = entry.blobs.first().map_or(BlobType::Data, |blob| blob.tpe);
    let of_kind = entry.blobs.iter().filter(|blob| blob.tpe == kind);
    let read = of_kind.filter_map(|blob| {
        let start = blob.location.offset as usize;
        let sealed = content.get(start..start.checked_add(blob.location.length as usize)?)?;
        plain(&repository.cipher, sealed, blob).ok()?;
        let uncompressed = blob.location.uncompressed_length.map(std::num::NonZero::get);
        Some(Part { id: *blob.id, kind, sealed: sealed.to_vec(), uncompressed })
    });
    read.collect()
}

fn write_index(store: &dyn Store, index: Bytes) -> Result<()> {
    Ok(store.write(FileKind::Index, &sha256_hex(&index), &[index])?)
}
