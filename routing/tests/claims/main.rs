//! What the protocol promises one neighbour of another, each promise by itself. `b` wants, `a` looks on.

mod audiences;
#[path = "../sim/keyring.rs"]
mod keyring;
mod pair;
mod scale;

use std::collections::BTreeSet;
use std::time::Duration;

use meshbridge_routing::{
    DestinationSet, GroupInterest, GroupName, InterestFull, Limits, Refusal, RouterEvent,
};
use pair::{Pair, Setup, filter, ms, topic};
use smallvec::SmallVec;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn limits(per_owner: usize, total: usize) -> Limits {
    Limits { filters_per_owner_max: per_owner, filters_total_max: total, ..Limits::default() }
}

// R5
#[test]
fn a_bridge_that_says_good_bye_is_off_the_map_before_its_links_end() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("x").expect("room");
    assert!(pair.has_route());
    pair.b.shutdown(&BTreeSet::new(), pair.now);
    pair.exchange();
    assert!(!pair.has_route());
    pair.check_seen(&[]);
    let record = pair.a.records().find(|record| record.bridge == *pair.b.id()).expect("its last word");
    assert!(record.links.is_empty());
}

// R23
#[test]
fn what_outlives_a_bridge_that_stops_is_wanted_while_it_is_away() {
    let mut pair = Pair::connected(Setup::default());
    let name = GroupName::parse("workers@me").expect("a name");
    for text in ["lasting.**", "passing.x", "lasting.y"] {
        pair.subscribe(text).expect("room");
    }
    pair.b.set_group(&filter("jobs.**"), &name, Some(true), pair.now).expect("room");
    pair.run(Duration::from_secs(1));
    pair.b.shutdown(&BTreeSet::from(["lasting.**", "lasting.y"].map(filter)), pair.now);
    pair.exchange();
    assert!(!pair.has_route());
    let seen = pair.seen().expect("its last word");
    assert_eq!(seen.filters, [filter("lasting.**")], "what was passing is withdrawn");
    let groups: Vec<_> = seen.groups.iter().map(|(filter, group)| (filter.as_str(), group.live)).collect();
    assert_eq!(groups, [("jobs.**", false)], "a group waits for a member");
    pair.run(Duration::from_secs(120));
    assert_eq!(pair.seen().map(|set| set.filters.len()), Some(1), "however long it is away");
}

#[test]
fn a_bridge_that_has_said_good_bye_says_nothing_else() {
    let mut pair = Pair::connected(Setup::default());
    pair.b.shutdown(&BTreeSet::new(), pair.now);
    pair.exchange();
    let last = pair.version();
    let _ = pair.subscribe("x");
    pair.b.set_policy_digest([1; 32], pair.now);
    pair.disconnect();
    pair.connect();
    pair.run(Duration::from_secs(1));
    assert!(!pair.has_route());
    pair.check_seen(&[]);
    assert_eq!(pair.version(), last);
}

// R23
#[test]
fn a_subscriber_on_its_way_at_the_good_bye_takes_nothing_back_that_lasts() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("lasting.**").expect("room");
    pair.run(ms(5));
    pair.b.shutdown(&BTreeSet::from([filter("lasting.**")]), pair.now);
    // It was not counted any more.
    pair.subscribe("lasting.**").expect("it hears no refusal");
    pair.unsubscribe("lasting.**");
    pair.run(ms(500));
    pair.check_seen(&["lasting.**"]);
}

// R6
#[test]
fn a_record_ends_with_its_chain_and_a_newer_one_brings_the_bridge_back() {
    let mut pair = Pair::connected(Setup { chains_hold: Duration::from_secs(10), ..Setup::default() });
    pair.run(Duration::from_secs(9));
    assert!(pair.has_route());
    pair.run(Duration::from_secs(2));
    assert!(!pair.has_route(), "the chain has ended");
    assert!(!pair.a.records().any(|record| record.bridge == *pair.b.id()));
    pair.a.resign(pair.now);
    pair.b.resign(pair.now);
    pair.exchange();
    assert!(pair.has_route());
}

