//! A backup from its source to its snapshot.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{BackupOptions, IndexedTree, TreeId};

use super::archive::{Adapter, Counts, Tally};
use super::backend::Backend;
use super::gate::{Bars, Gate};
use super::locks::{self, Doing};
use super::sizes::{Corrected, Sizes};
use super::source::Source;
use super::store::FileKind;
use super::{Label, Listing, Progress, Repository, Saved, fault, hex, snapshot};
use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};

/// What a snapshot says it holds. restic and rustic look for the previous one by it.
const ROOT: &str = "/";

pub(super) fn back_up(
    repository: &Repository,
    source: Arc<dyn Source>,
    label: &Label,
    progress: &Arc<Progress>,
) -> Result<Saved> {
    locks::respect(&*repository.store, &repository.cipher, Doing::BackingUp, Timestamp::now())?;
    let gate = Gate::new(progress);
    let indexes = names(repository, FileKind::Index)?;
    let (mut snapshot, counts) = archive(repository, source, label, progress, &gate)?;
    if !counts.sizes.is_empty() {
        snapshot.tree = correct(repository, &gate, snapshot.tree, &counts.sizes)?;
    }
    unpruned(repository, &gate, &indexes)?;
    let id = save(repository, &gate, &snapshot)?;
    let summary = snapshot.summary.unwrap_or_default();
    Ok(Saved {
        id,
        files: summary.total_files_processed,
        bytes: summary.total_bytes_processed,
        added: summary.data_added_packed,
    })
}

/// Lets rustic store everything but the snapshot, and makes sure that it was everything.
fn archive(
    repository: &Repository,
    source: Arc<dyn Source>,
    label: &Label,
    progress: &Arc<Progress>,
    gate: &Arc<Gate>,
) -> Result<(SnapshotFile, Counts)> {
    let tally = Arc::new(Tally::default());
    let adapter = Adapter { source, gate: Arc::clone(gate), tally: Arc::clone(&tally) };
    let indexed =
        repository.indexed(gate, || Bars::bytes(progress), rustic_core::Repository::to_indexed_ids)?;
    let options = options(repository, label, &indexed)?;
    let archived = indexed.archive(&options, &adapter, unsaved(label), &[PathBuf::from(ROOT)]);
    // What shut the gate is the cause; what rustic tells, if anything, is an effect.
    gate.passed()?;
    let snapshot = archived.map_err(|error| fault::failure("cannot save the backup", &error))?;
    let counts = tally.take();
    whole(&counts, &snapshot)?;
    Ok((snapshot, counts))
}

/// The newest backup of this site, whose unchanged files are not read again. rustic would look for it
/// itself, but would do without where any snapshot cannot be read.
fn options<S: IndexedTree>(
    repository: &Repository,
    label: &Label,
    indexed: &rustic_core::Repository<S>,
) -> Result<BackupOptions> {
    let (files, _) = repository.snapshot_files(repository.cache.as_deref())?;
    let listing = Listing { snapshots: files.iter().map(snapshot).collect(), ..Listing::default() };
    let newest = listing.newest(&label.site, label.time).map(|newest| &newest.id);
    let parent = files.iter().find(|file| Some(&hex(&file.id)) == newest);
    let parent = parent.filter(|file| has_trees(indexed, file.tree, &mut HashSet::new()));
    let mut options = BackupOptions::default();
    options.parent_opts.force = parent.is_none();
    options.parent_opts.parents.extend(parent.map(|file| file.id.to_hex().as_str().to_owned()));
    // rustic 0.13 has this the wrong way round (`Parent::is_parent`): set, inodes are compared.
    options.parent_opts.ignore_inode = true;
    Ok(options)
}

/// rustic 0.13 takes a directory that comes out as it was in the parent for stored, and does not ask
/// the index (`TreeArchiver::backup_tree`): a parent that lacks one makes a backup that lacks it.
fn has_trees<S: IndexedTree>(
    indexed: &rustic_core::Repository<S>,
    id: TreeId,
    seen: &mut HashSet<TreeId>,
) -> bool {
    if !seen.insert(id) {
        return true;
    }
    let Ok(tree) = indexed.get_tree(&id) else { return false };
    tree.nodes.iter().filter_map(|node| node.subtree).all(|below| has_trees(indexed, below, seen))
}

fn unsaved(label: &Label) -> SnapshotFile {
    let mut snapshot = SnapshotFile {
        // Days and weeks, by which backups are kept, are those of people here.
        time: Zoned::new(label.time, TimeZone::system()),
        hostname: label.site.clone(),
        program_version: format!("autoodoo {}", env!("CARGO_PKG_VERSION")),
        ..SnapshotFile::default()
    };
    for tag in &label.tags {
        snapshot.tags.add(tag.clone());
    }
    snapshot
}

