//! What a backup is: where its parts lie in it, and what its manifest says. Values only.

pub mod health;
pub mod kit;
pub mod manifest;
pub mod memory;
pub mod plan;
pub mod restore;
pub mod shrink;
pub mod source;
pub mod words;

/// In a repository and in an export alike. The manifest comes last: it says how whole the rest is.
pub mod layout {
    use std::path::Path;

    pub const CONFIGURATION: &str = "configuration";
    pub const DATABASES: &str = "databases";
    pub const FILESTORE: &str = "filestore";
    pub const LOGS: &str = "logs";
    pub const MANIFEST: &str = "manifest.json";
    /// Below `databases`: roles and tablespaces (`pg_dumpall --globals-only`).
    pub const GLOBALS: &str = "globals.sql";
    /// Below `databases/NAME`: `pg_dump --format=custom`.
    pub const DUMP: &str = "dump.pgdump";
    /// Below `databases/NAME`: a line for each file that the database's attachments name:
    /// `store_fname TAB file_size`, in the order of their names.
    pub const ATTACHMENTS: &str = "attachments.tsv";

    /// Whether this is a file that may leave the server only encrypted: passwords, private keys, and
    /// the generated files that repeat some of them and are made anew from the others.
    #[must_use]
    pub fn is_secret(path: &Path) -> bool {
        let below = path.strip_prefix(CONFIGURATION);
        below.is_ok_and(|below| below.starts_with("secrets") || below.starts_with("generated"))
    }

    #[must_use]
    pub fn dump(database: &str) -> String {
        format!("{DATABASES}/{database}/{DUMP}")
    }

    #[must_use]
    pub fn attachments(database: &str) -> String {
        format!("{DATABASES}/{database}/{ATTACHMENTS}")
    }

    /// The directory of a database's attachments; below it `aa/SHA-1`, as in Odoo's own.
    #[must_use]
    pub fn filestore(database: &str) -> String {
        format!("{FILESTORE}/{database}")
    }
}
