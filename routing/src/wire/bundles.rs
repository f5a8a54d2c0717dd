//! Policy bundles between neighbours (R37 to R39): which ones a bridge holds, and the parts of one that is pulled.
//! Routing does not look inside; who holds what to be true of them is for the reader of signatures.
//!
//! ```text
//! 35 held   version u8 | count u16, each: layer (u8 length | ASCII) | revision u64 | digest 32
//! 36 pull   version u8 | digest 32 | offset u32
//! 37 part   version u8 | digest 32 | total u32 | offset u32 | bytes to the end        total 0: not held
//! ```

use bytes::Bytes;

use super::{DecodeError, Reader, Writer};

pub(super) const KIND_HELD: u8 = 35;
const KIND_PULL: u8 = 36;
pub(super) const KIND_PART: u8 = 37;
const VERSION: u8 = 1;

/// Layers that one bridge may say it holds bundles of; with the longest names they fit into a message.
pub const BUNDLES_MAX: usize = 1_024;
/// Bytes of one part: a slow link still says hello in time behind it.
pub const BUNDLE_PART_BYTES_MAX: usize = 32 * 1024;
/// The name of a layer: the longest attribute of a zone, a slash, the longest value.
const LAYER_BYTES_MAX: usize = 76;

/// A bundle by its layer, its revision and the SHA-256 of its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleName {
    /// ASCII, not yet parsed.
    pub layer: String,
    pub revision: u64,
    pub digest: [u8; 32],
}

/// What neighbours say to each other about bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleMessage {
    /// All that the sender holds; what it said before no longer counts.
    Held(Vec<BundleName>),
    Pull {
        digest: [u8; 32],
        offset: u32,
    },
    Part {
        digest: [u8; 32],
        /// Bytes of the whole archive; 0 where the sender does not hold it.
        total: u32,
        offset: u32,
        bytes: Bytes,
    },
}

impl BundleMessage {
    /// Names beyond [`BUNDLES_MAX`] are left out.
    pub fn encode(&self) -> Bytes {
        match self {
            BundleMessage::Held(names) => {
                let names = names.get(..names.len().min(BUNDLES_MAX)).unwrap_or_default();
                let mut writer = begin(KIND_HELD);
                writer.u16(u16::try_from(names.len()).unwrap_or(u16::MAX));
                for name in names {
                    writer.name(&name.layer);
                    writer.u64(name.revision);
                    writer.raw(&name.digest);
                }
                writer.finish()
            }
            BundleMessage::Pull { digest, offset } => {
                let mut writer = begin(KIND_PULL);
                writer.raw(digest);
                writer.u32(*offset);
                writer.finish()
            }
            BundleMessage::Part { digest, total, offset, bytes } => {
                let mut writer = begin(KIND_PART);
                writer.raw(digest);
                writer.u32(*total);
                writer.u32(*offset);
                writer.raw(bytes);
                writer.finish()
            }
        }
    }

    pub fn decode(bytes: Bytes) -> Result<BundleMessage, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        if !(KIND_HELD..=KIND_PART).contains(&kind) {
            return Err(DecodeError::UnknownKind(kind));
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion(version));
        }
        let message = match kind {
            KIND_HELD => {
                let count = reader.count(BUNDLES_MAX, "bundles of a bridge")?;
                let mut names = Vec::new();
                for _ in 0..count {
                    names.push(BundleName {
                        layer: layer(&mut reader)?,
                        revision: reader.u64()?,
                        digest: reader.array()?,
                    });
                }
                BundleMessage::Held(names)
            }
            KIND_PULL => BundleMessage::Pull { digest: reader.array()?, offset: reader.u32()? },
            _ => {
                let (digest, total, offset) = (reader.array()?, reader.u32()?, reader.u32()?);
                if reader.remaining() > BUNDLE_PART_BYTES_MAX {
                    return Err(DecodeError::TooLong("a part of a bundle"));
                }
                let bytes = reader.take(reader.remaining())?;
                BundleMessage::Part { digest, total, offset, bytes }
            }
        };
        reader.end()?;
        Ok(message)
    }
}

fn begin(kind: u8) -> Writer {
    let mut writer = Writer::of_kind(kind);
    writer.u8(VERSION);
    writer
}

fn layer(reader: &mut Reader) -> Result<String, DecodeError> {
    let name = reader.name()?;
    if name.is_empty() || name.len() > LAYER_BYTES_MAX || !name.is_ascii() {
        return Err(DecodeError::Invalid("the layer of a bundle"));
    }
    String::from_utf8(name.to_vec()).map_err(|_| DecodeError::Invalid("the layer of a bundle"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MESSAGE_BYTES_MAX;
    use super::*;

    fn name(layer: &str) -> BundleName {
        BundleName { layer: layer.to_owned(), revision: 7, digest: [3; 32] }
    }

    #[test]
    fn what_is_said_is_heard() {
        for message in [
            BundleMessage::Held(Vec::new()),
            BundleMessage::Held(vec![name("federation"), name("region/eu")]),
            BundleMessage::Pull { digest: [1; 32], offset: 65_536 },
            BundleMessage::Part { digest: [1; 32], total: 9, offset: 4, bytes: Bytes::from_static(b"bytes") },
            BundleMessage::Part { digest: [1; 32], total: 0, offset: 0, bytes: Bytes::new() },
        ] {
            let bytes = message.encode();
            assert_eq!(BundleMessage::decode(bytes.clone()), Ok(message.clone()));
            for cut in 0..bytes.len() {
                // A part ends where its message ends; all else is cut short.
                let shorter = BundleMessage::decode(bytes.slice(..cut));
                let is_part = matches!(message, BundleMessage::Part { .. }) && cut >= 42;
                assert!(is_part || shorter.is_err(), "{message:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_longest_list_and_the_longest_part_fit_into_a_message() {
        let all = vec![name(&"x".repeat(LAYER_BYTES_MAX)); BUNDLES_MAX + 1];
        let bytes = BundleMessage::Held(all).encode();
        assert!(bytes.len() <= MESSAGE_BYTES_MAX, "{}", bytes.len());
        let Ok(BundleMessage::Held(read)) = BundleMessage::decode(bytes) else { panic!("a list") };
        assert_eq!(read.len(), BUNDLES_MAX);
        let part = |length| {
            let bytes = Bytes::from(vec![0; length]);
            BundleMessage::decode(
                BundleMessage::Part { digest: [0; 32], total: 1, offset: 0, bytes }.encode(),
            )
        };
        assert!(part(BUNDLE_PART_BYTES_MAX).is_ok());
        assert_eq!(part(BUNDLE_PART_BYTES_MAX + 1), Err(DecodeError::TooLong("a part of a bundle")));
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        let decode = |bytes: [u8; 4]| BundleMessage::decode(Bytes::copy_from_slice(&bytes));
        assert_eq!(decode([KIND_HELD, VERSION, 0, 0]), Ok(BundleMessage::Held(Vec::new())));
        assert_eq!(decode([KIND_HELD, 2, 0, 0]), Err(DecodeError::UnknownVersion(2)));
        assert_eq!(decode([34, VERSION, 0, 0]), Err(DecodeError::UnknownKind(34)));
    }

    proptest! {
        #[test]
        fn bytes_from_outside_are_read_or_refused(kind in KIND_HELD..=KIND_PART, rest in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = Bytes::from([&[kind, VERSION], &rest[..]].concat());
            if let Ok(message) = BundleMessage::decode(bytes.clone()) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
