//! A short digest of what a container was made from, kept in its label.

use sha2::{Digest, Sha256};

use super::spec::ContainerSpec;

/// Digits of a fingerprint: 64 bits, enough to tell a site's few configurations apart.
const DIGITS: usize = 16;

/// The fingerprint of a specification and of the files that it reads only when it starts. Name,
/// address and labels do not count: a slot's successor is the same thing in another place.
#[must_use]
pub fn fingerprint(spec: &ContainerSpec, files: &[&str]) -> String {
    let mut same = spec.clone();
    same.name.clear();
    same.labels.clear();
    if let super::spec::Attachment::Network { address, .. } = &mut same.attachment {
        *address = None;
    }
    let mut hash = Sha256::new();
    // A specification is plain data: serde_json has no reason to refuse it.
    hash.update(serde_json::to_vec(&same).unwrap_or_default());
    for file in files {
        hash.update([0]);
        hash.update(file.as_bytes());
    }
    short_hex(&hash.finalize())
}

/// The fingerprint of a text, such as a configuration file.
#[must_use]
pub fn text_fingerprint(text: &str) -> String {
    short_hex(&Sha256::digest(text.as_bytes()))
}

fn short_hex(digest: &[u8]) -> String {
    digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}
