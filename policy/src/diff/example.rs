//! An event for each change: made of what the rules ask, and judged by both editions.

use bytes::Bytes;
use meshbridge_event::json::write_structured;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::{Topic, TopicFilter};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::group::Group;
use super::report::{ChangeKind, Effect, Example, Pair};
use super::{Aspect, edition};
use crate::engine::Scratch;
use crate::model::{Action, Context, Match};
use crate::program::Program;
use crate::testing::{Case, TestKeys, cross};
use crate::why_not::{Edit, passing, satisfy};

/// Events that are tried for one change.
const SEEDS_MAX: usize = 12;
/// The time at which examples are judged: a Wednesday, so that nothing is special about it.
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::seconds(1_799_236_800));

/// Texts that the detectors know, out of standards and documentation; other classes are shown by their name.
const SAMPLES: [(&str, &str, &str); 7] = [
    ("payment.card", "card", "4111 1111 1111 1111"),
    ("payment.iban", "iban", "DE89 3704 0044 0532 0130 00"),
    ("contact.email", "email", "ana@example.com"),
    ("contact.phone", "phone", "+1 202-555-0143"),
    ("person.birth-date", "birthDate", "1987-05-12"),
    ("person.name", "name", "Ana Example"),
    ("network.ip", "ip", "192.0.2.7"),
];

/// The example of a change, and whether both editions judge it as the change says.
pub(super) fn judged(old: &Program, new: &Program, group: &Group, pair: &Pair) -> Example {
    let plain = plain(group);
    let seeds = seeds(old, new, group, &plain);
    let filters: Vec<TopicFilter> = edition::filters(old).into_iter().chain(edition::filters(new)).collect();
    let aspect = group.aspects.first().copied().unwrap_or(Aspect::Sent);
    let topics = group.topics.iter().take(TOPICS_MAX).filter_map(|topic| Topic::parse(topic).ok());
    for topic in topics {
        let place = Place { aspect, topic, pair, filters: &filters };
        if let Some((topic, event)) = place.found(old, new, group, &seeds) {
            return example(topic.as_str(), pair, &event, true);
        }
    }
    let topic = group.topics.first().map_or("x", String::as_str);
    example(topic, pair, &plain, false)
}

fn example(topic: &str, Pair { from, to }: &Pair, event: &Event, judged: bool) -> Example {
    let (topic, from, to) = (topic.to_owned(), from.clone(), to.clone());
    Example { topic, from, to, event: shown(event), judged }
}

/// Topics of a change on which examples are looked for.
const TOPICS_MAX: usize = 4;

struct Place<'a> {
    aspect: Aspect,
    topic: Topic,
    pair: &'a Pair,
    /// Those of both editions.
    filters: &'a [TopicFilter],
}

