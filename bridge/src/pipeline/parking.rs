//! Frames without a way on: nobody leads to their destination, or the way leads back to where they came from.
//!
//! A link-state protocol has such moments while it converges. Each frame waits five seconds at most, all of them
//! within [`PARKED_BYTES_MAX`]; a new forwarding table tries them again. What does not fit is refused to the caller.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use meshbridge_routing::BridgeId;

use crate::link::Outbound;

/// Bytes parked at once.
pub(super) const PARKED_BYTES_MAX: usize = 64 << 20;
/// How long a frame may stay in the memory of one bridge, waiting for any reason (RELIABILITY §2, step 5).
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// A waiting frame, and the neighbour it came from.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) frame: Outbound,
    pub(super) from: Option<BridgeId>,
}

#[derive(Debug, Default)]
pub(super) struct Parking {
    waiting: VecDeque<Parked>,
    bytes: usize,
}

impl Parking {
    /// Gives the frame back when there is no room for it.
    pub(super) fn park(&mut self, parked: Parked) -> Result<(), Parked> {
        let size = parked.frame.queued_bytes();
        if self.bytes + size > PARKED_BYTES_MAX {
            return Err(parked);
        }
        self.bytes += size;
        self.waiting.push_back(parked);
        Ok(())
    }

    /// Everything that waits, in the order it came.
    pub(super) fn take(&mut self) -> VecDeque<Parked> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// What has waited too long, or has expired.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Parked> {
        let overdue = |parked: &Parked| {
            now.duration_since(parked.frame.since) >= WAIT_MAX
                || parked.frame.expires.is_some_and(|expires| expires <= now)
        };
        let (late, waiting): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(overdue);
        self.waiting = waiting.into();
        self.bytes -= late.iter().map(|parked| parked.frame.queued_bytes()).sum::<usize>();
        late
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
