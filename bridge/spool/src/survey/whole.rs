//! Everything that is there, for the tools: also what a start leaves alone, because it lies behind the last
//! checkpoint, and what a start refuses.
//!
//! The log may be running meanwhile. Files that it retires under our hands are left out; when one of those that a
//! start would read is gone, or a file that seemed missing has turned up, the survey is taken again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use super::{Link, Piece, Survey, header_of};
use crate::entry::SegmentRow;
use crate::error::OpenError;
use crate::format::{DATA_START, Lsn, SpoolId};
use crate::segment::{self, QUARANTINE};
use crate::vfs::Vfs;

/// A running log retires files at most every few seconds; this often in a row is no chance.
const TRIES: usize = 8;

/// Why a file with a segment's name is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    Newer(u16),
    Foreign(SpoolId),
    /// The disk does not give its bytes.
    Failing,
}

/// Numbers that were durable and are not there, before the chain's link at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) at: usize,
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
}

/// The log with all its segments, read to the end.
#[derive(Debug)]
pub(crate) struct Whole {
    /// What a start would find; its chain begins with the oldest segment of the log that is there.
    pub(crate) survey: Survey,
    /// The first reason for which a start would be refused.
    pub(crate) refusal: Option<OpenError>,
    pub(crate) strangers: BTreeMap<u64, Stranger>,
    pub(crate) gaps: Vec<Gap>,
    /// `None` for one without a readable header.
    pub(crate) quarantine: BTreeMap<u64, Option<Piece>>,
    /// Segments that the newest checkpoint lists.
    rows: BTreeSet<u64>,
    /// The segment in which the newest checkpoint begins.
    begin: u64,
}

impl Whole {
    pub(crate) fn take<V: Vfs>(vfs: &V) -> Result<Whole, OpenError> {
        let mut tries = 1;
        loop {
            match Whole::try_take(vfs) {
                Ok(Some(whole)) => return Ok(whole),
                Ok(None) if tries < TRIES => {}
                Ok(None) => {
                    let source = std::io::Error::other("files keep going away");
                    return Err(OpenError::Io { doing: "read the spool".to_owned(), source });
                }
                Err(problem) => return Err(problem),
            }
            tries += 1;
        }
    }

