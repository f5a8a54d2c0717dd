//! Changes that may help, from what the rules say that stopped an event. None of them is believed before the engine has
//! judged it.

use serde_json::{Value, json};

use super::edit::Edit;
use super::sample;
use crate::condition::EventFacts;
use crate::decision::{Found, Stopped, Verdict};
use crate::engine::{Data, Ends, is_met, json_of};
use crate::federation::Zone;
use crate::message;
use crate::model::{Action, Match, Mode, Presence, Rule, Structure, Truth, Validate};
use crate::program::Program;
use crate::protect::Randomness;
use crate::testing::{Case, Crossing, Leg, TestKeys, request};

/// Values that are tried where a rule does not say which it wants.
fn plain_values() -> [Value; 6] {
    [json!("x"), json!(1), json!(0), json!(true), json!([]), json!({})]
}

/// Where an event was stopped.
pub(super) struct Place<'a> {
    pub(super) program: &'a Program,
    pub(super) case: &'a Case,
    pub(super) leg: &'a Leg,
    pub(super) stopped: &'a Stopped,
}

/// The place where the way ended, if the engine stopped the event there.
pub(super) fn place<'a>(program: &'a Program, case: &'a Case, crossing: &'a Crossing) -> Option<Place<'a>> {
    let leg = crossing.legs.last()?;
    match &leg.decision.verdict {
        Verdict::Stop(stopped) => Some(Place { program, case, leg, stopped }),
        _ => None,
    }
}

