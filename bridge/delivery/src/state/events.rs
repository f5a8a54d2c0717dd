//! Events by their bodies. Bodies are numbered in the order of acceptance and end in about that order, so they lie in
//! pages: dense where they wait in crowds, a page for a straggler.

use std::collections::BTreeMap;

use super::Event;

const SLOTS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    used: u32,
    slots: [Option<Box<Event>>; SLOTS],
}

/// A map from body to event, in the order of the bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    pages: BTreeMap<u64, Box<Page>>,
    len: usize,
}

fn place(body: u64) -> (u64, usize) {
    (body / SLOTS as u64, (body % SLOTS as u64) as usize)
}

impl Events {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, body: &u64) -> Option<&Event> {
        let (page, slot) = place(*body);
        self.pages.get(&page)?.slots[slot].as_deref()
    }

    pub fn contains_key(&self, body: &u64) -> bool {
        self.get(body).is_some()
    }

    pub(crate) fn get_mut(&mut self, body: &u64) -> Option<&mut Event> {
        let (page, slot) = place(*body);
        self.pages.get_mut(&page)?.slots[slot].as_deref_mut()
    }

    pub(crate) fn insert(&mut self, body: u64, event: Event) {
        let (page, slot) = place(body);
        let page = self
            .pages
            .entry(page)
            .or_insert_with(|| Box::new(Page { used: 0, slots: std::array::from_fn(|_| None) }));
        if page.slots[slot].replace(Box::new(event)).is_none() {
            page.used += 1;
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, body: &u64) -> Option<Event> {
        let (number, slot) = place(*body);
        let page = self.pages.get_mut(&number)?;
        let event = page.slots[slot].take()?;
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        Some(*event)
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Event)> {
        self.pages.iter().flat_map(|(number, page)| {
            let first = number * SLOTS as u64;
            (first..).zip(&page.slots).filter_map(|(body, slot)| Some((body, slot.as_deref()?)))
        })
    }

    pub fn values(&self) -> impl Iterator<Item = &Event> {
        self.iter().map(|(_, event)| event)
    }

    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.iter().map(|(body, _)| body)
    }
}

#[cfg(test)]
mod tests {
    use meshbridge_routing::{BridgeId, EventKey, Run};
    use proptest::prelude::*;
    use smallvec::SmallVec;

    use super::*;

    fn event(seq: u64) -> Event {
        let origin = BridgeId::parse("a").expect("a name");
        Event {
            key: EventKey { origin, run: Run { epoch: 1, nonce: 1 }, lane: 0, seq },
            prev: 0,
            at: 0,
            expires: 0,
            retain_delivered: false,
            size: 0,
            destinations: SmallVec::new(),
            groups: Vec::new(),
            local_open: true,
            worst: None,
            owner: 0,
            start: 0,
            groups_only: false,
            attempts: 0,
            choices: None,
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec((0_u64..300, any::<bool>()), 0..400)) {
            let (mut events, mut oracle) = (Events::default(), BTreeMap::new());
            for (number, (body, add)) in (0_u64..).zip(steps) {
                if add {
                    events.insert(body, event(number));
                    oracle.insert(body, event(number));
                } else {
                    prop_assert_eq!(events.remove(&body), oracle.remove(&body));
                }
                prop_assert_eq!(events.len(), oracle.len());
                prop_assert_eq!(events.get(&body), oracle.get(&body));
            }
            prop_assert!(events.iter().eq(oracle.iter().map(|(body, event)| (*body, event))));
            prop_assert!(oracle.keys().all(|body| events.contains_key(body)));
            oracle.keys().for_each(|body| { events.remove(body); });
            prop_assert_eq!(events, Events::default());
        }
    }
}
