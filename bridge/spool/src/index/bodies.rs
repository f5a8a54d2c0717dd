//! Where bodies lie, by id. Ids grow and end in about their order, so places lie in pages of 24 bytes each: a million
//! waiting events cost as many times 24 bytes, and a straggler a page.

use std::collections::BTreeMap;

use crate::entry::Location;

const SLOTS: usize = 64;

/// A record is never empty, so a length of zero marks an empty slot.
const EMPTY: Location = Location { segment: 0, offset: 0, len: 0 };

fn full(slot: Location) -> Option<Location> {
    (slot.len > 0).then_some(slot)
}

#[derive(Debug)]
struct Page {
    used: usize,
    slots: [Location; SLOTS],
}

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    pages: BTreeMap<u64, Box<Page>>,
}

fn place(id: u64) -> (u64, usize) {
    (id / SLOTS as u64, (id % SLOTS as u64) as usize)
}

impl Bodies {
    pub(crate) fn get(&self, id: u64) -> Option<Location> {
        let (page, slot) = place(id);
        full(self.pages.get(&page)?.slots[slot])
    }

    /// Gives the former place.
    pub(crate) fn insert(&mut self, id: u64, at: Location) -> Option<Location> {
        let (page, slot) = place(id);
        let page =
            self.pages.entry(page).or_insert_with(|| Box::new(Page { used: 0, slots: [EMPTY; SLOTS] }));
        let old = full(std::mem::replace(&mut page.slots[slot], at));
        page.used += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Location> {
        let (number, slot) = place(id);
        let page = self.pages.get_mut(&number)?;
        let old = full(std::mem::replace(&mut page.slots[slot], EMPTY))?;
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        Some(old)
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Location)> {
        self.pages.iter().flat_map(|(number, page)| {
            let first = number * SLOTS as u64;
            (first..).zip(&page.slots).filter_map(|(id, slot)| Some((id, full(*slot)?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec((0_u64..300, 1_u32..99, any::<bool>()), 0..400)) {
            let (mut bodies, mut oracle) = (Bodies::default(), BTreeMap::new());
            for (id, len, add) in steps {
                if add {
                    let at = Location { segment: u64::from(len) << 33, offset: u64::from(len) * 4_096, len };
                    prop_assert_eq!(bodies.insert(id, at), oracle.insert(id, at));
                } else {
                    prop_assert_eq!(bodies.remove(id), oracle.remove(&id));
                }
                prop_assert_eq!(bodies.get(id), oracle.get(&id).copied());
            }
            prop_assert!(bodies.iter().eq(oracle.iter().map(|(id, at)| (*id, *at))));
            oracle.keys().for_each(|id| { bodies.remove(*id); });
            prop_assert!(bodies.pages.is_empty());
        }
    }
}
