//! Recordings of events as they were judged (POLICY §8, `replay`).
//!
//! ```text
//! header   {"format":"meshbridge-capture","version":1,"capture":…,"federation":…,"bridge":…,"zone":…,"digest":…,"view":…,…}
//! entry    {"decision":{"n":1,"context":"egress","from":…,"to":…,"topic":…,"verdict":…,…}, …}      any number of these
//! end      {"end":{"events":…,"missed":…,"why":…}}
//! ```
//!
//! A line each, none longer than [`LINE_BYTES_MAX`]. What an entry holds beside the decision depends on the view:
//!
//! - `protected`: `event`, which is the event as its destination gets it, and `altered`, which says where that is not
//!   what was judged. Where the destination gets nothing, `outline`: id, source and type, as they may be shown.
//! - `sealed`: `sealed`, the event as it was judged and as it went on, under the `store` key of the zone. It is bound to
//!   the capture and to the decision beside it.

mod altered;
mod entry;
mod seal;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::engine::{Request, Scratch};
use crate::federation::{Federation, ZoneIndex};
use crate::keys::{KeyRing, KeyUse};
use crate::program::Program;

pub(crate) use altered::Altered;
pub use entry::{Entry, Recorded};
pub(crate) use entry::{What, hex};

/// The longest line of a capture. The largest event and its form, in base 64, are shorter.
pub const LINE_BYTES_MAX: usize = 16 << 20;
const FORMAT: &str = "meshbridge-capture";
const VERSION: u32 = 1;

/// What a capture shows of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum View {
    /// What the destination gets.
    Protected,
    /// The events themselves, for who holds the key.
    Sealed,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    format: String,
    version: u32,
    /// Tells captures apart; sealed entries of one do not open in another.
    pub capture: String,
    pub federation: String,
    pub bridge: String,
    pub zone: String,
    /// Of the policies in force when it began, in hexadecimal.
    pub digest: String,
    pub view: View,
    /// Name and version of the key, `store-eu.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Filters; none means any topic.
    pub topics: Vec<String>,
    pub since: String,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub events: u64,
    /// Events that were judged and found no room in the queue.
    pub missed: u64,
    /// `events` or `time` where the wish was fulfilled, else why it ended before.
    pub why: String,
}

impl End {
    /// What the line says, where it is the last one.
    pub fn parse(line: &str) -> Option<End> {
        serde_json::from_str(line).ok().map(|EndLine { end }| end)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: End,
}

/// Why a capture cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The file is something else.
    #[error("this is no capture")]
    NotACapture,
    /// A later version of the format wrote it.
    #[error("this is a capture of version {0}, and {VERSION} is the newest that is known here")]
    Version(u32),
    /// A line was cut or changed.
    #[error("a line is not as captures have it: {0}")]
    Malformed(String),
    /// It is sealed, and the key is not there.
    #[error("the capture is sealed under the key `{0}`, which is not given")]
    NoKey(String),
    /// Altered, moved from another capture, or sealed under another secret of that name.
    #[error("entry {0} does not open: altered, moved, or sealed under another secret of that name")]
    DoesNotOpen(u64),
}

/// What is asked of a new capture.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    /// Random.
    pub capture: u64,
    pub bridge: &'a str,
    pub zone: ZoneIndex,
    pub topics: Vec<String>,
    pub now: OffsetDateTime,
    /// Whether the events themselves are kept, sealed.
    pub sealed: bool,
}

/// The zone holds no key that is for this, or the bridge does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this bridge has no key with `use: store`: give its zone one under `keys` in the federation document, and the bridge its file under `policy.keys`"
)]
pub struct NoStoreKey;

/// Writes a capture, line by line.
#[derive(Debug)]
pub struct Writer {
    header: Header,
    store: Option<seal::Key>,
    entries: u64,
}

