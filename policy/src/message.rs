//! Message templates: plain text with placeholders out of a fixed list, never a value of the payload.

use std::borrow::Cow;

use meshbridge_event::Event;
use meshbridge_topic::Topic;

use crate::federation::Zone;

const PLACEHOLDERS: [&str; 18] = [
    "topic",
    "rule",
    "layer",
    "from.zone",
    "from.region",
    "from.cloud",
    "from.jurisdiction",
    "to.zone",
    "to.region",
    "to.cloud",
    "to.jurisdiction",
    "event.id",
    "event.type",
    "event.source",
    "finding.class",
    "finding.path",
    "size",
    "limit",
];
/// Characters of one value that a message shows.
const VALUE_CHARS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(&'static str),
    /// A token of the topic, by its place in the structure.
    Segment(usize),
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

/// What a message is about.
pub(crate) struct Facts<'a> {
    pub(crate) rule: &'a str,
    pub(crate) layer: &'a str,
    pub(crate) topic: &'a Topic,
    pub(crate) from: &'a Zone,
    pub(crate) to: &'a Zone,
    pub(crate) event: &'a Event,
    /// Class and path of what was found, where something was.
    pub(crate) finding: Option<(&'a str, &'a str)>,
    /// What was measured and what is allowed, where a limit speaks.
    pub(crate) size: Option<(u64, u64)>,
}

impl Template {
    /// The error is the placeholder that is not known. `segments` are those of a structure.
    pub(crate) fn parse(text: &str, segments: &[&str]) -> Result<Template, String> {
        parse(text, |name| PLACEHOLDERS.into_iter().find(|known| *known == name), segments)
    }

    /// The beginning of a type: only what topic and zones decide may stand in it.
    pub(crate) fn parse_prefix(text: &str, segments: &[&str]) -> Result<Template, String> {
        let is_static = |name: &str| name.starts_with("from.") || name.starts_with("to.");
        let known = |name: &str| PLACEHOLDERS.into_iter().find(|known| *known == name && is_static(known));
        parse(text, known, segments)
    }

    /// Whether a segment of this name would hide a placeholder.
    pub(crate) fn is_reserved(name: &str) -> bool {
        PLACEHOLDERS.contains(&name)
    }

    pub(crate) fn placeholders(segments: &[&str]) -> String {
        PLACEHOLDERS.iter().chain(segments).copied().collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn depends_on_destination(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Placeholder(name) if name.starts_with("to.")))
    }

    /// For people: every value passes the detectors, is cut, and has no control characters.
    pub(crate) fn render(&self, facts: &Facts<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                part => out.push_str(&shown(&facts.value(part))),
            }
        }
        out
    }

    /// For comparing: the values as they are.
    pub(crate) fn resolve(&self, facts: &Facts<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                part => out.push_str(&facts.value(part)),
            }
        }
        out
    }
}

fn parse(
    text: &str,
    known: impl Fn(&str) -> Option<&'static str>,
    segments: &[&str],
) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        parts.push(Part::Text(before.to_owned()));
        let (name, after) = after.split_once('}').ok_or_else(|| after.to_owned())?;
        let segment = || segments.iter().position(|segment| *segment == name).map(Part::Segment);
        parts.push(known(name).map(Part::Placeholder).or_else(segment).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(Template(parts))
}

/// A value as a message or a log may show it: an id or a key may itself be personal data.
pub(crate) fn shown(value: &str) -> String {
    match crate::classes::first_in(value) {
        Some(class) => format!("[redacted:{class}]"),
        None => value.chars().filter(|c| !c.is_control()).take(VALUE_CHARS_MAX).collect(),
    }
}

impl Facts<'_> {
    fn value(&self, part: &Part) -> Cow<'_, str> {
        let name = match part {
            Part::Segment(at) => return self.topic.tokens().nth(*at).unwrap_or_default().into(),
            Part::Placeholder(name) => *name,
            Part::Text(_) => return "".into(),
        };
        fn of<'a>(zone: &'a Zone, attribute: &str) -> Cow<'a, str> {
            zone.attribute(attribute).unwrap_or_default().into()
        }
        match name.split_once('.') {
            Some(("from", attribute)) => of(self.from, attribute),
            Some(("to", attribute)) => of(self.to, attribute),
            Some(("event", "id")) => self.event.id().into(),
            Some(("event", "type")) => self.event.ty().into(),
            Some(("event", _)) => self.event.source().into(),
            Some((_, "class")) => self.finding.map(|(class, _)| class).unwrap_or_default().into(),
            Some((_, _)) => self.finding.map(|(_, path)| path).unwrap_or_default().into(),
            None => match name {
                "topic" => self.topic.as_str().into(),
                "rule" => self.rule.into(),
                "layer" => self.layer.into(),
                "size" => self.size.map(|(size, _)| size.to_string()).unwrap_or_default().into(),
                _ => self.size.map(|(_, limit)| limit.to_string()).unwrap_or_default().into(),
            },
        }
    }
}
