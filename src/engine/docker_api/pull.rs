//! How far a pull has come.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

use crate::engine::PullProgress;

/// Sums up the bytes of all layers that the engine talks about.
#[derive(Default)]
pub(super) struct Meter {
    layers: BTreeMap<String, PullProgress>,
}

impl Meter {
    /// Takes in one message. The sum, when it changed.
    pub(super) fn feed(&mut self, message: &CreateImageInfo) -> Option<PullProgress> {
        let layer = self.layers.entry(message.id.clone()?).or_default();
        let before = *layer;
        match message.status.as_deref() {
            Some("Downloading") => {
                let detail = message.progress_detail.clone().unwrap_or_default();
                let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
                layer.total_bytes = bytes(detail.total).unwrap_or(0).max(layer.total_bytes);
                layer.done_bytes = bytes(detail.current).unwrap_or(0).max(layer.done_bytes);
            }
            // The bytes are here; what follows is unpacking.
            Some("Download complete" | "Extracting" | "Pull complete") => {
                layer.done_bytes = layer.total_bytes;
            }
            _ => {}
        }
        (*layer != before).then(|| self.sum())
    }

    fn sum(&self) -> PullProgress {
        self.layers.values().fold(PullProgress::default(), |sum, layer| PullProgress {
            done_bytes: sum.done_bytes + layer.done_bytes,
            total_bytes: sum.total_bytes + layer.total_bytes,
        })
    }
}

/// Repository and tag or digest, as the engine wants them. Without a tag the engine would pull every
/// tag there is.
pub(super) fn split(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        // A tag beside a digest says nothing more.
        return (without_tag(name), digest);
    }
    let name = without_tag(reference);
    (name, reference[name.len()..].strip_prefix(':').unwrap_or("latest"))
}

fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    fn message(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn layers_are_summed_up_and_never_go_back() {
        let mut meter = Meter::default();
        let mut feed = |id, status, current, total| {
            meter.feed(&message(id, status, current, total)).map(|sum| (sum.done_bytes, sum.total_bytes))
        };
        assert_eq!(feed("a", "Pulling fs layer", 0, 0), None);
        assert_eq!(feed("a", "Downloading", 10, 100), Some((10, 100)));
        assert_eq!(feed("b", "Downloading", 5, 50), Some((15, 150)));
        assert_eq!(feed("a", "Download complete", 0, 0), Some((105, 150)));
        assert_eq!(feed("a", "Extracting", 3, 100), None);
        assert_eq!(feed("b", "Downloading", 1, 50), None);
    }

    #[test]
    fn references() {
        assert_eq!(split("odoo"), ("odoo", "latest"));
        assert_eq!(split("localhost:5000/odoo"), ("localhost:5000/odoo", "latest"));
        assert_eq!(split("localhost:5000/odoo:19"), ("localhost:5000/odoo", "19"));
        assert_eq!(split("odoo:19@sha256:12"), ("odoo", "sha256:12"));
    }
}
