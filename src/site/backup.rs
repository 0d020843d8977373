//! Where a site's backups go, and how long they are kept.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::name::Port;
use crate::site::value::{HostName, SystemUser};

/// The group `backup:`. Without targets nothing is backed up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Backup {
    pub targets: Vec<Target>,
    pub keep: Keep,
}

/// One place that gets every backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// What people call it; unique in a site.
    pub name: TargetName,
    pub place: Place,
    /// A run in which it failed has failed.
    pub required: bool,
    /// It has a repository password of its own; else the site's.
    pub own_password: bool,
}

/// Lower-case letters, digits and hyphens; at most 40 characters; it becomes part of file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TargetName(String);

impl TargetName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the files of a repository in restic's format lie, or where sealed exports are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Place {
    /// An absolute path on this host.
    Local { path: PathBuf },
    /// `sftp://user@host:port/path`. A path is absolute on the server; `/./path` starts at the home
    /// directory.
    Sftp { user: SystemUser, host: HostName, port: Port, path: String },
    /// `s3://host[:port]/bucket/prefix`, spoken over https; `s3+http://` for a server on this host.
    S3 { endpoint: String, bucket: String, prefix: String, region: String },
    /// `rest:https://host:port/path/`, without the credentials.
    Rest { url: String },
    /// `drop+sftp://user@host:port/path`: a directory that takes whole sealed exports and nothing
    /// else; the server moves them away.
    Drop { user: SystemUser, host: HostName, port: Port, path: String },
}

/// Which backups `backup prune` keeps: restic's words (`restic forget`). Zero: no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Keep {
    pub last: u32,
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
    /// Days; everything that is younger stays.
    pub within_days: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { last: 3, hourly: 0, daily: 7, weekly: 5, monthly: 12, yearly: 3, within_days: 2 }
    }
}
