//! Our stores as rustic sees them.

use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::gate::{Fault, Gate};
use super::store::{FileKind, Store, StoreError, StoreResult, Trouble};
use crate::digest::sha256_hex;
use crate::failure::Failure;

/// One operation's view of a store. What it promises beyond the store:
/// - A file comes as it was written, or not at all: names are hashes, and they are compared. rustic
///   only authenticates what is encrypted, and some of its readers panic at what is too short.
/// - Nothing is written or removed once the [`Gate`] is shut.
/// - rustic's own snapshots are withheld, always: it saves one even when a source failed, and with
///   wrong sizes. [`super::archive`] saves the one that counts.
pub(super) struct Backend {
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
    /// Only these index files are to be seen; `None`: all.
    indexes: Option<Vec<Id>>,
    /// Shown in place of the store's.
    config: Option<Bytes>,
}

impl Backend {
    pub(super) fn new(store: &Arc<dyn Store>, gate: &Arc<Gate>) -> Backend {
        Backend { store: Arc::clone(store), gate: Arc::clone(gate), indexes: None, config: None }
    }

    /// Sees only the index files that this operation wrote.
    pub(super) fn of_this_run(self) -> Backend {
        Backend { indexes: Some(self.gate.indexes()), ..self }
    }

    pub(super) fn with_config(self, config: &Bytes) -> Backend {
        Backend { config: Some(config.clone()), ..self }
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        match &self.config {
            Some(config) if kind == FileKind::Config => Ok(vec![("config".to_owned(), config.len() as u64)]),
            _ => self.store.list(kind),
        }
    }

    fn shows(&self, kind: FileKind, name: &str, id: &Id) -> bool {
        match kind {
            // One damaged key must not hide a sound one: rustic gives up at the first.
            FileKind::Key => read_sound(&*self.store, kind, name).is_ok(),
            FileKind::Index => self.indexes.as_ref().is_none_or(|shown| shown.contains(id)),
            _ => true,
        }
    }

    fn pass(&self) -> RusticResult<()> {
        let passed = self.gate.open();
        passed.map_err(|fault| RusticError::new(ErrorKind::Other, Failure::from(fault).message))
    }

    /// A write or removal that failed is the end of the operation, whatever rustic makes of it.
    fn told(&self, done: StoreResult<()>) -> RusticResult<()> {
        done.map_err(|error| {
            self.gate.shut(Fault::Store(error.clone()));
            told(error)
        })
    }
}

/// Reads a file whose name is the SHA-256 of its content, and compares the two.
pub(super) fn read_sound(store: &dyn Store, kind: FileKind, name: &str) -> StoreResult<Bytes> {
    let content = store.read(kind, name)?;
    if kind == FileKind::Config || sha256_hex(&content) == name {
        return Ok(content);
    }
    let message = format!(
        "{}: {} is damaged: its content is not what its name says",
        store.location(),
        kind.path(name)
    );
    Err(StoreError::new(Trouble::Damaged, message))
}

fn told(error: StoreError) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, error.message.clone(), error)
}

fn kind(file: FileType) -> FileKind {
    match file {
        FileType::Config => FileKind::Config,
        FileType::Index => FileKind::Index,
        FileType::Key => FileKind::Key,
        FileType::Snapshot => FileKind::Snapshot,
        FileType::Pack => FileKind::Pack,
    }
}

fn name(file: FileType, id: &Id) -> String {
    match file {
        FileType::Config => "config".to_owned(),
        _ => id.to_hex().as_str().to_owned(),
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.store.location()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.pass()?;
        let kind = kind(file);
        let mut found = Vec::new();
        for (name, length) in self.list(kind).map_err(told)? {
            // rustic knows the only configuration by no id.
            let id = if kind == FileKind::Config { Id::default() } else { name.parse()? };
            if self.shows(kind, &name, &id) {
                found.push((id, u32::try_from(length).unwrap_or(u32::MAX)));
            }
        }
        Ok(found)
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.pass()?;
        if let (FileType::Config, Some(config)) = (file, &self.config) {
            return Ok(config.clone());
        }
        read_sound(&*self.store, kind(file), &name(file, id)).map_err(told)
    }

    fn read_partial(
        &self,
        file: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.pass()?;
        let range = self.store.read_range(kind(file), &name(file, id), offset.into(), length.into());
        range.map_err(told)
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        kind(file).path(&name(file, id))
    }
}

impl WriteBackend for Backend {
    fn create(&self) -> RusticResult<()> {
        self.pass()?;
        self.told(self.store.create())
    }

    fn write_bytes(&self, file: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        self.pass()?;
        if file == FileType::Snapshot {
            return Ok(());
        }
        self.told(self.store.write(kind(file), &name(file, id), content.slice()))?;
        match file {
            FileType::Index => self.gate.wrote_index(*id),
            FileType::Pack => self.gate.wrote_pack(name(file, id)),
            _ => {}
        }
        Ok(())
    }

    fn remove(&self, file: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.pass()?;
        self.told(self.store.remove(kind(file), &name(file, id)))
    }
}
