//! A store in memory for tests, which can be told to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;

use super::{FileKind, Store, StoreError, StoreResult, Trouble};

#[derive(Debug, Default)]
pub struct Memory {
    files: Mutex<BTreeMap<String, Bytes>>,
    /// What happens to writes of a kind from now on.
    pub refuse_writes: Mutex<Option<(FileKind, Trouble)>>,
    pub refuse_removals: Mutex<Option<Trouble>>,
}

impl Memory {
    fn get(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        let found = self.files.lock().unwrap().get(&kind.path(name)).cloned();
        found.ok_or_else(|| StoreError::new(Trouble::Absent, format!("there is no {}", kind.path(name))))
    }

    /// Puts a file there as nobody would.
    pub fn plant(&self, kind: FileKind, name: &str, content: &'static [u8]) {
        self.files.lock().unwrap().insert(kind.path(name), Bytes::from_static(content));
    }
}

impl Store for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        let files = self.files.lock().unwrap();
        let of_kind = files.iter().filter(|(path, _)| path.split('/').next() == Some(kind.directory()));
        Ok(of_kind
            .map(|(path, content)| (path.rsplit('/').next().unwrap().to_owned(), content.len() as u64))
            .collect())
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        self.get(kind, name)
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        let (start, length) = (usize::try_from(offset).unwrap(), usize::try_from(length).unwrap());
        Ok(self.get(kind, name)?.slice(start..start + length))
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        match *self.refuse_writes.lock().unwrap() {
            Some((refused, trouble)) if refused == kind => {
                return Err(StoreError::new(trouble, format!("{kind:?} files are refused")));
            }
            _ => {}
        }
        let content: Vec<u8> = parts.iter().flatten().copied().collect();
        self.files.lock().unwrap().entry(kind.path(name)).or_insert(content.into());
        Ok(())
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        if let Some(trouble) = *self.refuse_removals.lock().unwrap() {
            return Err(StoreError::new(trouble, "removing is refused"));
        }
        self.files.lock().unwrap().remove(&kind.path(name));
        Ok(())
    }

    fn create(&self) -> StoreResult<()> {
        Ok(())
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        Ok(None)
    }
}
