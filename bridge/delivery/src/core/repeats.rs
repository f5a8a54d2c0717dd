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
/// Bytes of the question, of an exchange. What does not fit is not asked for.
const QUESTION_BYTES: usize = MESSAGE_BYTES_MAX / 8;

/// What was delivered and is noted: of a destination at its origin, and of an origin at its destination.
#[derive(Debug, Default)]
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
        found.collect()
    }
}

/// As a destination: what was open when this process began, until its origin has been asked about it.
#[derive(Debug, Default)]
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
    let mut bytes = 0;
    let lanes = lanes.take_while(|lane| {
        bytes += lane.bytes();
        bytes <= room
    });
    lanes.collect()
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
