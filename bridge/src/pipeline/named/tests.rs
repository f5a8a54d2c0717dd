//! A subscription by itself: who gets what, when again, and what ends it.

use std::collections::HashSet;

use meshbridge_delivery::state::Used;
use meshbridge_routing::BridgeId;

use super::super::Quota;
use super::*;

const ATTEMPTS_MAX: u32 = 20;
const LEASE: Duration = Duration::from_secs(30);
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

fn named_with(settings: SubscriptionSettings) -> Named {
    let filters = vec![TopicFilter::parse("**").expect("filter")];
    let plenty = LetterRoom::new(Quota { events: 1_000, bytes: 1_000 });
    Named::new(1, "n", "me", filters, None, None, settings, Arc::new(plenty))
}

fn named() -> Named {
    named_with(SubscriptionSettings::default())
}

#[test]
fn a_retry_blocks_its_own_lane_and_no_other() {
    let settings = SubscriptionSettings { on_retry: OnRetry::Block, ..SubscriptionSettings::default() };
    let (named, now) = (named_with(settings), Instant::now());
    let lane = |number| (BridgeId::parse("far").expect("valid id"), number);
    [(1, 5), (2, 5), (3, 6), (4, 5)].iter().for_each(|(body, l)| named.offer_in(*body, lane(*l), 0));
    let connection = named.connect(1);
    let first = take(&named, connection, now).expect("offered");
    let other = take(&named, connection, now).expect("offered");
    assert_eq!((first.body, other.body), (1, 3));
    assert_eq!(take(&named, connection, now), None, "the lane is busy");
    assert_eq!(named.refuse(1, first.token, now), Some(false));
    assert_eq!(take(&named, connection, now), None, "and stays so while the event waits");
    assert_eq!(named.figures().waiting, 2);
    let again = take(&named, connection, now + PAUSE_MAX).expect("offered again");
    assert_eq!(again.body, 1);
    assert!(named.end_lease(1, again.token, now));
    let next = take(&named, connection, now + PAUSE_MAX).expect("the next one");
    assert_eq!(next.body, 2);
    named.forget(2);
    assert_eq!(take(&named, connection, now + PAUSE_MAX).map(|taken| taken.body), Some(4));
}

fn take(named: &Named, connection: u64, now: Instant) -> Option<Taken> {
    named.take(connection, Some(LEASE), LEASES_MAX, now).expect("still ours")
}

#[test]
fn what_a_connection_held_comes_first_to_the_next_one_and_counts_as_an_attempt() {
    let (named, now) = (named(), Instant::now());
    (1..=3).for_each(|body| named.offer(body, 0));
    let first = named.connect(1);
    assert_eq!(take(&named, first, now).map(|t| (t.body, t.attempts)), Some((1, 0)));
    assert_eq!(take(&named, first, now).map(|t| t.body), Some(2));
    let second = named.connect(1);
    assert_eq!(named.take(first, None, 9, now), Err(NamedEnd::TakenOver));
    let seen: Vec<_> =
        (0..3).filter_map(|_| take(&named, second, now)).map(|t| (t.body, t.attempts)).collect();
    assert_eq!(seen, [(1, 1), (2, 1), (3, 0)]);
}

#[test]
fn a_late_acknowledgement_of_an_earlier_attempt_settles_nothing() {
    let (named, now) = (named(), Instant::now());
    named.offer(7, 0);
    let connection = named.connect(1);
    let old = take(&named, connection, now).expect("offered");
    assert!(named.tick(now + LEASE).is_empty());
    let later = now + LEASE + PAUSE_FIRST * 2;
    let fresh = take(&named, connection, later).expect("offered again");
    assert_eq!(fresh.attempts, 1);
    assert!(!named.end_lease(7, old.token, later));
    assert!(named.end_lease(7, fresh.token, later));
    assert!(!named.end_lease(7, fresh.token, later));
}

