//! What a rule is about: topics, zones, and conditions on the event.

use std::borrow::Cow;

use meshbridge_cel::Expression;
use meshbridge_event::Event;
use meshbridge_topic::{Topic, TopicFilter};

use super::Context;
use crate::diagnostics::Span;
use crate::federation::Zone;
use crate::link::ZoneLink;

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

/// A pattern in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<String>);

impl Glob {
    pub(crate) fn parse(text: &str) -> Glob {
        Glob(text.split('*').map(str::to_owned).collect())
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        self.0.join("*")
    }

    /// A text that matches.
    pub(crate) fn sample(&self) -> String {
        let text = self.0.concat();
        if text.is_empty() && self.0.len() > 1 { "x".to_owned() } else { text }
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            // The leftmost place leaves the most to what follows.
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// Whether something holds; a condition that cannot be computed is neither true nor false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    No,
    Unknown,
}

impl Truth {
    pub(crate) fn of(holds: bool) -> Truth {
        if holds { Truth::Yes } else { Truth::No }
    }

    pub(crate) fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
            _ => Truth::Yes,
        }
    }

    pub(crate) fn not(self) -> Truth {
        match self {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

/// What conditions ask of the event that is judged.
pub(crate) trait Facts {
    fn event(&self) -> &Event;
    fn publisher(&self) -> Option<&str>;
    fn subscriber(&self) -> Option<&str>;
    /// [`Truth::Unknown`] where the condition has an error.
    fn condition(&self, condition: &Expression) -> Truth;
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
    /// In order, each once. In a match what the rule denies; in an exception the ones it is for, all where none is named.
    pub(crate) links: Vec<ZoneLink>,
    pub(crate) event: Vec<(String, Vec<Glob>)>,
    pub(crate) publisher: Vec<Glob>,
    pub(crate) subscriber: Vec<Glob>,
    pub(crate) when: Option<(Expression, Span)>,
}

impl Match {
    pub(crate) fn topic_holds(&self, topic: &Topic) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|filter| filter.matches(topic))
    }

    /// Everything that depends on the zones alone.
    pub(crate) fn border_holds(&self, context: Context, from: &Zone, to: &Zone) -> bool {
        self.at & context.bit() != 0
            && self.from.selects(from)
            && self.to.selects(to)
            && self.same.iter().all(|name| agree(name, from, to))
    }

    /// Whether anything of the event but its topic is asked.
    pub(crate) fn has_conditions(&self) -> bool {
        !self.event.is_empty()
            || !self.publisher.is_empty()
            || !self.subscriber.is_empty()
            || self.when.is_some()
    }

    /// The conditions; [`Truth::Yes`] where there are none.
    pub(crate) fn conditions_hold(&self, facts: &impl Facts) -> Truth {
        let mut truth =
            Truth::of(self.event.iter().all(|(name, globs)| holds_attribute(facts.event(), name, globs)));
        for (globs, principal) in
            [(&self.publisher, facts.publisher()), (&self.subscriber, facts.subscriber())]
        {
            if truth == Truth::No {
                return truth;
            }
            if !globs.is_empty() {
                let one = principal
                    .map_or(Truth::Unknown, |name| Truth::of(globs.iter().any(|glob| glob.is_match(name))));
                truth = truth.and(one);
            }
        }
        match &self.when {
            Some((condition, _)) if truth != Truth::No => truth.and(facts.condition(condition)),
            _ => truth,
        }
    }
}

/// Attributes whose values are lists, separated by commas (POLICY §1).
pub(crate) const CLASSIFYING: [&str; 3] = ["dataclassification", "dataregulation", "datacategory"];

fn holds_attribute(event: &Event, name: &str, globs: &[Glob]) -> bool {
    let Some(text) = attribute_text(event, name) else { return false };
    let any = |text: &str| globs.iter().any(|glob| glob.is_match(text));
    if CLASSIFYING.contains(&name) { text.split(',').any(|value| any(value.trim())) } else { any(&text) }
}

/// An attribute that one of them lacks equals nothing.
pub(crate) fn agree(name: &str, from: &Zone, to: &Zone) -> bool {
    fn value<'a>(zone: &'a Zone, name: &str) -> Option<&'a str> {
        match name.strip_prefix("labels.") {
            Some(label) => zone.labels.get(label).map(String::as_str),
            None => zone.attribute(name),
        }
    }
    value(from, name).is_some_and(|of_from| value(to, name) == Some(of_from))
}

pub(crate) fn attribute_text<'a>(event: &'a Event, name: &str) -> Option<Cow<'a, str>> {
    if name == "specversion" {
        return Some("1.0".into());
    }
    event.attribute(name).map(|value| value.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_what_it_spells() {
        for (glob, text, expected) in [
            ("red", "red", true),
            ("red", "redder", false),
            ("r*", "red", true),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("user:*@acme", "user:号@acme", true),
        ] {
            assert_eq!(Glob::parse(glob).is_match(text), expected, "{glob} {text}");
        }
    }
}
