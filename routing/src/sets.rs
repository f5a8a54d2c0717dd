//! Sets on the data path: destinations as bits, carriers as zones, links by the zones at their ends.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::ZoneName;

/// A bridge's place in the table of one router. Stable for the router's life, meaningless elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeIndex(pub u16);

/// Bridges an event is for.
#[derive(Clone, Debug, Default)]
pub struct DestinationSet {
    words: SmallVec<[u64; 4]>,
}

impl PartialEq for DestinationSet {
    fn eq(&self, other: &DestinationSet) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for DestinationSet {}

impl DestinationSet {
    fn place(bridge: BridgeIndex) -> (usize, u64) {
        (usize::from(bridge.0 / 64), 1 << (bridge.0 % 64))
    }

    pub fn insert(&mut self, bridge: BridgeIndex) {
        let (word, bit) = DestinationSet::place(bridge);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    pub fn remove(&mut self, bridge: BridgeIndex) {
        let (word, bit) = DestinationSet::place(bridge);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    pub fn contains(&self, bridge: BridgeIndex) -> bool {
        let (word, bit) = DestinationSet::place(bridge);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Room for that many bridges, so that no insert has to make it.
    pub(crate) fn reserve(&mut self, bridges: usize) {
        self.words.reserve(bridges.div_ceil(64).saturating_sub(self.words.len()));
    }

    /// 64 bridges each, the first in the lowest bit.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().copied()
    }

    pub(crate) fn of_words(words: impl Iterator<Item = u64>) -> DestinationSet {
        DestinationSet { words: words.collect() }
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = BridgeIndex> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                if rest == 0 {
                    return None;
                }
                rest &= rest - 1;
                // A word stands for 64 bridges and the table has 4,096 at most.
                Some(BridgeIndex((i * 64) as u16 + bit as u16))
            })
        })
    }
}

impl FromIterator<BridgeIndex> for DestinationSet {
    fn from_iter<I: IntoIterator<Item = BridgeIndex>>(bridges: I) -> DestinationSet {
        let mut set = DestinationSet::default();
        bridges.into_iter().for_each(|bridge| set.insert(bridge));
        set
    }
}

/// The zones that may carry an event between its origin and a destination. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CarrierSet {
    #[default]
    All,
    /// Sorted, each once.
    Zones(Arc<[ZoneName]>),
}

impl CarrierSet {
    pub fn zones(zones: impl IntoIterator<Item = ZoneName>) -> CarrierSet {
        let mut zones: Vec<ZoneName> = zones.into_iter().collect();
        zones.sort();
        zones.dedup();
        CarrierSet::Zones(zones.into())
    }

    pub fn contains(&self, zone: &ZoneName) -> bool {
        match self {
            CarrierSet::All => true,
            CarrierSet::Zones(zones) => zones.binary_search(zone).is_ok(),
        }
    }
}

/// Pairs of zones that one event may be kept from crossing between. A frame with more does not leave; policies that
/// could ask for more are refused when they are checked.
pub const DENIED_LINKS_MAX: usize = 64;

/// Links that an event must not cross: every one between a bridge of the one zone and a bridge of the other, both ways.
/// Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeniedLinks(Option<Arc<[(ZoneName, ZoneName)]>>);

impl DeniedLinks {
    pub const NONE: DeniedLinks = DeniedLinks(None);

    /// All links between the zones of each pair, in either order. Inside a zone there is no border, so a pair of one zone
    /// with itself means nothing.
    pub fn between(pairs: impl IntoIterator<Item = (ZoneName, ZoneName)>) -> DeniedLinks {
        let ordered = |(a, b): (ZoneName, ZoneName)| if a < b { (a, b) } else { (b, a) };
        let mut pairs: Vec<(ZoneName, ZoneName)> =
            pairs.into_iter().map(ordered).filter(|(a, b)| a != b).collect();
        pairs.sort();
        pairs.dedup();
        DeniedLinks((!pairs.is_empty()).then(|| pairs.into()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Each pair once, the lesser name first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(ZoneName, ZoneName)> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    /// Whether no link between bridges of these zones may be crossed.
    pub fn contains(&self, a: &ZoneName, b: &ZoneName) -> bool {
        let Some(pairs) = &self.0 else { return false };
        let wanted = if a < b { (a, b) } else { (b, a) };
        pairs.binary_search_by(|(a, b)| (a, b).cmp(&wanted)).is_ok()
    }

    /// These and others; `None` where that is more than a frame can say.
    pub fn with(&self, others: &DeniedLinks) -> Option<DeniedLinks> {
        let both = DeniedLinks::between(self.iter().chain(others.iter()).cloned());
        let fits = both.iter().len() <= DENIED_LINKS_MAX;
        fits.then_some(both)
    }
}

/// Where an event may go on its way: the zones that carry it, and the links that it does not cross. Events with the same
/// take the same paths. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Passage {
    pub carriers: CarrierSet,
    pub denied: DeniedLinks,
}

impl Passage {
    /// Over every zone and every link.
    pub const ANY: Passage = Passage { carriers: CarrierSet::All, denied: DeniedLinks::NONE };

    pub fn is_any(&self) -> bool {
        self.denied.is_empty() && matches!(self.carriers, CarrierSet::All)
    }

    /// Whether a link between bridges of these zones may be crossed.
    pub(crate) fn crosses(&self, a: &ZoneName, b: &ZoneName) -> bool {
        self.denied.is_empty() || !self.denied.contains(a, b)
    }
}

impl From<CarrierSet> for Passage {
    fn from(carriers: CarrierSet) -> Passage {
        Passage { carriers, denied: DeniedLinks::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> ZoneName {
        ZoneName::parse(name).expect("a name")
    }

    fn denied(pairs: &[(&str, &str)]) -> DeniedLinks {
        DeniedLinks::between(pairs.iter().map(|(a, b)| (zone(a), zone(b))))
    }

    #[test]
    fn a_denied_pair_holds_both_ways_and_in_any_order() {
        let links = denied(&[("b", "a"), ("a", "b"), ("c", "b")]);
        assert_eq!(links, denied(&[("b", "c"), ("a", "b")]));
        assert_eq!(links.iter().len(), 2);
        for (a, b, expected) in [("a", "b", true), ("b", "a", true), ("b", "c", true), ("a", "c", false)] {
            assert_eq!(links.contains(&zone(a), &zone(b)), expected, "{a} {b}");
        }
        assert!(denied(&[("a", "a")]).is_empty(), "inside a zone nothing is denied");
        assert_eq!(denied(&[]), DeniedLinks::NONE);
    }

    #[test]
    fn pairs_are_joined_up_to_what_a_frame_can_say() {
        let some = |from: usize, to: usize| {
            DeniedLinks::between((from..to).map(|at| (zone("hub"), zone(&format!("z{at}")))))
        };
        assert_eq!(some(0, 3).with(&some(2, 5)), Some(some(0, 5)));
        assert_eq!(some(0, 40).with(&some(40, 64)), Some(some(0, 64)));
        assert_eq!(some(0, 40).with(&some(40, 65)), None);
    }
}
