//! Values of CloudEvents attributes, with the types of the specification.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The type of an attribute's value, as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AttributeKind {
    Boolean = 1,
    Integer = 2,
    String = 3,
    Binary = 4,
    Uri = 5,
    UriRef = 6,
    Timestamp = 7,
}

impl AttributeKind {
    pub(crate) fn from_byte(byte: u8) -> Option<AttributeKind> {
        Some(match byte {
            1 => AttributeKind::Boolean,
            2 => AttributeKind::Integer,
            3 => AttributeKind::String,
            4 => AttributeKind::Binary,
            5 => AttributeKind::Uri,
            6 => AttributeKind::UriRef,
            7 => AttributeKind::Timestamp,
            _ => return None,
        })
    }

    pub(crate) fn is_text(self) -> bool {
        !matches!(self, AttributeKind::Boolean | AttributeKind::Integer | AttributeKind::Binary)
    }

    /// The type of a core attribute; an extension that arrives as text is a string.
    pub(crate) fn of_name(name: &str) -> AttributeKind {
        match name {
            "source" => AttributeKind::UriRef,
            "dataschema" => AttributeKind::Uri,
            "time" => AttributeKind::Timestamp,
            _ => AttributeKind::String,
        }
    }
}

/// A value, borrowed from its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    Boolean(bool),
    /// The specification has 32 bits; 64 are kept because the SDK has them.
    Integer(i64),
    String(&'a str),
    Binary(&'a [u8]),
    Uri(&'a str),
    UriRef(&'a str),
    /// RFC 3339, spelled as the producer did.
    Timestamp(&'a str),
}

impl<'a> AttributeValue<'a> {
    pub fn kind(&self) -> AttributeKind {
        match self {
            AttributeValue::Boolean(_) => AttributeKind::Boolean,
            AttributeValue::Integer(_) => AttributeKind::Integer,
            AttributeValue::String(_) => AttributeKind::String,
            AttributeValue::Binary(_) => AttributeKind::Binary,
            AttributeValue::Uri(_) => AttributeKind::Uri,
            AttributeValue::UriRef(_) => AttributeKind::UriRef,
            AttributeValue::Timestamp(_) => AttributeKind::Timestamp,
        }
    }

    /// The text, where the value is one.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            AttributeValue::String(text)
            | AttributeValue::Uri(text)
            | AttributeValue::UriRef(text)
            | AttributeValue::Timestamp(text) => Some(text),
            AttributeValue::Boolean(_) | AttributeValue::Integer(_) | AttributeValue::Binary(_) => None,
        }
    }

    /// The canonical string of CloudEvents §3.1: `true`, digits, base64, or the text itself.
    pub fn to_text(&self) -> Cow<'a, str> {
        match *self {
            AttributeValue::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            AttributeValue::Integer(value) => Cow::Owned(value.to_string()),
            AttributeValue::Binary(bytes) => Cow::Owned(STANDARD.encode(bytes)),
            AttributeValue::String(text)
            | AttributeValue::Uri(text)
            | AttributeValue::UriRef(text)
            | AttributeValue::Timestamp(text) => Cow::Borrowed(text),
        }
    }

    /// Types `text` as the attribute `name` has it.
    pub fn typed(name: &str, text: &'a str) -> AttributeValue<'a> {
        match AttributeKind::of_name(name) {
            AttributeKind::UriRef => AttributeValue::UriRef(text),
            AttributeKind::Uri => AttributeValue::Uri(text),
            AttributeKind::Timestamp => AttributeValue::Timestamp(text),
            _ => AttributeValue::String(text),
        }
    }
}

/// Names that bridges alone may set (RELIABILITY G11): publishing an event that has one is refused.
pub fn is_reserved_name(name: &str) -> bool {
    name.starts_with("meshbridge") || matches!(name, "govprotected" | "govwarn")
}

/// Why a name or value cannot be an attribute.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > crate::limits::NAME_BYTES_MAX {
        return Err("a name has 1 to 64 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Err("a name has lower-case letters and digits only");
    }
    if name == "data" || name == "specversion" {
        return Err("this name has a meaning of its own and cannot be an attribute here");
    }
    Ok(())
}

/// Checks the content of a value against its type and the character rules of CloudEvents §3.1.
pub(crate) fn check_value(name: &str, value: AttributeValue<'_>) -> Result<(), &'static str> {
    let length = match value {
        AttributeValue::Binary(bytes) => bytes.len(),
        other => other.as_str().map_or(0, str::len),
    };
    if length > crate::limits::VALUE_BYTES_MAX {
        return Err("a value has at most 4096 bytes");
    }
    let Some(text) = value.as_str() else { return Ok(()) };
    // Printable ASCII, which most values are, in one vectorised pass.
    let is_printable = text.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
    if !is_printable && text.chars().any(is_forbidden) {
        return Err("a value has no control characters and no noncharacters");
    }
    match value {
        AttributeValue::Timestamp(_) if !is_usual_time(text) && parse_time(text).is_none() => {
            Err("the value is no RFC 3339 time")
        }
        AttributeValue::Uri(_) if !text.contains(':') || text.contains(' ') => {
            Err("the value is no absolute URI")
        }
        AttributeValue::UriRef(_) if text.contains(' ') => Err("the value is no URI reference"),
        _ if text.is_empty() && matches!(name, "id" | "source" | "type" | "subject" | "datacontenttype") => {
            Err("the value must not be empty")
        }
        _ => Ok(()),
    }
}

fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff) || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

/// Whether a time has the usual spelling, `2026-03-14T09:26:53.589Z`, on a day that every month has. The others are
/// left to the parser.
fn is_usual_time(text: &str) -> bool {
    let Some((head, tail)) = text.as_bytes().split_first_chunk::<19>() else { return false };
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] = *head else {
        return false;
    };
    let is_digits = [y0, y1, y2, y3, m0, m1, d0, d1, h0, h1, i0, i1, s0, s1].iter().all(u8::is_ascii_digit);
    let is_fraction = match tail {
        [b'Z'] => true,
        [b'.', digits @ .., b'Z'] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let number = |tens: u8, ones: u8| (tens & 15) * 10 + (ones & 15);
    is_digits
        && is_fraction
        && y0 != b'0'
        && (1..=12).contains(&number(m0, m1))
        && (1..=28).contains(&number(d0, d1))
        && number(h0, h1) < 24
        && number(i0, i1) < 60
        && number(s0, s1) < 60
}

pub(crate) fn parse_time(text: &str) -> Option<time::OffsetDateTime> {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_time_is_one_that_the_parser_reads() {
        let good = "2026-03-14T09:26:53.589Z";
        assert!(is_usual_time(good) && is_usual_time("2026-02-28T23:59:59Z"));
        // Every byte in turn becomes another one: what is called usual must be a time.
        for at in 0..good.len() {
            for byte in b' '..=b'~' {
                let mut changed = good.as_bytes().to_vec();
                changed[at] = byte;
                let text = String::from_utf8(changed).expect("ASCII");
                assert!(!is_usual_time(&text) || parse_time(&text).is_some(), "{text}");
            }
        }
        for other in
            ["2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-03-14T24:00:00Z", "2026-03-14", ""]
        {
            assert!(!is_usual_time(other) && parse_time(other).is_none(), "{other}");
        }
        // The parser reads more.
        for other in ["2026-01-31T00:00:00Z", "2026-03-14T09:26:53+01:00", "2026-03-14t09:26:53z"] {
            assert!(!is_usual_time(other) && parse_time(other).is_some(), "{other}");
        }
    }
}
