//! The subscriptions of one connection, by the ids that its client gave them.
//!
//! A client may have a million, and numbers them one after the other: those whose ids differ in the last bits only lie
//! together, in order, so that each takes little more than its own size. Of ids that are far apart each is alone.

use std::collections::HashMap;
use std::sync::Arc;

use meshbridge_topic::TopicFilter;

use crate::pipeline::Tagged;

/// Bits of an id that tell those which lie together apart.
const TOGETHER_BITS: u32 = 6;

/// A subscription, and how much of it the client has had. What few of them have is apart.
#[derive(Debug)]
pub(super) struct Subscribed {
    filter: TopicFilter,
    is_private: bool,
    /// The federation was told of its interest.
    pub(super) is_announced: bool,
    /// The last bits of its id.
    place: u8,
    pub(super) sent: u64,
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    group: Option<Arc<str>>,
    /// It ends after so many.
    max: Option<u64>,
}

impl Subscribed {
    /// One that nobody was told of yet.
    pub(super) fn new(tagged: &Tagged) -> Subscribed {
        let rare = tagged.group.clone().map(|group| Box::new(Rare { group: Some(group), max: None }));
        let (filter, is_private) = (tagged.filter.clone(), tagged.is_private);
        Subscribed { filter, is_private, is_announced: false, place: place(tagged.tag), sent: 0, rare }
    }

    pub(super) fn end_after(&mut self, max: Option<u64>) {
        if max.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().max = max;
        }
    }

    pub(super) fn max(&self) -> Option<u64> {
        self.rare.as_ref()?.max
    }

    pub(super) fn into_tagged(self, tag: u64) -> Tagged {
        let group = self.rare.and_then(|rare| rare.group);
        Tagged { tag, filter: self.filter, group, is_private: self.is_private }
    }
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// By what ids have in common, in the order of places.
    pages: HashMap<u64, Vec<Subscribed>>,
    len: usize,
}

fn place(sid: u64) -> u8 {
    (sid % (1 << TOGETHER_BITS)) as u8
}

fn position(page: &[Subscribed], sid: u64) -> Result<usize, usize> {
    page.binary_search_by_key(&place(sid), |known| known.place)
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get_mut(&mut self, sid: u64) -> Option<&mut Subscribed> {
        let page = self.pages.get_mut(&(sid >> TOGETHER_BITS))?;
        position(page, sid).ok().and_then(|at| page.get_mut(at))
    }

    /// Under the id that it was made for; what stood there before stays. Tells whether it was taken.
    pub(super) fn insert(&mut self, sid: u64, subscribed: Subscribed) -> bool {
        let page = self.pages.entry(sid >> TOGETHER_BITS).or_default();
        let Err(at) = position(page, sid) else { return false };
        if page.len() == page.capacity() {
            page.reserve_exact(page.len().max(1));
        }
        page.insert(at, subscribed);
        self.len += 1;
        true
    }

    pub(super) fn remove(&mut self, sid: u64) -> Option<Subscribed> {
        let page = self.pages.get_mut(&(sid >> TOGETHER_BITS))?;
        let removed = page.remove(position(page, sid).ok()?);
        if page.is_empty() {
            self.pages.remove(&(sid >> TOGETHER_BITS));
        }
        self.len -= 1;
        Some(removed)
    }

    /// All of them, in no order.
    pub(super) fn into_all(self) -> impl Iterator<Item = (u64, Subscribed)> {
        let with_ids = |(common, page): (u64, Vec<Subscribed>)| {
            page.into_iter().map(move |known| (common << TOGETHER_BITS | u64::from(known.place), known))
        };
        self.pages.into_iter().flat_map(with_ids)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn tagged(tag: u64) -> Tagged {
        let filter = TopicFilter::parse(&format!("a.{tag}")).expect("a filter");
        Tagged { tag, filter, group: None, is_private: false }
    }

    #[test]
    fn each_id_has_one_subscription_whatever_the_ids_are() {
        let mut table = Subscriptions::default();
        let mut expected: BTreeMap<u64, String> = BTreeMap::new();
        let ids = [0, 1, 63, 64, 65, 127, 4_096, 1 << 40, u64::MAX, u64::MAX - 1];
        for round in 0_u64..600 {
            // In no order, some of them more than once.
            let id = ids[(round * 7 % 10) as usize] ^ (round / 30 * 5);
            if round % 3 == 2 {
                let removed = table.remove(id).map(|known| known.into_tagged(id).filter.to_string());
                assert_eq!(removed, expected.remove(&id), "{id}");
            } else {
                assert_eq!(table.insert(id, Subscribed::new(&tagged(id))), !expected.contains_key(&id));
                expected.entry(id).or_insert(format!("a.{id}"));
            }
            assert_eq!(
                (table.len(), table.get_mut(id).is_some()),
                (expected.len(), expected.contains_key(&id))
            );
        }
        assert!(expected.len() > 50);
        let all = table.into_all().map(|(id, known)| (id, known.into_tagged(id).filter.to_string()));
        assert_eq!(all.collect::<BTreeMap<_, _>>(), expected);
    }
}
