//! Everything about delivery that survives a crash: a pure fold over records.
//!
//! The same function builds the state while the bridge runs and when it reads its log again, so the two cannot
//! differ. A record is applied when it is handed to the log, in the same order; what must wait for the flush (an
//! answer, a frame, a receipt) waits in [`crate::Core`].
//!
//! ```text
//! origin        lanes: (run, lane) → seq → pending      until the destination has settled it
//!               awaiting: (run, lane) → set of seq      settled there, its outcome not known yet
//! destination   taken: (run, lane) → intervals          for ever, but they collapse
//!               outcomes: numbered                      until the origin has noted them
//! both          events: body → what it still waits for; released when that is nothing
//! ```

mod destination;
mod events;
mod groups;
mod keys_anew;
mod late;
mod membership;
mod origin;
mod parts;
mod producers;
mod turns;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_routing::{BridgeId, EventKey, GroupName, LANES, Run};
use smallvec::SmallVec;

pub use destination::Source;
pub(crate) use destination::{CLOSED_RUNS_MAX, ranges_of};
pub use events::Events;
pub use late::Late;
pub use membership::{DESTINATION_REMOVED, Membership};
pub use origin::{Account, Destination, Pending};
pub(crate) use origin::{EGRESS_LOST, NO_SUBSCRIBER, OUTCOME_FORGOTTEN};
pub use producers::{PRODUCER_LIFE_MS, PRODUCERS_MAX};
pub use turns::Turns;
pub(crate) use turns::{read_turn, write_turn};
pub use usage::{Usage, Used, owner_of};

use crate::bugs::{Bug, bug};
use crate::intervals::IntervalSet;
use crate::record::{Accepted, Choices, DeadLetterEnd, GroupEnd, Outcome, Record, SubscriptionRecord, Taken};
use producers::Producers;

/// A subscription that has not ended an event well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupState {
    Open,
    /// Kept for browsing, replay and purge.
    Dead(Box<str>),
}

/// An event whose bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: EventKey,
    /// Of this bridge as a destination.
    pub prev: u64,
    pub at: u64,
    pub expires: u64,
    pub retain_delivered: bool,
    /// Bytes of the event.
    pub size: u32,
    /// Remote destinations that may still need the bytes.
    pub destinations: SmallVec<[BridgeId; 1]>,
    /// Durable subscriptions here. No room is set aside: most waiting events are for elsewhere.
    pub groups: Vec<(u32, GroupState)>,
    /// The pair of this event and this bridge has not ended.
    pub local_open: bool,
    /// The worst end a subscription has given it so far.
    pub worst: Option<Box<Outcome>>,
    /// Of an own event: who published it, see [`owner_of`].
    pub owner: u64,
    /// Starts of the bridge when it was stored: a later one may have offered it before.
    pub start: u32,
    /// Not for the subscriptions without memory here.
    pub groups_only: bool,
    /// Offered so often elsewhere.
    pub attempts: u32,
    /// Of an own event: its consumer groups.
    pub choices: Option<Box<Choices>>,
}

impl Event {
    pub fn open_groups(&self) -> impl Iterator<Item = u32> {
        self.groups.iter().filter(|(_, state)| *state == GroupState::Open).map(|(id, _)| *id)
    }

    fn needed(&self) -> bool {
        let unchosen = self.choices.as_ref().is_some_and(|choices| !choices.unchosen.is_empty());
        self.local_open || !self.destinations.is_empty() || !self.groups.is_empty() || unchosen
    }

    /// The bytes stay until the pair with `bridge` has ended, not only until it is stored there.
    fn stays_for(&self, bridge: &BridgeId) -> bool {
        let chosen = |choices: &Choices| choices.groups_at(bridge).next().is_some();
        self.retain_delivered || self.choices.as_deref().is_some_and(chosen)
    }

    /// For some destination they do, or did: its end is still to be heard of.
    fn stays(&self) -> bool {
        self.retain_delivered || self.choices.is_some()
    }
}

