//! A pair that is kept back: pending, in nobody's way for longer than order allows, and sent once when it is let go.

use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{Action, Arrival, Arrived, Config, Core, Message, Outcome};
use meshbridge_routing::Run;
use smallvec::SmallVec;

use super::{STEP, end, event, id};

/// What somebody says of a pair that is handed out.
#[derive(Clone, Copy)]
enum Judge {
    Send,
    Hold,
    Deny,
}

/// Two ends over a network that loses nothing, and what came out of them.
struct Pair {
    near: Core,
    far: Core,
    now: Instant,
    /// The far end hears after which number it may offer an event.
    tells: bool,
    judge: Judge,
    /// Numbers that left the near end, and those that were offered at the far one.
    sent: Vec<u64>,
    offered: Vec<u64>,
}

impl Pair {
    fn new() -> Pair {
        let now = Instant::now();
        let (mut near, mut far) = (end("near", 1, now), end("far", 2, now));
        near.on_reachable(&id("far"), true, now);
        far.on_reachable(&id("near"), true, now);
        let mut pair =
            Pair { near, far, now, tells: true, judge: Judge::Send, sent: Vec::new(), offered: Vec::new() };
        pair.pass(Duration::from_secs(1));
        pair
    }

    /// Publishes, and keeps the pair back before anything can leave.
    fn publish(&mut self, number: u64, hold: bool) -> u64 {
        let (admitted, _) = self.near.accept(vec![event(number)], 1);
        let body = admitted[0].body.expect("it is new");
        assert!(!hold || self.near.hold(body, &id("far"), self.now));
        body
    }

    /// As after a crash: what the log has is there, and nothing else.
    fn restart_near(&mut self) {
        let state = self.near.state().clone();
        let run = Run { epoch: 2, nonce: 1 };
        self.near = Core::recover(state, Config::default(), 1, run, 7, self.now);
        self.near.on_reachable(&id("far"), true, self.now);
        self.far.on_reachable(&id("near"), false, self.now);
        self.far.on_reachable(&id("near"), true, self.now);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            for core in [&mut self.near, &mut self.far] {
                if core.poll_timeout().is_some_and(|at| at <= self.now) {
                    core.handle_timeout(self.now);
                }
            }
            while self.turn() {}
        }
    }

    /// Whether anything happened.
    fn turn(&mut self) -> bool {
        let mut told: Vec<(bool, Message)> = Vec::new();
        let mut busy = false;
        while let Some(action) = self.near.poll_action() {
            busy = true;
            match action {
                Action::Append(append) => self.near.on_committed(append.ticket, self.now),
                Action::Message { message, .. } => told.push((true, message)),
                Action::Send { body, to, .. } => match self.judge {
                    Judge::Send => self.arrive(body, to[0].1),
                    Judge::Hold => assert!(self.near.hold(body, &id("far"), self.now)),
                    Judge::Deny => {
                        let outcome = Outcome::Denied("a/rule".into());
                        self.near.not_sent(body, &id("far"), outcome, self.now);
                    }
                },
                _ => {}
            }
        }
        while let Some(action) = self.far.poll_action() {
            busy = true;
            match action {
                Action::Append(append) => self.far.on_committed(append.ticket, self.now),
                Action::Message { message, .. } => told.push((false, message)),
                Action::Ready { body, .. } => {
                    self.offered.push(self.far.state().events.get(&body).expect("kept").key.seq);
                    self.far.on_offered(body, 1);
                    self.far.on_living_done(body, true);
                }
                _ => {}
            }
        }
        for (from_near, message) in told {
            match from_near {
                true => self.far.on_message(&id("near"), message, self.now),
                false => self.near.on_message(&id("far"), message, self.now),
            }
        }
        busy
    }

    /// Told or not, as by a destination that does not know what it is told.
    fn arrive(&mut self, body: u64, prev: u64) {
        let after = self.near.follows(body, &id("far")).filter(|_| self.tells).unwrap_or(prev);
        let key = self.near.state().events.get(&body).expect("kept").key.clone();
        self.sent.push(key.seq);
        if self.far.classify(&key, self.now) == Arrival::New {
            let arrived = Arrived {
                key,
                prev,
                topic: "orders".into(),
                payload: Bytes::from_static(b"event"),
                expires: 0,
                groups: SmallVec::new(),
                groups_only: false,
                attempts: 0,
                returned: Vec::new(),
            };
            self.far.take_after(arrived, after, 1);
        }
    }

    fn account(&self) -> (u64, u64, u64, u64) {
        let account = self.near.state().destinations[&id("far")].account;
        let open = self.near.state().destinations[&id("far")].open();
        assert_eq!(account.sent, account.ended() + open, "{account:?}");
        (account.sent, account.delivered, account.denied, open)
    }
}

