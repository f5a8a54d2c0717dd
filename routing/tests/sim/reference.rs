//! What must hold in quiet, computed from global knowledge by other means than the router's.

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_routing::{Audience, BridgeIndex, DestinationSet, LinkId, Passage, Router, Split};
use meshbridge_topic::Topic;

use crate::faults::TOPICS;
use crate::frames::classes;
use crate::world::World;

/// Cost, hops, nodes from the origin on.
type Path = (u64, usize, Vec<usize>);

/// Worlds up to this size are judged by trying every path as well.
const EXHAUSTIVE_MAX: usize = 6;

fn router(world: &World, node: usize) -> &Router {
    world.nodes[node].router.as_ref().expect("all are up in quiet")
}

/// The nodes that take part.
fn living(world: &World) -> impl Iterator<Item = usize> + '_ {
    (0..world.size).filter(|node| !world.nodes[*node].left)
}

/// The sessions of each node with each neighbour: its own cost, and the newest first among equals.
fn sessions(world: &World) -> BTreeMap<(usize, usize), (u32, LinkId)> {
    let mut best: BTreeMap<(usize, usize), (u32, LinkId)> = BTreeMap::new();
    for wire in &world.wires {
        let Some(link) = wire.session else { continue };
        for side in [0, 1] {
            let found = (wire.costs[side], link);
            let known = best.entry((wire.ends[side], wire.ends[1 - side])).or_insert(found);
            if (found.0, std::cmp::Reverse(found.1)) < (known.0, std::cmp::Reverse(known.1)) {
                *known = found;
            }
        }
    }
    best.retain(|(a, b), _| !world.nodes[*a].left && !world.nodes[*b].left);
    best
}

/// R42: the sessions without those that one of their ends holds back.
fn listed_sessions(world: &World) -> BTreeMap<(usize, usize), (u32, LinkId)> {
    let holds = |a: usize, b: usize| {
        let held = world.nodes[a].router.as_ref().map(Router::held_back);
        held.into_iter().flatten().any(|held| *held == world.nodes[b].id)
    };
    let mut sessions = sessions(world);
    sessions.retain(|(a, b), _| !holds(*a, *b) && !holds(*b, *a));
    sessions
}

/// R42: a neighbour is held back only where there is another way to it.
pub fn invariant_who_is_held_back_is_reached(world: &World) -> usize {
    let sessions = sessions(world);
    let mut held = 0;
    for at in living(world) {
        for neighbour in router(world, at).held_back() {
            let there = living(world).find(|to| world.nodes[*to].id == *neighbour);
            let Some(there) = there.filter(|there| sessions.contains_key(&(at, *there))) else { continue };
            let reached = best_paths(world, at, &Passage::ANY)[there].is_some();
            assert!(reached, "invariant_who_is_held_back_is_reached: {there} from {at}");
            held += 1;
        }
    }
    held
}

/// R42: nor where some event that a neighbour is to pass on, or to have, may go no other way. Every class was asked for, at
/// every bridge and for every destination.
pub fn invariant_who_is_held_back_is_reached_in_each_class(world: &World) {
    let sessions = sessions(world);
    for at in living(world) {
        let held: Vec<usize> = living(world)
            .filter(|to| sessions.contains_key(&(at, *to)))
            .filter(|to| router(world, at).held_back().any(|held| *held == world.nodes[*to].id))
            .collect();
        let zone = &world.nodes[at].zone;
        for passage in classes().into_iter().filter(|passage| passage.carriers.contains(zone)) {
            let best = best_paths(world, at, &passage);
            for there in &held {
                // Over a link that is denied to them nothing would go.
                let reached =
                    best[*there].is_some() || passage.denied.contains(zone, &world.nodes[*there].zone);
                assert!(
                    reached,
                    "invariant_who_is_held_back_is_reached_in_each_class: {there} from {at} in {passage:?}"
                );
            }
        }
    }
}

/// Links that were still for a minute are listed again.
pub fn invariant_nobody_is_held_back_for_ever(world: &World) {
    for at in living(world) {
        let held: Vec<_> = router(world, at).held_back().collect();
        assert!(held.is_empty(), "invariant_nobody_is_held_back_for_ever: {held:?} at {at}");
    }
}

