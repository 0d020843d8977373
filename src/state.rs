//! What autoodoo remembers about a site between two runs: the content of `state/state.json`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::site::Site;

/// The only version that is known.
const VERSION: u32 = 1;

/// How far the site has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The site directory exists, nothing else.
    New,
    /// The first `up` has begun and not ended: what it made may be thrown away and made again.
    Initialising,
    /// The database was made whole. From here on a missing volume is a loss, never a reason to
    /// make an empty one.
    Ready,
    /// `down --volumes` has begun: volumes that are missing were removed on purpose.
    Removing,
}

/// What data is tied to: another name would not find it, another version could not read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub site: String,
    pub database: String,
    /// Databases beside the first, in the order in which they were made. One that the site file no
    /// longer names stays here: its data is still there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    pub postgres_major: u32,
    /// The databases are on a server elsewhere; `postgres_major` then says only which client
    /// programs made them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    pub odoo_release: u32,
}

impl Made {
    #[must_use]
    pub fn from_site(site: &Site) -> Made {
        Made {
            site: site.name.to_string(),
            database: site.database.to_string(),
            further: Vec::new(),
            postgres_major: site.postgres.major,
            external: site.postgres.external.is_some(),
            odoo_release: site.odoo.release.number(),
        }
    }
}

impl Made {
    /// Every database that was made, in that order.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.database).chain(&self.further).map(String::as_str)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::New => "new",
            Phase::Initialising => "initialising",
            Phase::Ready => "ready",
            Phase::Removing => "removing",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The site directory's identity, in the label of everything made for it.
    pub site_id: String,
    pub phase: Phase,
    /// The data volumes in use are `<site>-db-<generation>` and `<site>-web-<generation>`.
    pub generation: u32,
    /// PostgreSQL's `system_identifier`, which initdb draws anew each time; `None` before that, and
    /// of a server elsewhere that does not tell it.
    pub system_identifier: Option<String>,
    /// The endpoint of the engine that has the site's volumes.
    pub engine: Option<String>,
    /// The certificate in use: a directory under `secrets/tls`.
    pub certificate: Option<String>,
    /// One that was obtained and is not in use yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_certificate: Option<String>,
    /// Fingerprint of the nginx.conf that nginx has loaded.
    pub nginx_loaded: Option<String>,
    /// What the data was made as; `None` before there is any.
    pub made: Option<Made>,
    /// Odoo's role may create databases.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub createdb: bool,
}

impl State {
    /// The state of a site of which nothing exists yet.
    #[must_use]
    pub fn new(site_id: impl Into<String>) -> Self {
        State {
            version: VERSION,
            site_id: site_id.into(),
            phase: Phase::New,
            generation: 1,
            system_identifier: None,
            engine: None,
            certificate: None,
            stored_certificate: None,
            nginx_loaded: None,
            made: None,
            createdb: false,
        }
    }

    /// Reads what [`State::to_json`] wrote. A version or a field that is not known is refused:
    /// acting on half of a newer autoodoo's memory could cost data.
    pub fn from_json(text: &str) -> Result<State> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |error: serde_json::Error| {
            Failure::failed("the site's state cannot be understood")
                .because(error)
                .hint("put `state/state.json` back from a backup of the site directory")
        };
        let Version { version } = serde_json::from_str(text).map_err(damaged)?;
        if version != VERSION {
            let message = format!("the site's state is of version {version}; this autoodoo knows {VERSION}");
            return Err(Failure::failed(message).hint("use the autoodoo that wrote it, or a newer one"));
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// One field a line, with a final newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and unit variants only: there is nothing that JSON cannot hold.
        let mut text = serde_json::to_string_pretty(self).expect("a state is plain JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_is_stable() {
        let mut state = State::new("4f1c");
        state.phase = Phase::Ready;
        state.nginx_loaded = Some("cd34".into());
        insta::assert_snapshot!(state.to_json(), @r#"
        {
          "version": 1,
          "site_id": "4f1c",
          "phase": "ready",
          "generation": 1,
          "system_identifier": null,
          "engine": null,
          "certificate": null,
          "nginx_loaded": "cd34",
          "made": null
        }
        "#);
        assert_eq!(State::from_json(&state.to_json()).unwrap(), state);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let good = State::new("4f1c").to_json();
        let table = [
            (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (good.replace("\"generation\"", "\"zebra\": 1, \"generation\""), "unknown field `zebra`"),
            (good.replace("\"new\"", "\"asleep\""), "unknown variant `asleep`"),
            (good[..40].to_owned(), "EOF"),
            (String::new(), "EOF"),
        ];
        for (text, expected) in table {
            let failure = State::from_json(&text).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
    }
}
