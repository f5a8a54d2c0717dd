//! Taking events of other bridges: once each, in order per lane, with receipts (RELIABILITY §2, steps 6 to 9).

mod receipt;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, EventKey, GroupName, Run};
use smallvec::SmallVec;

use super::kept::Kept;
use super::repeats::{Delivered, Resumed};
use super::{Action, Core, Waiting};
use crate::bugs::{Bug, bug};
use crate::intervals::IntervalSet;
use crate::message::FenceItem;
use crate::record::{LaneRanges, Outcome, Record, Taken};
use crate::state::Source;

/// An event that has waited so long for its predecessor makes its bridge ask whether that can still come.
const HOLE_PATIENCE: Duration = Duration::from_secs(2);
/// Outcomes that the origin has not answered for so long are said again.
const OUTCOMES_AGAIN: Duration = Duration::from_secs(2);

/// What a frame is to this bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// To be judged and taken.
    New,
    /// It was taken before; the receipt is repeated.
    Known,
    /// Nothing is known of its run: the ends must exchange first (D10).
    UnknownRun,
    /// Its lane has more holes than may be kept.
    NoRoom,
}

/// An event of another bridge, judged and to be kept.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub key: EventKey,
    pub prev: u64,
    pub topic: Box<str>,
    pub payload: Bytes,
    /// Milliseconds since 1970; 0 for none.
    pub expires: u64,
    /// Durable subscriptions here.
    pub groups: SmallVec<[u32; 4]>,
    /// Nobody else here is to have it: this bridge was chosen for consumer groups.
    pub groups_only: bool,
    /// Offered to members of these groups so often elsewhere.
    pub attempts: u32,
    /// Consumer groups that this bridge was chosen for and that have no member here.
    pub returned: Vec<GroupName>,
}

/// An event that waits for its predecessor.
#[derive(Debug)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
struct Held {
    key: EventKey,
    prev: u64,
    body: Option<u64>,
    since: Instant,
}

/// The volatile side of a source.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Lanes {
    /// Durable here; what receipts say.
    durable: BTreeMap<(Run, u8), IntervalSet>,
    /// Offered or ended; what order depends on.
    offered: BTreeMap<(Run, u8), IntervalSet>,
    /// By lane and the number they wait for.
    held: BTreeMap<(Run, u8, u64), SmallVec<[Held; 1]>>,
    changed: BTreeSet<(Run, u8)>,
    events: u32,
    due: Option<Instant>,
    number: u64,
    pub(super) known_runs: BTreeSet<Run>,
    pub(super) outcomes_durable: u64,
    outcomes_sent: u64,
    /// Since when the origin has not answered the oldest of those that were told.
    outcomes_at: Option<Instant>,
    /// The origin has told this process what its disk had noted before: none of it has a number of what is told.
    pub(super) outcomes_agreed: bool,
    /// When the origin was last asked what can still come.
    hole_asked: Option<Instant>,
    pub(super) resumed: Resumed,
    /// Of what the origin has noted, and this end has forgotten but for this.
    pub(super) delivered: Delivered,
    /// Not said in receipts until their origin has noted how they ended.
    kept: Kept,
}

impl Lanes {
    pub(super) fn recover(source: &Source) -> Lanes {
        let kept = Kept::of(source);
        let mut durable = source.taken.clone();
        kept.take_out(&mut durable);
        Lanes {
            durable,
            offered: source.taken.clone(),
            kept,
            outcomes_durable: source.outcomes_from.saturating_sub(1) + source.outcomes.len() as u64,
            outcomes_sent: source.outcomes_from.saturating_sub(1),
            ..Lanes::default()
        }
    }

    pub(super) fn not_offered(&mut self, key: &EventKey, prev: u64) {
        if let Some(set) = self.offered.get_mut(&(key.run, key.lane)) {
            set.remove(prev.min(key.seq - 1) + 1, key.seq);
        }
    }

