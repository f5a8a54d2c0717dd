//! This bridge as an origin: what each destination has not settled, and what has not ended there.

use std::collections::BTreeMap;

use meshbridge_routing::{BridgeId, EventKey, LANES, Run};
use roaring::RoaringTreemap;

use super::{Effect, State, Used};
use crate::record::{Ending, LaneRanges, Outcome};

/// A destination had stored the event and has lost it with its disk.
pub(crate) const EGRESS_LOST: &str = "egress-lost";
/// It ended there, and both ends have forgotten how: this disk is an older copy of itself.
pub(crate) const OUTCOME_FORGOTTEN: &str = "outcome-forgotten";

/// Nobody at the destination wanted the event any more when it came.
pub(crate) const NO_SUBSCRIBER: &str = "no-subscriber";

/// The equation of one pair (RELIABILITY P6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub sent: u64,
    pub delivered: u64,
    pub denied: u64,
    pub expired: u64,
    pub dead_lettered: u64,
    /// Pairs that left this account for that of another destination (D9); `sent` does not count them any more.
    pub moved: u64,
}

impl Account {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Denied(_) => self.denied += 1,
            Outcome::Expired => self.expired += 1,
            Outcome::DeadLettered(_) | Outcome::Kept(_) => self.dead_lettered += 1,
            Outcome::Moved => {
                self.sent = self.sent.saturating_sub(1);
                self.moved += 1;
            }
            Outcome::Returned(..) => {}
        }
    }

    pub fn ended(&self) -> u64 {
        self.delivered + self.denied + self.expired + self.dead_lettered
    }
}

/// A number that a destination has not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub body: u64,
    /// The last earlier number of the lane that was for this destination and was not ended before it was sent (D5).
    pub prev: u64,
    /// Bytes of the event.
    pub size: u32,
}

/// One destination, as this bridge knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Its spool and run, of the last exchange.
    pub peer: Option<(u128, Run)>,
    pub lanes: BTreeMap<(Run, u8), BTreeMap<u64, Pending>>,
    /// Settled there; how it ended is not known here yet.
    pub awaiting: BTreeMap<(Run, u8), RoaringTreemap>,
    /// Outcomes noted, by the destination's numbers.
    pub outcomes_known: u64,
    pub account: Account,
    /// Its disk has been lost, or was replaced by an older one, when this was the next body: its subscriptions may be gone.
    pub lost_before: u64,
    /// By what is in `lanes`.
    pub used: Used,
}

impl Destination {
    pub(super) fn add(&mut self, key: &EventKey, prev: u64, body: u64, size: u32) {
        self.lanes.entry((key.run, key.lane)).or_default().insert(key.seq, Pending { body, prev, size });
        self.used.add(size);
        self.account.sent += 1;
    }

    /// Pairs that have not ended.
    pub fn open(&self) -> u64 {
        self.unsettled() + self.awaiting.values().map(RoaringTreemap::len).sum::<u64>()
    }

