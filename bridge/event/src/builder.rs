//! Making an event, and making an edited copy of one.

use bytes::Bytes;

use crate::attribute::{AttributeKind, AttributeValue, check_name, check_value};
use crate::encoding::{HEADER_BYTES, VERSION, write_attribute};
use crate::event::{DataKind, Event, is_json_content_type};
use crate::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, EVENT_BYTES_HARD_MAX};

/// Parts that make no event; names the attribute that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    #[error("attribute `{name}`: {problem}")]
    Attribute { name: String, problem: &'static str },
    #[error("attribute `{0}` occurs twice")]
    Duplicate(String),
    #[error("more than {ATTRIBUTES_MAX} attributes, or more than {ATTRIBUTES_BYTES_MAX} bytes of them")]
    TooManyAttributes,
    #[error("the event has {0} bytes, which is more than any bridge carries")]
    TooLarge(usize),
}

impl InvalidEvent {
    /// The attribute at fault, where it is one.
    pub fn attribute(&self) -> Option<&str> {
        match self {
            InvalidEvent::Attribute { name, .. } | InvalidEvent::Duplicate(name) => Some(name),
            InvalidEvent::TooManyAttributes | InvalidEvent::TooLarge(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
enum OwnedValue {
    Boolean(bool),
    Integer(i64),
    Binary(Vec<u8>),
    Text(AttributeKind, String),
}

impl OwnedValue {
    fn of(value: AttributeValue<'_>) -> OwnedValue {
        match value {
            AttributeValue::Boolean(value) => OwnedValue::Boolean(value),
            AttributeValue::Integer(value) => OwnedValue::Integer(value),
            AttributeValue::Binary(bytes) => OwnedValue::Binary(bytes.to_vec()),
            AttributeValue::String(text)
            | AttributeValue::Uri(text)
            | AttributeValue::UriRef(text)
            | AttributeValue::Timestamp(text) => OwnedValue::Text(value.kind(), text.to_owned()),
        }
    }

    fn borrow(&self) -> AttributeValue<'_> {
        match self {
            OwnedValue::Boolean(value) => AttributeValue::Boolean(*value),
            OwnedValue::Integer(value) => AttributeValue::Integer(*value),
            OwnedValue::Binary(bytes) => AttributeValue::Binary(bytes),
            OwnedValue::Text(AttributeKind::Uri, text) => AttributeValue::Uri(text),
            OwnedValue::Text(AttributeKind::UriRef, text) => AttributeValue::UriRef(text),
            OwnedValue::Text(AttributeKind::Timestamp, text) => AttributeValue::Timestamp(text),
            OwnedValue::Text(_, text) => AttributeValue::String(text),
        }
    }
}

/// Collects the parts of an event; [`EventBuilder::build`] checks them all.
#[derive(Clone, Debug)]
pub struct EventBuilder {
    attributes: Vec<(String, OwnedValue)>,
    data_kind: DataKind,
    data: Bytes,
}

impl EventBuilder {
    pub fn new(id: &str, source: &str, ty: &str) -> EventBuilder {
        EventBuilder::empty()
            .attribute("id", AttributeValue::String(id))
            .attribute("source", AttributeValue::UriRef(source))
            .attribute("type", AttributeValue::String(ty))
    }

    /// Without the required attributes; for readers that meet them in the producer's order.
    pub fn empty() -> EventBuilder {
        EventBuilder { attributes: Vec::new(), data_kind: DataKind::None, data: Bytes::new() }
    }

    pub(crate) fn from_event(event: &Event) -> EventBuilder {
        EventBuilder {
            attributes: event
                .attributes()
                .map(|(name, value)| (name.to_owned(), OwnedValue::of(value)))
                .collect(),
            data_kind: event.data_kind(),
            data: event.data_shared(),
        }
    }

    /// Appends an attribute. A name given twice is an error of [`EventBuilder::build`].
    pub fn attribute(mut self, name: &str, value: AttributeValue<'_>) -> EventBuilder {
        self.attributes.push((name.to_owned(), OwnedValue::of(value)));
        self
    }

    /// Sets an attribute where it stands, or appends it.
    pub fn set_attribute(mut self, name: &str, value: AttributeValue<'_>) -> EventBuilder {
        let value = OwnedValue::of(value);
        match self.attributes.iter_mut().find(|(found, _)| found == name) {
            Some((_, slot)) => *slot = value,
            None => self.attributes.push((name.to_owned(), value)),
        }
        self
    }

    pub fn remove_attribute(mut self, name: &str) -> EventBuilder {
        self.attributes.retain(|(found, _)| found != name);
        self
    }

    /// JSON data, kept in these bytes. The caller vouches that they are JSON; UTF-8 is checked.
    pub fn data_json(self, json: Bytes) -> EventBuilder {
        self.data(DataKind::Json, json)
    }

    pub fn data_text(self, text: Bytes) -> EventBuilder {
        self.data(DataKind::Text, text)
    }

    pub fn data_binary(self, bytes: Bytes) -> EventBuilder {
        self.data(DataKind::Binary, bytes)
    }

    /// Data whose kind is told by the content type and by the bytes themselves: JSON that parses is JSON, a text type
    /// in UTF-8 is text, everything else is binary. Nothing is lost either way.
    pub fn data_by_content_type(self, content_type: Option<&str>, bytes: Bytes) -> EventBuilder {
        let kind = data_kind(content_type, &bytes);
        self.data(kind, bytes)
    }

    /// Data of the kind it had: what an edit puts in place of it.
    pub fn data(mut self, kind: DataKind, bytes: Bytes) -> EventBuilder {
        self.data_kind = kind;
        self.data = bytes;
        self
    }

    pub fn build(self) -> Result<Event, InvalidEvent> {
        let attribute = |name: &str, problem| InvalidEvent::Attribute { name: name.to_owned(), problem };
        let mut bytes_of_attributes = 0;
        for (at, (name, value)) in self.attributes.iter().enumerate() {
            check_name(name).map_err(|problem| attribute(name, problem))?;
            let value = value.borrow();
            check_value(name, value).map_err(|problem| attribute(name, problem))?;
            let wants_text =
                matches!(name.as_str(), "id" | "source" | "type" | "subject" | "datacontenttype");
            if wants_text && value.as_str().is_none() {
                return Err(attribute(name, "the value must be a string"));
            }
            if self.attributes.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(InvalidEvent::Duplicate(name.clone()));
            }
            bytes_of_attributes += name.len() + value.to_text().len();
        }
        if self.attributes.len() > ATTRIBUTES_MAX || bytes_of_attributes > ATTRIBUTES_BYTES_MAX {
            return Err(InvalidEvent::TooManyAttributes);
        }
        for required in ["id", "source", "type"] {
            if !self.attributes.iter().any(|(name, _)| name == required) {
                return Err(attribute(required, "it is required"));
            }
        }
        let mut buffer = Vec::with_capacity(
            HEADER_BYTES + bytes_of_attributes + self.attributes.len() * 12 + self.data.len(),
        );
        buffer.push(VERSION);
        buffer.push(self.data_kind as u8);
        let count = u16::try_from(self.attributes.len()).expect("at most ATTRIBUTES_MAX");
        buffer.extend_from_slice(&count.to_be_bytes());
        for (name, value) in &self.attributes {
            write_attribute(&mut buffer, name, value.borrow());
        }
        buffer.extend_from_slice(&self.data);
        if buffer.len() > EVENT_BYTES_HARD_MAX {
            return Err(InvalidEvent::TooLarge(buffer.len()));
        }
        Event::decode(Bytes::from(buffer))
            .map_err(|_| attribute("data", "it is not of the kind it is said to be"))
    }
}

/// The kind of data that has this content type: see [`EventBuilder::data_by_content_type`].
pub fn data_kind(content_type: Option<&str>, bytes: &[u8]) -> DataKind {
    if bytes.is_empty() {
        return DataKind::None;
    }
    if is_json_content_type(content_type) {
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok();
        return if is_json { DataKind::Json } else { DataKind::Binary };
    }
    let is_text = content_type.is_some_and(|t| t.get(..5).is_some_and(|t| t.eq_ignore_ascii_case("text/")));
    if is_text && std::str::from_utf8(bytes).is_ok() { DataKind::Text } else { DataKind::Binary }
}
