//! Decisions that differ in nothing but their event's id and time become one record.
//!
//! ```text
//!  record ─► of a kind that is gathered? ─► its window, or a new one ─► closed: queue ─► thread: encode, chain
//! ```
//!
//! A window is of one kind: context, topic, zones, rules, policies, principal, source, type, and what was protected
//! where and how. It is closed when it holds [`EVENTS_MAX`] decisions or is [`WINDOW`] old, when other policies come
//! into force, when somebody flushes, and at the end. **Full:** of more than [`KINDS_MAX`] kinds at a time the oldest
//! window is closed, so at worst each decision has a record of its own again. An open window is counted as
//! [`WINDOW_BYTES`] in the queue, a closed one as what it holds.
//!
//! The record keeps of each event the first bytes of a SHA-256 over its id, so that anybody who knows an id can tell
//! whether the event is one of them, and one SHA-256 over all of these hashes as a whole, so that a list of ids can be
//! checked that somebody claims. An id that is itself personal data could be guessed from its hash: such an event is
//! never gathered.

use std::hash::{BuildHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::format::{Hash as Sha256, sha256};
use super::record::{EventName, Finding, Record, Redact, Rule, Verdict, shown_id};

/// Decisions in one record.
pub(super) const EVENTS_MAX: u32 = 1_024;
/// How long a decision may wait for others of its kind.
pub(super) const WINDOW: Duration = Duration::from_millis(50);
/// Kinds that are gathered at a time.
pub(super) const KINDS_MAX: usize = 32;
/// What an open window is counted as: its hashes, of which [`EVENTS_MAX`] are half of this, and texts and lists as they
/// usually are. Nothing bounds these here; long ones are counted when it is closed.
pub(super) const WINDOW_BYTES: usize = 16 << 10;
/// What an unfinished SHA-256 holds outside of itself, about.
const HASHING_BYTES: usize = 128;
/// Bytes of an event's hash that are kept. Two events of one record share them once in 2^44.
pub(super) const MARK_BYTES: usize = 8;

const EVENT_NAME: &[u8] = b"meshbridge/v1 audit event\0";

/// What stands for an id.
pub(super) fn hash_of_id(id: &str) -> Sha256 {
    sha256(&[EVENT_NAME, id.as_bytes()])
}

/// An event that somebody asks about, by its id.
#[derive(Clone, Debug)]
pub(crate) struct EventSought {
    id: String,
    /// The id as a record shows it, which of a long one is a part. Others may be shown as the same; better one too many.
    shown: String,
    hash: Sha256,
}

impl EventSought {
    pub(crate) fn new(id: &str) -> EventSought {
        EventSought { id: id.to_owned(), shown: shown_id(id).into_owned(), hash: hash_of_id(id) }
    }

    /// Whether a record is about the event, alone or among others.
    pub(crate) fn is_in(&self, record: &serde_json::Value) -> bool {
        if let Some(marks) = record["events"]["marks"].as_str() {
            let marks = BASE64_URL_SAFE_NO_PAD.decode(marks).unwrap_or_default();
            return marks.as_chunks::<MARK_BYTES>().0.iter().any(|mark| self.hash.starts_with(mark));
        }
        // Somebody may also ask for what was shown.
        record["event"]["id"].as_str().is_some_and(|id| id == self.shown || id == self.id)
    }
}

/// Whether decisions like this one may become one record: events that went on, and were edited or warned about.
pub(super) fn is_gathered(record: &Record<'_>) -> bool {
    record.verdict == Verdict::Forward
        && record.event.is_some()
        && record.ruling.is_none()
        && record.findings.is_empty()
}

/// The kind of a decision, as far as a number can say it.
pub(super) fn kind_of(record: &Record<'_>, hasher: &impl BuildHasher) -> u64 {
    let mut hasher = hasher.build_hasher();
    let Record { topic, context, from, to, edited, protected, generation, principal, .. } = record;
    (topic, context, from, to, edited, protected, generation, principal).hash(&mut hasher);
    record.event.map(|event| (event.source, event.kind)).hash(&mut hasher);
    record.editors.iter().for_each(|rule| rule.rule.hash(&mut hasher));
    (record.warned, record.shadowed, record.waived).hash(&mut hasher);
    hasher.finish()
}

/// A rule, as one that outlives the policies.
#[derive(Debug)]
struct KeptRule {
    rule: String,
    layer: String,
    place: Option<(String, u32)>,
}

impl KeptRule {
    fn of(rule: &Rule<'_>) -> KeptRule {
        let place = rule.place.map(|(file, line)| (file.to_owned(), line));
        KeptRule { rule: rule.rule.to_owned(), layer: rule.layer.to_owned(), place }
    }

    fn is(&self, other: &Rule<'_>) -> bool {
        let place = self.place.as_ref().map(|(file, line)| (file.as_str(), *line));
        self.rule == other.rule && self.layer == other.layer && place == other.place
    }

    fn bytes(&self) -> usize {
        let file = self.place.as_ref().map_or(0, |(file, _)| file.capacity());
        size_of::<KeptRule>() + self.rule.capacity() + self.layer.capacity() + file
    }

    fn get(&self) -> Rule<'_> {
        let place = self.place.as_ref().map(|(file, line)| (file.as_str(), *line));
        Rule { rule: &self.rule, layer: &self.layer, place }
    }
}

