//! One change of an event, or of how it is sent.

use std::fmt;

use bytes::Bytes;
use meshbridge_event::{AttributeValue, DataKind, Event};
use meshbridge_topic::Topic;
use serde::Serialize;
use serde_json::Value;

use crate::engine::json_of;
use crate::federation::ZoneIndex;
use crate::message;
use crate::testing::Case;

/// A change that a publisher can make. Values come from rules, never from events.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Edit {
    SetAttribute {
        name: String,
        value: String,
    },
    RemoveAttribute {
        name: String,
    },
    /// `at` is a JSON pointer into the data.
    SetData {
        #[serde(serialize_with = "redacted")]
        at: String,
        value: Value,
    },
    RemoveData {
        #[serde(serialize_with = "redacted")]
        at: String,
    },
    /// Less data.
    Shrink {
        /// Of the event, or of its data alone.
        what: &'static str,
        #[serde(rename = "bytesMax")]
        bytes_max: u64,
        bytes: u64,
    },
    Topic {
        topic: String,
    },
    /// A way that avoids a zone.
    Detour {
        zone: String,
        #[serde(skip)]
        index: ZoneIndex,
    },
    /// A way over fewer bridges.
    Hops {
        #[serde(rename = "max")]
        hops_max: u8,
    },
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::SetAttribute { name, value } => write!(f, "set the attribute {name} to `{value}`"),
            Edit::RemoveAttribute { name } => write!(f, "leave out the attribute {name}"),
            Edit::SetData { at, value } => {
                write!(f, "set the data at {} to something like `{value}`", place(at))
            }
            Edit::RemoveData { at } => write!(f, "leave out the data at {}", place(at)),
            Edit::Shrink { what, bytes_max, bytes } => {
                write!(f, "make the {what} at most {bytes_max} bytes; it has {bytes}")
            }
            Edit::Topic { topic } => write!(f, "publish on a topic such as {topic}"),
            Edit::Detour { zone, .. } => write!(f, "send it on a way that avoids {zone}"),
            Edit::Hops { hops_max } => write!(f, "send it over at most {hops_max} bridges"),
        }
    }
}

/// A key may itself be personal data.
fn place(pointer: &str) -> String {
    if pointer.is_empty() { "the top".to_owned() } else { message::shown(pointer) }
}

fn redacted<S: serde::Serializer>(pointer: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&message::shown(pointer))
}

impl Edit {
    /// The case after the change; `None` where it cannot be made, or changes nothing.
    pub(crate) fn apply(&self, case: &Case) -> Option<Case> {
        let event = &case.event;
        let with = |event: Event| Case { event, ..case.clone() };
        match self {
            Edit::SetAttribute { name, value } => {
                if event.attribute(name).is_some_and(|known| known.to_text() == value.as_str()) {
                    return None;
                }
                let value = AttributeValue::typed(name, value);
                event.to_builder().set_attribute(name, value).build().ok().map(with)
            }
            Edit::RemoveAttribute { name } => {
                event.attribute(name)?;
                event.to_builder().remove_attribute(name).build().ok().map(with)
            }
            Edit::SetData { at, value } => {
                let mut data = match event.data_kind() {
                    DataKind::None => Value::Object(serde_json::Map::new()),
                    _ => json(event)?,
                };
                set(&mut data, at, value.clone())?;
                with_data(event, &data).map(with)
            }
            Edit::RemoveData { at } => {
                let mut data = json(event)?;
                remove(&mut data, at)?;
                with_data(event, &data).map(with)
            }
            Edit::Shrink { bytes_max, .. } => shrunk(event, *bytes_max).map(with),
            Edit::Topic { topic } => {
                let topic: Topic = Topic::parse(topic).ok().filter(|topic| *topic != case.topic)?;
                Some(Case { topic, ..case.clone() })
            }
            Edit::Detour { index, .. } => {
                let via = case.via.iter().copied().filter(|zone| zone != index).collect();
                Some(Case { via, ..case.clone() })
            }
            Edit::Hops { hops_max } => Some(Case { hops: Some(*hops_max), via: Vec::new(), ..case.clone() }),
        }
    }
}

fn json(event: &Event) -> Option<Value> {
    json_of(event).and_then(|text| serde_json::from_str(text).ok())
}

fn with_data(event: &Event, data: &Value) -> Option<Event> {
    event.to_builder().data(DataKind::Json, Bytes::from(data.to_string())).build().ok()
}

fn set(data: &mut Value, at: &str, value: Value) -> Option<()> {
    let Some((parent, key)) = at.rsplit_once('/') else {
        *data = value;
        return Some(());
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    if data.pointer(parent).is_none() {
        set(data, parent, Value::Object(serde_json::Map::new()))?;
    }
    match data.pointer_mut(parent)? {
        Value::Object(members) => {
            members.insert(key, value);
        }
        Value::Array(items) => *items.get_mut(key.parse::<usize>().ok()?)? = value,
        _ => return None,
    }
    Some(())
}

fn remove(data: &mut Value, at: &str) -> Option<()> {
    let (parent, key) = at.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    match data.pointer_mut(parent)? {
        Value::Object(members) => members.remove(&key).map(drop),
        Value::Array(items) => {
            let at = key.parse::<usize>().ok().filter(|at| *at < items.len())?;
            items.remove(at);
            Some(())
        }
        _ => None,
    }
}

/// The event with its longest texts cut until it is small enough; without data, if that is not enough.
fn shrunk(event: &Event, bytes_max: u64) -> Option<Event> {
    let fits = |event: &Event| event.encoded().len() as u64 <= bytes_max;
    let mut data = json(event).unwrap_or(Value::Null);
    for _ in 0..SHRINK_STEPS {
        let Some(event) = with_data(event, &data) else { break };
        if fits(&event) {
            return Some(event);
        }
        match longest(&mut data) {
            Some(text) if !text.is_empty() => text.clear(),
            _ => break,
        }
    }
    let bare = event.to_builder().data(DataKind::None, Bytes::new()).build().ok()?;
    fits(&bare).then_some(bare)
}

/// Texts that are cut at most; what is larger by many small ones loses its data.
const SHRINK_STEPS: usize = 64;

fn longest(value: &mut Value) -> Option<&mut String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(items) => items.iter_mut().filter_map(longest).max_by_key(|text| text.len()),
        Value::Object(members) => members.values_mut().filter_map(longest).max_by_key(|text| text.len()),
        _ => None,
    }
}
