//! Sending to one destination: a window, retransmission of holes, and ends for what may have been sent (D4, D7).

mod resend;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, Run};
use roaring::RoaringTreemap;
use smallvec::SmallVec;

use super::held::Held;
use super::repeats::Delivered;
use super::{Action, Core, Peer};
use crate::bugs::{Bug, bug};
use crate::message::{FENCES_MAX, FenceItem, Message, Receipt};
use crate::record::{Outcome, Record};
use crate::state::CLOSED_RUNS_MAX;
use resend::Doubt;

/// Events looked at beyond those that an older run blocks.
const LOOK_BEYOND: usize = 256;
/// How long a sender waits for progress that knows nothing of the destination.
const PATIENCE_FIRST: Duration = Duration::from_millis(500);
/// The window of a destination of which nothing is known yet: many may come back to it at once.
const WINDOW_FIRST: u64 = 64 << 10;
/// What the window grows by in one round, once it has met a limit.
const WINDOW_STEP: u64 = 64 << 10;
/// What a frame costs beside its payload, in the window's terms.
const FRAME_OVERHEAD: u64 = 256;

/// With `prev` of each.
type Destinations = SmallVec<[(BridgeId, u64); 4]>;

#[derive(Clone, Copy, Debug)]
struct Flight {
    at: Instant,
    bytes: u64,
    /// Sent once only, so its receipt tells the round trip.
    first: bool,
}

fn pop_first(bodies: &mut RoaringTreemap) -> Option<u64> {
    let first = bodies.min()?;
    bodies.remove(first);
    Some(first)
}

/// The volatile side of a destination.
#[derive(Debug)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Sender {
    /// Durable, and to be sent when the window allows.
    pub(super) unsent: RoaringTreemap,
    flight: BTreeMap<u64, Flight>,
    flight_bytes: u64,
    /// In flight at most, beside the bound of [`super::Config`]: doubles with each round until progress stops, then is halved
    /// and grows by steps (RELIABILITY §2, step 5).
    window: u64,
    /// Where doubling ends.
    threshold: u64,
    /// Something waits for the window, so there is a reason for it to grow.
    is_limited: bool,
    /// Durable, and kept back by whoever sends.
    pub(super) held: Held,
    /// Left this process at least once.
    pub(super) touched: RoaringTreemap,
    /// The highest number of each lane that left, of the runs of this process.
    sent: BTreeMap<(Run, u8), u64>,
    /// Outcomes noted durably.
    pub(super) outcomes_noted: u64,
    /// Those that were noted, durably or not, before this process of the destination was heard.
    pub(super) outcomes_before: u64,
    pub(super) delivered: Delivered,
    /// Runs of which it said, without naming them in an exchange, that all has ended there.
    pub(super) closed_there: BTreeSet<Run>,
    /// To be ended there; their payload is not sent any more.
    fenced: BTreeMap<u64, Outcome>,
    /// Bytes of payloads, learned when they are sent.
    credit: u64,
    progress_at: Option<Instant>,
    /// What left before the path changed, and by when it must have arrived: it may be lost with the old path.
    doubt: Option<Doubt>,
    /// When the fences are (again) to be sent.
    fence_at: Option<Instant>,
    /// How long to wait for progress.
    patience: Duration,
    srtt: Option<Duration>,
    rttvar: Duration,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            unsent: RoaringTreemap::new(),
            flight: BTreeMap::new(),
            flight_bytes: 0,
            window: WINDOW_FIRST,
            threshold: u64::MAX,
            is_limited: false,
            held: Held::default(),
            touched: RoaringTreemap::new(),
            sent: BTreeMap::new(),
            outcomes_noted: 0,
            outcomes_before: 0,
            delivered: Delivered::default(),
            closed_there: BTreeSet::new(),
            fenced: BTreeMap::new(),
            credit: u64::MAX,
            progress_at: None,
            doubt: None,
            fence_at: None,
            patience: PATIENCE_FIRST,
            srtt: None,
            rttvar: Duration::ZERO,
        }
    }
}

impl Sender {
    pub(super) fn on_settled(&mut self, body: u64) {
        self.unsent.remove(body);
        self.touched.remove(body);
        self.held.remove(body);
        self.fenced.remove(&body);
        if let Some(flight) = self.flight.remove(&body) {
            self.flight_bytes -= flight.bytes;
            self.widen(flight.bytes);
        }
    }

