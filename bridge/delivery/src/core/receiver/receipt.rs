//! What a destination says of what it has: numbers, and the next outcomes (RELIABILITY §2, step 9; D11).

use std::time::{Duration, Instant};

use meshbridge_routing::BridgeId;

use super::{Lanes, OUTCOMES_AGAIN};
use crate::core::{Action, Core};
use crate::message::{MESSAGE_BYTES_MAX, Message, Receipt};
use crate::record::{Ending, LaneRanges};
use crate::state::Source;

/// Ranges of one lane in one receipt; what is missing is said by the next one.
const RECEIPT_RANGES: usize = 256;
/// Outcomes of one receipt.
const RECEIPT_OUTCOMES: usize = 1_024;
/// Bytes of reasons that the outcomes of one receipt may have.
const RECEIPT_REASON_BYTES: usize = MESSAGE_BYTES_MAX / 4;
/// Outcomes that wait so long for the word on what their origin had noted before make their bridge ask for it.
const AGREE_PATIENCE: Duration = Duration::from_secs(1);

impl Core {
    pub(in crate::core) fn send_receipt_if_due(&mut self, bridge: &BridgeId, now: Instant) {
        let Some(peer) = self.peers.get_mut(bridge) else { return };
        if !peer.reachable || peer.session.is_none() || peer.lanes.due_at().is_none_or(|at| at > now) {
            return;
        }
        let lanes = &mut peer.lanes;
        let source = self.state.sources.get(bridge);
        if lanes.outcomes_at.is_some_and(|at| at + OUTCOMES_AGAIN <= now) {
            // Not answered: from the first one that the origin has not noted.
            lanes.outcomes_sent = source.map_or(0, |source| source.outcomes_from.saturating_sub(1));
            lanes.outcomes_at = None;
        }
        let mut changed = Vec::new();
        let mut ranges = 0;
        while let Some(place) = lanes.changed.pop_first() {
            let Some(set) = lanes.durable.get(&place) else {
                // The origin once said that it has nothing open in this run. That it asks again means that it has
                // forgotten; so have we, and all of it is settled.
                if source.is_some_and(|source| source.is_closed(place.0)) {
                    let (run, lane) = place;
                    changed.push(LaneRanges { run, lane, cumulative: u64::MAX, above: Vec::new() });
                }
                continue;
            };
            let above: Vec<_> = set.above().take(RECEIPT_RANGES).collect();
            ranges += 2 + above.len();
            changed.push(LaneRanges { run: place.0, lane: place.1, cumulative: set.cumulative(), above });
            if ranges * 12 > MESSAGE_BYTES_MAX / 2 {
                break;
            }
        }
        let (base, first, endings) = source.map_or((0, 0, Vec::new()), |source| outcomes_of(source, lanes));
        lanes.events = 0;
        let number = lanes.next_number();
        lanes.outcomes_sent = lanes.outcomes_sent.max(first.saturating_sub(1) + endings.len() as u64);
        let unanswered = source.is_some_and(|source| lanes.outcomes_sent + 1 > source.outcomes_from.max(1));
        // Later ones change nothing: while they come all the time, a lost one is said again all the same.
        lanes.outcomes_at = unanswered.then_some(lanes.outcomes_at.unwrap_or(now));
        let outcomes_wait = lanes.outcomes_sent < lanes.outcomes_durable;
        if outcomes_wait && !lanes.outcomes_agreed {
            peer.ask_at.get_or_insert(now + AGREE_PATIENCE);
        }
        let more = !lanes.changed.is_empty() || outcomes_wait && lanes.outcomes_agreed;
        lanes.due = more.then_some(now + self.config.receipt_delay);
        let receipt =
            Receipt { speaker: self.own, number, lanes: changed, credit: self.credit, base, first, endings };
        let message = Message::Receipt(receipt);
        self.actions.push_back(Action::Message { to: bridge.clone(), message });
    }
}

/// The next outcomes to tell: number of the oldest kept, number of the first told, and the outcomes.
fn outcomes_of(source: &Source, lanes: &Lanes) -> (u64, u64, Vec<Ending>) {
    let base = source.outcomes_from.max(1);
    let first = (lanes.outcomes_sent + 1).max(base);
    let skip = usize::try_from(first - base).unwrap_or(usize::MAX);
    let durable = usize::try_from((lanes.outcomes_durable + 1).saturating_sub(first)).unwrap_or(usize::MAX);
    // M25: before that, their numbers may mean others to the origin.
    let durable = if lanes.outcomes_agreed { durable } else { 0 };
    let mut bytes = 0;
    let endings =
        source.outcomes.iter().skip(skip).take(durable.min(RECEIPT_OUTCOMES)).take_while(|ending| {
            bytes += ending.outcome.why().map_or(0, str::len);
            bytes <= RECEIPT_REASON_BYTES
        });
    (base, first, endings.cloned().collect())
}
