//! Walks a whole chain from its oldest segment, for `audit verify` and `audit export`.
//!
//! Checked: every byte of every segment belongs to a header or a record that continues the chain; segments follow one
//! another; and where the first one is gone, a later record says that the chain may begin where it does now. Not
//! provable from the files alone: that the chain was not cut at its end. For that, a checkpoint that was kept elsewhere
//! has to be met.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::de::IgnoredAny;

use super::format::{ChainId, Checkpoint, Header, genesis, hex};
use super::note::{Note, is_hash};
use super::reader::{Beginning, SegmentReader, Step};
use super::segment_numbers;

/// Breaks that are listed; each costs a segment, so there are few.
const BROKEN_MAX: usize = 64;

/// A record, as the walk meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// The number of the record and the hash of the chain with it.
    pub(crate) place: Checkpoint,
    /// One JSON object.
    pub(crate) body: &'a [u8],
}

/// Where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) segment: u64,
    /// Bytes from the start of the segment.
    pub(crate) offset: u64,
    /// The last record that is still proved.
    pub(crate) after: u64,
    pub(crate) what: String,
}

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Report {
    /// In hexadecimal.
    pub(crate) chain: Option<String>,
    pub(crate) segments: u64,
    /// Number of the first record there is.
    pub(crate) first: u64,
    /// Where the chain ends, as far as it could be followed.
    pub(crate) last: Checkpoint,
    /// Empty: intact.
    pub(crate) broken: Vec<Broken>,
    /// Bytes at the end that are a write cut short, or under way.
    pub(crate) torn_bytes: u64,
    /// Decisions that the log itself says it could not keep.
    pub(crate) lost: u64,
    /// Starts that found no orderly end before them.
    pub(crate) unclean_starts: u64,
}

/// Why a log could not be walked at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error("there is no decision log in this directory")]
    NoLog,
    /// The bridge prunes its log at this moment.
    #[error("segment {0:016x} was removed before it could be read; try again")]
    Removed(u64),
    #[error("the decision log cannot be read")]
    Io(#[from] io::Error),
}

/// Reads everything in order. The receiver gets every record that is proved by those before it.
pub(crate) fn walk(
    directory: &Path,
    receiver: &mut dyn FnMut(Entry<'_>) -> io::Result<()>,
) -> Result<Report, WalkError> {
    let numbers = segment_numbers(directory)?;
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Err(WalkError::NoLog);
    };
    let mut walk = Walk::new(numbers.len() as u64);
    for segment in numbers {
        if !walk.segment(directory, segment, segment == last, receiver)? {
            break;
        }
    }
    walk.check_beginning(first);
    Ok(walk.report)
}

struct Walk {
    report: Report,
    chain: Option<ChainId>,
    /// The place the next segment has to continue, once a header was read.
    place: Option<Checkpoint>,
    last_segment: Option<u64>,
    /// Where each segment begins; what was pruned is compared with it.
    beginnings: BTreeMap<u64, Checkpoint>,
    pruned: Option<(u64, u64, String)>,
}

impl Walk {
    fn new(segments: u64) -> Walk {
        let report = Report {
            chain: None,
            segments,
            first: 0,
            last: Checkpoint { seq: 0, hash: [0; 32] },
            broken: Vec::new(),
            torn_bytes: 0,
            lost: 0,
            unclean_starts: 0,
        };
        Walk {
            report,
            chain: None,
            place: None,
            last_segment: None,
            beginnings: BTreeMap::new(),
            pruned: None,
        }
    }

    fn broken(&mut self, segment: u64, offset: u64, what: impl Into<String>) {
        let after = self.report.last.seq;
        if self.report.broken.len() < BROKEN_MAX {
            self.report.broken.push(Broken { segment, offset, after, what: what.into() });
        }
    }

