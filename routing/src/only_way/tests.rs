//! What is needed, against the paths with and without each link; and when it is asked.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::OnlyWays;
use crate::limits::DEMAND_KEPT;
use crate::paths::tests::{Costs, PASSAGES, SIZE, bridges, costs, graph, passage};
use crate::paths::{Paths, shortest};
use crate::{BridgeIndex, CarrierSet, DestinationSet, Passage};

fn set(bits: u8) -> DestinationSet {
    (0..SIZE).filter(|at| bits >> at & 1 == 1).map(BridgeIndex).collect()
}

fn paths(ways: &mut OnlyWays, own: BridgeIndex, costs: &Costs, now: Instant) -> Paths {
    Paths::new(own, bridges(), graph(costs), ways.demand(now))
}

fn others(own: BridgeIndex) -> impl Iterator<Item = BridgeIndex> {
    (0..SIZE).map(BridgeIndex).filter(move |at| *at != own)
}

/// Neighbours with a session that are not listed: any that are no neighbours in the graph.
fn held(own: BridgeIndex, costs: &Costs) -> Vec<BridgeIndex> {
    others(own).filter(|at| !costs.contains_key(&link(own, *at))).collect()
}

fn link(a: BridgeIndex, b: BridgeIndex) -> (u16, u16) {
    (a.0.min(b.0), a.0.max(b.0))
}

/// Who is reached from `own`, with one more link.
fn reached(own: BridgeIndex, costs: &Costs, with: Option<BridgeIndex>, passage: &Passage) -> DestinationSet {
    let mut costs = costs.clone();
    costs.extend(with.map(|to| (link(own, to), 1)));
    let table = shortest(own, &bridges(), &graph(&costs), passage);
    others(own).filter(|to| table.way(*to).is_some()).collect()
}

#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn start() -> Instant {
    Instant::now()
}

proptest! {
    #[test]
    fn a_link_is_needed_if_it_alone_leads_where_something_goes(
        costs in costs(),
        events in prop::collection::vec((0..PASSAGES, 0..1_u8 << SIZE), 0..4),
    ) {
        for own in (0..SIZE).map(BridgeIndex) {
            let mut ways = OnlyWays::new(start());
            let paths = paths(&mut ways, own, &costs, start());
            for (bits, to) in &events {
                paths.with_class(&passage(*bits), &set(*to), |_| ());
            }
            let held = held(own, &costs);
            let needs = |neighbour: &BridgeIndex, (bits, to): &(usize, u8)| {
                let passage = passage(*bits);
                let [without, with] = [None, Some(*neighbour)].map(|with| reached(own, &costs, with, &passage));
                let carries = passage.carriers.contains(paths.zone(own));
                carries && set(*to).iter().any(|to| with.contains(to) && !without.contains(to))
            };
            let expected: DestinationSet =
                held.iter().copied().filter(|one| events.iter().any(|event| needs(one, event))).collect();
            let found: DestinationSet = ways.among(held, &paths).iter().copied().collect();
            prop_assert_eq!(found, expected, "from {}", own.0);
        }
    }

    /// Who reaches a neighbour otherwise reaches whoever is behind it: this is why nothing is noted where all may carry.
    #[test]
    fn where_all_may_carry_a_link_to_who_is_reached_leads_nowhere_else(costs in costs()) {
        for own in (0..SIZE).map(BridgeIndex) {
            let without = reached(own, &costs, None, &Passage::ANY);
            for neighbour in without.iter() {
                let with = reached(own, &costs, Some(neighbour), &Passage::ANY);
                prop_assert_eq!(&with, &without);
            }
        }
    }
}

/// A square in which the link between 0 and 1 is held back: zones p, q, r, p.
fn square() -> Costs {
    Costs::from([((0, 2), 1), ((1, 2), 1), ((1, 3), 1)])
}

