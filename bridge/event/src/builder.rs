//! Making an event, and making an edited copy of one.

use std::ops::Range;

use bytes::Bytes;

use crate::attribute::{AttributeKind, AttributeValue, check_name, check_value};
use crate::encoding;
use crate::encoding::{
    ATTRIBUTE_HEADER_BYTES, ENCODED_ATTRIBUTES_MAX, HEADER_BYTES, Spans, VERSION, is_of_kind, read_value,
    spans, write_attribute,
};
use crate::event::{DataKind, Event, Layout, is_json_content_type};
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

/// Collects the parts of an event; [`EventBuilder::build`] checks them all.
#[derive(Clone, Debug)]
pub struct EventBuilder {
    /// Names and values as they are encoded. What was replaced or removed stays; no slot is about it.
    parts: Vec<u8>,
    /// The attributes in order.
    slots: Vec<Slot>,
    data_kind: DataKind,
    data: Bytes,
}

/// Where name and value of an attribute lie among the parts.
#[derive(Clone, Debug)]
struct Slot {
    name: Range<usize>,
    value: Range<usize>,
    kind: AttributeKind,
    /// It comes from an event, which has only what was checked.
    is_checked: bool,
}

/// Room for attributes of an edited event that it did not have before.
const SLOTS_MORE: usize = 2;
const BYTES_MORE: usize = 256;

impl EventBuilder {
    pub fn new(id: &str, source: &str, ty: &str) -> EventBuilder {
        EventBuilder::empty()
            .attribute("id", AttributeValue::String(id))
            .attribute("source", AttributeValue::UriRef(source))
            .attribute("type", AttributeValue::String(ty))
    }

    /// Without the required attributes; for readers that meet them in the producer's order.
    pub fn empty() -> EventBuilder {
        EventBuilder { parts: Vec::new(), slots: Vec::new(), data_kind: DataKind::None, data: Bytes::new() }
    }

    pub(crate) fn from_event(event: &Event) -> EventBuilder {
        let (encoded, count) = event.encoded_attributes();
        let mut slots = Vec::with_capacity(count + SLOTS_MORE);
        let mut at = 0;
        // Decoding has checked that they lie within the bytes and have a known type.
        while let Some(Spans { name, kind, value }) = spans(encoded, at).filter(|_| slots.len() < count)
            && let Some(kind) = AttributeKind::from_byte(kind)
        {
            at = value.end;
            slots.push(Slot { name, value, kind, is_checked: true });
        }
        let mut parts = Vec::with_capacity(encoded.len() + BYTES_MORE);
        parts.extend_from_slice(encoded);
        EventBuilder { parts, slots, data_kind: event.data_kind(), data: event.data_shared() }
    }

    /// Appends an attribute. A name given twice is an error of [`EventBuilder::build`].
    pub fn attribute(mut self, name: &str, value: AttributeValue<'_>) -> EventBuilder {
        let start = self.parts.len();
        self.parts.extend_from_slice(name.as_bytes());
        let slot = self.slot(start..self.parts.len(), value);
        self.slots.push(slot);
        self
    }

    /// Sets an attribute where it stands, or appends it.
    pub fn set_attribute(mut self, name: &str, value: AttributeValue<'_>) -> EventBuilder {
        let Some(at) = self.slots.iter().position(|slot| self.is_named(slot, name)) else {
            return self.attribute(name, value);
        };
        self.slots[at] = self.slot(self.slots[at].name.clone(), value);
        self
    }

    pub fn remove_attribute(mut self, name: &str) -> EventBuilder {
        let EventBuilder { parts, slots, .. } = &mut self;
        slots.retain(|slot| parts.get(slot.name.clone()) != Some(name.as_bytes()));
        self
    }

    fn is_named(&self, slot: &Slot, name: &str) -> bool {
        self.parts.get(slot.name.clone()) == Some(name.as_bytes())
    }

