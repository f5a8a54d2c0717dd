//! Draining and removing a destination (RELIABILITY D2, M39), between two cores with a log each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::state::DESTINATION_REMOVED;
use meshbridge_delivery::{
    Action, Admitted, Arrival, Arrived, Config, Core, Effect, Ending, LeftOut, MembershipRecord, NewEvent,
    Outcome, Record, Removal, Standing, State,
};
use meshbridge_routing::{BridgeId, KeptInterest, Run};
use smallvec::smallvec;

fn id(name: &str) -> BridgeId {
    BridgeId::parse(name).expect("valid id")
}

/// One bridge: its log, its process, and what it says and does.
struct End {
    id: BridgeId,
    log: Vec<Vec<u8>>,
    bodies: BTreeMap<u64, Vec<u8>>,
    epoch: u64,
    core: Core,
    effects: Vec<Effect>,
    ready: Vec<u64>,
}

fn recover(state: State, epoch: u64) -> Core {
    Core::recover(state, Config::default(), 7, Run { epoch, nonce: epoch }, 1, Instant::now())
}

impl End {
    fn new(name: &str) -> End {
        let core = recover(State::new(id(name)), 1);
        let (log, bodies) = (Vec::new(), BTreeMap::new());
        End { id: id(name), log, bodies, epoch: 1, core, effects: Vec::new(), ready: Vec::new() }
    }

    fn folded(&self) -> State {
        let mut state = State::new(self.id.clone());
        for bytes in &self.log {
            let (record, _) = Record::decode(bytes).expect("own record");
            state.apply(&record, &mut Vec::new());
        }
        state
    }

    /// Another process on the same disk; by way of a checkpoint, which must hold everything.
    fn restart(&mut self) {
        let state = self.folded();
        let mut again = State::new(self.id.clone());
        state.parts().iter().for_each(|part| again.apply_part(part).expect("own part"));
        assert_eq!(again, state, "a checkpoint is the state");
        self.epoch += 1;
        self.core = recover(again, self.epoch);
    }

    /// Does what the core asks for; gives what is for the other end.
    fn drain(&mut self, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Append(append) => {
                    for (record, payload) in &append.records {
                        let mut bytes = record.encode();
                        if let Some(body) = record.body() {
                            self.bodies.insert(body, payload.to_vec());
                        }
                        bytes.extend_from_slice(payload);
                        self.log.push(bytes);
                    }
                    self.core.on_committed(append.ticket, now);
                }
                Action::Effect(effect) => self.effects.push(effect),
                Action::Ready { body, .. } => self.ready.push(body),
                other => out.push(other),
            }
        }
        out
    }

    fn ended(&self) -> Vec<&Outcome> {
        let ended = self.effects.iter().filter_map(|effect| match effect {
            Effect::Ended { outcome, .. } => Some(outcome),
            _ => None,
        });
        ended.collect()
    }

    fn released(&self, body: u64) -> bool {
        self.effects.contains(&Effect::Released(body))
    }

    fn publish(&mut self, number: u128, to: &BridgeId) -> u64 {
        self.publish_retained(number, to, false)
    }

    fn publish_retained(&mut self, number: u128, to: &BridgeId, retain_delivered: bool) -> u64 {
        let event = NewEvent {
            producer: number,
            lane: 3,
            topic: "orders.eu".into(),
            payload: Bytes::from_static(b"an event"),
            expires: 0,
            retain_delivered,
            destinations: smallvec![to.clone()],
            groups: smallvec![],
            local: false,
            choices: None,
            publisher: None,
        };
        let (admitted, _): (Vec<Admitted>, _) = self.core.accept(vec![event], 1_000);
        admitted[0].body.expect("new")
    }

    fn assert_balanced(&self, with: &BridgeId) {
        for state in [self.core.state(), &self.folded()] {
            let destination = state.destinations.get(with).expect("an account");
            assert_eq!(destination.account.sent, destination.account.ended() + destination.open());
            let waiting: u64 = destination.lanes.values().map(|lane| lane.len() as u64).sum();
            assert_eq!((destination.used.events, destination.used.bytes), (waiting, 8 * waiting));
        }
    }
}

