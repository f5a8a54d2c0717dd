//! Pairs of an event with its own bridge: kept for a person or as a dead letter, never sent, and ended by nobody else's word.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_delivery::{Action, Config, Core, NewEvent, Outcome, State};
use meshbridge_routing::{BridgeId, Run};
use smallvec::SmallVec;

fn own() -> BridgeId {
    BridgeId::parse("near").expect("valid id")
}

fn event(number: u128) -> NewEvent {
    NewEvent {
        producer: number,
        lane: 0,
        topic: "orders".into(),
        payload: Bytes::from_static(b"event"),
        expires: 0,
        retain_delivered: false,
        destinations: SmallVec::from_iter([own()]),
        groups: SmallVec::new(),
        local: false,
        choices: None,
        publisher: Some("shop".into()),
    }
}

/// Commits what was appended; nothing else may have been asked for but effects.
fn commit(core: &mut Core, now: Instant) {
    while let Some(action) = core.poll_action() {
        match action {
            Action::Append(append) => core.on_committed(append.ticket, now),
            Action::Effect(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn started(state: State, epoch: u64, now: Instant) -> Core {
    let mut core = Core::recover(state, Config::default(), 1, Run { epoch, nonce: epoch }, 7, now);
    commit(&mut core, now);
    core
}

#[test]
fn it_is_held_or_let_go_over_every_restart_and_ends_at_once() {
    let now = Instant::now();
    let mut core = started(State::new(own()), 1, now);
    let bodies: Vec<u64> =
        core.accept((1..=3).map(event).collect(), 1).0.iter().flat_map(|one| one.body).collect();
    assert!(bodies.iter().all(|body| core.hold(*body, &own(), now)));
    commit(&mut core, now);
    assert_eq!(core.kept_back().count(), 0, "they are held");
    assert!(core.let_go(bodies[0], &own(), now));
    assert_eq!(core.kept_back().collect::<Vec<_>>(), bodies[..1]);

    let mut core = started(core.state().clone(), 2, now);
    assert_eq!(core.kept_back().collect::<Vec<_>>(), bodies, "each is to be judged anew");
    assert!(core.hold(bodies[1], &own(), now));
    core.end_pair(bodies[0], &own(), Outcome::Moved, now);
    core.end_pair(bodies[1], &own(), Outcome::Denied("rule".into()), now);
    core.dead_letter(bodies[2], &own(), "rule", now);
    commit(&mut core, now);
    assert_eq!((core.kept_back().count(), core.pending_with(&own()).pending()), (0, 0));
    let account = core.state().destinations[&own()].account;
    assert_eq!((account.sent, account.moved, account.denied, account.dead_lettered), (2, 1, 1, 1));
    let letters: Vec<_> = core.state().membership.letters().collect();
    assert_eq!(letters, [(bodies[2], &own(), false)], "it is in nobody's doubt");
    assert_eq!(core.state().events.keys().collect::<Vec<_>>(), bodies[2..], "only the dead letter is kept");
}
