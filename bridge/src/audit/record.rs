//! One decision, as the pipeline knows it and as the log keeps it.
//!
//! Texts are borrowed, so making a record costs nothing before it is known to be kept. What comes from outside is
//! bounded here: texts and lists are clipped, and say that they were. No field can hold a value of a payload.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;

use super::format::hex;
use super::gather::Gathered;
use super::note::{DECISION, time_text};

/// Longest id, source, type, topic, principal or zone, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Longest name of a rule, layer, file, class or protection, and longest path of a finding, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Items of one list; the others are counted in `omitted`.
const LIST_MAX: usize = 16;

type ClassOf = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Names the class of personal data that a text is, or `None`.
#[derive(Clone)]
pub(crate) struct Redact(Arc<ClassOf>);

impl Redact {
    pub(crate) fn new(class_of: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Redact {
        Redact(Arc::new(class_of))
    }

    /// Whether a text must not be shown, nor anything it could be guessed from.
    pub(super) fn is_private(&self, text: &str) -> bool {
        (self.0)(text).is_some()
    }

    /// The text, or what may be shown instead. The whole text is looked at, not what is left after clipping.
    fn text<'a>(&self, text: &'a str, bytes_max: usize) -> Cow<'a, str> {
        match (self.0)(text) {
            Some(class) => Cow::Owned(format!("[redacted:{}]", clip(&class, NAME_BYTES_MAX))),
            None => clip(text, bytes_max),
        }
    }
}

impl fmt::Debug for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redact(..)")
    }
}

/// What was decided (POLICY §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Forward,
    Reject,
    DeadLetter,
    Quarantine,
    Hold,
}

/// Which event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventName<'a> {
    pub(crate) id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) kind: &'a str,
}

/// Which rule, and where it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) rule: &'a str,
    pub(crate) layer: &'a str,
    /// `None` where nobody wrote it, as for `default-deny@federation`.
    pub(crate) place: Option<(&'a str, u32)>,
}

/// Something that was found in the event. Never its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding<'a> {
    pub(crate) class: &'a str,
    pub(crate) path: &'a str,
    pub(crate) confidence: &'a str,
    /// What was done to it, if anything; as rules or as `govprotected` say it.
    pub(crate) protection: Option<&'a str>,
}

/// One decision about one event in one context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) time_unix_ms: u64,
    /// `None` where a filter was refused: then `topic` is the filter.
    pub(crate) event: Option<EventName<'a>>,
    pub(crate) topic: &'a str,
    /// As POLICY §3 names it.
    pub(crate) context: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) verdict: Verdict,
    /// It went on, but not as it came.
    pub(crate) edited: bool,
    pub(crate) by: Option<Rule<'a>>,
    pub(crate) also_by: &'a [Rule<'a>],
    /// The rules that edited it.
    pub(crate) editors: &'a [Rule<'a>],
    /// What is protected in it now, where and how, as its attribute `govprotected` says; empty where nothing is.
    pub(crate) protected: &'a str,
    pub(crate) findings: &'a [Finding<'a>],
    /// Ids of rules in mode `warn` that would have acted.
    pub(crate) warned: &'a [&'a str],
    /// Ids of rules in mode `shadow` that would have acted.
    pub(crate) shadowed: &'a [&'a str],
    /// Names of waivers that were used.
    pub(crate) waived: &'a [&'a str],
    /// The digest of the policies that were asked.
    pub(crate) generation: [u8; 32],
    /// Nanoseconds that it took to decide.
    pub(crate) cost: u64,
    /// Who published or subscribes, or who ruled, as authenticated.
    pub(crate) principal: Option<&'a str>,
    /// A person has said this, or nobody has in time.
    pub(crate) ruling: Option<Ruling<'a>>,
}

/// What became of a quarantined event, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling<'a> {
    /// `release`, `refuse` or `timeout`.
    pub(crate) what: &'a str,
    /// The event's key.
    pub(crate) key: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) reason: Option<&'a str>,
}

