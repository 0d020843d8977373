//! What a backup says of itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The only version that is known.
pub const FORMAT: u32 = 1;

/// `manifest.json`, written when everything else has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of autoodoo that made it.
    pub autoodoo: String,
    pub site: String,
    pub site_id: String,
    pub kind: BackupKind,
    /// When the run began.
    pub began: Timestamp,
    pub images: Vec<ImageFacts>,
    pub odoo_release: u32,
    /// As `SHOW server_version` tells it.
    pub postgres_version: String,
    pub databases: Vec<DatabaseFacts>,
    /// Bytes of everything but the manifest.
    pub bytes: u64,
    pub files: u64,
    /// What could not be part of the backup, and why, one sentence each.
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// Odoo served all the while.
    Hot,
    /// Odoo was stopped.
    Cold,
}

impl BackupKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            BackupKind::Hot => "hot",
            BackupKind::Cold => "cold",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    pub service: String,
    pub reference: String,
    /// `sha256:…` of the image's configuration.
    pub id: String,
    /// `repository@sha256:…`, where a registry gave it.
    pub digests: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    pub name: String,
    /// The moment that dump and attachments are of.
    pub at: Timestamp,
    /// `pg_database_size`, bytes.
    pub size: u64,
    /// Bytes of the dump.
    pub dump: u64,
    /// Rows by `schema.table`, counted at that moment.
    pub rows: BTreeMap<String, u64>,
    pub attachments: AttachmentFacts,
}

/// The files that rows of `ir_attachment` name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentFacts {
    pub files: u64,
    pub bytes: u64,
    /// `store_fname` of files that were not on the disk.
    pub missing: Vec<String>,
    /// Those whose content does not have the SHA-1 that is its name, as far as they were read in
    /// this run: new ones, changed ones, and those that the backup before names here. What else an
    /// earlier backup holds is not read again.
    pub altered: Vec<String>,
}

impl Manifest {
    /// Something was wrong on the disk already.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.databases.iter().any(|database| {
            !database.attachments.missing.is_empty() || !database.attachments.altered.is_empty()
        })
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.databases.iter().flat_map(|database| database.rows.values()).sum()
    }
}
