//! Looking for faults. rustic's own check stops at the first damaged tree, leaves out packs that no
//! tree leads to, and panics on some damage: this one reads everything itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustic_core::repofile::{BlobType, IndexBlob, IndexFile, Node, Tree};
use rustic_core::{BlobId, TreeId};

use super::backend::read_sound;
use super::crypto::Cipher;
use super::store::{FileKind, Store, StoreError, Trouble};
use super::{Depth, Progress, hex};
use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};

/// A pack as the indexes tell of it. A blob takes 48 bytes here and eight more in
/// [`Check::places`]: a million attachments, 56 MB.
struct Pack {
    name: String,
    size: u64,
    blobs: Vec<IndexBlob>,
}

/// The number of a pack, and of a blob in it.
type Spot = (u32, u32);

/// What a check found, one sentence each.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Of the repository, and of the backup that was asked about.
    pub faults: Vec<String>,
    /// Of other backups alone.
    pub elsewhere: Vec<String>,
    /// Names of packs that are gone or are not what was written.
    pub packs: BTreeSet<String>,
}

impl Checked {
    /// Everything that is wrong anywhere.
    #[must_use]
    pub fn all(self) -> Vec<String> {
        self.faults.into_iter().chain(self.elsewhere).collect()
    }
}

pub(super) struct Check<'a> {
    store: &'a dyn Store,
    cipher: &'a Cipher,
    progress: &'a Arc<Progress>,
    found: Mutex<Checked>,
    packs: Vec<Pack>,
    /// Every blob, in the order of their ids.
    places: Vec<Spot>,
}

/// What cannot be known for lack of a connection is no fault of the repository.
fn fault_of(error: StoreError) -> Result<String> {
    if error.trouble == Trouble::Connection { Err(error.into()) } else { Ok(error.message) }
}