#[test]
fn a_record_signed_anew_in_time_never_ends() {
    let mut pair = Pair::connected(Setup { chains_hold: Duration::from_secs(10), ..Setup::default() });
    for _ in 0..5 {
        pair.run(Duration::from_secs(8));
        assert!(pair.has_route());
        pair.a.resign(pair.now);
        pair.b.resign(pair.now);
        pair.exchange();
    }
}

// R23
#[test]
fn interest_of_a_bridge_that_is_gone_ends_after_thirty_days() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("x").expect("room");
    pair.disconnect();
    pair.now += 30 * DAY - ms(1);
    pair.a.handle_timeout(pair.now);
    pair.check_seen(&["x"]);
    pair.now += ms(1);
    assert!(pair.a.poll_timeout().is_some_and(|at| at <= pair.now), "the end of the lease is a deadline");
    pair.a.handle_timeout(pair.now);
    assert_eq!(pair.seen(), None);
}

#[test]
fn interest_of_a_bridge_that_lives_does_not_end_however_long_it_is_the_same() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("x").expect("room");
    for day in 0..100 {
        pair.disconnect();
        pair.now += DAY;
        pair.a.handle_timeout(pair.now);
        pair.b.handle_timeout(pair.now);
        assert!(pair.seen().is_some(), "day {day}");
        pair.connect();
        pair.check_seen(&["x"]);
    }
}

// R16
#[test]
fn an_owner_at_its_budget_is_refused_what_is_new_and_nothing_else() {
    let mut pair = Pair::connected(Setup { limits: [limits(3, 100); 2], ..Setup::default() });
    for text in ["x", "y", "z"] {
        pair.subscribe(text).expect("room");
    }
    assert_eq!(pair.subscribe("w"), Err(InterestFull::Owner(3)));
    assert_eq!(InterestFull::Owner(3).to_string(), "this bridge already wants 3 filters");
    pair.subscribe("x").expect("it is wanted already");
    pair.run(ms(5));
    pair.check_seen(&["x", "y", "z"]);
    pair.unsubscribe("y");
    assert_eq!(pair.subscribe("w"), Err(InterestFull::Owner(3)), "what lingers counts");
    pair.run(ms(151));
    pair.subscribe("w").expect("room again");
    pair.run(ms(5));
    pair.check_seen(&["w", "x", "z"]);
}

#[test]
fn filters_that_are_covered_count_against_the_budget() {
    let mut pair = Pair::connected(Setup { limits: [limits(2, 100); 2], ..Setup::default() });
    pair.subscribe("**").expect("room");
    pair.subscribe("x").expect("room");
    assert_eq!(pair.subscribe("y"), Err(InterestFull::Owner(2)));
}

#[test]
fn the_budget_in_all_counts_what_others_want() {
    let mut pair = Pair::connected(Setup { limits: [limits(3, 4); 2], ..Setup::default() });
    for text in ["x", "y", "z"] {
        pair.subscribe(text).expect("room");
    }
    pair.run(ms(5));
    let now = pair.now;
    pair.a.subscribe(&filter("p"), now).expect("the fourth");
    assert_eq!(pair.a.subscribe(&filter("q"), now), Err(InterestFull::Total(4)));
    assert_eq!(InterestFull::Total(4).to_string(), "the federation already wants 4 filters");
    pair.unsubscribe("x");
    pair.run(ms(200));
    let now = pair.now;
    pair.a.subscribe(&filter("q"), now).expect("room again");
}

#[test]
fn a_set_beyond_the_budget_is_not_taken_and_the_one_before_stays() {
    for small in [limits(2, 100), limits(100, 2)] {
        let mut pair = Pair::connected(Setup { limits: [small, Limits::default()], ..Setup::default() });
        for text in ["x", "y"] {
            pair.subscribe(text).expect("room");
            pair.run(ms(5));
        }
        assert!(!pair.events.iter().any(|event| matches!(event, RouterEvent::Refused { .. })));
        pair.subscribe("z").expect("room at b");
        pair.run(ms(5));
        let refused = RouterEvent::Refused { peer: pair.b.id().clone(), why: Refusal::TooManyFilters };
        assert!(pair.events.contains(&refused), "{:?}", pair.events);
        pair.check_seen(&["x", "y"]);
        pair.unsubscribe("x");
        pair.run(Duration::from_secs(10));
        pair.check_seen(&["y", "z"]);
    }
}

