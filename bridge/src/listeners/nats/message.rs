//! Messages of NATS as events and back: the binary mode of CloudEvents, by headers that begin with `ce-`.
//!
//! A message without `ce-specversion` becomes an event by defaults: a new id, or its `Nats-Msg-Id`; the source
//! `/nats/<zone>/<principal>`; the type [`PLAIN_TYPE`]. Headers of its own are kept in the attribute [`HEADERS`], and
//! where its publisher waits for a reply in [`REPLY_TO`]. An event made so leaves a bridge as the message it was.

use std::fmt::Write as _;

use bytes::Bytes;
use meshbridge_event::http::{HEADER_PREFIX, encode_value, parse_binary};
use meshbridge_event::json::StructuredError;
use meshbridge_event::{AttributeValue, DataKind, Event, EventBuilder};
use meshbridge_topic::Topic;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::listeners::publish::check_attributes;

/// Type of an event that was made from a plain message.
pub(super) const PLAIN_TYPE: &str = "io.nats.message";
/// Other headers of the message: `name=value`, percent-encoded, separated by `&`.
pub(super) const HEADERS: &str = "natsheaders";
/// Topic that a reply is to be published to.
pub(super) const REPLY_TO: &str = "meshbridgereply";
/// A status that a server tells in place of a message.
const STATUS: &str = "meshbridgestatus";
/// The id was the message's `Nats-Msg-Id`.
const NAMED: &str = "natsmsgid";

const VERSION_LINE: &str = "NATS/1.0";
pub(super) const MESSAGE_ID: &str = "Nats-Msg-Id";
const STRUCTURED: &str = "application/cloudevents+json";

/// Header lines, in order.
pub(super) fn header_lines(
    block: &[u8],
) -> Result<impl Iterator<Item = (&str, &str)> + Clone, StructuredError> {
    let about = |message: &str| StructuredError::about("headers", message);
    let text = std::str::from_utf8(block).map_err(|_| about("the headers are not UTF-8"))?;
    let lines =
        text.strip_prefix(VERSION_LINE).ok_or_else(|| about("the headers do not begin with NATS/1.0"))?;
    // The rest of the first line is a status, which a publisher has no use for.
    let lines = lines.split_once("\r\n").map_or("", |(_, lines)| lines);
    if lines.split("\r\n").any(|line| !line.is_empty() && !line.contains(':')) {
        return Err(about("a header has no name"));
    }
    Ok(lines
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim())))
}

/// What defaults are made from.
#[derive(Debug)]
pub(super) struct Defaults<'a> {
    pub(super) id: &'a str,
    pub(super) source: &'a str,
    /// Where a reply leads back to the publisher.
    pub(super) reply: Option<&'a Topic>,
}

/// The event of a message.
pub(super) fn event(
    headers: &[u8],
    payload: Bytes,
    defaults: &Defaults<'_>,
) -> Result<Event, StructuredError> {
    let lines = if headers.is_empty() { None } else { Some(header_lines(headers)?) };
    let find = |wanted: &str| {
        let mut lines = lines.clone().into_iter().flatten();
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let content_type = find("content-type").or_else(|| find("ce-datacontenttype"));
    let builder = if content_type.is_some_and(|kind| kind.starts_with(STRUCTURED)) {
        let event = meshbridge_event::json::parse_structured(&payload)?;
        check_attributes(&event)?;
        event.to_builder()
    } else if find("ce-specversion").is_some() {
        let attributes = lines
            .clone()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("ce-datacontenttype"));
        let attributes = attributes.map(|(name, value)| (name, value.as_bytes()));
        let event = parse_binary(attributes, content_type, payload)?;
        check_attributes(&event)?;
        event.to_builder()
    } else {
        let named = find(MESSAGE_ID);
        let mut builder = EventBuilder::new(named.unwrap_or(defaults.id), defaults.source, PLAIN_TYPE);
        if named.is_some() {
            builder = builder.attribute(NAMED, AttributeValue::Boolean(true));
        }
        if let Some(content_type) = content_type {
            builder = builder.attribute("datacontenttype", AttributeValue::String(content_type));
        }
        builder.data(kind_of(content_type, &payload), payload)
    };
    let others = other_headers(lines.into_iter().flatten());
    let builder = match &others {
        Some(others) => builder.set_attribute(HEADERS, AttributeValue::String(others)),
        None => builder.remove_attribute(HEADERS),
    };
    let builder = match defaults.reply {
        Some(reply) => builder.set_attribute(REPLY_TO, AttributeValue::String(reply.as_str())),
        None => builder,
    };
    Ok(builder.build()?)
}

/// What data of a message without attributes are. JSON is told by looking at it: policies see into it then. Most that
/// is no JSON shows it in its first byte.
pub(super) fn kind_of(content_type: Option<&str>, payload: &[u8]) -> DataKind {
    if payload.is_empty() {
        return DataKind::None;
    }
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace());
    let may_be_json = first
        .is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'));
    if content_type.is_none() && !may_be_json {
        return DataKind::Binary;
    }
    meshbridge_event::data_kind(content_type, payload)
}