    /// Those in which something has not ended, some of them more than once.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        self.lanes.keys().chain(self.awaiting.keys()).map(|(run, _)| *run)
    }

    pub fn unsettled(&self) -> u64 {
        self.used.events
    }

    pub fn pending(&self, run: Run, lane: u8, seq: u64) -> Option<Pending> {
        self.lanes.get(&(run, lane))?.get(&seq).copied()
    }

    /// What it has not settled of this run.
    pub fn unsettled_of(&self, run: Run) -> impl Iterator<Item = &Pending> {
        self.lanes.range((run, 0)..=(run, u8::MAX)).flat_map(|(_, numbers)| numbers.values())
    }

    pub(crate) fn has_unsettled(&self, run: Run) -> bool {
        self.unsettled_of(run).next().is_some()
    }

    /// The last unsettled number of each lane.
    pub(crate) fn last_of(&self, run: Run) -> impl Iterator<Item = (u8, u64)> {
        let lanes = self.lanes.range((run, 0)..=(run, u8::MAX));
        lanes.filter_map(|((_, lane), numbers)| Some((*lane, *numbers.last_key_value()?.0)))
    }

    /// The pair with this event goes on under another number of the lane, behind those that are there. `false` where it has
    /// ended.
    pub(super) fn renumber(&mut self, lane: u8, from: (Run, u64), to: (Run, u64), event: (u64, u32)) -> bool {
        let (body, size) = event;
        if self.remove(from.0, lane, from.1).is_none() {
            // It is there, and how it ends is not known: the bytes have one key for all.
            let awaiting = self.awaiting.get_mut(&(from.0, lane));
            if !awaiting.is_some_and(|set| set.remove(from.1)) {
                return false;
            }
            self.awaiting.retain(|_, set| !set.is_empty());
        }
        let numbers = self.lanes.entry((to.0, lane)).or_default();
        let prev = numbers.last_key_value().map_or(0, |(seq, _)| *seq);
        numbers.insert(to.1, Pending { body, prev, size });
        self.used.add(size);
        true
    }

    /// Whether something of an earlier run of this lane is unsettled, beside what is held.
    pub fn has_older(&self, run: Run, lane: u8, held: impl Fn(Run, u8) -> usize) -> bool {
        let before = self.lanes.range(..(run, 0));
        before.rev().any(|((earlier, other), numbers)| *other == lane && numbers.len() > held(*earlier, lane))
    }

    pub fn uses(&self, run: Run) -> bool {
        let lanes = (run, 0)..=(run, u8::MAX);
        self.lanes.range(lanes.clone()).next().is_some() || self.awaiting.range(lanes).next().is_some()
    }

    /// Each unsettled number follows the unsettled one before it, or nothing. For a destination that does not have
    /// what it had settled: the numbers in between have ended, and it must not wait for them.
    pub fn rebase(&mut self) {
        for numbers in self.lanes.values_mut() {
            let mut prev = 0;
            for (seq, pending) in numbers {
                pending.prev = std::mem::replace(&mut prev, *seq);
            }
        }
    }

    pub(super) fn remove(&mut self, run: Run, lane: u8, seq: u64) -> Option<Pending> {
        let numbers = self.lanes.get_mut(&(run, lane))?;
        let pending = numbers.remove(&seq);
        if let Some(pending) = pending {
            self.used.subtract(pending.size);
        }
        if numbers.is_empty() {
            self.lanes.remove(&(run, lane));
        }
        pending
    }

    /// Takes out what `settled` covers, ascending.
    fn remove_settled(&mut self, settled: &LaneRanges) -> Vec<(u64, Pending)> {
        let Some(numbers) = self.lanes.get_mut(&(settled.run, settled.lane)) else { return Vec::new() };
        let above = numbers.split_off(&settled.cumulative.saturating_add(1));
        let mut removed: Vec<(u64, Pending)> = std::mem::replace(numbers, above).into_iter().collect();
        for (from, to) in &settled.above {
            let inside: Vec<u64> = numbers.range(*from..=(*to).max(*from)).map(|(seq, _)| *seq).collect();
            removed.extend(inside.iter().filter_map(|seq| Some((*seq, numbers.remove(seq)?))));
        }
        if numbers.is_empty() {
            self.lanes.remove(&(settled.run, settled.lane));
        }
        removed.iter().for_each(|(_, pending)| self.used.subtract(pending.size));
        removed
    }
}

impl State {
    pub(super) fn note_given(&mut self, run: Run, lane: u8, seq: u64) {
        let numbers = match &mut self.given {
            Some((newest, numbers)) if *newest == run => numbers,
            // Written by an earlier version, which did not say with what it began.
            given => &mut given.insert((run, vec![u64::MAX; usize::from(LANES)])).1,
        };
        if let Some(last) = numbers.get_mut(usize::from(lane)) {
            *last = (*last).max(seq);
        }
    }

