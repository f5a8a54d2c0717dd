//! Sets of sequence numbers as disjoint ranges.

use std::collections::BTreeMap;

/// The numbers of one lane that are settled. Ranges collapse as holes fill, so a lane without holes costs one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntervalSet {
    /// start → end, inclusive, disjoint and not adjacent.
    ranges: BTreeMap<u64, u64>,
}

impl IntervalSet {
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| *end >= number)
    }

    /// Adds `from..=to`.
    pub fn insert(&mut self, from: u64, to: u64) {
        let (mut start, mut end) = (from, to.max(from));
        if let Some((s, e)) = self.ranges.range(..=from).next_back()
            && e.saturating_add(1) >= from
        {
            (start, end) = (*s, end.max(*e));
        }
        while let Some((s, e)) = self.ranges.range(start..=end.saturating_add(1)).next() {
            let (s, e) = (*s, *e);
            end = end.max(e);
            self.ranges.remove(&s);
        }
        self.ranges.insert(start, end);
    }

    /// Takes `from..=to` out.
    pub fn remove(&mut self, from: u64, to: u64) {
        while let Some((s, e)) = self.ranges.range(..=to).next_back().map(|(s, e)| (*s, *e)) {
            if e < from {
                return;
            }
            self.ranges.remove(&s);
            if e > to {
                self.ranges.insert(to + 1, e);
            }
            if s < from {
                self.ranges.insert(s, from - 1);
                return;
            }
        }
    }

    /// All numbers from 1 to this one are in the set; 0 when 1 is not.
    pub fn cumulative(&self) -> u64 {
        self.ranges.first_key_value().filter(|(start, _)| **start <= 1).map_or(0, |(_, end)| *end)
    }

    /// Ranges above the cumulative number, ascending.
    pub fn above(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().filter(|(start, _)| **start > 1).map(|(start, end)| (*start, *end))
    }

    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(start, end)| (*start, *end))
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges there are.
    pub fn pieces(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 1_u64..60, 0_u64..9), 0..60)) {
            let mut set = IntervalSet::default();
            let mut oracle = BTreeSet::new();
            for (add, from, more) in steps {
                if add {
                    set.insert(from, from + more);
                    oracle.extend(from..=from + more);
                } else {
                    set.remove(from, from + more);
                    oracle.retain(|n| !(from..=from + more).contains(n));
                }
                for number in 0..80 {
                    prop_assert_eq!(set.contains(number), oracle.contains(&number));
                }
                let cumulative = (1..).take_while(|n| oracle.contains(n)).last().unwrap_or(0);
                prop_assert_eq!(set.cumulative(), cumulative);
                let ranges: Vec<_> = set.ranges().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            }
        }
    }
}
