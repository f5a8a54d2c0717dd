//! The window in which a producer's retry is recognised (RELIABILITY P4).
//!
//! A million ids are kept, so each is a slot of 32 bytes in the order of acceptance, and a table of four-byte places finds
//! it by its hash.

use std::collections::VecDeque;

use hashbrown::HashTable;
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

#[derive(Clone, Copy, Debug)]
struct Slot {
    producer: u128,
    /// Number in the lane, and the lane above it.
    seq_lane: u64,
    /// Milliseconds, and the place of the run in `runs` above it.
    at_run: u64,
}

const SEQ_BITS: u32 = 56;
const AT_BITS: u32 = 48;

impl Slot {
    fn new(producer: u128, lane: u8, seq: u64, at: u64, run_at: usize) -> Slot {
        let seq_lane = u64::from(lane) << SEQ_BITS | seq & ((1 << SEQ_BITS) - 1);
        let at_run = (run_at as u64) << AT_BITS | at & ((1 << AT_BITS) - 1);
        Slot { producer, seq_lane, at_run }
    }

    fn at(&self) -> u64 {
        self.at_run & ((1 << AT_BITS) - 1)
    }

    fn run(&self) -> usize {
        (self.at_run >> AT_BITS) as usize
    }
}

#[derive(Clone, Debug, Default)]
pub struct Producers {
    /// Oldest first.
    slots: VecDeque<Slot>,
    /// Slots that have left at the front; with it, places are numbers that stay.
    gone: u32,
    places: HashTable<u32>,
    /// With how many slots each has; those without any are taken for new ones.
    runs: Vec<(Run, u32)>,
}

impl PartialEq for Producers {
    fn eq(&self, other: &Producers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Producers {}

/// The id is a hash already.
fn hash(producer: u128) -> u64 {
    producer as u64 ^ (producer >> 64) as u64
}

impl Producers {
    fn find(&self, producer: u128) -> Option<&Slot> {
        let slot = |place: u32| self.slots.get(place.wrapping_sub(self.gone) as usize);
        let same = |place: &u32| slot(*place).is_some_and(|slot| slot.producer == producer);
        slot(*self.places.find(hash(producer), same)?)
    }

    pub fn get(&self, producer: u128) -> Option<Given> {
        self.find(producer).map(|slot| self.given(slot))
    }

    fn given(&self, slot: &Slot) -> Given {
        let (run, _) = self.runs[slot.run()];
        Given { run, lane: (slot.seq_lane >> SEQ_BITS) as u8, seq: slot.seq_lane & ((1 << SEQ_BITS) - 1) }
    }

    /// The keys of some events are others now; few runs hold them.
    pub(crate) fn renumber(&mut self, new_key: impl Fn(Given) -> Option<Given>) {
        for at in 0..self.slots.len() {
            let slot = self.slots[at];
            let given = self.given(&slot);
            let Some(Given { run, lane, seq }) = new_key(given) else { continue };
            let Some(run_at) = self.place_of(run) else { continue };
            self.runs[slot.run()].1 -= 1;
            self.runs[run_at] = (run, self.runs[run_at].1 + 1);
            self.slots[at] = Slot::new(slot.producer, lane, seq, slot.at(), run_at);
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The oldest id that is still recognised, by the time of its acceptance.
    pub fn since(&self) -> Option<u64> {
        self.slots.front().map(Slot::at)
    }

    /// The first key that an id got stays its key.
    pub(crate) fn insert(&mut self, producer: u128, run: Run, lane: u8, seq: u64, at: u64) {
        if self.find(producer).is_none() {
            self.push(producer, run, lane, seq, at);
        }
        while self.slots.len() > PRODUCERS_MAX
            || self.slots.front().is_some_and(|slot| slot.at().saturating_add(PRODUCER_LIFE_MS) < at)
        {
            self.pop();
        }
    }

    fn push(&mut self, producer: u128, run: Run, lane: u8, seq: u64, at: u64) {
        let Some(run_at) = self.place_of(run) else { return };
        self.runs[run_at] = (run, self.runs[run_at].1 + 1);
        let place = self.gone.wrapping_add(self.slots.len() as u32);
        self.slots.push_back(Slot::new(producer, lane, seq, at, run_at));
        let (slots, gone) = (&self.slots, self.gone);
        let hash_of =
            |place: &u32| slots.get(place.wrapping_sub(gone) as usize).map_or(0, |s| hash(s.producer));
        self.places.insert_unique(hash(producer), place, hash_of);
    }

    /// `None`: more runs than a window of a day can have.
    fn place_of(&mut self, run: Run) -> Option<usize> {
        let known = self.runs.iter().position(|(known, slots)| *known == run && *slots > 0);
        let place = known.or_else(|| self.runs.iter().position(|(_, slots)| *slots == 0));
        let run_at = place.unwrap_or_else(|| {
            self.runs.push((run, 0));
            self.runs.len() - 1
        });
        (run_at >> (64 - AT_BITS) == 0).then_some(run_at)
    }

    fn pop(&mut self) {
        let Some(slot) = self.slots.pop_front() else { return };
        let place = self.gone;
        if let Ok(entry) = self.places.find_entry(hash(slot.producer), |known| *known == place) {
            entry.remove();
        }
        self.gone = self.gone.wrapping_add(1);
        if let Some((_, slots)) = self.runs.get_mut(slot.run()) {
            *slots -= 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, Given, u64)> {
        self.slots.iter().map(|slot| (slot.producer, self.given(slot), slot.at()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn knows_exactly_the_ids_of_the_last_day(
            steps in prop::collection::vec((0_u128..40, 0_u64..3, 0_u64..PRODUCER_LIFE_MS / 4), 0..200),
        ) {
            let mut producers = Producers::default();
            let mut oracle: HashMap<u128, (Given, u64)> = HashMap::new();
            let mut now = 1_700_000_000_000;
            for (seq, (producer, epoch, pause)) in (1..).zip(steps) {
                now += pause;
                let given = Given { run: Run { epoch, nonce: 7 }, lane: (seq % 64) as u8, seq };
                producers.insert(producer, given.run, given.lane, given.seq, now);
                oracle.entry(producer).or_insert((given, now));
                oracle.retain(|_, (_, at)| *at + PRODUCER_LIFE_MS >= now);
                prop_assert_eq!(producers.len(), oracle.len());
                for producer in 0..40 {
                    prop_assert_eq!(producers.get(producer), oracle.get(&producer).map(|(given, _)| *given));
                }
            }
        }
    }

    #[test]
    fn the_oldest_leaves_when_there_are_too_many() {
        let mut producers = Producers::default();
        let run = Run { epoch: 1, nonce: 1 };
        for seq in 1..=PRODUCERS_MAX as u64 + 5 {
            producers.insert(u128::from(seq) << 64, run, 3, seq, 1);
        }
        assert_eq!(producers.len(), PRODUCERS_MAX);
        assert_eq!(producers.get(5 << 64), None);
        assert_eq!(producers.get(6 << 64), Some(Given { run, lane: 3, seq: 6 }));
    }
}
