//! Shortest paths over what both ends of each link say, and one table of next hops per residency class.
//!
//! ```text
//!        10        10
//!   a ───────► b ───────► d      a → d costs 20 over b and over c. Equal cost, equal hops: the path that is
//!   └─────► c ───────────►       smaller in the order of bridge ids wins, on every bridge alike: a b d.
//!        10        10
//! ```
//!
//! Why forwarding is free of loops in a stable topology: costs are at least one and the same in both directions, so
//! each hop is strictly nearer to the destination. The class does not change that: bridges between the ends are
//! taken from the class only, and the rest of a best path is a best path under the same rule.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;

use crate::{BridgeIndex, CarrierSet, ZoneName};

/// Tables kept beside the one for all zones. More classes than this are computed each time they are asked for.
const CLASSES_MAX: usize = 64;

/// How to reach one bridge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    pub(crate) cost: u64,
    pub(crate) hops: usize,
    /// From this bridge's neighbour to the destination; `BridgeIndex` order is the order of ids.
    pub(crate) bridges: Vec<BridgeIndex>,
}

/// For each bridge of the table the path to it, if there is one.
pub(crate) type NextHops = Vec<Option<Path>>;

/// The graph as one bridge sees it, with the tables computed over it so far.
#[derive(Debug)]
pub(crate) struct Paths {
    own: BridgeIndex,
    zones: Vec<ZoneName>,
    /// Per bridge: neighbours with cost, both ends agreeing.
    links: Vec<Vec<(BridgeIndex, u32)>>,
    all: NextHops,
    classes: [OnceLock<(CarrierSet, NextHops)>; CLASSES_MAX],
}

impl Paths {
    pub(crate) fn new(own: BridgeIndex, zones: Vec<ZoneName>, links: Vec<Vec<(BridgeIndex, u32)>>) -> Paths {
        let all = shortest(own, &zones, &links, &CarrierSet::All);
        Paths { own, zones, links, all, classes: std::array::from_fn(|_| OnceLock::new()) }
    }

    pub(crate) fn all(&self) -> &NextHops {
        &self.all
    }

    /// Calls `with` with the table of a class: from its slot, or computed on the spot when 64 other classes came first.
    pub(crate) fn with_class<R>(&self, carriers: &CarrierSet, with: impl FnOnce(&NextHops) -> R) -> R {
        if *carriers == CarrierSet::All {
            return with(&self.all);
        }
        for slot in &self.classes {
            let (class, table) = slot
                .get_or_init(|| (carriers.clone(), shortest(self.own, &self.zones, &self.links, carriers)));
            if class == carriers {
                return with(table);
            }
        }
        with(&shortest(self.own, &self.zones, &self.links, carriers))
    }
}

/// R18: Dijkstra by (cost, hops, path). Only `own` and bridges in zones of `carriers` pass on; any bridge may be
/// the end of a path.
fn shortest(
    own: BridgeIndex,
    zones: &[ZoneName],
    links: &[Vec<(BridgeIndex, u32)>],
    carriers: &CarrierSet,
) -> NextHops {
    let mut best: NextHops = vec![None; links.len()];
    let mut settled = vec![false; links.len()];
    let mut queue = BinaryHeap::new();
    queue.push(Reverse((Path { cost: 0, hops: 0, bridges: Vec::new() }, own)));
    while let Some(Reverse((path, at))) = queue.pop() {
        if std::mem::replace(&mut settled[usize::from(at.0)], true) {
            continue;
        }
        if at == own || carriers.contains(&zones[usize::from(at.0)]) {
            for &(next, cost) in &links[usize::from(at.0)] {
                if settled[usize::from(next.0)] {
                    continue;
                }
                let mut bridges = path.bridges.clone();
                bridges.push(next);
                let longer = Path { cost: path.cost + u64::from(cost), hops: path.hops + 1, bridges };
                let known = &mut best[usize::from(next.0)];
                if known.as_ref().is_none_or(|known| longer < *known) {
                    *known = Some(longer.clone());
                    queue.push(Reverse((longer, next)));
                }
            }
        }
    }
    best[usize::from(own.0)] = None;
    best
}
