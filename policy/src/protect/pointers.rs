//! Places of the data as JSON pointers (RFC 6901), without the characters that separate entries of a list.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use meshbridge_detect::tape::{Kind, Tape};
use smallvec::SmallVec;

use super::numbering::Numbering;

/// The pointers of nodes, asked for in about the order of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Pointers {
    /// Members that go, by their keys, and elements; in order.
    pub(crate) removed: Vec<u32>,
    /// For an object asked about, the keys with a name that one before them has, and how many had it.
    repeated: BTreeMap<u32, Vec<(u32, u32)>>,
    /// An object that was found to have a few members, no two with one name.
    plain: Option<u32>,
    /// For an array the element asked for last and its index, so that a walk over a long array counts it once.
    last: Vec<(u32, u32, u32)>,
    /// Keys with new names, in order.
    pub(crate) renamed: Vec<(u32, String)>,
}

impl Pointers {
    /// `/data/customer/email`. What separates entries is percent-encoded.
    pub(crate) fn of(&mut self, tape: &Tape<'_>, numbering: &Numbering, node: u32) -> String {
        let mut steps: SmallVec<[(u32, u32); 16]> = SmallVec::new();
        let mut at = node;
        while at != 0 {
            let parent = tape.node(at).parent;
            steps.push((parent, at));
            at = parent;
        }
        let mut out = String::with_capacity(POINTER_BYTES);
        out.push_str("/data");
        for (parent, child) in steps.into_iter().rev() {
            if tape.node(child).kind == Kind::Key {
                out.push('/');
                let renamed = self.renamed.binary_search_by_key(&child, |(key, _)| *key);
                match renamed {
                    Ok(at) => escape_into(&self.renamed[at].1, &mut out),
                    Err(_) => {
                        escape_into(&tape.unescape(child), &mut out);
                        let repeated = self.repeated(tape, parent);
                        if let Ok(at) = repeated.binary_search_by_key(&child, |(key, _)| *key) {
                            _ = write!(out, "*{}", repeated[at].1 + 1);
                        }
                    }
                }
            } else if tape.node(parent).kind == Kind::Array {
                _ = write!(out, "/{}", numbering.original(parent, self.index(tape, parent, child)));
            }
        }
        out
    }

    fn repeated(&mut self, tape: &Tape<'_>, object: u32) -> &[(u32, u32)] {
        let removed = &self.removed;
        if self.plain == Some(object) || has_few_plain_names(tape, object) {
            self.plain = Some(object);
            return &[];
        }
        self.repeated.entry(object).or_insert_with(|| {
            let mut names: BTreeMap<Cow<'_, str>, u32> = BTreeMap::new();
            let stays =
                tape.members(object).map(|(key, _)| key).filter(|key| removed.binary_search(key).is_err());
            let counted = stays.map(|key| {
                let count = names.entry(tape.unescape(key)).or_default();
                *count += 1;
                (key, *count - 1)
            });
            counted.filter(|(_, before)| *before > 0).collect()
        })
    }

    /// The present index of an element.
    pub(crate) fn index(&mut self, tape: &Tape<'_>, array: u32, element: u32) -> u32 {
        let slot = self.last.iter().position(|(at, ..)| *at == array);
        let (mut at, mut index) = match slot.map(|slot| self.last[slot]) {
            Some((_, at, index)) if at <= element => (at, index),
            _ => (array + 1, 0),
        };
        while at < element {
            at = tape.node(at).next;
            index += 1;
        }
        match slot {
            Some(slot) => self.last[slot] = (array, element, index),
            None => {
                // Arrays that are open at one time are at most as many as the depth; older ones are forgotten.
                if self.last.len() >= meshbridge_detect::tape::DEPTH_MAX {
                    self.last.remove(0);
                }
                self.last.push((array, element, index));
            }
        }
        index
    }
}

/// Most pointers have fewer.
const POINTER_BYTES: usize = 64;

/// Members whose names are compared with each other rather than sorted.
const FEW_MEMBERS: usize = 16;

/// Whether an object has a few members, no two with one name, which is told without a copy of any.
fn has_few_plain_names(tape: &Tape<'_>, object: u32) -> bool {
    let mut names: SmallVec<[&str; FEW_MEMBERS]> = SmallVec::new();
    tape.members(object).all(|(key, _)| {
        let name = tape.inner(key);
        let is_new = names.len() < FEW_MEMBERS && !tape.node(key).escaped && !names.contains(&name);
        names.push(name);
        is_new
    })
}

/// A segment of a pointer: as RFC 6901, and percent-encoded what separates or stands for something here, or may not
/// stand in an attribute.
fn escape_into(name: &str, out: &mut String) {
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        out.push_str(name);
        return;
    }
    for c in name.chars() {
        match c {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            ' ' | ',' | '%' | '*' => _ = write!(out, "%{:02X}", u32::from(c)),
            c if c.is_control() || is_noncharacter(c) => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| _ = write!(out, "%{byte:02X}"));
            }
            c => out.push(c),
        }
    }
}

fn is_noncharacter(c: char) -> bool {
    matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff) || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

pub(super) fn unescape(segment: &str) -> Cow<'_, str> {
    if !segment.contains(['~', '%']) {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (decoded, used) = match (byte, after.first(), hex(0), hex(1)) {
            (b'~', Some(b'0'), ..) => (b'~', 1),
            (b'~', Some(b'1'), ..) => (b'/', 1),
            (b'%', _, Some(high), Some(low)) => ((high * 16 + low) as u8, 2),
            _ => (*byte, 0),
        };
        bytes.push(decoded);
        rest = &after[used..];
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}