    pub(super) fn due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        let again = self.outcomes_at.filter(|_| self.outcomes_sent > 0).map(|at| at + OUTCOMES_AGAIN);
        [self.due, again].into_iter().flatten().min()
    }

    /// When something about the held events is to be done.
    pub(super) fn held_at(&self, hold: Duration) -> Option<Instant> {
        let ask = self.held_until(HOLE_PATIENCE)?;
        let ask = self.hole_asked.map_or(ask, |asked| ask.max(asked + HOLE_PATIENCE));
        [Some(ask), self.held_until(hold)].into_iter().flatten().min()
    }

    fn held_until(&self, hold: Duration) -> Option<Instant> {
        self.held.values().flatten().map(|held| held.since + hold).min()
    }

    /// Everything is to be said again, to a listener that may have forgotten it.
    pub(super) fn say_all(&mut self, source: &Source, now: Instant) {
        self.changed.extend(self.durable.keys().copied());
        self.outcomes_sent = source.outcomes_from.saturating_sub(1);
        self.outcomes_at = None;
        self.due(now);
    }

    /// The origin has another disk than before: its outcomes are numbered from 1 again.
    pub(super) fn forget_outcomes(&mut self) {
        (self.outcomes_durable, self.outcomes_sent) = (0, 0);
        self.outcomes_agreed = false;
        self.outcomes_at = None;
        self.delivered.forget();
    }

    pub(super) fn agree_on_outcomes(&mut self, now: Instant) {
        self.outcomes_agreed = true;
        self.due(now);
    }

    /// The origin has noted some: those from this number on have not been answered for as long.
    pub(super) fn outcomes_answered(&mut self, next: u64, now: Instant) {
        self.outcomes_at = (self.outcomes_sent >= next).then_some(now);
    }

    /// From this number on the origin knows none.
    pub(super) fn tell_from(&mut self, number: u64) {
        self.outcomes_sent = number.saturating_sub(1);
        self.outcomes_durable = number.saturating_sub(1);
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Gives what waited for a number of a run that is closed now, which will never come: the bodies in order, and whether
    /// something that came later has been offered.
    pub(super) fn forget_closed(&mut self, source: &Source) -> Vec<(u64, bool)> {
        let closed: Vec<_> = self.held.keys().filter(|(run, ..)| source.is_closed(*run)).copied().collect();
        let mut held: Vec<Held> = closed.iter().filter_map(|at| self.held.remove(at)).flatten().collect();
        // Where their origin holds back what lies between, a later one may wait for an earlier number.
        held.sort_by_key(|held| (held.key.run, held.key.lane, held.key.seq));
        let offered = &self.offered;
        let is_late = |key: &EventKey| {
            offered.get(&(key.run, key.lane)).is_some_and(|offered| offered.contains(key.seq))
        };
        let freed = held.iter().filter_map(|held| Some((held.body?, is_late(&held.key)))).collect();
        self.durable.retain(|(run, _), _| !source.is_closed(*run));
        self.offered.retain(|(run, _), _| !source.is_closed(*run));
        self.changed.retain(|(run, _)| !source.is_closed(*run));
        self.kept.forget(|run| source.is_closed(run));
        freed
    }

    /// Its origin has to know how this ended before it hears that it is here.
    fn keep(&mut self, key: &EventKey, prev: u64) {
        self.kept.insert(key);
        if prev + 1 < key.seq {
            let place = (key.run, key.lane);
            self.durable.entry(place).or_default().insert(prev + 1, key.seq - 1);
            self.changed.insert(place);
        }
    }

    /// The origin has noted these outcomes: what it keeps of them is settled.
    pub(super) fn say_kept(&mut self, noted: &[((Run, u8), u64)], now: Instant) {
        for (place, seq) in noted {
            if self.kept.noted(*place, *seq) {
                self.settle(*place, *seq, now);
            }
        }
    }

    /// Nobody is there any more who would keep them.
    pub(super) fn say_all_kept(&mut self, now: Instant) {
        for (place, seq) in self.kept.take_all() {
            self.settle(place, seq, now);
        }
    }

    fn settle(&mut self, place: (Run, u8), seq: u64, now: Instant) {
        self.durable.entry(place).or_default().insert(seq, seq);
        self.changed.insert(place);
        self.due(now);
    }

    /// Those of the newest runs first: where not all can be said, these matter (M22).
    pub(super) fn all_durable(&self) -> impl Iterator<Item = LaneRanges> {
        self.durable.iter().rev().map(|((run, lane), set)| LaneRanges {
            run: *run,
            lane: *lane,
            cumulative: set.cumulative(),
            above: set.above().collect(),
        })
    }
}

