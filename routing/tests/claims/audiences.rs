//! R40, R41: what is told to whom, and what happens when other policies come into force. `a` is in zone y, `b` in z.

use std::sync::Arc;
use std::time::Duration;

use meshbridge_routing::{Audience, DestinationSet, GroupName, InterestFull, KeptInterest, Learners, Limits};
use meshbridge_topic::TopicFilter;
use smallvec::SmallVec;

use crate::pair::{Pair, Setup, filter, ms, topic, zone_named};

/// Filters that begin with one of the words are told to zone y as well, each to an audience with its own third zone;
/// those that begin with `all` to everyone; others to nobody.
struct Told(&'static [&'static str]);

impl Learners for Told {
    fn audience(&self, filter: &TopicFilter) -> Audience {
        let first = filter.tokens().next().unwrap_or_default();
        if first == "all" {
            return Audience::All;
        }
        let is_told = self.0.contains(&first);
        Audience::zones(is_told.then(|| [zone_named("y"), zone_named(first)]).into_iter().flatten())
    }
}

impl Pair {
    fn policies(&mut self, told: &'static [&'static str]) {
        self.b.set_learners(Arc::new(Told(told)), self.now);
        self.exchange();
    }

    /// All that `a` knows of what `b` wants.
    fn known(&self) -> Vec<String> {
        let sets = self.a.interest_sets().filter(|set| set.bridge == *self.b.id());
        let mut known: Vec<String> =
            sets.flat_map(|set| set.filters).map(|filter| filter.as_str().to_owned()).collect();
        known.sort();
        known.dedup();
        known
    }

    fn goes_to_b(&self, text: &str) -> bool {
        let mut set = DestinationSet::default();
        self.a.forwarding().match_topic(&topic(text), &mut set, &mut SmallVec::new());
        !set.is_empty()
    }

    /// Lets time pass in small steps; each must find it so.
    fn all_the_while(&mut self, span: Duration, holds: impl Fn(&Pair) -> bool) {
        let end = self.now + span;
        while self.now < end {
            self.run(ms(10));
            assert!(holds(self), "after {:?} of it: {:?}", span - (end - self.now), self.known());
        }
    }
}

#[test]
fn a_filter_is_told_to_its_audience_only() {
    let mut pair = Pair::connected(Setup::default());
    pair.policies(&["orders"]);
    for text in ["orders.new", "hr.leave", "all.x"] {
        pair.subscribe(text).expect("room");
    }
    pair.run(ms(5));
    assert_eq!(pair.known(), ["all.x", "orders.new"]);
    assert!(pair.goes_to_b("orders.new") && !pair.goes_to_b("hr.leave"));
    let own: Vec<_> = pair.b.interest_sets().filter(|set| set.bridge == *pair.b.id()).collect();
    assert_eq!(own.len(), 3, "a set for each audience");
    pair.disconnect();
    pair.connect();
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.known(), ["all.x", "orders.new"], "nor at any later time");
    assert_eq!(
        pair.b.own_interest_at_neighbours(),
        [(pair.a.id().clone(), true)],
        "it has all that it may have"
    );
}

#[test]
fn covering_stays_inside_an_audience() {
    let mut pair = Pair::connected(Setup::default());
    pair.policies(&["orders"]);
    pair.subscribe("**").expect("room");
    pair.subscribe("orders.new").expect("room");
    pair.subscribe("orders.*").expect("room");
    pair.run(ms(5));
    assert_eq!(pair.known(), ["orders.*"], "what covers it is not told here");
}

#[test]
fn who_keeps_a_filter_over_a_reload_never_misses_it() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("orders.new").expect("room");
    let reloads: [&'static [&'static str]; 4] = [&["orders"], &["orders", "hr"], &["orders"], &["orders"]];
    for told in reloads {
        pair.policies(told);
        pair.all_the_while(ms(900), |pair| pair.goes_to_b("orders.new"));
        assert_eq!(pair.known(), ["orders.new"]);
    }
    let everyone: Vec<_> = pair.a.interest_sets().filter(|set| set.audience == Audience::All).collect();
    assert!(everyone.iter().all(|set| set.filters.is_empty()), "it has left the set for all");
}

