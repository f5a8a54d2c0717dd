//! Where a node stands, in the notation of policies: `$.data.customer.email`, `$['odd key'][3]` (POLICY §5).

use std::fmt::Write as _;

use super::{DEPTH_MAX, Kind, Tape};

impl Tape<'_> {
    /// The path from the root, `$`, to a node; of a key the path of its value. Names that are not made of letters,
    /// digits, `_` and `-` stand in brackets and quotes, with `'`, `\` and control characters escaped as in RFC 9535.
    /// The number of an element is found by counting, so this is for reports, not for every event.
    pub fn path(&self, index: u32) -> String {
        let mut steps = Vec::with_capacity(DEPTH_MAX);
        let mut at = index;
        loop {
            let parent = self.node(at).parent;
            if self.node(at).kind == Kind::Key {
                steps.push((at, None));
            } else if parent != at && self.node(parent).kind == Kind::Array {
                let number = self.elements(parent).position(|element| element == at).unwrap_or(0);
                steps.push((at, Some(number)));
            }
            if parent == at {
                break;
            }
            at = parent;
        }
        let mut path = String::from("$");
        for (node, number) in steps.into_iter().rev() {
            match number {
                // Writing to a string cannot fail.
                Some(number) => _ = write!(path, "[{number}]"),
                None => push_name(&mut path, &self.unescape(node)),
            }
        }
        path
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