impl Core {
    /// Asks what to do with a frame. A copy of something known is answered with a receipt.
    pub fn classify(&mut self, key: &EventKey, now: Instant) -> Arrival {
        if key.seq == 0 {
            // Numbers begin at 1.
            return Arrival::Known;
        }
        let delay = self.config.receipt_delay;
        let peer = self.peers.entry(key.origin.clone()).or_default();
        let source = self.state.sources.get(&key.origin);
        let same_number = |source: &Source| {
            let mut taken = source.taken.iter().filter(|((_, lane), _)| *lane == key.lane);
            bug(Bug::NonceLeftOut) && taken.any(|(_, set)| set.contains(key.seq))
        };
        if source.is_some_and(|source| source.has(key) || source.is_closed(key.run) || same_number(source)) {
            peer.lanes.changed.insert((key.run, key.lane));
            peer.lanes.due(now + delay);
            return Arrival::Known;
        }
        if peer.session.is_none() || !peer.lanes.known_runs.contains(&key.run) {
            peer.session = None;
            peer.ask_at.get_or_insert(now);
            return Arrival::UnknownRun;
        }
        let holes =
            source.and_then(|source| source.taken.get(&(key.run, key.lane))).map_or(0, IntervalSet::pieces);
        if holes >= self.config.holes_max { Arrival::NoRoom } else { Arrival::New }
    }

    /// There was no room for an event that [`Core::classify`] calls new. That its origin has sent it means that it has not
    /// heard so: the word may have got lost.
    pub fn had_no_room(&mut self, origin: &BridgeId, now: Instant) {
        let delay = self.config.receipt_delay;
        if let Some(peer) = self.peers.get_mut(origin).filter(|peer| peer.session.is_some()) {
            peer.lanes.due(now + delay);
        }
    }

    /// Takes an event that [`Core::classify`] calls new, and gives the id of its body; `None` where it was only for
    /// groups that have no member here.
    pub fn take(&mut self, event: Arrived, wall: u64) -> Option<u64> {
        let after = event.prev;
        self.take_after(event, after, wall)
    }

    /// As [`Core::take`], for an event that is to be offered after this number of its lane already: its origin holds back
    /// those between it and `prev`.
    pub fn take_after(&mut self, event: Arrived, after: u64, wall: u64) -> Option<u64> {
        let Arrived { key, prev, topic, payload, expires, groups, groups_only, attempts, returned } = event;
        if groups_only && groups.is_empty() {
            // D9: no member, and nobody else: the origin moves it on.
            if !bug(Bug::ReturnUntold) {
                self.return_at_arrival(0, &key, returned, attempts);
            }
            self.refuse_after(key, prev, after, Outcome::Moved);
            return None;
        }
        let body = self.state.next_body;
        let at = wall.max(self.state.wall);
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if expires > 0 {
            self.expiries.insert((expires, body));
        }
        let taken =
            Taken { body, key: key.clone(), prev, at, expires, size, topic, groups, groups_only, attempts };
        self.write(Record::Taken(taken), payload);
        self.return_at_arrival(body, &key, returned, attempts);
        if bug(Bug::ReceiptBeforeFlush) {
            let lanes = &mut self.peers.entry(key.origin.clone()).or_default().lanes;
            let place = (key.run, key.lane);
            lanes.durable.entry(place).or_default().insert(prev.min(key.seq - 1) + 1, key.seq);
            lanes.changed.insert(place);
            lanes.due = Some(lanes.due.unwrap_or_else(std::time::Instant::now));
        }
        self.then(Waiting::Taken { key, prev, after: after.min(prev), body: Some(body) });
        Some(body)
    }

