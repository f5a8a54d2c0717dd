//! The JSON event format: structured mode and batches.
//!
//! The value of `data` is taken as the bytes it has in the text. Nothing inside it is parsed into numbers or objects,
//! so nothing of it is spelled differently when it leaves.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::attribute::AttributeValue;
use crate::builder::{EventBuilder, InvalidEvent};
use crate::event::{DataKind, Event, is_json_content_type};
use crate::limits::{ATTRIBUTES_MAX, BATCH_EVENTS_MAX};

/// Text that is no event in the JSON format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StructuredError {
    pub message: String,
    /// The member at fault, where it is one.
    pub attribute: Option<String>,
    /// Where in the text, in bytes, where that is known.
    pub offset: Option<usize>,
}

/// A batch that is refused; nothing of it is an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch is not a JSON array: {0}")]
    NotAnArray(StructuredError),
    #[error("the batch has more than {BATCH_EVENTS_MAX} events")]
    TooMany,
    #[error("event {index} of the batch: {problem}")]
    Member { index: usize, problem: StructuredError },
}

impl StructuredError {
    fn new(message: impl Into<String>) -> StructuredError {
        StructuredError { message: message.into(), attribute: None, offset: None }
    }

    fn of(name: &str, message: &str) -> StructuredError {
        let shown: String = name.chars().take(64).collect();
        StructuredError {
            message: format!("attribute `{shown}`: {message}"),
            attribute: Some(shown),
            offset: None,
        }
    }

    fn syntax(text: &str, problem: &serde_json::Error) -> StructuredError {
        let line_start: usize =
            text.split_inclusive('\n').take(problem.line().saturating_sub(1)).map(str::len).sum();
        let offset = (line_start + problem.column().saturating_sub(1)).min(text.len());
        let full = problem.to_string();
        // The library counts lines and columns; a body has bytes.
        let what = full.split(" at line ").next().unwrap_or_default();
        StructuredError {
            message: format!("the text is not valid at byte {offset}: {what}"),
            attribute: None,
            offset: Some(offset),
        }
    }

    fn within(mut self, start: usize) -> StructuredError {
        self.offset = Some(start + self.offset.unwrap_or_default());
        self
    }
}

impl From<InvalidEvent> for StructuredError {
    fn from(problem: InvalidEvent) -> StructuredError {
        StructuredError {
            attribute: problem.attribute().map(str::to_owned),
            message: problem.to_string(),
            offset: None,
        }
    }
}

/// Reads one event.
pub fn parse_structured(text: &[u8]) -> Result<Event, StructuredError> {
    parse_text(utf8(text)?)
}

/// Reads a batch: all of it, or none. Each event comes with nothing of the others.
pub fn parse_batch(text: &[u8]) -> Result<Vec<Event>, BatchError> {
    let text = utf8(text).map_err(BatchError::NotAnArray)?;
    let members: Members<'_> = serde_json::from_str(text)
        .map_err(|problem| BatchError::NotAnArray(StructuredError::syntax(text, &problem)))?;
    let Members::All(members) = members else { return Err(BatchError::TooMany) };
    members
        .into_iter()
        .enumerate()
        .map(|(index, member)| {
            let start = offset_in(text, member);
            parse_text(member.get())
                .map_err(|problem| BatchError::Member { index, problem: problem.within(start) })
        })
        .collect()
}

fn utf8(text: &[u8]) -> Result<&str, StructuredError> {
    std::str::from_utf8(text).map_err(|problem| StructuredError {
        message: "the text is not UTF-8".to_owned(),
        attribute: None,
        offset: Some(problem.valid_up_to()),
    })
}

