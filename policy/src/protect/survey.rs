//! What is in one event: looked for once, asked by `forbid` and by `protect`.

use std::ops::Range;

use meshbridge_detect::tape::{Kind, ParseError, Tape, TapeBuffer};
use meshbridge_detect::{Class, ClassSet, Confidence, Finding, Scanner};
use meshbridge_event::{AttributeValue, Event, is_reserved_name};

use super::content::{Content, content};
use super::demand::Declared;
use super::listed::Listed;
use crate::keys::KeyTable;
use crate::path::Path;
use crate::protection::{is_token_name, tokens};

/// Why nothing can be said of an event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotRead {
    #[error("the data is neither JSON nor plain text in UTF-8")]
    Opaque,
    #[error("the data is not JSON: {0}")]
    Malformed(ParseError),
    #[error("the data takes more work to look through than is allowed")]
    Budget,
}

/// Buffers that are kept from event to event.
#[derive(Debug, Default)]
pub(crate) struct Surveyor {
    tape: TapeBuffer,
    scanner: Scanner,
    data: Vec<Finding>,
    attributes: Vec<(Place, Finding)>,
    fields: Vec<(u32, Class)>,
    vouched: Vec<(u32, Class)>,
    nodes: Vec<u32>,
}

/// A shorter token of a topic is no value of any class by itself.
const TOKEN_BYTES_MIN: usize = 8;

/// Where something was found outside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// By its position among the attributes.
    Attribute(u16),
    Topic,
}

/// What was found in an event.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    pub(crate) event: &'a Event,
    pub(crate) declared: Declared<'a>,
    /// What the data is, or why that is not known.
    pub(crate) content: Result<Read<'a>, CannotRead>,
    /// In the data, in order of their places, without what stands inside a protected value.
    pub(crate) data: &'a [Finding],
    /// In attributes and topic.
    pub(crate) attributes: &'a [(Place, Finding)],
    /// Nodes of declared fields, in order.
    pub(crate) fields: &'a [(u32, Class)],
    /// Those of them that are the outermost layer's word.
    vouched: &'a [(u32, Class)],
    pub(crate) listed: Listed,
}

/// Data that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read<'a> {
    None,
    Json(Tape<'a>),
    Text(&'a str),
}

/// Something that is in an event. No value stands in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'s> {
    pub(crate) class: Class,
    /// What else it may be.
    pub(crate) alternatives: ClassSet,
    pub(crate) confidence: Confidence,
    /// The Classification does not list it for the topic.
    pub(crate) undeclared: bool,
    survey: &'s Survey<'s>,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Node(u32),
    Text,
    Outside(Place),
}

impl Surveyor {
    /// Looks for the classes in `wanted` at or above a confidence, in data, attributes and topic. Where nothing is
    /// wanted nothing is scanned.
    pub(crate) fn look<'a>(
        &'a mut self,
        event: &'a Event,
        topic: &str,
        declared: Declared<'a>,
        keys: &KeyTable,
        wanted: &ClassSet,
        least: Confidence,
    ) -> Survey<'a> {
        let Surveyor { tape, scanner, data, attributes, fields, vouched, nodes } = self;
        data.clear();
        attributes.clear();
        fields.clear();
        vouched.clear();
        let mut listed = Listed::read(event, keys);
        let mut content = match content(event) {
            Content::None => Ok(Read::None),
            Content::Text(text) => Ok(Read::Text(text)),
            Content::Opaque => Err(CannotRead::Opaque),
            Content::Json(text) => tape.parse(text).map(Read::Json).map_err(CannotRead::Malformed),
        };
        let scanned = match &content {
            Ok(Read::Json(tape)) => {
                listed.resolve(tape);
                for (at, (path, class)) in declared.fields.iter().enumerate() {
                    nodes.clear();
                    path.resolve(tape, &listed.numbering, nodes);
                    let resolved = nodes.iter().map(|node| (*node, *class));
                    if at < declared.vouched {
                        vouched.extend(resolved.clone());
                    }
                    fields.extend(resolved);
                }
                fields.sort_unstable();
                vouched.sort_unstable();
                if wanted.is_empty() { Ok(()) } else { scanner.scan_json(tape, wanted, least, data) }
            }
            Ok(Read::Text(text)) if !wanted.is_empty() => scanner.scan_text(text, wanted, least, data),
            _ => Ok(()),
        };
        if scanned.is_err() {
            content = Err(CannotRead::Budget);
        }
        match &content {
            Ok(Read::Json(tape)) => take_out_protected(tape, data),
            Ok(Read::Text(text)) => take_out_tokens(text, data),
            _ => data.clear(),
        }
        data.sort_unstable_by_key(|finding| (finding.node, finding.range.start, finding.range.end));
        if !wanted.is_empty() && !look_outside(scanner, attributes, event, topic, wanted, least) {
            content = Err(CannotRead::Budget);
        }
        Survey { event, declared, content, data, attributes, fields, vouched, listed }
    }
}

