//! Conditions in CEL: from a scalar of a document to an expression, and what an expression asks of an event.

use std::borrow::Cow;
use std::cell::OnceCell;

use meshbridge_cel::{
    Attribute, Expression, Facts as CelFacts, Json, JsonKind, Limits, ProblemKind, Scope, Side, Steps,
    Unreadable, ZoneAttribute,
};
use meshbridge_detect::tape::{Kind, Tape};
use meshbridge_event::{AttributeValue, Event};
use smallvec::SmallVec;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::engine::{Data, Request};
use crate::federation::{Federation, Zone};
use crate::model::{Facts, Truth};
use crate::yaml::Node;

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Decides whether a rule applies.
    When,
    /// A check of `validate`.
    Check,
}

/// Compiles the text of a node; every problem is reported at its place.
pub(crate) fn lower(node: &Node, usage: Use, problems: &mut Diagnostics) -> Option<Expression> {
    let text = node.text()?;
    let scope = match usage {
        // Where the publisher is not known the rule is refused, see `check_contexts`.
        Use::When => Scope::at_origin(),
        Use::Check => Scope::event(),
    };
    match meshbridge_cel::compile(text, &scope, &Limits::default()) {
        Ok(expression) => Some(expression),
        Err(found) => {
            for problem in found {
                let span = within(&node.span, text, problem.range.clone());
                let diagnostic = Diagnostic::error(code(problem.kind), &span, problem.message);
                problems.push(match problem.help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                });
            }
            None
        }
    }
}

fn code(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Syntax => "P0301",
        ProblemKind::TooLarge => "P0302",
        ProblemKind::Unknown => "P0303",
        ProblemKind::Unsupported => "P0304",
        ProblemKind::Unguarded => "P0305",
        ProblemKind::Type => "P0306",
        ProblemKind::NotBoolean => "P0307",
        ProblemKind::Pattern => "P0308",
        ProblemKind::Cost => "P0309",
        _ => "P0301",
    }
}

/// The part of a scalar, where the line has it as it is meant; else the whole scalar.
fn within(span: &Span, text: &str, range: std::ops::Range<usize>) -> Span {
    let skip = |chars: usize| span.source.char_indices().nth(chars).map_or(span.source.len(), |(at, _)| at);
    let start = skip(span.column - 1);
    let Some(found) = span.source[start..].find(text) else { return span.clone() };
    let column = |byte: usize| span.source[..start + found + byte].chars().count() + 1;
    let (Some(_), Some(_)) = (text.get(..range.start), text.get(..range.end)) else { return span.clone() };
    let (from, to) = (column(range.start), column(range.end));
    Span { column: from, end_column: to.max(from + 1), ..span.clone() }
}

/// What expressions see of an event that is judged.
pub(crate) struct EventFacts<'a> {
    request: &'a Request<'a>,
    from: &'a Zone,
    to: &'a Zone,
    /// Where some condition reads them.
    data: Data<'a>,
    is_ambiguous: OnceCell<bool>,
}

impl<'a> EventFacts<'a> {
    pub(crate) fn new(
        request: &'a Request<'a>,
        federation: &'a Federation,
        data: Data<'a>,
    ) -> EventFacts<'a> {
        let (from, to) = (federation.zone_at(request.from), federation.zone_at(request.to));
        EventFacts { request, from, to, data, is_ambiguous: OnceCell::new() }
    }

    /// Whether some object has a key twice: then readers may differ in what they see, and nothing is decided by it.
    fn is_ambiguous(&self) -> bool {
        *self.is_ambiguous.get_or_init(|| self.tape().is_some_and(has_duplicates))
    }

    fn tape(&self) -> Option<&Tape<'a>> {
        match &self.data {
            Data::Json(tape) => Some(tape),
            Data::None | Data::Unreadable => None,
        }
    }

    /// The data as text, where every reader sees the same in them.
    pub(crate) fn unambiguous_json(&self) -> Option<&'a str> {
        let tape = self.tape()?;
        (!self.is_ambiguous()).then(|| tape.text())
    }
}

pub(crate) fn has_duplicates(tape: &Tape<'_>) -> bool {
    // Room for the keys of an ordinary object.
    let mut keys: SmallVec<[Cow<'_, str>; 32]> = SmallVec::new();
    (0..).zip(tape.nodes()).filter(|(_, node)| node.kind == Kind::Object).any(|(at, _)| {
        keys.clear();
        keys.extend(tape.members(at).map(|(key, _)| tape.unescape(key)));
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    })
}

impl Facts for EventFacts<'_> {
    fn event(&self) -> &Event {
        self.request.event
    }

    fn publisher(&self) -> Option<&str> {
        self.request.publisher
    }

    fn subscriber(&self) -> Option<&str> {
        self.request.subscriber
    }

    fn condition(&self, condition: &Expression) -> Truth {
        if !condition.reads().data.is_empty() && self.is_ambiguous() {
            return Truth::Unknown;
        }
        match condition.evaluate(self, &mut Steps::new(Limits::default().steps)) {
            Ok(holds) => Truth::of(holds),
            Err(_) => Truth::Unknown,
        }
    }
}

