//! A hash map by text whose copies share what they have in common: a hash array mapped trie (Bagwell, "Ideal Hash Trees",
//! 2001), with leaves of several entries.
//!
//! ```text
//!            branch, 16 ways by 4 bits of the hash
//!          ┌────┴──────┐
//!        branch       leaf   up to 32 entries, looked through, and their texts one behind the other
//!      ┌───┴───┐
//!     leaf    leaf
//! ```
//!
//! A copy is one reference. A change to a map that has copies copies the way to one leaf, and nothing where the way is
//! its own already. A leaf is copied as two pieces of memory: nothing in it is counted or lies elsewhere, so that a copy
//! costs the same however large the map. The caller hashes.

use std::sync::Arc;

const WAY_BITS: u32 = 4;
const WAYS: usize = 1 << WAY_BITS;
/// More are divided over the ways of a branch. Large leaves cost time to copy, small ones memory.
const LEAF_MAX: usize = 32;
/// Leaves grow by so many: doubling would leave half of the memory unused.
const LEAF_STEP: usize = 4;

#[derive(Debug)]
pub(crate) struct SharedMap<E> {
    root: Option<Arc<Node<E>>>,
}

#[derive(Clone, Debug)]
enum Node<E> {
    Leaf(Leaf<E>),
    Branch(Box<[Option<Arc<Node<E>>>; WAYS]>),
}

#[derive(Debug)]
struct Leaf<E> {
    slots: Vec<Slot<E>>,
    texts: String,
}

#[derive(Clone, Debug)]
struct Slot<E> {
    /// As much of it as is looked at.
    hash: u32,
    /// Where its text ends; it begins where the one before ends.
    end: u32,
    entry: E,
}

impl<E> Default for SharedMap<E> {
    fn default() -> SharedMap<E> {
        SharedMap { root: None }
    }
}

impl<E> Clone for SharedMap<E> {
    fn clone(&self) -> SharedMap<E> {
        SharedMap { root: self.root.clone() }
    }
}

impl<E> Default for Leaf<E> {
    fn default() -> Leaf<E> {
        Leaf { slots: Vec::new(), texts: String::new() }
    }
}

/// With room for one more: a leaf is copied to be changed.
impl<E: Clone> Clone for Leaf<E> {
    fn clone(&self) -> Leaf<E> {
        let mut slots = Vec::with_capacity((self.slots.len() + 1).next_multiple_of(LEAF_STEP));
        slots.extend(self.slots.iter().cloned());
        let mut texts = String::with_capacity(self.texts.len() + 2 * self.texts.len() / slots.len().max(1));
        texts.push_str(&self.texts);
        Leaf { slots, texts }
    }
}

fn way(hash: u32, depth: u32) -> usize {
    (hash >> (depth * WAY_BITS)) as usize % WAYS
}

/// Beyond it no bits are left, and a leaf takes whatever has the same hash.
const DEPTH_MAX: u32 = u32::BITS / WAY_BITS;

impl<E> Leaf<E> {
    fn position(&self, hash: u32, text: &[u8]) -> Option<usize> {
        let is_meant = |at: &usize| self.slots[*at].hash == hash && self.text(*at) == text;
        (0..self.slots.len()).find(is_meant)
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.slots[before].end as usize)
    }

    fn text(&self, at: usize) -> &[u8] {
        &self.texts.as_bytes()[self.start(at)..self.slots[at].end as usize]
    }

    fn push(&mut self, hash: u32, text: &str, entry: E) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(LEAF_STEP);
        }
        if self.texts.capacity() - self.texts.len() < text.len() {
            self.texts.reserve_exact(LEAF_STEP * text.len());
        }
        self.texts.push_str(text);
        let end =
            u32::try_from(self.texts.len()).expect("texts have 256 bytes at most, and few the same hash");
        self.slots.push(Slot { hash, end, entry });
    }

    fn remove(&mut self, at: usize) -> E {
        let (start, end) = (self.start(at), self.slots[at].end);
        self.texts.replace_range(start..end as usize, "");
        let removed = self.slots.remove(at);
        self.slots[at..].iter_mut().for_each(|slot| slot.end -= end - start as u32);
        removed.entry
    }

    fn divided(self, depth: u32) -> Node<E> {
        let mut parts: [Leaf<E>; WAYS] = Default::default();
        let mut start = 0;
        for Slot { hash, end, entry } in self.slots {
            parts[way(hash, depth)].push(hash, &self.texts[start..end as usize], entry);
            start = end as usize;
        }
        let node = |leaf: Leaf<E>| (!leaf.slots.is_empty()).then(|| Arc::new(Node::Leaf(leaf)));
        Node::Branch(Box::new(parts.map(node)))
    }
}