    /// `false` when nothing behind it can be judged.
    fn segment(
        &mut self,
        directory: &Path,
        segment: u64,
        is_last: bool,
        receiver: &mut dyn FnMut(Entry<'_>) -> io::Result<()>,
    ) -> Result<bool, WalkError> {
        if let Some(before) = self.last_segment.replace(segment)
            && before.checked_add(1) != Some(segment)
        {
            self.broken(segment, 0, format!("segments are missing before it, the last one is {before:016x}"));
        }
        let (beginning, mut reader) = match SegmentReader::open(directory, segment) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
                return Err(WalkError::Removed(segment));
            }
            opened => opened?,
        };
        let header = match beginning {
            Beginning::Header(header) => header,
            Beginning::Unfinished if is_last && self.place.is_some() => {
                self.report.torn_bytes = reader.bytes;
                return Ok(true);
            }
            Beginning::Unfinished | Beginning::Broken => {
                self.broken(segment, 0, "its header was changed or cut");
                // The next one may still continue what is proved.
                return Ok(true);
            }
        };
        if !self.follows(segment, &header) {
            return Ok(false);
        }
        loop {
            match reader.next()? {
                Step::Record { offset } => {
                    let body = reader.body();
                    // Raw control characters would let a record pretend to be two lines of an export.
                    let is_plain = body.iter().all(|byte| *byte >= b' ');
                    if !is_plain
                        || !body.starts_with(b"{")
                        || serde_json::from_slice::<IgnoredAny>(body).is_err()
                    {
                        self.broken(segment, offset, "a record is not one JSON object");
                        return Ok(true);
                    }
                    let place = reader.place();
                    self.report.last = place;
                    self.place = Some(place);
                    self.note(body);
                    receiver(Entry { place, body })?;
                }
                Step::End => return Ok(true),
                Step::Torn { offset } if is_last => {
                    self.report.torn_bytes = reader.bytes.saturating_sub(offset);
                    return Ok(true);
                }
                Step::Torn { offset } => {
                    self.broken(segment, offset, "it is cut short, and others follow it");
                    return Ok(true);
                }
                Step::Broken { offset, what } => {
                    self.broken(segment, offset, what);
                    return Ok(true);
                }
            }
        }
    }

    fn follows(&mut self, segment: u64, header: &Header) -> bool {
        self.beginnings.insert(segment, header.before);
        if *self.chain.get_or_insert(header.chain) != header.chain {
            self.broken(segment, 0, "it is of another chain");
            return false;
        }
        self.report.chain = Some(hex(&header.chain));
        match self.place {
            Some(place) if place != header.before => {
                let what = format!("it continues record {}, not record {}", header.before.seq, place.seq);
                self.broken(segment, 0, what);
                return false;
            }
            Some(_) => {}
            None => {
                self.report.first = header.before.seq.saturating_add(1);
                self.report.last = header.before;
                self.place = Some(header.before);
            }
        }
        true
    }

    fn note(&mut self, body: &[u8]) {
        match Note::decode(body) {
            Some(Note::Pruned { segment, after, after_hash, .. }) => {
                self.pruned = Some((segment, after, after_hash));
            }
            Some(Note::Lost { permits, others, .. }) => {
                self.report.lost = self.report.lost.saturating_add(permits).saturating_add(others);
            }
            Some(Note::Started { clean: false, .. }) => {
                self.report.unclean_starts = self.report.unclean_starts.saturating_add(1);
            }
            _ => {}
        }
    }

    /// Whether the chain may begin where it does.
    fn check_beginning(&mut self, first: u64) {
        if let (Some(chain), Some(before)) = (self.chain, self.beginnings.get(&0))
            && (before.seq != 0 || before.hash != genesis(&chain))
        {
            self.broken(0, 0, "it is the first segment but not the beginning of its chain");
        }
        match &self.pruned {
            None if first == 0 => {}
            None => self.broken(first, 0, "the segments before it are gone, and no record says so"),
            // The log was ended between the record and the removal, or in the middle of it.
            Some((segment, ..)) if first < *segment && !self.beginnings.contains_key(segment) => {}
            Some((segment, ..)) if first > *segment => {
                let what =
                    format!("the chain was pruned up to segment {segment:016x} only, and more is gone");
                self.broken(first, 0, what);
            }
            Some((segment, seq, hash)) => {
                let begins = self.beginnings.get(segment);
                if !begins.is_some_and(|before| before.seq == *seq && is_hash(hash, &before.hash)) {
                    let segment = *segment;
                    self.broken(segment, 0, "it is not the segment that the chain was pruned up to");
                }
            }
        }
    }
}
