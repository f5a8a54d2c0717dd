//! The bytes of the peer protocol (`PROTOCOL.md`). Reading never panics, every length is bounded before anything is
//! reserved for it, and what a message claims is not believed here: that is [`crate::Router`]'s work.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod codec;
pub(crate) mod control;
pub mod data;

use bytes::Bytes;

pub use codec::WireError;

use data::{Notice, TableAnnounce};

/// A control message without its length prefix.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;

/// Which part of a bridge a control message is for.
#[derive(Debug)]
pub enum Inbound {
    /// For [`crate::Router::handle_message`], which reads it again as a whole.
    Router,
    Table(TableAnnounce),
    Notice(Notice),
}

/// Looks at the kind of a control message; reads it where it is not the router's.
pub fn classify(message: &Bytes) -> Result<Inbound, WireError> {
    match message.first() {
        Some(&data::TABLE) => data::decode_table(message).map(Inbound::Table),
        Some(&data::NOTICE) => data::decode_notice(message).map(Inbound::Notice),
        Some(_) => Ok(Inbound::Router),
        None => Err(WireError::Truncated),
    }
}

/// A notice as a control message.
pub fn encode_notice(notice: &Notice) -> Bytes {
    data::encode_notice(notice)
}