impl<'a> Place<'a> {
    /// Ids of everything that stopped the event.
    pub(super) fn stops(&self) -> Vec<&'a str> {
        std::iter::once(&self.stopped.by).chain(&self.stopped.also_by).map(|rule| rule.id()).collect()
    }

    pub(super) fn rule(&self, id: &str) -> Option<&'a Rule> {
        self.program.rules.iter().find(|rule| *rule.id == *id)
    }

    pub(super) fn zones(&self) -> (&'a Zone, &'a Zone) {
        let federation = &self.program.federation;
        (federation.zone_at(self.leg.from), federation.zone_at(self.leg.to))
    }

    fn ends(&self) -> Ends<'a> {
        let (from, to) = self.zones();
        ((self.leg.from, from), (self.leg.to, to))
    }

    /// Things that are not as the rules that stopped it want them: a rule may want several.
    pub(super) fn unmet(&self) -> usize {
        let of_rule = |id: &str| match self.rule(id).map(|rule| &rule.action) {
            Some(Action::Require { attributes, .. }) => {
                attributes.iter().filter(|one| !is_met(one, &self.leg.event, self.ends())).count()
            }
            Some(Action::Structure(structure)) => {
                let is_topic = self.wanted(structure).is_some_and(|topic| topic == self.case.topic.as_str());
                let prefix = self.type_prefix(structure);
                let is_type = prefix.is_none_or(|prefix| self.leg.event.ty().starts_with(&prefix));
                usize::from(!is_topic) + usize::from(!is_type)
            }
            _ => 0,
        };
        self.stops().into_iter().map(of_rule).sum()
    }

    /// Changes of the event for one thing that stopped it, the likeliest first.
    pub(super) fn edits(&self, id: &str) -> Vec<Edit> {
        if let Some(layer) = id.strip_prefix("default-deny@") {
            return self.to_be_permitted(layer);
        }
        let Some(rule) = self.rule(id) else { return self.obligations() };
        let mut edits = match &rule.action {
            Action::Require { .. } => self.require(rule),
            Action::Structure(structure) => self.structure(structure),
            Action::Limit(limit) => {
                let event = &self.leg.event;
                let sizes = [
                    ("event", limit.event_bytes, event.encoded().len() as u64),
                    ("data", limit.data_bytes, event.data_bytes().len() as u64),
                ];
                let over = sizes.into_iter().filter_map(|(what, max, bytes)| {
                    max.filter(|max| bytes > *max).map(|bytes_max| Edit::Shrink { what, bytes_max, bytes })
                });
                over.collect()
            }
            Action::Forbid(forbid) => {
                let report = self.leg.decision.report.as_deref();
                let found = report.map(|report| report.findings.as_slice()).unwrap_or_default();
                found.iter().filter(|one| forbid.classes.contains(one.class)).filter_map(without).collect()
            }
            Action::Validate(validate) => self.validate(validate),
            _ => Vec::new(),
        };
        edits.extend(self.avoid(rule));
        edits
    }

    fn require(&self, rule: &Rule) -> Vec<Edit> {
        let Action::Require { attributes, hops_max } = &rule.action else { return Vec::new() };
        let mut edits = Vec::new();
        if let Some(max) = hops_max.filter(|max| self.leg.hops > *max) {
            edits.push(Edit::Hops { hops_max: max });
        }
        let (from, to) = self.zones();
        for one in attributes.iter().filter(|one| !is_met(one, &self.leg.event, self.ends())) {
            let name = one.attribute.clone();
            if one.presence != Presence::Absent {
                let values = sample::of_requirement(one, from, to).into_iter();
                edits.extend(values.map(|value| Edit::SetAttribute { name: name.clone(), value }));
            }
            if one.presence != Presence::Required {
                edits.push(Edit::RemoveAttribute { name });
            }
        }
        edits
    }

    fn structure(&self, structure: &Structure) -> Vec<Edit> {
        let topic = self.wanted(structure).map(|topic| Edit::Topic { topic });
        let ty = self
            .type_prefix(structure)
            .map(|prefix| Edit::SetAttribute { name: "type".to_owned(), value: format!("{prefix}x") });
        topic.into_iter().chain(ty).collect()
    }

    /// A topic as the structure wants it, with as much of the one there is as it can have.
    fn wanted(&self, structure: &Structure) -> Option<String> {
        let tokens: Vec<&str> = self.case.topic.tokens().collect();
        let segments = structure.segments.iter().enumerate();
        let wanted =
            segments.map(|(at, segment)| sample::of_segment(segment, tokens.get(at).copied(), self.ends()));
        let mut wanted: Vec<String> = wanted.collect::<Option<_>>()?;
        if structure.more {
            wanted.extend(tokens.iter().skip(wanted.len()).map(|token| (*token).to_owned()));
        }
        Some(wanted.join("."))
    }

    /// What the type has to begin with.
    fn type_prefix(&self, structure: &Structure) -> Option<String> {
        let prefix = structure.type_prefix.as_ref()?;
        let (from, to) = self.zones();
        Some(prefix.resolve(&message::Facts {
            rule: "",
            layer: "",
            topic: &self.case.topic,
            from,
            to,
            event: &self.leg.event,
            finding: None,
            size: None,
        }))
    }

    fn validate(&self, validate: &Validate) -> Vec<Edit> {
        let mut edits = Vec::new();
        let data: Option<Value> = json_of(&self.leg.event).and_then(|text| serde_json::from_str(text).ok());
        if let Some(schema) = &validate.schema {
            match &data {
                None => edits.push(Edit::SetData { at: String::new(), value: json!({}) }),
                Some(data) => {
                    for (at, is_missing) in schema.places(data) {
                        let values = plain_values().into_iter();
                        edits.extend(values.map(|value| Edit::SetData { at: at.clone(), value }));
                        if !is_missing {
                            edits.push(Edit::RemoveData { at });
                        }
                    }
                }
            }
        }
        for check in &validate.checks {
            edits.extend(reads(check.expression.reads()));
        }
        edits
    }

    /// So that a rule does not apply any more.
    fn avoid(&self, rule: &Rule) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (name, globs) in &rule.matcher.event {
            edits.push(Edit::RemoveAttribute { name: name.clone() });
            let other =
                ["x", "other", "0"].into_iter().find(|text| !globs.iter().any(|glob| glob.is_match(text)));
            edits.extend(
                other.map(|value| Edit::SetAttribute { name: name.clone(), value: value.to_owned() }),
            );
        }
        edits.extend(rule.matcher.when.iter().flat_map(|(condition, _)| reads(condition.reads())));
        if let Some(except) = &rule.except {
            edits.extend(satisfy(except));
        }
        edits
    }

    /// So that some permit of the layer applies.
    fn to_be_permitted(&self, layer: &str) -> Vec<Edit> {
        let (from, to) = self.zones();
        let mut edits = Vec::new();
        let randomness = Randomness::new([0; 32]);
        let keys = TestKeys::default();
        let asked = request(self.case, self.leg.context, self.leg.to, &self.leg.event, &keys, &randomness);
        let facts = EventFacts::new(&asked, &self.program.federation, Data::None);
        let permits = self.program.rules.iter().filter(|rule| {
            rule.is_permit()
                && rule.mode == Mode::Enforce
                && **rule.layer.name() == *layer
                && rule.matcher.border_holds(self.leg.context, from, to)
        });
        for rule in permits {
            let is_about = rule.matcher.topic_holds(&self.case.topic);
            if !is_about {
                let topics = rule.matcher.topics.iter();
                let topics = topics.filter_map(|filter| sample::of_filter(filter, &self.case.topic));
                edits.extend(topics.map(|topic| Edit::Topic { topic: topic.as_str().to_owned() }));
            }
            if rule.matcher.conditions_hold(&facts) != Truth::Yes {
                edits.extend(satisfy(&rule.matcher));
            }
        }
        edits
    }

    /// So that no attribute brings an obligation that the policies do not meet.
    fn obligations(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        for name in crate::model::CLASSIFYING {
            if self.leg.event.attribute(name).is_none() {
                continue;
            }
            let lists = self.program.classifications.iter().flat_map(|one| &one.attributes);
            let values = lists.filter(|(of, _)| of == name).flat_map(|(_, values)| values.iter().cloned());
            let values: Vec<String> = values.chain(std::iter::once("public".to_owned())).take(4).collect();
            edits.extend(values.into_iter().map(|value| Edit::SetAttribute { name: name.to_owned(), value }));
            edits.push(Edit::RemoveAttribute { name: name.to_owned() });
        }
        edits
    }
}