    /// So much of what was in flight has arrived.
    fn widen(&mut self, bytes: u64) {
        if self.is_limited {
            let share = if self.window < self.threshold { bytes } else { bytes * WINDOW_STEP / self.window };
            self.window = self.window.saturating_add(share);
        }
    }

    /// Progress has stopped: there was too much in flight, or it is lost.
    fn narrow(&mut self) {
        self.threshold = (self.window / 2).max(WINDOW_FIRST);
        self.window = self.threshold;
    }

    /// The destination is out of reach, or another process: everything is to be sent again, after an exchange. What was
    /// learned by waiting for it in vain is forgotten.
    pub(super) fn take_back(&mut self) {
        self.patience = PATIENCE_FIRST;
        self.unsent.extend(std::mem::take(&mut self.flight).into_keys());
        self.flight_bytes = 0;
        self.progress_at = None;
        self.doubt = None;
        (self.window, self.threshold) = (WINDOW_FIRST, u64::MAX);
    }

    /// A frame that was handed out has not left after all.
    pub(super) fn take_out(&mut self, body: u64) {
        self.unsent.remove(body);
        if let Some(flight) = self.flight.remove(&body) {
            self.flight_bytes -= flight.bytes;
            if flight.first {
                self.touched.remove(body);
            }
        }
    }

    pub(super) fn sent_upto(&self, run: Run, lane: u8) -> u64 {
        self.sent.get(&(run, lane)).copied().unwrap_or(0)
    }

    fn note_sent(&mut self, run: Run, lane: u8, seq: u64) {
        let highest = self.sent.entry((run, lane)).or_default();
        *highest = seq.max(*highest);
    }

    pub(super) fn take_fences(&mut self, bodies: &RoaringTreemap) -> BTreeMap<u64, Outcome> {
        let (taken, left) =
            std::mem::take(&mut self.fenced).into_iter().partition(|(body, _)| bodies.contains(*body));
        self.fenced = left;
        taken
    }

    pub(super) fn is_fenced(&self, body: u64) -> bool {
        self.fenced.contains_key(&body)
    }

    /// It left this process at least once.
    pub(super) fn has_left(&self, body: u64) -> bool {
        self.touched.contains(body)
    }

    pub(super) fn has_no_credit(&self) -> bool {
        self.credit == 0
    }

    /// What is fenced is said at once, and then as often as it takes.
    pub(super) fn fence_now(&mut self, now: Instant) {
        self.fence_at = Some(now).filter(|_| !self.fenced.is_empty());
    }

    fn sample(&mut self, round_trip: Duration) {
        let Some(srtt) = self.srtt else {
            self.srtt = Some(round_trip);
            self.rttvar = round_trip / 2;
            return;
        };
        let off = srtt.abs_diff(round_trip);
        self.rttvar = (self.rttvar * 3 + off) / 4;
        self.srtt = Some((srtt * 7 + round_trip) / 8);
    }
}

impl Core {
    /// Hands out what the windows of these destinations allow, oldest first; one action for an event that several
    /// of them take at the same time.
    pub(super) fn pump(&mut self, bridges: Vec<BridgeId>, now: Instant) {
        let mut sends: BTreeMap<(u64, Run), Destinations> = BTreeMap::new();
        if self.is_gated() {
            return;
        }
        for bridge in bridges {
            let Some(peer) = self.peers.get_mut(&bridge) else { continue };
            if !peer.reachable || peer.session.is_none() || peer.sender.unsent.is_empty() {
                continue;
            }
            let Some(destination) = self.state.destinations.get(&bridge) else { continue };
            let sender = &mut peer.sender;
            let credit = if bug(Bug::CreditIgnored) { u64::MAX } else { sender.credit };
            sender.window = sender.window.min(self.config.window_bytes);
            let window = sender.window.min(credit);
            let mut blocked = Vec::new();
            while sender.flight_bytes < window && sender.flight.len() < self.config.window_events {
                let Some(body) = pop_first(&mut sender.unsent) else { break };
                let Some(event) = self.state.events.get(&body) else { continue };
                let key = &event.key;
                let Some(pending) = destination.pending(key.run, key.lane, key.seq) else { continue };
                if sender.fenced.contains_key(&body) || sender.held.contains(body) {
                    continue;
                }
                // The numbers of a new run say nothing about the order to those of an older one.
                if destination.has_older(key.run, key.lane, |run, lane| sender.held.in_lane(run, lane)) {
                    blocked.push(body);
                    if blocked.len() >= LOOK_BEYOND {
                        break;
                    }
                    continue;
                }
                if self.begun.contains(&key.run) {
                    sender.note_sent(key.run, key.lane, key.seq);
                }
                let bytes = FRAME_OVERHEAD + u64::from(event.size);
                let first = sender.touched.insert(body) && body >= self.first_body;
                sender.flight.insert(body, Flight { at: now, bytes, first });
                sender.flight_bytes += bytes;
                if sender.flight.len() == 1 {
                    // Nothing was in flight, so nothing was waited for.
                    sender.progress_at = Some(now);
                }
                let prev = if bug(Bug::PrevTooLow) { pending.prev.saturating_sub(1) } else { pending.prev };
                sends.entry((body, key.run)).or_default().push((bridge.clone(), prev));
            }
            sender.is_limited = sender.flight_bytes >= sender.window && !sender.unsent.is_empty();
            sender.unsent.extend(blocked);
        }
        self.actions.extend(sends.into_iter().map(|((body, run), to)| Action::Send { body, run, to }));
    }

