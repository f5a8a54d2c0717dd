//! The immutable snapshot that the data path reads.
//!
//! ```text
//! topic ──match_topic──► destinations {b, c, d} ──split──► link 1 (next hop b): {b, d}
//!                                                          link 2 (next hop c): {c}
//!                                                          unreachable, parked: kept by the caller
//! ```

use std::sync::Arc;

use meshbridge_topic::Topic;
use smallvec::SmallVec;

use crate::interest::InterestTrie;
use crate::paths::Paths;
use crate::{BridgeId, BridgeIndex, DestinationSet, GroupName, LinkId, Passage, ZoneName};

/// Interest of one remote bridge, by its place in the table.
pub(crate) type InterestTries = Vec<(BridgeIndex, InterestTrie)>;

/// Who wants what, and over which link it goes. Never changes; a newer one has a higher generation.
#[derive(Debug)]
pub struct Forwarding {
    pub(crate) generation: u64,
    pub(crate) own: BridgeIndex,
    /// The members of the federation in the order of their ids.
    pub(crate) bridges: Arc<Vec<(BridgeId, ZoneName)>>,
    pub(crate) interest: Arc<InterestTries>,
    pub(crate) paths: Arc<Paths>,
    /// The link to each neighbour, by its place in the table.
    pub(crate) links: Vec<(BridgeIndex, LinkId)>,
}

/// A consumer group that wants a topic, at one of its bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMatch {
    pub name: GroupName,
    pub bridge: BridgeIndex,
    /// A member is connected there.
    pub live: bool,
}

/// What one link takes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitHop {
    pub link: LinkId,
    pub next: BridgeIndex,
    pub destinations: DestinationSet,
}

/// Where the destinations of a frame go from here. Reused between calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub hops: Vec<SplitHop>,
    /// No path over the zones that may carry it and the links that it may cross.
    pub unreachable: DestinationSet,
    /// R19: would go back to the bridge the frame came from; keep, and ask again under a newer generation.
    pub parked: DestinationSet,
    /// This bridge was among the destinations.
    pub here: bool,
    spare: Spare,
}

/// Sets of hops that were, kept for the next: those of a large federation are not held in place.
#[derive(Clone, Debug, Default)]
struct Spare(Vec<DestinationSet>);

impl PartialEq for Spare {
    /// What is in store is no part of what a split says.
    fn eq(&self, _: &Spare) -> bool {
        true
    }
}

impl Eq for Spare {}

impl Forwarding {
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Adds the remote bridges with interest in `topic`, reachable or not: absence proves nothing. A consumer group is
    /// given once for each bridge that it is at.
    pub fn match_topic(
        &self,
        topic: &Topic,
        destinations: &mut DestinationSet,
        groups: &mut SmallVec<[GroupMatch; 2]>,
    ) {
        for (bridge, trie) in self.interest.iter() {
            trie.for_each_match(topic, |group| match group {
                None => destinations.insert(*bridge),
                Some(group) => {
                    let seen = groups.iter_mut().find(|one| one.bridge == *bridge && one.name == group.name);
                    match seen {
                        Some(seen) => seen.live |= group.live,
                        None => {
                            let (name, live) = (group.name.clone(), group.live);
                            groups.push(GroupMatch { name, bridge: *bridge, live });
                        }
                    }
                }
            });
        }
    }

    /// Splits `destinations` over the next hops, by `passage`; `from` is the neighbour that sent the frame.
    pub fn split(
        &self,
        destinations: &DestinationSet,
        passage: &Passage,
        from: Option<&BridgeId>,
        split: &mut Split,
    ) {
        let Split { hops, spare: Spare(spare), .. } = &mut *split;
        spare.extend(hops.drain(..).map(|hop| hop.destinations));
        split.unreachable.clear();
        split.parked.clear();
        split.here = false;
        let from = from.and_then(|from| self.index_of(from));
        self.paths.with_class(passage, destinations, |table| {
            for destination in destinations.iter() {
                if destination == self.own {
                    split.here = true;
                    continue;
                }
                let next = table.way(destination).map(|way| way.next);
                // R19
                if next.is_some() && next == from {
                    split.parked.insert(destination);
                    continue;
                }
                match next.and_then(|next| Some((next, self.link_to(next)?))) {
                    Some((next, link)) => match split.hops.iter_mut().find(|hop| hop.next == next) {
                        Some(hop) => hop.destinations.insert(destination),
                        None => {
                            let mut destinations = split.spare.0.pop().unwrap_or_default();
                            destinations.clear();
                            destinations.reserve(self.bridges.len());
                            destinations.insert(destination);
                            split.hops.push(SplitHop { link, next, destinations });
                        }
                    },
                    None => split.unreachable.insert(destination),
                }
            }
        });
    }

    /// This bridge.
    pub fn own(&self) -> BridgeIndex {
        self.own
    }

    /// The bridge at a place of the table; indices come from this router only.
    pub fn bridge(&self, index: BridgeIndex) -> (&BridgeId, &ZoneName) {
        let (id, zone) = &self.bridges[usize::from(index.0)];
        (id, zone)
    }

    /// The place of a member of the federation.
    pub fn index_of(&self, bridge: &BridgeId) -> Option<BridgeIndex> {
        let place = self.bridges.binary_search_by(|(id, _)| id.cmp(bridge)).ok()?;
        u16::try_from(place).ok().map(BridgeIndex)
    }

    /// Hops to a bridge when every zone may carry.
    pub fn hops_to(&self, bridge: BridgeIndex) -> Option<usize> {
        self.paths.all().way(bridge).map(|way| usize::from(way.hops))
    }

    /// Cost of the way to a bridge when every zone may carry.
    pub fn cost_to(&self, bridge: BridgeIndex) -> Option<u64> {
        self.paths.all().way(bridge).map(|way| way.cost)
    }

    /// How many others can be reached when every zone may carry.
    pub fn reachable(&self) -> usize {
        self.paths.all().len()
    }

    /// The neighbour that takes what is for `bridge` when every zone may carry: where a notice goes.
    pub fn next_hop(&self, bridge: BridgeIndex) -> Option<(BridgeIndex, LinkId)> {
        let next = self.paths.all().way(bridge)?.next;
        Some((next, self.link_to(next)?))
    }

    /// Whether there is a way to the bridge by `passage`.
    pub fn reaches(&self, bridge: BridgeIndex, passage: &Passage) -> bool {
        let one = DestinationSet::from_iter([bridge]);
        bridge == self.own || self.paths.with_class(passage, &one, |table| table.way(bridge).is_some())
    }

    /// R19: twice the hops to the farthest destination by `passage`, 16 to 255.
    pub fn default_hop_limit(&self, destinations: &DestinationSet, passage: &Passage) -> u8 {
        let farthest = self.paths.with_class(passage, destinations, |table| {
            destinations.iter().filter_map(|bridge| table.way(bridge)).map(|way| way.hops).max()
        });
        let farthest = usize::from(farthest.unwrap_or(0));
        u8::try_from(farthest.saturating_mul(2)).unwrap_or(u8::MAX).max(16)
    }

    fn link_to(&self, neighbour: BridgeIndex) -> Option<LinkId> {
        self.links.iter().find(|(bridge, _)| *bridge == neighbour).map(|(_, link)| *link)
    }
}