/// In the time of a test: each new filter must not be compared with all that are there.
#[test]
fn an_owner_gets_to_its_full_budget_with_filters_that_begin_alike() {
    let mut pair = Pair::new(Setup::default());
    let max = Limits::default().filters_per_owner_max;
    for i in 0..max {
        pair.b.subscribe(&filter(&format!("orders.{i}.created")), pair.now).expect("room");
    }
    assert_eq!(pair.b.subscribe(&filter("orders"), pair.now), Err(InterestFull::Owner(max)));
    pair.connect();
    pair.run(ms(5));
    assert_eq!(pair.seen().map(|set| set.filters.len()), Some(max));
}

// R30
#[test]
fn a_group_is_told_although_covered_and_its_bridge_says_whether_a_member_is_there() {
    let mut pair = Pair::connected(Setup::default());
    let name = GroupName::parse("billing@svc").expect("a name");
    let groups = |pair: &Pair| pair.seen().expect("the set of b").groups;
    pair.subscribe("**").expect("room");
    for live in [Some(false), Some(true), None] {
        pair.b.set_group(&filter("orders.*"), &name, live, pair.now).expect("room");
        pair.exchange();
        let expected = live.map(|live| (filter("orders.*"), GroupInterest { name: name.clone(), live }));
        assert_eq!(groups(&pair), expected.into_iter().collect::<Vec<_>>());
        let (mut plain, mut found) = (DestinationSet::default(), SmallVec::new());
        pair.a.forwarding().match_topic(&topic("orders.new"), &mut plain, &mut found);
        assert_eq!(plain.len(), 1);
        assert_eq!(found.first().map(|one| one.live), live);
    }
    // A neighbour that comes late gets the whole set.
    pair.b.set_group(&filter("orders.*"), &name, Some(true), pair.now).expect("room");
    pair.disconnect();
    pair.b.set_group(&filter("orders.**"), &name, Some(true), pair.now).expect("room");
    pair.connect();
    pair.run(ms(5));
    assert_eq!(groups(&pair).len(), 2);
    let mut found = SmallVec::new();
    pair.a.forwarding().match_topic(&topic("orders.new"), &mut DestinationSet::default(), &mut found);
    assert_eq!(found.len(), 1, "one choice for a group, whatever its filters: {found:?}");
}

// R15
#[test]
fn a_filter_without_subscribers_lingers_and_then_ends() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("x").expect("room");
    pair.unsubscribe("x");
    pair.run(ms(99));
    pair.check_seen(&["x"]);
    pair.run(ms(52));
    pair.check_seen(&[]);
}

#[test]
fn a_subscriber_that_comes_back_while_its_filter_lingers_is_no_news() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("x").expect("room");
    let version = pair.version();
    pair.unsubscribe("x");
    pair.run(ms(50));
    pair.subscribe("x").expect("room");
    pair.run(Duration::from_secs(1));
    pair.check_seen(&["x"]);
    assert_eq!(pair.version(), version);
}

// R14
#[test]
fn the_first_addition_goes_out_at_once_and_later_ones_together() {
    let mut pair = Pair::connected(Setup::default());
    pair.run(ms(10));
    let version = pair.version();
    pair.subscribe("f0").expect("room");
    pair.check_seen(&["f0"]);
    for i in 1..10 {
        pair.now += Duration::from_micros(50);
        pair.subscribe(&format!("f{i}")).expect("room");
    }
    pair.check_seen(&["f0"]);
    pair.run(ms(1));
    assert_eq!(pair.seen().map(|set| set.filters.len()), Some(10));
    assert_eq!(pair.version(), version + 2);
}

// R22
#[test]
fn restored_interest_waits_a_minute_for_its_subscribers() {
    let mut pair = Pair::connected(Setup::default());
    pair.b.restore_interest(["x", "y"].map(filter), pair.now);
    pair.exchange();
    pair.subscribe("y").expect("room");
    pair.run(Duration::from_secs(59));
    pair.check_seen(&["x", "y"]);
    pair.run(Duration::from_secs(2));
    pair.check_seen(&["y"]);
}