/// Decisions of one kind.
#[derive(Debug)]
pub(super) struct Window {
    kind: u64,
    opened: Instant,
    source: String,
    event_type: String,
    topic: String,
    context: String,
    from: String,
    to: String,
    edited: bool,
    editors: Vec<KeptRule>,
    protected: String,
    warned: Vec<String>,
    shadowed: Vec<String>,
    waived: Vec<String>,
    generation: [u8; 32],
    principal: Option<String>,
    count: u32,
    cost: u64,
    first: (u64, String),
    last: (u64, String),
    /// [`MARK_BYTES`] of each event's hash, in order.
    marks: Vec<u8>,
    /// Over the whole hashes, in order.
    all: AllHashes,
}

struct AllHashes(Context);

impl std::fmt::Debug for AllHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AllHashes(..)")
    }
}

/// What a record says of the events that it is about, where they are several.
#[derive(Clone, Debug)]
pub(super) struct Gathered<'a> {
    pub(super) count: u32,
    pub(super) until_unix_ms: u64,
    pub(super) first: &'a str,
    pub(super) last: &'a str,
    pub(super) marks: &'a [u8],
    pub(super) sha256: Sha256,
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn are(kept: &[String], names: &[&str]) -> bool {
    kept.iter().map(String::as_str).eq(names.iter().copied())
}

impl Window {
    /// A window with nothing in it; [`Window::add`] follows.
    pub(super) fn new(kind: u64, record: &Record<'_>, event: &EventName<'_>, now: Instant) -> Window {
        Window {
            kind,
            opened: now,
            source: event.source.to_owned(),
            event_type: event.kind.to_owned(),
            topic: record.topic.to_owned(),
            context: record.context.to_owned(),
            from: record.from.to_owned(),
            to: record.to.to_owned(),
            edited: record.edited,
            editors: record.editors.iter().map(KeptRule::of).collect(),
            protected: record.protected.to_owned(),
            warned: owned(record.warned),
            shadowed: owned(record.shadowed),
            waived: owned(record.waived),
            generation: record.generation,
            principal: record.principal.map(str::to_owned),
            count: 0,
            cost: 0,
            first: (record.time_unix_ms, String::new()),
            last: (record.time_unix_ms, String::new()),
            marks: Vec::new(),
            all: AllHashes(Context::new(&SHA256)),
        }
    }