impl<E> SharedMap<E> {
    pub(crate) fn get(&self, hash: u64, text: &[u8]) -> Option<&E> {
        let hash = hash as u32;
        let mut node = self.root.as_deref()?;
        let mut depth = 0;
        loop {
            match node {
                Node::Branch(ways) => node = ways[way(hash, depth)].as_deref()?,
                Node::Leaf(leaf) => return leaf.position(hash, text).map(|at| &leaf.slots[at].entry),
            }
            depth += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// In no order.
    pub(crate) fn for_each(&self, each: &mut impl FnMut(&str, &E)) {
        if let Some(root) = &self.root {
            for_each(root, each);
        }
    }
}

fn for_each<E>(node: &Node<E>, each: &mut impl FnMut(&str, &E)) {
    match node {
        Node::Leaf(Leaf { slots, texts }) => {
            let mut start = 0;
            for Slot { end, entry, .. } in slots {
                each(&texts[start..*end as usize], entry);
                start = *end as usize;
            }
        }
        Node::Branch(ways) => ways.iter().flatten().for_each(|node| for_each(node, each)),
    }
}

impl<E: Clone + Default> SharedMap<E> {
    /// The entry of a text, to be changed; a new one where there is none.
    pub(crate) fn entry(&mut self, hash: u64, text: &str) -> &mut E {
        let hash = hash as u32;
        let new = || Arc::new(Node::Leaf(Leaf::default()));
        let mut node = Arc::make_mut(self.root.get_or_insert_with(new));
        let mut depth = 0;
        loop {
            if let Node::Leaf(leaf) = node
                && leaf.slots.len() >= LEAF_MAX
                && depth < DEPTH_MAX
                && leaf.position(hash, text.as_bytes()).is_none()
            {
                *node = std::mem::take(leaf).divided(depth);
            }
            match node {
                Node::Branch(ways) => {
                    node = Arc::make_mut(ways[way(hash, depth)].get_or_insert_with(new));
                }
                Node::Leaf(leaf) => {
                    let at = leaf.position(hash, text.as_bytes()).unwrap_or_else(|| {
                        leaf.push(hash, text, E::default());
                        leaf.slots.len() - 1
                    });
                    return &mut leaf.slots[at].entry;
                }
            }
            depth += 1;
        }
    }

    /// Takes an entry out; copies nothing where there is none. Nodes left empty go too.
    pub(crate) fn remove(&mut self, hash: u64, text: &str) -> Option<E> {
        self.get(hash, text.as_bytes())?;
        remove(&mut self.root, hash as u32, 0, text)
    }
}

fn remove<E: Clone>(slot: &mut Option<Arc<Node<E>>>, hash: u32, depth: u32, text: &str) -> Option<E> {
    let node = Arc::make_mut(slot.as_mut()?);
    let (removed, is_left_empty) = match node {
        Node::Leaf(leaf) => {
            let removed = leaf.remove(leaf.position(hash, text.as_bytes())?);
            (removed, leaf.slots.is_empty())
        }
        Node::Branch(ways) => {
            let removed = remove(&mut ways[way(hash, depth)], hash, depth + 1, text)?;
            (removed, ways.iter().all(Option::is_none))
        }
    };
    if is_left_empty {
        *slot = None;
    }
    Some(removed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u16, u32),
        Remove(u16),
        Copy,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..400_u16, any::<u32>()).prop_map(|(key, value)| Step::Put(key, value)),
            4 => (0..400_u16).prop_map(Step::Remove),
            1 => Just(Step::Copy),
        ]
    }

    /// Few hashes, so that keys share them and leaves overflow below the last bit.
    fn hash(key: u16) -> u64 {
        u64::from(key % 7).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Of many lengths, none at all among them.
    fn text(key: u16) -> String {
        "é".repeat(usize::from(key))
    }

    #[track_caller]
    fn check(map: &SharedMap<u32>, expected: &BTreeMap<u16, u32>) {
        for key in 0..400 {
            let found = map.get(hash(key), text(key).as_bytes()).copied();
            assert_eq!(found, expected.get(&key).copied(), "{key}");
        }
        assert_eq!(map.is_empty(), expected.is_empty());
        let mut all = BTreeMap::new();
        map.for_each(&mut |text, value| assert_eq!(all.insert(text.chars().count() as u16, *value), None));
        assert_eq!(all, *expected);
    }

    proptest! {
        #[test]
        fn every_copy_stays_what_it_was(steps in proptest::collection::vec(step(), 1..600)) {
            let mut now = (SharedMap::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        *now.0.entry(hash(key), &text(key)) = value;
                        now.1.insert(key, value);
                    }
                    Step::Remove(key) => {
                        let removed = now.0.remove(hash(key), &text(key));
                        prop_assert_eq!(removed, now.1.remove(&key));
                    }
                    Step::Copy => copies.push(now.clone()),
                }
            }
            copies.push(now);
            copies.iter().for_each(|(map, expected)| check(map, expected));
        }
    }
}