/// R17: at the cost of the dearer end.
fn links(world: &World) -> BTreeMap<(usize, usize), u64> {
    let sessions = listed_sessions(world);
    let dearer = |(&(a, b), &(cost, _)): (&(usize, usize), &(u32, LinkId))| {
        ((a, b), u64::from(cost.max(sessions[&(b, a)].0)))
    };
    sessions.iter().map(dearer).collect()
}

/// R43: the links that are left for a class of events.
fn links_for(world: &World, passage: &Passage) -> BTreeMap<(usize, usize), u64> {
    let mut left = links(world);
    for (a, b) in passage.denied.iter() {
        let is_between = |one: usize, other: usize| {
            (&world.nodes[one].zone, &world.nodes[other].zone) == (a, b)
                || (&world.nodes[one].zone, &world.nodes[other].zone) == (b, a)
        };
        left.retain(|(one, other), _| !is_between(*one, *other));
    }
    left
}

/// The best way from a node to every other by (cost, hops, names), by widening all ways until none gets better.
pub fn best_paths(world: &World, from: usize, passage: &Passage) -> Vec<Option<Vec<usize>>> {
    let links = links_for(world, passage);
    let mut best: Vec<Option<Path>> = vec![None; world.size];
    best[from] = Some((0, 0, vec![from]));
    let mut better = true;
    while better {
        better = false;
        for (&(at, next), cost) in &links {
            let may_pass = at == from || passage.carriers.contains(&world.nodes[at].zone);
            let Some((so_far, hops, path)) = best[at].as_ref().filter(|_| may_pass) else { continue };
            let found = (so_far + cost, hops + 1, [path.as_slice(), &[next]].concat());
            if best[next].as_ref().is_none_or(|known| found < *known) {
                best[next] = Some(found);
                better = true;
            }
        }
    }
    if world.size <= EXHAUSTIVE_MAX {
        let mut every = vec![None; world.size];
        try_every_path(world, &links, passage, &mut (0, 0, vec![from]), &mut every);
        assert_eq!(best, every, "the judges disagree about ways from {from} within {passage:?}");
    }
    best.into_iter().map(|path| Some(path?.2)).collect()
}

fn try_every_path(
    world: &World,
    links: &BTreeMap<(usize, usize), u64>,
    passage: &Passage,
    path: &mut Path,
    best: &mut Vec<Option<Path>>,
) {
    let at = *path.2.last().expect("starts with the origin");
    if best[at].as_ref().is_none_or(|known| *path < *known) {
        best[at] = Some(path.clone());
    }
    if path.1 > 0 && !passage.carriers.contains(&world.nodes[at].zone) {
        return;
    }
    for (&(_, next), cost) in links.range((at, 0)..(at + 1, 0)) {
        if !path.2.contains(&next) {
            path.2.push(next);
            let mut longer = (path.0 + cost, path.1 + 1, path.2.clone());
            try_every_path(world, links, passage, &mut longer, best);
            path.2.pop();
        }
    }
}

/// Who `from` can reach if `without` passes nothing on.
pub fn reachable_without(world: &World, from: usize, without: usize) -> BTreeSet<usize> {
    let links = links(world);
    let mut reached = BTreeSet::from([from]);
    let mut edge = vec![from];
    while let Some(at) = edge.pop() {
        for (&(_, next), _) in links.range((at, 0)..(at + 1, 0)) {
            if next < world.size && next != without && reached.insert(next) {
                edge.push(next);
            }
        }
    }
    reached.remove(&from);
    reached
}