    /// Whether a decision belongs here. Numbers of kinds may be equal by chance; what they stand for is compared.
    pub(super) fn takes(&self, kind: u64, record: &Record<'_>, event: &EventName<'_>) -> bool {
        self.kind == kind
            && self.source == event.source
            && self.event_type == event.kind
            && self.topic == record.topic
            && self.context == record.context
            && self.from == record.from
            && self.to == record.to
            && self.edited == record.edited
            && self.editors.len() == record.editors.len()
            && self.editors.iter().zip(record.editors).all(|(kept, rule)| kept.is(rule))
            && self.protected == record.protected
            && are(&self.warned, record.warned)
            && are(&self.shadowed, record.shadowed)
            && are(&self.waived, record.waived)
            && self.generation == record.generation
            && self.principal.as_deref() == record.principal
    }

    pub(super) fn add(&mut self, record: &Record<'_>, id: &str, hash: &Sha256) {
        self.count += 1;
        self.cost = self.cost.saturating_add(record.cost);
        // Clocks of several workers are read before the window is locked.
        self.first.0 = self.first.0.min(record.time_unix_ms);
        self.last.0 = self.last.0.max(record.time_unix_ms);
        self.last.1.clear();
        self.last.1.push_str(id);
        if self.count == 1 {
            self.first.1.push_str(id);
        }
        self.marks.extend(&hash[..MARK_BYTES]);
        self.all.0.update(hash);
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= EVENTS_MAX
    }

    pub(super) fn due(&self) -> Instant {
        self.opened + WINDOW
    }

    /// Decisions in it.
    pub(super) fn count(&self) -> u64 {
        u64::from(self.count)
    }

    /// What it holds, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            &self.source,
            &self.event_type,
            &self.topic,
            &self.context,
            &self.from,
            &self.to,
            &self.protected,
            &self.first.1,
            &self.last.1,
        ];
        let texts: usize = texts.into_iter().chain(&self.principal).map(String::capacity).sum();
        let names = [&self.warned, &self.shadowed, &self.waived].into_iter().flatten();
        let names: usize = names.map(|name| size_of::<String>() + name.capacity()).sum();
        let editors: usize = self.editors.iter().map(KeptRule::bytes).sum();
        size_of::<Window>() + HASHING_BYTES + texts + names + editors + self.marks.capacity()
    }

    /// The body of its record: of one decision an ordinary one.
    pub(super) fn encode(self, redact: &Redact) -> Vec<u8> {
        fn borrowed(names: &[String]) -> Vec<&str> {
            names.iter().map(String::as_str).collect()
        }
        let editors: Vec<Rule<'_>> = self.editors.iter().map(KeptRule::get).collect();
        let (warned, shadowed) = (borrowed(&self.warned), borrowed(&self.shadowed));
        let waived = borrowed(&self.waived);
        let findings: [Finding<'_>; 0] = [];
        let record = Record {
            time_unix_ms: self.first.0,
            event: Some(EventName { id: &self.first.1, source: &self.source, kind: &self.event_type }),
            topic: &self.topic,
            context: &self.context,
            from: &self.from,
            to: &self.to,
            verdict: Verdict::Forward,
            edited: self.edited,
            by: None,
            also_by: &[],
            editors: &editors,
            protected: &self.protected,
            findings: &findings,
            warned: &warned,
            shadowed: &shadowed,
            waived: &waived,
            generation: self.generation,
            cost: self.cost,
            principal: self.principal.as_deref(),
            ruling: None,
        };
        if self.count <= 1 {
            return record.encode(redact);
        }
        let sha256 = self.all.0.finish();
        let gathered = Gathered {
            count: self.count,
            until_unix_ms: self.last.0,
            first: &self.first.1,
            last: &self.last.1,
            marks: &self.marks,
            sha256: sha256.as_ref().try_into().expect("SHA-256 gives 32 bytes"),
        };
        record.encode_gathered(redact, &gathered)
    }
}
