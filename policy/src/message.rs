//! Message templates: plain text with placeholders out of a fixed list, never a value of the payload.

use meshbridge_event::Event;
use meshbridge_topic::Topic;

use crate::detect;
use crate::federation::Zone;

const PLACEHOLDERS: [&str; 14] = [
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
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(&'static str),
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
}

impl Template {
    /// The error is the placeholder that is not known.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            parts.push(Part::Text(before.to_owned()));
            let (name, after) = after.split_once('}').ok_or_else(|| after.to_owned())?;
            let known = PLACEHOLDERS.into_iter().find(|known| *known == name);
            parts.push(Part::Placeholder(known.ok_or_else(|| name.to_owned())?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(parts))
    }

    pub(crate) fn placeholders() -> String {
        PLACEHOLDERS.join(", ")
    }

    pub(crate) fn render(&self, facts: &Facts<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Placeholder(name) => {
                    let value = facts.value(name);
                    // An id or a topic may itself be personal data.
                    match detect::find(&value, None).first() {
                        Some(finding) => out.push_str(&format!("[redacted:{}]", finding.class.name())),
                        None => out.extend(value.chars().filter(|c| !c.is_control()).take(256)),
                    }
                }
            }
        }
        out
    }
}

impl Facts<'_> {
    fn value(&self, name: &str) -> String {
        let of = |zone: &Zone, attribute| zone.attribute(attribute).unwrap_or_default().to_owned();
        match name.split_once('.') {
            Some(("from", attribute)) => of(self.from, attribute),
            Some(("to", attribute)) => of(self.to, attribute),
            Some(("event", "id")) => self.event.id().to_owned(),
            Some(("event", "type")) => self.event.ty().to_owned(),
            Some(("event", _)) => self.event.source().to_owned(),
            _ => match name {
                "topic" => self.topic.as_str().to_owned(),
                "rule" => self.rule.to_owned(),
                _ => self.layer.to_owned(),
            },
        }
    }
}