/// What a record changed that others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The bytes are needed no more.
    Released(u64),
    /// A destination has the event, or it ended there.
    Settled { body: u64, destination: BridgeId },
    /// A pair ended.
    Ended { key: EventKey, destination: BridgeId, outcome: Outcome },
    /// A consumer group of an own event waits for a bridge with a member.
    Unchosen { body: u64, name: GroupName },
    /// An event goes on under another key: for one of its consumer groups, or this pair of it, which has not ended.
    Moved { from: EventKey, to: EventKey, body: u64, destination: BridgeId, group: Option<GroupName> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub own: BridgeId,
    /// Own runs in which something is still pending, and the one that goes on; ascending.
    pub runs: Vec<Run>,
    /// The newest run, and the last number of each lane.
    pub given: Option<(Run, Vec<u64>)>,
    /// How often the bridge has started.
    pub starts: u32,
    pub next_body: u64,
    pub events: Events,
    /// Own events that are kept until they are delivered: their bodies.
    pub retained: BTreeMap<(Run, u8, u64), u64>,
    /// By destination; this bridge's own entry is the account of local deliveries.
    pub destinations: BTreeMap<BridgeId, Destination>,
    /// By origin.
    pub sources: BTreeMap<BridgeId, Source>,
    /// In what order events of others were offered, where that is not the order of their bodies.
    pub late: Late,
    /// Own events that wait for a bridge with a member of a consumer group: their bodies.
    pub unchosen: BTreeMap<GroupName, BTreeSet<u64>>,
    pub subscriptions: BTreeMap<u32, SubscriptionRecord>,
    pub turns: Turns,
    pub next_subscription: u32,
    pub producers: Producers,
    /// What other bridges want, in the words of routing.
    pub interest: BTreeMap<BridgeId, Vec<Box<[u8]>>>,
    /// Other bridges as an operator wants them treated.
    pub membership: Membership,
    pub usage: Usage,
    /// The highest wall time in any record: time on disk never goes back (D13).
    pub wall: u64,
}

impl State {
    pub fn new(own: BridgeId) -> State {
        State {
            own,
            runs: Vec::new(),
            given: None,
            starts: 0,
            next_body: 1,
            events: Events::default(),
            retained: BTreeMap::new(),
            destinations: BTreeMap::new(),
            sources: BTreeMap::new(),
            late: Late::default(),
            unchosen: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            turns: Turns::default(),
            next_subscription: 1,
            producers: Producers::default(),
            interest: BTreeMap::new(),
            membership: Membership::default(),
            usage: Usage::default(),
            wall: 0,
        }
    }

