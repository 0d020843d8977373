//! A short digest of what a container was made from, kept in its label.

use super::spec::ContainerSpec;
use crate::digest::sha256_hex;

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
    // A specification is plain data: serde_json has no reason to refuse it.
    let mut bytes = serde_json::to_vec(&same).unwrap_or_default();
    for file in files {
        bytes.push(0);
        bytes.extend_from_slice(file.as_bytes());
    }
    short(&bytes)
}

/// The fingerprint of a text, such as a configuration file.
#[must_use]
pub fn text_fingerprint(text: &str) -> String {
    short(text.as_bytes())
}

fn short(bytes: &[u8]) -> String {
    let mut hex = sha256_hex(bytes);
    hex.truncate(DIGITS);
    hex
}
