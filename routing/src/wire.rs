//! Messages between bridges. Decoding never panics and reserves nothing on the word of a length.
//!
//! ```text
//! control stream   u32 length | kind u8 | body          all numbers big-endian
//! data stream      u32 length | batch                   see `data`
//! name             u8 length | [a-z0-9-]                filter, topic: u16 length | UTF-8
//! run              epoch u64 | nonce u64                signature: u8 certificates, each u16 | DER; u16 | signature
//! ```
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod after;
mod bundles;
mod codec;
mod control;
pub mod data;
mod groups;
mod hops;
mod notice;
mod relay;
mod table;
mod train;

pub use after::{AFTER_EXTENSION, decode_after, encode_after};
pub use bundles::{BUNDLE_PART_BYTES_MAX, BUNDLES_MAX, BundleMessage, BundleName};
pub(crate) use codec::{Reader, Writer};
pub(crate) use control::{
    Delta, ENTRIES_BYTES_MAX, Head, Message, SnapshotChunk, decode_changes, encode_changes,
};
pub use groups::{FRAME_GROUPS_MAX, GROUPS_EXTENSION, GroupTarget, decode_groups, encode_groups};
pub use hops::{HOPS_EXTENSION, encode_hops, hops_crossed};
pub use notice::{Notice, NoticeKind};
pub use relay::Relay;
pub use table::{Entry, PolicyMark, RecvTable, SendTable, TableAnnounce, TableFull, TableGap};
pub use train::{TRAIN_EXTENSION, decode_train, encode_train};

/// Bytes of one control message, its length prefix not counted. A longer one ends the link.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// Bytes that are not a message. The peer is to blame; the link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the message ends early")]
    Truncated,
    #[error("{0} bytes are left over")]
    Trailing(usize),
    #[error("{0} is beyond its limit")]
    TooLong(&'static str),
    #[error("{0} is not valid")]
    Invalid(&'static str),
    #[error("message kind {0} is unknown")]
    UnknownKind(u8),
    #[error("version {0} is unknown")]
    UnknownVersion(u8),
}

/// Who a control message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// [`crate::Router::handle_message`]
    Router,
    /// [`TableAnnounce::decode`], then [`RecvTable::apply`]
    Table,
    /// [`Notice::decode`]
    Notice,
    /// [`Relay::decode`]
    Relay,
    /// [`BundleMessage::decode`]
    Bundles,
}

/// Looks at the kind of a control message only.
pub fn addressee(message: &[u8]) -> Result<Addressee, DecodeError> {
    match *message.first().ok_or(DecodeError::Truncated)? {
        control::KIND_MIN..=control::KIND_MAX => Ok(Addressee::Router),
        table::KIND => Ok(Addressee::Table),
        notice::KIND => Ok(Addressee::Notice),
        relay::KIND => Ok(Addressee::Relay),
        bundles::KIND_HELD..=bundles::KIND_PART => Ok(Addressee::Bundles),
        kind => Err(DecodeError::UnknownKind(kind)),
    }
}
