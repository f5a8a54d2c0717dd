//! One event of a capture, with the decision that was made of it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use meshbridge_event::json::{parse_structured, write_structured};
use meshbridge_event::{Event, EventBuilder};
use meshbridge_topic::Topic;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::altered::{Altered, AlteredText};
use super::{CaptureError, Header, View, json, seal};
use crate::engine::{Request, Scratch};
use crate::federation::Federation;
use crate::keys::KeyRing;
use crate::message::shown;
use crate::model::{CLASSIFYING, Context, Disposition};
use crate::program::Program;

/// Structured events that are longer are kept in base 64 instead, whose length is known.
const STRUCTURED_BYTES_MAX: usize = 6 << 20;

/// What was decided of an event.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Of the policies that decided.
    pub digest: &'a [u8; 32],
    /// `forward`, `hold`, or the disposition.
    pub verdict: &'static str,
    pub by: Option<&'a str>,
    /// The other rules that stopped it; `None` where they are not known.
    pub also_by: Option<&'a [String]>,
    /// A rate had a part in it.
    pub is_rate: bool,
    /// The event as it went on, where a rule edited it.
    pub edited: Option<&'a Event>,
}

/// Ids of rules that a person had released the event from, when it was judged.
fn owned(released: &[Arc<str>]) -> Vec<String> {
    released.iter().map(|rule| rule.to_string()).collect()
}

/// The part of an entry that is not about what is in the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Decision {
    n: u64,
    context: String,
    from: String,
    to: String,
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    hops: u8,
    now: String,
    digest: String,
    verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    also_by: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rate: bool,
    /// Rules that a person had released it from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    released: Vec<String>,
    event_bytes: u64,
    data_bytes: u64,
    /// It has an attribute that brings obligations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    classified: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntryLine {
    decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    /// An event that its JSON form would not keep byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoded: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    altered: Option<AlteredText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outline: Option<Outline>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// Where the destination gets nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    /// Which of these, and `topic`, stand as what class of personal data they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<String>,
}

/// An event of a capture.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the capture, from one.
    pub number: u64,
    pub context: Context,
    pub from: String,
    pub to: String,
    /// As it may be shown.
    pub topic_shown: String,
    /// `None` where it may not be.
    pub topic: Option<Topic>,
    pub publisher: Option<String>,
    pub hops: u8,
    pub now: OffsetDateTime,
    /// Of the policies that decided, in hexadecimal.
    pub digest: String,
    pub verdict: &'static str,
    pub by: Option<String>,
    pub(crate) also_by: Option<Vec<String>>,
    pub(crate) is_rate: bool,
    pub(crate) released: Vec<Arc<str>>,
    pub(crate) event_bytes: u64,
    pub(crate) data_bytes: u64,
    pub(crate) classified: bool,
    pub(crate) what: What,
}

/// What is known of the event.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// All of it, and the form in which it went on, where that was another one.
    Whole { event: Event, form: Option<Event> },
    /// The protected view, and where it is not the event.
    Part { view: Event, altered: Altered },
}

impl Entry {
    /// The event's id, as it may be shown.
    pub fn id(&self) -> String {
        let (What::Whole { event, .. } | What::Part { view: event, .. }) = &self.what;
        shown(event.id())
    }

    /// The event, where all of it is known.
    pub fn whole(&self) -> Option<&Event> {
        match &self.what {
            What::Whole { event, .. } => Some(event),
            What::Part { .. } => None,
        }
    }

    /// Whether all of the event is known.
    pub fn is_whole(&self) -> bool {
        matches!(self.what, What::Whole { .. })
    }
}

pub(crate) fn hex(digest: &[u8; 32]) -> String {
    crate::hex::lower(digest)
}

pub(super) fn decision(
    number: u64,
    federation: &Federation,
    request: &Request<'_>,
    recorded: &Recorded<'_>,
) -> Decision {
    Decision {
        n: number,
        context: request.context.name().to_owned(),
        from: federation.zone_name(request.from).to_owned(),
        to: federation.zone_name(request.to).to_owned(),
        topic: request.topic.as_str().to_owned(),
        publisher: request.publisher.map(str::to_owned),
        hops: request.hops,
        now: request.now.format(&Rfc3339).unwrap_or_default(),
        digest: hex(recorded.digest),
        verdict: recorded.verdict.to_owned(),
        by: recorded.by.map(str::to_owned),
        also_by: recorded.also_by.map(<[String]>::to_vec),
        rate: recorded.is_rate,
        released: owned(request.released),
        event_bytes: request.event.encoded().len() as u64,
        data_bytes: request.event.data_bytes().len() as u64,
        classified: CLASSIFYING.iter().any(|name| request.event.attribute(name).is_some()),
    }
}

