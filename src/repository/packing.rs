//! Packs that rustic does not write, with the index that tells of them, as restic's design document
//! lays them out ("Pack Format", "Indexing").

use bytes::Bytes;
use rustic_core::Id;
use rustic_core::repofile::BlobType;
use serde_json::json;

use super::crypto::Cipher;
use crate::digest::sha256_hex;
use crate::failure::{Context, Failure, Result};

/// A blob as it lies in a pack.
pub(super) struct Part {
    pub(super) id: Id,
    pub(super) kind: BlobType,
    pub(super) sealed: Vec<u8>,
    /// Bytes before it was compressed; `None` of one that was not.
    pub(super) uncompressed: Option<u32>,
}

pub(super) struct Packed {
    pub(super) name: String,
    pub(super) pack: Bytes,
    /// Encrypted; its name is its SHA-256.
    pub(super) index: Bytes,
}

/// Parts of one kind, in one pack.
pub(super) fn pack(cipher: &Cipher, parts: &[Part]) -> Result<Packed> {
    let (mut pack, mut header, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let length = short(part.sealed.len())?;
        header.push(type_of(part));
        header.extend(length.to_le_bytes());
        header.extend(part.uncompressed.iter().flat_map(|length| length.to_le_bytes()));
        header.extend(digits(&part.id.to_hex())?);
        let kind = if part.kind == BlobType::Tree { "tree" } else { "data" };
        let mut blob = json!({
            "id": part.id.to_hex().as_str(), "type": kind, "offset": short(pack.len())?, "length": length,
        });
        if let Some(uncompressed) = part.uncompressed {
            blob["uncompressed_length"] = uncompressed.into();
        }
        blobs.push(blob);
        pack.extend(&part.sealed);
    }
    let header = cipher.encrypt(&header)?;
    pack.extend(&header);
    pack.extend(short(header.len())?.to_le_bytes());
    let name = sha256_hex(&pack);
    let index = json!({ "packs": [{ "id": name, "blobs": blobs }] });
    Ok(Packed { name, pack: pack.into(), index: cipher.encrypt(index.to_string().as_bytes())?.into() })
}

/// The type of a blob in a pack's header.
fn type_of(part: &Part) -> u8 {
    u8::from(part.kind == BlobType::Tree) + if part.uncompressed.is_some() { 2 } else { 0 }
}

fn short(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Failure::failed("packs of more than 4 GiB cannot be stored"))
}

fn digits(hex: &str) -> Result<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    pairs.collect::<std::result::Result<_, _>>().context("an id has no hexadecimal digits")
}
