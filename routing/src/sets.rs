//! Sets on the data path: destinations as bits, carriers as zones.

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
