//! Strings as integers: every text is kept once, in one buffer, and a table of numbers finds it again. About 16 bytes a
//! string beside its own; a `HashMap<String, u32>` takes five times as much, which counts with millions of ids.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

const SLOTS_MIN: usize = 16;
const EMPTY: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Interner {
    text: String,
    /// Where each string ends in `text`.
    ends: Vec<usize>,
    /// Open addressing, at most half full; a power of two.
    slots: Vec<u32>,
}

impl Interner {
    pub(crate) fn text(&self, number: u32) -> &str {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }

    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let found = self.slots[self.slot_of(text)];
        (found != EMPTY).then_some(found)
    }

    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        if self.slots.len() < 2 * (self.ends.len() + 1) {
            self.grow();
        }
        let slot = self.slot_of(text);
        if self.slots[slot] == EMPTY {
            let number = u32::try_from(self.ends.len()).expect("fewer than four billion strings");
            self.text.push_str(text);
            self.ends.push(self.text.len());
            self.slots[slot] = number;
        }
        self.slots[slot]
    }

    /// The slot that holds `text`, or the empty one where it belongs.
    fn slot_of(&self, text: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(hasher.finish() & mask as u64).expect("below the number of slots");
        while self.slots[at] != EMPTY && self.text(self.slots[at]) != text {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; (self.slots.len() * 2).max(SLOTS_MIN)];
        for number in 0..self.ends.len() {
            let number = u32::try_from(number).expect("interned before");
            let slot = self.slot_of(self.text(number));
            self.slots[slot] = number;
        }
    }
}

/// Sets of small numbers as integers: a run has millions of events and a handful of destination sets.
#[derive(Debug)]
pub(crate) struct SetTable {
    sets: Vec<Vec<u32>>,
    numbers: HashMap<Vec<u32>, u32>,
}

impl Default for SetTable {
    fn default() -> Self {
        SetTable { sets: vec![Vec::new()], numbers: HashMap::from([(Vec::new(), SetTable::EMPTY)]) }
    }
}

impl SetTable {
    pub(crate) const EMPTY: u32 = 0;

    pub(crate) fn members(&self, set: u32) -> &[u32] {
        &self.sets[set as usize]
    }

    pub(crate) fn contains(&self, set: u32, member: u32) -> bool {
        self.members(set).contains(&member)
    }

    pub(crate) fn union(&mut self, set: u32, more: impl IntoIterator<Item = u32>) -> u32 {
        let mut members = self.members(set).to_vec();
        members.extend(more);
        members.sort_unstable();
        members.dedup();
        if let Some(number) = self.numbers.get(&members) {
            return *number;
        }
        let number = u32::try_from(self.sets.len()).expect("fewer than four billion sets");
        self.sets.push(members.clone());
        self.numbers.insert(members, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_keeps_its_number_while_the_table_grows() {
        let mut interner = Interner::default();
        assert_eq!(interner.find("0"), None);
        for round in 0..2 {
            for number in 0..10_000_u32 {
                assert_eq!(interner.intern(&number.to_string()), number, "round {round}");
            }
        }
        assert_eq!(interner.text(4_321), "4321");
        assert_eq!(interner.find("9999"), Some(9_999));
        assert_eq!(interner.find("10000"), None);
        assert_eq!(interner.intern(""), 10_000);
        assert_eq!(interner.text(10_000), "");
    }

    #[test]
    fn equal_sets_have_one_number() {
        let mut sets = SetTable::default();
        let both = sets.union(SetTable::EMPTY, [2, 1, 2]);
        let one = sets.union(SetTable::EMPTY, [1]);
        assert_eq!(sets.union(one, [2]), both);
        assert_eq!(sets.members(both), [1, 2]);
        assert!(sets.contains(both, 2) && !sets.contains(one, 2));
        assert_eq!(sets.union(SetTable::EMPTY, []), SetTable::EMPTY);
    }
}
