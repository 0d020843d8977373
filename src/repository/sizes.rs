//! Sizes of files, put right after the fact.
//!
//! rustic stores with a file the size that was known before it was read: 0 of a stream. The `restic`
//! program restores such a file **empty** (its restorer leaves out what has size 0). So the few trees
//! on the way to such files are written once more, with the sizes that were read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use rustic_core::TreeId;
use rustic_core::repofile::{BlobType, Node, Tree};

use super::crypto::Cipher;
use super::packing::{self, Packed, Part};
use crate::failure::{Context, Result};

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

    /// A pack with these trees and the index that tells of it. The trees are not compressed: there are
    /// few, and format version 1 does not know compression.
    pub(super) fn pack(&self, cipher: &Cipher) -> Result<Packed> {
        let part = |(id, json): &(TreeId, Vec<u8>)| {
            let sealed = cipher.encrypt(json)?;
            Ok(Part { id: **id, kind: BlobType::Tree, sealed, uncompressed: None })
        };
        packing::pack(cipher, &self.0.iter().map(part).collect::<Result<Vec<_>>>()?)
    }
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
