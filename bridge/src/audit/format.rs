//! The bytes of a segment. All numbers big-endian; a file is only ever appended to.
//!
//! ```text
//! audit-<segment, 16 hexadecimal digits>.log
//! header   "MBAUDIT" | version u8 = 1 | chain 16 | segment u64 | first record u64 | hash before it 32 | check 32
//! record   length u32 | guard 4 | body | hash 32
//! ```
//!
//! `hash` = SHA-256 over a name, the hash before, the record's number and the body, which is one JSON object. So a
//! hash stands for all records before it. `guard` is over the hash before and the length: a changed length is thereby
//! a changed record and never looks like a write that was cut short. The first hash of a chain is made of its random
//! id.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

pub(super) const HASH_BYTES: usize = 32;
pub(super) const CHAIN_BYTES: usize = 16;
pub(super) const HEADER_BYTES: usize = 104;
/// Length and guard.
pub(super) const PREFIX_BYTES: usize = 8;
/// What a record costs beside its body.
pub(super) const FRAME_BYTES: usize = PREFIX_BYTES + HASH_BYTES;
/// Largest body. Records are clipped far below it.
pub(super) const BODY_BYTES_MAX: usize = 512 * 1024;

const MAGIC: &[u8; 8] = b"MBAUDIT\x01";
const CHAIN_NAME: &[u8] = b"meshbridge/v1 audit chain\0";
const HEADER_NAME: &[u8] = b"meshbridge/v1 audit segment\0";
const GUARD_NAME: &[u8] = b"meshbridge/v1 audit length\0";
const RECORD_NAME: &[u8] = b"meshbridge/v1 audit record\0";

pub(super) type Hash = [u8; HASH_BYTES];
pub(super) type ChainId = [u8; CHAIN_BYTES];

pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Sha256::new();
    parts.iter().for_each(|part| context.update(part));
    context.finalize().into()
}

/// The hash before the first record of a chain.
pub(super) fn genesis(chain: &ChainId) -> Hash {
    sha256(&[CHAIN_NAME, chain])
}

/// The guard of a body's length.
pub(super) fn guard(before: &Hash, length: u32) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[GUARD_NAME, before, &length.to_be_bytes()]);
    [a, b, c, d]
}

/// The hash after a record.
pub(super) fn record_hash(before: &Hash, seq: u64, body: &[u8]) -> Hash {
    sha256(&[RECORD_NAME, before, &seq.to_be_bytes(), body])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn segment_name(segment: u64) -> String {
    format!("audit-{segment:016x}.log")
}

/// The other way around; `None` for other files.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".log")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Where a chain stands: after so many records, at this hash. Written `<number>:<hash in hexadecimal>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Number of the last record; 0 before the first.
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

impl Checkpoint {
    /// The place after one more record.
    pub(super) fn after(&self, body: &[u8]) -> Checkpoint {
        let seq = self.seq.saturating_add(1);
        Checkpoint { seq, hash: record_hash(&self.hash, seq, body) }
    }

    /// The frame of the next record, appended to `out`; the place after it.
    pub(super) fn frame(&self, body: &[u8], out: &mut Vec<u8>) -> Checkpoint {
        let length = u32::try_from(body.len()).expect("bodies are clipped far below 4 GiB");
        let after = self.after(body);
        out.extend(length.to_be_bytes());
        out.extend(guard(&self.hash, length));
        out.extend(body);
        out.extend(after.hash);
        after
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex(&self.hash))
    }
}

impl FromStr for Checkpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Checkpoint, &'static str> {
        const SHAPE: &str = "a checkpoint is a number, a colon and 64 hexadecimal digits";
        let (seq, digits) = text.split_once(':').ok_or(SHAPE)?;
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if pairs.len() != HASH_BYTES || !rest.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SHAPE);
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            let pair = std::str::from_utf8(pair).map_err(|_| SHAPE)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| SHAPE)?;
        }
        Ok(Checkpoint { seq: seq.parse().map_err(|_| SHAPE)?, hash })
    }
}

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) chain: ChainId,
    pub(super) segment: u64,
    /// Where the chain stood when the segment was begun.
    pub(super) before: Checkpoint,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend(self.chain);
        out.extend(self.segment.to_be_bytes());
        out.extend(self.before.seq.saturating_add(1).to_be_bytes());
        out.extend(self.before.hash);
        let check = sha256(&[HEADER_NAME, &out]);
        out.extend(check);
        out
    }

    /// `None` for anything but a header of this version.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let (content, check) = bytes.split_last_chunk::<HASH_BYTES>()?;
        if sha256(&[HEADER_NAME, content]) != *check {
            return None;
        }
        let rest = content.strip_prefix(MAGIC)?;
        let (chain, rest) = rest.split_first_chunk::<CHAIN_BYTES>()?;
        let (segment, rest) = rest.split_first_chunk::<8>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let hash: Hash = rest.try_into().ok()?;
        let seq = u64::from_be_bytes(*first).checked_sub(1)?;
        Some(Header {
            chain: *chain,
            segment: u64::from_be_bytes(*segment),
            before: Checkpoint { seq, hash },
        })
    }
}