pub(super) fn write(
    header: &Header,
    store: Option<&seal::Key>,
    mut decision: Decision,
    program: Option<&Program>,
    request: &Request<'_>,
    recorded: &Recorded<'_>,
    scratch: &mut Scratch,
) -> String {
    let blank = |decision| EntryLine {
        decision,
        event: None,
        encoded: None,
        altered: None,
        outline: None,
        sealed: None,
    };
    if let Some(key) = store {
        let events = (request.event, recorded.edited);
        let sealed = seal::seal(key, header, &json(&decision), events, request.randomness);
        return json(&EntryLine { sealed: Some(sealed), ..blank(decision) });
    }
    let Some(view) = program.and_then(|program| program.protected_view(request, scratch)) else {
        let outline = outline(request, &mut decision);
        return json(&EntryLine { outline: Some(outline), ..blank(decision) });
    };
    let altered = Altered::between(request.event, &view).as_ref().map(AlteredText::from);
    let event = structured(&view);
    let encoded = event.is_none().then(|| STANDARD.encode(view.encoded()));
    json(&EntryLine { event, encoded, altered, ..blank(decision) })
}

/// The event in JSON, where that keeps it byte for byte and is not much longer.
fn structured(event: &Event) -> Option<Box<RawValue>> {
    let mut text = Vec::new();
    write_structured(event, &[], &mut text);
    // A line is a line: data may stand on several.
    let fits = text.len() <= STRUCTURED_BYTES_MAX && !text.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let again = parse_structured(&text).ok().filter(|_| fits)?;
    let text = String::from_utf8(text).ok().filter(|_| again.encoded() == event.encoded())?;
    RawValue::from_string(text).ok()
}

fn outline(request: &Request<'_>, decision: &mut Decision) -> Outline {
    let event = request.event;
    let mut hidden = Vec::new();
    let mut show = |name: &str, text: &str| {
        let may_be_seen = shown(text);
        if may_be_seen != text {
            hidden.push(name.to_owned());
        }
        may_be_seen
    };
    decision.topic = show("topic", &decision.topic);
    let (id, source, ty) = (show("id", event.id()), show("source", event.source()), show("type", event.ty()));
    Outline { id, source, ty, hidden }
}

pub(super) fn read(header: &Header, line: &str, ring: &dyn KeyRing) -> Result<Entry, CaptureError> {
    let malformed = |what: &str| CaptureError::Malformed(what.to_owned());
    let line: EntryLine =
        serde_json::from_str(line).map_err(|problem| CaptureError::Malformed(problem.to_string()))?;
    let EntryLine { decision, event, encoded, altered, outline, sealed } = line;
    let mut hidden_topic = false;
    let what = match (header.view, sealed, outline) {
        (View::Sealed, Some(sealed), None) => {
            let label = header.key.as_deref().ok_or_else(|| malformed("the header names no key"))?;
            let (event, form) = unseal(header, label, &decision, &sealed, ring)?;
            What::Whole { event, form }
        }
        (View::Protected, None, Some(outline)) => {
            hidden_topic = outline.hidden.iter().any(|name| name == "topic");
            let view = EventBuilder::new(&outline.id, &outline.source, &outline.ty).build();
            let view = view.map_err(|problem| CaptureError::Malformed(problem.to_string()))?;
            What::Part { view, altered: Altered::outline(outline.hidden) }
        }
        (View::Protected, None, None) => {
            let view = match (event, encoded) {
                (Some(text), None) => parse_structured(text.get().as_bytes())
                    .map_err(|problem| CaptureError::Malformed(problem.to_string()))?,
                (None, Some(text)) => STANDARD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| Event::decode(Bytes::from(bytes)).ok())
                    .ok_or_else(|| malformed("`encoded` is no event"))?,
                _ => return Err(malformed("it has no event, or two")),
            };
            match altered {
                Some(altered) => What::Part { view, altered: altered.into() },
                None => What::Whole { event: view, form: None },
            }
        }
        _ => return Err(malformed("it does not fit to the view of the capture")),
    };
    let parsed = Topic::parse(&decision.topic);
    Ok(Entry {
        number: decision.n,
        context: Context::parse(&decision.context).ok_or_else(|| malformed("`context` is none"))?,
        topic: parsed.ok().filter(|_| !hidden_topic),
        topic_shown: shown(&decision.topic),
        now: OffsetDateTime::parse(&decision.now, &Rfc3339).map_err(|_| malformed("`now` is no time"))?,
        verdict: verdict(&decision.verdict).ok_or_else(|| malformed("`verdict` is none"))?,
        from: decision.from,
        to: decision.to,
        publisher: decision.publisher,
        hops: decision.hops,
        digest: decision.digest,
        by: decision.by,
        also_by: decision.also_by,
        is_rate: decision.rate,
        released: decision.released.into_iter().map(Arc::from).collect(),
        event_bytes: decision.event_bytes,
        data_bytes: decision.data_bytes,
        classified: decision.classified,
        what,
    })
}

fn unseal(
    header: &Header,
    label: &str,
    decision: &Decision,
    sealed: &str,
    ring: &dyn KeyRing,
) -> Result<(Event, Option<Event>), CaptureError> {
    let no_key = || CaptureError::NoKey(label.to_owned());
    let (name, version) = label.rsplit_once('.').ok_or_else(no_key)?;
    let secret = version.parse().ok().and_then(|version| ring.secret(name, version)).ok_or_else(no_key)?;
    seal::open(secret, label, header, &json(decision), sealed).ok_or(CaptureError::DoesNotOpen(decision.n))
}

fn verdict(text: &str) -> Option<&'static str> {
    match text {
        "forward" => Some("forward"),
        "hold" => Some("hold"),
        other => Disposition::parse(other).map(Disposition::name),
    }
}
