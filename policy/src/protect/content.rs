//! What the data of an event is, as far as protections are concerned (POLICY §5, "What can be edited").
//!
//! The answer must not depend on what a publisher calls it alone: data that came as a JSON value is JSON whatever its
//! content type says, and a content type that says JSON makes a promise that is checked.

use meshbridge_event::{DataKind, Event, is_json_content_type};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    None,
    /// Said to be JSON; not parsed yet.
    Json(&'a str),
    /// Scanned and edited as one string.
    Text(&'a str),
    /// Binary, XML, compressed, another charset, or not UTF-8.
    Opaque,
}

pub(crate) fn content(event: &Event) -> Content<'_> {
    let bytes = event.data_bytes();
    if event.data_kind() == DataKind::None || bytes.is_empty() {
        return Content::None;
    }
    let Ok(text) = simdutf8::basic::from_utf8(bytes) else { return Content::Opaque };
    let content_type = event.datacontenttype();
    if !is_utf8_charset(content_type) {
        return Content::Opaque;
    }
    if event.data_kind() == DataKind::Json || is_json_content_type(content_type) {
        return Content::Json(text);
    }
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_text =
        ["text/plain", "text/csv", "text/markdown"].iter().any(|one| essence.eq_ignore_ascii_case(one));
    if is_text { Content::Text(text) } else { Content::Opaque }
}

/// UTF-8 and its subset; text without a charset is read as UTF-8.
fn is_utf8_charset(content_type: Option<&str>) -> bool {
    let parameters = content_type.unwrap_or_default().split(';').skip(1);
    parameters.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|one| value.eq_ignore_ascii_case(one))
    })
}
