//! Validated policies. A value of these types can be judged; what cannot be was refused before.

use meshbridge_event::Event;
use meshbridge_topic::{Topic, TopicFilter};
use regex::Regex;

use crate::detect::Class;
use crate::diagnostics::Span;
use crate::federation::{Federation, Zone, ZoneIndex};
use crate::message::Template;
use crate::path::Path;
use crate::protection::Protection;

/// The border at which an event is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// At the origin, for a destination.
    Egress,
    /// At a zone on the way.
    Transit,
    /// At the destination.
    Ingress,
}

impl Context {
    pub const ALL: [Context; 3] = [Context::Egress, Context::Transit, Context::Ingress];

    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(crate) fn parse(text: &str) -> Option<Context> {
        match text {
            "egress" => Some(Context::Egress),
            "transit" => Some(Context::Transit),
            "ingress" => Some(Context::Ingress),
            _ => None,
        }
    }
}

/// What becomes of an event that is stopped; the stricter is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// Kept by its origin, with the rule.
    DeadLetter,
    /// No copy is kept; the sender learns the rule.
    Reject,
}

/// A layer of rules: `federation`, `region/eu`, `zone/cn-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// 0 is the outermost.
    pub(crate) depth: usize,
    /// Attribute and value; `None` for the federation.
    pub(crate) of: Option<(String, String)>,
}

impl Layer {
    /// Whether the rules of this layer speak for a zone.
    pub(crate) fn speaks_for(&self, zone: &Zone) -> bool {
        self.of.as_ref().is_none_or(|(attribute, value)| zone.attribute(attribute) == Some(value))
    }

    pub(crate) fn name(&self) -> String {
        match &self.of {
            None => "federation".to_owned(),
            Some((attribute, value)) => format!("{attribute}/{value}"),
        }
    }
}

/// Zones, by their attributes: every key given has one of the values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    /// Attribute and accepted values.
    pub(crate) attributes: Vec<(&'static str, Vec<String>)>,
    pub(crate) labels: Vec<(String, String)>,
}

impl Selector {
    pub(crate) fn selects(&self, zone: &Zone) -> bool {
        self.attributes
            .iter()
            .all(|(name, values)| zone.attribute(name).is_some_and(|value| values.iter().any(|v| v == value)))
            && self.labels.iter().all(|(key, value)| zone.labels.get(key) == Some(value))
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Match {
    /// None given means any topic; only in an exception.
    pub(crate) topics: Vec<TopicFilter>,
    /// Bits of the contexts.
    pub(crate) at: u8,
    pub(crate) from: Selector,
    pub(crate) to: Selector,
    pub(crate) same: Vec<String>,
    pub(crate) event: Vec<(String, Regex)>,
}

impl Match {
    pub(crate) fn topic_holds(&self, topic: &Topic) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|filter| filter.matches(topic))
    }

    /// Everything that depends on the border alone.
    pub(crate) fn border_holds(&self, context: Context, from: &Zone, to: &Zone) -> bool {
        self.at & context.bit() != 0
            && self.from.selects(from)
            && self.to.selects(to)
            && self.same.iter().all(|name| agree(name, from, to))
    }

    pub(crate) fn event_holds(&self, event: &Event) -> bool {
        self.event
            .iter()
            .all(|(name, pattern)| attribute_text(event, name).is_some_and(|text| pattern.is_match(&text)))
    }
}

/// An attribute that one of them lacks equals nothing.
fn agree(name: &str, from: &Zone, to: &Zone) -> bool {
    let value = |zone: &Zone| -> Option<String> {
        match name.strip_prefix("labels.") {
            Some(label) => zone.labels.get(label).cloned(),
            None => zone.attribute(name).map(str::to_owned),
        }
    };
    value(from).is_some_and(|of_from| value(to) == Some(of_from))
}

pub(crate) fn attribute_text<'a>(event: &'a Event, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    if name == "specversion" {
        return Some("1.0".into());
    }
    event.attribute(name).map(|value| value.to_text())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Traceparent,
    Rfc3339,
    Uri,
    UriReference,
    Uuid,
    MediaType,
}

#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) attribute: String,
    pub(crate) presence: Presence,
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) values: Vec<String>,
}

/// One item of a `protect` list.
#[derive(Clone, Debug)]
pub(crate) struct Protect {
    pub(crate) classes: Vec<Class>,
    pub(crate) fields: Vec<Path>,
    pub(crate) protection: Protection,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Permit,
    Deny,
    Require(Vec<Requirement>),
    Protect(Vec<Protect>),
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// `<policy>/<rule>`
    pub(crate) id: String,
    pub(crate) layer: Layer,
    pub(crate) span: Span,
    /// Of each filter in `match.topics`, in order.
    pub(crate) topic_spans: Vec<Span>,
    pub(crate) matcher: Match,
    pub(crate) except: Option<Match>,
    pub(crate) action: Action,
    pub(crate) on_violation: Disposition,
    pub(crate) on_error: Disposition,
    pub(crate) message: Option<Template>,
    pub(crate) help: Option<String>,
    /// The rule as it is written, keys sorted; what the digest is made of.
    pub(crate) canonical: String,
}

impl Rule {
    /// Whether the layer of the rule speaks at this border (POLICY §3).
    pub(crate) fn speaks(
        &self,
        federation: &Federation,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
    ) -> bool {
        let zone = |index: ZoneIndex| &federation.zones[usize::from(index.0)];
        match context {
            Context::Egress => self.layer.speaks_for(zone(from)),
            Context::Ingress => self.layer.speaks_for(zone(to)),
            Context::Transit => self.layer.speaks_for(zone(from)) || self.layer.speaks_for(zone(to)),
        }
    }
}
