//! Numbers used twice: this process goes on from an image of its memory, and a destination has numbers of its runs that it
//! never sent there (RELIABILITY M22).
//!
//! ```text
//!  destination                                     origin, numbers to 9 in its memory
//!  has 1 to 14 ──── exchange, or receipt ────────► 10 to 14 never left: nothing of that is believed, and nothing leaves
//!                                                  another run begins; what no destination has settled goes on in it
//!              ◄─── exchange, of the other run ──  once that is durable
//! ```
//!
//! What the destination has under a number may be this event or another, so nobody is asked: an event that it has comes
//! there twice, under two keys. The ways to others ended with the process that the image was made of, so an exchange comes
//! before the first number that is used twice. What that process sent and is still under way then is not told apart.

use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, Run};
use roaring::RoaringTreemap;

use super::{Action, Core};
use crate::bugs::{Bug, bug};
use crate::message::{Exchange, Receipt};
use crate::record::{Ending, LaneRanges, Outcome, Record};

/// No other run begins for so long after one that began for doubt: a destination that claims anything gets nothing
/// meanwhile, and the others are not troubled by it.
const DOUBT_PAUSE: Duration = Duration::from_secs(5);
/// Events of one record.
const KEYS_PER_RECORD: usize = 8_192;

/// What this process makes of its own numbers.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Doubt {
    /// The first of its runs whose numbers were used twice, until another one begins.
    run: Option<Run>,
    last: Option<Instant>,
    /// Nothing leaves before this batch is durable.
    gate: u64,
}

impl Core {
    /// Whether something in an exchange cannot be so unless numbers of ours were used twice. Then nothing of it holds.
    pub(super) fn exchange_raises_doubt(
        &mut self,
        from: &BridgeId,
        exchange: &Exchange,
        now: Instant,
    ) -> bool {
        let beyond = exchange.lanes.iter().filter(|lane| self.is_beyond(from, lane)).map(|lane| lane.run);
        let closed = exchange.closed.iter().copied().filter(|run| self.is_missed(from, *run));
        match beyond.chain(closed).min() {
            Some(run) => self.on_doubt(from, run, now),
            None => false,
        }
    }

    /// The same of a receipt.
    pub(super) fn receipt_raises_doubt(&mut self, from: &BridgeId, receipt: &Receipt, now: Instant) -> bool {
        let beyond = receipt.lanes.iter().filter(|lane| self.is_beyond(from, lane)).map(|lane| lane.run);
        let ended = |one: &&Ending| self.never_left(from, one.run, one.lane, one.seq);
        let ended = receipt.endings.iter().filter(ended).map(|ending| ending.run);
        match beyond.chain(ended).min() {
            Some(run) => {
                self.report_unknown_numbers(from, &receipt.lanes);
                self.on_doubt(from, run, now)
            }
            None => false,
        }
    }

    /// A run in which the destination claims a number that never left for it.
    fn is_beyond(&self, from: &BridgeId, lane: &LaneRanges) -> bool {
        let upto = lane.above.last().map_or(lane.cumulative, |(_, to)| *to);
        self.never_left(from, lane.run, lane.lane, upto)
    }

    pub(super) fn never_left(&self, from: &BridgeId, run: Run, lane: u8, seq: u64) -> bool {
        let sent = || self.peers.get(from).map_or(0, |peer| peer.sender.sent_upto(run, lane));
        self.begun.contains(&run) && self.is_missed(from, run) && seq > sent()
    }

    /// What is still to come of the run may have its numbers already: next ones are given in it, or some wait for this
    /// destination, which was told so and cannot have closed it.
    fn is_missed(&self, from: &BridgeId, run: Run) -> bool {
        let waits = || {
            let destination = self.state.destinations.get(from);
            destination.is_some_and(|destination| destination.has_unsettled(run))
        };
        run == self.own.run || self.begun.contains(&run) && waits()
    }

    fn on_doubt(&mut self, from: &BridgeId, run: Run, now: Instant) -> bool {
        if bug(Bug::NumbersUsedTwice) {
            return false;
        }
        if self.doubt.last.is_some_and(|last| now < last + DOUBT_PAUSE) {
            if let Some(peer) = self.peers.get_mut(from) {
                peer.session = None;
                peer.ask_at = Some(now + DOUBT_PAUSE / 5);
            }
            return true;
        }
        self.doubt.last = Some(now);
        self.doubt.run = Some(run);
        // No word of anybody counts until the other run has begun: whoever has something to say says it again.
        for peer in self.peers.values_mut() {
            peer.session = None;
            peer.sender.take_back();
        }
        self.actions.push_back(Action::BeginRun);
        true
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.run.is_some()
    }

    /// Nothing may leave now.
    pub(super) fn is_gated(&self) -> bool {
        self.is_in_doubt() || self.committed < self.doubt.gate
    }

    /// This run has begun. What is unsettled of the doubted one, and of those after it, goes on in it under numbers of its
    /// own, in the order in which it was accepted.
    pub(super) fn resolve_doubt(&mut self, run: Run) {
        let Some(doubted) = self.doubt.run.take() else { return };
        let first = self.begun.iter().position(|begun| *begun == doubted).unwrap_or_default();
        let doubted: Vec<Run> = self.begun[first..].iter().copied().filter(|begun| *begun != run).collect();
        let unsettled = self.state.destinations.values().flat_map(|destination| {
            doubted.iter().flat_map(|run| destination.unsettled_of(*run)).map(|pending| pending.body)
        });
        let bodies: RoaringTreemap = unsettled.collect();
        let fenced = self.take_fences(&bodies);
        let mut events = Vec::new();
        for body in &bodies {
            let Some(event) = self.state.events.get(&body) else { continue };
            let next = &mut self.next_seq[usize::from(event.key.lane)];
            events.push((body, *next));
            *next += 1;
        }
        for events in events.chunks(KEYS_PER_RECORD) {
            self.write(Record::KeysAnew { run, events: events.to_vec() }, Bytes::new());
        }
        for (bridge, destination) in &self.state.destinations {
            let sender = &mut self.peers.entry(bridge.clone()).or_default().sender;
            let durable = destination.unsettled_of(run).map(|pending| pending.body);
            sender.unsent.extend(durable.filter(|body| *body <= self.durable_body));
            for (lane, last) in destination.last_of(run) {
                let last_for = self.last_for.entry(bridge.clone());
                last_for.or_insert_with(|| vec![0; self.next_seq.len()])[usize::from(lane)] = last;
            }
        }
        self.never_sent |= bodies;
        for (bridge, body, outcome) in fenced {
            self.end_unsent(body, &bridge, outcome);
        }
        self.doubt.gate = self.ticket + 1;
    }

    /// Under another key these never left: they are handed out again, as after a restart. Gives those that were to be ended,
    /// which needs no word of their destination any more.
    fn take_fences(&mut self, bodies: &RoaringTreemap) -> Vec<(BridgeId, u64, Outcome)> {
        let mut fenced = Vec::new();
        for (bridge, peer) in &mut self.peers {
            peer.sender.touched -= bodies;
            peer.sender.held.remove_all(bodies);
            let ends = peer.sender.take_fences(bodies).into_iter();
            fenced.extend(ends.map(|(body, outcome)| (bridge.clone(), body, outcome)));
        }
        fenced
    }
}
