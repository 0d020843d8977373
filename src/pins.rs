//! `autoodoo.lock`: which image exactly each reference of the site file stands for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::ImageRef;
use crate::observed::Observed;

/// One pinned image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The image configuration's digest on this host.
    pub id: String,
    /// `repository@sha256:…` under which the registry knows it; empty for an image built here.
    pub digests: Vec<String>,
    /// When it was chosen, RFC 3339.
    pub since: String,
}

/// The file's content: references and what they are pinned to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    pub images: BTreeMap<String, Pin>,
}

impl Pins {
    /// The id that containers of this reference should have: the pinned one while it is on this
    /// host, else the one that the reference leads to. `None` when there is no image here.
    #[must_use]
    pub fn image_id<'a>(&self, image: &ImageRef, observed: &'a Observed) -> Option<&'a str> {
        let current = observed.images.get(image).map(|image| image.id.as_str());
        let pinned = self
            .images
            .get(image.as_str())
            .and_then(|pin| observed.images.values().map(|image| image.id.as_str()).find(|id| *id == pin.id));
        pinned.or(current)
    }

    /// Is this reference pinned to an image that is on this host?
    #[must_use]
    pub fn covers(&self, image: &ImageRef, observed: &Observed) -> bool {
        self.images
            .get(image.as_str())
            .is_some_and(|pin| observed.images.values().any(|image| image.id == pin.id))
    }
}
