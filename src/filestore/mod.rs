//! Odoo's filestore on the disk: attachments as files `aa/SHA-1`, which are written before the row
//! that names them, and never changed (Odoo, `ir.attachment`, `_file_write`). Read through the
//! volume's directory on this host.
//!
//! The volume belongs to Odoo, and we are usually root: nothing below it is trusted. Every path is
//! walked directory by directory without following a link, and only regular files are read.

mod beneath;
mod checked;
mod examine;
mod farm;
mod named;
mod walk;

pub use checked::{Checked, Findings};
pub use examine::{Standing, examine};
pub use farm::{Farm, Farms};
pub use named::{Named, digest_in};
pub use walk::{Found, Stat, Walk};

/// Below a volume of Odoo's: a directory for each database.
const FILESTORE: &str = "filestore";
/// Below a filestore: empty files by which Odoo's collector remembers what to look at.
const CHECKLIST: &str = "checklist";
/// Below a volume of Odoo's: what a backup needs as long as it runs.
const FARMS: &str = ".autoodoo-backup";
