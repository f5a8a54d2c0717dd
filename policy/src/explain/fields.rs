//! What a border did to an event, field by field.

use std::fmt::Write as _;

use meshbridge_detect::tape::push_name;
use meshbridge_event::Event;
use serde_json::Value;

use super::Values;
use crate::decision::Found;
use crate::engine::json_of;
use crate::message::shown;

/// Changes that are listed; an event may hold as many values as it has bytes.
const CHANGES_MAX: usize = 1_000;

/// One field that was edited.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Such as `$.data.card`; a key that is itself personal data is shown as its class.
    pub path: String,
    /// Classes that were found or are declared there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<&'static str>,
    /// As JSON; masked unless values are asked for. `None` where there was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// As JSON; of a container its size only, unless values are asked for. `None` where nothing is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Where two events differ. The form that a value got is what others may see, so it is shown as it is.
pub(super) fn changes(before: &Event, after: &Event, findings: &[Found], values: Values) -> Vec<Change> {
    let mut differ = Differ { findings, values, changes: Vec::new() };
    differ.attributes(before, after);
    differ.data(before, after);
    differ.changes
}

struct Differ<'a> {
    findings: &'a [Found],
    values: Values,
    changes: Vec<Change>,
}

impl Differ<'_> {
    fn attributes(&mut self, before: &Event, after: &Event) {
        let text = |event: &Event, name: &str| {
            event.attribute(name).map(|value| Value::from(value.to_text().into_owned()))
        };
        let names = before.attributes().map(|(name, _)| name);
        let added = after.attributes().map(|(name, _)| name).filter(|name| before.attribute(name).is_none());
        for name in names.chain(added) {
            let (old, new) = (text(before, name), text(after, name));
            if old != new {
                self.add(&format!("$.{name}"), old.as_ref(), new.as_ref());
            }
        }
    }

    fn data(&mut self, before: &Event, after: &Event) {
        if before.data_bytes() == after.data_bytes() {
            return;
        }
        let json = |event: &Event| json_of(event).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let known = self.changes.len();
        match (json(before), json(after)) {
            (Some(old), Some(new)) => self.values(&mut "$.data".to_owned(), &old, &new),
            (old, new) => {
                let text = |event: &Event| event.data_text().map(Value::from);
                let (old, new) = (old.or_else(|| text(before)), new.or_else(|| text(after)));
                self.add("$.data", old.as_ref(), new.as_ref());
            }
        }
        if self.changes.len() == known {
            // Of two members with one name a reader keeps one; protections are made on both.
            let note = Value::from("the first of two members with one name");
            self.changes.push(Change {
                path: "$.data".to_owned(),
                classes: Vec::new(),
                before: None,
                after: Some(note.to_string()),
            });
        }
    }

    fn values(&mut self, path: &mut String, old: &Value, new: &Value) {
        let length = path.len();
        match (old, new) {
            _ if old == new => {}
            (Value::Object(olds), Value::Object(news)) => {
                let added = news.keys().filter(|name| !olds.contains_key(*name));
                for name in olds.keys().chain(added) {
                    push_name(path, name);
                    match (olds.get(name), news.get(name)) {
                        (Some(old), Some(new)) => self.values(path, old, new),
                        (old, new) => self.add(path, old, new),
                    }
                    path.truncate(length);
                }
            }
            (Value::Array(olds), Value::Array(news)) if olds.len() == news.len() => {
                for (at, (old, new)) in olds.iter().zip(news).enumerate() {
                    // Writing to a string cannot fail.
                    _ = write!(path, "[{at}]");
                    self.values(path, old, new);
                    path.truncate(length);
                }
            }
            // Which elements are gone cannot be told from what is left.
            _ => self.add(path, Some(old), Some(new)),
        }
    }

    fn add(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        if self.changes.len() == CHANGES_MAX {
            return;
        }
        let path = shown(path);
        let mut classes: Vec<&'static str> =
            self.findings.iter().filter(|found| found.path == path).map(|found| found.class.name()).collect();
        classes.sort_unstable();
        classes.dedup();
        let is_shown = self.values == Values::Shown;
        let before = old.map(|old| if is_shown { old.to_string() } else { masked(old).to_string() });
        // A container also holds what no rule is about; only a value by itself is known to be a form.
        let is_form = |new: &Value| is_shown || !(new.is_array() || new.is_object());
        let after = new.map(|new| if is_form(new) { new.to_string() } else { masked(new).to_string() });
        self.changes.push(Change { path, classes, before, after });
    }
}

/// The shape of a value: how long a text is and where its separators are, how many members there are.
fn masked(value: &Value) -> Value {
    let mask =
        |text: &str| text.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }).collect::<String>();
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "a truth value".into(),
        Value::Number(_) => "a number".into(),
        Value::String(text) => mask(text).into(),
        Value::Array(items) => format!("list of {}", items.len()).into(),
        Value::Object(members) => format!("object of {}", members.len()).into(),
    }
}