impl Place<'_> {
    fn found(&self, old: &Program, new: &Program, group: &Group, seeds: &[Event]) -> Option<(Topic, Event)> {
        if group.kind == ChangeKind::ChangedCheck && is_about_links(old, new, group) {
            return seeds.iter().find_map(|seed| self.takes_another_way(old, new, seed));
        }
        let directions: &[(&Program, &Program)] = match (group.kind, group.effect) {
            (ChangeKind::NewlyAllowed, _) | (ChangeKind::ChangedCheck, Some(Effect::Looser)) => &[(new, old)],
            (ChangeKind::NewlyBlocked, _) | (ChangeKind::ChangedCheck, Some(Effect::Tighter)) => {
                &[(old, new)]
            }
            (ChangeKind::ChangedCheck, _) => &[(new, old), (old, new)],
            // It passes in neither.
            (ChangeKind::Kept, _) => return None,
            (ChangeKind::Weaker | ChangeKind::Stronger, _) => {
                return seeds.iter().find_map(|seed| self.shows_both(old, new, seed));
            }
        };
        directions
            .iter()
            .find_map(|(open, closed)| seeds.iter().find_map(|seed| self.flips(open, closed, seed)))
    }

    /// Whether no filter tells a topic from this one, so that whatever is said of the one holds of the other.
    fn is_alike(&self, other: &Topic) -> bool {
        self.filters.iter().all(|filter| filter.matches(other) == filter.matches(&self.topic))
    }

    /// The case, or one made of it, that an edition lets through.
    fn passing(&self, program: &Program, event: &Event) -> Option<Case> {
        let case = self.case(program, event.clone())?;
        passing(program, case, &TestKeys::of(program.federation()), &|topic| self.is_alike(topic))
    }

    fn on(&self, topic: &Topic) -> Self {
        Place { topic: topic.clone(), aspect: self.aspect, pair: self.pair, filters: self.filters }
    }

    fn case(&self, program: &Program, event: Event) -> Option<Case> {
        let at = match self.aspect {
            Aspect::Published => vec![Context::Publish],
            Aspect::Sent => vec![Context::Egress],
            Aspect::Arrives => Vec::new(),
            Aspect::Carried => vec![Context::Transit],
            Aspect::Delivered => vec![Context::Deliver],
            // There is no event yet.
            Aspect::Subscribed | Aspect::Learned => return None,
        };
        Some(Case {
            from: program.zone(&self.pair.from)?,
            to: program.zone(&self.pair.to)?,
            via: Vec::new(),
            at,
            publisher: None,
            subscriber: None,
            hops: None,
            now: NOW,
            topic: self.topic.clone(),
            event,
        })
    }

    /// What arrives of the event, if it passes.
    fn arrives(&self, program: &Program, event: &Event) -> Option<Event> {
        let case = self.case(program, event.clone())?;
        let (keys, mut scratch) = (TestKeys::of(program.federation()), Scratch::new());
        let arrived = cross(program, &case, &keys, &mut scratch).arrived?;
        if self.aspect == Aspect::Carried {
            // A carrier edits nothing, and what would refuse a recipient refuses it.
            let towards = Case { at: vec![Context::Egress], ..case };
            let crossing = cross(program, &towards, &keys, &mut scratch);
            let stops =
                crossing.stopped().into_iter().flat_map(|one| std::iter::once(&one.by).chain(&one.also_by));
            let refuses = |id: &str| {
                let rule = program.rules.iter().find(|rule| *rule.id == *id);
                rule.is_some_and(|rule| {
                    matches!(rule.action, Action::Deny | Action::Residency { .. } | Action::Forbid(_))
                })
            };
            if arrived != *event || stops.map(|rule| rule.id()).any(refuses) {
                return None;
            }
        }
        Some(arrived)
    }

    /// The event, or one made of it, that passes in one edition only.
    fn flips(&self, open: &Program, closed: &Program, seed: &Event) -> Option<(Topic, Event)> {
        let Case { topic, event, .. } = self.passing(open, seed)?;
        let there = self.on(&topic);
        let flips = there.arrives(open, &event).is_some() && there.arrives(closed, &event).is_none();
        flips.then_some((topic, event))
    }

    /// The event, or one made of it, that both let through in different forms.
    fn shows_both(&self, old: &Program, new: &Program, seed: &Event) -> Option<(Topic, Event)> {
        let first = self.passing(old, seed)?;
        let there = self.on(&first.topic);
        let Case { topic, event, .. } = there.passing(new, &first.event)?;
        let there = there.on(&topic);
        let forms = (there.form(old, &event)?, there.form(new, &event)?);
        (forms.0 != forms.1).then_some((topic, event))
    }

    /// The event, or one made of it, that both let through, over other links.
    fn takes_another_way(&self, old: &Program, new: &Program, seed: &Event) -> Option<(Topic, Event)> {
        let first = self.passing(old, seed)?;
        let there = self.on(&first.topic);
        let Case { topic, event, .. } = there.passing(new, &first.event)?;
        let there = there.on(&topic);
        let denied = |program: &Program| -> Option<Vec<String>> {
            let case = there.case(program, event.clone())?;
            let (keys, mut scratch) = (TestKeys::of(program.federation()), Scratch::new());
            let denied = cross(program, &case, &keys, &mut scratch).denied_links?;
            let mut names: Vec<String> = denied.iter().map(|link| link.name(program.federation())).collect();
            names.sort();
            Some(names)
        };
        (denied(old)? != denied(new)?).then_some((topic, event))
    }

    fn form(&self, program: &Program, event: &Event) -> Option<Event> {
        // What a carrier may see is what would be made for it.
        let aspect = if self.aspect == Aspect::Carried { Aspect::Sent } else { self.aspect };
        Place { aspect, ..self.on(&self.topic) }.arrives(program, event)
    }
}

/// Whether a change is one of rules about links.
fn is_about_links(old: &Program, new: &Program, group: &Group) -> bool {
    let mut lines = group.part.before.iter().chain(&group.part.after);
    let rules = || old.rules.iter().chain(&new.rules).filter(|rule| rule.is_about_links());
    lines.any(|line| line.does == super::links::DENIES && rules().any(|rule| *rule.id == *line.rule))
}

