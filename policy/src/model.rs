//! Validated policies. A value of these types can be judged; what cannot be was refused before.

mod action;
mod matcher;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meshbridge_topic::TopicFilter;
use time::OffsetDateTime;

use crate::diagnostics::Span;
use crate::federation::{Federation, Zone, ZoneIndex};
use crate::link::ZoneLink;
use crate::message::Template;

pub(crate) use action::{
    Action, Amount, BucketPart, Check, Forbid, Format, Limit, Presence, ProtectItem, Rate, Requirement,
    Segment, Structure, Validate,
};
pub(crate) use matcher::{CLASSIFYING, Facts, Glob, Match, Selector, Truth, agree, attribute_text};

/// Where an event is judged (POLICY §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// At the listener, before anything is stored.
    Publish,
    /// At the origin, for a destination.
    Egress,
    /// At a zone on the way.
    Transit,
    /// At the destination.
    Ingress,
    /// At the destination, for a subscriber.
    Deliver,
    /// When a client asks for a filter.
    Subscribe,
    /// Before another zone learns of a filter.
    Interest,
}

impl Context {
    pub const ALL: [Context; 7] = [
        Context::Publish,
        Context::Egress,
        Context::Transit,
        Context::Ingress,
        Context::Deliver,
        Context::Subscribe,
        Context::Interest,
    ];
    /// Where an event crosses from one zone to another.
    pub const BORDERS: [Context; 3] = [Context::Egress, Context::Transit, Context::Ingress];

    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub fn parse(text: &str) -> Option<Context> {
        Context::ALL.into_iter().find(|context| context.name() == text)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Context::Publish => "publish",
            Context::Egress => "egress",
            Context::Transit => "transit",
            Context::Ingress => "ingress",
            Context::Deliver => "deliver",
            Context::Subscribe => "subscribe",
            Context::Interest => "interest",
        }
    }

    /// Whether an event crosses a border here: what no layer permits stays.
    pub const fn is_border(self) -> bool {
        matches!(self, Context::Egress | Context::Transit | Context::Ingress)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of an event that is stopped; the stricter is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// Kept by its origin with the rule; can be replayed.
    DeadLetter,
    /// Kept by its origin and held for a person.
    Quarantine,
    /// No copy is kept; the sender learns the rule.
    Reject,
}

impl Disposition {
    pub const fn name(self) -> &'static str {
        match self {
            Disposition::DeadLetter => "dead-letter",
            Disposition::Quarantine => "quarantine",
            Disposition::Reject => "reject",
        }
    }

    pub fn parse(text: &str) -> Option<Disposition> {
        [Disposition::DeadLetter, Disposition::Quarantine, Disposition::Reject]
            .into_iter()
            .find(|disposition| disposition.name() == text)
    }
}

/// What a rule does with an event that violates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnViolation {
    Stop(Disposition),
    /// The optional attribute is removed.
    Strip,
    /// `govwarn` names the rule; only with [`Mode::Warn`].
    Annotate,
}

/// Read where the effect of a rule is applied, nowhere before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    /// Judged with the others and reported; neither stops nor edits.
    Warn,
    /// Judged after the verdict on the same event, for operators only.
    Shadow,
}

/// A layer of rules: `federation`, `region/eu`, `zone/cn-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// 0 is the outermost.
    pub(crate) depth: usize,
    /// Attribute and value; `None` for the federation.
    pub(crate) of: Option<(String, String)>,
    name: Arc<str>,
}

impl Layer {
    pub(crate) fn federation() -> Layer {
        Layer { depth: 0, of: None, name: "federation".into() }
    }

    pub(crate) fn of(depth: usize, attribute: &str, value: &str) -> Layer {
        let name = format!("{attribute}/{value}").into();
        Layer { depth, of: Some((attribute.to_owned(), value.to_owned())), name }
    }

    /// Whether the rules of this layer speak for a zone.
    pub(crate) fn speaks_for(&self, zone: &Zone) -> bool {
        self.of.as_ref().is_none_or(|(attribute, value)| zone.attribute(attribute) == Some(value))
    }

    /// Whether the layer speaks where an event is judged (POLICY §3, column "layers that speak").
    pub(crate) fn speaks_at(&self, context: Context, from: &Zone, to: &Zone) -> bool {
        match context {
            Context::Publish | Context::Egress | Context::Subscribe => self.speaks_for(from),
            Context::Ingress | Context::Deliver => self.speaks_for(to),
            Context::Transit | Context::Interest => self.speaks_for(from) || self.speaks_for(to),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// `<policy>/<rule>`
    pub(crate) id: Arc<str>,
    pub(crate) layer: Layer,
    /// Of the rule's name.
    pub(crate) span: Span,
    /// Of each filter in `match.topics`, in order.
    pub(crate) topic_spans: Vec<Span>,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) matcher: Match,
    pub(crate) except: Option<Match>,
    pub(crate) mode: Mode,
    pub(crate) action: Action,
    pub(crate) on_violation: OnViolation,
    pub(crate) on_error: Disposition,
    pub(crate) message: Option<Template>,
    pub(crate) help: Option<Arc<str>>,
    /// The rule as it is written, keys sorted; what the digest is made of.
    pub(crate) canonical: String,
}

impl Rule {
    /// Whether the layer of the rule speaks where an event is judged.
    pub(crate) fn speaks(
        &self,
        federation: &Federation,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
    ) -> bool {
        self.layer.speaks_at(context, federation.zone_at(from), federation.zone_at(to))
    }

