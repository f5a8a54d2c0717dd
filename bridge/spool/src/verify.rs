//! What state a spool is in, without changing it (RELIABILITY S14).
//!
//! Every byte of every segment is read, also of those that a start leaves alone because they lie behind the last
//! checkpoint. Nothing is locked, so this works while the log runs; a batch that is being written at that moment
//! then looks like one that a power cut tore.

use std::collections::BTreeSet;

use crate::error::OpenError;
use crate::format::{DATA_START, Lsn, Run, SpoolId};
use crate::segment::Batch;
use crate::survey::{Hole, HoleKind, Piece, Stranger, Whole, holes_alone};
use crate::vfs::Vfs;

/// All there is to know about a spool without asking its owner.
#[derive(Debug)]
pub struct Report {
    pub verdict: Verdict,
    /// `None` when no segment has a readable header.
    pub spool: Option<SpoolId>,
    /// Of all segments that are there, oldest first.
    pub runs: Vec<Run>,
    /// Present segments by number, then those in quarantine.
    pub segments: Vec<SegmentReport>,
    /// Segments that the log needs and that are not there.
    pub missing: Vec<u64>,
    /// First and last numbers of records that were durable and are lost, though some of them may still be read
    /// one by one. Where retired segments lie next to the damage, the numbers of what they held are in it too.
    pub gaps: Vec<(Lsn, Lsn)>,
    /// The log's end may be lost as well, from this number on.
    pub end_in_doubt: Option<Lsn>,
    /// The first number that a power cut tore off and of which later ones are still there. It was never
    /// acknowledged.
    pub torn: Option<Lsn>,
    /// First and last record of the newest checkpoint that is whole.
    pub checkpoint: Option<(Lsn, Lsn)>,
    /// Every number up to this one is known to have been durable.
    pub vouched: Lsn,
    /// The last number that can be read.
    pub last: Lsn,
    /// Whether [`crate::Log::open`] would start: `false` exactly with [`Verdict::Refused`]. A lock that another
    /// process holds and a full disk are not looked at.
    pub would_start: bool,
}

/// The report in one word. What is in quarantine has no say in it.
#[derive(Debug)]
pub enum Verdict {
    /// Everything that was ever acknowledged, and not retired since, is there.
    Sound,
    /// As `Sound`; behind the log's end stands what was being written when the power went, or is being written now.
    TornTail,
    /// Something that was durable is damaged. The log starts and serves the rest.
    Damaged,
    /// The log would not start, and why.
    Refused(OpenError),
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    pub segment: u64,
    pub state: SegmentState,
    /// The run that made it; `None` where the header cannot be read.
    pub run: Option<Run>,
    /// Up to the end of its last batch, headers included.
    pub used_bytes: u64,
    /// The size that its header gives.
    pub segment_bytes: u64,
    /// Valid ones that count: not those that a later run replaced.
    pub batches: u64,
    pub records: u64,
    /// First and last number of its records.
    pub numbers: Option<(Lsn, Lsn)>,
    pub holes: Vec<Hole>,
}

/// What a segment file is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// The log ends in it.
    Active,
    /// Before the active one.
    Closed,
    /// Nothing was written to it yet.
    Spare,
    /// Above the log's end, and what is in it was never acknowledged. The next start sets it aside.
    Unfinished,
    /// No longer part of the log. The next start unlinks it.
    Retired,
    /// Kept for people, out of the log.
    Quarantined,
    /// Neither copy of its header is whole, or the disk does not give its bytes.
    Unreadable,
    /// Written by this newer version of the format.
    Newer(u16),
    /// Of another spool.
    Foreign(SpoolId),
}

/// Reads the whole spool and judges it. Fails only when its directory cannot be listed, or the log that runs on it
/// retires files faster than they can be read.
pub fn verify<V: Vfs>(vfs: &V) -> Result<Report, OpenError> {
    let mut whole = Whole::take(vfs)?;
    let refusal = whole.refusal.take();
    let mut segments: Vec<SegmentReport> =
        whole.survey.present().into_iter().map(|id| report_of(&whole, id)).collect();
    let damaged = is_damaged(&whole, &segments);
    let torn = has_torn_tail(&whole, &segments);
    segments.extend(whole.quarantine.iter().map(|(id, piece)| quarantined(*id, piece.as_ref())));
    let survey = &whole.survey;
    let runs: BTreeSet<Run> = survey.headers.values().map(|header| header.run).collect();
    Ok(Report {
        would_start: refusal.is_none(),
        verdict: match refusal {
            Some(reason) => Verdict::Refused(reason),
            None if damaged => Verdict::Damaged,
            None if torn => Verdict::TornTail,
            None => Verdict::Sound,
        },
        spool: survey.spool(),
        runs: runs.into_iter().collect(),
        segments,
        missing: survey.missing.clone(),
        gaps: whole.gaps.iter().map(|gap| (gap.first, gap.last)).collect(),
        end_in_doubt: whole.end_in_doubt(),
        torn: survey.torn,
        checkpoint: survey.checkpoint,
        vouched: survey.vouched,
        last: survey.chain.last().map_or(0, |link| link.batch.head.next() - 1),
    })
}

