//! How a spool is set up, and what is written to it.

use super::RESERVE_SEGMENTS;
use crate::format::Lsn;

/// How a spool is laid out and bounded.
#[derive(Clone, Debug)]
pub struct Options {
    /// A multiple of a page. Two segments of a spool may differ.
    pub segment_bytes: u64,
    /// Events are taken until this many segments, less the reserve, are on disk. At least 8. What is essential
    /// may go beyond: only the disk itself refuses it.
    pub segments_max: u64,
    /// Bytes of a checkpoint that ride along with one batch.
    pub checkpoint_step_bytes: usize,
    /// Epoch of the first run of a new spool, at least 1. A time in it keeps a replaced disk above the one it replaces.
    pub first_epoch: u64,
    /// Open although files are missing: an operator has accepted the loss.
    pub accept_missing: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            segments_max: 256,
            checkpoint_step_bytes: 256 << 10,
            first_epoch: 1,
            accept_missing: false,
        }
    }
}

impl Options {
    pub(super) fn reserve(&self) -> u64 {
        RESERVE_SEGMENTS.max(self.segments_max / 10)
    }
}

/// Source of salts, spool ids and nonces: 32 random bytes a call.
pub type Entropy = Box<dyn FnMut() -> [u8; 32] + Send>;

/// Numbers of the records of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the first of the owner's records; the others follow it.
    pub first: Lsn,
    /// Of the batch's last record, which may be one of the log's own.
    pub last: Lsn,
}

/// What a record is to the log.
#[derive(Clone, Copy, Debug)]
pub enum Append<'r> {
    /// Replayed until a later checkpoint takes its place.
    State(&'r [u8]),
    /// As `State`, and its bytes can be read back by `id` until it is released. The owner never uses an id again.
    Body { id: u64, head: &'r [u8], bytes: &'r [u8] },
}

/// Whether a batch may use the reserve (S13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A new event: refused when the spool is full.
    Event,
    /// Acknowledgements, outcomes, ends, and everything else that lets space come back.
    Essential,
}
