//! Whole files for a drop directory: an account that takes them and a server that moves them away.

use std::io::Read;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::{StoreError, StoreResult, Trouble};
use super::SftpStore;
use super::session::fault;

/// Bytes that are read before they are sent.
const BLOCK: u64 = 4 * 1024 * 1024;
/// What a whole file's companion is called after it. It holds one line as `sha256sum` writes it, by
/// which the server tells a whole file from one that was cut.
pub const DONE: &str = ".done";

impl SftpStore {
    /// Sends a file of yet unknown length under `name`, then its companion. Nothing is replaced. Returns
    /// the bytes that were sent. A stream cannot be begun anew: what was cut stays without a companion.
    pub fn deposit(&self, name: &str, content: &mut dyn Read) -> StoreResult<u64> {
        let path = name.to_owned();
        let file = self.ask(|session| async move {
            let what = format!("write `{path}`");
            session.create_new(&path).await.map_err(|error| fault(what, &error))
        })?;
        let mut digest = Sha256::new();
        let mut length = 0;
        loop {
            let block = block(content)?;
            if block.is_empty() {
                break;
            }
            digest.update(&block);
            let (at, read) = (length, block.len() as u64);
            let (file, path) = (file.clone(), name.to_owned());
            self.ask(move |session| async move { session.send(&file, &path, at, &[block]).await })?;
            length += read;
        }
        let path = name.to_owned();
        self.ask(move |session| async move { session.finish(file, &path, length).await })?;
        let line = Bytes::from(format!("{:x}  {name}\n", digest.finalize()));
        let companion = format!("{name}{DONE}");
        self.ask(|session| async move { session.write_direct(&companion, &[line]).await })?;
        Ok(length)
    }
}

fn block(content: &mut dyn Read) -> StoreResult<Bytes> {
    let mut block = Vec::new();
    let read = content.take(BLOCK).read_to_end(&mut block);
    read.map_err(|error| StoreError::new(Trouble::Other, format!("the export ended early: {error}")))?;
    Ok(Bytes::from(block))
}
