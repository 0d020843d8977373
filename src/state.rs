//! What the site directory remembers: the facts that cannot be seen on the engine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a site is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has no data yet: volumes may be made.
    New,
    /// Its first data is being made: what is there may be made again.
    Initialising,
    /// It has data: a missing volume is a loss, never a reason to make an empty one.
    Ready,
    /// Its owner asked for its data to be removed, and that has begun.
    Removing,
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

/// `state/state.json`. It is replaced by an atomic rename, so that it is always one or the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub version: u32,
    /// Tells this site directory from another with the same site name.
    pub site_id: String,
    pub phase: Phase,
    /// The generation of the data volumes in use.
    pub generation: u32,
    /// PostgreSQL's `system_identifier`: the cluster that belongs to this site.
    #[serde(default)]
    pub system_identifier: Option<String>,
    /// The engine that the site was made on, preferred when several answer.
    #[serde(default)]
    pub engine: Option<String>,
    /// The certificate in use: a directory under `secrets/tls`.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Fingerprint of the nginx.conf that nginx has loaded.
    #[serde(default)]
    pub nginx_loaded: Option<String>,
}

impl State {
    pub const VERSION: u32 = 1;

    #[must_use]
    pub fn new(site_id: impl Into<String>) -> State {
        State {
            version: State::VERSION,
            site_id: site_id.into(),
            phase: Phase::New,
            generation: 1,
            system_identifier: None,
            engine: None,
            certificate: None,
            nginx_loaded: None,
        }
    }
}
