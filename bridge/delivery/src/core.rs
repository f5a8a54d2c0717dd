//! Delivery of one bridge, in both roles, as a machine: calls in, [`Action`]s out.
//!
//! ```text
//!  publisher ──► accept ─┐                                  ┌─► Append  to the log, in order
//!  link ───────► take ───┤   State (fold)   Sender × peer   ├─► Send    a frame, once its record is durable
//!  peer ───────► message ┼►  in the order ► Lanes  × source ┼─► Message to the other end
//!  log ────────► committed   of the log                     ├─► Ready   for the subscriptions here
//!  clock ──────► timeout ┘                                  └─► Effect, Release, Alarm
//! ```
//!
//! Nothing leaves before the flush that covers it (RELIABILITY D3): `accept` and `take` only append; the frame, the
//! receipt and the offer come out of [`Core::on_committed`].

mod api;
mod behind;
mod doubt;
mod exchange;
mod groups;
mod held;
mod kept;
mod local;
mod outcomes;
mod receiver;
mod removal;
mod repeats;
mod sender;
mod start;
mod whereabouts;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, EventKey, LANES, Run};
use roaring::RoaringTreemap;

use crate::bugs::{Bug, bug};
use crate::message::{Message, Speaker};
use crate::record::{Accepted, Destined, Outcome, Record};
use crate::state::{Effect, Source, State};
pub use api::{Action, Admitted, Alarm, Append, Config, NewEvent, Ticket};
use behind::Behind;
use doubt::Doubt;
pub use groups::{Choice, Logged};
use local::Local;
use receiver::Lanes;
pub use receiver::{Arrival, Arrived};
pub use removal::{LateNews, Removal};
use sender::Sender;
pub use whereabouts::Whereabouts;

/// Messages of routing in one record, at most: a record is within one segment of the log, which may have 8 MiB.
const INTEREST_RECORD_BYTES: usize = 1 << 20;

/// What happens when a batch has become durable.
#[derive(Debug)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
enum Waiting {
    Accepted(u64),
    Taken {
        key: EventKey,
        prev: u64,
        /// The number that it is offered after: `prev`, or one before it.
        after: u64,
        body: Option<u64>,
    },
    /// Refused, and to be kept by its origin.
    Kept {
        key: EventKey,
        /// Of its origin when it was refused.
        spool: u128,
        prev: u64,
        after: u64,
    },
    /// Outcomes for this origin may be told up to here.
    Outcomes {
        origin: BridgeId,
        /// Of the origin when they were made: another disk hears none of them.
        spool: u128,
        upto: u64,
    },
    Effect(Effect),
    /// These numbers will never come.
    Skipped {
        origin: BridgeId,
        run: Run,
        lane: u8,
        ranges: Vec<(u64, u64)>,
    },
    /// Outcomes of this destination are noted up to here.
    Noted {
        destination: BridgeId,
        /// Of the destination when it told them: another disk has told none of them.
        spool: u128,
        upto: u64,
    },
}

/// Of another bridge, as long as this process lives.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
struct Peer {
    reachable: bool,
    /// Of its last exchange since it became reachable.
    session: Option<Speaker>,
    /// The newest exchange or receipt.
    heard: Option<(Speaker, u64)>,
    /// Of ours, as its last exchange said.
    outcomes_it_knows: Option<u64>,
    /// What it cannot tell any more of its outcomes has been dealt with.
    may_skip_outcomes: bool,
    /// When to ask (again) for an exchange.
    ask_at: Option<Instant>,
    asked: u32,
    sender: Sender,
    lanes: Lanes,
}

