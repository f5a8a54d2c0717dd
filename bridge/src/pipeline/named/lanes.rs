//! Where a retry blocks its lane: of one lane, one event is on offer at a time, and the next one only after it ended.

use std::collections::{BTreeMap, HashMap};

use meshbridge_routing::BridgeId;

/// Events of one origin that are in order.
pub(in crate::pipeline) type Lane = (BridgeId, u8);

/// Of one subscription. Events whose lane is not known neither wait nor block.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    of: HashMap<u64, Lane>,
    /// On offer, leased or waiting for its next attempt.
    busy: HashMap<Lane, u64>,
    /// By the order of their first offer.
    behind: HashMap<Lane, BTreeMap<u64, u64>>,
}

impl Lanes {
    pub(super) fn insert(&mut self, body: u64, lane: Lane) {
        self.of.insert(body, lane);
    }

    /// Whether both are of one lane.
    pub(super) fn are_of_one(&self, body: u64, other: u64) -> bool {
        self.of.get(&body).is_some_and(|lane| self.of.get(&other) == Some(lane))
    }

    /// `true` where the event must wait for an earlier one; it is kept here then.
    pub(super) fn holds_back(&mut self, order: u64, body: u64) -> bool {
        let Some(lane) = self.of.get(&body) else { return false };
        let busy = *self.busy.entry(lane.clone()).or_insert(body) != body;
        if busy {
            self.behind.entry(lane.clone()).or_default().insert(order, body);
        }
        busy
    }

    /// The event has ended; gives the next one of its lane.
    pub(super) fn end(&mut self, body: u64) -> Option<(u64, u64)> {
        let lane = self.of.remove(&body)?;
        let behind = self.behind.get_mut(&lane);
        if self.busy.get(&lane) != Some(&body) {
            behind?.retain(|_, waiting| *waiting != body);
            return None;
        }
        self.busy.remove(&lane);
        let behind = behind?;
        let next = behind.pop_first();
        if behind.is_empty() {
            self.behind.remove(&lane);
        }
        next
    }

    pub(super) fn waiting(&self) -> usize {
        self.behind.values().map(BTreeMap::len).sum()
    }
}
