//! Finds the filters that match a topic.
//!
//! ```text
//! orders.eu.created → 0      without wildcards: found by the whole text, in one step
//!
//! orders.*.created  → 1      orders ─┬─ *  ── created  [1]
//! orders.eu.**      → 2              ├─ eu ── **       [2]
//! orders.**         → 3              └─ **             [3]
//! ```
//!
//! A topic walks down at most three ways at each token: the literal, `*`, and `**`, which may take any number of
//! tokens. A filter has at most two `**`, so a walk is short, and it allocates nothing.
//!
//! There are no nodes in a tree of pointers: a node is an entry of one hash map, under the text from the root to it. So
//! a copy of the trie is two references, which is how a table that never changes is made of one that does, and a change
//! afterwards costs what it changed, however many filters a node has below it.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::filter::{FRESH, is_wildcard};
use crate::shared_map::SharedMap;
use crate::{BYTES_MAX, TOKENS_MAX, Topic, TopicFilter};

/// Values stored under filters. The same value may stand under several filters, and several values under one.
#[derive(Clone, Debug)]
pub struct FilterTrie<V> {
    /// By the texts of filters without wildcards.
    literals: SharedMap<Values<V>>,
    /// By every prefix of a filter with wildcards, the empty one left out.
    nodes: SharedMap<Node<V>>,
    root: Below,
    /// Keyed by chance: nobody outside can find filters that meet in one place.
    hashes: RandomState,
    len: usize,
}

#[derive(Clone, Debug)]
struct Node<V> {
    below: Below,
    values: Values<V>,
}

impl<V> Default for Node<V> {
    fn default() -> Node<V> {
        Node { below: Below::default(), values: Values::None }
    }
}

/// Values stored below a node, by the kind of the next token.
#[derive(Clone, Copy, Debug, Default)]
struct Below {
    literal: u32,
    one: u32,
    many: u32,
}

/// Most filters have one value.
#[derive(Clone, Debug, Default)]
enum Values<V> {
    #[default]
    None,
    One(V),
    Many(Box<Many<V>>),
}

#[derive(Clone, Debug)]
struct Many<V>(Vec<V>);

impl<V> Values<V> {
    fn as_slice(&self) -> &[V] {
        match self {
            Values::None => &[],
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(many) => &many.0,
        }
    }

    fn push(&mut self, value: V) {
        *self = match std::mem::replace(self, Values::None) {
            Values::None => Values::One(value),
            Values::One(first) => Values::Many(Box::new(Many(vec![first, value]))),
            Values::Many(mut many) => {
                many.0.push(value);
                Values::Many(many)
            }
        };
    }
}

impl<V: PartialEq> Values<V> {
    fn remove(&mut self, value: &V) {
        match self {
            Values::Many(many) => {
                if let Some(at) = many.0.iter().position(|stored| stored == value) {
                    many.0.swap_remove(at);
                }
                if many.0.len() == 1 {
                    *self = many.0.pop().map_or(Values::None, Values::One);
                }
            }
            Values::One(stored) if stored == value => *self = Values::None,
            Values::One(_) | Values::None => {}
        }
    }
}

impl Below {
    fn of(&mut self, token: &str) -> &mut u32 {
        match token {
            "*" => &mut self.one,
            "**" => &mut self.many,
            _ => &mut self.literal,
        }
    }

    fn is_empty(self) -> bool {
        self.literal == 0 && self.one == 0 && self.many == 0
    }
}

impl<V> Default for FilterTrie<V> {
    fn default() -> FilterTrie<V> {
        FilterTrie {
            literals: SharedMap::default(),
            nodes: SharedMap::default(),
            root: Below::default(),
            hashes: RandomState::new(),
            len: 0,
        }
    }
}

impl<V> FilterTrie<V> {
    /// Calls `found` with every value whose filter matches. A value is reported once for each filter it stands under
    /// and for each way in which a filter with `**` matches; who needs it once keeps a set.
    pub fn for_each_match(&self, topic: &Topic, mut found: impl FnMut(&V)) {
        if !self.literals.is_empty() {
            let text = topic.as_str();
            let literal = self.literals.get(self.hash(text), text.as_bytes());
            literal.into_iter().flat_map(Values::as_slice).for_each(&mut found);
        }
        self.walk(topic.tokens(), found);
    }

    /// Calls `found` with the values of all filters with wildcards that cover `filter`, and of some that may not: those
    /// that match one topic which the filter matches, made of tokens that no filter names in place of its wildcards.
    pub fn for_each_possible_cover(&self, filter: &TopicFilter, found: impl FnMut(&V)) {
        self.walk(filter.tokens().map(|token| if is_wildcard(token) { FRESH } else { token }), found);
    }

    /// Calls `each` with everything stored, in no order. The trie has texts only: each filter is made for the call.
    pub fn for_each(&self, mut each: impl FnMut(&TopicFilter, &V)) {
        let mut all = |text: &str, values: &Values<V>| {
            if !values.as_slice().is_empty() {
                let filter = TopicFilter::checked_before(text);
                values.as_slice().iter().for_each(|value| each(&filter, value));
            }
        };
        self.literals.for_each(&mut all);
        self.nodes.for_each(&mut |text, node| all(text, &node.values));
    }

