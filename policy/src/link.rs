//! Links between zones, as rules name them, and those that one event must not cross.
//!
//! A rule names a link by the zones at its ends: every link between a bridge of the one and a bridge of the other is
//! meant, both ways.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::federation::{BridgeEntry, Federation, ZoneIndex};

/// Pairs of zones that rules may keep one event from crossing between: what a frame has room for
/// (`routing/PROTOCOL.md`, R43).
pub(crate) const LINKS_MAX: usize = 64;

/// All links between two zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneLink {
    lesser: ZoneIndex,
    greater: ZoneIndex,
}

impl ZoneLink {
    /// In either order. `None` for a zone and itself: inside a zone there is no border.
    pub fn between(one: ZoneIndex, other: ZoneIndex) -> Option<ZoneLink> {
        let (lesser, greater) = if one < other { (one, other) } else { (other, one) };
        (lesser != greater).then_some(ZoneLink { lesser, greater })
    }

    pub fn ends(self) -> [ZoneIndex; 2] {
        [self.lesser, self.greater]
    }

    /// As policies name it, the lesser name first.
    pub fn name(self, federation: &Federation) -> String {
        let [one, other] = self.ends().map(|zone| federation.zone_name(zone));
        format!("{}/{}", one.min(other), one.max(other))
    }
}

/// The links that an event must not cross, each with the rule that says so. Four cost no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkDenials(SmallVec<[(ZoneLink, u32); 4]>);

impl LinkDenials {
    /// Of several rules the outermost counts, which comes first.
    pub(crate) fn add(&mut self, link: ZoneLink, rule: u32) {
        if let Err(at) = self.0.binary_search_by_key(&link, |(known, _)| *known) {
            self.0.insert(at, (link, rule));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = ZoneLink> + '_ {
        self.0.iter().map(|(link, _)| *link)
    }

    pub fn contains(&self, link: ZoneLink) -> bool {
        self.rule(link).is_some()
    }

    /// The place of the rule.
    pub(crate) fn rule(&self, link: ZoneLink) -> Option<usize> {
        let at = self.0.binary_search_by_key(&link, |(known, _)| *known).ok()?;
        Some(self.0[at].1 as usize)
    }
}

impl Federation {
    /// Whether the document has a link between bridges of the two zones.
    pub(crate) fn is_linked(&self, link: ZoneLink) -> bool {
        let zones = self.zones_of_bridges();
        let between = |from: &str, to: &str| ZoneLink::between(*zones.get(from)?, *zones.get(to)?);
        self.links().iter().any(|known| between(&known.from, &known.to) == Some(link))
    }

    fn zones_of_bridges(&self) -> HashMap<&str, ZoneIndex> {
        let names: HashMap<&str, ZoneIndex> =
            self.zone_indexes().map(|zone| (self.zone_name(zone), zone)).collect();
        let zone = |bridge: &BridgeEntry| names.get(bridge.zone.as_str()).copied();
        self.bridges().iter().filter_map(|bridge| Some((bridge.id.as_str(), zone(bridge)?))).collect()
    }

    /// Whether some bridge of a zone has a way to some bridge of another over the links of the document: bridges in between
    /// are in zones that may `carry`, and each link may be crossed.
    pub(crate) fn has_way(
        &self,
        from: ZoneIndex,
        to: ZoneIndex,
        carry: impl Fn(ZoneIndex) -> bool,
        cross: impl Fn(ZoneLink) -> bool,
    ) -> bool {
        let zones = self.zones_of_bridges();
        let mut neighbours: HashMap<&str, Vec<&str>> = HashMap::new();
        for link in self.links() {
            neighbours.entry(&link.from).or_default().push(&link.to);
            neighbours.entry(&link.to).or_default().push(&link.from);
        }
        let ids = self.bridges().iter().map(|bridge| bridge.id.as_str());
        let mut edge: Vec<&str> = ids.filter(|id| zones.get(id) == Some(&from)).collect();
        let mut reached: HashSet<&str> = edge.iter().copied().collect();
        while let Some(at) = edge.pop() {
            let Some(here) = zones.get(at).copied() else { continue };
            if here == to {
                return true;
            }
            if here != from && !carry(here) {
                continue;
            }
            for other in neighbours.get(at).into_iter().flatten().copied() {
                let there = zones.get(other).copied();
                let is_open = there.and_then(|there| ZoneLink::between(here, there)).is_none_or(&cross);
                if is_open && reached.insert(other) {
                    edge.push(other);
                }
            }
        }
        false
    }
}
