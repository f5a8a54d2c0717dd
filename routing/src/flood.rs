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

/// What one neighbour has said of one thing, and was sent of it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    holds: Option<Stamp>,
    /// The newest that was sent: the next delta continues there, a repetition starts from what it holds.
    sent: Option<Stamp>,
    pending: Option<Pending>,
}

/// What one neighbour has said it holds, and what it still owes an acknowledgement for.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    items: BTreeMap<Item, Known>,
    /// How many are pending.
    pending: usize,
    /// Nothing is due before this. The least of all that were ever pending, until it has passed: looking through what
    /// is pending after each message would cost a bridge that catches up the square of what it lacks.
    next_due: Option<Instant>,
}

impl Flood {
    /// Where an update that brings the neighbour to `ours` starts from, and what else there is to do: nothing where it is
    /// on its way, and nothing ever where the neighbour has it.
    pub(crate) fn needs(&mut self, item: &Item, ours: Stamp, again: bool) -> Need {
        let Some(known) = self.items.get(item) else { return Need::From(None) };
        if known.holds.is_some_and(|held| held >= ours) {
            self.forget(item);
            return Need::Nothing;
        }
        let base = known.holds.max(known.sent.filter(|_| !again));
        if base >= Some(ours) { Need::Nothing } else { Need::From(base) }
    }

    /// The neighbour holds `stamp`; `ours` tells whether that settles what we sent. Who has come further is at work on the
    /// rest, and what is under way to it is not repeated yet.
    pub(crate) fn on_holds(&mut self, item: Item, stamp: Stamp, ours: Option<Stamp>, now: Instant) {
        let known = self.items.entry(item).or_default();
        if ours.is_none_or(|ours| stamp >= ours) {
            self.pending -= usize::from(known.pending.take().is_some());
        } else if known.holds.is_none_or(|held| held < stamp)
            && let Some(pending) = &mut known.pending
        {
            pending.at = pending.at.max(now + RETRANSMIT_MIN);
        }
        known.holds = known.holds.max(Some(stamp));
    }

    /// Whether there is room to remember something that the neighbour alone holds. Without it that is sent to it once
    /// for nothing.
    pub(crate) fn has_room_for(&self, item: &Item) -> bool {
        self.items.len() < NAMES_PER_PEER_MAX || self.items.contains_key(item)
    }

    /// The neighbour says that it holds less than we thought.
    pub(crate) fn on_lacks(&mut self, item: Item, have: Option<Stamp>) {
        let known = self.items.entry(item).or_default();
        known.sent = None;
        known.holds = have;
    }

    pub(crate) fn lacks(&self, item: &Item, ours: Stamp) -> bool {
        self.items.get(item).and_then(|known| known.holds).is_none_or(|held| held < ours)
    }

    /// R8: `bytes` were sent; repeat after a pause that leaves time for them to arrive.
    pub(crate) fn on_sent(&mut self, item: &Item, stamp: Stamp, bytes: usize, again: bool, now: Instant) {
        let transfer = Duration::from_millis(bytes as u64 / 1024);
        let known = match self.items.get_mut(item) {
            Some(known) => known,
            None => self.items.entry(item.clone()).or_default(),
        };
        let doubled = known.pending.filter(|_| again).map(|pending| pending.pause * 2);
        let pause = doubled.unwrap_or(RETRANSMIT_MIN + transfer).min(RETRANSMIT_MAX + transfer);
        known.sent = Some(stamp);
        self.pending += usize::from(known.pending.replace(Pending { at: now + pause, pause }).is_none());
        self.next_due = self.next_due.into_iter().chain([now + pause]).min();
    }

    /// What is to be repeated now.
    pub(crate) fn due(&self, now: Instant) -> Vec<Item> {
        if self.next_due().is_none_or(|at| now < at) {
            return Vec::new();
        }
        let due =
            self.items.iter().filter(|(_, known)| known.pending.is_some_and(|pending| pending.at <= now));
        due.map(|(item, _)| item.clone()).collect()
    }

    /// After what was due has been repeated or forgotten.
    pub(crate) fn rearm(&mut self, now: Instant) {
        if self.next_due.is_some_and(|at| at <= now) {
            let pending = self.items.values().filter_map(|known| known.pending);
            self.next_due = pending.map(|pending| pending.at).min();
        }
    }

    pub(crate) fn is_due(&self, item: &Item, now: Instant) -> bool {
        self.items.get(item).and_then(|known| known.pending).is_some_and(|pending| pending.at <= now)
    }

    /// Nothing is under way any more: whatever is sent next starts from what the neighbour has said it holds.
    pub(crate) fn forget(&mut self, item: &Item) {
        if let Some(known) = self.items.get_mut(item) {
            known.sent = None;
            self.pending -= usize::from(known.pending.take().is_some());
        }
    }

    /// When to ask [`Flood::due`] next; it may find nothing then, where an acknowledgement came.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.next_due.filter(|_| self.pending > 0)
    }
}

/// See [`Flood::needs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    From(Option<Stamp>),
}
