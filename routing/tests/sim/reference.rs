//! What must hold in quiet, computed from global knowledge by other means than the router's.

use std::collections::BTreeSet;

use meshbridge_routing::{BridgeIndex, CarrierSet, DestinationSet, Router, Split, ZoneName};
use meshbridge_topic::{Topic, TopicFilter};

use crate::world::World;

const TOPICS: [&str; 6] = ["a", "a.b", "a.x.y", "c.d", "q", "c.x"];

fn router(world: &World, node: usize) -> &Router {
    world.nodes[node].router.as_ref().expect("all are up in quiet")
}

fn classes() -> Vec<CarrierSet> {
    let zone = |name: &str| ZoneName::parse(name).expect("a name");
    vec![
        CarrierSet::All,
        CarrierSet::zones([]),
        CarrierSet::zones([zone("z0"), zone("z2")]),
        CarrierSet::zones([zone("z1"), zone("z2"), zone("z3")]),
    ]
}

/// The best of all simple paths by (cost, hops, names), found by trying each one.
fn best_path(world: &World, from: usize, to: usize, carriers: &CarrierSet) -> Option<Vec<usize>> {
    fn visit(
        world: &World,
        to: usize,
        carriers: &CarrierSet,
        cost: u64,
        path: &mut Vec<usize>,
        best: &mut Option<(u64, usize, Vec<usize>)>,
    ) {
        let at = *path.last().expect("starts with the origin");
        if at == to {
            let found = (cost, path.len(), path.clone());
            if best.as_ref().is_none_or(|best| found < *best) {
                *best = Some(found);
            }
            return;
        }
        if path.len() > 1 && !carriers.contains(&world.nodes[at].zone) {
            return;
        }
        for wire in world.wires.iter().filter(|wire| wire.session.is_some() && wire.ends.contains(&at)) {
            let next = wire.ends[usize::from(wire.ends[0] == at)];
            if !path.contains(&next) {
                path.push(next);
                visit(world, to, carriers, cost + u64::from(wire.cost), path, best);
                path.pop();
            }
        }
    }
    let mut best = None;
    visit(world, to, carriers, 0, &mut vec![from], &mut best);
    best.map(|(_, _, path)| path)
}

/// Follows a frame through the federation: the path of each copy that arrived, and who was given up.
fn follow(
    world: &World,
    origin: usize,
    set: &DestinationSet,
    carriers: &CarrierSet,
) -> (Vec<Vec<usize>>, BTreeSet<usize>) {
    let mut arrived = Vec::new();
    let mut unreachable = BTreeSet::new();
    let mut frames = vec![(vec![origin], set.clone())];
    let mut split = Split::default();
    while let Some((path, set)) = frames.pop() {
        let at = *path.last().expect("never empty");
        let before: BTreeSet<usize> = path[..path.len() - 1].iter().copied().collect();
        assert!(!before.contains(&at), "invariant_no_forwarding_loop: {path:?}");
        let forwarding = router(world, at).forwarding();
        let from = (path.len() > 1).then(|| &world.nodes[path[path.len() - 2]].id);
        forwarding.split(&set, carriers, from, &mut split);
        assert!(split.parked.is_empty(), "parked in quiet at {at}: {path:?}");
        unreachable.extend(split.unreachable.iter().map(|index| usize::from(index.0)));
        if split.here {
            arrived.push(path.clone());
        }
        for hop in &split.hops {
            let wire = world.wires.iter().find(|wire| wire.session == Some(hop.link)).expect("a living link");
            let next = usize::from(hop.next.0);
            assert!(wire.ends.contains(&at) && wire.ends.contains(&next), "the link leads to the next hop");
            frames.push(([path.clone(), vec![next]].concat(), hop.destinations.clone()));
        }
    }
    (arrived, unreachable)
}

fn for_each_frame(
    world: &World,
    mut check: impl FnMut(usize, &CarrierSet, Vec<Vec<usize>>, BTreeSet<usize>),
) {
    for origin in 0..world.nodes.len() {
        let all: DestinationSet =
            (0..world.nodes.len()).filter(|to| *to != origin).map(|to| BridgeIndex(to as u16)).collect();
        for carriers in classes() {
            let (arrived, unreachable) = follow(world, origin, &all, &carriers);
            check(origin, &carriers, arrived, unreachable);
        }
    }
}

/// Every frame takes the best path that exists, everyone with a matching subscription is in the destination set.
pub fn invariant_forwarding_equals_reference(world: &World) {
    for_each_frame(world, |origin, carriers, arrived, unreachable| {
        for to in (0..world.nodes.len()).filter(|to| *to != origin) {
            let best = best_path(world, origin, to, carriers);
            assert_eq!(best.is_none(), unreachable.contains(&to), "{origin} to {to} within {carriers:?}");
            let taken = arrived.iter().find(|path| path.last() == Some(&to));
            assert_eq!(best.as_ref(), taken, "{origin} to {to} within {carriers:?}");
        }
    });
    for (at, node) in world.nodes.iter().enumerate() {
        let forwarding = router(world, at).forwarding();
        for topic in TOPICS.map(|text| Topic::parse(text).expect("a topic")) {
            let mut set = DestinationSet::default();
            forwarding.match_topic(&topic, &mut set);
            let wanted =
                |other: &usize| world.nodes[*other].subscriptions.keys().any(|filter| filter.matches(&topic));
            let expected: DestinationSet = (0..world.nodes.len())
                .filter(|i| *i != at)
                .filter(wanted)
                .map(|i| BridgeIndex(i as u16))
                .collect();
            assert_eq!(set, expected, "{topic} at {}", node.id);
        }
    }
}

/// [`follow`] refuses a frame that comes by a second time.
pub fn invariant_no_forwarding_loop(world: &World) {
    for_each_frame(world, |_, _, arrived, _| {
        assert!(arrived.iter().all(|path| path.len() <= world.nodes.len()))
    });
}

pub fn invariant_no_destination_served_twice(world: &World) {
    for_each_frame(world, |origin, carriers, arrived, _| {
        let ends: BTreeSet<usize> = arrived.iter().filter_map(|path| path.last().copied()).collect();
        assert_eq!(ends.len(), arrived.len(), "from {origin} within {carriers:?}: {arrived:?}");
    });
}

/// All hold the same sets, of living runs, and each filter has a subscriber.
pub fn invariant_no_ghost_interest(world: &World) {
    for (at, node) in world.nodes.iter().enumerate() {
        for view in router(world, at).interest_sets() {
            let owner = world.nodes.iter().position(|node| node.id == view.bridge).expect("a member");
            assert_eq!(view.run, router(world, owner).run(), "set of {} at {}", view.bridge, node.id);
            for filter in &view.filters {
                assert!(
                    world.nodes[owner].subscriptions.contains_key(filter),
                    "ghost {filter} of {} at {}",
                    view.bridge,
                    node.id
                );
            }
            let covered = |wanted: &TopicFilter| view.filters.iter().any(|filter| filter.covers(wanted));
            assert!(world.nodes[owner].subscriptions.keys().all(covered), "missing at {}", node.id);
        }
        assert_eq!(router(world, at).interest_sets().count(), world.nodes.len(), "sets at {}", node.id);
    }
}
