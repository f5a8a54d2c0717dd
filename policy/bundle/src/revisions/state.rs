//! The bytes of [`Revisions`] on disk. All numbers big-endian.
//!
//! ```text
//! "MBREVS" | version u8 = 1 | recovering u8 | layers u16 | layer* | SHA-256 of all before
//! layer    length u8 | text | has active u8 | (revision u64 | digest 32) if so | floor revision u64 | digest 32
//! ```
//!
//! The digest finds damage, not malice: who may write this file may also replace the bridge. A damaged
//! file is a lost disk, and is handled as one.

use std::collections::BTreeMap;

use super::{Held, LAYERS_MAX, Mark, Revisions};
use crate::digest::Digest;
use crate::layer::Layer;
use crate::manifest::REVISION_MAX;

const MAGIC: &[u8] = b"MBREVS";
const VERSION: u8 = 1;
/// Longest form of a layer with its two marks, rounded up.
const LAYER_BYTES_MAX: usize = 192;
/// Largest state, in bytes; larger files need not be read at all.
pub const STATE_BYTES_MAX: usize = 64 + LAYERS_MAX * LAYER_BYTES_MAX;

/// Why a state cannot be used. `Damaged` is a lost disk: go on with [`Revisions::recovering`]. `Version` is not: stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("the record of activated bundles is damaged; restore it, or let the bridge ask its peers")]
    Damaged,
    #[error("the record of activated bundles is of version {0}, written by a newer meshbridge; use that one")]
    Version(u8),
}

impl Revisions {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([VERSION, u8::from(self.is_recovering)]);
        let count = u16::try_from(self.layers.len()).expect("at most LAYERS_MAX layers");
        out.extend(count.to_be_bytes());
        for (layer, held) in &self.layers {
            let text = layer.to_string();
            out.push(u8::try_from(text.len()).expect("a layer's text is short"));
            out.extend(text.as_bytes());
            out.push(u8::from(held.active.is_some()));
            for mark in held.active.into_iter().chain([held.floor]) {
                out.extend(mark.revision.to_be_bytes());
                out.extend(mark.digest.0);
            }
        }
        let digest = Digest::of(&[&out]);
        out.extend(digest.0);
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Revisions, StateError> {
        if bytes.len() > STATE_BYTES_MAX {
            return Err(StateError::Damaged);
        }
        let (content, digest) = bytes.split_last_chunk::<{ Digest::BYTES }>().ok_or(StateError::Damaged)?;
        let mut reader = Reader(content.strip_prefix(MAGIC).ok_or(StateError::Damaged)?);
        // A later version need not end with a digest, so this comes first.
        match reader.u8() {
            Some(VERSION) => {}
            Some(other) => return Err(StateError::Version(other)),
            None => return Err(StateError::Damaged),
        }
        if Digest::of(&[content]).0 != *digest {
            return Err(StateError::Damaged);
        }
        read(&mut reader).ok_or(StateError::Damaged)
    }
}

fn read(reader: &mut Reader<'_>) -> Option<Revisions> {
    let is_recovering = reader.flag()?;
    let count = usize::from(u16::from_be_bytes(reader.array()?));
    if count > LAYERS_MAX {
        return None;
    }
    let mut layers: BTreeMap<Layer, Held> = BTreeMap::new();
    for _ in 0..count {
        let length = usize::from(reader.u8()?);
        let layer: Layer = std::str::from_utf8(reader.take(length)?).ok()?.parse().ok()?;
        let active = if reader.flag()? { Some(reader.mark()?) } else { None };
        let floor = reader.mark()?;
        let is_consistent = active.is_none_or(|active| active.revision < floor.revision || active == floor);
        let is_in_order = layers.last_key_value().is_none_or(|(last, _)| *last < layer);
        if !is_consistent || !is_in_order {
            return None;
        }
        layers.insert(layer, Held { active, floor });
    }
    reader.0.is_empty().then_some(Revisions { layers, is_recovering })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn mark(&mut self) -> Option<Mark> {
        let revision = u64::from_be_bytes(self.array()?);
        let digest = Digest(self.array()?);
        (1..=REVISION_MAX).contains(&revision).then_some(Mark { revision, digest })
    }
}
