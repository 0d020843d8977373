//! A store that remembers whether its connection broke: then another attempt may succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::repository::store::{FileKind, Store, StoreResult, Trouble};

pub struct Line {
    store: Arc<dyn Store>,
    broke: Arc<AtomicBool>,
}

impl Line {
    /// The flag is set once the connection has broken.
    pub fn new(store: Arc<dyn Store>) -> (Arc<Line>, Arc<AtomicBool>) {
        let broke = Arc::new(AtomicBool::new(false));
        (Arc::new(Line { store, broke: Arc::clone(&broke) }), broke)
    }

    fn heard<T>(&self, answer: StoreResult<T>) -> StoreResult<T> {
        if answer.as_ref().is_err_and(|error| error.trouble == Trouble::Connection) {
            self.broke.store(true, Ordering::Relaxed);
        }
        answer
    }
}

impl Store for Line {
    fn location(&self) -> String {
        self.store.location()
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        self.heard(self.store.list(kind))
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        self.heard(self.store.read(kind, name))
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        self.heard(self.store.read_range(kind, name, offset, length))
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        self.heard(self.store.write(kind, name, parts))
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        self.heard(self.store.remove(kind, name))
    }

    fn create(&self) -> StoreResult<()> {
        self.heard(self.store.create())
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        self.heard(self.store.free())
    }
}
