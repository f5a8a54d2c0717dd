//! What is replicated, and how old it is. Records and interest sets spread by one mechanism (R7–R9).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::audience::AudienceId;
use crate::limits::{NAMES_PER_PEER_MAX, RETRANSMIT_MAX, RETRANSMIT_MIN};
use crate::{BridgeId, Run};

/// The version of something that has one writer. The order is total: where two runs share an epoch the nonce
/// decides, so that every bridge keeps the same one while the clone is dealt with (R21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) run: Run,
    pub(crate) version: u64,
}

/// Names a replicated thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    LinkState(BridgeId),
    /// The set of an owner for an audience.
    Interest(BridgeId, AudienceId),
}

/// A repetition that is due unless the neighbour acknowledges.
#[derive(Clone, Copy, Debug)]
struct Pending {
    at: Instant,
    pause: Duration,
}

/// What one neighbour has said it holds, and what it still owes an acknowledgement for.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    holds: BTreeMap<Item, Stamp>,
    /// The newest that was sent: the next delta continues there, a repetition starts from what it holds.
    sent: BTreeMap<Item, Stamp>,
    pending: BTreeMap<Item, Pending>,
}

impl Flood {
    /// Where an update starts from.
    pub(crate) fn base(&self, item: &Item, again: bool) -> Option<Stamp> {
        let sent = self.sent.get(item).filter(|_| !again);
        self.holds.get(item).max(sent).copied()
    }

    /// The neighbour holds `stamp`; `ours` tells whether that settles what we sent.
    pub(crate) fn on_holds(&mut self, item: Item, stamp: Stamp, ours: Option<Stamp>) {
        if ours.is_none_or(|ours| stamp >= ours) {
            self.pending.remove(&item);
        }
        let known = self.holds.entry(item).or_insert(stamp);
        *known = stamp.max(*known);
    }

    /// Whether there is room to remember something that the neighbour alone holds. Without it that is sent to it once
    /// for nothing.
    pub(crate) fn has_room_for(&self, item: &Item) -> bool {
        self.holds.len() < NAMES_PER_PEER_MAX || self.holds.contains_key(item)
    }

    /// The neighbour says that it holds less than we thought.
    pub(crate) fn on_lacks(&mut self, item: Item, have: Option<Stamp>) {
        self.sent.remove(&item);
        match have {
            Some(have) => self.holds.insert(item, have),
            None => self.holds.remove(&item),
        };
    }

    pub(crate) fn lacks(&self, item: &Item, ours: Stamp) -> bool {
        self.holds.get(item).is_none_or(|held| *held < ours)
    }

    /// R8: `bytes` were sent; repeat after a pause that leaves time for them to arrive.
    pub(crate) fn on_sent(&mut self, item: Item, stamp: Stamp, bytes: usize, again: bool, now: Instant) {
        let transfer = Duration::from_millis(bytes as u64 / 1024);
        let doubled = self.pending.get(&item).filter(|_| again).map(|pending| pending.pause * 2);
        let pause = doubled.unwrap_or(RETRANSMIT_MIN + transfer).min(RETRANSMIT_MAX + transfer);
        self.sent.insert(item.clone(), stamp);
        self.pending.insert(item, Pending { at: now + pause, pause });
    }

    pub(crate) fn due(&self, now: Instant) -> Vec<Item> {
        self.pending.iter().filter(|(_, pending)| pending.at <= now).map(|(item, _)| item.clone()).collect()
    }

    pub(crate) fn is_due(&self, item: &Item, now: Instant) -> bool {
        self.pending.get(item).is_some_and(|pending| pending.at <= now)
    }

    /// Nothing is under way any more: whatever is sent next starts from what the neighbour has said it holds.
    pub(crate) fn forget(&mut self, item: &Item) {
        self.sent.remove(item);
        self.pending.remove(item);
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.at).min()
    }
}