    /// `None` when the running log took away a file that was needed.
    fn try_take<V: Vfs>(vfs: &V) -> Result<Option<Whole>, OpenError> {
        let mut refusal = None;
        let mut strangers = BTreeMap::new();
        let survey = Survey::take_around(vfs, &mut |id, problem| {
            if is_gone(&problem) {
                return Err(problem);
            }
            strangers.insert(id, Stranger::of(&problem));
            refusal.get_or_insert(problem);
            Ok(())
        });
        let survey = match survey {
            Ok(survey) => survey,
            Err(problem) if is_gone(&problem) => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let mut whole = Whole {
            survey,
            refusal,
            strangers,
            gaps: Vec::new(),
            quarantine: BTreeMap::new(),
            rows: BTreeSet::new(),
            begin: 0,
        };
        whole.read_behind_checkpoint(vfs);
        if !whole.survey.missing.is_empty() {
            let now = super::numbers(vfs, "")?;
            if whole.survey.missing.iter().any(|id| now.contains(id)) {
                return Ok(None);
            }
            let missing = OpenError::Missing(whole.survey.missing.clone());
            whole.refusal.get_or_insert(missing);
        }
        whole.gaps = whole.find_gaps();
        for id in whole.survey.quarantined.clone() {
            whole.quarantine.insert(id, quarantined(vfs, id));
        }
        Ok(Some(whole))
    }

    /// The older segments, as far as they still belong to the log.
    fn read_behind_checkpoint<V: Vfs>(&mut self, vfs: &V) {
        let Some((begin, end)) = self.survey.checkpoint else { return };
        self.begin = self.survey.segment_of(begin).unwrap_or(0);
        let rows: Vec<SegmentRow> = {
            let listed = self.survey.counted(|facts| &facts.rows);
            let last = listed.filter(|fact| (begin..=end).contains(&fact.lsn)).last();
            last.map(|fact| fact.says.clone()).unwrap_or_default()
        };
        self.survey.check_rows(&rows);
        self.rows = rows.iter().map(|row| row.segment).collect();
        // The last one was still being written when the table was made.
        let older = rows.iter().filter(|row| row.segment < self.begin);
        self.survey.ends = older.map(|row| (row.segment, row.end)).collect();
        let unread: Vec<u64> =
            self.survey.headers.keys().copied().filter(|id| !self.survey.pieces.contains_key(id)).collect();
        for id in unread.into_iter().rev() {
            if let Err(problem) = self.survey.scan(vfs, id) {
                self.survey.headers.remove(&id);
                if !is_gone(&problem) {
                    self.survey.unreadable.insert(id);
                    self.strangers.insert(id, Stranger::of(&problem));
                }
            }
        }
        let retired = self.survey.retired();
        let pieces = self.survey.pieces.keys().copied().filter(|id| *id < self.begin);
        self.survey.outside = pieces.filter(|id| retired.contains(id) || !self.rows.contains(id)).collect();
        self.survey.link();
    }

    /// The chain's gaps, less those that retired segments leave.
    fn find_gaps(&self) -> Vec<Gap> {
        let all =
            self.survey.gaps.iter().map(|(at, first, last)| Gap { at: *at, first: *first, last: *last });
        all.filter(|gap| {
            let chain = &self.survey.chain;
            let (before, after) = (gap.at.checked_sub(1).and_then(|at| chain.get(at)), chain.get(gap.at));
            match (before, after) {
                (Some(before), Some(after)) => after.segment > self.begin || self.is_loss(before, after),
                _ => true,
            }
        })
        .collect()
    }

    /// Whether what lay between two links of the chain was lost, and not retired.
    fn is_loss(&self, before: &Link, after: &Link) -> bool {
        let (from, to) = (before.segment, after.segment);
        let follows = |id: u64, on: u64| {
            let facts = self.survey.pieces.get(&id).map(|piece| &piece.facts);
            facts.and_then(|facts| facts.previous).is_some_and(|previous| previous.segment == on)
        };
        if from == to || after.batch.at > DATA_START || follows(to, from) {
            return true;
        }
        let cut_short = match self.survey.limit_of(from) {
            u64::MAX => self.survey.pieces.get(&from).is_some_and(|piece| piece.layout.tail.is_some()),
            limit => before.batch.end() < limit,
        };
        let between = |id: u64| id > from && id < to;
        cut_short
            || self.unreadable().into_iter().any(between)
            || self.survey.missing.iter().any(|id| between(*id))
    }

    /// Segments of the log, below its end, of which nothing can be read.
    pub(crate) fn unreadable(&self) -> Vec<u64> {
        let retired = self.survey.retired();
        let tip = self.survey.tip().unwrap_or(0);
        // One that nothing names is a spare of an earlier run that a power cut undid.
        let spoken_of = self.survey.spoken_of();
        let part = |id: &u64| *id >= self.begin && spoken_of.contains(id) || self.rows.contains(id);
        let all = self.survey.unreadable.iter().copied();
        all.filter(|id| *id < tip && part(id) && !retired.contains(id)).collect()
    }

    /// Present without being part of the log: retired, and not unlinked yet.
    pub(crate) fn is_outside(&self, id: u64) -> bool {
        self.survey.outside.contains(&id)
    }

    /// Positions in the chain of a segment's batches.
    pub(crate) fn links_of(&self, id: u64) -> std::ops::Range<usize> {
        let chain = &self.survey.chain;
        chain.partition_point(|link| link.segment < id)..chain.partition_point(|link| link.segment <= id)
    }

    /// The lost numbers before the chain's link at this position.
    pub(crate) fn gap_before(&self, at: usize) -> Option<Gap> {
        self.gaps.iter().copied().find(|gap| gap.at == at)
    }

    /// Where the log's end itself may be lost: from this number on.
    pub(crate) fn end_in_doubt(&self) -> Option<Lsn> {
        self.survey.damage.iter().find(|damage| damage.last.is_none()).map(|damage| damage.first)
    }
}

impl Stranger {
    fn of(problem: &OpenError) -> Stranger {
        match problem {
            OpenError::NewerFormat { version, .. } => Stranger::Newer(*version),
            OpenError::Mixed { found, .. } => Stranger::Foreign(*found),
            _ => Stranger::Failing,
        }
    }
}

fn is_gone(problem: &OpenError) -> bool {
    matches!(problem, OpenError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn quarantined<V: Vfs>(vfs: &V, id: u64) -> Option<Piece> {
    let name = format!("{QUARANTINE}/{}", segment::name(id));
    let header = header_of(vfs, &name, id).ok().flatten()?;
    Piece::read(vfs, &name, header).ok()
}
