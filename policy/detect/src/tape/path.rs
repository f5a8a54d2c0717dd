//! Where a node stands, in the notation of policies: `$.data.customer.email`, `$['odd key'][3]` (POLICY §5).

use std::fmt::Write as _;

use super::{DEPTH_MAX, Kind, Tape};

impl<'t> Tape<'t> {
    /// The path from the root, `$`, to a node; of a key the path of its value. Names that are not made of letters,
    /// digits, `_` and `-` stand in brackets and quotes, with `'`, `\` and control characters escaped as in RFC 9535.
    /// The number of an element is found by counting: for many nodes of one tape there is [`Tape::paths`].
    pub fn path(&self, index: u32) -> String {
        self.paths().path(index)
    }

    /// Writes the paths of many nodes: of nodes in their order it takes one walk over the arrays they stand in.
    pub fn paths(&self) -> Paths<'t> {
        Paths { tape: *self, known: Vec::new() }
    }
}

/// The paths of the nodes of one tape, with what was counted for the last one.
#[derive(Clone, Debug)]
pub struct Paths<'t> {
    tape: Tape<'t>,
    /// By depth, the element that was last counted.
    known: Vec<Element>,
}

#[derive(Clone, Copy, Debug)]
struct Element {
    array: u32,
    node: u32,
    number: usize,
}

impl Paths<'_> {
    /// As [`Tape::path`].
    pub fn path(&mut self, index: u32) -> String {
        let mut steps = Vec::with_capacity(DEPTH_MAX);
        let mut at = index;
        loop {
            let parent = self.tape.node(at).parent;
            let is_element = parent != at && self.tape.node(parent).kind == Kind::Array;
            if is_element || self.tape.node(at).kind == Kind::Key {
                steps.push((parent, at, is_element));
            }
            if parent == at {
                break;
            }
            at = parent;
        }
        let mut path = String::from("$");
        for (depth, (parent, node, is_element)) in steps.into_iter().rev().enumerate() {
            if is_element {
                // Writing to a string cannot fail.
                _ = write!(path, "[{}]", self.number(depth, parent, node));
            } else {
                push_name(&mut path, &self.tape.unescape(node));
            }
        }
        path
    }

    /// How many elements of `array` stand before one of them.
    fn number(&mut self, depth: usize, array: u32, node: u32) -> usize {
        let first = Element { array, node: array + 1, number: 0 };
        self.known.resize(self.known.len().max(depth + 1), first);
        let known = &mut self.known[depth];
        if known.array != array || known.node > node {
            *known = first;
        }
        while known.node < node {
            known.node = self.tape.node(known.node).next;
            known.number += 1;
        }
        known.number
    }
}

/// Adds a member to a path, as [`Tape::path`] writes it.
pub fn push_name(path: &mut String, name: &str) {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(is_plain) {
        path.push('.');
        path.push_str(name);
        return;
    }
    path.push_str("['");
    for c in name.chars() {
        match c {
            '\'' | '\\' => {
                path.push('\\');
                path.push(c);
            }
            c if c.is_control() => _ = write!(path, "\\u{:04x}", u32::from(c)),
            c => path.push(c),
        }
    }
    path.push_str("']");
}
