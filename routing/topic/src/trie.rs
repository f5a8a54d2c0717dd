//! Finds the filters that match a topic.
//!
//! ```text
//! orders.*.created → 1        orders ─┬─ *  ── created  [1]
//! orders.eu.**     → 2                ├─ eu ── **       [2]
//! orders.**        → 3                └─ **             [3]
//! ```
//!
//! A topic walks down at most three ways at each token: the literal, `*`, and `**`, which may take any number of
//! tokens. A filter has at most two `**`, so a walk is short, and it allocates nothing.

use std::collections::HashMap;

use crate::{TOKENS_MAX, Topic, TopicFilter};

/// Values stored under filters. The same value may stand under several filters, and several values under one.
#[derive(Clone, Debug)]
pub struct FilterTrie<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Node<V> {
    literal: HashMap<Box<str>, Node<V>>,
    one: Option<Box<Node<V>>>,
    many: Option<Box<Node<V>>>,
    values: Vec<V>,
}

impl<V> Default for Node<V> {
    fn default() -> Node<V> {
        Node { literal: HashMap::new(), one: None, many: None, values: Vec::new() }
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.literal.is_empty() && self.one.is_none() && self.many.is_none()
    }

    fn child_mut(&mut self, token: &str) -> &mut Node<V> {
        match token {
            "*" => self.one.get_or_insert_default(),
            "**" => self.many.get_or_insert_default(),
            literal => {
                if !self.literal.contains_key(literal) {
                    self.literal.insert(Box::from(literal), Node::default());
                }
                self.literal.get_mut(literal).expect("inserted above")
            }
        }
    }
}

impl<V> Default for FilterTrie<V> {
    fn default() -> FilterTrie<V> {
        FilterTrie { root: Node::default(), len: 0 }
    }
}

impl<V> FilterTrie<V> {
    /// Stores `value` under `filter`, beside what is there.
    pub fn insert(&mut self, filter: &TopicFilter, value: V) {
        let mut node = &mut self.root;
        for token in filter.tokens() {
            node = node.child_mut(token);
        }
        node.values.push(value);
        self.len += 1;
    }

    /// Calls `found` with every value whose filter matches. A value is reported once for each filter it stands under
    /// and for each way in which a filter with `**` matches; who needs it once keeps a set.
    pub fn for_each_match(&self, topic: &Topic, mut found: impl FnMut(&V)) {
        let mut tokens = [""; TOKENS_MAX];
        let mut length = 0;
        for (slot, token) in tokens.iter_mut().zip(topic.tokens()) {
            *slot = token;
            length += 1;
        }
        walk(&self.root, tokens.get(..length).unwrap_or_default(), &mut found);
    }

    /// Values stored, counting each place.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<V: PartialEq> FilterTrie<V> {
    /// Removes one `value` stored under `filter`; `false` if there is none. Nodes left empty go too.
    pub fn remove(&mut self, filter: &TopicFilter, value: &V) -> bool {
        let removed = remove(&mut self.root, filter.tokens(), value);
        if removed {
            self.len -= 1;
        }
        removed
    }
}

fn walk<V>(node: &Node<V>, tokens: &[&str], found: &mut impl FnMut(&V)) {
    if let Some(many) = &node.many {
        for taken in 0..=tokens.len() {
            walk(many, tokens.get(taken..).unwrap_or_default(), found);
        }
    }
    let Some((token, rest)) = tokens.split_first() else {
        node.values.iter().for_each(found);
        return;
    };
    if let Some(child) = node.literal.get(*token) {
        walk(child, rest, found);
    }
    if let Some(child) = &node.one {
        walk(child, rest, found);
    }
}

fn remove<'a, V: PartialEq>(
    node: &mut Node<V>,
    mut tokens: impl Iterator<Item = &'a str>,
    value: &V,
) -> bool {
    let Some(token) = tokens.next() else {
        let at = node.values.iter().position(|stored| stored == value);
        return at.map(|at| node.values.swap_remove(at)).is_some();
    };
    match token {
        "*" => remove_boxed(&mut node.one, tokens, value),
        "**" => remove_boxed(&mut node.many, tokens, value),
        literal => {
            let Some(child) = node.literal.get_mut(literal) else { return false };
            let removed = remove_dyn(child, &mut tokens, value);
            if child.is_empty() {
                node.literal.remove(literal);
            }
            removed
        }
    }
}

fn remove_boxed<'a, V: PartialEq>(
    slot: &mut Option<Box<Node<V>>>,
    mut tokens: impl Iterator<Item = &'a str>,
    value: &V,
) -> bool {
    let Some(child) = slot else { return false };
    let removed = remove_dyn(child, &mut tokens, value);
    if child.is_empty() {
        *slot = None;
    }
    removed
}

/// Breaks the chain of iterator types that the recursion would build.
fn remove_dyn<V: PartialEq>(node: &mut Node<V>, tokens: &mut dyn Iterator<Item = &str>, value: &V) -> bool {
    remove(node, tokens, value)
}