impl Record<'_> {
    /// A plain permit may be left out; not one that edited the event, that only a waiver made, or that a warning is about.
    /// Shadow rules are trials on live traffic and are sampled with it.
    pub(crate) fn must_be_kept(&self) -> bool {
        self.verdict != Verdict::Forward
            || self.edited
            || self.ruling.is_some()
            || !self.waived.is_empty()
            || !self.warned.is_empty()
    }

    /// The canonical body: a JSON object with its keys in this order and empty ones left out.
    pub(super) fn encode(&self, redact: &Redact) -> Vec<u8> {
        self.write(redact, None)
    }

    /// The same for several events that differ in their ids; `self` is about the first.
    pub(super) fn encode_gathered(&self, redact: &Redact, gathered: &Gathered<'_>) -> Vec<u8> {
        self.write(redact, Some(gathered))
    }

    fn write(&self, redact: &Redact, gathered: Option<&Gathered<'_>>) -> Vec<u8> {
        let outside = |text| redact.text(text, TEXT_BYTES_MAX);
        let protected: Vec<Finding<'_>> = self.protected.split(',').filter_map(protected).collect();
        let lists = [
            self.also_by.len(),
            self.editors.len(),
            self.findings.len() + protected.len(),
            self.warned.len(),
            self.shadowed.len(),
            self.waived.len(),
        ];
        let written = Written {
            kind: "decision",
            time: time_text(self.time_unix_ms),
            until: gathered.map(|gathered| time_text(gathered.until_unix_ms)),
            event: self.event.map(|event| WrittenEvent {
                // As `shown_id`, which finds it again.
                id: gathered.is_none().then(|| outside(event.id)),
                source: outside(event.source),
                kind: outside(event.kind),
            }),
            events: gathered.map(|gathered| WrittenEvents {
                count: gathered.count,
                first: outside(gathered.first),
                last: outside(gathered.last),
                marks: BASE64_URL_SAFE_NO_PAD.encode(gathered.marks),
                sha256: hex(&gathered.sha256),
            }),
            topic: outside(self.topic),
            context: clip(self.context, NAME_BYTES_MAX),
            from: clip(self.from, NAME_BYTES_MAX),
            to: clip(self.to, NAME_BYTES_MAX),
            verdict: self.verdict,
            edited: self.edited,
            by: self.by.as_ref().map(rule),
            also_by: self.also_by.iter().take(LIST_MAX).map(rule).collect(),
            edited_by: self.editors.iter().take(LIST_MAX).map(rule).collect(),
            findings: self
                .findings
                .iter()
                .chain(&protected)
                .take(LIST_MAX)
                .map(|found| finding(found, redact))
                .collect(),
            warned: names(self.warned),
            shadowed: names(self.shadowed),
            waived: names(self.waived),
            omitted: lists.iter().map(|length| length.saturating_sub(LIST_MAX)).sum(),
            generation: hex(&self.generation),
            cost: self.cost,
            principal: self.principal.map(|principal| clip(principal, TEXT_BYTES_MAX)),
            ruling: self.ruling.map(|ruling| WrittenRuling {
                what: clip(ruling.what, NAME_BYTES_MAX),
                key: clip(ruling.key, NAME_BYTES_MAX),
                destination: clip(ruling.destination, NAME_BYTES_MAX),
                reason: ruling.reason.map(|reason| redact.text(reason, TEXT_BYTES_MAX)),
            }),
        };
        let body = serde_json::to_vec(&written).expect("strings and numbers are JSON");
        debug_assert!(body.starts_with(DECISION));
        body
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    kind: &'static str,
    time: String,
    /// Of the last event, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<WrittenEvent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<WrittenEvents<'a>>,
    topic: Cow<'a, str>,
    context: Cow<'a, str>,
    from: Cow<'a, str>,
    to: Cow<'a, str>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    edited: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<WrittenRule<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_by: Vec<WrittenRule<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edited_by: Vec<WrittenRule<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<WrittenFinding<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warned: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadowed: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waived: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_zero")]
    omitted: usize,
    generation: String,
    cost: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ruling: Option<WrittenRuling<'a>>,
}

#[derive(Serialize)]
struct WrittenRuling<'a> {
    what: Cow<'a, str>,
    key: Cow<'a, str>,
    destination: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

/// Which events, and how many.
#[derive(Serialize)]
struct WrittenEvents<'a> {
    count: u32,
    first: Cow<'a, str>,
    last: Cow<'a, str>,
    marks: String,
    sha256: String,
}

#[derive(Serialize)]
struct WrittenEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    source: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Serialize)]
struct WrittenRule<'a> {
    rule: Cow<'a, str>,
    layer: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
struct WrittenFinding<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    class: Cow<'a, str>,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    confidence: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protection: Option<Cow<'a, str>>,
}

fn rule<'a>(rule: &Rule<'a>) -> WrittenRule<'a> {
    WrittenRule {
        rule: clip(rule.rule, NAME_BYTES_MAX),
        layer: clip(rule.layer, NAME_BYTES_MAX),
        file: rule.place.map(|(file, _)| clip(file, NAME_BYTES_MAX)),
        line: rule.place.map(|(_, line)| line),
    }
}

/// An entry of `govprotected`: a JSON pointer, a class or `-`, and the form. How sure the detectors were is not in it.
fn protected(entry: &str) -> Option<Finding<'_>> {
    let mut words = entry.split(' ');
    let (path, class, form) = (words.next()?, words.next()?, words.next()?);
    let class = if class == "-" { "" } else { class };
    Some(Finding { class, path, confidence: "", protection: Some(form) })
}

/// The keys on a path come from the payload and may be personal data themselves.
fn finding<'a>(finding: &Finding<'a>, redact: &Redact) -> WrittenFinding<'a> {
    WrittenFinding {
        class: clip(finding.class, NAME_BYTES_MAX),
        path: redact.text(finding.path, NAME_BYTES_MAX),
        confidence: clip(finding.confidence, NAME_BYTES_MAX),
        protection: finding.protection.map(|protection| clip(protection, NAME_BYTES_MAX)),
    }
}

fn names<'a>(names: &[&'a str]) -> Vec<Cow<'a, str>> {
    names.iter().take(LIST_MAX).map(|name| clip(name, NAME_BYTES_MAX)).collect()
}

/// How the id of an event stands in its record, unless it is redacted.
pub(super) fn shown_id(id: &str) -> Cow<'_, str> {
    clip(id, TEXT_BYTES_MAX)
}

fn clip(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (kept, cut) = text.split_at(end);
    Cow::Owned(format!("{kept}[{} bytes more]", cut.len()))
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