/// Headers that are no attributes, as one value.
fn other_headers<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut text = String::new();
    let others = lines.filter(|(name, _)| {
        let is_attribute =
            name.get(..HEADER_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(HEADER_PREFIX));
        !is_attribute && !name.eq_ignore_ascii_case("content-type") && !name.eq_ignore_ascii_case(MESSAGE_ID)
    });
    for (name, value) in others {
        let between = if text.is_empty() { "" } else { "&" };
        let (name, value) =
            (utf8_percent_encode(name, NON_ALPHANUMERIC), utf8_percent_encode(value, NON_ALPHANUMERIC));
        let _ = write!(text, "{between}{name}={value}");
    }
    (!text.is_empty()).then_some(text)
}

/// Where a subscriber is to reply to.
pub(super) fn reply_to<'a>(
    mut attributes: impl Iterator<Item = (&'a str, AttributeValue<'a>)>,
) -> Option<&'a str> {
    attributes.find(|(name, _)| *name == REPLY_TO).and_then(|(_, value)| value.as_str())
}

/// Writes the headers of an event, or of all events of a train but for their ids; `id` is what the event itself adds.
/// Nothing is written for an event that was a message without headers.
pub(super) fn write_headers<'a>(
    attributes: impl Iterator<Item = (&'a str, AttributeValue<'a>)> + Clone,
    out: &mut String,
) -> Headers {
    let is_plain = attributes.clone().all(|(name, value)| match name {
        "type" => value.as_str() == Some(PLAIN_TYPE),
        "id" | "source" | HEADERS | REPLY_TO | NAMED | STATUS | "datacontenttype" => true,
        _ => false,
    });
    let (mut has_any, mut is_named) = (false, false);
    let mut status = None;
    for (name, value) in attributes {
        match name {
            HEADERS => {
                for pair in value.as_str().unwrap_or_default().split('&') {
                    let Some((name, value)) = pair.split_once('=') else { continue };
                    let text = |text| percent_decode_str(text).decode_utf8_lossy();
                    let (name, value) = (text(name), text(value));
                    if name.contains(['\r', '\n', ':']) || value.contains(['\r', '\n']) {
                        continue;
                    }
                    let _ = write!(out, "{name}: {value}\r\n");
                    has_any = true;
                }
            }
            "datacontenttype" => {
                let _ = write!(out, "content-type: {}\r\n", value.to_text());
                has_any = true;
            }
            REPLY_TO | "id" => {}
            NAMED => is_named = true,
            STATUS => status = value.as_str().and_then(|text| text.parse().ok()),
            _ if is_plain => {}
            _ => {
                let _ = write!(out, "{HEADER_PREFIX}{name}: {}\r\n", encode_value(&value.to_text()));
                has_any = true;
            }
        }
    }
    if let Some(status) = status {
        return Headers::Status(status);
    }
    match (is_plain, is_named, has_any) {
        (false, ..) => {
            out.insert_str(0, "ce-specversion: 1.0\r\n");
            Headers::AndId("ce-id")
        }
        (true, true, _) => Headers::AndId(MESSAGE_ID),
        (true, false, true) => Headers::Written,
        (true, false, false) => Headers::None,
    }
}

/// The headers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    None,
    /// None, but a status.
    Status(u16),
    /// All are written.
    Written,
    /// The id is missing, under this name.
    AndId(&'static str),
}

/// A message that a server makes: an answer, or a status without one.
pub(super) fn of_server(status: Option<u16>, body: &str) -> Option<Event> {
    let builder = EventBuilder::new("0", "/nats", PLAIN_TYPE);
    let builder = match status {
        Some(status) => builder.attribute(STATUS, AttributeValue::String(&status.to_string())),
        None => builder,
    };
    let kind = if body.is_empty() { DataKind::None } else { DataKind::Text };
    builder.data(kind, Bytes::copy_from_slice(body.as_bytes())).build().ok()
}

/// Where the id of an event stands in its header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdPlace {
    /// Nowhere: the event gets one.
    Missing,
    /// The value of `ce-id` among attributes, or of `Nats-Msg-Id` where there are none, as it is.
    At(std::ops::Range<usize>),
    /// Spelled in a way that has to be decoded, or in the payload.
    Encoded,
}

/// Where in a header block the id of the event stands.
pub(super) fn id_place(block: &[u8]) -> IdPlace {
    if block.is_empty() {
        return IdPlace::Missing;
    }
    let Ok(lines) = header_lines(block) else { return IdPlace::Encoded };
    let find = |wanted: &str| lines.clone().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let content_type = find("content-type").or_else(|| find("ce-datacontenttype"));
    if content_type.is_some_and(|(_, kind)| kind.starts_with(STRUCTURED)) {
        // With all the other attributes it stands in the payload.
        return IdPlace::Encoded;
    }
    // Without a version no header is an attribute.
    let name = if find("ce-specversion").is_some() { "ce-id" } else { MESSAGE_ID };
    let Some((_, value)) = find(name) else { return IdPlace::Missing };
    if value.is_empty() || !is_plain_id(value) {
        return IdPlace::Encoded;
    }
    let start = value.as_ptr().addr() - block.as_ptr().addr();
    IdPlace::At(start..start + value.len())
}

/// Whether an id means what it says, in a header and as an attribute.
pub(super) fn is_plain_id(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'"'))
}