/// The least event, with what the change is about in it.
fn plain(group: &Group) -> Event {
    let builder = EventBuilder::new("1", "/example", "example");
    let data = match &group.sample {
        None => json!({}),
        Some((class, path)) => {
            let known = SAMPLES.iter().find(|(name, ..)| name == class);
            let text = known.map_or_else(|| format!("<{class}>"), |(_, _, text)| (*text).to_owned());
            let name = known.map_or("value", |(_, name, _)| name);
            let text = if path.is_some() && known.is_none() { "example".to_owned() } else { text };
            match path.as_deref().and_then(|path| path.strip_prefix("$.data.")) {
                Some(path) => nested(path, &text),
                None => json!({ name: text }),
            }
        }
    };
    let built = builder.clone().data_json(Bytes::from(data.to_string())).build();
    built.or_else(|_| builder.build()).expect("an event of a few short attributes is valid")
}

/// `a.b[0]` as objects and lists around a text.
fn nested(path: &str, text: &str) -> Value {
    let mut value = Value::from(text);
    for name in path.split('.').rev().filter(|name| !name.is_empty()) {
        let (name, is_list) = name.split_once('[').map_or((name, false), |(name, _)| (name, true));
        let inner = if is_list { json!([value]) } else { value };
        value = if name == "*" { json!({"x": inner}) } else { json!({ name: inner }) };
    }
    value
}

/// Events to begin with: the plain one, and ones that meet, or do not meet, what the rules of the change ask.
fn seeds(old: &Program, new: &Program, group: &Group, plain: &Event) -> Vec<Event> {
    let lines = group.part.before.iter().chain(&group.part.after).map(|line| line.rule.as_str());
    let names: Vec<&str> = lines.chain(group.part.depends_on.iter().map(|one| one.rule.as_str())).collect();
    let mut edits: Vec<Edit> = Vec::new();
    for rule in old.rules.iter().chain(&new.rules).filter(|rule| names.contains(&&*rule.id)) {
        let matches: Vec<&Match> = std::iter::once(&rule.matcher).chain(&rule.except).collect();
        for edit in matches.into_iter().flat_map(satisfy).chain(violations(&rule.action)) {
            if !edits.contains(&edit) {
                edits.push(edit);
            }
        }
    }
    let mut seeds = vec![plain.clone()];
    for edit in edits.into_iter().take(SEEDS_MAX) {
        let seed = match &edit {
            Edit::SetAttribute { name, value } => {
                plain.to_builder().set_attribute(name, AttributeValue::typed(name, value)).build().ok()
            }
            Edit::SetData { at, value } => {
                let name = at.trim_start_matches('/').to_owned();
                let data = json!({ name: value });
                plain.to_builder().data_json(Bytes::from(data.to_string())).build().ok()
            }
            _ => None,
        };
        seeds.extend(seed);
    }
    seeds
}

/// Events that a check may stop.
fn violations(action: &Action) -> Vec<Edit> {
    let text = |bytes: u64| {
        // One that is much larger than events may be shows nothing.
        let bytes = usize::try_from(bytes.saturating_add(1)).unwrap_or(usize::MAX).min(EXAMPLE_BYTES_MAX);
        Edit::SetData { at: "/value".to_owned(), value: Value::from("x".repeat(bytes)) }
    };
    match action {
        Action::Require { attributes, .. } => {
            let all = attributes.iter().flat_map(|one| {
                let wrong = Edit::SetAttribute { name: one.attribute.clone(), value: "?".to_owned() };
                let values = one
                    .values
                    .iter()
                    .map(|value| Edit::SetAttribute { name: one.attribute.clone(), value: value.clone() });
                std::iter::once(wrong).chain(values)
            });
            all.collect()
        }
        Action::Limit(limit) => {
            [limit.event_bytes, limit.data_bytes].into_iter().flatten().map(text).collect()
        }
        Action::Forbid(forbid) => {
            let known =
                SAMPLES.iter().filter(|(class, ..)| forbid.classes.iter().any(|one| one.name() == *class));
            let held =
                known.map(|(_, name, text)| Edit::SetData { at: format!("/{name}"), value: json!(text) });
            held.collect()
        }
        _ => Vec::new(),
    }
}

/// Data of an example.
const EXAMPLE_BYTES_MAX: usize = 4_096;

fn shown(event: &Event) -> Value {
    let mut text = Vec::new();
    write_structured(event, &[], &mut text);
    serde_json::from_slice(&text).unwrap_or(Value::Null)
}
