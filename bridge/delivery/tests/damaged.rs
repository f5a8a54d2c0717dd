//! M26: what is left of a damaged log is pending as before. The record of the run in which it was accepted may be gone: a
//! destination must not hear that such a run is closed (D6), for it would take everything in it for known.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_delivery::{Action, Arrival, Config, Core, Message, NewEvent, Record, State};
use meshbridge_routing::{BridgeId, Run};
use smallvec::SmallVec;

fn id(name: &str) -> BridgeId {
    BridgeId::parse(name).expect("valid id")
}

fn run(epoch: u64) -> Run {
    Run { epoch, nonce: epoch + 100 }
}

fn event(number: u128) -> NewEvent {
    NewEvent {
        producer: number,
        lane: 0,
        topic: "orders".into(),
        payload: Bytes::from_static(b"event"),
        expires: 0,
        retain_delivered: false,
        destinations: SmallVec::from_iter([id("far")]),
        groups: SmallVec::new(),
        local: false,
        choices: None,
        publisher: None,
    }
}

fn core(state: State, epoch: u64, now: Instant) -> Core {
    let spool = if state.own == id("near") { 1 } else { 2 };
    Core::recover(state, Config::default(), spool, run(epoch), 7, now)
}

/// Commits at once; gives what was written, and what was said and sent.
fn drain(core: &mut Core, now: Instant) -> (Vec<Record>, Vec<Action>) {
    let (mut records, mut others) = (Vec::new(), Vec::new());
    while let Some(action) = core.poll_action() {
        match action {
            Action::Append(append) => {
                core.on_committed(append.ticket, now);
                records.extend(append.records.into_iter().map(|(record, _)| record));
            }
            other => others.push(other),
        }
    }
    (records, others)
}

#[test]
fn a_run_whose_begin_is_lost_is_open_while_something_of_it_is() {
    let now = Instant::now();
    let mut before = core(State::new(id("near")), 1, now);
    let keys: Vec<_> =
        before.accept((1..=5).map(event).collect(), 1).0.into_iter().map(|one| one.key).collect();
    let (records, _) = drain(&mut before, now);
    let mut left = State::new(id("near"));
    let kept = records.iter().filter(|record| matches!(record, Record::Accepted(_)));
    kept.for_each(|record| left.apply(record, &mut Vec::new()));
    left.follow_what_is_left();

    let mut near = core(left, 2, now);
    near.on_reachable(&id("far"), true, now);
    near.handle_timeout(now);
    let (_, actions) = drain(&mut near, now);
    let exchange = actions.into_iter().find_map(|action| match action {
        Action::Message { message: Message::Exchange(exchange), .. } => Some(exchange),
        _ => None,
    });
    let exchange = exchange.expect("both ends exchange before data");
    assert_eq!(exchange.open, [run(1), run(2)]);
    let mut far = core(State::new(id("far")), 1, now);
    far.on_reachable(&id("near"), true, now);
    far.on_message(&id("near"), Message::Exchange(exchange), now);
    for key in &keys {
        assert_eq!(far.classify(key, now), Arrival::New, "{key} was never there");
    }
}