    /// Ends an event that [`Core::classify`] calls new without keeping it.
    pub fn refuse(&mut self, key: EventKey, prev: u64, outcome: Outcome) {
        self.refuse_after(key, prev, prev, outcome);
    }

    /// As [`Core::refuse`], for one that waits for this number of its lane only.
    pub fn refuse_after(&mut self, key: EventKey, prev: u64, after: u64, outcome: Outcome) {
        let origin = key.origin.clone();
        let number = self.next_outcome(&origin);
        let kept = matches!(outcome, Outcome::Kept(_)) && !bug(Bug::KeptSaidEarly);
        self.write(Record::Ended { key: key.clone(), prev, number, outcome }, Bytes::new());
        let then = if kept {
            let spool = self.state.sources.get(&origin).map_or(0, Source::spool);
            Waiting::Kept { key, spool, prev, after: after.min(prev) }
        } else {
            Waiting::Taken { key, prev, after: after.min(prev), body: None }
        };
        self.then(then);
        self.outcome_added(&origin);
    }

    pub(super) fn next_outcome(&self, origin: &BridgeId) -> u64 {
        self.state.sources.get(origin).map_or(1, Source::next_outcome)
    }

    /// An outcome was written for this origin: told when it is durable.
    pub(super) fn outcome_added(&mut self, origin: &BridgeId) {
        let Some(source) = self.state.sources.get(origin) else { return };
        let upto = source.outcomes_from.saturating_sub(1) + source.outcomes.len() as u64;
        let spool = source.spool();
        self.then(Waiting::Outcomes { origin: origin.clone(), spool, upto });
    }

    pub(super) fn on_taken_durable(
        &mut self,
        key: &EventKey,
        (prev, after): (u64, u64),
        body: Option<u64>,
        now: Instant,
    ) {
        let (delay, most) = (self.config.receipt_delay, self.config.receipt_events);
        let closed = self.state.sources.get(&key.origin).is_some_and(|source| source.is_closed(key.run));
        let lanes = &mut self.peers.entry(key.origin.clone()).or_default().lanes;
        let place = (key.run, key.lane);
        if !closed {
            lanes.durable.entry(place).or_default().insert(prev.min(key.seq - 1) + 1, key.seq);
            lanes.changed.insert(place);
        }
        lanes.events += 1;
        let at = if lanes.events >= most { now } else { now + delay };
        lanes.due(at);
        self.offer_in_order(key, after, body, now);
    }

    /// An event that its origin is to keep is refused durably. That it is here is said once the origin knows why: it would
    /// let go of what it is to keep.
    pub(super) fn on_kept_durable(
        &mut self,
        key: &EventKey,
        spool: u128,
        (prev, after): (u64, u64),
        now: Instant,
    ) {
        if self.state.sources.get(&key.origin).map_or(0, Source::spool) != spool {
            // Its origin has lost what it was to keep.
            return self.on_taken_durable(key, (prev, after), None, now);
        }
        let closed = self.state.sources.get(&key.origin).is_some_and(|source| source.is_closed(key.run));
        if !closed && let Some(peer) = self.peers.get_mut(&key.origin) {
            peer.lanes.keep(key, prev.min(key.seq - 1));
        }
        self.offer_in_order(key, after, None, now);
    }

    /// Offers the event, and those that waited for it; or lets it wait until everything before it has been offered
    /// or has ended. An end without an event waits too: what follows it must not overtake what is missing.
    pub(super) fn offer_in_order(&mut self, key: &EventKey, prev: u64, body: Option<u64>, now: Instant) {
        let lanes = &mut self.peers.entry(key.origin.clone()).or_default().lanes;
        let place = (key.run, key.lane);
        if self.state.sources.get(&key.origin).is_some_and(|source| source.is_closed(key.run)) {
            // Nothing of the run can come any more, so there is nothing to wait for.
            let ready = body.map(|body| Action::Ready { body, out_of_order: false });
            self.actions.extend(ready);
            return;
        }
        let offered = lanes.offered.entry(place).or_default();
        if prev < key.seq && prev > offered.cumulative() {
            let held = Held { key: key.clone(), prev, body, since: now };
            lanes.held.entry((key.run, key.lane, prev)).or_default().push(held);
            return;
        }
        // Something that came later has been offered: its patience had ended.
        let late = offered.contains(key.seq);
        offered.insert(prev.min(key.seq - 1) + 1, key.seq);
        if let Some(body) = body {
            self.actions.push_back(Action::Ready { body, out_of_order: late });
        }
        self.offer_followers(&key.origin, place);
    }