    fn walk<'t>(&self, topic: impl Iterator<Item = &'t str>, found: impl FnMut(&V)) {
        if self.nodes.is_empty() {
            return;
        }
        let mut tokens = [""; TOKENS_MAX];
        let mut length = 0;
        for (slot, token) in tokens.iter_mut().zip(topic) {
            *slot = token;
            length += 1;
        }
        let mut walk = Walk { trie: self, path: [0; PATH_BYTES_MAX], found };
        walk.down(self.root, &[], At::root(self), tokens.get(..length).unwrap_or_default());
    }

    /// Values stored, counting each place.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn hash(&self, text: &str) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    fn values_of(&self, filter: &TopicFilter) -> &[V] {
        let values = if filter.is_literal() {
            self.literals.get(self.hash(filter.as_str()), filter.as_str().as_bytes())
        } else {
            let node = prefixes(&self.hashes, filter).last();
            let node = node.and_then(|(path, hash)| self.nodes.get(hash, path.as_bytes()));
            node.map(|node| &node.values)
        };
        values.map_or(&[], Values::as_slice)
    }
}

impl<V: Clone> FilterTrie<V> {
    /// Stores `value` under `filter`, beside what is there.
    pub fn insert(&mut self, filter: &TopicFilter, value: V) {
        self.len += 1;
        if filter.is_literal() {
            return self.literals.entry(self.hash(filter.as_str()), filter.as_str()).push(value);
        }
        let mut next = filter.tokens();
        *self.root.of(next.next().unwrap_or_default()) += 1;
        for (prefix, hash) in prefixes(&self.hashes, filter) {
            let node = self.nodes.entry(hash, prefix);
            match next.next() {
                Some(next) => *node.below.of(next) += 1,
                None => return node.values.push(value),
            }
        }
    }
}

/// The texts from the root to each node of a filter, with their hashes. Hashed piece by piece as a walk does: a hasher
/// need not give the same for the same bytes in other pieces.
fn prefixes<'a>(hashes: &RandomState, filter: &'a TopicFilter) -> impl Iterator<Item = (&'a str, u64)> {
    let text = filter.as_str();
    let mut hasher = hashes.build_hasher();
    let mut start = 0;
    filter.tokens().enumerate().map(move |(at, token)| {
        let end = start + token.len() + usize::from(at > 0);
        hasher.write(&text.as_bytes()[start..end]);
        start = end;
        (&text[..end], hasher.clone().finish())
    })
}

impl<V: Clone + PartialEq> FilterTrie<V> {
    /// Whether `value` is stored under `filter`.
    pub fn contains(&self, filter: &TopicFilter, value: &V) -> bool {
        self.values_of(filter).contains(value)
    }

    /// Removes one `value` stored under `filter`; `false` if there is none. Nodes left empty go too.
    pub fn remove(&mut self, filter: &TopicFilter, value: &V) -> bool {
        if !self.contains(filter, value) {
            return false;
        }
        self.len -= 1;
        if filter.is_literal() {
            let (hash, text) = (self.hash(filter.as_str()), filter.as_str());
            if self.values_of(filter).len() == 1 {
                self.literals.remove(hash, text);
            } else {
                self.literals.entry(hash, text).remove(value);
            }
            return true;
        }
        let mut next = filter.tokens();
        *self.root.of(next.next().unwrap_or_default()) -= 1;
        for (prefix, hash) in prefixes(&self.hashes, filter) {
            // A filter that is stored has all of its nodes.
            let node = self.nodes.entry(hash, prefix);
            match next.next() {
                Some(next) => *node.below.of(next) -= 1,
                None => node.values.remove(value),
            }
            if node.below.is_empty() && node.values.as_slice().is_empty() {
                self.nodes.remove(hash, prefix);
            }
        }
        true
    }
}

/// A topic may have two tokens more on its way than it has of its own, and the dots between them.
const PATH_BYTES_MAX: usize = BYTES_MAX + 32;

/// One topic on its way down.
struct Walk<'a, V, F> {
    trie: &'a FilterTrie<V>,
    /// The text from the root to where it is.
    path: [u8; PATH_BYTES_MAX],
    found: F,
}

/// Where a walk is: the bytes of its path, and a hasher that has read them.
#[derive(Clone)]
struct At<H> {
    bytes: usize,
    hasher: H,
}

type PathHasher = <RandomState as BuildHasher>::Hasher;

impl At<PathHasher> {
    fn root<V>(trie: &FilterTrie<V>) -> At<PathHasher> {
        At { bytes: 0, hasher: trie.hashes.build_hasher() }
    }
}

impl<'a, V, F: FnMut(&V)> Walk<'a, V, F> {
    fn down(&mut self, below: Below, values: &[V], at: At<PathHasher>, tokens: &[&str]) {
        if below.many > 0
            && let Some((many, here)) = self.child(&at, "**")
        {
            for taken in 0..=tokens.len() {
                let rest = tokens.get(taken..).unwrap_or_default();
                self.down(many.below, many.values.as_slice(), here.clone(), rest);
            }
        }
        let Some((token, rest)) = tokens.split_first() else {
            values.iter().for_each(&mut self.found);
            return;
        };
        if below.literal > 0
            && let Some((child, here)) = self.child(&at, token)
        {
            self.down(child.below, child.values.as_slice(), here, rest);
        }
        if below.one > 0
            && let Some((child, here)) = self.child(&at, "*")
        {
            self.down(child.below, child.values.as_slice(), here, rest);
        }
    }

    /// The node one token further. What does not fit the path is longer than any filter.
    fn child(&mut self, at: &At<PathHasher>, token: &str) -> Option<(&'a Node<V>, At<PathHasher>)> {
        let dot = usize::from(at.bytes > 0);
        let end = at.bytes + dot + token.len();
        let piece = self.path.get_mut(at.bytes..end)?;
        if dot == 1 {
            piece[0] = b'.';
        }
        piece[dot..].copy_from_slice(token.as_bytes());
        let mut hasher = at.hasher.clone();
        hasher.write(piece);
        let node = self.trie.nodes.get(hasher.finish(), &self.path[..end])?;
        Some((node, At { bytes: end, hasher }))
    }
}