#[test]
fn who_may_learn_a_filter_no_more_loses_it_within_a_second_and_gets_it_back_at_once() {
    let mut pair = Pair::connected(Setup::default());
    pair.policies(&["orders"]);
    pair.subscribe("orders.new").expect("room");
    pair.run(ms(5));
    pair.policies(&[]);
    pair.run(ms(1_000));
    assert!(pair.known().is_empty() && !pair.goes_to_b("orders.new"));
    pair.policies(&["orders"]);
    assert_eq!(pair.known(), ["orders.new"]);
    // Back and forth before the first change has ended.
    pair.policies(&[]);
    pair.run(ms(300));
    pair.policies(&["orders"]);
    pair.all_the_while(ms(2_000), |pair| pair.goes_to_b("orders.new"));
    pair.unsubscribe("orders.new");
    pair.run(ms(200));
    assert!(pair.known().is_empty(), "its subscriber was counted once");
}

#[test]
fn restored_interest_moves_too() {
    let mut pair = Pair::connected(Setup::default());
    pair.b.restore_interest(["orders.new", "hr.leave"].map(filter), pair.now);
    pair.exchange();
    assert_eq!(pair.known(), ["hr.leave", "orders.new"]);
    pair.policies(&["orders"]);
    pair.all_the_while(ms(1_000), |pair| pair.goes_to_b("orders.new"));
    assert_eq!(pair.known(), ["orders.new"]);
    pair.run(Duration::from_secs(58));
    assert_eq!(pair.known(), ["orders.new"]);
    pair.run(Duration::from_secs(2));
    assert!(pair.known().is_empty(), "as long as it would have had without the reload");
}

#[test]
fn a_group_moves_with_its_members() {
    let mut pair = Pair::connected(Setup::default());
    let name = GroupName::parse("workers@me").expect("a name");
    let live = |pair: &Pair| {
        let mut found = SmallVec::new();
        pair.a.forwarding().match_topic(&topic("orders.new"), &mut DestinationSet::default(), &mut found);
        found.first().map(|group| group.live)
    };
    pair.b.set_group(&filter("orders.*"), &name, Some(true), pair.now).expect("room");
    pair.exchange();
    pair.policies(&["orders"]);
    pair.b.set_group(&filter("orders.*"), &name, Some(false), pair.now).expect("room");
    pair.exchange();
    pair.all_the_while(ms(1_000), |pair| live(pair) == Some(false));
    pair.policies(&[]);
    pair.run(ms(1_000));
    assert_eq!(live(&pair), None);
    pair.policies(&["orders"]);
    pair.b.set_group(&filter("orders.*"), &name, None, pair.now).expect("room");
    pair.run(ms(1_000));
    assert_eq!(live(&pair), None, "nowhere is it left");
}

// R41
#[test]
fn a_set_that_its_owner_has_forgotten_ends() {
    let mut pair = Pair::connected(Setup::default());
    pair.policies(&["orders", "hr"]);
    for text in ["orders.new", "hr.leave", "all.x"] {
        pair.subscribe(text).expect("room");
    }
    pair.run(ms(5));
    pair.restart_b(2);
    pair.policies(&["orders"]);
    pair.subscribe("orders.new").expect("room");
    pair.connect();
    pair.run(ms(50));
    assert_eq!(pair.known(), ["orders.new"]);
    // Who still remembers has it ended as well, in the run in which the owner has forgotten that it ended.
    pair.restart_b(3);
    pair.connect();
    pair.run(Duration::from_secs(10));
    assert!(pair.known().is_empty());
}