/// rustic only logs what it leaves out. Everything that was offered must have arrived.
fn whole(counts: &Counts, snapshot: &SnapshotFile) -> Result<()> {
    let arrived = snapshot.summary.as_ref().map_or(0, |summary| summary.total_files_processed);
    if counts.complete && arrived == counts.files {
        return Ok(());
    }
    let offered = counts.files;
    Err(Failure::failed(format!(
        "only {arrived} of {offered} files arrived in the repository; nothing was saved"
    )))
}

/// The tree with the sizes that were read. Nearly always every tree on the way is new: looking at the
/// index files of this run is enough, which are few where all of them may be many.
fn correct(repository: &Repository, gate: &Arc<Gate>, root: TreeId, sizes: &Sizes) -> Result<TreeId> {
    let few = of_this_run(repository, gate)?;
    let (id, trees) = corrected(&few, root, sizes).or_else(|_| {
        let quiet = Arc::default();
        let all =
            repository.indexed(gate, || Bars::bytes(&quiet), rustic_core::Repository::to_indexed_ids)?;
        corrected(&all, root, sizes)
    })?;
    let packed = trees.pack(&repository.cipher)?;
    write(repository, gate, FileKind::Pack, &packed.name, packed.pack)?;
    write(repository, gate, FileKind::Index, &sha256_hex(&packed.index), packed.index)?;
    Ok(id)
}

fn of_this_run(
    repository: &Repository,
    gate: &Arc<Gate>,
) -> Result<rustic_core::Repository<impl IndexedTree + use<>>> {
    let backend = Backend::new(&repository.store, gate).of_this_run();
    // Without the cache: it would take the index files that are not shown for removed.
    let indexed = repository.session_on(backend, Bars::bytes(&Arc::default()), None)?.to_indexed_ids();
    indexed.map_err(|error| fault::failure("cannot read back what was saved", &error))
}

fn corrected<S: IndexedTree>(
    indexed: &rustic_core::Repository<S>,
    root: TreeId,
    sizes: &Sizes,
) -> Result<(TreeId, Corrected)> {
    let get = |id: TreeId| {
        let tree = indexed.get_tree(&id);
        tree.map_err(|error| fault::failure("cannot read back a directory that was saved", &error))
    };
    let mut trees = Corrected::default();
    Ok((trees.tree(root, sizes, &get)?, trees))
}

fn names(repository: &Repository, kind: FileKind) -> Result<HashSet<String>> {
    Ok(repository.store.list(kind)?.into_iter().map(|(name, _)| name).collect())
}

/// We leave no lock of restic's, which a target that takes no deletions would keep for ever. So somebody
/// may have pruned meanwhile, and a prune of restic's takes the packs of a backup under way for
/// rubbish: index files from before it began would be gone, or packs of ours.
fn unpruned(repository: &Repository, gate: &Gate, indexes: &HashSet<String>) -> Result<()> {
    locks::respect(&*repository.store, &repository.cipher, Doing::BackingUp, Timestamp::now())?;
    let there = indexes.is_subset(&names(repository, FileKind::Index)?)
        && gate.packs().is_subset(&names(repository, FileKind::Pack)?);
    if there {
        return Ok(());
    }
    let failure =
        Failure::failed("the repository was pruned while the backup was written; nothing was saved")
            .hint("run the backup again, and prune at another time");
    // They may name packs that are gone, which the next backup would take for stored.
    let mut ours = gate.indexes().into_iter().map(|id| hex(&id));
    match ours.try_for_each(|name| repository.store.remove(FileKind::Index, &name)) {
        Ok(()) => Err(failure),
        Err(error) => Err(failure
            .because(error)
            .hint("on the backup server, run `restic repair index` (`rebuild-index` before 0.16) first")),
    }
}

/// The last thing that is written: whatever happens before, there is no backup.
fn save(repository: &Repository, gate: &Gate, snapshot: &SnapshotFile) -> Result<String> {
    let json = serde_json::to_vec(snapshot).context("cannot write the snapshot as JSON")?;
    let sealed = repository.cipher.encrypt(&json)?;
    let id = sha256_hex(&sealed);
    write(repository, gate, FileKind::Snapshot, &id, sealed.into())?;
    Ok(id)
}

fn write(repository: &Repository, gate: &Gate, kind: FileKind, name: &str, content: Bytes) -> Result<()> {
    gate.passed()?;
    repository.store.write(kind, name, &[content])?;
    if kind == FileKind::Pack {
        gate.wrote_pack(name.to_owned());
    }
    Ok(())
}