fn is_damaged(whole: &Whole, segments: &[SegmentReport]) -> bool {
    let of_the_log = segments.iter().filter(|segment| segment.state != SegmentState::Retired);
    let mut holes = of_the_log.flat_map(|segment| &segment.holes);
    holes.any(|hole| hole.kind != HoleKind::Torn)
        || !whole.gaps.is_empty()
        || !whole.survey.damage.is_empty()
        || !whole.unreadable().is_empty()
}

fn has_torn_tail(whole: &Whole, segments: &[SegmentReport]) -> bool {
    let tip = whole.survey.tip().unwrap_or(0);
    let unfinished = segments.iter().any(|segment| match segment.state {
        SegmentState::Unfinished => true,
        SegmentState::Active => !segment.holes.is_empty(),
        SegmentState::Unreadable => segment.segment > tip,
        _ => false,
    });
    unfinished || whole.survey.torn.is_some()
}

fn report_of(whole: &Whole, id: u64) -> SegmentReport {
    let state = state_of(whole, id);
    let Some(piece) = whole.survey.pieces.get(&id) else { return SegmentReport::without_content(id, state) };
    let holes = whole.holes_of(id);
    if matches!(state, SegmentState::Active | SegmentState::Closed) {
        let links = whole.survey.chain.get(whole.links_of(id)).unwrap_or_default();
        let batches: Vec<Batch> = links.iter().map(|link| link.batch).collect();
        SegmentReport::of(id, state, piece, &batches, holes)
    } else {
        SegmentReport::of(id, state, piece, &piece.layout.batches, holes)
    }
}

fn state_of(whole: &Whole, id: u64) -> SegmentState {
    let tip = whole.survey.tip().unwrap_or(0);
    let retired = whole.is_outside(id) || whole.survey.retired().contains(&id);
    match (whole.strangers.get(&id), whole.survey.pieces.get(&id)) {
        (Some(Stranger::Newer(version)), _) => SegmentState::Newer(*version),
        (Some(Stranger::Foreign(spool)), _) => SegmentState::Foreign(*spool),
        (Some(Stranger::Failing), _) | (None, None) => SegmentState::Unreadable,
        (None, Some(_)) if retired => SegmentState::Retired,
        (None, Some(_)) if id == tip => SegmentState::Active,
        // A spare that a power cut left short is still one; zeros where batches were are not.
        (None, Some(piece)) if piece.layout.is_blank() && (id > tip || only_torn(&whole.holes_of(id))) => {
            SegmentState::Spare
        }
        (None, Some(_)) if id < tip => SegmentState::Closed,
        (None, Some(_)) => SegmentState::Unfinished,
    }
}

fn only_torn(holes: &[Hole]) -> bool {
    holes.iter().all(|hole| hole.kind == HoleKind::Torn)
}

fn quarantined(id: u64, piece: Option<&Piece>) -> SegmentReport {
    let state = SegmentState::Quarantined;
    match piece {
        Some(piece) => SegmentReport::of(id, state, piece, &piece.layout.batches, holes_alone(piece)),
        None => SegmentReport::without_content(id, state),
    }
}

impl SegmentReport {
    fn of(
        segment: u64,
        state: SegmentState,
        piece: &Piece,
        batches: &[Batch],
        holes: Vec<Hole>,
    ) -> SegmentReport {
        let ends = batches.first().zip(batches.last());
        SegmentReport {
            segment,
            state,
            run: Some(piece.header.run),
            used_bytes: piece.layout.batches.last().map_or(DATA_START, Batch::end),
            segment_bytes: piece.header.segment_bytes,
            batches: batches.len() as u64,
            records: batches.iter().map(|batch| u64::from(batch.head.count)).sum(),
            numbers: ends.map(|(first, last)| (first.head.first, last.head.next().saturating_sub(1))),
            holes,
        }
    }

    fn without_content(segment: u64, state: SegmentState) -> SegmentReport {
        SegmentReport {
            segment,
            state,
            run: None,
            used_bytes: 0,
            segment_bytes: 0,
            batches: 0,
            records: 0,
            numbers: None,
            holes: Vec::new(),
        }
    }
}