impl Writer {
    /// # Errors
    /// Where it is to be sealed and there is no key for that.
    pub fn begin(begin: &Begin<'_>, program: &Program, ring: &dyn KeyRing) -> Result<Writer, NoStoreKey> {
        let federation = program.federation();
        let store = match begin.sealed {
            true => Some(store_key(federation, begin.zone, ring).ok_or(NoStoreKey)?),
            false => None,
        };
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            capture: format!("{:016x}", begin.capture),
            federation: federation.name().to_owned(),
            bridge: begin.bridge.to_owned(),
            zone: federation.zone_name(begin.zone).to_owned(),
            digest: hex(&program.digest()),
            view: if begin.sealed { View::Sealed } else { View::Protected },
            key: store.as_ref().map(|key| key.label.clone()),
            topics: begin.topics.clone(),
            since: begin.now.format(&Rfc3339).unwrap_or_default(),
        };
        Ok(Writer { header, store, entries: 0 })
    }

    pub fn header(&self) -> String {
        json(&self.header)
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// One event as it was judged. `program` is what judged it, where that is still at hand: without it nothing can be
    /// protected, and so nothing is shown. The request's randomness must be new each time.
    pub fn entry(
        &mut self,
        federation: &Federation,
        program: Option<&Program>,
        request: &Request<'_>,
        recorded: &Recorded<'_>,
        scratch: &mut Scratch,
    ) -> String {
        self.entries += 1;
        let decision = entry::decision(self.entries, federation, request, recorded);
        entry::write(&self.header, self.store.as_ref(), decision, program, request, recorded, scratch)
    }

    /// The last line.
    pub fn end(&self, missed: u64, why: &str) -> String {
        json(&EndLine { end: End { events: self.entries, missed, why: why.to_owned() } })
    }
}

/// Of the keys that the zone holds for this and the ring has: the first by name, its newest version.
fn store_key(federation: &Federation, zone: ZoneIndex, ring: &dyn KeyRing) -> Option<seal::Key> {
    let keys =
        federation.data_keys(zone).filter(|(_, _, purpose, holds)| *holds && *purpose == KeyUse::Store);
    let have = keys.filter_map(|(name, version, ..)| Some((name, version, ring.secret(name, version)?)));
    let (name, version, secret) =
        have.min_by(|a, b| (a.0, std::cmp::Reverse(a.1)).cmp(&(b.0, std::cmp::Reverse(b.1))))?;
    Some(seal::Key { label: format!("{name}.{version}"), secret: Zeroizing::new(*secret) })
}

/// Reads a capture, line by line.
#[derive(Clone, Debug)]
pub struct Reader {
    header: Header,
}

/// A line after the first.
#[derive(Clone, Debug)]
pub enum Line {
    Entry(Box<Entry>),
    End(End),
}

impl Reader {
    /// # Errors
    /// Where the line is not the first one of a capture of a known version.
    pub fn begin(line: &str) -> Result<Reader, CaptureError> {
        #[derive(Deserialize)]
        struct Any {
            format: String,
            version: u32,
        }
        let any: Any = serde_json::from_str(line).map_err(|_| CaptureError::NotACapture)?;
        if any.format != FORMAT {
            return Err(CaptureError::NotACapture);
        }
        if any.version != VERSION {
            return Err(CaptureError::Version(any.version));
        }
        let header =
            serde_json::from_str(line).map_err(|problem| CaptureError::Malformed(problem.to_string()))?;
        Ok(Reader { header })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// # Errors
    /// Where the line is damaged, or sealed under a key that `ring` does not have.
    pub fn line(&self, line: &str, ring: &dyn KeyRing) -> Result<Line, CaptureError> {
        if let Some(end) = End::parse(line) {
            return Ok(Line::End(end));
        }
        entry::read(&self.header, line, ring).map(|entry| Line::Entry(Box::new(entry)))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a form in JSON")
}

/// Paths below the data, as JSON pointers (RFC 6901).
fn pointer(path: &[String]) -> String {
    path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

fn path(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

type Paths = BTreeSet<Vec<String>>;

#[cfg(test)]
mod tests;
