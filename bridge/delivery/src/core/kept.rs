//! Numbers of events that a rule here refuses and wants kept: by their origin, which has the bytes (POLICY §3).
//!
//! ```text
//!  destination                                          origin
//!  refused, on the disk ── receipt without its number,  notes the rule; the event stays, as a dead letter
//!                          outcome `kept(rule)` ──────►
//!  the number counts    ◄── outcomes known ───────────
//!                       ── receipt with its number ───► has nothing to let go of any more
//! ```
//!
//! A receipt that came alone would free the event at its origin. What is lost or repeated of the above is said again.

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_routing::{EventKey, Run};

use crate::intervals::IntervalSet;
use crate::record::Outcome;
use crate::state::Source;

type Place = (Run, u8);

/// Of one origin; as many at most as it has outcomes to note.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Kept(BTreeSet<(Place, u64)>);

impl Kept {
    /// Those whose outcome the origin has not noted.
    pub(super) fn of(source: &Source) -> Kept {
        let kept = source.outcomes.iter().filter(|ending| matches!(ending.outcome, Outcome::Kept(_)));
        Kept(kept.map(|ending| ((ending.run, ending.lane), ending.seq)).collect())
    }

    pub(super) fn insert(&mut self, key: &EventKey) {
        self.0.insert(((key.run, key.lane), key.seq));
    }

    pub(super) fn take_out(&self, sets: &mut BTreeMap<Place, IntervalSet>) {
        for (place, seq) in &self.0 {
            if let Some(set) = sets.get_mut(place) {
                set.remove(*seq, *seq);
            }
        }
    }

    pub(super) fn forget(&mut self, is_closed: impl Fn(Run) -> bool) {
        self.0.retain(|((run, _), _)| !is_closed(*run));
    }

    /// Its origin has noted how this ended. Whether it was one of these.
    pub(super) fn noted(&mut self, place: Place, seq: u64) -> bool {
        self.0.remove(&(place, seq))
    }

    pub(super) fn take_all(&mut self) -> BTreeSet<(Place, u64)> {
        std::mem::take(&mut self.0)
    }
}
