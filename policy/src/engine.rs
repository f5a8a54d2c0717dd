//! A decision: may the event cross this border, and in which form (POLICY §3).
//!
//! Phases: rules with their conditions; all checks; if nothing stops the event, all protections in one pass. Nothing
//! depends on the order of rules or files. Any stop beats any permit.

use std::fmt;

use meshbridge_event::Event;
use meshbridge_topic::Topic;
use smallvec::SmallVec;

use crate::compile::{Program, ones};
use crate::federation::{Zone, ZoneIndex};
use crate::message::Facts;
use crate::model::{
    Action, Context, Disposition, Format, Layer, Presence, Protect, Requirement, Rule, attribute_text,
};
use crate::transform::transform;

/// The rule that decided: `<policy>/<rule>`, `default-deny@<layer>` or `federation/unmet-obligation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    id: String,
    layer: String,
}

impl RuleRef {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn layer(&self) -> &str {
        &self.layer
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// What becomes of an event at a border.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It crosses: as it is, or as `event` where a rule protects something.
    Forward { event: Option<Event> },
    Stop {
        disposition: Disposition,
        /// Of the rules with that disposition the outermost, then the first by id.
        by: RuleRef,
        also_by: Vec<RuleRef>,
        message: Option<String>,
        help: Option<String>,
    },
}

/// Attributes whose obligations are not met by this version: any value but `public` stays at home.
const OBLIGATIONS: [&str; 3] = ["dataclassification", "dataregulation", "datacategory"];

struct Stop<'a> {
    disposition: Disposition,
    depth: usize,
    by: RuleRef,
    rule: Option<&'a Rule>,
}

impl Program {
    /// Judges an event at a border between two different zones.
    pub fn decide(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        event: &Event,
    ) -> Decision {
        let candidates = self.candidates(context, from, to, topic);
        let zone = |index: ZoneIndex| &self.federation.zones[usize::from(index.0)];
        let (from_zone, to_zone) = (zone(from), zone(to));
        let excepted =
            |at: usize| candidates.exceptions.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1);
        let applies = |at: &usize| {
            let rule = &self.rules[*at];
            rule.matcher.event_holds(event)
                && !(excepted(*at) && rule.except.as_ref().is_some_and(|except| except.event_holds(event)))
        };
        let rules: SmallVec<[&Rule; 16]> =
            ones(&candidates.rules).filter(applies).map(|at| &self.rules[at]).collect();
        let mut stops: Vec<Stop<'_>> = Vec::new();
        self.default_deny(context, from_zone, to_zone, &rules, &mut stops);
        if has_unmet_obligation(event) {
            let by = RuleRef { id: "federation/unmet-obligation".to_owned(), layer: "federation".to_owned() };
            stops.push(Stop { disposition: Disposition::Reject, depth: 0, by, rule: None });
        }
        for rule in &rules {
            let stopped = match &rule.action {
                Action::Deny => true,
                Action::Require(all) => !all.iter().all(|requirement| is_met(requirement, event)),
                Action::Permit | Action::Protect(_) => false,
            };
            if stopped {
                stops.push(stop(rule, rule.on_violation));
            }
        }
        let mut edited = None;
        if stops.is_empty() {
            let protecting =
                || rules.iter().filter_map(|rule| protect_items(rule).map(|items| (*rule, items)));
            let items: Vec<&Protect> = protecting().flat_map(|(_, items)| items).collect();
            if !items.is_empty() {
                match transform(event, items) {
                    Ok(result) => edited = result,
                    // Which of them cannot be claimed: each is asked alone.
                    Err(_) => {
                        for (rule, items) in protecting() {
                            if transform(event, items.iter().collect()).is_err() {
                                stops.push(stop(rule, rule.on_error));
                            }
                        }
                        if stops.is_empty() {
                            stops.extend(protecting().map(|(rule, _)| stop(rule, rule.on_error)));
                        }
                    }
                }
            }
            // A carrier edits nothing: what it would have to edit, it may not see.
            if context == Context::Transit && edited.take().is_some() {
                for (rule, items) in protecting() {
                    if !matches!(transform(event, items.iter().collect()), Ok(None)) {
                        stops.push(stop(rule, Disposition::Reject));
                    }
                }
            }
        }
        if stops.is_empty() {
            return Decision::Forward { event: edited };
        }
        stops.sort_by(|a, b| (b.disposition, a.depth, &a.by.id).cmp(&(a.disposition, b.depth, &b.by.id)));
        stops.dedup_by(|a, b| a.by == b.by);
        let mut stops = stops.into_iter();
        let first = stops.next().expect("checked not to be empty");
        let facts =
            Facts { rule: &first.by.id, layer: &first.by.layer, topic, from: from_zone, to: to_zone, event };
        let message =
            first.rule.and_then(|rule| rule.message.as_ref()).map(|template| template.render(&facts));
        Decision::Stop {
            disposition: first.disposition,
            message,
            help: first.rule.and_then(|rule| rule.help.clone()),
            by: first.by,
            also_by: stops.map(|stop| stop.by).collect(),
        }
    }

    /// The outermost layer permits what its permits cover and nothing else; an inner layer narrows where it has
    /// permits for the context at all.
    fn default_deny(
        &self,
        context: Context,
        from: &Zone,
        to: &Zone,
        rules: &[&Rule],
        stops: &mut Vec<Stop<'_>>,
    ) {
        let speaks = |layer: &Layer| match context {
            Context::Egress => layer.speaks_for(from),
            Context::Ingress => layer.speaks_for(to),
            Context::Transit => layer.speaks_for(from) || layer.speaks_for(to),
        };
        let is_permit = |rule: &Rule| matches!(rule.action, Action::Permit);
        let permitted = |layer: &Layer| rules.iter().any(|rule| is_permit(rule) && rule.layer == *layer);
        let mut deny = |layer: &Layer| {
            let name = layer.name();
            let by = RuleRef { id: format!("default-deny@{name}"), layer: name };
            stops.push(Stop { disposition: Disposition::Reject, depth: layer.depth, by, rule: None });
        };
        let federation = Layer { depth: 0, of: None };
        if !permitted(&federation) {
            deny(&federation);
        }
        let mut seen: SmallVec<[&Layer; 4]> = SmallVec::new();
        for rule in self.rules.iter().filter(|rule| rule.layer.depth > 0 && is_permit(rule)) {
            let narrows = rule.matcher.at & context.bit() != 0 && speaks(&rule.layer);
            if narrows && !seen.contains(&&rule.layer) {
                seen.push(&rule.layer);
                if !permitted(&rule.layer) {
                    deny(&rule.layer);
                }
            }
        }
    }
}

