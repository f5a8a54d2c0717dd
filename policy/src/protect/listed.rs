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

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use super::numbering::{Indices, Numbering};
use super::pointers::unescape;
use crate::keys::{KeyRef, KeyTable};
use crate::protection::{Form, Protection};
use meshbridge_detect::Class;
use meshbridge_detect::tape::{Kind, Tape};
use meshbridge_event::Event;

/// The attribute in which bridges list what they have protected, as `<pointer> <class> <form>`, separated by commas
/// (POLICY §5). Only bridges set it.
pub const GOVPROTECTED: &str = "govprotected";
/// What one attribute of an event may hold.
pub(crate) const LIST_BYTES_MAX: usize = meshbridge_event::limits::VALUE_BYTES_MAX;

/// Most lists have fewer.
const LIST_BYTES: usize = 256;

/// What an entry says of its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Value(Protection),
    /// The name of a member.
    Key(Protection),
    /// Elements that were dropped, by their first numbers.
    Elements(Indices),
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
                if let Said::Elements(gone) = &self.entries[number].said
                    && tape.node(node).kind == Kind::Array
                {
                    self.numbering.0.push((node, gone.clone()));
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

/// What is listed: where, of which class, and what was done.
pub(crate) type Line = (String, Option<Class>, Said);

/// The list in the fewest words that fit; `None` where even the shortest does not. The entries are put in order.
pub(crate) fn write(entries: &mut Vec<Line>, keys: &KeyTable) -> Option<String> {
    entries.sort_unstable();
    entries.dedup();
    let exact = join(entries.iter(), keys);
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
    let starred = join(starred.collect::<BTreeSet<Line>>().iter(), keys);
    if starred.len() <= LIST_BYTES_MAX {
        return Some(starred);
    }
    let anywhere =
        entries.iter().filter(|(.., said)| !matches!(said, Said::Key(_))).map(|(pointer, class, said)| {
            let in_data = pointer.starts_with("/data") && !matches!(said, Said::Elements(_));
            (if in_data { "/data/**".to_owned() } else { pointer.clone() }, *class, said.clone())
        });
    Some(join(anywhere.collect::<BTreeSet<Line>>().iter(), keys)).filter(|list| list.len() <= LIST_BYTES_MAX)
}

fn join<'l>(entries: impl Iterator<Item = &'l Line>, keys: &KeyTable) -> String {
    let mut out = String::with_capacity(LIST_BYTES);
    for (pointer, class, said) in entries {
        out.push_str(if out.is_empty() { "" } else { "," });
        for part in [pointer.as_str(), " ", class.map_or("-", Class::name), " "] {
            out.push_str(part);
        }
        _ = match said {
            Said::Value(protection) => write!(out, "{}", Form(*protection, keys)),
            Said::Key(protection) => write!(out, "key:{}", Form(*protection, keys)),
            Said::Elements(gone) => write!(out, "drop:{gone}"),
        };
    }
    out
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