    pub(super) fn on_receipt(&mut self, from: &BridgeId, lanes: &[LaneRanges], effects: &mut Vec<Effect>) {
        let Some(destination) = self.destinations.get_mut(from) else { return };
        let mut settled = Vec::new();
        for lane in lanes {
            let removed = destination.remove_settled(lane);
            if removed.is_empty() {
                continue;
            }
            let awaiting = destination.awaiting.entry((lane.run, lane.lane)).or_default();
            for (seq, pending) in removed {
                awaiting.insert(seq);
                settled.push(pending.body);
            }
        }
        for body in settled {
            effects.push(Effect::Settled { body, destination: from.clone() });
            if let Some(event) = self.events.get_mut(&body).filter(|event| !event.stays_for(from)) {
                event.destinations.retain(|bridge| bridge != from);
                self.release_if_done(body, effects);
            }
        }
        if self.runs.len() > 1 {
            self.drop_idle_runs();
        }
    }

    pub(super) fn on_outcomes(
        &mut self,
        from: &BridgeId,
        first: u64,
        endings: &[Ending],
        effects: &mut Vec<Effect>,
    ) {
        let Some(destination) = self.destinations.get_mut(from) else { return };
        let mut ended = Vec::new();
        let mut returned = Vec::new();
        for (number, ending) in (first..).zip(endings) {
            if number <= destination.outcomes_known {
                continue;
            }
            destination.outcomes_known = number;
            let place = (ending.run, ending.lane);
            if let Outcome::Returned(name, attempts) = &ending.outcome {
                let pending = destination.pending(ending.run, ending.lane, ending.seq);
                returned.push((ending, pending.map(|pending| pending.body), name, *attempts));
                continue;
            }
            let awaited = destination.awaiting.get_mut(&place).is_some_and(|set| set.remove(ending.seq));
            if destination.awaiting.get(&place).is_some_and(RoaringTreemap::is_empty) {
                destination.awaiting.remove(&place);
            }
            // An outcome may overtake the receipt that covers its number.
            let pending = destination.remove(ending.run, ending.lane, ending.seq);
            if awaited || pending.is_some() {
                destination.account.count(&ending.outcome);
                ended.push((ending, pending.map(|pending| pending.body)));
            }
        }
        // Before the ends: what is to be chosen anew is not released with its pair.
        for (ending, pending, name, attempts) in returned {
            let (run, lane, seq) = (ending.run, ending.lane, ending.seq);
            let key = EventKey { origin: self.own.clone(), run, lane, seq };
            self.on_returned(from, &key, pending, name, attempts, effects);
        }
        for (ending, pending) in ended {
            let key =
                EventKey { origin: self.own.clone(), run: ending.run, lane: ending.lane, seq: ending.seq };
            let body = pending.or_else(|| self.retained(&key, from));
            if let Some(body) = body {
                let lost_before =
                    self.destinations.get(from).map_or(0, |destination| destination.lost_before);
                let retained =
                    body < lost_before && self.events.get(&body).is_some_and(|event| event.retain_delivered);
                match &ending.outcome {
                    Outcome::Kept(why) => self.keep_letter(body, from, why.clone(), false),
                    // M24: the disk of the destination was lost, and its subscriptions with it.
                    Outcome::DeadLettered(why) if retained && **why == *NO_SUBSCRIBER => {
                        self.keep_letter(body, from, why.clone(), false);
                    }
                    _ => {}
                }
                effects.push(Effect::Settled { body, destination: from.clone() });
                if let Some(event) = self.events.get_mut(&body) {
                    event.destinations.retain(|bridge| bridge != from);
                    self.release_if_done(body, effects);
                }
            }
            self.letter_ended(&key, from, &ending.outcome, effects);
            effects.push(Effect::Ended { key, destination: from.clone(), outcome: ending.outcome.clone() });
        }
    }

    /// The body of an event that is kept until it is delivered.
    pub(crate) fn retained(&self, key: &EventKey, destination: &BridgeId) -> Option<u64> {
        let body = *self.retained.get(&(key.run, key.lane, key.seq))?;
        self.events.get(&body)?.destinations.contains(destination).then_some(body)
    }

