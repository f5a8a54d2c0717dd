//! The window in which a producer's retry is recognised (RELIABILITY P4).

use std::collections::{HashMap, VecDeque};

use meshbridge_routing::Run;

/// Ids remembered at most.
pub const PRODUCERS_MAX: usize = 1_000_000;
/// And for how long at most.
pub const PRODUCER_LIFE_MS: u64 = 24 * 3_600_000;

/// The key that an id got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    known: HashMap<u128, Given>,
    /// In the order of acceptance, with the time.
    order: VecDeque<(u128, u64)>,
}

impl Producers {
    pub fn get(&self, producer: u128) -> Option<Given> {
        self.known.get(&producer).copied()
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The oldest id that is still recognised, by the time of its acceptance.
    pub fn since(&self) -> Option<u64> {
        self.order.front().map(|(_, at)| *at)
    }

    pub(crate) fn insert(&mut self, producer: u128, run: Run, lane: u8, seq: u64, at: u64) {
        if self.known.insert(producer, Given { run, lane, seq }).is_none() {
            self.order.push_back((producer, at));
        }
        while self.order.len() > PRODUCERS_MAX
            || self.order.front().is_some_and(|(_, then)| then.saturating_add(PRODUCER_LIFE_MS) < at)
        {
            let Some((oldest, _)) = self.order.pop_front() else { break };
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, Given, u64)> {
        self.order.iter().filter_map(|(id, at)| Some((*id, self.get(*id)?, *at)))
    }
}