/// See the module.
#[derive(Debug)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub struct Core {
    pub(crate) state: State,
    config: Config,
    own: Speaker,
    /// The runs of this process.
    begun: Vec<Run>,
    /// What the log had given before it, in its newest run, by lane.
    given_before: Option<(Run, Vec<u64>)>,
    behind: Behind,
    doubt: Doubt,
    peers: BTreeMap<BridgeId, Peer>,
    local: Local,
    /// Next number of each lane of this run.
    next_seq: Vec<u64>,
    /// The last number that was for a destination, by lane.
    last_for: HashMap<BridgeId, Vec<u64>>,
    /// Bodies from here on belong to this run: what is not among a sender's `touched` never left.
    first_body: u64,
    /// Bodies before it that never left under the key that they have now, but for what is among a sender's `touched`.
    never_sent: RoaringTreemap,
    /// Bodies from here on were accepted or taken by this process.
    began_at: u64,
    /// Own events up to this body are durable.
    durable_body: u64,
    expiries: BTreeSet<(u64, u64)>,
    records: Vec<(Record, Bytes)>,
    then: Vec<Waiting>,
    ticket: Ticket,
    committed: Ticket,
    waiting: VecDeque<(Ticket, Vec<Waiting>)>,
    /// Producer ids whose event is not durable yet.
    claims: HashMap<u128, Ticket>,
    actions: VecDeque<Action>,
    /// Bytes that others may have in flight to us.
    credit: u64,
    random: u64,
    late: LateNews,
}

impl Core {
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether an earlier process accepted or took the event with this body.
    pub fn is_of_earlier(&self, body: u64) -> bool {
        body < self.began_at
    }

    /// The newest batch handed to the log.
    pub fn last_ticket(&self) -> Ticket {
        self.ticket
    }

