//! A frame that holds several events of class best-effort, one after the other (R33): their numbers follow the frame's.

use bytes::{BufMut, Bytes, BytesMut};

/// Extension type of the number of events.
pub const TRAIN_EXTENSION: u8 = 5;
const VERSION: u8 = 1;

/// The extension of a frame with `events` events.
pub fn encode_train(events: u32) -> (u8, u8, Bytes) {
    let mut value = BytesMut::with_capacity(4);
    value.put_u32(events);
    (TRAIN_EXTENSION, VERSION, value.freeze())
}

/// How many events the payload of a frame holds where it is a train; `None`: it is one event.
pub fn decode_train(extensions: &[(u8, u8, Bytes)]) -> Option<u32> {
    let (.., value) =
        extensions.iter().find(|(kind, version, _)| (*kind, *version) == (TRAIN_EXTENSION, VERSION))?;
    value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}