// R23
#[test]
fn what_was_known_of_each_audience_is_known_after_a_restart() {
    let mut pair = Pair::connected(Setup::default());
    pair.policies(&["orders", "hr"]);
    for text in ["orders.new", "hr.leave", "all.x"] {
        pair.subscribe(text).expect("room");
    }
    pair.run(ms(5));
    let owner = pair.b.id().clone();
    let KeptInterest::Whole(mut kept) = pair.a.take_interest_news(&owner) else { panic!("all of it is new") };
    // What changes afterwards is put by as what it changes.
    pair.subscribe("orders.old").expect("room");
    pair.unsubscribe("hr.leave");
    pair.run(ms(500));
    match pair.a.take_interest_news(&owner) {
        KeptInterest::More(more) => kept.extend(more),
        KeptInterest::Whole(_) => panic!("two filters changed"),
    }
    let mut later = Pair::new(Setup::default());
    later.a.recall_interest(kept, later.now).expect("its own words");
    assert_eq!(later.known(), ["all.x", "orders.new", "orders.old"]);
    assert!(later.goes_to_b("orders.new"));
    assert_eq!(later.a.take_interest_news(&owner), KeptInterest::More(Vec::new()), "it is put by already");
}

// R23
#[test]
fn what_an_audience_is_told_after_it_had_ended_is_known_after_a_restart() {
    let mut pair = Pair::connected(Setup::default());
    pair.policies(&["orders"]);
    pair.subscribe("orders.new").expect("room");
    pair.run(ms(5));
    // The owner has forgotten the set, and says that it has ended.
    pair.restart_b(2);
    pair.connect();
    pair.run(ms(500));
    let owner = pair.b.id().clone();
    let KeptInterest::Whole(mut kept) = pair.a.take_interest_news(&owner) else { panic!("all of it is new") };
    pair.policies(&["orders"]);
    pair.subscribe("orders.new").expect("room");
    pair.run(ms(5));
    pair.subscribe("orders.old").expect("room");
    pair.run(ms(5));
    match pair.a.take_interest_news(&owner) {
        KeptInterest::More(more) => kept.extend(more),
        KeptInterest::Whole(_) => panic!("two filters changed"),
    }
    let mut later = Pair::new(Setup::default());
    later.a.recall_interest(kept, later.now).expect("its own words");
    assert_eq!(later.known(), ["orders.new", "orders.old"]);
}

/// As after a crash between two pieces of what was put by (RELIABILITY S5).
#[test]
fn a_part_of_a_set_that_was_put_by_does_not_keep_out_what_follows() {
    let mut pair = Pair::connected(Setup::default());
    let many: Vec<TopicFilter> =
        (0..12_000).map(|number| filter(&format!("plant.sensor-{number}"))).collect();
    pair.b.subscribe_all(&many, pair.now).expect("room");
    pair.run(ms(5));
    let owner = pair.b.id().clone();
    let KeptInterest::Whole(mut kept) = pair.a.take_interest_news(&owner) else { panic!("all of it is new") };
    assert!(kept.len() > 2, "a set in parts");
    kept.pop();
    pair.restart_b(2);
    pair.subscribe("orders.new").expect("room");
    pair.connect();
    pair.run(ms(50));
    match pair.a.take_interest_news(&owner) {
        KeptInterest::Whole(whole) => kept.extend(whole),
        KeptInterest::More(_) => panic!("another run"),
    }
    let mut later = Pair::new(Setup::default());
    later.a.recall_interest(kept, later.now).expect("its own words");
    assert_eq!(later.known(), ["orders.new"]);
}