impl<'a> Check<'a> {
    pub(super) fn new(store: &'a dyn Store, cipher: &'a Cipher, progress: &'a Arc<Progress>) -> Check<'a> {
        Check { store, cipher, progress, found: Mutex::default(), packs: Vec::new(), places: Vec::new() }
    }

    /// `trees`: the snapshots' roots, with what to call each. `of`: the one that is asked about, or all.
    pub(super) fn run(
        mut self,
        trees: &[(TreeId, String)],
        depth: Depth,
        of: Option<&str>,
    ) -> Result<Checked> {
        self.config()?;
        self.keys()?;
        self.indexes()?;
        self.sizes()?;
        self.trees(trees, of)?;
        if let Depth::Data(share) = depth {
            self.data(share)?;
        }
        Ok(self.found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn fault(&self, sentence: impl Into<String>) {
        self.found().faults.push(sentence.into());
    }

    /// Nothing of it can be relied on.
    fn broken(&self, pack: &str, sentence: impl Into<String>) {
        let mut found = self.found();
        found.packs.insert(pack.to_owned());
        found.faults.push(sentence.into());
    }

    fn found(&self) -> MutexGuard<'_, Checked> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn going_on(&self) -> Result<()> {
        if self.progress.stop.load(Relaxed) { Err(Failure::failed("the check was stopped")) } else { Ok(()) }
    }

    /// The content of a file whose name is its hash, or a fault.
    fn sound(&self, kind: FileKind, name: &str) -> Result<Option<Bytes>> {
        self.going_on()?;
        match read_sound(self.store, kind, name) {
            Ok(content) => Ok(Some(content)),
            Err(error) => {
                self.fault(fault_of(error)?);
                Ok(None)
            }
        }
    }

    fn config(&self) -> Result<()> {
        if let Some(content) = self.sound(FileKind::Config, "config")?
            && self.cipher.decrypt_file(&content).is_none()
        {
            self.fault("config is damaged: it cannot be decrypted");
        }
        Ok(())
    }

    fn keys(&self) -> Result<()> {
        for (name, _) in self.store.list(FileKind::Key)? {
            self.sound(FileKind::Key, &name)?;
        }
        Ok(())
    }

    fn indexes(&mut self) -> Result<()> {
        let mut packs = BTreeMap::new();
        for (name, _) in self.store.list(FileKind::Index)? {
            let Some(content) = self.sound(FileKind::Index, &name)? else { continue };
            let json = self.cipher.decrypt_file(&content);
            match json.as_deref().map(serde_json::from_slice::<IndexFile>) {
                Some(Ok(index)) => packs.extend(index.packs.into_iter().map(|pack| (*pack.id, pack))),
                _ => self.fault(format!("index/{name} cannot be decrypted or is no index")),
            }
        }
        for (id, pack) in packs {
            let size = u64::from(pack.pack_size());
            self.packs.push(Pack { name: hex(&id), size, blobs: pack.blobs });
        }
        self.arrange()
    }

    fn arrange(&mut self) -> Result<()> {
        let mut places = Vec::new();
        for (number, pack) in self.packs.iter().enumerate() {
            for at in 0..pack.blobs.len() {
                let place = u32::try_from(number).and_then(|number| Ok((number, u32::try_from(at)?)));
                places.push(place.context("the repository has too many packs to be checked")?);
            }
        }
        places.sort_unstable_by_key(|place| self.at(*place).map(|(_, blob)| (blob.id, blob.tpe)));
        self.places = places;
        Ok(())
    }

    fn at(&self, (pack, blob): Spot) -> Option<(&Pack, &IndexBlob)> {
        let pack = self.packs.get(pack as usize)?;
        Some((pack, pack.blobs.get(blob as usize)?))
    }

    /// Packs that no index knows are left by a backup that was cut short: no fault.
    fn sizes(&self) -> Result<()> {
        let there: BTreeMap<String, u64> = self.store.list(FileKind::Pack)?.into_iter().collect();
        for pack in &self.packs {
            match there.get(&pack.name) {
                None => {
                    self.broken(&pack.name, format!("pack {} is missing ({} bytes)", pack.name, pack.size));
                }
                Some(size) if *size != pack.size => {
                    let sentence = format!("pack {} has {size} bytes instead of {}", pack.name, pack.size);
                    self.broken(&pack.name, sentence);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn find(&self, id: BlobId, kind: BlobType) -> Option<(&Pack, &IndexBlob)> {
        let key = |place: &Spot| self.at(*place).map(|(_, blob)| (blob.id, blob.tpe));
        let at = self.places.binary_search_by_key(&Some((id, kind)), key).ok()?;
        self.at(*self.places.get(at)?)
    }

    /// The backup that is asked about comes first: what it shares with others is its own.
    fn trees(&self, trees: &[(TreeId, String)], of: Option<&str>) -> Result<()> {
        let (wanted, others): (Vec<_>, Vec<_>) =
            trees.iter().partition(|(_, snapshot)| of.is_none_or(|of| of == snapshot));
        let mut seen = HashSet::new();
        for (id, snapshot) in wanted {
            self.tree(*id, snapshot, Path::new(""), &mut seen)?;
        }
        let ours = self.found().faults.len();
        for (id, snapshot) in others {
            self.tree(*id, snapshot, Path::new(""), &mut seen)?;
        }
        let mut found = self.found();
        found.elsewhere = found.faults.split_off(ours);
        Ok(())
    }

    fn tree(&self, id: TreeId, snapshot: &str, path: &Path, seen: &mut HashSet<TreeId>) -> Result<()> {
        if !seen.insert(id) {
            return Ok(());
        }
        let what = || format!("backup {snapshot}: the directory /{}", path.display());
        match self.read_tree(id)? {
            Err(reason) => self.fault(format!("{} cannot be read: {reason}", what())),
            Ok(tree) => {
                for node in &tree.nodes {
                    self.node(node, snapshot, &path.join(node.name()), seen)?;
                }
            }
        }
        Ok(())
    }

    fn node(&self, node: &Node, snapshot: &str, path: &Path, seen: &mut HashSet<TreeId>) -> Result<()> {
        if let Some(tree) = node.subtree {
            return self.tree(tree, snapshot, path, seen);
        }
        let parts = node.content.as_deref().unwrap_or_default();
        let found = parts.iter().filter_map(|id| self.find(BlobId::from(**id), BlobType::Data));
        let sizes: Vec<u64> = found.map(|(_, blob)| blob.location.data_length().into()).collect();
        let (missing, size) = (parts.len() - sizes.len(), sizes.iter().sum::<u64>());
        let what = || format!("backup {snapshot}: /{}", path.display());
        if missing > 0 {
            self.fault(format!("{}: {missing} of its {} parts are in no index", what(), parts.len()));
        } else if node.is_file() && size != node.meta.size {
            // The restic program restores what is told here, and an empty file for 0.
            self.fault(format!("{} has {size} bytes and is said to have {}", what(), node.meta.size));
        }
        Ok(())
    }

    /// The inner result: why it cannot be read.
    fn read_tree(&self, id: TreeId) -> Result<std::result::Result<Tree, String>> {
        self.going_on()?;
        let id = BlobId::from(*id);
        let Some((pack, blob)) = self.find(id, BlobType::Tree) else {
            return Ok(Err("it is in no index".to_owned()));
        };
        let (offset, length) = (blob.location.offset.into(), blob.location.length.into());
        let sealed = match self.store.read_range(FileKind::Pack, &pack.name, offset, length) {
            Ok(sealed) => sealed,
            Err(error) => return Ok(Err(fault_of(error)?)),
        };
        let plain = plain(self.cipher, &sealed, blob);
        if plain.is_err() {
            self.found().packs.insert(pack.name.clone());
        }
        Ok(plain.and_then(|json| serde_json::from_slice(&json).map_err(|error| error.to_string())))
    }

    fn data(&self, share: f64) -> Result<()> {
        let chosen = self.choose(share)?;
        self.progress.done.store(0, Relaxed);
        self.progress.total.store(chosen.iter().map(|pack| pack.size).sum(), Relaxed);
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.packs(&chosen, &next))).collect();
            let ended = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(Failure::failed("checking broke off"))));
            ended.collect()
        })
    }

