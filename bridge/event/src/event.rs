//! The event itself: a view of its encoding.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::attribute::AttributeValue;
use crate::builder::EventBuilder;
use crate::encoding::{self, ATTRIBUTE_HEADER_BYTES, DecodeError, HEADER_BYTES};

/// What the data of an event is, as the producer meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DataKind {
    None = 0,
    /// A JSON text, in the bytes the producer wrote.
    Json = 1,
    /// UTF-8 that is no JSON.
    Text = 2,
    Binary = 3,
}

impl DataKind {
    pub(crate) fn from_byte(byte: u8) -> Option<DataKind> {
        [DataKind::None, DataKind::Json, DataKind::Text, DataKind::Binary]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// Where the parts lie in the encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) data_kind: DataKind,
    pub(crate) count: usize,
    pub(crate) id: Range<usize>,
    pub(crate) source: Range<usize>,
    pub(crate) ty: Range<usize>,
    pub(crate) content_type: Option<Range<usize>>,
    pub(crate) data_start: usize,
}

/// A CloudEvent 1.0. Immutable; a clone shares the bytes. Equality is that of the encodings.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    bytes: Bytes,
    layout: Layout,
}

impl Event {
    /// Reads an encoded event without copying it. Never panics, whatever the bytes are.
    pub fn decode(bytes: Bytes) -> Result<Event, DecodeError> {
        let layout = encoding::decode(&bytes)?;
        Ok(Event { bytes, layout })
    }

    /// An event whose parts were checked one by one and written so.
    pub(crate) fn checked(bytes: Bytes, layout: Layout) -> Event {
        debug_assert_eq!(encoding::decode(&bytes).as_ref(), Ok(&layout));
        Event { bytes, layout }
    }

    /// The encoding; [`Event::decode`] of it gives this event.
    pub fn encoded(&self) -> &Bytes {
        &self.bytes
    }

    pub fn id(&self) -> &str {
        self.text(&self.layout.id)
    }

    pub fn source(&self) -> &str {
        self.text(&self.layout.source)
    }

    /// The attribute `type`.
    pub fn ty(&self) -> &str {
        self.text(&self.layout.ty)
    }

    pub fn subject(&self) -> Option<&str> {
        self.attribute("subject").and_then(|value| value.as_str())
    }

    pub fn datacontenttype(&self) -> Option<&str> {
        self.layout.content_type.as_ref().map(|range| self.text(range))
    }

    /// The value of an attribute other than `specversion`.
    pub fn attribute(&self, name: &str) -> Option<AttributeValue<'_>> {
        encoding::find_attribute(&self.bytes, self.layout.count, name)
    }

    /// All attributes but `specversion`, in the order the producer had them.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, AttributeValue<'_>)> + Clone {
        let mut at = HEADER_BYTES;
        (0..self.layout.count).map_while(move |_| {
            let attribute = encoding::read_attribute(&self.bytes, at).ok()?;
            at = attribute.end;
            Some((attribute.name, attribute.value))
        })
    }

    pub fn data_kind(&self) -> DataKind {
        self.layout.data_kind
    }

    pub fn data_bytes(&self) -> &[u8] {
        self.bytes.get(self.layout.data_start..).unwrap_or_default()
    }

    /// The data without copying it.
    pub fn data_shared(&self) -> Bytes {
        self.bytes.slice(self.layout.data_start..)
    }

    /// The data as text, where it is JSON or text.
    pub fn data_text(&self) -> Option<&str> {
        match self.layout.data_kind {
            DataKind::Json | DataKind::Text => simdutf8::basic::from_utf8(self.data_bytes()).ok(),
            DataKind::None | DataKind::Binary => None,
        }
    }

    pub fn is_json_data(&self) -> bool {
        self.layout.data_kind == DataKind::Json
    }

    /// The attributes as they are encoded, and how many there are.
    pub(crate) fn encoded_attributes(&self) -> (&[u8], usize) {
        (self.bytes.get(HEADER_BYTES..self.layout.data_start).unwrap_or_default(), self.layout.count)
    }

    /// The encoded attributes before and behind `id`.
    pub(crate) fn attributes_beside_id(&self) -> [&[u8]; 2] {
        let before = HEADER_BYTES..self.layout.id.start - ATTRIBUTE_HEADER_BYTES - "id".len();
        let behind = self.layout.id.end..self.layout.data_start;
        [before, behind].map(|range| self.bytes.get(range).unwrap_or_default())
    }

    /// A builder that starts as this event.
    pub fn to_builder(&self) -> EventBuilder {
        EventBuilder::from_event(self)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // Decoding checked that these bytes are UTF-8.
        self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Event {
    /// Without data and attribute values: an event in a log line must not carry its payload along.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("type", &self.ty())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Whether a content type says JSON: `application/json`, `text/json`, `…+json`, with or without parameters. An event
/// without a content type holds JSON.
pub fn is_json_content_type(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = media_type.rsplit('/').next().unwrap_or_default();
    subtype.eq_ignore_ascii_case("json")
        || subtype.len() > 5
            && subtype.get(subtype.len() - 5..).is_some_and(|s| s.eq_ignore_ascii_case("+json"))
}