/// Attributes and topic; whether all of it was looked at.
fn look_outside(
    scanner: &mut Scanner,
    attributes: &mut Vec<(Place, Finding)>,
    event: &Event,
    topic: &str,
    wanted: &ClassSet,
    least: Confidence,
) -> bool {
    let mut found = Vec::new();
    let mut is_done = true;
    for (at, (name, value)) in event.attributes().enumerate() {
        // What bridges set is theirs; a time was checked to be one.
        if is_reserved_name(name)
            || matches!(value, AttributeValue::Timestamp(_) | AttributeValue::Boolean(_))
        {
            continue;
        }
        let text = value.to_text();
        is_done &= scanner.scan_value(&text, Some(name), wanted, least, &mut found).is_ok();
        take_out_tokens(&text, &mut found);
        let place = Place::Attribute(at as u16);
        attributes.extend(found.drain(..).map(|finding| (place, finding)));
    }
    is_done &= scanner.scan_value(topic, Some("topic"), wanted, least, &mut found).is_ok();
    is_done &= look_at_tokens(scanner, &mut found, topic, wanted, least);
    attributes.extend(found.drain(..).map(|finding| (Place::Topic, finding)));
    is_done
}

/// Each token of a topic for itself: between dots a number would be taken for a part of a decimal one. Adds to what was
/// found in the topic as a whole.
fn look_at_tokens(
    scanner: &mut Scanner,
    found: &mut Vec<Finding>,
    topic: &str,
    wanted: &ClassSet,
    least: Confidence,
) -> bool {
    let (mut more, mut is_done, mut start) = (Vec::new(), true, 0_u32);
    for token in topic.split('.') {
        if token.len() >= TOKEN_BYTES_MIN {
            is_done &= scanner.scan_value(token, Some("topic"), wanted, least, &mut more).is_ok();
        }
        for mut finding in more.drain(..) {
            finding.range = finding.range.start + start..finding.range.end + start;
            let is_known = |known: &Finding| {
                known.range.start < finding.range.end && finding.range.start < known.range.end
            };
            if !found.iter().any(is_known) {
                found.push(finding);
            }
        }
        start += token.len() as u32 + 1;
    }
    found.sort_by_key(|finding| finding.range.start);
    is_done
}

/// Takes out what is nothing but a part of what stands in place of a protected value. Each string is looked through
/// once, however much was found in it.
fn take_out_protected(tape: &Tape<'_>, findings: &mut Vec<Finding>) {
    let mut of_node = None;
    let mut protected: Vec<Range<u32>> = Vec::new();
    findings.retain(|finding| {
        let Some(at) = finding.node.filter(|at| (*at as usize) < tape.nodes().len()) else { return true };
        if of_node != Some(at) {
            of_node = Some(at);
            protected.clear();
            match tape.node(at).kind {
                Kind::Key if is_token_name(&tape.unescape(at)) => {
                    protected.push(tape.node(at).start..tape.node(at).end);
                }
                Kind::String => {
                    let unescaped = tape.unescaped(at);
                    protected.extend(tokens(&unescaped.text).map(|(range, _)| unescaped.range_of(&range)));
                }
                _ => {}
            }
        }
        !covers(&protected, &finding.range)
    });
}

/// Whether one of these ranges, in order, holds all of `range`.
fn covers(ranges: &[Range<u32>], range: &Range<u32>) -> bool {
    let after = ranges.partition_point(|one| one.start <= range.start);
    after.checked_sub(1).is_some_and(|at| range.end <= ranges[at].end)
}

fn take_out_tokens(text: &str, findings: &mut Vec<Finding>) {
    if findings.is_empty() {
        return;
    }
    let protected: Vec<_> = tokens(text).map(|(range, _)| range.start as u32..range.end as u32).collect();
    findings.retain(|finding| !covers(&protected, &finding.range));
}

