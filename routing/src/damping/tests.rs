use std::time::{Duration, Instant};

use super::{Damping, HALF_LIFE, ONLY_WAY_AFTER};
use crate::{BridgeId, Run};

const RUN: Run = Run { epoch: 1, nonce: 1 };

fn id(text: &str) -> BridgeId {
    BridgeId::parse(text).expect("a name")
}

#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn start() -> Instant {
    Instant::now()
}

/// Ends sessions with `b`, one each `pause`; the time of the last.
fn flap(damping: &mut Damping, times: u32, pause: Duration, mut now: Instant) -> Instant {
    for _ in 0..times {
        now += pause;
        damping.on_down(&id("b"), RUN, now);
    }
    now
}

#[track_caller]
fn check(pause_secs: u64, times: u32, held: bool) {
    let mut damping = Damping::default();
    flap(&mut damping, times, Duration::from_secs(pause_secs), start());
    assert_eq!(damping.holds(&id("b")), held, "{times} ends, one each {pause_secs} s");
}

#[test]
fn a_neighbour_is_held_back_after_four_quick_ends_or_many_steady_ones() {
    check(1, 3, false);
    check(1, 4, true);
    check(5, 4, false);
    check(5, 6, true);
    check(8, 40, true);
    check(9, 1_000, false);
}

#[test]
fn who_is_still_is_listed_again_and_nobody_waits_for_longer_than_the_penalty_allows() {
    for times in [4, 6, 100, 10_000] {
        let mut damping = Damping::default();
        let end = flap(&mut damping, times, Duration::from_millis(500), start());
        damping.on_up(&id("b"), end);
        let until = damping.neighbours[&id("b")].penalty.until.expect("held back");
        assert!(
            until >= end + HALF_LIFE && until <= end + Duration::from_secs(39),
            "{times}: {:?}",
            until - end
        );
        assert!(!damping.release(&[], until - Duration::from_millis(1)) && damping.holds(&id("b")));
        assert!(damping.release(&[], until) && !damping.holds(&id("b")));
    }
}

#[test]
fn the_only_way_is_listed_once_it_lasts_and_for_as_long_as_it_does() {
    let mut damping = Damping::default();
    let down = flap(&mut damping, 5, Duration::from_millis(100), start());
    assert!(!damping.release(&[id("b")], down + ONLY_WAY_AFTER), "there is no session");
    damping.on_up(&id("b"), down);
    assert_eq!(damping.next_timeout(), Some(down + ONLY_WAY_AFTER));
    assert!(!damping.release(&[id("b")], down + ONLY_WAY_AFTER / 2));
    assert!(!damping.release(&[], down + ONLY_WAY_AFTER), "there is another way");
    assert!(damping.release(&[id("b")], down + ONLY_WAY_AFTER), "the other way is gone");
    damping.release(&[], down + ONLY_WAY_AFTER * 2);
    assert!(!damping.holds(&id("b")), "it is not taken back for another way");
    damping.on_down(&id("b"), RUN, down + ONLY_WAY_AFTER * 2);
    assert!(damping.holds(&id("b")));
}

#[test]
fn what_was_long_ago_is_forgotten() {
    let mut damping = Damping::default();
    let end = flap(&mut damping, 2, Duration::from_millis(100), start());
    damping.on_down(&id("c"), RUN, end + HALF_LIFE * 4);
    assert_eq!(damping.neighbours.keys().collect::<Vec<_>>(), [&id("c")]);
}

#[test]
fn who_comes_back_just_before_its_time_leaves_nothing_due() {
    let mut damping = Damping::default();
    flap(&mut damping, 5, Duration::from_millis(100), start());
    let until = damping.neighbours[&id("b")].penalty.until.expect("held back");
    damping.on_up(&id("b"), until - ONLY_WAY_AFTER / 2);
    assert!(damping.release(&[], until));
    damping.release(&[], until + ONLY_WAY_AFTER);
    assert_eq!(damping.next_timeout(), None);
}

#[test]
fn a_new_run_of_a_neighbour_has_forgotten_what_came_and_went() {
    let mut damping = Damping::default();
    let next = Run { epoch: 2, nonce: 1 };
    let end = flap(&mut damping, 5, Duration::from_millis(100), start());
    assert!(damping.is_held_there(&id("b"), RUN, end) && !damping.is_held_there(&id("b"), next, end));
    damping.on_down(&id("b"), next, end);
    assert!(damping.holds(&id("b")) && !damping.is_held_there(&id("b"), next, end));
    for _ in 0..2 {
        assert!(!damping.is_held_there(&id("b"), next, end));
        damping.on_down(&id("b"), next, end);
    }
    assert!(damping.is_held_there(&id("b"), next, end));
    assert!(
        !damping.is_held_there(&id("b"), next, end + Duration::from_secs(39)),
        "it has decayed there as well"
    );
}