    /// Applies one record. Records that speak of something that is gone change nothing, so a log that begins in the
    /// middle, or lost a stretch, still folds.
    pub fn apply(&mut self, record: &Record, effects: &mut Vec<Effect>) {
        match record {
            Record::Accepted(accepted) => self.on_accepted(accepted, effects),
            Record::Taken(taken) => self.on_taken(taken),
            Record::Ended { key, prev, number, outcome } => {
                let source = self.sources.entry(key.origin.clone()).or_default();
                source.take(key, *prev);
                source.end(*number, key, outcome.clone());
                self.note_reached(&key.origin, key.run, key.lane);
            }
            Record::Group { body, group, end } => self.on_group(*body, *group, end, effects),
            Record::GroupReturned { body, key, number, group, name, attempts } => {
                self.on_group_returned(*body, key, *number, *group, name, *attempts, effects);
            }
            Record::GroupTakenBack { body, destination, name } => {
                self.unchoose(*body, destination, name, 0, effects);
            }
            Record::GroupEnded { body, name, outcome } => {
                self.on_group_ended(*body, name, outcome, effects);
            }
            Record::LocalEnd { body, key, number, outcome } => {
                self.on_local_end(*body, key, *number, outcome, effects);
            }
            Record::Receipt { from, lanes } => self.on_receipt(from, lanes, effects),
            Record::Outcomes { from, first, endings } => self.on_outcomes(from, *first, endings, effects),
            Record::OutcomesKnown { by, upto } => {
                if let Some(source) = self.sources.get_mut(by) {
                    source.forget_outcomes(*upto);
                }
            }
            Record::OutcomesAnew { by, before, from } => {
                self.sources.entry(by.clone()).or_default().tell_anew(*before, *from);
            }
            Record::EndedHere { body, destination, outcome } => {
                self.on_ended_here(*body, destination, outcome, effects);
            }
            Record::Lost { destination, outcome, keys } => self.on_lost(destination, outcome, keys, effects),
            Record::Subscription(subscription) => {
                self.next_subscription = self.next_subscription.max(subscription.id.saturating_add(1));
                self.subscriptions.insert(subscription.id, subscription.clone());
            }
            Record::SubscriptionGone { id } => {
                self.subscriptions.remove(id);
            }
            Record::Turn { body, group, turn } => {
                let open =
                    self.events.get(body).is_some_and(|event| event.open_groups().any(|id| id == *group));
                if open {
                    self.turns.set(*body, *group, *turn);
                }
            }
            Record::DeadLetter { body, group, end } => self.on_dead_letter(*body, *group, *end, effects),
            Record::Peer { bridge, spool, run, closed } => self.on_peer(bridge, *spool, *run, *closed),
            Record::Skipped { origin, run, lane, ranges } => {
                let source = self.sources.entry(origin.clone()).or_default();
                let set = source.taken.entry((*run, *lane)).or_default();
                ranges.iter().for_each(|(from, to)| set.insert(*from, *to));
                self.note_reached(origin, *run, *lane);
            }
            Record::Interest { owner, messages } if messages.is_empty() => {
                self.interest.remove(owner);
            }
            Record::Interest { owner, messages } => {
                self.interest.insert(owner.clone(), messages.clone());
            }
            Record::InterestMore { owner, messages } => {
                self.interest.entry(owner.clone()).or_default().extend(messages.iter().cloned());
            }
            Record::Started { run } => {
                self.starts = self.starts.saturating_add(1);
                self.given = Some((*run, vec![0; usize::from(LANES)]));
                self.runs.push(*run);
                self.drop_idle_runs();
            }
            Record::KeysAnew { run, events } => self.on_keys_anew(*run, events, effects),
            Record::Membership(record) => self.on_membership(record, effects),
        }
    }

    fn on_accepted(&mut self, accepted: &Accepted, effects: &mut Vec<Effect>) {
        self.next_body = self.next_body.max(accepted.body + 1);
        self.wall = self.wall.max(accepted.at);
        self.note_run(accepted.run);
        self.note_given(accepted.run, accepted.lane, accepted.seq);
        let key =
            EventKey { origin: self.own.clone(), run: accepted.run, lane: accepted.lane, seq: accepted.seq };
        // 0: an event that goes on under another key has its producer's id already.
        if accepted.producer != 0 && !bug(Bug::ProducerForgotten) {
            self.producers.insert(accepted.producer, accepted.run, accepted.lane, accepted.seq, accepted.at);
        }
        for destined in &accepted.destinations {
            let destination = self.destinations.entry(destined.bridge.clone()).or_default();
            destination.add(&key, destined.prev, accepted.body, accepted.size);
        }
        if accepted.local {
            self.destinations.entry(self.own.clone()).or_default().account.sent += 1;
        }
        let choices = accepted.choices.as_deref();
        if let Some(choices) = choices
            && let (Some((before, name)), Some((at, _))) = (&choices.moved, choices.chosen.first())
        {
            self.on_moved(*before, name, &key, accepted.body, at, effects);
        }
        let event = Event {
            key,
            prev: 0,
            at: accepted.at,
            expires: accepted.expires,
            retain_delivered: accepted.retain_delivered,
            size: accepted.size,
            destinations: accepted.destinations.iter().map(|destined| destined.bridge.clone()).collect(),
            groups: accepted.groups.iter().map(|group| (*group, GroupState::Open)).collect(),
            local_open: accepted.local,
            worst: None,
            owner: owner_of(accepted.producer),
            start: self.starts,
            groups_only: choices.is_some_and(|choices| choices.groups_only.contains(&self.own)),
            attempts: choices.map_or(0, |choices| choices.attempts),
            choices: accepted.choices.clone(),
        };
        if !event.needed() {
            effects.push(Effect::Released(accepted.body));
            return;
        }
        self.index(accepted.body, &event);
        self.events.insert(accepted.body, event);
    }

