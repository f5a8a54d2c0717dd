//! The bytes of an event, in memory, on links and, one day, on disk.
//!
//! ```text
//! u8   version, 1
//! u8   kind of data: 0 none, 1 JSON, 2 text, 3 binary
//! u16  number of attributes                                        big-endian, like all numbers here
//! then for each attribute, in the order the producer had them:
//!   u8   length of the name
//!   u8   type: 1 boolean (1 byte), 2 integer (8), 3 string, 4 binary, 5 URI, 6 URI reference, 7 timestamp
//!   u16  length of the value
//!   name, value
//! the rest is the data
//! ```
//!
//! `specversion` is not stored: it is 1.0. Reading checks everything once, so that what holds an [`crate::Event`]
//! may rely on it: names and texts are valid, `id`, `source` and `type` are there, no name occurs twice.

use std::ops::Range;

use bytes::Bytes;

use crate::attribute::{AttributeKind, AttributeValue, check_name, check_value};
use crate::event::{DataKind, Layout};
use crate::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, EVENT_BYTES_HARD_MAX};

pub(crate) const VERSION: u8 = 1;
pub(crate) const HEADER_BYTES: usize = 4;
pub(crate) const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// The header and all attributes with theirs.
pub(crate) const ENCODED_ATTRIBUTES_MAX: usize =
    ATTRIBUTES_BYTES_MAX + HEADER_BYTES + ATTRIBUTES_MAX * ATTRIBUTE_HEADER_BYTES;

/// Bytes that are no event. The sender is at fault, or the bytes were damaged on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the bytes end before the event does")]
    Truncated,
    #[error("unknown version {0} of the encoding")]
    Version(u8),
    #[error("more than 4194304 bytes")]
    TooLong,
    #[error("more attributes than an event may have")]
    TooManyAttributes,
    #[error("an attribute is malformed")]
    Attribute,
    #[error("an attribute occurs twice")]
    Duplicate,
    #[error("`id`, `source` or `type` is missing")]
    Required,
    #[error("the data is not of the kind it is said to be")]
    Data,
}

/// One attribute where it lies.
pub(crate) struct RawAttribute<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: AttributeValue<'a>,
    /// Of the value's bytes.
    pub(crate) range: Range<usize>,
    pub(crate) end: usize,
}

/// Where the parts of an attribute lie, and its type; nothing of it was read yet.
pub(crate) struct Spans {
    pub(crate) name: Range<usize>,
    pub(crate) kind: u8,
    pub(crate) value: Range<usize>,
}

/// The attribute that begins at `at`; it may reach beyond the bytes.
#[inline]
pub(crate) fn spans(bytes: &[u8], at: usize) -> Option<Spans> {
    let header = bytes.get(at..).and_then(|rest| rest.first_chunk::<ATTRIBUTE_HEADER_BYTES>());
    let [name_length, kind, high, low] = *header?;
    let name_start = at + ATTRIBUTE_HEADER_BYTES;
    let value_start = name_start + usize::from(name_length);
    let end = value_start + usize::from(u16::from_be_bytes([high, low]));
    Some(Spans { name: name_start..value_start, kind, value: value_start..end })
}

/// Reads the attribute that begins at `at`.
pub(crate) fn read_attribute(bytes: &[u8], at: usize) -> Result<RawAttribute<'_>, DecodeError> {
    let Spans { name, kind, value: range } = spans(bytes, at).ok_or(DecodeError::Truncated)?;
    let name = bytes.get(name).ok_or(DecodeError::Truncated)?;
    let value = bytes.get(range.clone()).ok_or(DecodeError::Truncated)?;
    let name = std::str::from_utf8(name).map_err(|_| DecodeError::Attribute)?;
    let kind = AttributeKind::from_byte(kind).ok_or(DecodeError::Attribute)?;
    let value = read_value(kind, value).ok_or(DecodeError::Attribute)?;
    let end = range.end;
    Ok(RawAttribute { name, value, range, end })
}

/// The attribute of this name among the first `count`. Only its own bytes are read: events are asked for one attribute
/// after the other.
pub(crate) fn find_attribute<'a>(bytes: &'a [u8], count: usize, name: &str) -> Option<AttributeValue<'a>> {
    let mut at = HEADER_BYTES;
    for _ in 0..count {
        let Spans { name: found, kind, value } = spans(bytes, at)?;
        at = value.end;
        if found.len() == name.len() && bytes.get(found)? == name.as_bytes() {
            return read_value(AttributeKind::from_byte(kind)?, bytes.get(value)?);
        }
    }
    None
}