/// Follows a frame through the federation: the path of each copy that arrived, and who was given up.
fn follow(
    world: &World,
    origin: usize,
    set: &DestinationSet,
    passage: &Passage,
) -> (Vec<Vec<usize>>, BTreeSet<usize>) {
    let sessions = sessions(world);
    let mut arrived = Vec::new();
    let mut unreachable = BTreeSet::new();
    let mut frames = vec![(vec![origin], set.clone())];
    let mut split = Split::default();
    while let Some((path, set)) = frames.pop() {
        let at = *path.last().expect("never empty");
        assert!(!path[..path.len() - 1].contains(&at), "invariant_no_forwarding_loop: {path:?}");
        let forwarding = router(world, at).forwarding();
        let from = (path.len() > 1).then(|| &world.nodes[path[path.len() - 2]].id);
        forwarding.split(&set, passage, from, &mut split);
        assert!(split.parked.is_empty(), "parked in quiet at {at}: {path:?}");
        unreachable.extend(split.unreachable.iter().map(|index| usize::from(index.0)));
        if split.here {
            arrived.push(path.clone());
        }
        for hop in &split.hops {
            let next = usize::from(hop.next.0);
            let cheapest = sessions.get(&(at, next)).map(|(_, link)| *link);
            assert_eq!(Some(hop.link), cheapest, "the link of {at} to {next}");
            frames.push(([path.clone(), vec![next]].concat(), hop.destinations.clone()));
        }
    }
    (arrived, unreachable)
}

/// Every frame takes the best path that exists, to each destination once, without loops.
pub fn invariant_forwarding_equals_reference(world: &World) {
    for origin in living(world) {
        let all: DestinationSet =
            (0..world.size).filter(|to| *to != origin).map(|to| BridgeIndex(to as u16)).collect();
        for passage in classes() {
            let (arrived, unreachable) = follow(world, origin, &all, &passage);
            let best = best_paths(world, origin, &passage);
            for to in (0..world.size).filter(|to| *to != origin) {
                let missing = best[to].is_none();
                assert_eq!(missing, unreachable.contains(&to), "{origin} to {to} within {passage:?}");
                let taken: Vec<_> = arrived.iter().filter(|path| path.last() == Some(&to)).collect();
                assert_eq!(best[to].iter().collect::<Vec<_>>(), taken, "{origin} to {to} within {passage:?}");
            }
        }
    }
}

/// Everyone with a matching subscription, and nobody else, is in the destination set of a topic.
pub fn invariant_destinations_equal_reference(world: &World) {
    for_each_topic(world, |at, topic, found, expected| {
        assert_eq!(*found, expected, "{topic} at {at}");
    });
}

/// As [`invariant_destinations_equal_reference`] while restored interest may still linger.
pub fn invariant_nobody_is_left_out(world: &World) {
    for_each_topic(world, |at, topic, found, expected| {
        assert!(expected.iter().all(|to| found.contains(to)), "{topic} at {at}: {found:?}, not {expected:?}");
    });
}

fn for_each_topic(world: &World, check: impl Fn(usize, &Topic, &DestinationSet, DestinationSet)) {
    for topic in TOPICS.map(|text| Topic::parse(text).expect("a topic")) {
        for at in living(world) {
            let wanted = |other: &usize| {
                let mut matching =
                    world.nodes[*other].subscriptions.keys().filter(|filter| filter.matches(&topic));
                matching.any(|filter| world.learns(at, *other, filter))
            };
            let all: Vec<usize> = living(world).filter(wanted).collect();
            let mut set = DestinationSet::default();
            router(world, at).forwarding().match_topic(&topic, &mut set, &mut Default::default());
            let expected = all.iter().filter(|to| **to != at).map(|to| BridgeIndex(*to as u16)).collect();
            check(at, &topic, &set, expected);
        }
    }
}

/// All hold the set for all of everyone, sets with something in them are of living runs, and each filter has a
/// subscriber.
pub fn invariant_no_ghost_interest(world: &World) {
    for (at, node) in world.nodes.iter().enumerate().take(world.size) {
        let mut for_all = 0;
        for view in router(world, at).interest_sets() {
            let owner = world.nodes.iter().position(|node| node.id == view.bridge).expect("a member");
            let subscriptions = &world.nodes[owner].subscriptions;
            for filter in &view.filters {
                let wanted = subscriptions.contains_key(filter);
                assert!(wanted, "ghost {filter} of {} at {}", view.bridge, node.id);
            }
            let is_for_all = view.audience == Audience::All;
            for_all += usize::from(is_for_all);
            if is_for_all || !view.filters.is_empty() {
                assert_eq!(view.run, router(world, owner).run(), "set of {} at {}", view.bridge, node.id);
            }
        }
        assert_eq!(for_all, world.size, "sets at {}", node.id);
    }
}
