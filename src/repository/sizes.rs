//! Sizes of files, put right after the fact.
//!
//! rustic stores with a file the size that was known before it was read: 0 of a stream. The `restic`
//! program restores such a file **empty** (its restorer leaves out what has size 0). So the few trees
//! on the way to such files are written once more, with the sizes that were read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use bytes::Bytes;
use rustic_core::TreeId;
use rustic_core::repofile::{Node, Tree};
use serde_json::json;

use super::crypto::Cipher;
use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};

/// Sizes in bytes by path.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sizes {
    files: BTreeMap<OsString, u64>,
    directories: BTreeMap<OsString, Sizes>,
}

impl Sizes {
    pub(super) fn insert(&mut self, path: &Path, size: u64) {
        let mut names: Vec<&OsStr> = path.iter().collect();
        let Some(file) = names.pop() else { return };
        let directory =
            names.into_iter().fold(self, |sizes, name| sizes.directories.entry(name.to_owned()).or_default());
        directory.files.insert(file.to_owned(), size);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }
}

/// Trees to be written: id and JSON of each, children before their parents.
#[derive(Debug, Default)]
pub(super) struct Corrected(Vec<(TreeId, Vec<u8>)>);

impl Corrected {
    /// The tree `id` and those below it, with these sizes.
    pub(super) fn tree(
        &mut self,
        id: TreeId,
        sizes: &Sizes,
        get: &dyn Fn(TreeId) -> Result<Tree>,
    ) -> Result<TreeId> {
        let mut tree = get(id)?;
        for node in &mut tree.nodes {
            self.node(node, sizes, get)?;
        }
        let (json, id) = tree.serialize().context("cannot write a directory as JSON")?;
        self.0.push((id, json));
        Ok(id)
    }

    fn node(&mut self, node: &mut Node, sizes: &Sizes, get: &dyn Fn(TreeId) -> Result<Tree>) -> Result<()> {
        let name = node.name().into_owned();
        if let Some(size) = sizes.files.get(&name) {
            node.meta.size = *size;
        }
        if let (Some(sizes), Some(tree)) = (sizes.directories.get(&name), node.subtree) {
            node.subtree = Some(self.tree(tree, sizes, get)?);
        }
        Ok(())
    }

    /// A pack with these trees and the index that tells of it, as restic's design document lays them
    /// out ("Pack Format", "Indexing"). The trees are not compressed: there are few, and format
    /// version 1 does not know compression.
    pub(super) fn pack(&self, cipher: &Cipher) -> Result<Packed> {
        let (mut pack, mut header, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        for (id, json) in &self.0 {
            let sealed = cipher.encrypt(json)?;
            let length = short(sealed.len())?;
            header.push(UNCOMPRESSED_TREE);
            header.extend(length.to_le_bytes());
            header.extend(digits(&id.to_hex())?);
            blobs.push(json!({
                "id": id.to_hex().as_str(), "type": "tree", "offset": short(pack.len())?, "length": length,
            }));
            pack.extend(sealed);
        }
        let header = cipher.encrypt(&header)?;
        pack.extend(&header);
        pack.extend(short(header.len())?.to_le_bytes());
        let name = sha256_hex(&pack);
        let index = json!({ "packs": [{ "id": name, "blobs": blobs }] });
        Ok(Packed { name, pack: pack.into(), index: cipher.encrypt(index.to_string().as_bytes())?.into() })
    }
}

/// The type of blob in a pack's header.
const UNCOMPRESSED_TREE: u8 = 1;

pub(super) struct Packed {
    pub(super) name: String,
    pub(super) pack: Bytes,
    pub(super) index: Bytes,
}

fn short(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Failure::failed("directories of more than 4 GiB cannot be stored"))
}

fn digits(hex: &str) -> Result<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    pairs.collect::<std::result::Result<_, _>>().context("an id has no hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_by_path() {
        let mut sizes = Sizes::default();
        assert!(sizes.is_empty());
        sizes.insert(Path::new("a/b/c"), 1);
        sizes.insert(Path::new("d"), 2);
        assert_eq!(sizes.files[OsStr::new("d")], 2);
        assert_eq!(sizes.directories[OsStr::new("a")].directories[OsStr::new("b")].files[OsStr::new("c")], 1);
    }
}
