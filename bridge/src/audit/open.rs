//! What happens at a start: the end of the chain is found and continued.
//!
//! | the last segment ends with | then |
//! |---|---|
//! | a whole record | the next one follows it |
//! | part of a record, or zeros | that is removed, and a record says how much and its digest |
//! | anything else | it stays as it is, a record says where, and a new segment continues the last whole record |
//!
//! Only the first two are what an interrupted write leaves. The third is damage or tampering; cutting it off would
//! hide it, so `audit verify` goes on reporting it until the segment is pruned.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use super::format::{ChainId, Checkpoint, Header, genesis, hex, segment_name, sha256};
use super::note::{Note, now_text};
use super::reader::{Beginning, SegmentReader, Step};
use super::segment::{Segment, sync_directory};
use super::segment_numbers;

/// Why a log cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenAuditError {
    #[error("the decision log in `{}` is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("the decision log in `{}` cannot be used", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A chain, ready for its next record.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) chain: ChainId,
    pub(super) place: Checkpoint,
    pub(super) segment: Segment,
    /// Numbers of all segments, the open one last.
    pub(super) segments: Vec<u64>,
    /// To be written first.
    pub(super) notes: Vec<Note>,
}

pub(super) fn open(directory: &Path) -> Result<Opened, OpenAuditError> {
    let unusable = |source| OpenAuditError::Unusable { path: directory.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(OpenAuditError::InUse(directory.to_owned())),
        Err(fs::TryLockError::Error(source)) => return Err(unusable(source)),
    }
    resume(directory, lock).map_err(unusable)
}

/// The end of the newest segment that has one.
struct End {
    chain: ChainId,
    segment: u64,
    place: Checkpoint,
    /// Of the last whole record.
    offset: u64,
    step: Step,
    is_clean: bool,
    bytes: u64,
}

fn resume(directory: &Path, lock: File) -> io::Result<Opened> {
    let mut segments = segment_numbers(directory)?;
    let mut notes = Vec::new();
    let mut found = None;
    // Segments behind the end that is found, newest first; none is whole.
    let mut behind = 0;
    for (at, segment) in segments.clone().into_iter().enumerate().rev() {
        let (beginning, reader) = SegmentReader::open(directory, segment)?;
        match beginning {
            Beginning::Header(header) => {
                found = Some(end_of(&header, reader)?);
                break;
            }
            // It never held a record, for headers are durable before records are written.
            Beginning::Unfinished if at + 1 == segments.len() => {
                fs::remove_file(directory.join(segment_name(segment)))?;
                sync_directory(directory)?;
                segments.pop();
            }
            Beginning::Unfinished | Beginning::Broken => {
                behind += 1;
                let (time, bytes) = (now_text(), reader.bytes);
                notes.push(Note::Damaged { time, segment, offset: 0, bytes });
            }
        }
    }
    let next = segments.last().map_or(0, |last| last.saturating_add(1));
    let Some(end) = found else {
        let (chain, is_clean) = (rand::random(), segments.is_empty());
        let place = Checkpoint { seq: 0, hash: genesis(&chain) };
        let segment = Segment::create(directory, &Header { chain, segment: next, before: place })?;
        segments.push(next);
        notes.push(started(&chain, is_clean));
        return Ok(Opened { lock, chain, place, segment, segments, notes });
    };
    let (chain, place) = (end.chain, end.place);
    let rest = end.bytes.saturating_sub(end.offset);
    match end.step {
        Step::Broken { .. } => {
            let (segment, offset) = (end.segment, end.offset);
            notes.push(Note::Damaged { time: now_text(), segment, offset, bytes: rest });
            behind += 1;
        }
        Step::Torn { .. } if behind == 0 => {
            let sha256 = digest_of_rest(directory, &end)?;
            let (segment, offset) = (end.segment, end.offset);
            notes.push(Note::Torn { time: now_text(), segment, offset, bytes: rest, sha256 });
        }
        // With others behind it, it is not where a write was interrupted: it stays as it is, and is reported.
        Step::Torn { .. } => {
            let (segment, offset) = (end.segment, end.offset);
            notes.push(Note::Damaged { time: now_text(), segment, offset, bytes: rest });
        }
        Step::End | Step::Record { .. } => {}
    }
    let segment = if behind == 0 {
        Segment::resume(directory, end.segment, end.offset)?
    } else {
        segments.push(next);
        Segment::create(directory, &Header { chain, segment: next, before: place })?
    };
    notes.push(started(&chain, end.is_clean && notes.is_empty()));
    Ok(Opened { lock, chain, place, segment, segments, notes })
}

fn end_of(header: &Header, mut reader: SegmentReader) -> io::Result<End> {
    let mut is_clean = false;
    loop {
        let step = reader.next()?;
        let offset = match &step {
            Step::Record { .. } => {
                is_clean = matches!(Note::decode(reader.body()), Some(Note::Stopped { .. }));
                continue;
            }
            Step::End => reader.bytes,
            Step::Torn { offset } | Step::Broken { offset, .. } => *offset,
        };
        let (chain, segment, place, bytes) = (header.chain, header.segment, reader.place(), reader.bytes);
        return Ok(End { chain, segment, place, offset, step, is_clean, bytes });
    }
}

fn digest_of_rest(directory: &Path, end: &End) -> io::Result<String> {
    let file = File::open(directory.join(segment_name(end.segment)))?;
    let rest = end.bytes.saturating_sub(end.offset);
    let mut bytes = vec![0; usize::try_from(rest).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, end.offset)?;
    Ok(hex(&sha256(&[&bytes])))
}

fn started(chain: &ChainId, clean: bool) -> Note {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Note::Started { time: now_text(), chain: hex(chain), clean, version }
}