pub(crate) fn read_value(kind: AttributeKind, bytes: &[u8]) -> Option<AttributeValue<'_>> {
    let text = || std::str::from_utf8(bytes).ok();
    Some(match kind {
        AttributeKind::Boolean => match bytes {
            [0] => AttributeValue::Boolean(false),
            [1] => AttributeValue::Boolean(true),
            _ => return None,
        },
        AttributeKind::Integer => AttributeValue::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        AttributeKind::Binary => AttributeValue::Binary(bytes),
        AttributeKind::String => AttributeValue::String(text()?),
        AttributeKind::Uri => AttributeValue::Uri(text()?),
        AttributeKind::UriRef => AttributeValue::UriRef(text()?),
        AttributeKind::Timestamp => AttributeValue::Timestamp(text()?),
    })
}

/// Appends an attribute, its value as it is encoded; name and value were checked.
pub(crate) fn write_attribute(buffer: &mut Vec<u8>, name: &[u8], kind: AttributeKind, value: &[u8]) {
    let value_length = u16::try_from(value.len()).expect("check_value limits values to 4 KiB");
    buffer.push(u8::try_from(name.len()).expect("check_name limits names to 64 bytes"));
    buffer.push(kind as u8);
    buffer.extend_from_slice(&value_length.to_be_bytes());
    buffer.extend_from_slice(name);
    buffer.extend_from_slice(value);
}

/// Whether data can be what they are said to be. That JSON is JSON is for those to find out who read it.
pub(crate) fn is_of_kind(kind: DataKind, data: &[u8]) -> bool {
    match kind {
        DataKind::None => data.is_empty(),
        DataKind::Json | DataKind::Text => is_text(data),
        DataKind::Binary => true,
    }
}

/// Data are kilobytes, and looked at wherever an event is read or made: a vector at a time.
pub(crate) fn is_text(data: &[u8]) -> bool {
    simdutf8::basic::from_utf8(data).is_ok()
}

/// Checks a whole event and finds its parts.
pub(crate) fn decode(bytes: &Bytes) -> Result<Layout, DecodeError> {
    if bytes.len() > EVENT_BYTES_HARD_MAX {
        return Err(DecodeError::TooLong);
    }
    let [version, data_kind, high, low] =
        *bytes.first_chunk::<HEADER_BYTES>().ok_or(DecodeError::Truncated)?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let data_kind = DataKind::from_byte(data_kind).ok_or(DecodeError::Data)?;
    let count = usize::from(u16::from_be_bytes([high, low]));
    let Head { id, source, ty, content_type, end: at } = Head::read(bytes, HEADER_BYTES, count)?;
    if !is_of_kind(data_kind, bytes.get(at..).unwrap_or_default()) {
        return Err(DecodeError::Data);
    }
    match (id, source, ty) {
        (Some(id), Some(source), Some(ty)) => {
            Ok(Layout { data_kind, count, id, source, ty, content_type, data_start: at })
        }
        _ => Err(DecodeError::Required),
    }
}

/// Where attributes lie that mean something to the encoding itself.
pub(crate) struct Head {
    pub(crate) id: Option<Range<usize>>,
    pub(crate) source: Option<Range<usize>>,
    pub(crate) ty: Option<Range<usize>>,
    pub(crate) content_type: Option<Range<usize>>,
    /// Behind the last attribute.
    pub(crate) end: usize,
}

impl Head {
    /// Checks `count` attributes from `at` on.
    pub(crate) fn read(bytes: &[u8], mut at: usize, count: usize) -> Result<Head, DecodeError> {
        if count > ATTRIBUTES_MAX {
            return Err(DecodeError::TooManyAttributes);
        }
        let start = at;
        let (mut id, mut source, mut ty, mut content_type) = (None, None, None, None);
        let mut names: [&str; ATTRIBUTES_MAX] = [""; ATTRIBUTES_MAX];
        for seen in 0..count {
            let attribute = read_attribute(bytes, at)?;
            check_name(attribute.name).map_err(|_| DecodeError::Attribute)?;
            check_value(attribute.name, attribute.value).map_err(|_| DecodeError::Attribute)?;
            if names.iter().take(seen).any(|name| *name == attribute.name) {
                return Err(DecodeError::Duplicate);
            }
            if let Some(slot) = names.get_mut(seen) {
                *slot = attribute.name;
            }
            let is_text = attribute.value.as_str().is_some();
            match attribute.name {
                "id" if is_text => id = Some(attribute.range),
                "source" if is_text => source = Some(attribute.range),
                "type" if is_text => ty = Some(attribute.range),
                "datacontenttype" if is_text => content_type = Some(attribute.range),
                "id" | "source" | "type" | "datacontenttype" => return Err(DecodeError::Attribute),
                _ => {}
            }
            at = attribute.end;
            if at - start > ENCODED_ATTRIBUTES_MAX - HEADER_BYTES {
                return Err(DecodeError::TooManyAttributes);
            }
        }
        Ok(Head { id, source, ty, content_type, end: at })
    }
}
