//! The ledger against a slow and obvious one that keeps everything it was told and looks through all of it for each question.

use std::collections::BTreeMap;
use std::time::Duration;

use meshbridge_ledger::{Delivery, Demands, End, Ledger, Topics, Verdict};
use proptest::prelude::*;

/// Bridges are numbers, and the first places of the run are one subscription at 0 and two at 1.
const PLACES: [usize; 3] = [0, 1, 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    origin: u8,
    epoch: u8,
    lane: u8,
    seq: u8,
}

impl Key {
    fn text(self) -> String {
        format!("bridge-{}:{}-{:016x}:{}:{}", self.origin, self.epoch, self.epoch, self.lane, self.seq)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submitted { id: u8, topic: u8 },
    Accepted { id: u8, key: Key, destinations: Vec<u8>, denied: Vec<u8> },
    Offered { place: usize, id: u8, key: Key, count: u32 },
    Acknowledged { place: usize, id: u8 },
    Ended { destination: u8, key: Key, end: End },
    Established { place: usize },
    Closed { place: usize },
}

fn key() -> impl Strategy<Value = Key> {
    (0..2_u8, 1..3_u8, 0..2_u8, 0..4_u8).prop_map(|(origin, epoch, lane, seq)| Key {
        origin,
        epoch,
        lane,
        seq,
    })
}

/// Mostly an event has its own key, so that runs are not all clashes.
fn id_and_key() -> impl Strategy<Value = (u8, Key)> {
    (0..6_u8, prop::option::weighted(0.2, key())).prop_map(|(id, other)| {
        let own = Key { origin: id % 2, epoch: 1 + id % 3 % 2, lane: 0, seq: id };
        (id, other.unwrap_or(own))
    })
}

fn step() -> impl Strategy<Value = Step> {
    let bridges = || prop::collection::vec(0..2_u8, 0..3);
    let end = prop_oneof![
        Just(End::Delivered),
        Just(End::Expired),
        Just(End::Moved),
        Just(End::Denied("rule".to_owned()))
    ];
    prop_oneof![
        4 => (0..6_u8, 0..2_u8).prop_map(|(id, topic)| Step::Submitted { id, topic }),
        4 => (id_and_key(), bridges(), bridges()).prop_map(|((id, key), destinations, denied)| {
            Step::Accepted { id, key, destinations, denied }
        }),
        8 => (0..3_usize, id_and_key(), 1..4_u32).prop_map(|(place, (id, key), count)| {
            Step::Offered { place, id, key, count }
        }),
        2 => (0..3_usize, 0..6_u8).prop_map(|(place, id)| Step::Acknowledged { place, id }),
        2 => (0..2_u8, id_and_key(), end).prop_map(|(destination, (_, key), end)| {
            Step::Ended { destination, key, end }
        }),
        1 => (0..3_usize).prop_map(|place| Step::Established { place }),
        1 => (0..3_usize).prop_map(|place| Step::Closed { place }),
    ]
}

fn wants(place: usize, topic: u8) -> bool {
    place != 2 || topic == 1
}

fn fed(steps: &[Step]) -> Ledger {
    let mut ledger = Ledger::default();
    let names = |bridges: &[u8]| bridges.iter().map(|one| format!("bridge-{one}")).collect::<Vec<_>>();
    let places: Vec<_> = PLACES
        .iter()
        .enumerate()
        .map(|(at, bridge)| {
            let topics = if at == 2 { Topics::Only(vec!["1".to_owned()]) } else { Topics::All };
            ledger.subscribed(&format!("bridge-{bridge}"), &at.to_string(), &topics)
        })
        .collect();
    for step in steps {
        match step {
            Step::Submitted { id, topic } => ledger.submitted(&id.to_string(), &topic.to_string()),
            Step::Accepted { id, key, destinations, denied } => {
                let (destinations, denied) = (names(destinations), names(denied));
                ledger.accepted(
                    &key.text(),
                    &id.to_string(),
                    destinations.iter().map(String::as_str),
                    denied.iter().map(String::as_str),
                );
            }
            Step::Offered { place, id, key, count } => {
                let (key, id, at) = (key.text(), id.to_string(), Duration::ZERO);
                let one = Delivery { key: &key, id: &id, count: *count, is_out_of_order: false, at };
                ledger.delivered(places[*place], one);
            }
            Step::Acknowledged { place, id } => ledger.acknowledged(places[*place], &id.to_string()),
            Step::Ended { destination, key, end } => {
                ledger.ended(&format!("bridge-{destination}"), &key.text(), end.clone());
            }
            Step::Established { place } => ledger.established(places[*place]),
            Step::Closed { place } => ledger.closed(places[*place]),
        }
    }
    ledger
}

struct Oracle<'a>(&'a [Step]);