    pub(super) fn on_ended_here(
        &mut self,
        body: u64,
        to: &BridgeId,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(event) = self.events.get_mut(&body) else { return };
        let key = event.key.clone();
        let Some(destination) = self.destinations.get_mut(to) else { return };
        let Some(ended) = destination.remove(key.run, key.lane, key.seq) else { return };
        destination.account.count(outcome);
        // Nobody will ever see this number, so the next one has another predecessor (D5).
        if let Some(numbers) = destination.lanes.get_mut(&(key.run, key.lane))
            && let Some((_, next)) = numbers.range_mut(key.seq..).next()
            && next.prev == key.seq
        {
            next.prev = ended.prev;
        }
        event.destinations.retain(|bridge| bridge != to);
        // A start between the record of a letter and this one may have judged otherwise.
        self.letter_ended(&key, to, outcome, effects);
        effects.push(Effect::Settled { body, destination: to.clone() });
        effects.push(Effect::Ended { key, destination: to.clone(), outcome: outcome.clone() });
        self.release_if_done(body, effects);
    }

    pub(super) fn on_lost(
        &mut self,
        to: &BridgeId,
        outcome: &Outcome,
        keys: &[(Run, u8, u64)],
        effects: &mut Vec<Effect>,
    ) {
        let is_egress_lost = matches!(outcome, Outcome::DeadLettered(why) if **why == *EGRESS_LOST);
        let mut again = false;
        for (run, lane, seq) in keys {
            let key = EventKey { origin: self.own.clone(), run: *run, lane: *lane, seq: *seq };
            let retained = self.retained(&key, to);
            let Some(destination) = self.destinations.get_mut(to) else { return };
            let awaited = destination.awaiting.get_mut(&(*run, *lane)).is_some_and(|set| set.remove(*seq));
            if !awaited {
                continue;
            }
            if let Some(body) = retained.filter(|_| is_egress_lost) {
                // The payload is still here, so it is sent again.
                let size = self.events.get(&body).map_or(0, |event| event.size);
                let pending = Pending { body, prev: 0, size };
                destination.lanes.entry((*run, *lane)).or_default().insert(*seq, pending);
                destination.used.add(size);
                again = true;
                continue;
            }
            destination.account.count(outcome);
            if *outcome == Outcome::Delivered {
                self.letter_ended(&key, to, outcome, effects);
            }
            effects.push(Effect::Ended { key, destination: to.clone(), outcome: outcome.clone() });
            if let Some(body) = retained
                && let Some(event) = self.events.get_mut(&body)
            {
                event.destinations.retain(|bridge| bridge != to);
                self.release_if_done(body, effects);
            }
        }
        if let Some(destination) = self.destinations.get_mut(to) {
            destination.awaiting.retain(|_, set| !set.is_empty());
            if again {
                // What follows nothing would settle what comes before it, and is not there either.
                destination.rebase();
                destination.lost_before = self.next_body;
            }
        }
    }

    pub(super) fn on_peer(&mut self, bridge: &BridgeId, spool: u128, run: Run, closed: u64) {
        let source = self.sources.entry(bridge.clone()).or_default();
        let other_disk = source.peer.is_some_and(|(known, _)| known != spool);
        source.peer = Some((spool, run));
        if other_disk {
            // What its former disk had and not sent is gone; the outcomes of its former events interest nobody.
            source.outcomes.clear();
            source.outcomes_from = 1;
        }
        // Another disk counts its epochs anew.
        source.closed = if other_disk { closed } else { source.closed.max(closed) };
        if other_disk {
            // Another disk may begin its epochs below those of the former.
            source.closed_floor = 0;
        }
        source.close(closed);
        let destination = self.destinations.entry(bridge.clone()).or_default();
        if destination.peer.is_some_and(|(known, _)| known != spool) {
            destination.outcomes_known = 0;
            destination.lost_before = self.next_body;
            destination.rebase();
        }
        destination.peer = Some((spool, run));
    }
}
