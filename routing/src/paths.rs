//! Shortest paths over what both ends of each link say, and one table of next hops per class of events: those that the
//! same zones may carry, and that cross the same links.
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
//! taken from the class only, links that it does not cross are not there, and the rest of a best path is a best path
//! under the same rule.
//!
//! That rule is also why a table is a tree: of the path to a bridge only its last step is kept, the rest is the path to
//! the bridge before. It takes 24 bytes for each bridge, and one allocation in all.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, OnceLock};

use crate::demand::{Asked, Demand};
use crate::graph::{EdgeChange, Graph};
use crate::{BridgeId, BridgeIndex, DestinationSet, Passage, ZoneName};

/// Tables kept beside the one for all zones and links. More classes than this are computed each time they are asked for.
pub(crate) const CLASSES_MAX: usize = 64;

/// How to reach one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) cost: u64,
    /// A federation has 4,096 bridges, and a best path visits each once.
    pub(crate) hops: u16,
    /// The neighbour that it leads over first.
    pub(crate) next: BridgeIndex,
    /// The bridge before the last step.
    before: BridgeIndex,
}

/// For each bridge of the table the way to it, if there is one. `own` itself has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NextHops {
    own: BridgeIndex,
    ways: Vec<Option<Way>>,
}

impl NextHops {
    pub(crate) fn way(&self, to: BridgeIndex) -> Option<Way> {
        self.ways.get(usize::from(to.0)).copied().flatten()
    }

    /// The bridges from the neighbour to the destination; empty without a way.
    pub(crate) fn path(&self, to: BridgeIndex) -> Vec<BridgeIndex> {
        let back = std::iter::successors(self.way(to).map(|_| to), |at| {
            self.way(*at).map(|way| way.before).filter(|before| *before != self.own)
        });
        let mut path: Vec<BridgeIndex> = back.collect();
        path.reverse();
        path
    }

    /// How many bridges can be reached.
    pub(crate) fn len(&self) -> usize {
        self.ways.iter().flatten().count()
    }

    /// The order of two paths of the same length, by the ids on them: the first difference decides, which is the last
    /// one on the way back to where they part.
    fn order_of_paths(&self, mut a: BridgeIndex, mut b: BridgeIndex) -> Ordering {
        let mut order = Ordering::Equal;
        while a != b {
            order = a.cmp(&b);
            match (self.way(a), self.way(b)) {
                (Some(one), Some(other)) => (a, b) = (one.before, other.before),
                _ => break,
            }
        }
        order
    }

    /// Whether the tree stays what it is when one link changes as described, beside others of which the same is true: the
    /// link is not in the tree, and with its new cost it offers no bridge a way as good as the one it has.
    fn is_untouched_by(&self, change: &EdgeChange) -> bool {
        let [a, b] = change.ends;
        let touches = |from: BridgeIndex, to: BridgeIndex| {
            let way = self.way(to);
            if way.is_some_and(|way| way.before == from) && change.before.is_some() {
                return true;
            }
            let start =
                if from == self.own { Some((0, 0)) } else { self.way(from).map(|way| (way.cost, way.hops)) };
            let (Some((cost, hops)), Some(step)) = (start, change.after) else { return false };
            to != self.own && way.is_none_or(|way| (cost + u64::from(step), hops + 1) <= (way.cost, way.hops))
        };
        !touches(a, b) && !touches(b, a)
    }
}

/// The graph as one bridge sees it, with the tables computed over it so far.
#[derive(Debug)]
pub(crate) struct Paths {
    /// Another one for each graph.
    version: u64,
    own: BridgeIndex,
    bridges: Arc<Vec<(BridgeId, ZoneName)>>,
    graph: Graph,
    /// Computed when it is first asked for: of the tables of a burst of changes only the last one is.
    all: OnceLock<Arc<NextHops>>,
    classes: [OnceLock<Class>; CLASSES_MAX],
    demand: Arc<Demand>,
}

#[derive(Debug)]
struct Class {
    passage: Passage,
    table: NextHops,
    /// Where it is noted what is asked for. `None` where the own zone may not carry, or there are too many classes.
    asked: Option<Arc<Asked>>,
}

impl Paths {
    pub(crate) fn new(
        own: BridgeIndex,
        bridges: Arc<Vec<(BridgeId, ZoneName)>>,
        graph: Graph,
        demand: Arc<Demand>,
    ) -> Paths {
        let classes = std::array::from_fn(|_| OnceLock::new());
        Paths { version: 0, own, bridges, graph, all: OnceLock::new(), classes, demand }
    }