/// One event a second of the thousand it holds: nothing comes twice, however long the last one waits.
#[test]
fn a_slow_reader_that_goes_on_keeps_what_it_has_not_come_to() {
    let (named, mut now) = (named(), Instant::now());
    (0..200).for_each(|body| named.offer(body, 0));
    let connection = named.connect(1);
    let held: Vec<Taken> = (0..200).filter_map(|_| take(&named, connection, now)).collect();
    for one in &held[..100] {
        now += Duration::from_secs(1);
        assert!(named.tick(now).is_empty());
        assert!(named.end_lease(one.body, one.token, now), "event {} came again", one.body);
    }
    named.tick(now + LEASE - PAUSE_FIRST);
    assert_eq!(named.figures().leased, 100);
    named.tick(now + LEASE + PAUSE_FIRST);
    assert_eq!(named.figures().leased, 0, "it went on no more");
}

#[test]
fn what_a_reader_passes_over_comes_again_after_its_lease() {
    let (named, mut now) = (named(), Instant::now());
    (0..100).for_each(|body| named.offer(body, 0));
    let connection = named.connect(1);
    let held: Vec<Taken> = (0..100).filter_map(|_| take(&named, connection, now)).collect();
    for one in &held[1..50] {
        now += Duration::from_secs(1);
        named.tick(now);
        assert!(named.end_lease(one.body, one.token, now));
    }
    assert!(!named.end_lease(0, held[0].token, now), "the first one was dealt with by nobody");
    assert_eq!(named.figures().leased, 50);
}

#[test]
fn what_is_postponed_comes_again_and_no_attempt_is_counted() {
    let (named, now) = (named(), Instant::now());
    named.offer(7, 0);
    let connection = named.connect(1);
    let taken = take(&named, connection, now).expect("offered");
    named.postpone(7, taken.token, LEASE, now);
    assert_eq!(take(&named, connection, now), None, "not yet");
    let again = take(&named, connection, now + LEASE).expect("offered again");
    assert_eq!((again.body, again.attempts), (7, 0));
    named.postpone(7, taken.token, LEASE, now);
    assert!(named.end_lease(7, again.token, now), "a lease that was over postpones nothing");
}

#[test]
fn the_last_attempt_that_fails_is_the_end() {
    let (named, mut now) = (named(), Instant::now());
    named.offer(7, 0);
    let connection = named.connect(1);
    for attempt in 1..=ATTEMPTS_MAX {
        let taken = take(&named, connection, now).expect("offered");
        assert_eq!(taken.attempts, attempt - 1);
        assert_eq!(named.refuse(7, taken.token, now), Some(attempt == ATTEMPTS_MAX));
        now += PAUSE_MAX * 2;
    }
    assert_eq!(take(&named, connection, now), None);
}

#[test]
fn a_subscription_pauses_where_its_dead_letter_has_no_room_and_goes_on_when_it_has() {
    let (settings, mut now) = (SubscriptionSettings::default(), Instant::now());
    let last = settings.max_attempts;
    let named = named_with(settings);
    [7, 8].iter().for_each(|body| named.offer(*body, 0));
    named.letters.set(Used { events: 1_000, bytes: 0 });
    let connection = named.connect(1);
    for _ in 1..=last {
        let taken = named.take(connection, Some(LEASE), 1, now).expect("ours").expect("offered");
        assert_eq!((taken.body, named.refuse(7, taken.token, now)), (7, Some(false)));
        now += PAUSE_MAX * 2;
    }
    assert!(named.figures().paused);
    assert_eq!(take(&named, connection, now), None, "neither this one nor those behind it");
    named.letters.set(Used { events: 999, bytes: 0 });
    let again = take(&named, connection, now).expect("offered once more");
    assert_eq!((again.body, named.refuse(7, again.token, now)), (7, Some(true)), "there is room");
    assert_eq!(take(&named, connection, now).map(|taken| taken.body), Some(8));
    assert!(!named.figures().paused);
}

