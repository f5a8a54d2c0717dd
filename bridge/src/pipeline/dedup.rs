//! Exact removal of duplicates at the egress bridge, by event key.
//!
//! Per (origin, run, lane) the numbers already taken are kept as disjoint ranges. A frame names `prev`, the last
//! earlier number of the lane meant for this bridge, so everything between `prev` and the frame's own number is
//! settled with it and ranges collapse:
//!
//! ```text
//! taken  [1..=7]        frame seq 12, prev 9   →  [1..=7] [10..=12]      8 and 9 are still out
//!                       frame seq 9,  prev 7   →  [1..=12]
//! ```
//!
//! What lies between two ranges is a gap: at least one event that was lost on its way, or is still on it. No bridge that
//! an event did not reach can count it, and a link that broke does not know what it had under way, so they are counted here.
//!
//! Bound: [`RANGES_MAX`] ranges a lane and [`RUNS_MAX`] runs. A frame lost in memory leaves a hole that nobody
//! fills; when there are too many, the oldest hole is closed, and what arrives for it later counts as a duplicate.

use std::collections::{BTreeMap, HashMap};

use meshbridge_routing::{BridgeId, EventKey, LANES, Run};

/// Holes kept open in one lane. A window of 65,536 events in flight over 64 lanes leaves at most half as many.
pub(crate) const RANGES_MAX: usize = 1_024;
/// Runs remembered: every bridge of a full federation, and as many restarts.
pub(crate) const RUNS_MAX: usize = 8_192;

#[derive(Debug, Default)]
struct Lane {
    /// start → end, inclusive, disjoint and not adjacent.
    ranges: BTreeMap<u64, u64>,
}

impl Lane {
    fn contains(&self, seq: u64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, end)| *end >= seq)
    }

    /// Whether none of these was taken.
    fn is_clear(&self, from: u64, to: u64) -> bool {
        self.ranges.range(..=to).next_back().is_none_or(|(_, end)| *end < from)
    }

    /// Tells how many gaps were closed for want of room.
    fn insert(&mut self, from: u64, to: u64) -> usize {
        let mut start = from;
        let mut end = to;
        if let Some((s, e)) = self.ranges.range(..=from).next_back()
            && e.saturating_add(1) >= from
        {
            start = *s;
            end = end.max(*e);
        }
        while let Some((s, e)) = self.ranges.range(start..=end.saturating_add(1)).next() {
            let (s, e) = (*s, *e);
            end = end.max(e);
            self.ranges.remove(&s);
        }
        self.ranges.insert(start, end);
        let mut given_up = 0;
        while self.ranges.len() > RANGES_MAX {
            given_up += 1;
            let first = self.ranges.pop_first().expect("more than RANGES_MAX ranges");
            let second = self.ranges.pop_first().expect("more than RANGES_MAX ranges");
            self.ranges.insert(first.0, second.1);
        }
        given_up
    }

    fn gaps(&self) -> usize {
        self.ranges.len().saturating_sub(1)
    }
}

#[derive(Debug)]
struct RunState {
    lanes: Vec<Lane>,
    used: u64,
}

/// What a run of numbers was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// New, and taken.
    All,
    /// Some are new: each has to be asked for.
    Partly,
    /// Taken before.
    None,
}

/// The numbers this bridge has taken, of all origins.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    runs: HashMap<(BridgeId, Run), RunState>,
    clock: u64,
    /// Open ones of all lanes.
    gaps: usize,
    /// Those that nobody can fill any more.
    gaps_given_up: usize,
}

impl Dedup {
    /// `true` the first time a key is seen; see [`Self::take_run`].
    pub(crate) fn take(&mut self, key: &EventKey, prev: u64) -> bool {
        self.take_run(key, 1, prev) == Taken::All
    }