    pub(super) fn on_receipt(&mut self, from: &BridgeId, mut receipt: Receipt, now: Instant) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        if peer.session != Some(receipt.speaker) {
            // Of a disk or a run that is not the one we know: it frees nothing.
            if peer.reachable && peer.ask_at.is_none() {
                peer.session = None;
                peer.ask_at = Some(now);
            }
            return;
        }
        if self.receipt_raises_doubt(from, &receipt, now) {
            return;
        }
        let Some(peer) = self.peers.get_mut(from) else { return };
        // A receipt that was overtaken says what was so before; what it settles is settled all the same.
        if peer.heard.is_none_or(|(_, number)| number < receipt.number) {
            peer.sender.credit = receipt.credit;
        }
        peer.heard = peer.heard.map(|(speaker, number)| (speaker, number.max(receipt.number)));
        if receipt.credit == 0 && peer.ask_at.is_none() {
            // The word that there is room again may be lost.
            peer.ask_at = Some(now + self.config.resend_max / 6);
        }
        self.note_settled(from, std::mem::take(&mut receipt.lanes), now);
        self.note_outcomes(from, receipt, now);
        self.pump(vec![from.clone()], now);
    }

    /// Applies what a destination says it has settled, where it is news.
    pub(super) fn note_settled(
        &mut self,
        from: &BridgeId,
        lanes: Vec<crate::record::LaneRanges>,
        now: Instant,
    ) {
        let Some(destination) = self.state.destinations.get(from) else { return };
        let mut samples = SmallVec::<[u64; 8]>::new();
        let news: Vec<_> = lanes
            .into_iter()
            .filter(|lane| {
                let Some(numbers) = destination.lanes.get(&(lane.run, lane.lane)) else { return false };
                let ranges = std::iter::once((0, lane.cumulative)).chain(lane.above.iter().copied());
                let mut inside =
                    ranges.filter_map(|(low, high)| numbers.range(low..=high.max(low)).next_back());
                let found = inside.next().map(|(_, pending)| pending.body);
                samples.extend(found);
                found.is_some()
            })
            .collect();
        if news.is_empty() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(from) {
            let sender = &mut peer.sender;
            let flights =
                samples.iter().filter_map(|body| sender.flight.get(body)).filter(|flight| flight.first);
            if let Some(round_trip) = flights.map(|flight| now.duration_since(flight.at)).min() {
                sender.sample(round_trip);
            }
        }
        let oldest = self.oldest_in_flight(from);
        // A run that both ends once closed: everything in it has ended, and how is forgotten.
        let closed: Vec<_> =
            news.iter().filter(|lane| lane.cumulative == u64::MAX).map(|lane| lane.run).collect();
        self.write(Record::Receipt { from: from.clone(), lanes: news }, Bytes::new());
        // News of later ones are no progress: a lost one would wait for as long as they come.
        if self.oldest_in_flight(from) != oldest
            && let Some(Peer { sender, .. }) = self.peers.get_mut(from)
        {
            sender.progress_at = Some(now);
            let patience = sender.srtt.map_or(self.config.resend_min, |srtt| srtt + 4 * sender.rttvar);
            sender.patience = patience.clamp(self.config.resend_min, self.config.resend_max);
        }
        // Which of them it can still tell about it says in an exchange.
        if let Some(peer) = self.peers.get_mut(from).filter(|_| !closed.is_empty()) {
            peer.sender.closed_there.extend(closed);
            while peer.sender.closed_there.len() > CLOSED_RUNS_MAX {
                peer.sender.closed_there.pop_first();
            }
            peer.ask_at.get_or_insert(now);
        }
    }

    fn oldest_in_flight(&self, to: &BridgeId) -> Option<u64> {
        self.peers.get(to)?.sender.flight.first_key_value().map(|(body, _)| *body)
    }

    /// The pair of this event and destination is to end in this way: at once where it cannot have been sent, else
    /// when the destination has said so (D7).
    pub fn end_pair(&mut self, body: u64, destination: &BridgeId, outcome: Outcome, now: Instant) {
        let never_left = bug(Bug::FenceSkipped) || !self.may_have_left(body, destination);
        let sender = &mut self.peers.entry(destination.clone()).or_default().sender;
        sender.held.remove(body);
        sender.unsent.remove(body);
        if never_left {
            return self.end_unsent(body, destination, outcome);
        }
        if let Some(flight) = sender.flight.remove(&body) {
            sender.flight_bytes -= flight.bytes;
        }
        sender.fenced.entry(body).or_insert(outcome);
        sender.fence_at = Some(sender.fence_at.map_or(now, |at| at.min(now)));
    }

    pub(super) fn end_unsent(&mut self, body: u64, destination: &BridgeId, outcome: Outcome) {
        if let Some(event) = self.state.events.get(&body)
            && let Some(state) = self.state.destinations.get(destination)
            && let Some(pending) = state.pending(event.key.run, event.key.lane, event.key.seq)
            && let Some(last_for) = self.last_for.get_mut(destination)
        {
            let last = &mut last_for[usize::from(event.key.lane)];
            if *last == event.key.seq {
                *last = pending.prev;
            }
        }
        let record = Record::EndedHere { body, destination: destination.clone(), outcome };
        self.write(record, Bytes::new());
    }

    /// A frame that was handed out and not sent after all, because a rule forbids it now.
    pub fn not_sent(&mut self, body: u64, destination: &BridgeId, outcome: Outcome, now: Instant) {
        self.take_back(body, destination);
        self.end_pair(body, destination, outcome, now);
        // Its place in the window is another one's: where nothing was sent, no receipt will say so.
        self.pump(vec![destination.clone()], now);
    }

    /// Where it was handed out for the first time it was never sent.
    pub(super) fn take_back(&mut self, body: u64, destination: &BridgeId) {
        if let Some(peer) = self.peers.get_mut(destination)
            && peer.sender.flight.get(&body).is_some_and(|flight| flight.first)
        {
            peer.sender.touched.remove(body);
            if let Some(flight) = peer.sender.flight.remove(&body) {
                peer.sender.flight_bytes -= flight.bytes;
            }
        }
    }

    fn send_fences(&mut self, destination: &BridgeId) {
        let items = self.fence_items(destination);
        if let Some(peer) = self.peers.get_mut(destination) {
            let ours = items.iter().filter(|item| self.begun.contains(&item.run));
            ours.for_each(|item| peer.sender.note_sent(item.run, item.lane, item.seq));
        }
        if !items.is_empty() {
            let message = Message::Fence { speaker: self.own, items };
            self.actions.push_back(Action::Message { to: destination.clone(), message });
        }
    }

    fn fence_items(&self, destination: &BridgeId) -> Vec<FenceItem> {
        let Some(peer) = self.peers.get(destination) else { return Vec::new() };
        let Some(state) = self.state.destinations.get(destination) else { return Vec::new() };
        let items = peer.sender.fenced.iter().filter_map(|(body, outcome)| {
            let key = &self.state.events.get(body)?.key;
            let pending = state.pending(key.run, key.lane, key.seq)?;
            let (run, lane, seq) = (key.run, key.lane, key.seq);
            Some(FenceItem { run, lane, seq, prev: pending.prev, outcome: outcome.clone() })
        });
        items.take(FENCES_MAX).collect()
    }

    /// Whether a destination has said that it has no room for events.
    pub fn is_full(&self, destination: &BridgeId) -> bool {
        self.peers.get(destination).is_some_and(|peer| peer.sender.has_no_credit())
    }

    /// Pairs in flight to a destination, and those that wait for its word on their end.
    pub fn in_doubt(&self, destination: &BridgeId) -> (usize, usize) {
        self.peers
            .get(destination)
            .map_or((0, 0), |peer| (peer.sender.flight.len(), peer.sender.fenced.len()))
    }
}