impl CelFacts for EventFacts<'_> {
    type Json<'b>
        = JsonView<'b>
    where
        Self: 'b;

    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        if name == "specversion" {
            return Some(Attribute::Text("1.0"));
        }
        Some(match self.request.event.attribute(name)? {
            AttributeValue::Boolean(value) => Attribute::Bool(value),
            AttributeValue::Integer(value) => Attribute::Int(value),
            AttributeValue::Timestamp(text) => match OffsetDateTime::parse(text, &Rfc3339) {
                Ok(time) => Attribute::Timestamp(time),
                Err(_) => Attribute::Text(text),
            },
            value => Attribute::Text(value.as_str()?),
        })
    }

    fn data(&self) -> Result<Option<JsonView<'_>>, Unreadable> {
        match self.data {
            Data::None => Ok(None),
            Data::Json(tape) => Ok(Some(JsonView { tape, node: 0 })),
            Data::Unreadable => Err(Unreadable),
        }
    }

    fn topic(&self) -> &str {
        self.request.topic.as_str()
    }

    fn zone(&self, side: Side, attribute: ZoneAttribute<'_>) -> Option<&str> {
        let zone = match side {
            Side::From => self.from,
            Side::To => self.to,
        };
        match attribute {
            ZoneAttribute::Zone => zone.attribute("zone"),
            ZoneAttribute::Region => zone.attribute("region"),
            ZoneAttribute::Cloud => zone.attribute("cloud"),
            ZoneAttribute::Jurisdiction => zone.attribute("jurisdiction"),
            ZoneAttribute::Label(name) => zone.labels.get(name).map(String::as_str),
        }
    }

    fn publisher(&self) -> Option<&str> {
        self.request.publisher
    }

    fn now(&self) -> OffsetDateTime {
        self.request.now
    }
}

/// A value on the tape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonView<'a> {
    tape: Tape<'a>,
    node: u32,
}

/// Nodes side by side: the elements of an array, or the keys of an object.
#[derive(Clone, Debug)]
pub(crate) struct Siblings<'a> {
    tape: Tape<'a>,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Siblings<'a> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let at = (self.at < self.end).then_some(self.at)?;
        self.at = self.tape.node(at).next;
        Some(at)
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a>(Siblings<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = JsonView<'a>;

    fn next(&mut self) -> Option<JsonView<'a>> {
        self.0.next().map(|node| JsonView { tape: self.0.tape, node })
    }
}

/// The keys of an object.
#[derive(Clone, Debug)]
pub(crate) struct Keys<'a>(Siblings<'a>);

impl<'a> Iterator for Keys<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        self.0.next().map(|key| self.0.tape.unescape(key))
    }
}

impl<'a> JsonView<'a> {
    fn siblings(self, kind: Kind) -> Siblings<'a> {
        let node = self.tape.node(self.node);
        let end = if node.kind == kind { node.next } else { self.node };
        Siblings { tape: self.tape, at: self.node + 1, end }
    }
}

impl<'a> Json<'a> for JsonView<'a> {
    type Elements = Elements<'a>;
    type Keys = Keys<'a>;

    fn kind(self) -> JsonKind {
        match self.tape.node(self.node).kind {
            Kind::Null => JsonKind::Null,
            Kind::True => JsonKind::Bool(true),
            Kind::False => JsonKind::Bool(false),
            Kind::Key | Kind::String => JsonKind::Text,
            Kind::Array => JsonKind::Array(self.siblings(Kind::Array).count()),
            Kind::Object => JsonKind::Object(self.siblings(Kind::Object).count()),
            Kind::Number => {
                let raw = self.tape.raw(self.node);
                raw.parse().map_or_else(|_| JsonKind::Double(raw.parse().unwrap_or(f64::NAN)), JsonKind::Int)
            }
        }
    }

    fn text(self, _bytes: usize) -> Option<Cow<'a, str>> {
        (self.tape.node(self.node).kind == Kind::String).then(|| self.tape.unescape(self.node))
    }

    fn get(self, key: &str) -> Option<JsonView<'a>> {
        let named = self.siblings(Kind::Object).filter(|at| self.tape.unescape(*at) == key);
        named.last().map(|at| JsonView { tape: self.tape, node: at + 1 })
    }

    fn at(self, index: usize) -> Option<JsonView<'a>> {
        self.elements().nth(index)
    }

    fn elements(self) -> Elements<'a> {
        Elements(self.siblings(Kind::Array))
    }

    fn keys(self) -> Keys<'a> {
        Keys(self.siblings(Kind::Object))
    }
}
