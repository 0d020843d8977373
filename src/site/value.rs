//! Small values that only a site has. Like the names, each is valid once it exists.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::name::{ImageRef, Invalid};

/// How many people work with Odoo at the same time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Users(u32);

impl Users {
    pub const DEFAULT: Users = Users(5);

    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Users {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(count @ 1..=100_000) => Ok(Users(count)),
            _ => Err(Invalid("expected a whole number from 1 to 100000".to_owned())),
        }
    }
}

/// A major version of PostgreSQL, one of those that Odoo 14 to 19 can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostgresMajor(u32);

impl PostgresMajor {
    pub const OLDEST: u32 = 10;
    pub const NEWEST: u32 = 18;

    pub fn new(number: u32) -> Result<Self, Invalid> {
        if (Self::OLDEST..=Self::NEWEST).contains(&number) {
            Ok(PostgresMajor(number))
        } else {
            Err(Invalid(format!("expected a PostgreSQL major from {} to {}", Self::OLDEST, Self::NEWEST)))
        }
    }

    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PostgresMajor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PostgresMajor {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        PostgresMajor::new(text.parse().unwrap_or(0))
    }
}

/// An address of the host to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl FromStr for Address {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Address).map_err(|_| {
            Invalid("expected an IP address, such as `0.0.0.0` for all or `127.0.0.1`".to_owned())
        })
    }
}

/// The path of a file; a relative one starts at the site directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(PathBuf);

impl FilePath {
    #[must_use]
    pub fn into_path(self) -> PathBuf {
        self.0
    }

    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for FilePath {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.ends_with('/') || text.contains(char::is_control) {
            Err(Invalid("expected the path of a file, such as `certs/odoo.pem`".to_owned()))
        } else {
            Ok(FilePath(text.into()))
        }
    }
}

/// Where the certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    SelfSigned,
    Files,
    /// A known word that no site can have yet.
    Acme,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsMode::SelfSigned => "self-signed",
            TlsMode::Files => "files",
            TlsMode::Acme => "acme",
        })
    }
}

impl FromStr for TlsMode {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [TlsMode::SelfSigned, TlsMode::Files, TlsMode::Acme]
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| Invalid("expected `self-signed` or `files`".to_owned()))
    }
}

/// The version that an image's tag tells. Numbers outside 8 to 99 are dates or somebody's own
/// count (`2026-01`, `3`) and tell nothing: Odoo and PostgreSQL were never released under them as
/// stock images.
#[must_use]
pub fn version_in_tag(image: &ImageRef) -> Option<u32> {
    image.tag_major().filter(|number| (8..=99).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (text, valid) in [("1", true), ("100000", true), ("0", false), ("100001", false), ("x", false)] {
            assert_eq!(text.parse::<Users>().is_ok(), valid, "{text}");
        }
        for (text, valid) in [("10", true), ("18", true), ("9", false), ("19", false), ("17.2", false)] {
            assert_eq!(text.parse::<PostgresMajor>().is_ok(), valid, "{text}");
        }
        for (text, valid) in [("a.pem", true), ("/a b/c", true), ("", false), ("a/", false), ("a\nb", false)]
        {
            assert_eq!(text.parse::<FilePath>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn addresses_of_both_families() {
        assert!("::".parse::<Address>().is_ok());
        assert!("0.0.0.0".parse::<Address>().is_ok());
        assert!("localhost".parse::<Address>().is_err());
    }

    #[test]
    fn dates_and_own_counts_in_tags_tell_nothing() {
        let told = |text: &str| version_in_tag(&text.parse().unwrap());
        assert_eq!(told("odoo:19.0-20260101"), Some(19));
        assert_eq!(told("acme/odoo:2026-01"), None);
        assert_eq!(told("acme/odoo:3"), None);
        assert_eq!(told("acme/odoo:latest"), None);
    }
}