/// An origin and a destination, and the wire between them.
struct Pair {
    origin: End,
    destination: End,
    now: Instant,
    connected: bool,
}

impl Pair {
    fn new() -> Pair {
        let (origin, destination) = (End::new("origin"), End::new("far"));
        let mut pair = Pair { origin, destination, now: Instant::now(), connected: false };
        pair.settle();
        pair
    }

    fn far(&self) -> BridgeId {
        self.destination.id.clone()
    }

    fn connect(&mut self, connected: bool) {
        self.connected = connected;
        let (origin, far) = (self.origin.id.clone(), self.far());
        self.origin.core.on_reachable(&far, connected, self.now);
        self.destination.core.on_reachable(&origin, connected, self.now);
        self.settle();
    }

    /// Some seconds go by.
    fn settle(&mut self) {
        for _ in 0..300 {
            self.now += Duration::from_millis(10);
            for from_origin in [true, false] {
                let (from, to) = match from_origin {
                    true => (&mut self.origin, &mut self.destination),
                    false => (&mut self.destination, &mut self.origin),
                };
                from.core.handle_timeout(self.now);
                for action in from.drain(self.now) {
                    if self.connected {
                        carry(from, to, action, self.now);
                    }
                }
            }
        }
    }

    /// What the destination was offered ends there.
    fn deliver_all(&mut self) {
        for body in std::mem::take(&mut self.destination.ready) {
            self.destination.core.on_offered(body, 1);
            self.destination.core.on_living_done(body, true);
        }
        self.settle();
    }

    fn remove(&mut self) -> Removal {
        let far = self.far();
        let removal = self.origin.core.pending_with(&far);
        self.origin.core.remove_bridge(&far, None);
        while self.origin.core.end_removed(&far) > 0 {}
        self.settle();
        removal
    }
}

fn carry(from: &End, to: &mut End, action: Action, now: Instant) {
    match action {
        Action::Message { message, .. } => to.core.on_message(&from.id, message, now),
        Action::Send { body, to: targets, .. } => {
            let event = from.core.state().events.get(&body).expect("what is sent is there");
            let key = event.key.clone();
            if to.core.classify(&key, now) == Arrival::New {
                let payload = Bytes::from(from.bodies[&body].clone());
                let (topic, groups) = ("orders.eu".into(), smallvec![]);
                let (groups_only, attempts, returned) = (false, 0, Vec::new());
                let prev = targets[0].1;
                to.core.take(
                    Arrived {
                        key,
                        prev,
                        topic,
                        payload,
                        expires: 0,
                        groups,
                        groups_only,
                        attempts,
                        returned,
                    },
                    1_000,
                );
            }
        }
        _ => {}
    }
}

const GONE: &str = DESTINATION_REMOVED;

#[test]
fn what_is_pending_with_a_removed_bridge_ends_as_dead_letters_that_keep_their_payload() {
    let mut pair = Pair::new();
    let far = pair.far();
    let bodies: Vec<u64> = (0..3).map(|number| pair.origin.publish(number, &far)).collect();
    pair.settle();
    pair.origin.core.remember_interest(far.clone(), vec![Bytes::from_static(b"orders.**")]);
    let removal = pair.remove();
    assert_eq!(removal, Removal { unsettled: 3, in_doubt: 0, stored: 0 });
    assert_eq!(pair.origin.ended(), vec![&Outcome::DeadLettered(GONE.into()); 3]);
    for _ in 0..2 {
        let state = pair.origin.core.state();
        let letters: Vec<_> = state.membership.letters().collect();
        assert_eq!(letters, bodies.iter().map(|body| (*body, &far, false)).collect::<Vec<_>>());
        assert_eq!(state.destinations[&far].account.dead_lettered, 3);
        assert!(bodies.iter().all(|body| state.events.contains_key(body)), "the payload is kept");
        assert!(state.interest.is_empty(), "interest ends by removal");
        assert_eq!(state.membership.leaves_out(&far), Some(LeftOut::Removed));
        pair.origin.assert_balanced(&far);
        pair.origin.restart();
    }
    assert!(pair.origin.core.end_letter(bodies[0], &far));
    assert!(!pair.origin.core.end_letter(bodies[0], &far), "purged twice");
    pair.settle();
    assert!(pair.origin.released(bodies[0]) && !pair.origin.released(bodies[1]));
    let kept = pair.origin.core.state().usage.of(0);
    assert_eq!((kept.events, kept.bytes), (2, 16), "dead letters count for who published them");
}