    fn on_taken(&mut self, taken: &Taken) {
        self.next_body = self.next_body.max(taken.body + 1);
        self.wall = self.wall.max(taken.at);
        self.sources.entry(taken.key.origin.clone()).or_default().take(&taken.key, taken.prev);
        let event = Event {
            key: taken.key.clone(),
            prev: taken.prev,
            at: taken.at,
            expires: taken.expires,
            retain_delivered: false,
            size: taken.size,
            destinations: SmallVec::new(),
            groups: taken.groups.iter().map(|group| (*group, GroupState::Open)).collect(),
            local_open: true,
            worst: None,
            owner: 0,
            start: self.starts,
            groups_only: taken.groups_only,
            attempts: taken.attempts,
            choices: None,
        };
        self.events.insert(taken.body, event);
        let (origin, run, lane) = (&taken.key.origin, taken.key.run, taken.key.lane);
        let source = self.sources.get(origin);
        let reach =
            source.and_then(|source| source.taken.get(&(run, lane))).map_or(0, IntervalSet::cumulative);
        if taken.key.seq > reach {
            self.late.came_early(&taken.key, taken.body);
        } else {
            self.note_reached(origin, run, lane);
        }
    }

    /// Something of the lane has come or ended.
    fn note_reached(&mut self, origin: &BridgeId, run: Run, lane: u8) {
        if self.late.is_waiting()
            && let Some(taken) = self.sources.get(origin).and_then(|source| source.taken.get(&(run, lane)))
        {
            self.late.reached(origin, run, lane, taken.cumulative(), self.next_body - 1);
        }
    }

    fn on_group(&mut self, body: u64, group: u32, end: &GroupEnd, effects: &mut Vec<Effect>) {
        let Some(event) = self.events.get_mut(&body) else { return };
        let Some(at) = event.groups.iter().position(|(id, _)| *id == group) else { return };
        let outcome = match end {
            GroupEnd::Acknowledged => Outcome::Delivered,
            GroupEnd::DeadLettered(reason) => Outcome::DeadLettered(reason.clone()),
            GroupEnd::Expired => Outcome::Expired,
            GroupEnd::Denied(rule) => Outcome::Denied(rule.clone()),
        };
        match end {
            GroupEnd::DeadLettered(reason) => {
                if !matches!(event.groups[at].1, GroupState::Dead(_)) {
                    self.usage.add_letter(event.size);
                }
                event.groups[at].1 = GroupState::Dead(reason.clone());
                self.turns.died(body, group);
            }
            _ => {
                self.turns.forget(body, group);
                if matches!(event.groups[at].1, GroupState::Dead(_)) {
                    self.usage.subtract_letter(event.size);
                }
                event.groups.remove(at);
            }
        }
        if event.worst.as_ref().is_none_or(|worst| severity(&outcome) > severity(worst)) {
            event.worst = Some(Box::new(outcome));
        }
        self.release_if_done(body, effects);
    }