/// So that a match holds.
pub(crate) fn satisfy(one: &Match) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (name, globs) in &one.event {
        let values = globs.iter().take(4).map(crate::model::Glob::sample);
        edits.extend(values.map(|value| Edit::SetAttribute { name: name.clone(), value }));
    }
    edits.extend(one.when.iter().flat_map(|(condition, _)| reads(condition.reads())));
    edits
}

/// What a condition may see differently.
fn reads(reads: &meshbridge_cel::Reads) -> Vec<Edit> {
    let mut edits = Vec::new();
    for name in reads.attributes.iter().filter(|name| !matches!(name.as_str(), "id" | "specversion")) {
        edits.push(Edit::RemoveAttribute { name: name.clone() });
        edits.push(Edit::SetAttribute { name: name.clone(), value: "x".to_owned() });
    }
    for path in &reads.data {
        let at: String =
            path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect();
        if !at.is_empty() {
            edits.push(Edit::RemoveData { at: at.clone() });
            edits.extend(plain_values().into_iter().map(|value| Edit::SetData { at: at.clone(), value }));
        }
    }
    edits
}

/// The event without something that was found.
fn without(found: &Found) -> Option<Edit> {
    let path = found.path.strip_prefix("$.")?;
    let Some(inner) = path.strip_prefix("data") else {
        let is_name = path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        return is_name.then(|| Edit::RemoveAttribute { name: path.to_owned() });
    };
    let mut pointer = String::new();
    let mut rest = inner;
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']")?
        } else if let Some(number) = rest.strip_prefix('[') {
            number.split_once(']')?
        } else {
            let plain = rest.strip_prefix('.')?;
            plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
        };
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        rest = after;
    }
    Some(Edit::RemoveData { at: pointer })
}
