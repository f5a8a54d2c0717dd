//! The two sets a frame carries: whom it is for, and which zones may carry it.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::ids::{BridgeIndex, ZoneName};

/// A set of bridges, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationSet {
    words: SmallVec<[u64; 4]>,
}

impl DestinationSet {
    pub fn insert(&mut self, bridge: BridgeIndex) {
        let word = usize::from(bridge.0 / 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (bridge.0 % 64);
    }

    pub fn remove(&mut self, bridge: BridgeIndex) {
        if let Some(word) = self.words.get_mut(usize::from(bridge.0 / 64)) {
            *word &= !(1 << (bridge.0 % 64));
        }
    }

    pub fn contains(&self, bridge: BridgeIndex) -> bool {
        self.words.get(usize::from(bridge.0 / 64)).is_some_and(|word| word & (1 << (bridge.0 % 64)) != 0)
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

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = BridgeIndex> + '_ {
        self.words.iter().zip(0_u16..).flat_map(|(word, at)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = u16::try_from(left.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                left &= left - 1;
                Some(BridgeIndex(at * 64 + bit))
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

/// The zones that may see a frame on its way (its residency set). The origin and each destination are endpoints, not
/// carriers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CarrierSet {
    /// Sorted; `None` means every zone.
    zones: Option<Arc<[ZoneName]>>,
}

impl CarrierSet {
    pub fn all() -> CarrierSet {
        CarrierSet { zones: None }
    }

    pub fn of(zones: impl IntoIterator<Item = ZoneName>) -> CarrierSet {
        let mut zones: Vec<ZoneName> = zones.into_iter().collect();
        zones.sort();
        zones.dedup();
        CarrierSet { zones: Some(Arc::from(zones)) }
    }

    /// The zones, or `None` where every zone may.
    pub fn zones(&self) -> Option<&[ZoneName]> {
        self.zones.as_deref()
    }

    pub fn contains(&self, zone: &ZoneName) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.binary_search(zone).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_set_holds_what_was_put_in() {
        let all = [0, 1, 63, 64, 127, 128, 4_095].map(BridgeIndex);
        let mut set: DestinationSet = all.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), all);
        set.remove(BridgeIndex(64));
        assert!(!set.contains(BridgeIndex(64)) && set.contains(BridgeIndex(4_095)));
        assert_eq!(set.len(), 6);
        set.clear();
        assert!(set.is_empty());
    }
}