    pub(super) fn on_skipped_durable(
        &mut self,
        origin: &BridgeId,
        run: Run,
        lane: u8,
        ranges: &[(u64, u64)],
    ) {
        let lanes = &mut self.peers.entry(origin.clone()).or_default().lanes;
        for (from, to) in ranges {
            lanes.durable.entry((run, lane)).or_default().insert(*from, *to);
            lanes.offered.entry((run, lane)).or_default().insert(*from, *to);
        }
        lanes.changed.insert((run, lane));
        self.offer_followers(origin, (run, lane));
    }

    fn offer_followers(&mut self, origin: &BridgeId, (run, lane): (Run, u8)) {
        while let Some(peer) = self.peers.get_mut(origin) {
            let lanes = &mut peer.lanes;
            let reach = lanes.offered.get(&(run, lane)).map_or(0, IntervalSet::cumulative);
            let next = lanes.held.range((run, lane, 0)..=(run, lane, reach)).next().map(|(at, _)| *at);
            let Some(mut all) = next.and_then(|at| lanes.held.remove(&at)) else { return };
            let offered = lanes.offered.entry((run, lane)).or_default();
            // Several may wait for one number, where their origin holds back, or held back, what lies between.
            all.sort_by_key(|held| held.key.seq);
            for held in all {
                let late = offered.contains(held.key.seq);
                offered.insert(held.prev.min(held.key.seq - 1) + 1, held.key.seq);
                if let Some(body) = held.body {
                    self.actions.push_back(Action::Ready { body, out_of_order: late });
                }
            }
        }
    }

    /// Asks the origin what can still come where some have waited for a while, and gives up where it was too long.
    pub(super) fn release_held(&mut self, bridge: &BridgeId, now: Instant) {
        let hold = self.config.order_hold;
        if let Some(peer) = self.peers.get_mut(bridge)
            && peer.lanes.held_until(HOLE_PATIENCE).is_some_and(|at| at <= now)
            && peer.lanes.hole_asked.is_none_or(|at| at + HOLE_PATIENCE <= now)
        {
            peer.lanes.hole_asked = Some(now);
            peer.ask_at.get_or_insert(now);
        }
        while let Some(peer) = self.peers.get_mut(bridge) {
            let lanes = &mut peer.lanes;
            let late = lanes.held.iter().find(|(_, held)| held.iter().any(|one| one.since + hold <= now));
            let Some((run, lane, waited_for)) = late.map(|(at, _)| *at) else { return };
            // What waits for an earlier number, and not for as long, must not come behind.
            let places = lanes.held.range((run, lane, 0)..=(run, lane, waited_for)).map(|(at, _)| *at);
            let places: Vec<_> = places.collect();
            let all: Vec<Held> = places.iter().filter_map(|at| lanes.held.remove(at)).flatten().collect();
            let reach = all.iter().map(|held| held.key.seq).max().unwrap_or(waited_for);
            lanes.offered.entry((run, lane)).or_default().insert(1, reach);
            for body in all.into_iter().filter_map(|held| held.body) {
                self.actions.push_back(Action::Ready { body, out_of_order: true });
            }
            self.offer_followers(bridge, (run, lane));
        }
    }

    pub(super) fn on_fence(&mut self, from: &BridgeId, items: Vec<FenceItem>, now: Instant) {
        for item in items {
            let key = EventKey { origin: from.clone(), run: item.run, lane: item.lane, seq: item.seq };
            if self.classify(&key, now) == Arrival::New && item.prev < item.seq {
                self.refuse(key, item.prev, item.outcome);
            }
        }
    }
}
