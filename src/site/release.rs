//! Odoo's releases and what differs between them, as far as a deployment sees it.
//! Source: the `odoo/tools/config.py` and `odoo/service/server.py` of each release.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::name::Invalid;

/// A release of Odoo that this program can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release(u32);

impl Release {
    pub const OLDEST: Release = Release(14);
    pub const NEWEST: Release = Release(19);

    pub fn new(number: u32) -> Result<Release, Invalid> {
        if (Release::OLDEST.0..=Release::NEWEST.0).contains(&number) {
            Ok(Release(number))
        } else {
            Err(Invalid(format!(
                "expected an Odoo release from {} to {}",
                Release::OLDEST.0,
                Release::NEWEST.0
            )))
        }
    }

    pub fn all() -> impl DoubleEndedIterator<Item = Release> {
        (Release::OLDEST.0..=Release::NEWEST.0).map(Release)
    }

    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The configuration key of the port for live notifications. From 18 the old name is ignored.
    #[must_use]
    pub fn evented_port_key(self) -> &'static str {
        if self.0 >= 16 { "gevent_port" } else { "longpolling_port" }
    }

    /// The path of live notifications, which the proxy must send to the evented port.
    #[must_use]
    pub fn evented_path(self) -> &'static str {
        if self.0 >= 16 { "/websocket" } else { "/longpolling" }
    }

    /// Whether odoo.conf may say for which senders the mail server is (`from_filter`).
    #[must_use]
    pub fn has_from_filter(self) -> bool {
        self.0 >= 16
    }

    /// Whether it can leave the sending of attachments to the proxy (`x_sendfile`, X-Accel-Redirect).
    #[must_use]
    pub fn has_x_accel(self) -> bool {
        self.0 >= 16
    }

    /// The oldest PostgreSQL major that the release supports.
    #[must_use]
    pub fn oldest_postgres(self) -> u32 {
        match self.0 {
            ..=15 => 10,
            16..=18 => 12,
            _ => 13,
        }
    }

    /// PostgreSQL majors that fit, best first. Newer majors than a release was made with usually
    /// work and are accepted; these are the ones to offer.
    #[must_use]
    pub fn fitting_postgres(self) -> &'static [u32] {
        match self.0 {
            ..=15 => &[15, 14, 13],
            16 => &[16, 15, 14],
            17 | 18 => &[17, 16, 15],
            _ => &[17, 18, 16, 15],
        }
    }
}

impl FromStr for Release {
    type Err = Invalid;
    /// Accepts `19` and `19.0`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.strip_suffix(".0").unwrap_or(text).parse().unwrap_or(0);
        Release::new(number)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Release {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u32(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_supported_releases_exist() {
        assert!("13".parse::<Release>().is_err());
        assert!("20".parse::<Release>().is_err());
        assert!("saas".parse::<Release>().is_err());
        assert_eq!("19.0".parse::<Release>().unwrap(), Release::NEWEST);
    }

    #[test]
    fn every_offered_postgres_is_supported() {
        for release in Release::all() {
            assert!(release.fitting_postgres().iter().all(|major| *major >= release.oldest_postgres()));
        }
    }

    #[test]
    fn websocket_came_with_16() {
        let of = |number| {
            let release = Release::new(number).unwrap();
            (release.evented_path(), release.evented_port_key())
        };
        assert_eq!(of(15), ("/longpolling", "longpolling_port"));
        assert_eq!(of(16), ("/websocket", "gevent_port"));
    }
}