#[test]
fn what_may_have_been_sent_is_flagged_and_what_comes_late_is_counted_and_changes_nothing() {
    let mut pair = Pair::new();
    let far = pair.far();
    pair.connect(true);
    let stored = pair.origin.publish(1, &far);
    pair.settle();
    // Stored there, and not delivered. The next one is sent into a wire that has been cut.
    pair.connected = false;
    let sent = pair.origin.publish(2, &far);
    pair.settle();
    let removal = pair.remove();
    assert_eq!(removal, Removal { unsettled: 1, in_doubt: 1, stored: 1 });
    let letters: Vec<_> = pair.origin.core.state().membership.letters().collect();
    assert_eq!(letters, [(sent, &far, true)], "what is stored there is not kept here");
    assert!(pair.origin.released(stored));
    let before = pair.origin.core.state().destinations[&far].account;
    assert_eq!((before.dead_lettered, before.delivered), (2, 0));
    pair.connected = true;
    pair.deliver_all();
    let late = pair.origin.core.take_late_news();
    assert_eq!(late.outcomes, 1, "{late:?}");
    assert_eq!(pair.origin.core.state().destinations[&far].account, before);
    assert_eq!(pair.origin.ended().len(), 2, "one end for each pair");
    pair.origin.assert_balanced(&far);
}

#[test]
fn what_a_rule_makes_a_dead_letter_is_kept_until_it_is_ended_and_says_why() {
    let mut pair = Pair::new();
    let far = pair.far();
    let bodies: Vec<u64> = (0..2).map(|number| pair.origin.publish(number, &far)).collect();
    for body in &bodies {
        pair.origin.core.dead_letter(*body, &far, "privacy/card", Instant::now());
    }
    pair.settle();
    for _ in 0..2 {
        let state = pair.origin.core.state();
        let letters: Vec<_> = state.membership.letters().collect();
        assert_eq!(letters, bodies.iter().map(|body| (*body, &far, false)).collect::<Vec<_>>());
        assert_eq!(state.membership.rule_letters(), 2);
        assert_eq!(state.membership.letter_reason(bodies[0], &far), Some("privacy/card"));
        assert_eq!(state.destinations[&far].account.dead_lettered, 2);
        assert!(bodies.iter().all(|body| state.events.contains_key(body)), "the payload is kept");
        pair.origin.assert_balanced(&far);
        pair.origin.restart();
    }
    assert!(pair.origin.core.end_letter(bodies[0], &far));
    pair.settle();
    assert!(pair.origin.released(bodies[0]) && !pair.origin.released(bodies[1]));
    assert_eq!(pair.origin.core.state().membership.rule_letters(), 1);
}

