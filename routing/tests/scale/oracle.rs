//! What every table must say, from the whole topology and by other means than the router's: the lengths of all best paths
//! first, then of the neighbours that begin one the first by name.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use meshbridge_routing::{BridgeIndex, DestinationSet, Router};
use meshbridge_topic::Topic;

use crate::mesh::Mesh;

/// Cost and hops.
type Length = (u64, usize);

/// The links that count: both ends are up, have a session, and neither holds the other back (R42).
fn links(mesh: &Mesh) -> Vec<Vec<(usize, u64)>> {
    let holds = |a: usize, b: usize| {
        let held = mesh.nodes[a].router.as_ref().map(Router::held_back);
        held.into_iter().flatten().any(|held| *held == mesh.nodes[b].id)
    };
    let mut links = vec![Vec::new(); mesh.nodes.len()];
    for wire in mesh.wires.iter().filter(|wire| wire.session.is_some() && !wire.silent) {
        let [a, b] = wire.ends;
        if !holds(a, b) && !holds(b, a) {
            links[a].push((b, u64::from(wire.cost)));
            links[b].push((a, u64::from(wire.cost)));
        }
    }
    links.iter_mut().for_each(|links| links.sort_unstable());
    links
}

fn lengths(links: &[Vec<(usize, u64)>], from: usize) -> Vec<Option<Length>> {
    let mut best: Vec<Option<Length>> = vec![None; links.len()];
    let mut queue = BinaryHeap::from([Reverse(((0, 0), from))]);
    while let Some(Reverse((length, at))) = queue.pop() {
        if best[at].is_some() {
            continue;
        }
        best[at] = Some(length);
        for (to, cost) in links[at].iter().filter(|(to, _)| best[*to].is_none()) {
            queue.push(Reverse(((length.0 + cost, length.1 + 1), *to)));
        }
    }
    best
}

/// Where a table of a living bridge is not what the topology makes it; `None` where all agree.
pub fn first_wrong_table(mesh: &Mesh) -> Option<String> {
    let links = links(mesh);
    let all: Vec<Vec<Option<Length>>> = (0..links.len()).map(|from| lengths(&links, from)).collect();
    for (from, node) in mesh.nodes.iter().enumerate() {
        let Some(forwarding) = node.router.as_ref().map(Router::forwarding) else { continue };
        for to in (0..links.len()).filter(|to| *to != from) {
            let place = BridgeIndex(to as u16);
            let found = forwarding.next_hop(place).map(|(next, _)| usize::from(next.0));
            let length = forwarding.cost_to(place).zip(forwarding.hops_to(place));
            let begins_one = |(next, cost): &&(usize, u64)| {
                let rest = all[*next][to];
                rest.map(|(rest, hops)| (rest + cost, hops + 1)) == all[from][to] && rest.is_some()
            };
            let expected = links[from].iter().find(begins_one).map(|(next, _)| *next);
            if length != all[from][to] || found != expected {
                let (id, wanted) = (&node.id, all[from][to]);
                return Some(format!(
                    "{id} to {to}: {length:?} over {found:?}, not {wanted:?} over {expected:?}"
                ));
            }
        }
    }
    None
}

/// Where a living bridge does not know exactly who wants a topic. Whoever is down wants what it wanted.
pub fn first_wrong_destinations(mesh: &Mesh, topic: usize) -> Option<String> {
    let name = Topic::parse(&format!("scale.t{topic}")).expect("a topic");
    let wants = |at: &usize| mesh.nodes[*at].wants.contains(&topic);
    for (from, node) in mesh.nodes.iter().enumerate() {
        let Some(forwarding) = node.router.as_ref().map(Router::forwarding) else { continue };
        let mut found = DestinationSet::default();
        forwarding.match_topic(&name, &mut found, &mut Default::default());
        let all = (0..mesh.nodes.len()).filter(wants).filter(|at| *at != from);
        let expected: DestinationSet = all.map(|at| BridgeIndex(at as u16)).collect();
        if found != expected {
            return Some(format!("{} sends {name} to {found:?}, not to {expected:?}", node.id));
        }
    }
    None
}