    fn on_local_end(
        &mut self,
        body: u64,
        key: &EventKey,
        number: u64,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let own = key.origin == self.own;
        if !own {
            let source = self.sources.entry(key.origin.clone()).or_default();
            if !source.is_closed(key.run) {
                // Known also where the record that it was taken is lost.
                source.take(key, key.seq - 1);
            }
            source.end(number, key, outcome.clone());
        }
        let Some(event) = self.events.get_mut(&body).filter(|event| event.local_open) else { return };
        event.local_open = false;
        if own {
            self.destinations.entry(self.own.clone()).or_default().account.count(outcome);
        }
        let key = key.clone();
        effects.push(Effect::Ended { key, destination: self.own.clone(), outcome: outcome.clone() });
        self.release_if_done(body, effects);
    }

    fn on_dead_letter(&mut self, body: u64, group: u32, end: DeadLetterEnd, effects: &mut Vec<Effect>) {
        let Some(event) = self.events.get_mut(&body) else { return };
        let dead = |(id, state): &(u32, GroupState)| *id == group && matches!(state, GroupState::Dead(_));
        let Some(at) = event.groups.iter().position(dead) else { return };
        self.usage.subtract_letter(event.size);
        match end {
            DeadLetterEnd::Purged => {
                event.groups.remove(at);
                self.turns.forget(body, group);
            }
            // Its pair has ended already and does so once; the subscription gets it again all the same.
            DeadLetterEnd::Replayed => {
                event.groups[at].1 = GroupState::Open;
                self.turns.replayed(body, group);
            }
        }
        self.release_if_done(body, effects);
    }

    pub(crate) fn release_if_done(&mut self, body: u64, effects: &mut Vec<Effect>) {
        if self.events.get(&body).is_some_and(|event| !event.needed())
            && !self.membership.keeps(body)
            && let Some(event) = self.events.remove(&body)
        {
            self.retained.remove(&(event.key.run, event.key.lane, event.key.seq));
            self.late.forget(&event.key, body);
            self.turns.forget_event(body);
            if event.key.origin == self.own {
                self.usage.subtract(&event);
            }
            effects.push(Effect::Released(body));
        }
    }

    /// Notes where else the event is looked for.
    fn index(&mut self, body: u64, event: &Event) {
        self.usage.add_letters(event);
        if event.key.origin == self.own {
            self.usage.add(event);
            if event.stays() || self.membership.keeps_for_rule(body) {
                self.retained.insert((event.key.run, event.key.lane, event.key.seq), body);
            }
        }
        for name in event.choices.iter().flat_map(|choices| &choices.unchosen) {
            self.unchosen.entry(name.clone()).or_default().insert(body);
        }
    }

    /// After damage: records are missing, so no number may wait for one that nobody has, and no run that something is left
    /// of may be taken for a closed one.
    pub fn follow_what_is_left(&mut self) {
        self.destinations.values_mut().for_each(Destination::rebase);
        let left: BTreeSet<Run> = self.destinations.values().flat_map(Destination::runs).collect();
        left.into_iter().for_each(|run| self.note_run(run));
    }

    /// A run in which something was accepted. The record of its begin may be lost with a damaged file (M26), and a destination
    /// is told that every run which is not named is closed (D6): it would take what is left of this one for known.
    fn note_run(&mut self, run: Run) {
        if self.runs.last() != Some(&run)
            && let Err(place) = self.runs.binary_search(&run)
        {
            self.runs.insert(place, run);
        }
    }

    /// Own runs without anything pending are not named any more, except the newest.
    pub(crate) fn drop_idle_runs(&mut self) {
        let newest = self.runs.last().copied();
        let used = |run: &Run| self.destinations.values().any(|destination| destination.uses(*run));
        let kept: Vec<Run> =
            self.runs.iter().copied().filter(|run| Some(*run) == newest || used(run)).collect();
        self.runs = kept;
    }
}

/// Which of several ends of one event is the event's: the one that most needs to be heard of.
fn severity(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Delivered | Outcome::Moved | Outcome::Returned(..) => 0,
        Outcome::Expired => 1,
        Outcome::Denied(_) => 2,
        Outcome::DeadLettered(_) | Outcome::Kept(_) => 3,
    }
}
