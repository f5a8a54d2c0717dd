//! What was said once, and comes again.

use std::time::{Duration, Instant};

use meshbridge_routing::wire::Relay;

use super::World;
use crate::sealing::Refused;
use crate::sealing::end::Window;

#[test]
fn a_message_counts_once() {
    let world = World::new();
    let (a, b) = world.pair();
    for relay in [a.says_exchange(&b), a.says_receipt(&b)] {
        assert!(b.hears(&relay).is_ok());
        assert_eq!(b.hears(&relay), Err(Refused::Repeated));
    }
}

#[test]
fn messages_may_overtake_each_other() {
    let world = World::new();
    let (a, b) = world.pair();
    let mut said: Vec<Relay> = (0..20).map(|_| a.says_receipt(&b)).collect();
    said.insert(10, a.says_exchange(&b));
    for relay in said.iter().rev() {
        assert!(b.hears(relay).is_ok());
    }
}

#[test]
fn an_exchange_of_an_earlier_run_does_not_bring_its_key_back() {
    let world = World::new();
    let (a, b) = world.pair();
    let taken = a.says_exchange(&b);
    assert!(b.hears(&taken).is_ok());
    // Signed, current when it was said, and kept back by somebody on the way.
    let kept = [a.says_exchange(&b), a.says_exchange(&b)];
    let kept_receipt = a.says_receipt(&b);
    // With an older disk even its epoch is lower.
    for epoch in [2, 1, 0] {
        let again = world.start("a", epoch);
        again.meet(&b);
        for old in kept.iter().chain([&taken]) {
            assert_eq!(b.hears(old), Err(Refused::Unproven));
        }
        assert_eq!(b.hears(&kept_receipt), Err(Refused::UnknownKey));
        b.understands(&again);
        again.understands(&b);
    }
}

#[test]
fn a_bridge_that_has_started_again_takes_nothing_from_before() {
    let world = World::new();
    let (a, b) = world.pair();
    let before = [a.says_exchange(&b), a.says_receipt(&b)];
    let b = world.start("b", 2);
    assert_eq!(b.hears(&before[0]), Err(Refused::Unproven));
    assert_eq!(b.hears(&before[1]), Err(Refused::UnknownKey));
    b.meet(&a);
    b.understands(&a);
    assert_eq!(b.hears(&before[1]), Err(Refused::UnknownKey));
}

#[test]
fn old_exchanges_do_not_hide_the_one_that_a_new_bridge_must_answer() {
    let world = World::new();
    let b = world.start("b", 1);
    let old: Vec<Relay> = (1..20)
        .map(|epoch| {
            let a = world.start("a", epoch);
            a.meet(&b);
            a.says_exchange(&b)
        })
        .collect();
    let (a, b) = (world.start("a", 20), world.start("b", 2));
    let hide = || old.iter().for_each(|relay| assert_eq!(b.hears(relay), Err(Refused::Unproven)));
    hide();
    assert_eq!(b.hears(&a.says_exchange(&b)), Err(Refused::Unproven));
    hide();
    assert!(a.hears(&b.says_exchange(&a)).is_ok());
    hide();
    assert!(b.hears(&a.says_exchange(&b)).is_ok());
    a.understands(&b);
}

#[test]
fn the_window_knows_what_it_has_seen_and_nothing_that_is_far_behind() {
    let mut window = Window::default();
    assert!(window.take(500));
    assert!(window.take(373) && !window.take(373), "the last place of the window");
    assert!(!window.take(372), "just behind it");
    assert!(window.take(499) && !window.take(499) && !window.take(500));
    assert!(window.take(501) && !window.take(500) && !window.take(499) && window.take(498));
    assert!(window.take(u64::MAX) && !window.take(u64::MAX) && !window.take(501));
    assert!(window.take(u64::MAX - 1));
}

#[test]
fn an_unknown_key_prompts_an_exchange_but_not_as_often_as_somebody_likes() {
    let world = World::new();
    let (a, b) = world.pair();
    let again = world.start("b", 2);
    let refused = again.hears(&a.says_receipt(&b)).expect_err("b has started again");
    assert_eq!(refused, Refused::UnknownKey);
    let start = Instant::now();
    let prompts = |after: u64| {
        let now = start + Duration::from_millis(after);
        (0..1_000).filter(|_| again.sealing.react(&a.id, &refused, now).prompt).count()
    };
    let first = prompts(0);
    assert!((1..=10).contains(&first), "{first}");
    assert_eq!(prompts(100), 0);
    assert_eq!(prompts(2_200), 2);
    // What was repeated neither prompts nor takes a turn from what does.
    assert!((0..1_000).all(|_| !again.sealing.react(&a.id, &Refused::Repeated, start).prompt));
    assert_eq!(prompts(3_300), 1);
    again.meet(&a);
    again.understands(&a);
}
