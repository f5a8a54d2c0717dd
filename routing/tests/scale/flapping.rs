//! R42: links that come and go, beside others that change once.

use std::time::Duration;

use meshbridge_routing::Router;

use crate::mesh::{LINK_STATE, Mesh, Size};
use crate::oracle;
use crate::variable;
use crate::walk::CONVERGED_WITHIN;

const SIZE: Size = Size { bridges: 40, links: 120 };
const SEEDS: u64 = 3;
/// A link that fails as soon as it is up, and is dialled again at once.
const UP: Duration = Duration::from_millis(400);
const DOWN: Duration = Duration::from_millis(300);
/// After this every link that flaps all the time is held back.
pub const NOTICED: u32 = 8;
/// R42: nobody waits longer.
const HELD_MAX: Duration = Duration::from_secs(39);

fn seeds() -> u64 {
    variable("MESHBRIDGE_SCALE_SEEDS").map_or(SEEDS, |seeds| (seeds / 100).max(SEEDS))
}

/// Wires whose ends reach each other without any of them.
fn with_detours(mesh: &mut Mesh, count: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count {
        let wire = mesh.rng.pick(mesh.wires.len());
        if !chosen.contains(&wire) {
            chosen.push(wire);
            if !is_connected_without(mesh, &chosen) {
                chosen.pop();
            }
        }
    }
    chosen
}

fn is_connected_without(mesh: &Mesh, without: &[usize]) -> bool {
    let mut seen = vec![false; mesh.nodes.len()];
    let mut edge = vec![0];
    seen[0] = true;
    while let Some(at) = edge.pop() {
        for wire in mesh.nodes[at].wires.iter().filter(|wire| !without.contains(wire)) {
            for end in mesh.wires[*wire].ends {
                if !std::mem::replace(&mut seen[end], true) {
                    edge.push(end);
                }
            }
        }
    }
    seen.iter().all(|seen| *seen)
}

pub fn down(mesh: &mut Mesh, wires: &[usize]) {
    for wire in wires {
        mesh.wires[*wire].down = true;
        mesh.close(*wire);
    }
}

pub fn up(mesh: &mut Mesh, wires: &[usize]) {
    for wire in wires {
        mesh.wires[*wire].down = false;
        mesh.connect(*wire);
    }
}

pub fn flap(mesh: &mut Mesh, wires: &[usize]) {
    down(mesh, wires);
    mesh.run_for(DOWN);
    up(mesh, wires);
    mesh.run_for(UP);
}

fn generations(mesh: &Mesh) -> Vec<Option<u64>> {
    mesh.nodes
        .iter()
        .map(|node| node.router.as_ref().map(|router| router.forwarding().generation()))
        .collect()
}

pub fn held(mesh: &Mesh) -> usize {
    mesh.nodes.iter().filter_map(|node| node.router.as_ref()).map(|router| router.held_back().count()).sum()
}

#[test]
fn a_link_that_flaps_is_no_news_to_others_and_what_is_stable_converges_beside_it() {
    for seed in 0..seeds() {
        let mut mesh = Mesh::settled(seed, SIZE);
        let flapping = with_detours(&mut mesh, 5);
        (0..NOTICED).for_each(|_| flap(&mut mesh, &flapping));
        assert_eq!(held(&mesh), 2 * flapping.len(), "seed {seed}: both ends of each hold it back");

        // Nobody hears of it any more; only its ends see sessions come and go.
        let ends: Vec<usize> = flapping.iter().flat_map(|wire| mesh.wires[*wire].ends).collect();
        let before = generations(&mesh);
        mesh.traffic.kinds[LINK_STATE] = (0, 0);
        (0..10).for_each(|_| flap(&mut mesh, &flapping));
        let after = generations(&mesh);
        let disturbed = (0..before.len()).filter(|at| !ends.contains(at) && before[*at] != after[*at]);
        assert_eq!(disturbed.collect::<Vec<_>>(), [0; 0], "seed {seed}: tables of others");

        // A stable link goes and comes back in the midst of it.
        let stable = (0..mesh.wires.len()).find(|wire| {
            let without: Vec<usize> = flapping.iter().copied().chain([*wire]).collect();
            !flapping.contains(wire) && is_connected_without(&mesh, &without)
        });
        let stable = [stable.expect("three links for each bridge")];
        for change in [down, up] {
            change(&mut mesh, &stable);
            flap(&mut mesh, &flapping);
            mesh.run_for(CONVERGED_WITHIN - UP - DOWN);
            assert_eq!(
                oracle::first_wrong_table(&mesh),
                None,
                "seed {seed}: a stable link among those that flap"
            );
        }

        // Once still, they are used again.
        mesh.run_for(HELD_MAX + CONVERGED_WITHIN);
        assert_eq!(held(&mesh), 0, "seed {seed}");
        assert_eq!(oracle::first_wrong_table(&mesh), None, "seed {seed}: all links are back");
    }
}

#[test]
fn the_only_way_to_a_bridge_is_taken_however_often_it_failed() {
    for seed in 0..seeds() {
        let mut mesh = Mesh::settled(seed, SIZE);
        let lonely = mesh.rng.pick(mesh.nodes.len());
        let all = mesh.nodes[lonely].wires.clone();
        (0..NOTICED).for_each(|_| flap(&mut mesh, &all));
        // It is dialled, stays up, and there is no other way: a second later it is listed.
        mesh.run_for(Duration::from_secs(1) + CONVERGED_WITHIN);
        for node in &mesh.nodes {
            let reached = node.router.as_ref().map(|router: &Router| router.forwarding().reachable());
            assert_eq!(
                reached,
                Some(mesh.nodes.len() - 1),
                "seed {seed}: {} while {lonely} is alone",
                node.id
            );
        }
        assert_eq!(oracle::first_wrong_table(&mesh), None, "seed {seed}");
    }
}