impl<'a> Survey<'a> {
    /// Everything that was found or declared.
    pub(crate) fn findings<'s>(&'s self) -> impl Iterator<Item = Found<'s>> {
        let of_finding = move |finding: &Finding, at: At| Found {
            class: finding.class,
            alternatives: finding.alternatives,
            confidence: finding.confidence,
            undeclared: self.is_undeclared(finding.class, at),
            survey: self,
            at,
        };
        let data = self.data.iter().map(move |one| of_finding(one, one.node.map_or(At::Text, At::Node)));
        let outside = self.attributes.iter().map(move |(place, one)| of_finding(one, At::Outside(*place)));
        let of_declared = move |class: Class, at: At| Found {
            class,
            alternatives: ClassSet::EMPTY,
            confidence: Confidence::High,
            undeclared: self.is_undeclared(class, at),
            survey: self,
            at,
        };
        let fields = self.fields.iter().map(move |(node, class)| of_declared(*class, At::Node(*node)));
        let attributes = self.event.attributes().enumerate().flat_map(move |(at, (name, _))| {
            let classes = self.declared_attribute(name);
            classes.map(move |class| of_declared(class, At::Outside(Place::Attribute(at as u16))))
        });
        data.chain(outside).chain(fields).chain(attributes)
    }

    /// Classes that the Classification declares an attribute to be of.
    pub(crate) fn declared_attribute<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Class> + 's {
        let of_name = move |(path, _): &&(Path, Class)| path.attribute() == Some(name);
        self.declared.fields.iter().filter(of_name).map(|(_, class)| *class)
    }

    /// Classes of the declared field that a node is, or is in.
    pub(crate) fn declared_at(&self, node: u32) -> impl Iterator<Item = Class> + use<'_, 'a> {
        self.classes_at(self.fields, node)
    }

    /// The same by the word of the outermost layer alone.
    pub(crate) fn vouched_at(&self, node: u32) -> impl Iterator<Item = Class> + use<'_, 'a> {
        self.classes_at(self.vouched, node)
    }

    fn classes_at(&self, fields: &'a [(u32, Class)], node: u32) -> impl Iterator<Item = Class> + use<'_, 'a> {
        let mut above = match &self.content {
            Ok(Read::Json(tape)) if !fields.is_empty() => Some((*tape, node)),
            _ => None,
        };
        let nodes = std::iter::from_fn(move || {
            let (tape, at) = above?;
            let parent = tape.node(at).parent;
            above = (parent != at).then_some((tape, parent));
            Some(at)
        });
        nodes.flat_map(move |at| {
            let from = fields.partition_point(|(field, _)| *field < at);
            fields[from..].iter().take_while(move |(field, _)| *field == at).map(|(_, class)| *class)
        })
    }

    pub(crate) fn is_undeclared_at_node(&self, class: Class, node: u32) -> bool {
        self.is_undeclared(class, At::Node(node))
    }

    pub(crate) fn is_undeclared_outside(&self, class: Class, place: Option<Place>) -> bool {
        self.is_undeclared(class, place.map_or(At::Text, At::Outside))
    }

    fn is_undeclared(&self, class: Class, at: At) -> bool {
        if self.declared.may_hold.contains(class) {
            return false;
        }
        match at {
            At::Node(node) => !self.vouched_at(node).any(|declared| declared == class),
            At::Outside(Place::Attribute(at)) => {
                let name = self.event.attributes().nth(usize::from(at)).map(|(name, _)| name);
                let vouched = &self.declared.fields[..self.declared.vouched];
                let says = |(path, declared): &(Path, Class)| path.attribute() == name && *declared == class;
                name.is_none() || !vouched.iter().any(says)
            }
            At::Outside(Place::Topic) | At::Text => true,
        }
    }
}

impl Found<'_> {
    /// Where it is: `$.data.memo`, `$.subject`; the topic is `$.topic`.
    pub(crate) fn path(&self) -> String {
        match (self.at, &self.survey.content) {
            (At::Node(node), Ok(Read::Json(tape))) => format!("$.data{}", &tape.path(node)[1..]),
            (At::Outside(Place::Attribute(at)), _) => {
                let name = self.survey.event.attributes().nth(usize::from(at)).map(|(name, _)| name);
                format!("$.{}", name.unwrap_or_default())
            }
            (At::Outside(Place::Topic), _) => "$.topic".to_owned(),
            _ => "$.data".to_owned(),
        }
    }
}
