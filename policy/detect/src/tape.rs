//! JSON text, parsed in one pass into a flat list of nodes that keep their places in the text.
//!
//! Nothing is converted: a node says what stands where, and the text stays the only copy of it. Numbers of any length
//! and duplicate members stay as they were written. What is not strict RFC 8259 is an error, and so is a `\u` escape
//! of half a surrogate pair: no Unicode text corresponds to it, and receivers read it in different ways.
//!
//! ```text
//! {"a": [1, true], "b": null}     0 Object                    next 7
//!                                 1 Key "a"     parent 0      next 5
//!                                 2 Array       parent 1      next 5
//!                                 3 Number      parent 2      next 4
//!                                 4 True        parent 2      next 5
//!                                 5 Key "b"     parent 0      next 7
//!                                 6 Null        parent 5      next 7
//! ```

mod parse;
mod path;
mod unescape;

use std::borrow::Cow;

pub use parse::{DEPTH_MAX, ParseError, TapeBuffer};
pub use path::{Paths, push_name};
pub use unescape::Unescaped;
pub(crate) use unescape::unescape;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Object,
    Array,
    /// The name of a member. The subtree of its value follows directly.
    Key,
    String,
    Number,
    True,
    False,
    Null,
}

/// A value, or the name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins in the text, in bytes; for a key or string at its quote.
    pub start: u32,
    /// The byte after its last one.
    pub end: u32,
    /// Index of the first node that is not below this one. What is below a key is its value, so the next of a key is
    /// the next key of the object.
    pub next: u32,
    /// Index of the node above: of a member's value its key, of a key its object, of an element its array. The root
    /// is its own parent.
    pub parent: u32,
    pub kind: Kind,
    /// A key or string with a backslash in it.
    pub escaped: bool,
}

/// Parsed text, in document order. The root is node 0. Built by a [`TapeBuffer`].
#[derive(Clone, Copy, Debug)]
pub struct Tape<'t> {
    text: &'t str,
    nodes: &'t [Node],
}

impl<'t> Tape<'t> {
    /// The text, with all its white space.
    pub fn text(&self) -> &'t str {
        self.text
    }

    pub fn nodes(&self) -> &'t [Node] {
        self.nodes
    }

    /// # Panics
    /// Where `index` is not of this tape, as slices do.
    #[inline]
    pub fn node(&self, index: u32) -> &'t Node {
        &self.nodes[index as usize]
    }

    /// The text of a node as it stands: quotes and escapes of strings, everything below an object or array.
    #[inline]
    pub fn raw(&self, index: u32) -> &'t str {
        let node = self.node(index);
        &self.text[node.start as usize..node.end as usize]
    }

    /// The text between the quotes of a key or string as it stands; of other nodes as [`Tape::raw`].
    #[inline]
    pub fn inner(&self, index: u32) -> &'t str {
        let raw = self.raw(index);
        match self.node(index).kind {
            Kind::Key | Kind::String => &raw[1..raw.len() - 1],
            _ => raw,
        }
    }

    /// Whether a node is a key that stands for `name`.
    #[inline]
    pub fn is_named(&self, index: u32, name: &str) -> bool {
        let node = self.node(index);
        if node.kind != Kind::Key {
            return false;
        }
        if node.escaped {
            return self.unescape(index) == name;
        }
        let (start, end) = (node.start as usize + 1, node.end as usize - 1);
        end - start == name.len() && self.text.as_bytes()[start..end] == *name.as_bytes()
    }

    /// The text that a key or string stands for; of other nodes as [`Tape::raw`].
    pub fn unescape(&self, index: u32) -> Cow<'t, str> {
        match self.node(index) {
            Node { escaped: true, .. } => Cow::Owned(unescape::to_string(self.inner(index))),
            _ => Cow::Borrowed(self.inner(index)),
        }
    }

    /// As [`Tape::unescape`], with the place of each character.
    pub fn unescaped(&self, index: u32) -> Unescaped<'t> {
        Unescaped::new(self, index)
    }

    /// Key and value of each member of an object, in order, duplicates included; nothing for other nodes.
    pub fn members(&self, object: u32) -> impl Iterator<Item = (u32, u32)> + use<'t> {
        self.children(object, Kind::Object).map(|key| (key, key + 1))
    }

    /// The elements of an array in order; nothing for other nodes.
    pub fn elements(&self, array: u32) -> impl Iterator<Item = u32> + use<'t> {
        self.children(array, Kind::Array)
    }

    /// The key that a node is the value of.
    pub fn key_of(&self, value: u32) -> Option<u32> {
        let parent = self.node(value).parent;
        (parent != value && self.node(parent).kind == Kind::Key).then_some(parent)
    }

    fn children(&self, index: u32, kind: Kind) -> impl Iterator<Item = u32> + use<'t> {
        let nodes = self.nodes;
        let node = &nodes[index as usize];
        let end = if node.kind == kind { node.next } else { index };
        let mut at = index + 1;
        std::iter::from_fn(move || {
            let child = (at < end).then_some(at)?;
            at = nodes[child as usize].next;
            Some(child)
        })
    }
}

#[cfg(test)]
mod tests;
