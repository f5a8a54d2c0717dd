//! Whether a text is anywhere in an event, also in another coat: escaped, percent-encoded, in base64.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use meshbridge_event::Event;
use serde_json::Value;

use crate::engine::json_of;

/// Coats within coats that are taken off.
const LEVELS: usize = 3;
/// Characters from which a run of letters and digits may be base64 of something.
const BASE64_CHARS_MIN: usize = 8;

/// Where the text is, in words.
pub(super) fn find(event: &Event, text: &str) -> Option<String> {
    for (name, value) in event.attributes() {
        if is_in(name, text, LEVELS) || is_in(&value.to_text(), text, LEVELS) {
            return Some(format!("attribute {name}"));
        }
    }
    let raw = String::from_utf8_lossy(event.data_bytes());
    if is_in(&raw, text, LEVELS) {
        return Some("the data".to_owned());
    }
    let value: Value = serde_json::from_str(json_of(event)?).ok()?;
    in_value(&value, text).then(|| "the data, unescaped".to_owned())
}

fn in_value(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => is_in(found, text, LEVELS),
        Value::Array(items) => items.iter().any(|item| in_value(item, text)),
        Value::Object(members) => {
            members.iter().any(|(key, value)| is_in(key, text, LEVELS) || in_value(value, text))
        }
        other => other.to_string().contains(text),
    }
}

fn is_in(found: &str, text: &str, levels: usize) -> bool {
    if found.contains(text) {
        return true;
    }
    if levels == 0 {
        return false;
    }
    if found.contains('%') {
        let decoded = percent_encoding::percent_decode_str(found).decode_utf8_lossy();
        if decoded != found && is_in(&decoded, text, levels - 1) {
            return true;
        }
    }
    if let Ok(inner) = serde_json::from_str::<Value>(found)
        && (inner.is_object() || inner.is_array() || inner.is_string())
        && in_value(&inner, text)
    {
        return true;
    }
    base64_runs(found).any(|run| {
        let decoded = STANDARD_NO_PAD.decode(run).or_else(|_| URL_SAFE_NO_PAD.decode(run));
        decoded.is_ok_and(|bytes| is_in(&String::from_utf8_lossy(&bytes), text, levels - 1))
    })
}

fn base64_runs(text: &str) -> impl Iterator<Item = &str> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    text.split(move |c| !belongs(c)).filter(|run| run.len() >= BASE64_CHARS_MIN)
}
