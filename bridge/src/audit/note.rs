//! What the log says about itself, between the decisions and in the same chain.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::format::{Checkpoint, Hash, hex};

/// How a body begins that is a decision; all others are notes.
pub(super) const DECISION: &[u8] = b"{\"kind\":\"decision\",";

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A record of the log's own life. Hashes and ids are in hexadecimal, times in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum Note {
    /// A process began to write. `clean`: the one before it said [`Note::Stopped`], or there was none.
    Started {
        time: String,
        chain: String,
        clean: bool,
        version: String,
    },
    Stopped {
        time: String,
    },
    /// At a start, the last write was found cut short, and what there was of it was removed.
    Torn {
        time: String,
        segment: u64,
        offset: u64,
        bytes: u64,
        sha256: String,
    },
    /// At a start, something was found that no interrupted write explains. It was left as it is.
    Damaged {
        time: String,
        segment: u64,
        offset: u64,
        bytes: u64,
    },
    /// From here on the chain may begin with `segment`, whose first record comes after record `after`; what is older
    /// was, or is being, removed. No note has a key `seq` or `hash`: an export puts the record's own in front.
    Pruned {
        time: String,
        segment: u64,
        after: u64,
        after_hash: String,
    },
    /// From here on these policies are judged by: the layers with their revisions and digests.
    Policies {
        time: String,
        generation: u64,
        digest: String,
        bundles: Vec<String>,
    },
    /// Decisions that are not in the chain, because the queue was full.
    Lost {
        time: String,
        permits: u64,
        others: u64,
    },
}

impl Note {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }

    /// `None` for decisions, and for what is no note.
    pub(super) fn decode(body: &[u8]) -> Option<Note> {
        if body.starts_with(DECISION) { None } else { serde_json::from_slice(body).ok() }
    }

    pub(super) fn pruned(time: String, segment: u64, before: &Checkpoint) -> Note {
        Note::Pruned { time, segment, after: before.seq, after_hash: hex(&before.hash) }
    }
}

/// Whether a hash is the one that a note has.
pub(super) fn is_hash(text: &str, hash: &Hash) -> bool {
    text == hex(hash)
}

/// RFC 3339 in UTC with milliseconds. Times no calendar knows are those of its last day.
pub(super) fn time_text(unix_ms: u64) -> String {
    let nanos = i128::from(unix_ms).saturating_mul(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(time::macros::datetime!(9999-12-31 0:00 UTC));
    time.format(TIME).expect("years from 1970 to 9999 have a form")
}

/// The time of the log's own notes.
pub(super) fn now_text() -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    time_text(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
