//! What is to be captured.

use std::path::PathBuf;

use jiff::Timestamp;

use super::client::Client;
use crate::backup::manifest::{BackupKind, ImageFacts};
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