#[test]
fn a_held_pair_is_pending_until_it_is_let_go_and_sent_once_then() {
    let mut pair = Pair::new();
    let held = pair.publish(1, true);
    pair.pass(Duration::from_secs(100));
    assert_eq!((pair.sent.len(), pair.account()), (0, (1, 0, 0, 1)));
    assert!(pair.near.is_held(held, &id("far")));
    let now = pair.now;
    assert!(pair.near.let_go(held, &id("far"), now));
    assert!(!pair.near.let_go(held, &id("far"), now), "it goes once");
    pair.pass(Duration::from_secs(5));
    assert_eq!((&*pair.sent, &*pair.offered), (&[1][..], &[1][..]));
    assert_eq!(pair.account(), (1, 1, 0, 0));
    let now = pair.now;
    assert!(!pair.near.hold(held, &id("far"), now), "what has ended cannot be held");
}

#[test]
fn what_was_held_before_its_frame_left_was_never_sent() {
    let mut pair = Pair::new();
    let held = pair.publish(1, true);
    pair.pass(STEP);
    pair.near.end_pair(held, &id("far"), Outcome::Denied("a/rule".into()), pair.now);
    assert_eq!(pair.account().2, 1, "no fence was needed");
    pair.pass(Duration::from_secs(5));
    assert_eq!((pair.sent.len(), pair.account()), (0, (1, 0, 1, 0)));
}

#[test]
fn others_of_its_lane_do_not_wait_for_it() {
    let mut pair = Pair::new();
    pair.publish(1, false);
    let held = [pair.publish(2, true), pair.publish(3, true)];
    pair.publish(4, false);
    pair.publish(5, false);
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.offered, [1, 4, 5], "at once, and in order among themselves");
    assert_eq!(pair.account(), (5, 3, 0, 2), "the held ones are not settled by those behind them");
    pair.near.let_go(held[1], &id("far"), pair.now);
    pair.pass(Duration::from_secs(1));
    pair.publish(6, false);
    pair.near.end_pair(held[0], &id("far"), Outcome::Denied("a/rule".into()), pair.now);
    pair.pass(Duration::from_secs(5));
    assert_eq!(pair.offered, [1, 4, 5, 3, 6]);
    assert_eq!(pair.account(), (6, 5, 1, 0));
}

#[test]
fn others_of_its_lane_wait_no_longer_than_order_does_where_nobody_tells_them() {
    let mut pair = Pair::new();
    pair.tells = false;
    pair.publish(1, false);
    let held = pair.publish(2, true);
    pair.publish(3, false);
    pair.pass(Duration::from_secs(70));
    assert_eq!(pair.offered, [1, 3]);
    pair.publish(4, false);
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.offered, [1, 3, 4], "the hole holds up nobody any more");
    pair.near.let_go(held, &id("far"), pair.now);
    pair.pass(Duration::from_secs(5));
    assert_eq!(pair.offered, [1, 3, 4, 2]);
    assert_eq!(pair.account(), (4, 4, 0, 0));
}

#[test]
fn a_held_pair_of_an_earlier_run_stops_no_later_one() {
    let mut pair = Pair::new();
    let held = pair.publish(1, true);
    pair.pass(STEP);
    pair.restart_near();
    // Nobody knows any more that it was held: it is handed out, judged and held again.
    assert!(!pair.near.is_held(held, &id("far")));
    let now = pair.now;
    assert!(pair.near.hold(held, &id("far"), now));
    pair.publish(2, false);
    pair.pass(Duration::from_secs(5));
    assert_eq!((pair.offered.len(), pair.account()), (1, (2, 1, 0, 1)));
    let now = pair.now;
    pair.near.let_all_go(now);
    pair.pass(Duration::from_secs(5));
    assert_eq!((pair.offered.len(), pair.account()), (2, (2, 2, 0, 0)));
}

/// Far more than the first window.
const MANY: u64 = 1_000;

#[test]
fn what_is_kept_back_makes_room_for_what_comes_behind_it() {
    for (judge, denied, open) in [(Judge::Hold, 0, MANY), (Judge::Deny, MANY, 0)] {
        let mut pair = Pair::new();
        pair.judge = judge;
        for number in 1..=MANY {
            pair.publish(number, false);
        }
        pair.pass(Duration::from_secs(1));
        assert_eq!(pair.account(), (MANY, 0, denied, open));
        assert_eq!(pair.near.held().map(|(_, bodies)| bodies.len() as u64).sum::<u64>(), open);
        pair.judge = Judge::Send;
        pair.publish(MANY + 1, false);
        pair.pass(Duration::from_secs(1));
        assert_eq!(pair.offered, [MANY + 1]);
    }
}