fn stop(rule: &Rule, disposition: Disposition) -> Stop<'_> {
    let by = RuleRef { id: rule.id.clone(), layer: rule.layer.name() };
    Stop { disposition, depth: rule.layer.depth, by, rule: Some(rule) }
}

fn protect_items(rule: &Rule) -> Option<&[Protect]> {
    match &rule.action {
        Action::Protect(items) => Some(items),
        _ => None,
    }
}

pub(crate) fn has_unmet_obligation(event: &Event) -> bool {
    OBLIGATIONS.iter().any(|name| {
        attribute_text(event, name).is_some_and(|text| text.split(',').any(|value| value.trim() != "public"))
    })
}

pub(crate) fn is_met(requirement: &Requirement, event: &Event) -> bool {
    let Some(text) = attribute_text(event, &requirement.attribute) else {
        return requirement.presence != Presence::Required;
    };
    requirement.presence != Presence::Absent
        && requirement.format.is_none_or(|format| has_format(format, &text))
        && requirement.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&text))
        && (requirement.values.is_empty() || requirement.values.iter().any(|value| *value == text))
}

fn has_format(format: Format, text: &str) -> bool {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    match format {
        // W3C Trace Context, section 3.2: 00-<32 hex>-<16 hex>-<2 hex>, ids not zero, version not ff.
        Format::Traceparent => match text.split('-').collect::<Vec<_>>().as_slice() {
            [version, trace, span, flags, rest @ ..] => {
                is_hex(version, 2)
                    && *version != "ff"
                    && is_hex(trace, 32)
                    && !is_zero(trace)
                    && is_hex(span, 16)
                    && !is_zero(span)
                    && is_hex(flags, 2)
                    && (rest.is_empty() || *version != "00")
            }
            _ => false,
        },
        Format::Rfc3339 => {
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_ok()
        }
        Format::Uri => text.split_once(':').is_some_and(|(scheme, rest)| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(good)
                && !rest.is_empty()
                && is_uri_text(rest)
        }),
        Format::UriReference => !text.is_empty() && is_uri_text(text),
        Format::Uuid => {
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        }
        Format::MediaType => {
            let token = |part: &str| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
            };
            let essence = text.split(';').next().unwrap_or_default().trim();
            essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
        }
    }
}

fn is_uri_text(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b))
}

#[cfg(test)]
mod tests;
