//! A hash map whose copies share what they have in common: a hash array mapped trie (Bagwell, "Ideal Hash Trees",
//! 2001), with leaves of several entries.
//!
//! ```text
//!            branch, 16 ways by 4 bits of the hash
//!          ┌────┴──────┐
//!        branch       leaf   up to 32 entries, looked through
//!      ┌───┴───┐
//!     leaf    leaf
//! ```
//!
//! A copy is one reference. A change to a map that has copies copies the way to one leaf, and nothing where the way is
//! its own already. The caller hashes, and says which entry of a hash is meant.

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
    Leaf(Vec<(u64, E)>),
    Branch(Box<[Option<Arc<Node<E>>>; WAYS]>),
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

fn way(hash: u64, depth: u32) -> usize {
    (hash >> (depth * WAY_BITS)) as usize % WAYS
}

/// Beyond it no bits are left, and a leaf takes whatever has the same hash.
const DEPTH_MAX: u32 = u64::BITS / WAY_BITS;

impl<E> SharedMap<E> {
    /// The entry with this hash for which `is_meant` holds.
    pub(crate) fn get(&self, hash: u64, is_meant: impl Fn(&E) -> bool) -> Option<&E> {
        let mut node = self.root.as_deref()?;
        let mut depth = 0;
        loop {
            match node {
                Node::Branch(ways) => node = ways[way(hash, depth)].as_deref()?,
                Node::Leaf(entries) => {
                    let found = entries.iter().find(|(of, entry)| *of == hash && is_meant(entry));
                    return found.map(|(_, entry)| entry);
                }
            }
            depth += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// In no order.
    pub(crate) fn for_each(&self, each: &mut impl FnMut(&E)) {
        if let Some(root) = &self.root {
            for_each(root, each);
        }
    }
}

fn for_each<E>(node: &Node<E>, each: &mut impl FnMut(&E)) {
    match node {
        Node::Leaf(entries) => entries.iter().for_each(|(_, entry)| each(entry)),
        Node::Branch(ways) => ways.iter().flatten().for_each(|node| for_each(node, each)),
    }
}

impl<E: Clone> SharedMap<E> {
    /// The entry with this hash for which `is_meant` holds, to be changed; made by `new` where there is none.
    pub(crate) fn entry(
        &mut self,
        hash: u64,
        is_meant: impl Fn(&E) -> bool,
        new: impl FnOnce() -> E,
    ) -> &mut E {
        let mut node = Arc::make_mut(self.root.get_or_insert_with(|| Arc::new(Node::Leaf(Vec::new()))));
        let mut depth = 0;
        loop {
            if let Node::Leaf(entries) = node
                && entries.len() >= LEAF_MAX
                && depth < DEPTH_MAX
                && !entries.iter().any(|(of, entry)| *of == hash && is_meant(entry))
            {
                *node = divided(std::mem::take(entries), depth);
            }
            match node {
                Node::Branch(ways) => {
                    let slot = &mut ways[way(hash, depth)];
                    node = Arc::make_mut(slot.get_or_insert_with(|| Arc::new(Node::Leaf(Vec::new()))));
                }
                Node::Leaf(entries) => {
                    let at = entries.iter().position(|(of, entry)| *of == hash && is_meant(entry));
                    let at = at.unwrap_or_else(|| {
                        if entries.len() == entries.capacity() {
                            entries.reserve_exact(LEAF_STEP);
                        }
                        entries.push((hash, new()));
                        entries.len() - 1
                    });
                    return &mut entries[at].1;
                }
            }
            depth += 1;
        }
    }

    /// Takes an entry out; copies nothing where there is none. Nodes left empty go too.
    pub(crate) fn remove(&mut self, hash: u64, is_meant: impl Fn(&E) -> bool) -> Option<E> {
        self.get(hash, &is_meant)?;
        remove(&mut self.root, hash, 0, &is_meant)
    }
}

fn divided<E>(entries: Vec<(u64, E)>, depth: u32) -> Node<E> {
    let mut parts: [Vec<(u64, E)>; WAYS] = Default::default();
    for (hash, entry) in entries {
        let part = &mut parts[way(hash, depth)];
        if part.len() == part.capacity() {
            part.reserve_exact(LEAF_STEP);
        }
        part.push((hash, entry));
    }
    Node::Branch(Box::new(parts.map(|part| (!part.is_empty()).then(|| Arc::new(Node::Leaf(part))))))
}

fn remove<E: Clone>(
    slot: &mut Option<Arc<Node<E>>>,
    hash: u64,
    depth: u32,
    is_meant: &impl Fn(&E) -> bool,
) -> Option<E> {
    let node = Arc::make_mut(slot.as_mut()?);
    let (removed, is_left_empty) = match node {
        Node::Leaf(entries) => {
            let at = entries.iter().position(|(of, entry)| *of == hash && is_meant(entry))?;
            let (_, removed) = entries.swap_remove(at);
            (removed, entries.is_empty())
        }
        Node::Branch(ways) => {
            let removed = remove(&mut ways[way(hash, depth)], hash, depth + 1, is_meant)?;
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

    #[track_caller]
    fn check(map: &SharedMap<(u16, u32)>, expected: &BTreeMap<u16, u32>) {
        for key in 0..400 {
            let found = map.get(hash(key), |entry| entry.0 == key).map(|entry| entry.1);
            assert_eq!(found, expected.get(&key).copied(), "{key}");
        }
        assert_eq!(map.is_empty(), expected.is_empty());
    }

    proptest! {
        #[test]
        fn every_copy_stays_what_it_was(steps in proptest::collection::vec(step(), 1..600)) {
            let mut now = (SharedMap::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        now.0.entry(hash(key), |entry: &(u16, u32)| entry.0 == key, || (key, 0)).1 = value;
                        now.1.insert(key, value);
                    }
                    Step::Remove(key) => {
                        let removed = now.0.remove(hash(key), |entry| entry.0 == key).map(|entry| entry.1);
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
