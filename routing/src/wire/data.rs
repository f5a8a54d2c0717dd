//! Frames on data streams, the tables their indices refer to, and notices (`PROTOCOL.md`, R20 to R32).
//!
//! ```text
//! batch   u32 length │ frame │ frame │ …                       one write, one read
//! frame   u32 length of the rest
//!         u8 version, u16 run, u8 lane, u64 seq, u8 hop limit, u32 life in ms (0: unlimited)
//!         u16 policy, [16] digest of the payload
//!         u16 n, n × (u16 bridge, u64 prev)                    destinations
//!         u8 0 │ u8 1, u16 n, n × u16 zone                     every zone may carry, or these
//!         u16 length, topic │ u16 length, extensions │ payload to the end of the frame
//! ```
//!
//! Run, policy, bridge and zone are indices into the table that the sender of the link announces on the control
//! stream; an index never changes its meaning while the link lives (R22). A frame may overtake the announcement of its
//! last index, and waits for it.

mod frame;
mod notice;
mod table;

pub use frame::{Destination, Frame, FrameRef, MAX_BATCH_BYTES, decode_batch, encode_frame};
pub use notice::{Notice, NoticeKind};
pub(super) use notice::{NOTICE, decode_notice, encode_notice};
pub use table::{Entry, RecvTable, SendTable, TableAnnounce, TableViolation};
pub(super) use table::{TABLE, decode_table};

/// The digest of a payload: 128 bits of BLAKE3. It finds damage on the way, it proves nothing.
pub fn digest(payload: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(blake3::hash(payload).as_bytes()) {
        *to = *from;
    }
    out
}
