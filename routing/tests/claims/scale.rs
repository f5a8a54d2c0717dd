//! A bridge that wants very much tells of it in proportion to what changes.

use meshbridge_routing::wire::MESSAGE_BYTES_MAX;
use meshbridge_routing::{DestinationSet, InterestFull, LinkId, Router, RouterEvent};
use meshbridge_topic::TopicFilter;

use crate::limits;
use crate::pair::{Pair, Setup, filter, ms, topic};

const MANY: usize = 20_000;

fn many() -> Vec<TopicFilter> {
    (0..MANY).map(|number| filter(&format!("plant.line-{}.sensor-{number}", number % 97))).collect()
}

/// Hands over what `b` says of its interest, and gives how many messages and bytes it took.
fn told(pair: &mut Pair) -> (usize, usize) {
    let mut sum = (0, 0);
    loop {
        let said: Vec<_> = std::iter::from_fn(|| pair.b.poll_transmit()).collect();
        let answers: Vec<_> = std::iter::from_fn(|| pair.a.poll_transmit()).collect();
        if said.is_empty() && answers.is_empty() {
            return sum;
        }
        for sent in said {
            assert!(sent.payload.len() <= MESSAGE_BYTES_MAX);
            sum = (sum.0 + 1, sum.1 + sent.payload.len());
            pair.a.handle_message(sent.link, sent.payload, pair.now).expect("kept");
        }
        for sent in answers {
            pair.b.handle_message(sent.link, sent.payload, pair.now).expect("kept");
        }
    }
}

fn wanted(router: &Router, pair: &Pair) -> usize {
    router.interest_sets().filter(|set| set.bridge == *pair.b.id()).map(|set| set.filters.len()).sum()
}

// R11, R14
#[test]
fn many_filters_of_one_change_are_few_messages_and_one_more_is_a_small_one() {
    let mut pair = Pair::connected(Setup::default());
    pair.run(ms(5));
    pair.b.subscribe_all(&many(), pair.now).expect("room");
    let (messages, bytes) = told(&mut pair);
    assert_eq!(wanted(&pair.a, &pair), MANY);
    assert!(messages <= 12 && bytes < MANY * 32, "{messages} messages, {bytes} bytes");
    pair.run(ms(5));
    pair.b.subscribe(&filter("one.more"), pair.now).expect("room");
    let (messages, bytes) = told(&mut pair);
    assert_eq!(wanted(&pair.a, &pair), MANY + 1);
    assert!(messages == 1 && bytes < 512, "{messages} messages, {bytes} bytes");
}

// R11
#[test]
fn who_was_away_for_a_while_is_told_what_changed_meanwhile() {
    let mut pair = Pair::connected(Setup::default());
    pair.b.subscribe_all(&many(), pair.now).expect("room");
    pair.run(ms(5));
    pair.disconnect();
    for number in 0..300 {
        pair.b.subscribe(&filter(&format!("later.{number}")), pair.now).expect("room");
        pair.now += ms(2);
        pair.b.handle_timeout(pair.now);
    }
    pair.links += 1;
    let link = LinkId(pair.links);
    pair.a.handle_link_up(link, pair.b.id().clone(), 10, pair.now);
    pair.b.handle_link_up(link, pair.a.id().clone(), 10, pair.now);
    let (_, bytes) = told(&mut pair);
    assert_eq!(wanted(&pair.a, &pair), MANY + 300);
    assert!(bytes < 300 * 32 + 4_096, "{bytes} bytes");
}

/// Each table that is handed out makes the next change copy what it changes.
#[test]
fn what_is_learned_in_one_turn_makes_one_table() {
    let mut pair = Pair::connected(Setup::default());
    pair.run(ms(5));
    let before = pair.a.forwarding().generation();
    pair.b.subscribe_all(&many(), pair.now).expect("room");
    pair.a.begin_turn();
    let (messages, _) = told(&mut pair);
    assert!(messages > 2 && pair.a.forwarding().generation() == before, "{messages} messages");
    pair.a.end_turn(pair.now);
    assert_eq!(pair.a.forwarding().generation(), before + 1);
    let mut found = DestinationSet::default();
    let last = topic(many().last().expect("some").as_str());
    pair.a.forwarding().match_topic(&last, &mut found, &mut Default::default());
    assert_eq!(found.len(), 1);
}