#[test]
fn nothing_is_judged_twice() {
    let (mut ways, now) = (OnlyWays::new(start()), start());
    let paths = paths(&mut ways, BridgeIndex(0), &square(), now);
    let held = vec![BridgeIndex(1)];
    let alone = passage(0b011);
    paths.with_class(&alone, &set(0b1000), |_| ());
    assert_eq!(ways.among(held.clone(), &paths), [BridgeIndex(1)]);
    // Had it been judged again it would be right.
    let judged = |ways: &mut OnlyWays| ways.judged.as_mut().expect("it was judged").needed.clear();
    judged(&mut ways);
    paths.with_class(&alone, &set(0b1000), |_| ());
    assert_eq!(ways.among(held.clone(), &paths), []);
    // Something goes elsewhere, the links are others, somebody else is held back.
    paths.with_class(&alone, &set(0b0010), |_| ());
    assert_eq!(ways.among(held.clone(), &paths), [BridgeIndex(1)]);
    judged(&mut ways);
    let after = paths.after(graph(&square()), &[], ways.demand(now));
    assert_eq!(ways.among(held.clone(), &after), [BridgeIndex(1)]);
    judged(&mut ways);
    assert_eq!(ways.among(vec![BridgeIndex(1), BridgeIndex(3)], &after), [BridgeIndex(1), BridgeIndex(3)]);
}

/// R43: over a link that no event may cross nothing waits for.
#[test]
fn a_denied_link_is_needed_by_nobody_and_makes_others_needed() {
    let (mut ways, now) = (OnlyWays::new(start()), start());
    // 0 is of p, 1 and 4 of q, 2 and 5 of r, 3 of p.
    let paths = paths(&mut ways, BridgeIndex(0), &square(), now);
    let held = vec![BridgeIndex(1)];
    let without = |pair: usize| passage(0b111 | 0b1000 << pair);
    // Without q - r the only way to 1 and 3 is the one that is held back; without p - q it is of no use.
    paths.with_class(&without(0), &set(0b0010), |table| assert!(table.way(BridgeIndex(1)).is_some()));
    assert_eq!(ways.among(held.clone(), &paths), []);
    paths.with_class(&without(1), &set(0b0010), |table| assert!(table.way(BridgeIndex(1)).is_none()));
    assert_eq!(ways.among(held, &paths), [BridgeIndex(1)]);
}

#[test]
fn what_was_needed_long_ago_is_forgotten() {
    let start = start();
    let mut ways = OnlyWays::new(start);
    let first = paths(&mut ways, BridgeIndex(0), &square(), start);
    first.with_class(&passage(0b011), &set(0b1000), |_| ());
    let mut check = |now: Instant, expected: &[BridgeIndex]| {
        let paths = first.after(graph(&square()), &[], ways.demand(now));
        assert_eq!(ways.among(vec![BridgeIndex(1)], &paths), expected, "after {:?}", now - start);
    };
    check(start + DEMAND_KEPT * 10, &[BridgeIndex(1)]);
    check(start + DEMAND_KEPT * 11 - Duration::from_secs(1), &[BridgeIndex(1)]);
    check(start + DEMAND_KEPT * 11, &[]);
}

#[test]
fn classes_beyond_those_with_a_place_are_forwarded_and_not_noted() {
    let (mut ways, now) = (OnlyWays::new(start()), start());
    let paths = paths(&mut ways, BridgeIndex(0), &square(), now);
    for other in 0..100 {
        let zones = ["p".to_owned(), format!("other-{other}")];
        let zones = zones.map(|zone| crate::ZoneName::parse(&zone).expect("a name"));
        paths.with_class(&CarrierSet::zones(zones).into(), &set(0b0100), |table| {
            assert!(table.way(BridgeIndex(2)).is_some());
        });
    }
    paths.with_class(&passage(0b011), &set(0b1000), |_| ());
    assert_eq!(ways.among(vec![BridgeIndex(1)], &paths), []);
}
