//! The order of offers after a restart is that before it, also where an event had waited for one that came after it.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_delivery::{Action, Arrived, Config, Core, DeadLetterEnd, GroupEnd, Record, State, Turn};
use meshbridge_routing::{BridgeId, EventKey, Run};

const RUN: Run = Run { epoch: 1, nonce: 9 };
/// Of the subscription with memory; what is not for it ends as soon as it is offered.
const GROUP: u32 = 1;

fn id(name: &str) -> BridgeId {
    BridgeId::parse(name).expect("valid id")
}

fn arrived(lane: u8, seq: u64, is_wanted: bool) -> Arrived {
    arrived_in(RUN, lane, seq, is_wanted)
}

fn arrived_in(run: Run, lane: u8, seq: u64, is_wanted: bool) -> Arrived {
    Arrived {
        key: EventKey { origin: id("far"), run, lane, seq },
        prev: seq - 1,
        topic: "orders".into(),
        payload: Bytes::from_static(b"event"),
        expires: 0,
        groups: is_wanted.then_some(GROUP).into_iter().collect(),
        groups_only: false,
        attempts: 0,
        returned: Vec::new(),
    }
}

/// The lanes and numbers that are offered for the subscription.
fn offers(core: &mut Core, now: Instant) -> Vec<(u8, u64)> {
    let mut offered = Vec::new();
    while let Some(action) = core.poll_action() {
        match action {
            Action::Append(append) => core.on_committed(append.ticket, now),
            Action::Ready { body, .. } => {
                let event = core.state().events.get(&body).expect("kept");
                if event.open_groups().any(|group| group == GROUP) {
                    offered.push((event.key.lane, event.key.seq));
                }
                core.on_offered(body, 0);
            }
            _ => {}
        }
    }
    offered
}

fn restarted(core: &Core, now: Instant) -> Core {
    let mut state = State::new(id("near"));
    for part in core.state().parts() {
        state.apply_part(&part).expect("a part");
    }
    assert_eq!(&state, core.state(), "a checkpoint tells the whole state");
    Core::recover(state, Config::default(), 2, Run { epoch: 5, nonce: 5 }, 7, now)
}

fn check(ends_before: bool) {
    let now = Instant::now();
    let mut core =
        Core::recover(State::new(id("near")), Config::default(), 2, Run { epoch: 4, nonce: 4 }, 7, now);
    let mut before = Vec::new();
    // The second and third of lane 1 overtake the first, which is not for the subscription. Meanwhile something of another lane is offered.
    for event in [arrived(1, 3, true), arrived(1, 2, true), arrived(2, 1, true)] {
        core.take(event, 1);
        before.extend(offers(&mut core, now));
    }
    assert_eq!(before, [(2, 1)]);
    let mut early = restarted(&core, now);
    assert_eq!(offers(&mut early, now), [(2, 1)], "they still wait");
    let first = arrived(1, 1, false);
    if ends_before {
        core.refuse(first.key, first.prev, meshbridge_delivery::Outcome::Expired);
    } else {
        core.take(first, 1);
    }
    core.take(arrived(2, 2, true), 1);
    before.extend(offers(&mut core, now));
    assert_eq!(before, [(2, 1), (1, 2), (1, 3), (2, 2)]);
    let mut after = restarted(&core, now);
    assert_eq!(offers(&mut after, now), before);
    let mut again = restarted(&after, now);
    assert_eq!(offers(&mut again, now), before);
}

#[test]
fn what_waited_for_an_event_that_came_is_offered_in_its_place_after_a_restart() {
    check(false);
}

#[test]
fn what_waited_for_an_event_that_ended_is_offered_in_its_place_after_a_restart() {
    check(true);
}

/// The origin has lost its disk, and with it closed what it had sent before.
#[test]
fn what_is_of_a_closed_run_keeps_its_place_after_a_restart() {
    let now = Instant::now();
    let mut core =
        Core::recover(State::new(id("near")), Config::default(), 2, Run { epoch: 4, nonce: 4 }, 7, now);
    // The first two come in the other order, and are offered in theirs.
    for event in [arrived(1, 2, true), arrived(1, 1, true), arrived(2, 1, true)] {
        core.take(event, 1);
    }
    let mut before = offers(&mut core, now);
    let newer = Run { epoch: 2, nonce: 5 };
    core.take(arrived_in(newer, 1, 1, true), 1);
    core.take(arrived_in(newer, 3, 1, true), 1);
    before.extend(offers(&mut core, now));
    assert_eq!(before, [(1, 1), (1, 2), (2, 1), (1, 1), (3, 1)]);
    let mut state = core.state().clone();
    let closed = Record::Peer { bridge: id("far"), spool: 9, run: newer, closed: 1 };
    state.apply(&closed, &mut Vec::new());
    assert!(state.sources[&id("far")].is_closed(RUN));
    let mut after = Core::recover(state, Config::default(), 2, Run { epoch: 5, nonce: 5 }, 7, now);
    assert_eq!(offers(&mut after, now), before);
}

/// P3: a subscriber counts on.
#[test]
fn what_a_subscription_has_made_of_an_event_outlives_the_process() {
    let now = Instant::now();
    let mut core =
        Core::recover(State::new(id("near")), Config::default(), 2, Run { epoch: 4, nonce: 4 }, 7, now);
    let body = core.take(arrived(1, 1, true), 1).expect("kept");
    offers(&mut core, now);
    let failed = |tries| Turn { tries, ..Turn::default() };
    core.note_turn(body, GROUP, failed(3));
    let mut core = restarted(&core, now);
    assert_eq!(core.state().turns.of(body, GROUP), failed(3));
    offers(&mut core, now);
    assert!(core.end_group(body, GROUP, GroupEnd::DeadLettered("attempts-exhausted".into())));
    assert!(core.end_dead_letter(body, GROUP, DeadLetterEnd::Replayed));
    let mut core = restarted(&core, now);
    assert_eq!(core.state().turns.of(body, GROUP), Turn { tries: 4, before: 4, overtaken: true });
    offers(&mut core, now);
    assert!(core.end_group(body, GROUP, GroupEnd::Acknowledged));
    assert_eq!(core.state().turns, State::new(id("near")).turns, "nothing is left of it");
}
