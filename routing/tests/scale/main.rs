//! Large federations in virtual time: a change is known everywhere within a second over links of 50 ms, what it costs is
//! reported, and links that come and go harm nobody else.
//!
//! An ordinary run takes 60 bridges and 240 links. `MESHBRIDGE_SCALE_SEEDS=10000` takes 500 bridges and 2,000 links and
//! makes that many changes, in release; a seed is a change, drawn in a world that 500 of them
//! share. `MESHBRIDGE_SCALE_FIRST=5000` begins there.

mod flapping;
#[path = "../sim/keyring.rs"]
mod keyring;
mod mesh;
mod only_way;
mod oracle;
#[path = "../sim/rng.rs"]
mod rng;
mod walk;

use std::time::Duration;

use mesh::{Mesh, Size};
use walk::Costs;

const ORDINARY: Size = Size { bridges: 60, links: 240 };
const ORDINARY_SEEDS: u64 = 40;
const LARGE: Size = Size { bridges: 500, links: 2_000 };
/// Changes in one world: settling costs as much as some hundred of them.
const SEEDS_PER_WORLD: u64 = 500;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What is asked for: the size, and the changes from the first to before the last.
fn asked() -> (Size, u64, u64) {
    let first = variable("MESHBRIDGE_SCALE_FIRST").unwrap_or(0);
    match variable("MESHBRIDGE_SCALE_SEEDS") {
        Some(seeds) => (LARGE, first, seeds.max(first)),
        None => (ORDINARY, 0, ORDINARY_SEEDS),
    }
}

#[test]
fn every_table_is_right_a_second_after_a_change() {
    let (size, first, end) = asked();
    let begun = walk::clock();
    let mut costs = Costs::new();
    let mut seed = first;
    while seed < end {
        let world = seed / SEEDS_PER_WORLD;
        let mut mesh = Mesh::settled(world, size);
        assert_eq!(oracle::first_wrong_table(&mesh), None, "world {world} has not settled");
        walk::report_rest(&mut mesh, Duration::from_secs(5));
        let last = end.min((world + 1) * SEEDS_PER_WORLD);
        for seed in seed..last {
            if let Err(wrong) = walk::step(&mut mesh, &mut costs) {
                panic!("world {world}, change {}: {wrong}", seed % SEEDS_PER_WORLD);
            }
        }
        seed = last;
        println!("{size:?}: {seed} seeds after {:.0?}", walk::clock().duration_since(begun));
    }
    // A judge that sees nothing would be content as well.
    let kinds = costs.len();
    assert!(kinds >= 6, "{kinds} kinds of changes");
    walk::report(costs, size.links);
}