    /// Whether it is about links, and so stops nothing by itself.
    pub(crate) fn is_about_links(&self) -> bool {
        matches!(self.action, Action::DenyLinks)
    }

    /// Whether the layer of the rule speaks for a link that an event from a zone may cross: that of the zone, or of an end
    /// of the link.
    pub(crate) fn speaks_for_link(&self, federation: &Federation, from: ZoneIndex, link: ZoneLink) -> bool {
        let [one, other] = link.ends();
        [from, one, other].into_iter().any(|zone| self.layer.speaks_for(federation.zone_at(zone)))
    }

    /// The exception where it is for the link.
    pub(crate) fn except_for(&self, link: ZoneLink) -> Option<&Match> {
        self.except.as_ref().filter(|except| except.links.is_empty() || except.links.contains(&link))
    }

    /// Whether the exception is for all that the rule is about.
    pub(crate) fn is_excepted_whole(&self) -> bool {
        self.matcher.links.iter().all(|link| self.except_for(*link).is_some())
    }

    pub(crate) fn is_permit(&self) -> bool {
        matches!(self.action, Action::Permit)
    }

    /// Whether topic and zones alone decide that the rule applies.
    pub(crate) fn is_static(&self) -> bool {
        !self.matcher.has_conditions() && !self.except.as_ref().is_some_and(Match::has_conditions)
    }
}

/// Switches one rule of its own layer off, for some events, until a date.
#[derive(Clone, Debug)]
pub(crate) struct Waiver {
    pub(crate) name: Arc<str>,
    pub(crate) layer: Layer,
    pub(crate) span: Span,
    /// The id of the rule.
    pub(crate) rule: String,
    pub(crate) rule_span: Span,
    pub(crate) matcher: Match,
    pub(crate) expires: OffsetDateTime,
    pub(crate) reason: String,
    pub(crate) canonical: String,
}

/// The longest a waiver may last from when it is checked; POLICY §4: a year.
pub(crate) const WAIVER_MAX: Duration = Duration::from_secs(366 * 86_400);

/// What must be provable (POLICY §9).
#[derive(Clone, Debug)]
pub(crate) struct Invariant {
    pub(crate) name: Arc<str>,
    pub(crate) layer: Layer,
    pub(crate) span: Span,
    pub(crate) never: Never,
    /// Whether an invariant that is not proved is an error; else a warning.
    pub(crate) must_hold: bool,
    pub(crate) canonical: String,
}

/// A question to the leak proof: nobody outside may see these classes in one of these forms.
#[derive(Clone, Debug)]
pub(crate) struct Never {
    pub(crate) classes: Vec<String>,
    pub(crate) discloses: Vec<Disclosure>,
    /// Topics, origins and recipients the question is about.
    pub(crate) matcher: Match,
    pub(crate) except: Option<Match>,
    /// Asked of what subscribers get, not of what crosses the border.
    pub(crate) at_deliver: bool,
    /// Whether zones are assumed to publish again what they received.
    pub(crate) relay: bool,
}

/// What a form of a value may show, in an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Disclosure {
    /// The value itself, or a way to confirm a guess.
    Value,
    /// Part of it: leading or trailing characters, a rung of a ladder.
    Partial,
    /// Equal values can be recognised.
    Link,
    /// That there is one, and what type it has.
    Type,
}

impl Disclosure {
    pub(crate) fn parse(text: &str) -> Option<Disclosure> {
        match text {
            "value" => Some(Disclosure::Value),
            "partial" => Some(Disclosure::Partial),
            "link" => Some(Disclosure::Link),
            "type" => Some(Disclosure::Type),
            _ => None,
        }
    }
}

/// What is known of topics (POLICY §1).
#[derive(Clone, Debug)]
pub(crate) struct Classification {
    pub(crate) name: Arc<str>,
    pub(crate) layer: Layer,
    /// Values of the classification attributes whose obligations are met; `None` where it says nothing of an attribute.
    pub(crate) attributes: Vec<(String, Vec<String>)>,
    pub(crate) topics: Vec<Classified>,
    pub(crate) canonical: String,
}

/// What is known of some topics.
#[derive(Clone, Debug)]
pub(crate) struct Classified {
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) fields: Vec<(crate::path::Path, crate::Class)>,
    pub(crate) may_hold: crate::ClassSet,
    /// What data that are not JSON hold.
    pub(crate) opaque: Option<crate::ClassSet>,
    pub(crate) span: Span,
}
