//! The immutable picture the data path works with: topic → who wants it → which link next.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use meshbridge_topic::{FilterTrie, Topic};
use smallvec::SmallVec;

use crate::ids::{BridgeId, BridgeIndex, LinkId, ZoneName};
use crate::sets::{CarrierSet, DestinationSet};
use crate::topology::{Graph, Reach};

/// Residency classes whose paths are kept; a class beyond that is computed again each time.
const CLASSES_MAX: usize = 64;
/// Bounds of the hop limit: twice the path, so that a reroute on the way has room.
const HOPS_MIN: usize = 16;

type Table = Vec<Option<Reach>>;

/// The bridges of the federation in the order of their ids; an index into it never changes.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) bridges: Vec<(BridgeId, ZoneName)>,
    by_id: HashMap<BridgeId, BridgeIndex>,
}

impl Roster {
    pub(crate) fn new(bridges: Vec<(BridgeId, ZoneName)>) -> Roster {
        let by_id = bridges.iter().zip(0..).map(|((id, _), at)| (id.clone(), BridgeIndex(at))).collect();
        Roster { bridges, by_id }
    }

    pub(crate) fn index_of(&self, bridge: &BridgeId) -> Option<BridgeIndex> {
        self.by_id.get(bridge).copied()
    }
}

/// One generation of routes and interest. Shared by reference, never changed.
#[derive(Debug)]
pub struct Forwarding {
    pub(crate) generation: u64,
    pub(crate) own: BridgeIndex,
    pub(crate) roster: Arc<Roster>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) table: Arc<Table>,
    pub(crate) links: HashMap<BridgeIndex, LinkId>,
    pub(crate) interest: Vec<(BridgeIndex, Arc<FilterTrie<()>>)>,
    /// Paths for restricted carriers, computed on first use.
    pub(crate) classes: RwLock<Vec<(CarrierSet, Arc<Table>)>>,
}

/// How a destination set divides over next hops. Reused from frame to frame.
#[derive(Clone, Debug, Default)]
pub struct Split {
    links: SmallVec<[(LinkId, DestinationSet); 4]>,
    waiting: DestinationSet,
}

impl Split {
    /// Each link with the destinations that it takes; every destination stands in one place only.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &DestinationSet)> {
        self.links.iter().map(|(link, destinations)| (*link, destinations))
    }

    /// Destinations without a path, or whose path leads back to where the frame came from (R27): they wait for the
    /// next generation.
    pub fn waiting(&self) -> &DestinationSet {
        &self.waiting
    }
}

impl Forwarding {
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn own(&self) -> BridgeIndex {
        self.own
    }

    /// Adds every other bridge that has a matching filter, reachable or not: absence proves nothing (RELIABILITY D2).
    pub fn match_topic(&self, topic: &Topic, destinations: &mut DestinationSet) {
        for (bridge, filters) in &self.interest {
            let mut wanted = false;
            filters.for_each_match(topic, |()| wanted = true);
            if wanted {
                destinations.insert(*bridge);
            }
        }
    }

    /// Divides `destinations` over the links towards them. `from` is the neighbour the frame came from.
    pub fn split(
        &self,
        destinations: &DestinationSet,
        carriers: &CarrierSet,
        from: Option<&BridgeId>,
        split: &mut Split,
    ) {
        split.links.clear();
        split.waiting.clear();
        let from = from.and_then(|bridge| self.index_of(bridge));
        let table = self.table(carriers);
        for destination in destinations.iter() {
            let reach = table.get(usize::from(destination.0)).copied().flatten();
            let next = reach.map(|reach| reach.next).filter(|next| Some(*next) != from);
            let Some(link) = next.and_then(|next| self.links.get(&next)) else {
                split.waiting.insert(destination);
                continue;
            };
            match split.links.iter_mut().find(|(known, _)| known == link) {
                Some((_, set)) => set.insert(destination),
                None => split.links.push((*link, DestinationSet::from_iter([destination]))),
            }
        }
    }

    /// The link towards a bridge, over any carrier.
    pub fn next_hop(&self, bridge: BridgeIndex) -> Option<LinkId> {
        let reach = self.table.get(usize::from(bridge.0)).copied().flatten()?;
        self.links.get(&reach.next).copied()
    }

    pub fn bridge(&self, index: BridgeIndex) -> (&BridgeId, &ZoneName) {
        let (bridge, zone) = &self.roster.bridges[usize::from(index.0)];
        (bridge, zone)
    }

    pub fn index_of(&self, bridge: &BridgeId) -> Option<BridgeIndex> {
        self.roster.index_of(bridge)
    }

    /// R26: twice the hops of the longest path, 16 to 255.
    pub fn default_hop_limit(&self, destinations: &DestinationSet) -> u8 {
        let hops = |bridge: BridgeIndex| self.table.get(usize::from(bridge.0)).copied().flatten().map(|r| r.hops);
        let longest = destinations.iter().filter_map(hops).max().map_or(0, usize::from);
        u8::try_from((2 * longest).max(HOPS_MIN)).unwrap_or(u8::MAX)
    }

    fn table(&self, carriers: &CarrierSet) -> Arc<Table> {
        if carriers.zones().is_none() {
            return Arc::clone(&self.table);
        }
        let known = self.classes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = known.iter().find(|(class, _)| class == carriers) {
            return Arc::clone(table);
        }
        drop(known);
        let may_carry = |bridge: BridgeIndex| carriers.contains(self.bridge(bridge).1);
        let table = Arc::new(self.graph.shortest(self.own, may_carry));
        let mut classes = self.classes.write().unwrap_or_else(PoisonError::into_inner);
        if classes.len() < CLASSES_MAX {
            classes.push((carriers.clone(), Arc::clone(&table)));
        }
        table
    }
}
