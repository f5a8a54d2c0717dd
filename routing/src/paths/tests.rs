//! The tree against every path there is, and against itself computed anew after changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Paths, shortest};
use crate::graph::{EdgeChange, Graph};
use crate::{BridgeId, BridgeIndex, CarrierSet, DeniedLinks, Passage, ZoneName};

/// By (lower end, higher end).
pub(crate) type Costs = BTreeMap<(u16, u16), u32>;
/// Cost, hops, bridges after the first.
type Best = (u64, usize, Vec<BridgeIndex>);

pub(crate) const SIZE: u16 = 7;

pub(crate) fn bridges() -> Arc<Vec<(BridgeId, ZoneName)>> {
    let bridge = |at| {
        let zone = ZoneName::parse(["p", "q", "r"][usize::from(at % 3)]).expect("a name");
        (BridgeId::parse(&format!("b{at}")).expect("a name"), zone)
    };
    Arc::new((0..SIZE).map(bridge).collect())
}

pub(crate) fn graph(costs: &Costs) -> Graph {
    let mut nodes = vec![Vec::new(); usize::from(SIZE)];
    for (&(a, b), &cost) in costs {
        nodes[usize::from(a)].push((BridgeIndex(b), cost));
        nodes[usize::from(b)].push((BridgeIndex(a), cost));
    }
    nodes.iter_mut().for_each(|links| links.sort());
    Graph::new(&nodes)
}

fn zone(name: &str) -> ZoneName {
    ZoneName::parse(name).expect("a name")
}

/// Some of the three zones and pairs of them, by bits: three for who may carry, three for what is denied.
pub(crate) fn passage(bits: usize) -> Passage {
    let names = ["p", "q", "r"].into_iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0);
    let pairs = [("p", "q"), ("q", "r"), ("r", "p")];
    let denied = pairs.into_iter().enumerate().filter(|(i, _)| bits & (8 << i) != 0);
    Passage {
        carriers: CarrierSet::zones(names.map(|(_, name)| zone(name))),
        denied: DeniedLinks::between(denied.map(|(_, (a, b))| (zone(a), zone(b)))),
    }
}

/// How many [`passage`] tells apart.
pub(crate) const PASSAGES: usize = 64;

fn try_every_path(graph: &Graph, passage: &Passage, path: &mut Best, from: u16, best: &mut [Option<Best>]) {
    let at = path.2.last().copied().unwrap_or(BridgeIndex(from));
    let zone = &bridges()[usize::from(at.0)].1;
    if !path.2.is_empty() && best[usize::from(at.0)].as_ref().is_none_or(|known| *path < *known) {
        best[usize::from(at.0)] = Some(path.clone());
    }
    if !path.2.is_empty() && !passage.carriers.contains(zone) {
        return;
    }
    for &(to, cost) in graph.of(at) {
        let is_denied = passage.denied.contains(zone, &bridges()[usize::from(to.0)].1);
        if to.0 != from && !path.2.contains(&to) && !is_denied {
            let mut longer = (path.0 + u64::from(cost), path.1 + 1, path.2.clone());
            longer.2.push(to);
            try_every_path(graph, passage, &mut longer, from, best);
        }
    }
}

/// Few costs, so that most paths have equals.
pub(crate) fn costs() -> impl Strategy<Value = Costs> {
    let links = (0..SIZE, 0..SIZE).prop_filter("two ends", |(a, b)| a < b);
    prop::collection::btree_map(links, 1..4_u32, 0..16)
}

proptest! {
    #[test]
    fn the_tree_has_the_best_of_all_paths(costs in costs(), bits in 0..PASSAGES) {
        let graph = graph(&costs);
        let passage = passage(bits);
        for from in 0..SIZE {
            let table = shortest(BridgeIndex(from), &bridges(), &graph, &passage);
            let mut best = vec![None; usize::from(SIZE)];
            try_every_path(&graph, &passage, &mut (0, 0, Vec::new()), from, &mut best);
            for to in (0..SIZE).map(BridgeIndex) {
                let found = table.way(to).map(|way| (way.cost, usize::from(way.hops), table.path(to)));
                prop_assert_eq!(&found, &best[usize::from(to.0)], "{} to {}", from, to.0);
                let next = table.way(to).map(|way| way.next);
                prop_assert_eq!(next, found.and_then(|(_, _, path)| path.first().copied()));
            }
        }
    }

    /// R43: on the way to a destination and back, whatever else is asked.
    #[test]
    fn no_path_crosses_a_denied_link(costs in costs(), bits in 0..PASSAGES) {
        let (bridges, graph, passage) = (bridges(), graph(&costs), passage(bits));
        let zone = |at: BridgeIndex| &bridges[usize::from(at.0)].1;
        for from in (0..SIZE).map(BridgeIndex) {
            let table = shortest(from, &bridges, &graph, &passage);
            for to in (0..SIZE).map(BridgeIndex) {
                let path = table.path(to);
                let crossed = std::iter::once(&from).chain(&path).zip(&path);
                for (one, other) in crossed {
                    prop_assert!(!passage.denied.contains(zone(*one), zone(*other)), "{} {}", one.0, other.0);
                }
            }
        }
    }

    /// Several changes at once, of links and of their costs.
    #[test]
    fn a_table_that_is_kept_is_the_one_that_would_be_computed(before in costs(), after in costs(), share in 1..5_u16) {
        let mut now = before.clone();
        let mut changes = Vec::new();
        let links = before.keys().chain(after.keys()).filter(|(a, b)| (a + b) % share == 0);
        for &link in links {
            let (was, is) = (now.get(&link).copied(), after.get(&link).copied());
            if was != is {
                match is {
                    Some(cost) => now.insert(link, cost),
                    None => now.remove(&link),
                };
                changes.push(EdgeChange { ends: [BridgeIndex(link.0), BridgeIndex(link.1)], before: was, after: is });
            }
        }
        for own in (0..SIZE).map(BridgeIndex) {
            let paths = Paths::new(own, bridges(), graph(&before), Arc::default());
            paths.all();
            let paths = paths.after(graph(&now), &changes, Arc::default());
            prop_assert_eq!(paths.all(), &shortest(own, &bridges(), &graph(&now), &Passage::ANY));
        }
    }
}

#[test]
fn a_link_outside_the_tree_costs_no_computation() {
    let costs = Costs::from([((0, 1), 1), ((0, 2), 1), ((1, 2), 3)]);
    let paths = Paths::new(BridgeIndex(0), bridges(), graph(&costs), Arc::default());
    paths.all();
    let change = EdgeChange { ends: [BridgeIndex(1), BridgeIndex(2)], before: Some(3), after: None };
    let without = graph(&Costs::from([((0, 1), 1), ((0, 2), 1)]));
    let after = paths.after(without, &[change], Arc::default());
    assert!(std::ptr::eq(paths.all(), after.all()));
}
