//! Walking through a snapshot and reading from it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::repofile::{Node as RusticNode, SnapshotFile, SnapshotId, Tree};
use rustic_core::{IndexedFullStatus, TreeId};

use super::{Node, fault};
use crate::failure::{Failure, Result};

/// Directories that are kept decoded. Files are read in the order of their paths: the one at hand
/// and those above it are enough, even where two orders alternate.
const REMEMBERED: usize = 32;

/// A repository with its index, which is read once.
pub(super) struct Browser {
    repository: rustic_core::Repository<IndexedFullStatus>,
    roots: Mutex<BTreeMap<String, TreeId>>,
    recent: Mutex<VecDeque<(TreeId, Arc<Tree>)>>,
}

impl Browser {
    pub(super) fn new(repository: rustic_core::Repository<IndexedFullStatus>) -> Browser {
        Browser { repository, roots: Mutex::default(), recent: Mutex::default() }
    }

    fn root(&self, snapshot: &str) -> Result<TreeId> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(snapshot) {
            return Ok(*root);
        }
        let id: SnapshotId =
            snapshot.parse().map_err(|_| Failure::failed(format!("there is no backup {snapshot}")))?;
        let file = self.repository.get_file::<SnapshotFile>(&id);
        let file =
            file.map_err(|error| fault::failure(&format!("cannot read the backup {snapshot}"), &error))?;
        Ok(*roots.entry(snapshot.to_owned()).or_insert(file.tree))
    }

    fn tree(&self, id: TreeId) -> Result<Arc<Tree>> {
        if let Some(tree) = self.remembered(id) {
            return Ok(tree);
        }
        let tree = self.repository.get_tree(&id);
        let tree = Arc::new(tree.map_err(|error| fault::failure("cannot read a directory", &error))?);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_front((id, Arc::clone(&tree)));
        recent.truncate(REMEMBERED);
        Ok(tree)
    }

    fn remembered(&self, id: TreeId) -> Option<Arc<Tree>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().position(|(known, _)| *known == id)?;
        let found = recent.remove(at)?;
        let tree = Arc::clone(&found.1);
        recent.push_front(found);
        Some(tree)
    }

    fn child(&self, parent: TreeId, name: &OsStr) -> Result<Option<RusticNode>> {
        let tree = self.tree(parent)?;
        Ok(tree.nodes.iter().find(|node| *node.name() == *name).cloned())
    }

    /// The directory's tree; the root's for `""`.
    fn find(&self, root: TreeId, path: &Path) -> Result<Option<TreeId>> {
        let mut tree = root;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let below = self.child(tree, name)?.and_then(|node| node.subtree);
            let Some(below) = below else { return Ok(None) };
            tree = below;
        }
        Ok(Some(tree))
    }

    fn directory(&self, root: TreeId, path: &Path) -> Result<TreeId> {
        self.find(root, path)?.ok_or_else(|| absent("directory", path))
    }

    pub(super) fn has_directory(&self, snapshot: &str, path: &Path) -> Result<bool> {
        Ok(self.find(self.root(snapshot)?, path)?.is_some())
    }

    pub(super) fn walk(
        &self,
        snapshot: &str,
        directory: &Path,
        found: &mut dyn FnMut(Node) -> Result<()>,
    ) -> Result<()> {
        let tree = self.directory(self.root(snapshot)?, directory)?;
        self.below(tree, directory, found)
    }

    fn below(&self, tree: TreeId, path: &Path, found: &mut dyn FnMut(Node) -> Result<()>) -> Result<()> {
        for node in &self.tree(tree)?.nodes {
            let path = path.join(node.name());
            found(Node { path: path.clone(), size: node.meta.size, is_directory: node.is_dir() })?;
            if let Some(tree) = node.subtree {
                self.below(tree, &path, found)?;
            }
        }
        Ok(())
    }

    pub(super) fn read(&self, snapshot: &str, path: &Path, mut into: &mut dyn Write) -> Result<()> {
        let parent = self.directory(self.root(snapshot)?, path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or_else(|| absent("file", path))?;
        let node = self.child(parent, name)?.filter(RusticNode::is_file);
        let node = node.ok_or_else(|| absent("file", path))?;
        let written = self.repository.dump(&node, &mut into);
        written.map_err(|error| fault::failure(&format!("cannot read {}", path.display()), &error))
    }
}

fn absent(what: &str, path: &Path) -> Failure {
    Failure::failed(format!("there is no {what} {} in this backup", path.display()))
}