/// The destination decides about a pair in doubt: where it has the event there is no letter.
#[test]
fn a_dead_letter_in_doubt_follows_what_its_destination_says() {
    for arrives in [true, false] {
        let mut pair = Pair::new();
        let far = pair.far();
        pair.connect(true);
        // Either the event is lost on its way, or its receipt.
        pair.connected = false;
        let body = pair.origin.publish(1, &far);
        for action in pair.origin.drain(pair.now) {
            if arrives {
                carry(&pair.origin, &mut pair.destination, action, pair.now);
            }
        }
        pair.settle();
        pair.origin.core.dead_letter(body, &far, "privacy/card", pair.now);
        pair.settle();
        let letters: Vec<_> = pair.origin.core.state().membership.letters().collect();
        assert_eq!(letters, [(body, &far, true)], "it may have been sent");
        assert!(pair.origin.core.state().is_letter_open(body, &far), "nobody replays it yet");
        pair.connect(true);
        pair.deliver_all();
        let letters: Vec<_> = pair.origin.core.state().membership.letters().collect();
        if arrives {
            assert_eq!((letters.len(), pair.origin.released(body)), (0, true), "it has it: {letters:?}");
            assert_eq!(pair.origin.ended(), [&Outcome::Delivered]);
        } else {
            assert_eq!(letters, [(body, &far, false)], "the destination never had it");
            assert_eq!(pair.origin.ended(), [&Outcome::DeadLettered("privacy/card".into())]);
            assert!(!pair.origin.core.state().is_letter_open(body, &far), "and may replay it now");
        }
        pair.origin.assert_balanced(&far);
        pair.origin.restart();
    }
}

/// M24: the destination loses its disk, and its subscriptions with it. What was to be retained until it is delivered is.
#[test]
fn what_is_retained_and_finds_no_subscriber_on_another_disk_is_a_dead_letter() {
    for (retain, is_lost) in [(false, true), (true, false), (true, true)] {
        let mut pair = Pair::new();
        let far = pair.far();
        let run = Run { epoch: 1, nonce: 1 };
        let disk = |spool| Record::Peer { bridge: far.clone(), spool, run, closed: 0 };
        pair.origin.log.push(disk(7).encode());
        let body = pair.origin.publish_retained(1, &far, retain);
        pair.settle();
        let mut state = pair.origin.folded();
        state.apply(&disk(if is_lost { 8 } else { 7 }), &mut Vec::new());
        let key = state.events.get(&body).expect("pending").key.clone();
        let outcome = Outcome::DeadLettered("no-subscriber".into());
        let ending = Ending { run: key.run, lane: key.lane, seq: key.seq, outcome };
        let mut effects = Vec::new();
        state.apply(&Record::Outcomes { from: far.clone(), first: 1, endings: vec![ending] }, &mut effects);
        let is_kept = retain && is_lost;
        assert_eq!(state.membership.letters().count(), usize::from(is_kept), "{retain} {is_lost}");
        assert_eq!(effects.contains(&Effect::Released(body)), !is_kept);
        assert_eq!(state.destinations[&far].account.dead_lettered, 1);
        let mut again = State::new(id("origin"));
        state.parts().iter().for_each(|part| again.apply_part(part).expect("own part"));
        again.own = state.own.clone();
        assert_eq!(again.destinations, state.destinations, "a checkpoint is the state");
    }
}

/// The power went between the two records of a dead letter, and the rules of then let the event go.
#[test]
fn a_letter_whose_pair_ended_otherwise_is_none() {
    let mut pair = Pair::new();
    let far = pair.far();
    let body = pair.origin.publish(1, &far);
    pair.settle();
    let letter = MembershipRecord::Letter {
        body,
        bridge: far.clone(),
        in_doubt: false,
        reason: "privacy/card".into(),
    };
    pair.origin.log.push(Record::Membership(letter).encode());
    for (outcome, kept) in
        [(Outcome::Denied("other/rule".into()), 0), (Outcome::DeadLettered("a/b".into()), 1)]
    {
        let mut state = pair.origin.folded();
        assert!(state.is_letter_open(body, &far), "the pair is pending");
        let ended = Record::EndedHere { body, destination: far.clone(), outcome };
        state.apply(&ended, &mut Vec::new());
        assert!(!state.is_letter_open(body, &far));
        assert_eq!((state.membership.rule_letters(), state.events.contains_key(&body)), (kept, kept == 1));
    }
}

#[test]
fn everything_of_an_earlier_run_is_in_doubt() {
    let mut pair = Pair::new();
    let far = pair.far();
    pair.origin.publish(1, &far);
    pair.settle();
    pair.origin.restart();
    pair.origin.publish(2, &far);
    pair.settle();
    assert_eq!(pair.remove(), Removal { unsettled: 2, in_doubt: 1, stored: 0 });
}