    /// Takes `count` numbers from the key's on, where all of them are new. `prev` must be below the key's own number, or the range is its own only.
    pub(crate) fn take_run(&mut self, key: &EventKey, count: u64, prev: u64) -> Taken {
        self.clock += 1;
        if !self.runs.contains_key(&(key.origin.clone(), key.run)) && self.runs.len() >= RUNS_MAX {
            self.forget_oldest();
        }
        let clock = self.clock;
        let run = self.runs.entry((key.origin.clone(), key.run)).or_insert_with(|| RunState {
            lanes: (0..LANES).map(|_| Lane::default()).collect(),
            used: clock,
        });
        run.used = clock;
        let Some(lane) = run.lanes.get_mut(usize::from(key.lane)) else { return Taken::None };
        let Some(last) = key.seq.checked_add(count.max(1) - 1) else { return Taken::None };
        if !lane.is_clear(key.seq, last) {
            let all = (key.seq..=last).all(|seq| lane.contains(seq));
            return if all { Taken::None } else { Taken::Partly };
        }
        let from = if prev < key.seq { prev + 1 } else { key.seq };
        self.gaps -= lane.gaps();
        self.gaps_given_up += lane.insert(from, last);
        self.gaps += lane.gaps();
        Taken::All
    }

    /// Gaps in the numbers of all lanes since the start.
    pub(crate) fn gaps(&self) -> usize {
        self.gaps + self.gaps_given_up
    }

    fn forget_oldest(&mut self) {
        let oldest = self.runs.iter().min_by_key(|(_, run)| run.used).map(|(id, _)| id.clone());
        if let Some(run) = oldest.and_then(|id| self.runs.remove(&id)) {
            let gaps: usize = run.lanes.iter().map(Lane::gaps).sum();
            self.gaps -= gaps;
            self.gaps_given_up += gaps;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn key(seq: u64) -> EventKey {
        EventKey {
            origin: BridgeId::parse("a").expect("valid id"),
            run: Run { epoch: 1, nonce: 7 },
            lane: 3,
            seq,
        }
    }

    #[test]
    fn any_order_with_repeats_takes_each_key_once() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut frames = Vec::new();
            let (mut seq, mut prev) = (0, 0);
            for _ in 0..300 {
                seq += rng.random_range(1..4);
                frames.push((seq, prev));
                prev = seq;
            }
            let mut arrivals = frames.clone();
            arrivals.extend(frames.iter().copied().filter(|_| rng.random_bool(0.5)));
            arrivals.shuffle(&mut rng);
            let mut dedup = Dedup::default();
            let mut seen = HashSet::new();
            for (seq, prev) in arrivals {
                assert_eq!(dedup.take(&key(seq), prev), seen.insert(seq), "seed {seed}, number {seq}");
            }
            let lane = &dedup.runs.values().next().expect("one run").lanes[3];
            assert_eq!(lane.ranges.len(), 1, "everything arrived, so the ranges have collapsed");
            assert_eq!(dedup.gaps(), 0, "seed {seed}");
        }
    }

    #[test]
    fn what_never_comes_leaves_a_gap_however_many_lanes_and_runs_are_forgotten() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut dedup = Dedup::default();
            // Never two in a row, never the last: each is a gap of its own.
            let (mut lost, mut was_lost) = (0, true);
            let mut frames = Vec::new();
            for seq in 1..3_000 {
                was_lost = !was_lost && rng.random_bool(0.4);
                if !was_lost {
                    frames.push(seq);
                }
                lost += usize::from(was_lost);
            }
            frames.push(3_000);
            for chunk in frames.chunks_mut(8) {
                chunk.shuffle(&mut rng);
            }
            frames.iter().for_each(|seq| assert!(dedup.take(&key(*seq), seq - 1)));
            assert_eq!(dedup.gaps(), lost, "seed {seed}");
            for nonce in 0..RUNS_MAX as u64 {
                let mut other = key(1);
                other.run.nonce = 1_000 + nonce;
                dedup.take(&other, 0);
            }
            assert_eq!((dedup.gaps(), dedup.runs.len()), (lost, RUNS_MAX), "seed {seed}");
        }
    }

    #[test]
    fn another_run_of_the_same_origin_is_another_number_space() {
        let mut dedup = Dedup::default();
        assert!(dedup.take(&key(1), 0));
        let mut other = key(1);
        other.run.nonce = 8;
        assert!(dedup.take(&other, 0));
        assert!(!dedup.take(&key(1), 0));
    }

    #[test]
    fn holes_are_bounded_and_a_closed_hole_is_a_duplicate() {
        let mut dedup = Dedup::default();
        for n in 0..(RANGES_MAX as u64 + 10) {
            assert!(dedup.take(&key(n * 2 + 1), n * 2));
        }
        assert!(dedup.runs.values().all(|run| run.lanes.iter().all(|lane| lane.ranges.len() <= RANGES_MAX)));
        assert!(!dedup.take(&key(2), 1), "the oldest hole was closed");
    }
}