impl Oracle<'_> {
    fn verdicts(&self) -> BTreeMap<Verdict, u64> {
        let mut all = BTreeMap::new();
        let mut add = |verdict, cases: u64| {
            if cases > 0 {
                *all.entry(verdict).or_default() += cases;
            }
        };
        for at in 0..self.0.len() {
            add(Verdict::Repeated, u64::from(self.is_repeated(at)));
            add(Verdict::OutOfOrder, u64::from(self.is_out_of_order(at)));
            add(Verdict::Unauthorised, self.late(at));
            add(Verdict::BadKey, u64::from(self.is_clash(at)));
            add(Verdict::OutOfBalance, u64::from(self.is_second_end(at)));
        }
        for id in 0..6 {
            for place in 0..3 {
                add(Verdict::Unauthorised, u64::from(self.has(place, id) && !self.may_have(place, id)));
                add(Verdict::Lost, u64::from(!self.has(place, id) && self.is_owed(place, id)));
            }
        }
        all
    }

    /// The offers of an event at a place before a step.
    fn offers(&self, place: usize, id: u8, before: usize) -> Vec<(usize, Key, u32)> {
        let offers = self.0[..before].iter().enumerate().filter_map(|(at, step)| match step {
            Step::Offered { place: p, id: i, key, count } if (*p, *i) == (place, id) => {
                Some((at, *key, *count))
            }
            _ => None,
        });
        offers.collect()
    }

    fn end(&self, destination: usize, key: Key, before: usize) -> Option<&End> {
        self.0[..before].iter().find_map(|step| match step {
            Step::Ended { destination: d, key: k, end } if (usize::from(*d), *k) == (destination, key) => {
                Some(end)
            }
            _ => None,
        })
    }

    fn is_repeated(&self, at: usize) -> bool {
        let Step::Offered { place, id, key, count } = &self.0[at] else { return false };
        let offers = self.offers(*place, *id, at);
        let Some((_, last, _)) = offers.last() else { return false };
        if last != key {
            let end = self.end(PLACES[*place], *last, self.0.len());
            return end.is_none_or(|end| *end == End::Delivered);
        }
        let streak: Vec<_> = offers.iter().rev().take_while(|(_, before, _)| before == key).collect();
        let began = streak.last().expect("the last offer is in it").0;
        let is_acknowledged = self.0[began..at]
            .iter()
            .any(|step| matches!(step, Step::Acknowledged { place: p, id: i } if (p, i) == (place, id)));
        is_acknowledged || streak.iter().any(|(_, _, before)| before >= count)
    }

    /// An offer that is not the next attempt of the one before it.
    fn entry(&self, at: usize) -> Option<(usize, Key)> {
        let Step::Offered { place, id, key, .. } = &self.0[at] else { return None };
        let is_retry = self.offers(*place, *id, at).last().is_some_and(|(_, last, _)| last == key);
        (!is_retry).then_some((*place, *key))
    }

    fn is_out_of_order(&self, at: usize) -> bool {
        let Step::Offered { count: 1, .. } = &self.0[at] else { return false };
        let Some((place, key)) = self.entry(at) else { return false };
        (0..at).filter_map(|before| self.entry(before)).any(|(other, before)| {
            other == place
                && (before.origin, before.lane) == (key.origin, key.lane)
                && (before.epoch, before.seq) > (key.epoch, key.seq)
        })
    }

    fn late(&self, at: usize) -> u64 {
        let Step::Offered { place, key, .. } = &self.0[at] else { return 0 };
        let closed = self.is_closed(*place, at);
        let end = self.end(PLACES[*place], *key, at);
        u64::from(closed) + u64::from(end.is_some_and(|end| !matches!(end, End::Delivered | End::Moved)))
    }

    fn is_closed(&self, place: usize, before: usize) -> bool {
        self.0[..before].iter().any(|step| matches!(step, Step::Closed { place: p } if *p == place))
    }

    fn keyed(&self, at: usize) -> Option<(u8, Key)> {
        match &self.0[at] {
            Step::Accepted { id, key, .. } | Step::Offered { id, key, .. } => Some((*id, *key)),
            _ => None,
        }
    }

    fn is_clash(&self, at: usize) -> bool {
        let Some((id, key)) = self.keyed(at) else { return false };
        let owner = (0..at).filter_map(|before| self.keyed(before)).find(|(_, before)| *before == key);
        owner.is_some_and(|(owner, _)| owner != id)
    }

    fn is_second_end(&self, at: usize) -> bool {
        let Step::Ended { destination, key, end } = &self.0[at] else { return false };
        self.end(usize::from(*destination), *key, at).is_some_and(|first| first != end)
    }

    fn has(&self, place: usize, id: u8) -> bool {
        !self.offers(place, id, self.0.len()).is_empty()
    }

    fn topic(&self, id: u8) -> Option<u8> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Submitted { id: i, topic } if *i == id => Some(*topic),
            _ => None,
        })
    }

    fn wanted(&self, place: usize, id: u8) -> bool {
        // An event that was accepted and never submitted has a topic that no list names.
        self.topic(id).map_or(place != 2, |topic| wants(place, topic))
    }

    fn answers(&self, id: u8) -> Vec<(&Vec<u8>, &Vec<u8>)> {
        let answers = self.0.iter().filter_map(|step| match step {
            Step::Accepted { id: i, destinations, denied, .. } if *i == id => Some((destinations, denied)),
            _ => None,
        });
        answers.collect()
    }

    fn names(&self, place: usize, id: u8) -> bool {
        let holds = |list: &Vec<u8>| list.iter().any(|one| usize::from(*one) == PLACES[place]);
        self.answers(id).into_iter().any(|(destinations, _)| holds(destinations))
    }

    fn denies(&self, place: usize, id: u8) -> bool {
        let holds = |list: &Vec<u8>| list.iter().any(|one| usize::from(*one) == PLACES[place]);
        self.answers(id).into_iter().any(|(_, denied)| holds(denied))
    }

    fn keys(&self, id: u8) -> Vec<Key> {
        let keyed = (0..self.0.len()).filter_map(|at| self.keyed(at));
        keyed.filter(|(owner, _)| *owner == id).map(|(_, key)| key).collect()
    }

    fn may_have(&self, place: usize, id: u8) -> bool {
        let moved = |key: &Key| (0..2).any(|to| self.end(to, *key, self.0.len()) == Some(&End::Moved));
        let is_known = self.topic(id).is_some() || !self.answers(id).is_empty();
        is_known
            && self.wanted(place, id)
            && (self.answers(id).is_empty() || self.names(place, id) || self.keys(id).iter().any(moved))
    }

    fn is_owed(&self, place: usize, id: u8) -> bool {
        let has_end =
            |key: &Key| self.end(PLACES[place], *key, self.0.len()).is_some_and(|end| *end != End::Delivered);
        let stays = !self.is_closed(place, self.0.len()) && !self.keys(id).iter().any(has_end);
        let is_known_interest = || {
            let established =
                self.0.iter().position(|step| matches!(step, Step::Established { place: p } if *p == place));
            established.is_some_and(|from| self.first_seen(id).is_some_and(|first| first > from))
        };
        let sibling = || (0..3).any(|other| PLACES[other] == PLACES[place] && self.has(other, id));
        let is_due = if self.answers(id).is_empty() {
            sibling()
        } else {
            self.names(place, id) || (is_known_interest() && !self.denies(place, id))
        };
        stays && self.wanted(place, id) && is_due
    }

    fn first_seen(&self, id: u8) -> Option<usize> {
        self.0.iter().position(|step| match step {
            Step::Submitted { id: i, .. } | Step::Accepted { id: i, .. } | Step::Offered { id: i, .. } => {
                *i == id
            }
            _ => false,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_finds_what_a_slow_one_finds(steps in prop::collection::vec(step(), 0..24)) {
        let report = fed(&steps).judge(&Demands::default());
        let counts: BTreeMap<Verdict, u64> =
            report.findings.iter().map(|(verdict, found)| (*verdict, found.count)).collect();
        prop_assert_eq!(counts, Oracle(&steps).verdicts(), "{}", report);
    }
}

/// The random runs are not all about one thing: every verdict the oracle knows comes up, and so do clean runs.
#[test]
fn random_runs_meet_every_verdict() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<Option<Verdict>, u32> = BTreeMap::new();
    for _ in 0..2_000 {
        let steps = prop::collection::vec(step(), 0..24).new_tree(&mut runner).expect("no filter").current();
        let verdicts = Oracle(&steps).verdicts();
        let none = verdicts.is_empty().then_some(None);
        for verdict in none.into_iter().chain(verdicts.into_keys().map(Some)) {
            *met.entry(verdict).or_default() += 1;
        }
    }
    assert_eq!(met.len(), 7, "{met:?}");
    assert!(met.values().all(|times| *times >= 10), "{met:?}");
}