#[test]
fn credit_holds_events_back() {
    let (named, now) = (named(), Instant::now());
    (1..=3).for_each(|body| named.offer(body, 0));
    let connection = named.connect(1);
    let taken = named.take(connection, None, 1, now).expect("ours").expect("one");
    assert_eq!(named.take(connection, None, 1, now), Ok(None));
    assert!(named.end_lease(taken.body, taken.token, now));
    assert!(named.take(connection, None, 1, now).expect("ours").is_some());
}

fn set(bodies: &[u64]) -> HashSet<u64> {
    bodies.iter().copied().collect()
}

/// Handed out by a former process, in the order of their offers but for those that were overtaken.
#[test]
fn up_to_the_last_one_seen_everything_is_dealt_with_that_was_not_overtaken() {
    let named = named();
    (1..=5).for_each(|body| named.offer(body, 0));
    assert_eq!(named.end_up_to(5, &set(&[1, 2, 3, 4]), &set(&[2])), [0_u64; 0], "of this process");
    assert_eq!(named.end_up_to(2, &set(&[1, 2, 3, 4]), &set(&[2])), [2], "offered again behind others");
    named.offer(2, 0);
    assert_eq!(named.end_up_to(3, &set(&[1, 2, 3, 4]), &set(&[2])), [1, 3]);
    assert_eq!(named.end_up_to(3, &set(&[1, 2, 3, 4]), &set(&[])), [0_u64; 0]);
    assert_eq!(named.waiting(), [4, 5, 2]);
}

#[test]
fn up_to_the_last_one_seen_what_was_never_handed_out_stays() {
    let (named, now) = (named(), Instant::now());
    (1..=5).for_each(|body| named.offer(body, 0));
    let reader = named.connect(1);
    for body in 1..=4 {
        let taken = named.take(reader, None, 9, now).expect("ours").expect("one");
        assert_eq!(taken.body, body);
        if body == 2 {
            named.postpone(body, taken.token, PAUSE_FIRST, now);
        } else {
            assert_eq!(named.hand_out(body, reader, taken.token), HandOut::Now);
        }
    }
    named.connect(1);
    named.tick(now + PAUSE_FIRST);
    assert_eq!(named.end_up_to(3, &set(&[]), &set(&[])), [1, 3], "2 waits for a rate, and 4 came later");
    assert_eq!(named.waiting(), [2, 4, 5]);
}

#[test]
fn up_to_the_last_one_seen_what_another_reader_got_stays() {
    let (named, now) = (named(), Instant::now());
    (1..=3).for_each(|body| named.offer(body, 0));
    for bodies in [3, 2] {
        let reader = named.connect(1);
        for _ in 0..bodies {
            let taken = named.take(reader, None, 9, now).expect("ours").expect("one");
            assert_eq!(named.hand_out(taken.body, reader, taken.token), HandOut::Now);
        }
    }
    named.connect(1);
    assert_eq!(named.end_up_to(2, &set(&[]), &set(&[])), [1, 2], "the first reader had 3 and vanished");
}

/// Of lanes that hand out one event at a time a former process may have been at any event.
#[test]
fn up_to_the_last_one_seen_other_lanes_that_block_stay() {
    let mut named = named();
    named.settings.on_retry = OnRetry::Block;
    let lane = |lane: u8| (BridgeId::parse("west-1").expect("an id"), lane);
    for (body, of) in [(1, 5), (2, 6), (3, 5), (4, 6), (5, 5)] {
        named.offer_in(body, lane(of), 0);
    }
    assert_eq!(named.end_up_to(3, &set(&[1, 2, 3, 4, 5]), &set(&[])), [1, 3]);
    assert_eq!(named.waiting(), [2, 4, 5]);
}

#[test]
fn attempts_of_earlier_processes_count() {
    let (named, now) = (named(), Instant::now());
    named.tried(7, 3);
    named.offer(7, 0);
    let reader = named.connect(1);
    assert_eq!(named.take(reader, None, 9, now).expect("ours").expect("one").attempts, 3);
}
