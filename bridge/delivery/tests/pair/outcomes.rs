//! Outcomes of a destination whose disk is an older copy of itself (M25): its numbers have been given before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{
    Action, Arrival, Arrived, Config, Core, Effect, GroupEnd, Message, Outcome, Record, State, Ticket,
};
use meshbridge_routing::{EventKey, Run};
use smallvec::smallvec;

use super::{STEP, end, event, id};

const GROUP: u32 = 1;
const NEAR_SPOOL: u128 = 1;
const FAR_SPOOL: u128 = 2;

/// `near` publishes for a subscription of `far`.
struct Ends {
    now: Instant,
    near: Core,
    far: Core,
    far_log: Vec<Record>,
    far_epoch: u64,
    is_linked: bool,
    /// The next receipt of `far` that tells an outcome is lost.
    loses_outcome: bool,
    /// Batches of `near` that its disk has not finished, where it is slow.
    unflushed: Option<Vec<Ticket>>,
    /// Offered by this process of `far`: number in the lane and body.
    offered: BTreeMap<u64, u64>,
    outcomes: BTreeMap<u64, Outcome>,
}

impl Ends {
    fn new() -> Ends {
        let now = Instant::now();
        let mut ends = Ends {
            now,
            near: end("near", NEAR_SPOOL, now),
            far: end("far", FAR_SPOOL, now),
            far_log: Vec::new(),
            far_epoch: 1,
            is_linked: false,
            loses_outcome: false,
            unflushed: None,
            offered: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        };
        ends.link(true);
        ends
    }

    fn link(&mut self, is_up: bool) {
        self.is_linked = is_up;
        self.near.on_reachable(&id("far"), is_up, self.now);
        self.far.on_reachable(&id("near"), is_up, self.now);
        self.run_for(Duration::from_millis(500));
    }

    fn publish(&mut self, number: u64) {
        self.near.accept(vec![event(number)], 1);
        self.run_for(Duration::from_millis(500));
    }

    fn acknowledge(&mut self, seq: u64) {
        assert!(self.far.end_group(self.offered[&seq], GROUP, GroupEnd::Acknowledged), "{seq} is open");
    }

    /// The next process of `far`, on what its log holds.
    fn restart_far(&mut self) {
        let mut state = State::new(id("far"));
        self.far_log.iter().for_each(|record| state.apply(record, &mut Vec::new()));
        self.far_epoch += 1;
        let run = Run { epoch: self.far_epoch, nonce: self.far_epoch };
        self.far = Core::recover(state, Config::default(), FAR_SPOOL, run, 7, self.now);
        self.offered.clear();
        self.link(false);
    }

    fn flush_near(&mut self) {
        for ticket in self.unflushed.take().into_iter().flatten() {
            self.near.on_committed(ticket, self.now);
        }
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.near.handle_timeout(self.now);
            self.far.handle_timeout(self.now);
            while self.step_near() | self.step_far() {}
        }
    }

    fn step_near(&mut self) -> bool {
        let Some(action) = self.near.poll_action() else { return false };
        match action {
            Action::Append(append) => match &mut self.unflushed {
                Some(unflushed) => unflushed.push(append.ticket),
                None => self.near.on_committed(append.ticket, self.now),
            },
            Action::Message { message, .. } if self.is_linked => self.tell_far(message),
            Action::Send { body, to } if self.is_linked => {
                let key = self.near.state().events.get(&body).expect("kept").key.clone();
                self.carry(key, to[0].1);
            }
            Action::Effect(Effect::Ended { key, outcome, .. }) => {
                assert_eq!(self.outcomes.insert(key.seq, outcome), None, "{key} ends once");
            }
            _ => {}
        }
        true
    }

    fn step_far(&mut self) -> bool {
        let Some(action) = self.far.poll_action() else { return false };
        match action {
            Action::Append(append) => {
                self.far_log.extend(append.records.into_iter().map(|(record, _)| record));
                self.far.on_committed(append.ticket, self.now);
            }
            Action::Message { message: Message::Receipt(receipt), .. }
                if self.loses_outcome && !receipt.endings.is_empty() =>
            {
                self.loses_outcome = false;
            }
            Action::Message { message, .. } if self.is_linked => {
                self.near.on_message(&id("far"), message, self.now);
            }
            Action::Ready { body, .. } => {
                let seq = self.far.state().events.get(&body).expect("kept").key.seq;
                self.offered.insert(seq, body);
                self.far.on_offered(body, 0);
            }
            _ => {}
        }
        true
    }

    fn tell_far(&mut self, message: Message) {
        self.far.on_message(&id("near"), message, self.now);
    }

    fn carry(&mut self, key: EventKey, prev: u64) {
        if self.far.classify(&key, self.now) != Arrival::New {
            return;
        }
        let event = Arrived {
            key,
            prev,
            topic: "orders".into(),
            payload: Bytes::from_static(b"event"),
            expires: 0,
            groups: smallvec![GROUP],
            groups_only: false,
            attempts: 0,
            returned: Vec::new(),
        };
        self.far.take(event, 1);
    }

    #[track_caller]
    fn assert_all_delivered(&self, count: u64) {
        let delivered = (1..=count).map(|seq| (seq, Outcome::Delivered)).collect();
        assert_eq!(self.outcomes, delivered);
        assert_eq!(self.near.state().destinations[&id("far")].open(), 0);
        assert!(self.far.state().sources[&id("near")].outcomes.is_empty());
    }
}

/// What the origin says before the flush is not the whole: it has taken outcomes of a former process as well.
#[test]
fn outcomes_that_an_origin_is_about_to_note_have_their_numbers() {
    let mut ends = Ends::new();
    for number in 1..=3 {
        ends.publish(number);
    }
    let copy = ends.far_log.clone();
    ends.unflushed = Some(Vec::new());
    ends.acknowledge(1);
    ends.acknowledge(2);
    ends.run_for(Duration::from_millis(100));

    ends.far_log = copy;
    ends.restart_far();
    ends.link(true);
    ends.acknowledge(3);
    ends.acknowledge(1);
    ends.run_for(Duration::from_millis(100));
    ends.flush_near();
    ends.acknowledge(2);
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(3);
}

/// The process that gave the numbers anew has never met the origin; the next one finds them in its log.
#[test]
fn outcomes_of_a_process_that_never_met_their_origin_are_told() {
    let mut ends = Ends::new();
    for number in 1..=3 {
        ends.publish(number);
    }
    let copy = ends.far_log.clone();
    ends.acknowledge(1);
    ends.run_for(Duration::from_secs(1));
    assert_eq!(ends.outcomes.len(), 1);

    ends.far_log = copy;
    ends.restart_far();
    ends.acknowledge(3);
    ends.acknowledge(2);
    ends.run_for(Duration::from_secs(1));
    ends.restart_far();
    ends.link(true);
    ends.acknowledge(1);
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(3);
}

/// Others come all the time, each before the pause is over after which a lost one is said again.
#[test]
fn a_lost_outcome_is_said_again_while_others_follow() {
    let mut ends = Ends::new();
    ends.publish(1);
    ends.loses_outcome = true;
    ends.acknowledge(1);
    for number in 2..=12 {
        ends.publish(number);
        ends.acknowledge(number);
    }
    assert!(!ends.loses_outcome, "one was lost");
    assert_eq!(ends.outcomes.get(&1), Some(&Outcome::Delivered), "five seconds ago");
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(12);
}
