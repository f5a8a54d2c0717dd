//! The attribute `govprotected`: what bridges before this one have protected, as `<pointer> <class> <form>`, separated
//! by commas (POLICY §5).
//!
//! ```text
//! /data/card payment.card mask:0:4      the value at this JSON pointer has this form
//! /subject - redact                     by field; the class is not known
//! /data contact.email key:redact        the name of a member of this object
//! /data/list - drop:0-2.7               elements of this array that are gone
//! /data/card*2 payment.card redact      of the second member of this name
//! /data/list/*/card payment.card mask:0:4      of some elements
//! /data/** payment.card mask:0:4        of something in the data
//! ```
//!
//! Pointers count elements as they were before any was dropped, and so do paths ([`Numbering`]): a path with an index
//! means the same element at every border.
//!
//! What is full: the attribute holds [`LIST_BYTES_MAX`] bytes. A longer list first says `*` instead of element
//! numbers, then `**`, so that it says less exactly *where*, and never less about *what*. An event whose list does
//! not fit then either cannot be protected.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;

use meshbridge_detect::Class;
use meshbridge_detect::tape::{Kind, Tape};
use meshbridge_event::Event;
use smallvec::SmallVec;

use crate::keys::{KeyRef, KeyTable};
use crate::protection::{Form, Protection};

/// The attribute.
pub(crate) const GOVPROTECTED: &str = "govprotected";
/// What one attribute of an event may hold.
pub(crate) const LIST_BYTES_MAX: usize = meshbridge_event::limits::VALUE_BYTES_MAX;

/// What an entry says of its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Value(Protection),
    /// The name of a member.
    Key(Protection),
    /// Elements that were dropped, by their first numbers.
    Elements(Indices),
}

/// A set of indices, as ranges in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Indices(SmallVec<[(u32, u32); 4]>);

impl Indices {
    /// Ordered insertion; indices mostly come in order.
    pub(crate) fn insert(&mut self, index: u32) {
        let at = self.0.partition_point(|(_, last)| *last < index);
        if self.0.get(at).is_some_and(|(first, _)| *first <= index) {
            return;
        }
        let joins_before = at > 0 && self.0[at - 1].1 + 1 == index;
        let joins_after = self.0.get(at).is_some_and(|(first, _)| index + 1 == *first);
        match (joins_before, joins_after) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = index,
            (false, true) => self.0[at].0 = index,
            (false, false) => self.0.insert(at, (index, index)),
        }
    }

    fn parse(text: &str) -> Option<Indices> {
        let mut indices = SmallVec::new();
        for part in text.split('.') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range: (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            let in_order = indices.last().is_none_or(|(_, before): &(u32, u32)| range.0 > *before);
            if range.0 > range.1 || range.1 == u32::MAX || !in_order {
                return None;
            }
            indices.push(range);
        }
        Some(Indices(indices))
    }

    /// The number that the element now at `index` had at first.
    pub(crate) fn original(&self, index: u32) -> u32 {
        let mut original = index;
        for (first, last) in &self.0 {
            if *first > original {
                break;
            }
            original = original.saturating_add(last - first + 1);
        }
        original
    }

    /// Where the element is now that was first at `index`; `None` where it is gone.
    fn current(&self, index: u32) -> Option<u32> {
        let mut gone = 0;
        for (first, last) in &self.0 {
            if *first > index {
                break;
            }
            if index <= *last {
                return None;
            }
            gone += last - first + 1;
        }
        Some(index - gone)
    }
}

impl std::fmt::Display for Indices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "." })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Which elements of which arrays are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbering(Vec<(u32, Indices)>);

impl Numbering {
    /// Where the element of an array is now that a path or pointer calls `index`.
    pub(crate) fn current(&self, array: u32, index: usize) -> Option<usize> {
        match self.gone(array) {
            None => Some(index),
            Some(gone) => gone.current(u32::try_from(index).ok()?).map(|index| index as usize),
        }
    }

    pub(crate) fn original(&self, array: u32, index: u32) -> u32 {
        self.gone(array).map_or(index, |gone| gone.original(index))
    }

    pub(crate) fn gone(&self, array: u32) -> Option<&Indices> {
        self.0.iter().find(|(at, _)| *at == array).map(|(_, gone)| gone)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) pointer: String,
    /// `None`: protected by field, and not known to be of any class.
    pub(crate) class: Option<Class>,
    pub(crate) said: Said,
}

/// The entries of an event, and the nodes of its data they are about.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<Entry>,
    /// Node and entry, in order of the nodes; entries with `*` for every node they may be about.
    pub(crate) at: Vec<(u32, u32)>,
    /// Entries about something in the data.
    pub(crate) anywhere: Vec<u32>,
    pub(crate) numbering: Numbering,
}