    /// The paths over `graph`, which differs from this one's in `changes`. Most links are in the tree of few bridges, so
    /// most changes leave the table as it is. Those of the classes are computed again when they are asked for.
    pub(crate) fn after(&self, graph: Graph, changes: &[EdgeChange], demand: Arc<Demand>) -> Paths {
        let paths = Paths::new(self.own, Arc::clone(&self.bridges), graph, demand);
        let paths = Paths { version: self.version + 1, ..paths };
        let kept = self.all.get().filter(|all| changes.iter().all(|change| all.is_untouched_by(change)));
        match kept {
            Some(all) => Paths { all: OnceLock::from(Arc::clone(all)), ..paths },
            None => paths,
        }
    }

    pub(crate) fn all(&self) -> &NextHops {
        self.all.get_or_init(|| Arc::new(shortest(self.own, &self.bridges, &self.graph, &Passage::ANY)))
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The bridge whose paths these are.
    pub(crate) fn own(&self) -> BridgeIndex {
        self.own
    }

    pub(crate) fn zone(&self, bridge: BridgeIndex) -> &ZoneName {
        &self.bridges[usize::from(bridge.0)].1
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Calls `with` with the table of a class: from its slot, or computed on the spot when 64 other classes came first.
    /// Notes that there is demand for `destinations`.
    pub(crate) fn with_class<R>(
        &self,
        passage: &Passage,
        destinations: &DestinationSet,
        with: impl FnOnce(&NextHops) -> R,
    ) -> R {
        if passage.is_any() {
            return with(self.all());
        }
        let mut classes = self.classes.iter().map(|slot| slot.get_or_init(|| self.class(passage)));
        let spare;
        let class = match classes.find(|class| class.passage == *passage) {
            Some(class) => class,
            None => {
                spare = self.class(passage);
                &spare
            }
        };
        if let Some(asked) = &class.asked {
            self.demand.note(asked, destinations);
        }
        with(&class.table)
    }

    fn class(&self, passage: &Passage) -> Class {
        let table = shortest(self.own, &self.bridges, &self.graph, passage);
        // R42: an origin belongs to the carriers of its events, and who does not belong to them passes nothing on.
        let carries = passage.carriers.contains(self.zone(self.own));
        let asked = carries.then(|| self.demand.of(passage, self.bridges.len())).flatten();
        Class { passage: passage.clone(), table, asked }
    }
}

/// R18: Dijkstra by (cost, hops, path). Only `own` and bridges in zones of the carriers pass on; any bridge may be
/// the end of a path. R43: a denied link is not there, whatever it leads to.
///
/// A step costs at least one, so whoever a best path leads over has left the queue before its end does, with its own path
/// settled: ties can be broken by walking two such paths back, without keeping either.
pub(crate) fn shortest(
    own: BridgeIndex,
    bridges: &[(BridgeId, ZoneName)],
    graph: &Graph,
    passage: &Passage,
) -> NextHops {
    let mut best = NextHops { own, ways: vec![None; graph.len()] };
    let mut queue = BinaryHeap::with_capacity(graph.len());
    queue.push(Reverse((0_u64, 0_u16, own)));
    while let Some(Reverse((cost, hops, at))) = queue.pop() {
        let way = best.way(at);
        // A better way was found since this entry was made.
        if at != own && way.is_none_or(|way| (way.cost, way.hops) != (cost, hops)) {
            continue;
        }
        let zone = &bridges[usize::from(at.0)].1;
        if at != own && !passage.carriers.contains(zone) {
            continue;
        }
        for &(to, step) in graph.of(at) {
            if to == own || !passage.crosses(zone, &bridges[usize::from(to.0)].1) {
                continue;
            }
            let next = way.map_or(to, |way| way.next);
            let found = Way { cost: cost + u64::from(step), hops: hops + 1, next, before: at };
            let order = match best.way(to) {
                None => Ordering::Less,
                Some(known) => (found.cost, found.hops)
                    .cmp(&(known.cost, known.hops))
                    .then_with(|| best.order_of_paths(at, known.before)),
            };
            if order == Ordering::Less {
                let is_nearer =
                    best.way(to).is_none_or(|known| (found.cost, found.hops) < (known.cost, known.hops));
                best.ways[usize::from(to.0)] = Some(found);
                if is_nearer {
                    queue.push(Reverse((found.cost, found.hops, to)));
                }
            }
        }
    }
    best
}

#[cfg(test)]
pub(crate) mod tests;