    /// An attribute with this value, not checked yet.
    fn slot(&mut self, name: Range<usize>, value: AttributeValue<'_>) -> Slot {
        let start = self.parts.len();
        match value {
            AttributeValue::Boolean(value) => self.parts.push(u8::from(value)),
            AttributeValue::Integer(value) => self.parts.extend_from_slice(&value.to_be_bytes()),
            AttributeValue::Binary(bytes) => self.parts.extend_from_slice(bytes),
            AttributeValue::String(text)
            | AttributeValue::Uri(text)
            | AttributeValue::UriRef(text)
            | AttributeValue::Timestamp(text) => self.parts.extend_from_slice(text.as_bytes()),
        }
        Slot { name, value: start..self.parts.len(), kind: value.kind(), is_checked: false }
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
        let EventBuilder { parts, slots, data_kind, data } = self;
        let attribute = |name: &str, problem| InvalidEvent::Attribute { name: name.to_owned(), problem };
        let part = |range: &Range<usize>| parts.get(range.clone()).unwrap_or_default();
        // What was put in as text is text.
        let name_of = |slot: &Slot| std::str::from_utf8(part(&slot.name)).unwrap_or_default();
        let (mut bytes_of_attributes, mut bytes_encoded) = (0, HEADER_BYTES);
        for (at, slot) in slots.iter().enumerate() {
            let name = part(&slot.name);
            if !slot.is_checked {
                let name = name_of(slot);
                check_name(name).map_err(|problem| attribute(name, problem))?;
                let value = read_value(slot.kind, part(&slot.value))
                    .ok_or_else(|| attribute(name, "the value is not of its type"))?;
                check_value(name, value).map_err(|problem| attribute(name, problem))?;
            }
            let wants_text = || matches!(name, b"id" | b"source" | b"type" | b"subject" | b"datacontenttype");
            if !slot.kind.is_text() && wants_text() {
                return Err(attribute(name_of(slot), "the value must be a string"));
            }
            // Those of one event have names of their own.
            let is_news = |earlier: &Slot| !(slot.is_checked && earlier.is_checked);
            let mut earlier = slots.iter().take(at);
            if earlier.any(|earlier| is_news(earlier) && part(&earlier.name) == name) {
                return Err(InvalidEvent::Duplicate(name_of(slot).to_owned()));
            }
            bytes_of_attributes += name.len() + text_length(slot.kind, part(&slot.value));
            bytes_encoded += ATTRIBUTE_HEADER_BYTES + name.len() + slot.value.len();
        }
        let is_too_much =
            bytes_of_attributes > ATTRIBUTES_BYTES_MAX || bytes_encoded > ENCODED_ATTRIBUTES_MAX;
        if slots.len() > ATTRIBUTES_MAX || is_too_much {
            return Err(InvalidEvent::TooManyAttributes);
        }
        for required in ["id", "source", "type"] {
            if !slots.iter().any(|slot| part(&slot.name) == required.as_bytes()) {
                return Err(attribute(required, "it is required"));
            }
        }
        let length = bytes_encoded + data.len();
        if length > EVENT_BYTES_HARD_MAX {
            return Err(InvalidEvent::TooLarge(length));
        }
        if !is_of_kind(data_kind, &data) {
            return Err(attribute("data", "it is not of the kind it is said to be"));
        }
        let mut buffer = Vec::with_capacity(length);
        buffer.push(VERSION);
        buffer.push(data_kind as u8);
        let count = u16::try_from(slots.len()).expect("at most ATTRIBUTES_MAX");
        buffer.extend_from_slice(&count.to_be_bytes());
        let mut layout = Layout {
            data_kind,
            count: slots.len(),
            id: 0..0,
            source: 0..0,
            ty: 0..0,
            content_type: None,
            data_start: bytes_encoded,
        };
        for slot in &slots {
            write_attribute(&mut buffer, part(&slot.name), slot.kind, part(&slot.value));
            let value = buffer.len() - slot.value.len()..buffer.len();
            match part(&slot.name) {
                b"id" => layout.id = value,
                b"source" => layout.source = value,
                b"type" => layout.ty = value,
                b"datacontenttype" => layout.content_type = Some(value),
                _ => {}
            }
        }
        buffer.extend_from_slice(&data);
        Ok(Event::checked(Bytes::from(buffer), layout))
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
    if is_text && encoding::is_text(bytes) { DataKind::Text } else { DataKind::Binary }
}

/// The length of a value as text, by which attributes are measured.
fn text_length(kind: AttributeKind, value: &[u8]) -> usize {
    if kind.is_text() {
        return value.len();
    }
    read_value(kind, value).map_or(0, |value| value.to_text().len())
}
