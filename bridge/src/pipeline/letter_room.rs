//! Room for dead letters (RELIABILITY D14): they are kept until somebody purges or replays them, so they have a quota.
//! When it is used up nothing is dropped: a subscription that would add one pauses until there is room, and a publication
//! that would is refused.

use std::sync::atomic::{AtomicU64, Ordering};

use meshbridge_delivery::state::Used;

use super::Quota;

/// Shared by all subscriptions of a bridge. What the delivery core has recorded is told now and then
/// ([`LetterRoom::set`]); in between letters count as they are begun, so that many at once do not pass the quota. Their
/// bytes are compared as last told: what one turn adds may pass that limit.
#[derive(Debug)]
pub(crate) struct LetterRoom {
    quota: Quota,
    events: AtomicU64,
    bytes: AtomicU64,
}

impl LetterRoom {
    pub(super) fn new(quota: Quota) -> LetterRoom {
        LetterRoom { quota, events: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// As the delivery core counts them.
    pub(super) fn set(&self, used: Used) {
        self.events.store(used.events, Ordering::Relaxed);
        self.bytes.store(used.bytes, Ordering::Relaxed);
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.load(Ordering::Relaxed) >= self.quota.events
            || self.bytes.load(Ordering::Relaxed) >= self.quota.bytes
    }

    /// Room for one more, taken; `false` where there is none.
    pub(super) fn take(&self) -> bool {
        let add = |events: u64| (events < self.quota.events).then_some(events + 1);
        self.bytes.load(Ordering::Relaxed) < self.quota.bytes
            && self.events.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_up_to_the_quota_and_again_when_letters_have_gone() {
        let room = LetterRoom::new(Quota { events: 2, bytes: 100 });
        assert!(room.take() && room.take());
        assert!(room.is_full() && !room.take(), "two are two, also before they are recorded");
        room.set(Used { events: 1, bytes: 40 });
        assert!(!room.is_full() && room.take());
        room.set(Used { events: 1, bytes: 100 });
        assert!(room.is_full() && !room.take(), "their bytes count, too");
    }
}
