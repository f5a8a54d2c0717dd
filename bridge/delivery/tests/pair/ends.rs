//! An origin and a destination that start again, each on what its log holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{
    Action, Alarm, Arrival, Arrived, Config, Core, Effect, GroupEnd, Message, Outcome, Record, State, Ticket,
};
use meshbridge_routing::{EventKey, Run};
use smallvec::smallvec;

use super::{STEP, end, event, id};

pub const GROUP: u32 = 1;
const NEAR_SPOOL: u128 = 1;
const FAR_SPOOL: u128 = 2;

/// `near` publishes for a subscription of `far`.
pub struct Ends {
    pub now: Instant,
    pub near: Core,
    pub far: Core,
    pub near_log: Vec<Record>,
    pub far_log: Vec<Record>,
    pub near_epoch: u64,
    pub far_epoch: u64,
    pub is_linked: bool,
    /// The next receipt of `far` that tells an outcome is lost.
    pub loses_outcome: bool,
    /// So many of the next exchanges of `far` are lost.
    pub loses_exchanges: usize,
    /// `near` does not remember what was delivered.
    pub is_forgetful: bool,
    /// Batches of `near` that its disk has not finished, where it is slow.
    pub unflushed: Option<Vec<Ticket>>,
    /// Offered by this process of `far`: number in the lane and body.
    pub offered: BTreeMap<u64, u64>,
    pub outcomes: BTreeMap<u64, Outcome>,
    /// Of `near`.
    pub alarms: Vec<Alarm>,
}

impl Ends {
    pub fn new() -> Ends {
        let now = Instant::now();
        let mut ends = Ends {
            now,
            near: end("near", NEAR_SPOOL, now),
            far: end("far", FAR_SPOOL, now),
            near_log: Vec::new(),
            far_log: Vec::new(),
            near_epoch: 1,
            far_epoch: 1,
            is_linked: false,
            loses_outcome: false,
            loses_exchanges: 0,
            is_forgetful: false,
            unflushed: None,
            offered: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            alarms: Vec::new(),
        };
        ends.link(true);
        ends
    }

    pub fn link(&mut self, is_up: bool) {
        self.is_linked = is_up;
        self.near.on_reachable(&id("far"), is_up, self.now);
        self.far.on_reachable(&id("near"), is_up, self.now);
        self.run_for(Duration::from_millis(500));
    }

    pub fn publish(&mut self, number: u64) {
        self.near.accept(vec![event(number)], 1);
        self.run_for(Duration::from_millis(500));
    }

    pub fn acknowledge(&mut self, seq: u64) {
        assert!(self.far.end_group(self.offered[&seq], GROUP, GroupEnd::Acknowledged), "{seq} is open");
    }

    /// The next process of `far`, on what its log holds.
    pub fn restart_far(&mut self) {
        let mut state = State::new(id("far"));
        self.far_log.iter().for_each(|record| state.apply(record, &mut Vec::new()));
        self.far_epoch += 1;
        let run = Run { epoch: self.far_epoch, nonce: self.far_epoch };
        self.far = Core::recover(state, Config::default(), FAR_SPOOL, run, 7, self.now);
        self.offered.clear();
        self.link(false);
    }

    /// The next process of `near`, on what its log holds.
    pub fn restart_near(&mut self) {
        let mut state = State::new(id("near"));
        self.near_log.iter().for_each(|record| state.apply(record, &mut Vec::new()));
        self.near_epoch += 1;
        // The process before may have counted to this epoch, too.
        let run = Run { epoch: self.near_epoch, nonce: self.near_run().nonce + 1 };
        self.near = Core::recover(state, Config::default(), NEAR_SPOOL, run, 7, self.now);
        self.link(false);
    }

    pub fn near_run(&self) -> Run {
        *self.near.state().runs.last().expect("it has begun one")
    }

    pub fn flush_near(&mut self) {
        for ticket in self.unflushed.take().into_iter().flatten() {
            self.near.on_committed(ticket, self.now);
        }
    }

    pub fn run_for(&mut self, time: Duration) {
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
            Action::Append(append) => {
                self.near_log.extend(append.records.into_iter().map(|(record, _)| record));
                match &mut self.unflushed {
                    Some(unflushed) => unflushed.push(append.ticket),
                    None => self.near.on_committed(append.ticket, self.now),
                }
            }
            Action::Alarm(alarm) => self.alarms.push(alarm),
            Action::Message { message, .. } if self.is_linked => self.tell_far(message),
            Action::Send { body, to, .. } if self.is_linked => {
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
            Action::Message { message: Message::Exchange(_), .. } if self.loses_exchanges > 0 => {
                self.loses_exchanges -= 1;
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

    fn tell_far(&mut self, mut message: Message) {
        if let Message::Exchange(exchange) = &mut message
            && self.is_forgetful
            && let Some(delivered) = &mut exchange.delivered
        {
            delivered.clear();
        }
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
    pub fn assert_all_delivered(&self, count: u64) {
        let delivered = (1..=count).map(|seq| (seq, Outcome::Delivered)).collect();
        assert_eq!(self.outcomes, delivered);
        assert_eq!(self.near.state().destinations[&id("far")].open(), 0);
        assert!(self.far.state().sources[&id("near")].outcomes.is_empty());
    }
}
