//! This bridge as a destination of others: what it has taken, and how it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshbridge_routing::{EventKey, Run};

use crate::intervals::IntervalSet;
use crate::record::{Ending, LaneRanges, Outcome};

/// Closed runs of one origin that are remembered by name.
pub(crate) const CLOSED_RUNS_MAX: usize = 256;

/// One origin, as this bridge knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its spool and run, of the last exchange.
    pub peer: Option<(u128, Run)>,
    /// Runs up to this epoch are closed: nothing new of them will ever be sent (D6).
    pub closed: u64,
    /// Those of them that something was taken of. By name: the origin's disk may be an older copy of itself, and begin a
    /// run of an epoch that it has used before.
    pub closed_runs: BTreeSet<Run>,
    /// Runs up to this epoch are closed and not remembered by name any more.
    pub closed_floor: u64,
    pub taken: BTreeMap<(Run, u8), IntervalSet>,
    /// Not noted by the origin yet; the first has number `outcomes_from`.
    pub outcomes: VecDeque<Ending>,
    pub outcomes_from: u64,
    pub ended: u64,
}

impl Source {
    pub(super) fn take(&mut self, key: &EventKey, prev: u64) {
        // A key of its own at least, whatever `prev` claims.
        let from = if prev < key.seq { prev + 1 } else { key.seq };
        self.taken.entry((key.run, key.lane)).or_default().insert(from, key.seq);
    }

    pub fn has(&self, key: &EventKey) -> bool {
        self.taken.get(&(key.run, key.lane)).is_some_and(|set| set.contains(key.seq))
    }

    /// The run can send nothing new any more.
    pub fn is_closed(&self, run: Run) -> bool {
        run.epoch <= self.closed_floor || self.closed_runs.contains(&run)
    }

    /// Something that is taken would be closed with the runs up to this epoch.
    pub(crate) fn closes(&self, upto: u64) -> bool {
        self.taken.keys().next().is_some_and(|(run, _)| run.epoch <= upto)
    }

    /// Nothing of the runs up to this epoch is open any more, as the origin says.
    pub(super) fn close(&mut self, upto: u64) {
        let gone = self.taken.keys().map(|(run, _)| *run).filter(|run| run.epoch <= upto);
        let gone: Vec<Run> = gone.collect();
        self.closed_runs.extend(gone);
        self.taken.retain(|(run, _), _| run.epoch > upto);
        while self.closed_runs.len() > CLOSED_RUNS_MAX
            && let Some(oldest) = self.closed_runs.pop_first()
        {
            self.closed_floor = self.closed_floor.max(oldest.epoch);
        }
    }

    /// That of its last exchange; 0 before any.
    pub(crate) fn spool(&self) -> u128 {
        self.peer.map_or(0, |(spool, _)| spool)
    }

    /// The number that the next outcome gets.
    pub fn next_outcome(&self) -> u64 {
        self.outcomes_from.max(1) + self.outcomes.len() as u64
    }

    /// Notes outcome `number`. Those before it that damage took are nobody's; those after it are known already.
    pub(super) fn end(&mut self, number: u64, key: &EventKey, outcome: Outcome) {
        self.outcomes_from = self.outcomes_from.max(1);
        if number < self.next_outcome() {
            return;
        }
        if self.outcomes.is_empty() {
            self.outcomes_from = number;
        }
        while self.next_outcome() < number {
            let nobody =
                Ending { run: key.run, lane: 0, seq: 0, outcome: Outcome::DeadLettered("lost".into()) };
            self.outcomes.push_back(nobody);
        }
        self.ended += 1;
        self.outcomes.push_back(Ending { run: key.run, lane: key.lane, seq: key.seq, outcome });
    }

    /// Those that are kept, up to this number.
    pub(crate) fn outcomes_upto(&self, upto: u64) -> impl Iterator<Item = &Ending> {
        let count = upto.saturating_add(1).saturating_sub(self.outcomes_from);
        self.outcomes.iter().take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn forget_outcomes(&mut self, upto: u64) {
        while self.outcomes_from <= upto && self.outcomes.pop_front().is_some() {
            self.outcomes_from += 1;
        }
    }

    /// Those before `before` are noted; the others have numbers from `from` on.
    pub(super) fn tell_anew(&mut self, before: u64, from: u64) {
        self.forget_outcomes(before.saturating_sub(1));
        self.outcomes_from = self.outcomes_from.max(from);
    }

    pub fn lanes(&self) -> impl Iterator<Item = LaneRanges> {
        self.taken.iter().map(|((run, lane), set)| ranges_of(*run, *lane, set))
    }
}

pub(crate) fn ranges_of(run: Run, lane: u8, set: &IntervalSet) -> LaneRanges {
    LaneRanges { run, lane, cumulative: set.cumulative(), above: set.above().collect() }
}