    /// Packs at random, until they have this share of the bytes.
    fn choose(&self, share: f64) -> Result<Vec<&Pack>> {
        let mut packs = Vec::with_capacity(self.packs.len());
        for pack in &self.packs {
            packs.push((getrandom::u64().context("the kernel gives no random bytes")?, pack));
        }
        packs.sort_unstable_by_key(|(random, _)| *random);
        #[expect(clippy::cast_precision_loss, reason = "a share is no exact number")]
        let wanted = packs.iter().map(|(_, pack)| pack.size as f64).sum::<f64>() * share;
        let mut sum = 0.0;
        let mut chosen = Vec::new();
        for (_, pack) in packs {
            if share < 1.0 && sum >= wanted {
                break;
            }
            #[expect(clippy::cast_precision_loss, reason = "a share is no exact number")]
            let size = pack.size as f64;
            sum += size;
            chosen.push(pack);
        }
        Ok(chosen)
    }

    fn packs(&self, packs: &[&Pack], next: &AtomicUsize) -> Result<()> {
        while let Some(pack) = packs.get(next.fetch_add(1, Relaxed)) {
            self.going_on()?;
            self.pack(pack)?;
            self.progress.done.fetch_add(pack.size, Relaxed);
        }
        Ok(())
    }

    /// One fault a pack: its hash covers every byte, and what lies beneath follows from it.
    fn pack(&self, pack: &Pack) -> Result<()> {
        let content = match self.store.read(FileKind::Pack, &pack.name) {
            Ok(content) => content,
            // Told already: it is missing.
            Err(error) if error.trouble == Trouble::Absent => return Ok(()),
            Err(error) => {
                self.fault(fault_of(error)?);
                return Ok(());
            }
        };
        if sha256_hex(&content) != pack.name {
            let sentence = format!("pack {} is damaged: its content is not what its name says", pack.name);
            self.broken(&pack.name, sentence);
            return Ok(());
        }
        for blob in &pack.blobs {
            let start = blob.location.offset as usize;
            let sealed = content.get(start..start.saturating_add(blob.location.length as usize));
            let found = sealed.ok_or_else(|| "it lies outside".to_owned());
            if let Err(reason) = found.and_then(|sealed| plain(self.cipher, sealed, blob)) {
                self.broken(&pack.name, format!("pack {}, part {}: {reason}", pack.name, hex(&blob.id)));
            }
        }
        Ok(())
    }
}

/// Decrypts a blob and compares it with its id; else why that cannot be done.
pub(super) fn plain(
    cipher: &Cipher,
    sealed: &[u8],
    blob: &IndexBlob,
) -> std::result::Result<Vec<u8>, String> {
    let plain = cipher.decrypt(sealed).ok_or("it is damaged")?;
    let plain = match blob.location.uncompressed_length {
        None => plain,
        Some(length) => zstd::bulk::decompress(&plain, length.get() as usize)
            .map_err(|error| format!("it cannot be decompressed: {error}"))?,
    };
    if sha256_hex(&plain) == hex(&blob.id) { Ok(plain) } else { Err("its content is another".to_owned()) }
}
