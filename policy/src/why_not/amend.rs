//! One change of the policies, by the layer that may make it.

use std::fmt;

use meshbridge_topic::TopicFilter;
use serde::Serialize;

use super::propose::Place;
use crate::diagnostics::Span;
use crate::federation::ZoneIndex;
use crate::model::{Action, Context, Disposition, Match, Mode, OnViolation, Rule, Selector};
use crate::program::{Documents, Program};
use crate::testing::Case;

/// A change that the owner of a layer can make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Amendment {
    /// The layer that may make it.
    pub layer: String,
    /// Who owns the rule, where the policy says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    #[serde(flatten)]
    pub kind: AmendmentKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum AmendmentKind {
    /// The layer permits the topic between the two zones.
    Permit { topic: String, from: String, to: String, at: Vec<&'static str> },
    /// The rule does not apply to the topic between the two zones.
    Except { rule: String, topic: String, from: String, to: String },
    /// The obligation of a value is met.
    Accept { attribute: String, value: String },
}

impl fmt::Display for Amendment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zones = |from: &str, to: &str| format!("from: {{zones: [{from}]}}, to: {{zones: [{to}]}}");
        match &self.kind {
            AmendmentKind::Permit { topic, from, to, at } => {
                let zones = zones(from, to);
                write!(f, "permit it: match: {{topics: [\"{topic}\"], at: [{}], {zones}}}", at.join(", "))?;
            }
            AmendmentKind::Except { rule, topic, from, to } => {
                write!(f, "let {rule} not apply: except: {{topics: [\"{topic}\"], {}}}", zones(from, to))?;
            }
            AmendmentKind::Accept { attribute, value } => {
                write!(f, "list `{value}` under attributes.{attribute} of its Classification")?;
            }
        }
        write!(f, "  by {}", self.layer)?;
        if let Some(owner) = &self.owner {
            write!(f, ", {owner}")?;
        }
        match &self.span {
            Some(span) => write!(f, "  [{}:{}]", span.file, span.line),
            None => Ok(()),
        }
    }
}

impl Place<'_> {
    /// Changes of the policies for one thing that stopped the event.
    pub(super) fn amendments(&self, id: &str) -> Vec<Amendment> {
        let (from, to) = self.zones();
        let (topic, from, to) = (self.case.topic.as_str().to_owned(), from.name.clone(), to.name.clone());
        if let Some(layer) = id.strip_prefix("default-deny@") {
            let of_layer = |rule: &&Rule| rule.is_permit() && **rule.layer.name() == *layer;
            let other = self.program.rules.iter().find(of_layer);
            // What opens the border here is wanted at the other one as well, where the same layer keeps both.
            let at = match (layer, self.leg.context.is_border()) {
                ("federation", true) => Context::BORDERS.iter().map(|context| context.name()).collect(),
                _ => vec![self.leg.context.name()],
            };
            return vec![Amendment {
                layer: layer.to_owned(),
                owner: other.and_then(|rule| rule.owner.as_deref().map(str::to_owned)),
                span: None,
                kind: AmendmentKind::Permit { topic, from, to, at },
            }];
        }
        let ends = (self.leg.from, self.leg.to);
        if let Some(except) = Amendment::except(self.program, self.case, ends, id) {
            return vec![except];
        }
        let mut amendments = Vec::new();
        for name in crate::model::CLASSIFYING {
            let Some(value) = self.leg.event.attribute(name) else { continue };
            for value in value.to_text().split(',').map(str::trim) {
                amendments.push(Amendment {
                    layer: self.stopped.by.layer().to_owned(),
                    owner: None,
                    span: None,
                    // A value that is itself personal data is not shown.
                    kind: AmendmentKind::Accept {
                        attribute: name.to_owned(),
                        value: crate::message::shown(value),
                    },
                });
            }
        }
        amendments
    }
}

impl Amendment {
    /// An exception of a rule for the topic between two zones; `None` where there is no such rule.
    pub(super) fn except(
        program: &Program,
        case: &Case,
        (from, to): (ZoneIndex, ZoneIndex),
        id: &str,
    ) -> Option<Amendment> {
        let rule = program.rules.iter().find(|rule| *rule.id == *id)?;
        let name = |zone| program.federation.zone_name(zone).to_owned();
        let (topic, from, to) = (case.topic.as_str().to_owned(), name(from), name(to));
        Some(Amendment {
            layer: rule.layer.name().to_string(),
            owner: rule.owner.as_deref().map(str::to_owned),
            span: Some(rule.span.clone()),
            kind: AmendmentKind::Except { rule: id.to_owned(), topic, from, to },
        })
    }

    /// The program after the change; `None` where it cannot be made.
    pub(super) fn apply(&self, program: &Program) -> Option<Program> {
        let mut documents = Documents {
            rules: program.rules.clone(),
            classifications: program.classifications.clone(),
            waivers: program.waivers.clone(),
            ..Documents::default()
        };
        let only =
            |zone: &str| Selector { attributes: vec![("zone", vec![zone.to_owned()])], labels: Vec::new() };
        let place = |topic: &str, from: &str, to: &str, at: u8| -> Option<Match> {
            let topics = vec![TopicFilter::parse(topic).ok()?];
            Some(Match { topics, at, from: only(from), to: only(to), ..Match::default() })
        };
        match &self.kind {
            AmendmentKind::Permit { topic, from, to, at } => {
                let bits =
                    at.iter().filter_map(|name| Context::parse(name)).fold(0, |bits, one| bits | one.bit());
                let layer =
                    program.rules.iter().map(|rule| &rule.layer).find(|layer| **layer.name() == *self.layer);
                let federation = crate::model::Layer::federation();
                let layer = match self.layer.as_str() {
                    "federation" => layer.unwrap_or(&federation),
                    _ => layer?,
                };
                documents.rules.push(Rule {
                    id: "suggested/permit".into(),
                    layer: layer.clone(),
                    span: empty_span(),
                    topic_spans: Vec::new(),
                    owner: None,
                    matcher: place(topic, from, to, bits)?,
                    except: None,
                    mode: Mode::Enforce,
                    action: Action::Permit,
                    on_violation: OnViolation::Stop(Disposition::Reject),
                    on_error: Disposition::DeadLetter,
                    message: None,
                    help: None,
                    canonical: String::new(),
                });
            }
            AmendmentKind::Except { rule, topic, from, to } => {
                let at = documents.rules.iter().position(|one| *one.id == **rule)?;
                if documents.rules[at].except.is_some() {
                    // An exception says one thing; what is wanted is the rule not applying here, which this is.
                    documents.rules.remove(at);
                } else {
                    let contexts = documents.rules[at].matcher.at;
                    documents.rules[at].except = Some(place(topic, from, to, contexts)?);
                }
            }
            AmendmentKind::Accept { attribute, value } => {
                let mut listed = false;
                for (name, values) in documents.classifications.iter_mut().flat_map(|one| &mut one.attributes)
                {
                    if name == attribute && !values.contains(value) {
                        values.push(value.clone());
                        listed = true;
                    }
                }
                // Without any list a Classification has to be written first, which is more than one change.
                listed.then_some(())?;
            }
        }
        Some(Program::new(documents, program.federation.clone()))
    }
}

fn empty_span() -> Span {
    Span { file: "".into(), line: 0, column: 0, end_line: 0, end_column: 0, source: "".into() }
}