    /// The highest batch that is durable.
    pub fn committed(&self) -> Ticket {
        self.committed
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `base` give or take a fifth.
    fn jittered(&mut self, base: Duration) -> Duration {
        let share = 800 + self.random() % 401;
        base.mul_f64(share as f64 / 1_000.0)
    }

    /// Applies a record and queues it for the log.
    fn write(&mut self, record: Record, payload: Bytes) {
        let mut effects = Vec::new();
        self.state.apply(&record, &mut effects);
        self.records.push((record, payload));
        for effect in effects {
            match &effect {
                Effect::Settled { body, destination } => {
                    if let Some(peer) = self.peers.get_mut(destination) {
                        peer.sender.on_settled(*body);
                    }
                }
                Effect::Released(body) => {
                    self.local.forget(*body);
                    self.never_sent.remove(*body);
                }
                Effect::Ended { .. } | Effect::Unchosen { .. } | Effect::Moved { .. } => {}
            }
            // Told when it is durable: an answer is as much a promise as a receipt (D3).
            self.then.push(Waiting::Effect(effect));
        }
    }

    fn then(&mut self, waiting: Waiting) {
        self.then.push(waiting);
    }

    /// Numbers and appends a batch of events; all of them, in this order. The ticket tells when they are durable.
    pub fn accept(&mut self, events: Vec<NewEvent>, wall: u64) -> (Vec<Admitted>, Ticket) {
        let mut admitted = Vec::with_capacity(events.len());
        let mut ticket = 0;
        let wall = wall.max(self.state.wall);
        for event in events {
            if let Some(given) = self.state.producers.get(event.producer) {
                let key = EventKey {
                    origin: self.state.own.clone(),
                    run: given.run,
                    lane: given.lane,
                    seq: given.seq,
                };
                ticket = ticket.max(self.claims.get(&event.producer).copied().unwrap_or(0));
                admitted.push(Admitted { key, body: None });
                continue;
            }
            admitted.push(self.accept_one(event, wall));
            ticket = self.ticket + 1;
        }
        (admitted, ticket)
    }

    fn accept_one(&mut self, event: NewEvent, wall: u64) -> Admitted {
        let lane = usize::from(event.lane);
        let seq = self.next_seq[lane];
        self.next_seq[lane] += 1;
        let body = self.state.next_body;
        let destinations = event.destinations.into_iter().map(|bridge| {
            let last_for = self.last_for.entry(bridge.clone()).or_insert_with(|| vec![0; usize::from(LANES)]);
            let prev = std::mem::replace(&mut last_for[lane], seq);
            Destined { bridge, prev }
        });
        let accepted = Accepted {
            body,
            run: self.own.run,
            lane: event.lane,
            seq,
            producer: event.producer,
            at: wall,
            expires: event.expires,
            retain_delivered: event.retain_delivered,
            size: u32::try_from(event.payload.len()).unwrap_or(u32::MAX),
            topic: event.topic,
            destinations: destinations.collect(),
            groups: event.groups,
            local: event.local,
            choices: event.choices,
            publisher: event.publisher,
        };
        if event.producer != 0 {
            self.claims.insert(event.producer, self.ticket + 1);
        }
        if event.expires > 0 {
            self.expiries.insert((event.expires, body));
        }
        let key = EventKey { origin: self.state.own.clone(), run: self.own.run, lane: event.lane, seq };
        let early: Vec<BridgeId> =
            accepted.destinations.iter().map(|destined| destined.bridge.clone()).collect();
        self.write(Record::Accepted(accepted), event.payload);
        if bug(Bug::FrameBeforeFlush) {
            for bridge in &early {
                self.peers.entry(bridge.clone()).or_default().sender.unsent.insert(body);
            }
            self.pump(early, Instant::now());
        }
        self.then(Waiting::Accepted(body));
        Admitted { key, body: Some(body) }
    }

    /// The log has made everything up to `ticket` durable.
    pub fn on_committed(&mut self, ticket: Ticket, now: Instant) {
        let was_gated = self.is_gated();
        self.committed = self.committed.max(ticket);
        let mut fresh: BTreeSet<BridgeId> = BTreeSet::new();
        if was_gated && !self.is_gated() {
            fresh.extend(self.peers.keys().cloned());
        }
        while self.waiting.front().is_some_and(|(at, _)| *at <= ticket) {
            let Some((_, all)) = self.waiting.pop_front() else { break };
            for waiting in all {
                self.on_durable(waiting, &mut fresh, now);
            }
        }
        if self.claims.len() > 64 && self.waiting.is_empty() {
            self.claims.clear();
        }
        self.claims.retain(|_, at| *at > ticket);
        self.pump(fresh.iter().cloned().collect(), now);
    }

    fn on_durable(&mut self, waiting: Waiting, fresh: &mut BTreeSet<BridgeId>, now: Instant) {
        match waiting {
            Waiting::Accepted(body) => {
                self.durable_body = body;
                let Some(event) = self.state.events.get(&body) else { return };
                let local = event.local_open;
                for bridge in event.destinations.clone() {
                    let sender = &mut self.peers.entry(bridge.clone()).or_default().sender;
                    if !sender.held.contains(body) {
                        sender.unsent.insert(body);
                    }
                    fresh.insert(bridge);
                }
                if local {
                    self.actions.push_back(Action::Ready { body, out_of_order: false });
                }
            }
            Waiting::Skipped { origin, run, lane, ranges } => {
                self.on_skipped_durable(&origin, run, lane, &ranges)
            }
            Waiting::Effect(effect) => self.actions.push_back(Action::Effect(effect)),
            Waiting::Taken { key, prev, after, body } => {
                self.on_taken_durable(&key, (prev, after), body, now)
            }
            Waiting::Kept { key, spool, prev, after } => {
                self.on_kept_durable(&key, spool, (prev, after), now)
            }
            Waiting::Outcomes { origin, spool, upto } => {
                if self.state.sources.get(&origin).map_or(0, Source::spool) != spool {
                    return;
                }
                let delay = self.config.receipt_delay;
                let lanes = &mut self.peers.entry(origin).or_default().lanes;
                lanes.outcomes_durable = lanes.outcomes_durable.max(upto);
                lanes.due(now + delay);
            }
            Waiting::Noted { destination, spool, upto } => self.on_outcomes_noted(&destination, spool, upto),
        }
    }

    /// A bridge of the federation can be reached, or not any more.
    pub fn on_reachable(&mut self, bridge: &BridgeId, reachable: bool, now: Instant) {
        let peer = self.peers.entry(bridge.clone()).or_default();
        if peer.reachable == reachable {
            return;
        }
        peer.reachable = reachable;
        peer.session = None;
        peer.may_skip_outcomes = false;
        peer.asked = 0;
        peer.ask_at = reachable.then_some(now);
        peer.sender.take_back();
    }

    /// What another bridge wants, for the next start: one record and as many more as it takes. A crash between two of them
    /// leaves a set without its end, which routing does not take up.
    pub fn remember_interest(&mut self, owner: BridgeId, messages: Vec<Bytes>) {
        let is_held = |held: &Vec<Box<[u8]>>| {
            held.len() == messages.len()
                && held.iter().zip(&messages).all(|(held, message)| **held == **message)
        };
        if self.state.interest.get(&owner).is_some_and(is_held) {
            return;
        }
        let mut pieces = interest_pieces(&messages).into_iter();
        let messages = pieces.next().unwrap_or_default();
        self.write(Record::Interest { owner: owner.clone(), messages }, Bytes::new());
        for messages in pieces {
            self.write(Record::InterestMore { owner: owner.clone(), messages }, Bytes::new());
        }
    }

    /// What changed in what another bridge wants, to be read after what is remembered of it.
    pub(super) fn remember_more_interest(&mut self, owner: BridgeId, messages: Vec<Bytes>) {
        for messages in interest_pieces(&messages) {
            self.write(Record::InterestMore { owner: owner.clone(), messages }, Bytes::new());
        }
    }

    /// Frames to `bridge` go another way now: what is in flight may be lost with the old one.
    pub fn on_path_changed(&mut self, bridge: &BridgeId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(bridge) {
            peer.sender.hurry(now);
        }
    }

    /// Room for what others send; 0 stops them.
    pub fn set_credit(&mut self, bytes: u64, now: Instant) {
        if (self.credit == 0) != (bytes == 0) {
            for peer in self.peers.values_mut().filter(|peer| peer.session.is_some()) {
                peer.lanes.due(now);
            }
        }
        self.credit = bytes;
    }

    /// A message from the other end of a pair; the caller knows that `from` said it.
    pub fn on_message(&mut self, from: &BridgeId, message: Message, now: Instant) {
        if self.is_in_doubt() {
            return;
        }
        self.count_late(from, &message);
        match message {
            Message::Exchange(exchange) => self.on_exchange(from, exchange, now),
            Message::Receipt(receipt) => self.on_receipt(from, receipt, now),
            Message::OutcomesKnown { speaker, listener, upto } => {
                let known = self.peers.get(from).and_then(|peer| peer.session);
                if listener == self.own && known == Some(speaker) {
                    self.on_outcomes_known(from, upto, now);
                }
            }
            Message::Fence { speaker, items } => {
                if self.peers.get(from).and_then(|peer| peer.session) == Some(speaker) {
                    self.on_fence(from, items, now);
                }
            }
        }
    }

    /// When [`Core::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().flat_map(|peer| {
            let active = peer.session.is_some();
            [
                peer.ask_at.filter(|_| peer.reachable),
                peer.sender.resend_at().filter(|_| active),
                peer.lanes.due_at().filter(|_| active),
                peer.lanes.held_at(self.config.order_hold),
            ]
        });
        peers.flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let bridges: Vec<BridgeId> = self.peers.keys().cloned().collect();
        for bridge in &bridges {
            self.ask_if_due(bridge, now);
            self.resend_if_due(bridge, now);
            self.release_held(bridge, now);
            self.send_receipt_if_due(bridge, now);
        }
        self.pump(bridges, now);
    }

    /// Ends what has outlived its time, by the clock on the wall. The caller has judged the clock (D13).
    pub fn expire(&mut self, wall: u64, now: Instant) {
        while let Some((at, body)) = self.expiries.first().copied().filter(|(at, _)| *at <= wall) {
            self.expiries.remove(&(at, body));
            let Some(event) = self.state.events.get(&body) else { continue };
            for destination in event.destinations.clone() {
                self.end_pair(body, &destination, Outcome::Expired, now);
            }
            self.expire_groups(body);
            self.end_unchosen(body, None, &Outcome::Expired);
        }
    }

    /// The next thing to do. Ends the batch of records that the calls before made.
    pub fn poll_action(&mut self) -> Option<Action> {
        if !self.records.is_empty() {
            self.ticket += 1;
            let records = std::mem::take(&mut self.records);
            self.waiting.push_back((self.ticket, std::mem::take(&mut self.then)));
            self.actions.push_front(Action::Append(Append { ticket: self.ticket, records }));
        }
        self.actions.pop_front()
    }
}

/// Cuts messages into lists that are a record each. None is larger than the limit by itself: see routing.
fn interest_pieces(messages: &[Bytes]) -> Vec<Vec<Box<[u8]>>> {
    let mut pieces: Vec<Vec<Box<[u8]>>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.len();
        if bytes > INTEREST_RECORD_BYTES || pieces.is_empty() {
            pieces.push(Vec::new());
            bytes = message.len();
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(message.as_ref().into());
        }
    }
    pieces
}
