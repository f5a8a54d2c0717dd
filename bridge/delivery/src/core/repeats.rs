//! What its origin knows to be delivered is not offered once more by a destination that has forgotten it: its disk is an
//! older copy of itself, or an acknowledgement on it has rotted (RELIABILITY M25, M27).
//!
//! ```text
//!  destination                                         origin
//!  starts; still open: 4 to 9 ──── exchange ─────────► notes of this process: 2 to 7 are delivered
//!  4 to 7 end as delivered    ◄─── exchange ────────── of those, 4 to 7
//! ```
//!
//! Subscribers do not wait for the answer: while an origin is away nobody knows whether it has one to give. Only what was
//! delivered is told. Of what ended otherwise something was kept at the destination, a dead letter, and is lost like the
//! end itself; and how it ended the origin does not keep. What the origin has forgotten, too, is offered again.

use std::collections::BTreeMap;

use meshbridge_routing::{BridgeId, Run};
use roaring::RoaringTreemap;
use smallvec::SmallVec;

use super::Core;
use crate::intervals::IntervalSet;
use crate::message::MESSAGE_BYTES_MAX;
use crate::record::{Ending, GroupEnd, LaneRanges, Outcome};
use crate::state::ranges_of;

type Place = (Run, u8);

/// Numbers of one lane that are remembered: the highest.
const NUMBERS_MAX: u64 = 1_024;
/// Lanes: those of the newest runs.
const PLACES_MAX: usize = 256;
/// Bytes of the question and of the answer, in an exchange. What does not fit is not asked for, or not told.
const QUESTION_BYTES: usize = MESSAGE_BYTES_MAX / 8;

/// What was delivered and is noted: of a destination at its origin, and of an origin at its destination.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Delivered(BTreeMap<Place, RoaringTreemap>);

impl Delivered {
    pub(super) fn note<'a>(&mut self, endings: impl Iterator<Item = &'a Ending>) {
        for ending in endings.filter(|ending| ending.outcome == Outcome::Delivered) {
            let numbers = self.0.entry((ending.run, ending.lane)).or_default();
            numbers.insert(ending.seq);
            if numbers.len() > NUMBERS_MAX
                && let Some(lowest) = numbers.min()
            {
                numbers.remove(lowest);
            }
        }
        while self.0.len() > PLACES_MAX {
            self.0.pop_first();
        }
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// As many as an exchange has room for, of the newest runs.
    pub(super) fn newest(&self) -> Vec<LaneRanges> {
        let lanes = self.0.iter().rev().map(|((run, lane), numbers)| {
            let mut ranges = IntervalSet::default();
            numbers.iter().for_each(|seq| ranges.insert(seq, seq));
            ranges_of(*run, *lane, &ranges)
        });
        within(QUESTION_BYTES, lanes)
    }

    /// Those that are asked for.
    pub(super) fn among(&self, asked: &[LaneRanges]) -> Vec<LaneRanges> {
        let found = asked.iter().filter_map(|lane| {
            let mut found = IntervalSet::default();
            let numbers = self.0.get(&(lane.run, lane.lane))?.iter().filter(|seq| lane.contains(*seq));
            numbers.for_each(|seq| found.insert(seq, seq));
            (!found.is_empty()).then(|| ranges_of(lane.run, lane.lane, &found))
        });
        within(QUESTION_BYTES, found)
    }
}

/// As a destination: what was open when this process began, until its origin has been asked about it.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Resumed(BTreeMap<Place, IntervalSet>);

impl Resumed {
    pub(super) fn insert(&mut self, place: Place, seq: u64) {
        self.0.entry(place).or_default().insert(seq, seq);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn question(&self) -> Vec<LaneRanges> {
        within(QUESTION_BYTES, self.0.iter().map(|((run, lane), numbers)| ranges_of(*run, *lane, numbers)))
    }

    pub(super) fn answered(&mut self) {
        self.0.clear();
    }
}

fn within(room: usize, lanes: impl Iterator<Item = LaneRanges>) -> Vec<LaneRanges> {
    let mut left = room;
    let fits = |lane: &LaneRanges| {
        let fits = lane.bytes() <= left;
        left -= if fits { lane.bytes() } else { 0 };
        fits
    };
    lanes.filter(fits).collect()
}

impl Core {
    /// As a destination: ends what the origin knows to be delivered and is open here. Its acknowledgement is lost with the
    /// records of this disk.
    pub(super) fn end_delivered(&mut self, origin: &BridgeId, delivered: &[LaneRanges]) {
        if delivered.is_empty() {
            return;
        }
        let by_place: BTreeMap<Place, &LaneRanges> =
            delivered.iter().map(|lane| ((lane.run, lane.lane), lane)).collect();
        let events = self.state.events.iter().take_while(|(body, _)| *body < self.began_at);
        let open = events.filter(|(_, event)| event.local_open && event.key.origin == *origin);
        let known = open.filter(|(_, event)| {
            let lane = by_place.get(&(event.key.run, event.key.lane));
            lane.is_some_and(|lane| lane.contains(event.key.seq))
        });
        let known: Vec<(u64, SmallVec<[u32; 4]>)> =
            known.map(|(body, event)| (body, event.open_groups().collect())).collect();
        for (body, groups) in known {
            for group in groups {
                self.end_group(body, group, GroupEnd::Acknowledged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(epoch: u64) -> Run {
        Run { epoch, nonce: 1 }
    }

    fn ending(epoch: u64, lane: u8, seq: u64, outcome: Outcome) -> Ending {
        Ending { run: run(epoch), lane, seq, outcome }
    }

    fn whole(epoch: u64, lane: u8) -> LaneRanges {
        LaneRanges { run: run(epoch), lane, cumulative: u64::MAX, above: Vec::new() }
    }

    #[test]
    fn only_what_was_delivered_and_is_asked_for_is_told() {
        let mut delivered = Delivered::default();
        let other = ending(1, 0, 3, Outcome::Expired);
        let all = [1, 2, 4, 9].map(|seq| ending(1, 0, seq, Outcome::Delivered));
        delivered.note(all.iter().chain([&other, &ending(1, 7, 1, Outcome::Delivered)]));
        let asked = LaneRanges { run: run(1), lane: 0, cumulative: 3, above: vec![(4, 5)] };
        let told = LaneRanges { run: run(1), lane: 0, cumulative: 2, above: vec![(4, 4)] };
        assert_eq!(delivered.among(&[asked, whole(2, 0)]), [told]);
    }

    #[test]
    fn the_newest_are_remembered_and_no_more_than_fit_are_told() {
        let mut delivered = Delivered::default();
        for epoch in 1..=9 {
            for lane in 0..64 {
                let numbers = (1..=2 * NUMBERS_MAX).step_by(2);
                let endings: Vec<Ending> =
                    numbers.chain([5_000]).map(|seq| ending(epoch, lane, seq, Outcome::Delivered)).collect();
                delivered.note(endings.iter());
            }
        }
        assert_eq!(delivered.0.len(), PLACES_MAX);
        assert!(delivered.0.keys().all(|(run, _)| run.epoch > 5), "those of the newest runs");
        assert!(delivered.0.values().all(|numbers| numbers.len() == NUMBERS_MAX && !numbers.contains(1)));
        let asked: Vec<LaneRanges> = (0..64).map(|lane| whole(9, lane)).collect();
        for told in [delivered.newest(), delivered.among(&asked)] {
            let bytes: usize = told.iter().map(LaneRanges::bytes).sum();
            assert!(bytes > QUESTION_BYTES / 2 && bytes <= QUESTION_BYTES, "{bytes}");
        }
    }
}
