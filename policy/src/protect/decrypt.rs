//! Sealed values put back into an event, by whoever holds their keys. Bridges never do this on the path.

use std::collections::BTreeSet;

use bytes::Bytes;
use meshbridge_detect::tape::{DEPTH_MAX, Kind as NodeKind, TapeBuffer};
use meshbridge_event::{AttributeValue, DataKind, Event, InvalidEvent};

use super::content::{Content, content};
use super::edits::{Edits, push_escaped};
use super::listed::GOVPROTECTED;
use super::seal::{Binding, Kind, unseal};
use crate::keys::KeyRing;
use crate::protection::{Token, tokens};

/// What became of the sealed values of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecryptReport {
    /// Values that were put back.
    pub opened: usize,
    /// Keys that the ring does not have: name and version.
    pub missing: BTreeSet<(String, u32)>,
    /// Values that do not open: altered, moved from another event, or sealed under another secret of that name.
    pub failed: usize,
}

/// The event with every sealed value put back that `ring` has the key of; the others stay as they are.
///
/// # Errors
/// Where the result is more than an event may be.
pub fn decrypt(event: &Event, ring: &dyn KeyRing) -> Result<(Event, DecryptReport), InvalidEvent> {
    let mut opener = Opener { event, ring, report: DecryptReport::default(), left: BTreeSet::new() };
    let mut builder = event.to_builder();
    for (name, value) in event.attributes() {
        let Some(text) = value.as_str().filter(|_| name != GOVPROTECTED) else { continue };
        if let Some(text) = opener.text(text) {
            builder = builder.set_attribute(name, AttributeValue::typed(name, &text));
        }
    }
    let data = match content(event) {
        Content::Json(text) => opener.json(text),
        Content::Text(text) => opener.text(text),
        Content::None | Content::Opaque => None,
    };
    if let Some(data) = data {
        let kind = if data.is_empty() { DataKind::None } else { event.data_kind() };
        builder = builder.data(kind, Bytes::from(data));
    }
    if let Some(list) = event.attribute(GOVPROTECTED).and_then(|value| value.as_str()) {
        let is_open = |entry: &&str| {
            let label = entry.rsplit_once(" encrypt:").map(|(_, label)| label);
            label.is_some_and(|label| opener.report.opened > 0 && !opener.left.contains(label))
        };
        let kept: Vec<&str> = list.split(',').filter(|entry| !is_open(entry)).collect();
        builder = match kept.is_empty() {
            true => builder.remove_attribute(GOVPROTECTED),
            false => builder.set_attribute(GOVPROTECTED, AttributeValue::String(&kept.join(","))),
        };
    }
    Ok((builder.build()?, opener.report))
}

struct Opener<'a> {
    event: &'a Event,
    ring: &'a dyn KeyRing,
    report: DecryptReport,
    /// Labels of keys under which something is still sealed.
    left: BTreeSet<String>,
}

impl Opener<'_> {
    fn open(&mut self, token: Token<'_>) -> Option<(Kind, String)> {
        let Token::Sealed { key, version, body } = token else { return None };
        let binding = Binding { key, version, source: self.event.source(), id: self.event.id() };
        let opened = match self.ring.secret(key, version) {
            None => {
                self.report.missing.insert((key.to_owned(), version));
                None
            }
            Some(secret) => {
                let opened = unseal(secret, &binding, body);
                self.report.failed += usize::from(opened.is_none());
                opened
            }
        };
        match opened {
            Some(_) => self.report.opened += 1,
            None => _ = self.left.insert(format!("{key}.{version}")),
        }
        opened
    }

    /// A text that is not JSON; `None` where nothing was opened.
    fn text(&mut self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut at = 0;
        for (range, token) in tokens(text) {
            let Some((kind, value)) = self.open(token) else { continue };
            out.push_str(&text[at..range.start]);
            out.push_str(&plain(kind, value));
            at = range.end;
        }
        (at > 0).then(|| out + &text[at..])
    }

    /// JSON. A sealed container may hold sealed values, so it is done until nothing opens; each round takes one layer.
    fn json(&mut self, text: &str) -> Option<String> {
        let mut buffer = TapeBuffer::new();
        let mut edited: Option<String> = None;
        for _ in 0..DEPTH_MAX {
            let failed = self.report.failed;
            let Some(next) = self.json_layer(edited.as_deref().unwrap_or(text), &mut buffer) else { break };
            // What does not open is met again in the next round; it counts once.
            self.report.failed = failed;
            edited = Some(next);
        }
        edited
    }

    fn json_layer(&mut self, text: &str, buffer: &mut TapeBuffer) -> Option<String> {
        let tape = buffer.parse(text).ok()?;
        let mut edits = Edits::default();
        for (at, node) in tape.nodes().iter().enumerate() {
            if node.kind != NodeKind::String || !tape.raw(at as u32).contains("enc_") {
                continue;
            }
            let unescaped = tape.unescaped(at as u32);
            for (range, token) in tokens(&unescaped.text) {
                let Some((kind, value)) = self.open(token) else { continue };
                if range == (0..unescaped.text.len()) && kind == Kind::Json {
                    edits.replace(node.start..node.end, |out| out.push_str(&value));
                    continue;
                }
                edits.replace(unescaped.range_of(&range), |out| match kind {
                    Kind::Inner => out.push_str(&value),
                    _ => push_escaped(&plain(kind, value), out),
                });
            }
        }
        (!edits.is_empty()).then(|| edits.write(&tape))
    }
}

/// A sealed value as text: of a JSON string what it stands for.
fn plain(kind: Kind, value: String) -> String {
    let quoted = match kind {
        Kind::Text => return value,
        Kind::Json => value,
        Kind::Inner => format!("\"{value}\""),
    };
    let mut buffer = TapeBuffer::new();
    match buffer.parse(&quoted) {
        Ok(tape) => tape.unescape(0).into_owned(),
        Err(_) => quoted.clone(),
    }
}