impl Listed {
    pub(crate) fn read(event: &Event, keys: &KeyTable) -> Listed {
        let mut listed = Listed::default();
        let Some(text) = event.attribute(GOVPROTECTED).and_then(|value| value.as_str()) else {
            return listed;
        };
        for entry in text.split(',') {
            let mut words = entry.split(' ');
            let (Some(pointer), Some(class), Some(form)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            // A form of a later version protects in a way that is not known here; every other demand redacts it.
            let unknown = Protection::Encrypt { key: KeyRef::FOREIGN };
            let said = match form.split_once(':') {
                Some(("key", form)) => Said::Key(Form::parse(form, keys).unwrap_or(unknown)),
                Some(("drop", gone)) => match Indices::parse(gone) {
                    Some(gone) => Said::Elements(gone),
                    None => continue,
                },
                _ => Said::Value(Form::parse(form, keys).unwrap_or(unknown)),
            };
            listed.entries.push(Entry { pointer: pointer.to_owned(), class: Class::named(class), said });
        }
        listed
    }

    /// Finds what the entries are about.
    pub(crate) fn resolve(&mut self, tape: &Tape<'_>) {
        // Outer arrays first: the numbering of an inner one is asked for with that of the outer one known.
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|at| {
            let entry = &self.entries[*at];
            (!matches!(entry.said, Said::Elements(_)), entry.pointer.matches('/').count())
        });
        for number in order {
            let entry = &self.entries[number];
            let Some(below) = entry.pointer.strip_prefix("/data") else { continue };
            if below == "/**" {
                self.anywhere.push(number as u32);
                continue;
            }
            let mut found: Vec<u32> = vec![0];
            for segment in below.split('/').skip(1) {
                let (name, occurrence) = match segment.split_once('*') {
                    Some((name, number)) if !name.is_empty() || !number.is_empty() => {
                        (name, number.parse().unwrap_or(0))
                    }
                    _ => (segment, 1),
                };
                let name = unescape(name);
                let mut next = Vec::new();
                for node in found {
                    match tape.node(node).kind {
                        Kind::Object if segment == "*" => {
                            next.extend(tape.members(node).map(|(_, value)| value))
                        }
                        Kind::Object => {
                            let mut named = tape.members(node).filter(|(key, _)| tape.unescape(*key) == name);
                            next.extend(named.nth(usize::max(occurrence, 1) - 1).map(|(_, value)| value));
                        }
                        Kind::Array if segment == "*" => next.extend(tape.elements(node)),
                        Kind::Array => {
                            let index =
                                segment.parse().ok().and_then(|index| self.numbering.current(node, index));
                            next.extend(index.and_then(|index| tape.elements(node).nth(index)));
                        }
                        _ => {}
                    }
                }
                found = next;
            }
            for node in found {
                if let Said::Elements(gone) = &self.entries[number].said {
                    if tape.node(node).kind == Kind::Array {
                        self.numbering.0.push((node, gone.clone()));
                    }
                }
                self.at.push((node, number as u32));
            }
        }
        self.at.sort_unstable();
    }

    /// Entries about this node.
    pub(crate) fn of_node(&self, node: u32) -> impl Iterator<Item = &Entry> {
        let from = self.at.partition_point(|(at, _)| *at < node);
        let exact = self.at[from..].iter().take_while(move |(at, _)| *at == node).map(|(_, number)| *number);
        exact.chain(self.anywhere.iter().copied()).filter_map(|number| self.entries.get(number as usize))
    }

    /// Entries about an attribute, or about data that is text.
    pub(crate) fn of_pointer<'a>(&'a self, pointer: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.pointer == pointer)
    }
}

/// The pointers of nodes, asked for in about the order of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Pointers {
    /// Members that go, by their keys, and elements; in order.
    pub(crate) removed: Vec<u32>,
    /// For an object asked about, the keys with a name that one before them has, and how many had it.
    repeated: BTreeMap<u32, Vec<(u32, u32)>>,
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
        let mut out = String::from("/data");
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

/// The list in the fewest words that fit; `None` where even the shortest does not.
pub(crate) fn write(entries: &BTreeSet<(String, Option<Class>, Said)>, keys: &KeyTable) -> Option<String> {
    let exact = join(entries, keys);
    if exact.len() <= LIST_BYTES_MAX {
        return Some(exact);
    }
    let starred = entries.iter().map(|(pointer, class, said)| {
        let is_index = |segment: &str| segment.bytes().all(|b| b.is_ascii_digit()) && !segment.is_empty();
        let shortened = |segment| if is_index(segment) { "*" } else { segment };
        let segments = pointer.split('/').map(shortened);
        let starred = segments.collect::<Vec<_>>().join("/");
        (if matches!(said, Said::Elements(_)) { pointer.clone() } else { starred }, *class, said.clone())
    });
    let starred = join(&starred.collect(), keys);
    if starred.len() <= LIST_BYTES_MAX {
        return Some(starred);
    }
    let anywhere =
        entries.iter().filter(|(.., said)| !matches!(said, Said::Key(_))).map(|(pointer, class, said)| {
            let in_data = pointer.starts_with("/data") && !matches!(said, Said::Elements(_));
            (if in_data { "/data/**".to_owned() } else { pointer.clone() }, *class, said.clone())
        });
    Some(join(&anywhere.collect(), keys)).filter(|list| list.len() <= LIST_BYTES_MAX)
}

fn join(entries: &BTreeSet<(String, Option<Class>, Said)>, keys: &KeyTable) -> String {
    let mut out = String::new();
    for (pointer, class, said) in entries {
        out.push_str(if out.is_empty() { "" } else { "," });
        _ = write!(out, "{pointer} {} ", class.map_or("-", Class::name));
        _ = match said {
            Said::Value(protection) => write!(out, "{}", Form(*protection, keys)),
            Said::Key(protection) => write!(out, "key:{}", Form(*protection, keys)),
            Said::Elements(gone) => write!(out, "drop:{gone}"),
        };
    }
    out
}

/// A segment of a pointer: as RFC 6901, and percent-encoded what separates or stands for something here, or may not
/// stand in an attribute.
fn escape_into(name: &str, out: &mut String) {
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

fn unescape(segment: &str) -> Cow<'_, str> {
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

/// Whether any node in a range of nodes is listed with a value's form.
pub(crate) fn forms_within(listed: &Listed, nodes: Range<u32>) -> impl Iterator<Item = (&Entry, Protection)> {
    let within = listed.at.iter().filter(move |(node, _)| nodes.contains(node));
    within.filter_map(|(_, number)| {
        let entry = listed.entries.get(*number as usize)?;
        match entry.said {
            Said::Value(form) => Some((entry, form)),
            _ => None,
        }
    })
}
