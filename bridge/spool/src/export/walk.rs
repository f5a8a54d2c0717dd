//! The way through the log, batch by batch and hole by hole.

use std::collections::BTreeSet;
use std::io;

use super::{ExportDone, ExportError, ExportOptions, Exported, LostCause, LostRange, Record, RecordPlace};
use crate::entry::Entry;
use crate::error::Doing;
use crate::format::{Codec, Found};
use crate::segment::{self, Batch, read_all};
use crate::survey::{Hole, HoleKind, Whole};
use crate::vfs::Vfs;

pub(super) struct Walk<'a, V: Vfs> {
    vfs: &'a V,
    options: ExportOptions,
    receive: &'a mut dyn FnMut(Exported<'_>) -> io::Result<()>,
    whole: Whole,
    done: ExportDone,
    /// Position in the chain of the next batch.
    next: usize,
    /// The gap before it has been reported, with the place that held it.
    explained: bool,
}

/// A part of a segment, in the order of offsets.
enum Step {
    Batch(Batch),
    Hole(Hole),
}

impl Step {
    fn at(&self) -> u64 {
        match self {
            Step::Batch(batch) => batch.at,
            Step::Hole(hole) => hole.from,
        }
    }
}

impl<'a, V: Vfs> Walk<'a, V> {
    pub(super) fn new(
        vfs: &'a V,
        options: ExportOptions,
        receive: &'a mut dyn FnMut(Exported<'_>) -> io::Result<()>,
    ) -> Result<Walk<'a, V>, ExportError> {
        let mut whole = Whole::take(vfs).map_err(ExportError::Spool)?;
        if !options.salvage
            && !whole.strangers.is_empty()
            && let Some(reason) = whole.refusal.take()
        {
            return Err(ExportError::Spool(reason));
        }
        let done = ExportDone::default();
        Ok(Walk { vfs, options, receive, whole, done, next: 0, explained: false })
    }

    pub(super) fn run(mut self) -> Result<ExportDone, ExportError> {
        let unreadable: BTreeSet<u64> = self.whole.unreadable().into_iter().collect();
        let mut ids: BTreeSet<u64> = self.whole.survey.pieces.keys().copied().collect();
        ids.extend(unreadable.iter().chain(&self.whole.survey.missing).chain(self.whole.strangers.keys()));
        // Above the end of the log, a file that was durable and of which nothing is left.
        let lost_tips = self.whole.survey.damage.iter().filter(|damage| damage.last.is_none());
        ids.extend(lost_tips.map(|damage| damage.segment));
        for id in ids {
            if self.whole.is_outside(id) {
                continue;
            }
            if self.whole.survey.pieces.contains_key(&id) {
                self.segment(id)?;
            } else if self.whole.survey.missing.contains(&id) {
                self.lost(id, None, LostCause::Missing)?;
            } else {
                self.lost(id, None, LostCause::Unreadable)?;
            }
        }
        Ok(self.done)
    }

    fn segment(&mut self, id: u64) -> Result<(), ExportError> {
        let Some(header) = self.whole.survey.headers.get(&id) else { return Ok(()) };
        let codec = Codec::new(id, header.salt);
        let links = self.whole.survey.chain.get(self.whole.links_of(id)).unwrap_or_default();
        let mut steps: Vec<Step> = links.iter().map(|link| Step::Batch(link.batch)).collect();
        let damage = self.whole.holes_of(id).into_iter().filter(|hole| hole.kind != HoleKind::Torn);
        steps.extend(damage.map(Step::Hole));
        if steps.is_empty() {
            return Ok(());
        }
        steps.sort_by_key(Step::at);
        let bytes = self.bytes(id, header.segment_bytes)?;
        for step in steps {
            match step {
                Step::Batch(batch) => self.batch(id, &codec, batch, &bytes)?,
                Step::Hole(hole) => self.hole(id, &codec, hole, &bytes)?,
            }
        }
        Ok(())
    }

    fn bytes(&self, id: u64, segment_bytes: u64) -> Result<Vec<u8>, ExportError> {
        let name = segment::name(id);
        let file = self.vfs.open(&name).doing(|| format!("open {name}")).map_err(ExportError::Spool)?;
        read_all(&file, segment_bytes).doing(|| format!("read {name}")).map_err(ExportError::Spool)
    }

    fn batch(&mut self, id: u64, codec: &Codec, batch: Batch, bytes: &[u8]) -> Result<(), ExportError> {
        if !self.explained && self.whole.gap_before(self.next).is_some() {
            let nowhere = Hole { from: batch.at, to: batch.at, kind: HoleKind::Rot };
            self.lost(id, Some(nowhere), LostCause::Unknown)?;
        }
        self.explained = false;
        self.next += 1;
        let rest = bytes.get(batch.at as usize..).unwrap_or_default();
        if codec.batch(batch.at, rest) != Some(batch.head) {
            // It was whole when the log was surveyed: the disk does not give the same bytes twice.
            let hole = Hole { from: batch.at, to: batch.end(), kind: HoleKind::Rot };
            return self.hole(id, codec, hole, bytes);
        }
        for (lsn, found) in (batch.head.first..).zip(codec.records(batch.at, rest)) {
            self.record(RecordPlace { lsn: Some(lsn), segment: id, offset: found.offset }, &found)?;
        }
        Ok(())
    }

    fn hole(&mut self, id: u64, codec: &Codec, hole: Hole, bytes: &[u8]) -> Result<(), ExportError> {
        let cause = if hole.kind == HoleKind::InDoubt { LostCause::InDoubt } else { LostCause::Rot };
        self.lost(id, Some(hole), cause)?;
        let end = (bytes.len() as u64).min(hole.to);
        let stretch = bytes.get(hole.from as usize..end as usize).unwrap_or_default();
        for found in codec.salvage(hole.from, stretch) {
            let before = self.done.records;
            self.record(RecordPlace { lsn: None, segment: id, offset: found.offset }, &found)?;
            self.done.salvaged += self.done.records - before;
        }
        Ok(())
    }

    /// Reports a lost range; without `salvage` it is the end.
    fn lost(&mut self, segment: u64, hole: Option<Hole>, cause: LostCause) -> Result<(), ExportError> {
        let gap = self.whole.gap_before(self.next);
        let at_end = self.next == self.whole.survey.chain.len();
        let range = LostRange {
            segment,
            from: hole.map_or(0, |hole| hole.from),
            to: hole.map_or(0, |hole| hole.to),
            first: gap.map(|gap| gap.first).or_else(|| self.whole.end_in_doubt().filter(|_| at_end)),
            last: gap.map(|gap| gap.last),
            cause,
        };
        if !self.options.salvage {
            return Err(ExportError::Damaged(range));
        }
        self.explained = true;
        self.done.lost_ranges += 1;
        (self.receive)(Exported::Lost(range)).map_err(ExportError::Receiver)
    }

    fn record(&mut self, at: RecordPlace, found: &Found) -> Result<(), ExportError> {
        let record = match Entry::decode(&found.bytes) {
            Some(Entry::State(bytes)) => Record::State(bytes),
            Some(Entry::Body { id, bytes }) => Record::Body { id, bytes },
            Some(Entry::Moved { id, bytes }) => Record::Moved { id, bytes },
            Some(Entry::CheckpointPart(bytes)) => Record::CheckpointPart(bytes),
            // The log's own.
            Some(_) => return Ok(()),
            None => {
                self.done.unknown += 1;
                return Ok(());
            }
        };
        self.done.records += 1;
        (self.receive)(Exported::Record { at, record }).map_err(ExportError::Receiver)
    }
}
