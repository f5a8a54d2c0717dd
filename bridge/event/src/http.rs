//! Binary mode of the HTTP binding, without an HTTP library: header names and values as text and bytes.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::attribute::AttributeValue;
use crate::builder::EventBuilder;
use crate::event::Event;
use crate::json::StructuredError;

/// The prefix of a header that holds an attribute.
pub const HEADER_PREFIX: &str = "ce-";

/// What must be percent-encoded in a header value (HTTP binding, section 3.1.3.2): everything outside printable ASCII,
/// space, double quote and percent.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Whether a request with these headers is in binary mode: it names the version of the specification.
pub fn is_binary_mode<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name.eq_ignore_ascii_case("ce-specversion"))
}

/// Reads an event from headers and body. Headers without the prefix are passed over, except the content type.
pub fn parse_binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<Event, StructuredError> {
    let mut builder = EventBuilder::empty();
    let mut version = None;
    for (header, value) in headers {
        let Some(name) = header.get(..HEADER_PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(HEADER_PREFIX))
        else {
            continue;
        };
        let name = header[name.len()..].to_ascii_lowercase();
        let value =
            decode_value(value).ok_or_else(|| StructuredError::about(&name, "the header is not UTF-8"))?;
        match name.as_str() {
            "specversion" => version = Some(value.into_owned()),
            "datacontenttype" => {
                let message = "the content type belongs in the header `content-type`";
                return Err(StructuredError::about("datacontenttype", message));
            }
            _ => builder = builder.attribute(&name, AttributeValue::typed(&name, &value)),
        }
    }
    match version.as_deref() {
        Some("1.0") => {}
        Some(_) => return Err(StructuredError::about("specversion", "only `1.0` is supported")),
        None => return Err(StructuredError::about("specversion", "the header `ce-specversion` is required")),
    }
    if let Some(content_type) = content_type {
        builder = builder.attribute("datacontenttype", AttributeValue::String(content_type));
    }
    Ok(builder.data_by_content_type(content_type, body).build()?)
}

/// The headers that hold the attributes of an event, without the content type.
pub fn binary_headers(event: &Event) -> impl Iterator<Item = (String, String)> {
    std::iter::once((format!("{HEADER_PREFIX}specversion"), "1.0".to_owned())).chain(
        event.attributes().filter(|(name, _)| *name != "datacontenttype").map(|(name, value)| {
            (format!("{HEADER_PREFIX}{name}"), encode_value(&value.to_text()).into_owned())
        }),
    )
}

/// Percent-encodes what a header value may not hold.
pub fn encode_value(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// Decodes a header value; `None` where the result is no UTF-8. Surrounding double quotes are taken off.
pub fn decode_value(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    percent_decode(value).decode_utf8().ok()
}