// R12, R14
#[test]
fn who_comes_while_a_change_waits_to_be_told_gets_a_whole_set() {
    let mut pair = Pair::new(Setup::default());
    pair.subscribe("a").expect("room");
    pair.connect();
    pair.subscribe("b").expect("room");
    pair.run(ms(5));
    pair.restart_a();
    pair.subscribe("c").expect("room");
    pair.subscribe("d").expect("room");
    pair.unsubscribe("b");
    pair.links += 1;
    let link = LinkId(pair.links);
    pair.a.handle_link_up(link, pair.b.id().clone(), 10, pair.now);
    pair.b.handle_link_up(link, pair.a.id().clone(), 10, pair.now);
    pair.exchange();
    pair.check_seen(&["a", "b", "c"]);
    pair.run(ms(500));
    pair.check_seen(&["a", "c", "d"]);
    assert!(!pair.events.iter().any(|event| matches!(event, RouterEvent::Refused { .. })));
}

// R16
#[test]
fn filters_of_one_subscription_are_taken_all_or_none() {
    let mut pair = Pair::connected(Setup { limits: [limits(3, 10); 2], ..Setup::default() });
    pair.subscribe("a").expect("room");
    let three = ["b", "c", "d"].map(filter);
    assert_eq!(pair.b.subscribe_all(&three, pair.now), Err(InterestFull::Owner(3)));
    pair.run(ms(500));
    pair.check_seen(&["a"]);
    pair.b.subscribe_all(&three[..2], pair.now).expect("room");
    pair.run(ms(5));
    pair.check_seen(&["a", "b", "c"]);
}

// R13
#[test]
fn a_cover_puts_many_away_and_brings_them_back_when_it_goes() {
    let mut pair = Pair::connected(Setup::default());
    pair.b.subscribe_all(&many(), pair.now).expect("room");
    pair.subscribe("plant.**").expect("room");
    pair.run(ms(5));
    pair.check_seen(&["plant.**"]);
    pair.subscribe("plant.line-1.*").expect("room");
    pair.unsubscribe("plant.**");
    pair.run(ms(500));
    let left = many().iter().filter(|one| !one.as_str().starts_with("plant.line-1.")).count();
    assert_eq!(wanted(&pair.a, &pair), left + 1);
}

// R15
#[test]
fn what_ends_at_once_ends_in_parts_that_leave_time_for_links() {
    let mut pair = Pair::connected(Setup::default());
    pair.b.subscribe_all(&many(), pair.now).expect("room");
    pair.run(ms(5));
    many().iter().for_each(|filter| pair.b.unsubscribe(filter, pair.now));
    pair.now += ms(200);
    pair.b.handle_timeout(pair.now);
    told(&mut pair);
    let left = wanted(&pair.a, &pair);
    assert!(left > MANY / 2 && left < MANY, "{left} left after one turn");
    pair.run(ms(1));
    pair.check_seen(&[]);
}

/// In the time of a test: each of them must not be compared with all that are there, when it comes and when it goes.
#[test]
fn many_filters_that_begin_with_a_wildcard_come_and_go() {
    let mut pair = Pair::new(Setup::default());
    for shape in ["*.dev-N", "plant.*.dev-N.**", "*.dev-N.*"] {
        let many: Vec<TopicFilter> =
            (0..MANY / 2).map(|number| filter(&shape.replace('N', &number.to_string()))).collect();
        pair.b.subscribe_all(&many, pair.now).expect("room");
    }
    pair.connect();
    pair.run(ms(5));
    assert_eq!(wanted(&pair.a, &pair), 3 * (MANY / 2));
    for shape in ["*.dev-N", "plant.*.dev-N.**", "*.dev-N.*"] {
        (0..MANY / 2).for_each(|number| {
            pair.b.unsubscribe(&filter(&shape.replace('N', &number.to_string())), pair.now);
        });
    }
    pair.run(ms(500));
    assert_eq!(wanted(&pair.a, &pair), 0);
}