#[test]
fn a_removal_that_a_crash_interrupts_is_finished_by_the_next_start() {
    let mut pair = Pair::new();
    let far = pair.far();
    for number in 0..5 {
        pair.origin.publish(number, &far);
    }
    pair.settle();
    pair.origin.core.remove_bridge(&far, None);
    pair.settle();
    pair.origin.restart();
    assert_eq!(pair.origin.core.state().destinations[&far].open(), 5);
    pair.origin.core.finish_removals();
    pair.settle();
    assert_eq!(pair.origin.core.state().destinations[&far].open(), 0);
    assert_eq!(pair.origin.core.state().membership.letters().count(), 5);
    pair.origin.assert_balanced(&far);
}

#[test]
fn draining_goes_on_with_what_is_pending_and_survives_a_restart() {
    let mut pair = Pair::new();
    let far = pair.far();
    pair.origin.publish(1, &far);
    pair.settle();
    assert!(pair.origin.core.drain_bridge(&far, true));
    pair.settle();
    pair.origin.restart();
    assert_eq!(pair.origin.core.state().membership.standing(&far), Some(Standing::Draining));
    pair.connect(true);
    pair.deliver_all();
    let destination = &pair.origin.core.state().destinations[&far];
    assert_eq!((destination.account.delivered, destination.open()), (1, 0));
    assert!(pair.origin.core.drain_bridge(&far, false));
    assert_eq!(pair.origin.core.state().membership.leaves_out(&far), None);
}

#[test]
fn a_removed_bridge_is_a_member_again_when_it_speaks_in_a_later_run_and_waits_for_nothing() {
    let mut pair = Pair::new();
    let far = pair.far();
    pair.connect(true);
    pair.origin.publish(1, &far);
    pair.settle();
    pair.deliver_all();
    pair.connect(false);
    pair.origin.publish(2, &far);
    pair.remove();
    assert!(!pair.origin.core.drain_bridge(&far, false), "draining is not how it comes back");
    let said = || vec![Bytes::from_static(b"orders.**")];
    // A neighbour still tells what the removed bridge said before.
    pair.origin.core.heard_interest(
        far.clone(),
        Some(Run { epoch: 1, nonce: 1 }),
        KeptInterest::Whole(said()),
    );
    assert!(pair.origin.core.state().interest.is_empty());
    assert_eq!(pair.origin.core.state().membership.leaves_out(&far), Some(LeftOut::Removed));
    pair.settle();
    pair.destination.restart();
    pair.destination.ready.clear();
    pair.origin.core.heard_interest(
        far.clone(),
        Some(Run { epoch: 2, nonce: 2 }),
        KeptInterest::Whole(said()),
    );
    assert!(pair.origin.core.state().interest.contains_key(&far));
    assert_eq!(pair.origin.core.state().membership.leaves_out(&far), None);
    pair.origin.publish(3, &far);
    pair.connect(true);
    assert_eq!(pair.destination.ready.len(), 1, "the number that was removed holds nothing up");
    pair.deliver_all();
    let account = pair.origin.core.state().destinations[&far].account;
    assert_eq!((account.sent, account.delivered, account.dead_lettered), (3, 2, 1));
    pair.origin.assert_balanced(&far);
}

#[test]
fn for_how_long_a_bridge_is_out_of_reach_survives_a_restart() {
    let mut pair = Pair::new();
    let far = pair.far();
    pair.origin.core.note_reach(&far, false, 5_000);
    pair.origin.core.note_reach(&far, false, 9_000);
    pair.settle();
    pair.origin.restart();
    pair.origin.core.note_reach(&far, false, 11_000);
    assert_eq!(pair.origin.core.state().membership.unreachable_since(&far), Some(5_000));
    pair.origin.core.note_reach(&far, true, 12_000);
    assert_eq!(pair.origin.core.state().membership.unreachable_since(&far), None);
}