/// Else each restart would add as much as is allowed of it once.
#[test]
fn changes_that_were_put_by_before_a_restart_count_after_it() {
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("x").expect("room");
    pair.run(ms(5));
    let owner = pair.b.id().clone();
    let KeptInterest::Whole(mut kept) = pair.a.take_interest_news(&owner) else { panic!("all of it is new") };
    let many = |round: usize| -> Vec<TopicFilter> {
        (0..1_000).map(|number| filter(&format!("{}.{round}-{number:04}", "long".repeat(12)))).collect()
    };
    let mut more_bytes = 0;
    let mut put_by = |pair: &mut Pair| match pair.a.take_interest_news(&owner) {
        KeptInterest::More(more) => {
            more_bytes += more.iter().map(|message| message.len()).sum::<usize>();
            kept.extend(more);
            more_bytes
        }
        KeptInterest::Whole(_) => panic!("a little has changed"),
    };
    for round in 0..2 {
        pair.b.subscribe_all(&many(round), pair.now).expect("room");
        pair.run(ms(5));
        put_by(&mut pair);
        many(round).iter().for_each(|filter| pair.b.unsubscribe(filter, pair.now));
        pair.run(ms(500));
        let bytes = put_by(&mut pair);
        assert!(round == 1 || bytes < 200 << 10, "{bytes} bytes");
    }
    assert!(more_bytes > 200 << 10, "{more_bytes} bytes");
    pair.restart_a();
    pair.a.recall_interest(kept, pair.now).expect("its own words");
    assert_eq!(pair.known(), ["x"]);
    pair.connect();
    pair.b.subscribe_all(&many(2), pair.now).expect("room");
    pair.run(ms(5));
    let news = pair.a.take_interest_news(&owner);
    assert!(matches!(news, KeptInterest::Whole(_)), "{more_bytes} bytes and 60 KiB more");
}

// R16
#[test]
fn what_would_make_an_audience_too_many_is_refused() {
    let limits = Limits { audiences_per_owner_max: 2, ..Limits::default() };
    let mut pair = Pair::connected(Setup { limits: [limits; 2], ..Setup::default() });
    pair.policies(&["one", "two", "three"]);
    pair.subscribe("one.x").expect("room");
    pair.subscribe("two.x").expect("room");
    assert_eq!(pair.subscribe("three.x"), Err(InterestFull::Audiences(2)));
    pair.subscribe("one.y").expect("of an audience that is used");
    pair.unsubscribe("two.x");
    pair.run(ms(200));
    pair.subscribe("three.x").expect("room again");
    pair.run(ms(5));
    assert_eq!(pair.known(), ["one.x", "one.y", "three.x"]);
}

#[test]
fn after_a_reload_what_does_not_fit_is_told_to_nobody_else_and_that_is_said() {
    let limits = Limits { audiences_per_owner_max: 2, ..Limits::default() };
    let mut pair = Pair::connected(Setup { limits: [limits; 2], ..Setup::default() });
    for text in ["one.x", "three.x", "two.x"] {
        pair.subscribe(text).expect("room");
    }
    pair.policies(&["one", "two", "three"]);
    pair.run(Duration::from_secs(1));
    assert_eq!((pair.known().len(), pair.b.untold()), (2, 1));
    pair.b.set_learners(Arc::new(Told(&[])), pair.now);
    assert_eq!(pair.b.untold(), 0);
}

/// However often policies change, what is kept of it stays within its bounds.
#[test]
fn many_reloads_leave_few_sets() {
    struct Edition(usize);
    impl Learners for Edition {
        fn audience(&self, _: &TopicFilter) -> Audience {
            Audience::zones(["y", &format!("n{}", self.0)].map(zone_named))
        }
    }
    let mut pair = Pair::connected(Setup::default());
    pair.subscribe("orders.new").expect("room");
    for edition in 0..400 {
        pair.b.set_learners(Arc::new(Edition(edition % 300)), pair.now);
        pair.exchange();
        pair.run(ms(600));
        assert_eq!(pair.known(), ["orders.new"], "edition {edition}");
    }
    for router in [&pair.a, &pair.b] {
        let sets = router.interest_sets().filter(|set| set.bridge == *pair.b.id()).count();
        assert!(sets <= 128, "{sets} sets");
    }
}
