//! Where a site's backups go, and how long they are kept.

mod place;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use crate::name::{Invalid, Port};
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
    const LONGEST: usize = 40;

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

impl FromStr for TargetName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let ok = (1..=TargetName::LONGEST).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if ok {
            Ok(TargetName(text.to_owned()))
        } else {
            let expected = "expected 1 to 40 lowercase letters, digits or hyphens, such as `offsite`";
            Err(Invalid(expected.to_owned()))
        }
    }
}

/// Where the files of a repository in restic's format lie, or where sealed exports are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Place {
    /// An absolute path on this host.
    Local { path: PathBuf },
    /// `sftp://user@host:port/path`. A path is absolute on the server; `/./path` starts at the home
    /// directory. Neither ends in `/`.
    Sftp { user: SystemUser, host: HostName, port: Port, path: String },
    /// `s3://host[:port]/bucket/prefix`, spoken over https; `s3+http://` for a server on this host.
    /// `endpoint` is `https://host[:port]` (or `http://`), `prefix` has no slash at its ends and may be
    /// empty.
    S3 { endpoint: String, bucket: String, prefix: String, region: String },
    /// `rest:https://host:port/path/`, without the credentials. `url` is `https://…/`.
    Rest { url: String },
    /// `drop+sftp://user@host:port/path`: a directory that takes whole sealed exports and nothing
    /// else; the server moves them away.
    Drop { user: SystemUser, host: HostName, port: Port, path: String },
}

/// How many backups of a kind are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u32);

impl FromStr for Count {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(count @ 0..=10_000) => Ok(Count(count)),
            _ => Err(Invalid("expected a whole number from 0 (no such rule) to 10000".to_owned())),
        }
    }
}

/// A time in whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(pub u32);

impl FromStr for Days {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (number, unit) = match (text.strip_suffix('d'), text.strip_suffix('w')) {
            (Some(number), _) => (number, 1),
            (_, Some(number)) => (number, 7),
            _ => ("", 0),
        };
        match number.parse::<u32>() {
            Ok(number @ 0..=5_000) => Ok(Days(number * unit)),
            _ => Err(Invalid("expected days or weeks, such as `2d` or `8w`".to_owned())),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.0)
    }
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

impl Keep {
    /// Every backup would be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly, self.within_days]
            .iter()
            .all(|count| *count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for name in ["a", "offsite-2", "0"] {
            assert!(name.parse::<TargetName>().is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a_b", "a/b", "ä", &"a".repeat(41)] {
            assert!(name.parse::<TargetName>().is_err(), "{name}");
        }
        assert_eq!("0".parse(), Ok(Count(0)));
        assert!("-1".parse::<Count>().is_err() && "10001".parse::<Count>().is_err());
        assert_eq!(("2d".parse(), "8w".parse()), (Ok(Days(2)), Ok(Days(56))));
        for days in ["", "d", "2", "2h", "-1d", "5001d", "1.5d"] {
            assert!(days.parse::<Days>().is_err(), "{days}");
        }
    }
}