/// Where a raw value lies in the text it was borrowed from.
fn offset_in(text: &str, raw: &RawValue) -> usize {
    (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

fn parse_text(text: &str) -> Result<Event, StructuredError> {
    let Object(members) =
        serde_json::from_str(text).map_err(|problem| StructuredError::syntax(text, &problem))?;
    let mut builder = EventBuilder::empty();
    let mut version = None;
    let (mut data, mut data_base64) = (None, None);
    let mut content_type: Option<Cow<'_, str>> = None;
    for (at, (name, raw)) in members.iter().enumerate() {
        let failed = |message: &str| StructuredError::of(name, message).within(offset_in(text, raw));
        if members.iter().take(at).any(|(earlier, _)| earlier == name) {
            return Err(failed("it occurs twice"));
        }
        match name.as_ref() {
            "specversion" => version = Some(parse_string(raw).ok_or_else(|| failed("it must be a string"))?),
            "data" => data = Some(*raw),
            "data_base64" => data_base64 = Some(*raw),
            _ => {
                // An attribute that is null is absent (JSON format, section 2.2).
                if raw.get() == "null" {
                    continue;
                }
                builder = add_attribute(builder, name, raw).map_err(failed)?;
                if name == "datacontenttype" {
                    content_type = parse_string(raw);
                }
            }
        }
    }
    match version.as_deref() {
        Some("1.0") => {}
        Some(_) => return Err(StructuredError::of("specversion", "only `1.0` is supported")),
        None => return Err(StructuredError::of("specversion", "it is required")),
    }
    let builder = match (data, data_base64) {
        (Some(_), Some(_)) => {
            return Err(StructuredError::of("data", "only one of `data` and `data_base64` may be given"));
        }
        (None, None) => builder,
        (None, Some(raw)) if raw.get() == "null" => builder,
        (None, Some(raw)) => {
            let failed = |message| StructuredError::of("data_base64", message).within(offset_in(text, raw));
            let encoded = parse_string(raw).ok_or_else(|| failed("it must be a string"))?;
            let bytes = STANDARD.decode(encoded.as_bytes()).map_err(|_| failed("it is not base64"))?;
            builder.data_binary(Bytes::from(bytes))
        }
        (Some(raw), None) => match parse_string(raw) {
            Some(text) if !is_json_content_type(content_type.as_deref()) => {
                builder.data_text(Bytes::from(text.into_owned()))
            }
            _ => builder.data_json(Bytes::copy_from_slice(raw.get().as_bytes())),
        },
    };
    Ok(builder.build()?)
}

fn add_attribute(builder: EventBuilder, name: &str, raw: &RawValue) -> Result<EventBuilder, &'static str> {
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            let text = parse_string(raw).ok_or("it is not a valid string")?;
            Ok(builder.attribute(name, AttributeValue::typed(name, &text)))
        }
        Some(b't' | b'f') => Ok(builder.attribute(name, AttributeValue::Boolean(raw.get() == "true"))),
        Some(b'-' | b'0'..=b'9') => {
            let number: i32 = raw.get().parse().map_err(|_| "a number must be a whole number of 32 bits")?;
            Ok(builder.attribute(name, AttributeValue::Integer(i64::from(number))))
        }
        _ => Err("it must be a string, a boolean or a whole number"),
    }
}

fn parse_string(raw: &RawValue) -> Option<Cow<'_, str>> {
    if !raw.get().starts_with('"') {
        return None;
    }
    match serde_json::from_str::<&str>(raw.get()) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned),
    }
}

/// The value of an attribute that a bridge adds at delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added<'a> {
    Text(&'a str),
    Integer(u32),
}

/// Appends the event in the JSON format. `extra` are attributes that are added at delivery, after the event's own.
pub fn write_structured(event: &Event, extra: &[(&str, Added<'_>)], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\"");
    for (name, value) in event.attributes() {
        // Names are letters and digits: they need no escaping.
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            AttributeValue::Boolean(_) | AttributeValue::Integer(_) => {
                out.extend_from_slice(value.to_text().as_bytes());
            }
            other => write_string(&other.to_text(), out),
        }
    }
    for (name, value) in extra {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Added::Text(text) => write_string(text, out),
            Added::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        }
    }
    match event.data_kind() {
        DataKind::None => {}
        DataKind::Json => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(event.data_bytes());
        }
        DataKind::Text if !is_json_content_type(event.datacontenttype()) => {
            out.extend_from_slice(b",\"data\":");
            write_string(event.data_text().unwrap_or_default(), out);
        }
        // Text under a JSON content type would be read back as JSON; base64 keeps it what it is.
        DataKind::Text | DataKind::Binary => {
            out.extend_from_slice(b",\"data_base64\":\"");
            out.extend_from_slice(STANDARD.encode(event.data_bytes()).as_bytes());
            out.push(b'"');
        }
    }
    out.push(b'}');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c < ' ' => write!(quoted, "\\u{:04x}", u32::from(c)).expect("a string takes all writes"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    out.extend_from_slice(quoted.as_bytes());
}

/// The members of an object in the order of the text, each value as it is written.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The elements of an array, unless there are too many.
enum Members<'a> {
    All(Vec<&'a RawValue>),
    TooMany,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'a>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with the attributes of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(name)) = map.next_key()? {
                    // specversion, data and data_base64 come beside the attributes.
                    if members.len() == ATTRIBUTES_MAX + 3 {
                        return Err(serde::de::Error::custom("too many attributes"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Object)
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'a>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(Key)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                let mut too_many = false;
                while let Some(raw) = seq.next_element()? {
                    if members.len() == BATCH_EVENTS_MAX {
                        too_many = true;
                    } else {
                        members.push(raw);
                    }
                }
                Ok(if too_many { Members::TooMany } else { Members::All(members) })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

impl StructuredError {
    /// For forms beside JSON that report in the same way.
    pub fn about(name: &str, message: &str) -> StructuredError {
        StructuredError::of(name, message)
    }

    /// An error that is about the whole.
    pub fn whole(message: impl Into<String>) -> StructuredError {
        StructuredError::new(message)
    }
}
