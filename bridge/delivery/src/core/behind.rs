//! What others know of this bridge's events and its own log does not: the disk is an older copy of itself, or did not keep
//! what it said it kept (RELIABILITY M20, M28).
//!
//! A destination tells all numbers that it has until the origin has heard them, and afterwards names the runs.

use std::collections::BTreeMap;

use meshbridge_routing::{BridgeId, Run};

use super::{Action, Alarm, Core};
use crate::record::LaneRanges;

/// Lanes of which it is remembered that the alarm was raised. Beyond that it is raised again.
const BEHIND_MAX: usize = 65_536;

/// What was said of numbers that this disk does not know, so that it is said once.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Behind(BTreeMap<(BridgeId, Run, u8), u64>);

impl Behind {
    fn is_news(&mut self, place: (BridgeId, Run, u8), upto: u64) -> bool {
        if self.0.len() >= BEHIND_MAX {
            self.0.clear();
        }
        self.0.insert(place, upto).is_none_or(|before| before < upto)
    }

    /// Nothing was said of the run, whose numbers are not known any more.
    fn is_new_run(&mut self, bridge: &BridgeId, run: Run) -> bool {
        let lanes = (bridge.clone(), run, 0)..=(bridge.clone(), run, u8::MAX);
        self.0.range(lanes).next().is_none() && self.is_news((bridge.clone(), run, 0), 0)
    }
}

impl Core {
    /// Numbers of ours that we never gave: our disk is an older copy of itself, or did not keep what it said it kept.
    pub(super) fn report_unknown_numbers(&mut self, from: &BridgeId, lanes: &[LaneRanges]) {
        for lane in lanes {
            let upto = lane.above.last().map_or(lane.cumulative, |(_, to)| *to);
            let (run, lane) = (lane.run, lane.lane);
            let unknown = if self.begun.contains(&run) {
                self.never_left(from, run, lane, upto)
            } else {
                // The copy was made in the middle of the life before.
                let given = |(last, numbers): &(Run, Vec<u64>)| {
                    let upto_here = numbers.get(usize::from(lane)).copied().unwrap_or(u64::MAX);
                    run == *last && upto > upto_here
                };
                self.is_unknown(run) || self.given_before.as_ref().is_some_and(given)
            };
            if unknown && self.behind.is_news((from.clone(), run, lane), upto) {
                let alarm = Alarm::OriginBehind { destination: from.clone(), run, lane, upto };
                self.actions.push_back(Action::Alarm(alarm));
            }
        }
    }

    /// Runs of ours that a destination has closed, and that this disk does not know: it ended them all the same.
    pub(super) fn report_unknown_runs(&mut self, from: &BridgeId, closed: &[Run]) {
        for run in closed {
            if self.is_unknown(*run) && self.behind.is_new_run(from, *run) {
                let alarm = Alarm::UnknownRun { destination: from.clone(), run: *run };
                self.actions.push_back(Action::Alarm(alarm));
            }
        }
    }

    /// Of a life that this disk does not know: it began after the copy was made.
    fn is_unknown(&self, run: Run) -> bool {
        let first = self.begun.first().map_or(self.own.run.epoch, |run| run.epoch);
        // A log knows one run of an epoch.
        let later = |(last, _): &(Run, Vec<u64>)| run.epoch >= last.epoch && run != *last;
        let before = || self.given_before.as_ref().is_some_and(later);
        !self.begun.contains(&run) && (run.epoch >= first || before())
    }
}
