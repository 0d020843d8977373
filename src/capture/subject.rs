//! What is to be captured.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;

use super::client::Client;
use crate::backup::manifest::{BackupKind, ImageFacts, Manifest};
use crate::name::DbName;
use crate::site::named::NamedFile;

/// A site, as far as a backup is concerned.
#[derive(Debug, Clone)]
pub struct Subject {
    pub site: String,
    pub site_id: String,
    /// The site directory.
    pub root: PathBuf,
    /// Files that the site file names.
    pub named: Vec<NamedFile>,
    /// The directory on this host of the volume with Odoo's filestores.
    pub volume: PathBuf,
    pub databases: Vec<DbName>,
    pub client: Client,
    pub logs: Vec<Log>,
    /// Unix time in seconds; log lines before it are in an earlier backup.
    pub logs_since: Option<i64>,
    /// When the run began.
    pub began: Timestamp,
    pub kind: BackupKind,
    pub images: Vec<ImageFacts>,
    pub odoo_release: u32,
}

/// A log that belongs to the backup.
#[derive(Debug, Clone)]
pub struct Log {
    /// The container's name.
    pub container: String,
    /// Since when it has run, if it writes lines as soon as it does.
    pub begun: Option<Timestamp>,
}

/// Whether the secrets of the configuration belong to a copy: `secrets/`, `generated/`, and the keys and
/// programs that the site file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    Included,
    /// For a copy that is not encrypted.
    LeftOut,
}

/// Attachments that are read although they have not changed since the backup before: only who reads
/// one knows that its content is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspects {
    /// By database. An empty map where nothing is suspected.
    Named(BTreeMap<String, BTreeSet<String>>),
    /// Nobody knows what the backup before had found.
    All,
}

impl Suspects {
    #[must_use]
    pub fn none() -> Suspects {
        Suspects::Named(BTreeMap::new())
    }

    /// Those that were altered when this was written.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Suspects {
        let altered = manifest
            .databases
            .iter()
            .map(|database| (database.name.clone(), database.attachments.altered.iter().cloned().collect()));
        Suspects::Named(altered.collect())
    }

    pub(super) fn has(&self, database: &str, name: &str) -> bool {
        match self {
            Suspects::Named(names) => names.get(database).is_some_and(|names| names.contains(name)),
            Suspects::All => true,
        }
    }
}
