//! Edits of a JSON text, collected in any order and written in one pass. Everything between them is copied as it
//! stood: order, white space, spelling of numbers, escapes.

use std::ops::Range;

use meshbridge_detect::tape::{Kind, Tape};

/// Room that is made for edits and their texts at once; most events have no more.
const EDITS: usize = 8;
const TEXT_BYTES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Place in the source, and place of what is to stand there in `texts`.
    replaced: Vec<(Range<u32>, Range<u32>)>,
    texts: String,
    /// Containers and their children that go.
    removed: Vec<(u32, u32)>,
    /// The data goes as a whole.
    root_removed: bool,
}

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.removed.is_empty() && !self.root_removed
    }

    pub(crate) fn replace(&mut self, place: Range<u32>, write: impl FnOnce(&mut String)) {
        if self.replaced.is_empty() {
            self.replaced.reserve(EDITS);
            self.texts.reserve(EDITS * TEXT_BYTES);
        }
        let start = self.texts.len() as u32;
        write(&mut self.texts);
        self.replaced.push((place, start..self.texts.len() as u32));
    }

    /// Takes away a child with what separates it: a member, by its key, or an element.
    pub(crate) fn remove(&mut self, container: u32, child: u32) {
        self.removed.push((container, child));
    }

    pub(crate) fn remove_root(&mut self) {
        self.root_removed = true;
    }

    /// The edited text; empty where all of it goes.
    pub(crate) fn write(mut self, tape: &Tape<'_>) -> String {
        if self.root_removed {
            return String::new();
        }
        self.separate(tape);
        self.replaced.sort_unstable_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        let source = tape.text();
        let gone: usize = self.replaced.iter().map(|(place, _)| place.len()).sum();
        let mut out = String::with_capacity((source.len() + self.texts.len()).saturating_sub(gone));
        let mut at = 0;
        for (place, text) in &self.replaced {
            if (place.start as usize) < at {
                // A name that was replaced before its member was found to go.
                debug_assert!(place.end as usize <= at, "edits overlap only where one covers the other");
                continue;
            }
            out.push_str(&source[at..place.start as usize]);
            out.push_str(&self.texts[text.start as usize..text.end as usize]);
            at = place.end as usize;
        }
        out.push_str(&source[at..]);
        out
    }

    /// Places of children that go. One after a child that stays takes the comma before it along, the others the one
    /// after them, so that what stays is separated as before.
    fn separate(&mut self, tape: &Tape<'_>) {
        self.removed.sort_unstable();
        let mut removed = self.removed.as_slice();
        while let Some((container, _)) = removed.first() {
            let count = removed.iter().take_while(|(other, _)| other == container).count();
            let (children, rest) = removed.split_at(count);
            removed = rest;
            let mut gone = children.iter().map(|(_, child)| *child).peekable();
            let mut after_kept: Option<u32> = None;
            let mut child = container + 1;
            let end = tape.node(*container).next;
            while child < end && gone.peek().is_some() {
                let next = tape.node(child).next;
                let value = if tape.node(child).kind == Kind::Key { child + 1 } else { child };
                let child_end = tape.node(value).end;
                if gone.next_if_eq(&child).is_some() {
                    let start = after_kept.unwrap_or(tape.node(child).start);
                    let until = match after_kept {
                        None if next < end => tape.node(next).start,
                        _ => child_end,
                    };
                    self.replaced.push((start..until, 0..0));
                    after_kept = after_kept.map(|_| child_end);
                } else {
                    after_kept = Some(child_end);
                }
                child = next;
            }
        }
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str, out: &mut String) {
    out.push('"');
    push_escaped(text, out);
    out.push('"');
}

/// What stands between the quotes of a JSON string.
pub(crate) fn push_escaped(text: &str, out: &mut String) {
    let is_plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(is_plain) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}
