//! What to think of the stretches of a segment in which no valid batch lies.

use super::{Piece, Whole};
use crate::format::{DATA_START, Lsn};
use crate::segment::Batch;

/// Why a stretch of a segment holds no valid batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoleKind {
    /// It was durable once and is damaged (RELIABILITY S7).
    Rot,
    /// Written and never acknowledged: a power cut tore it, or a later run went on elsewhere.
    Torn,
    /// Nothing left on the disk can tell.
    InDoubt,
}

/// A stretch of a segment in which no valid batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Offsets in the file; the end is not part of it.
    pub from: u64,
    pub to: u64,
    pub kind: HoleKind,
}

impl Whole {
    /// Of a segment that is part of the log, or lies above its end.
    pub(crate) fn holes_of(&self, id: u64) -> Vec<Hole> {
        let Some(piece) = self.survey.pieces.get(&id) else { return Vec::new() };
        if self.is_outside(id) {
            return holes_alone(piece);
        }
        let tip = self.survey.tip().unwrap_or(0);
        let doubtful = self.survey.damage.iter().any(|damage| damage.segment == id && damage.last.is_none());
        let unfinished = if doubtful { HoleKind::InDoubt } else { HoleKind::Torn };
        if id > tip {
            return stretches(piece, 0).map(|(from, to)| Hole { from, to, kind: unfinished }).collect();
        }
        let limit = self.survey.limit_of(id);
        let known_end = if limit == u64::MAX { 0 } else { limit };
        let cut_at = piece.layout.cut.then_some(piece.layout.bytes);
        let mut holes = Vec::new();
        for (from, to) in stretches(piece, known_end) {
            let kind = if known_end > 0 {
                HoleKind::Rot
            } else if let Some(batch) = piece.layout.batches.iter().find(|batch| batch.at >= to) {
                if self.counts(id, batch) { HoleKind::Rot } else { HoleKind::Torn }
            } else if id == tip {
                unfinished
            } else if self.gap_before(self.links_of(id).end).is_some() {
                HoleKind::Rot
            } else if piece.layout.is_blank() {
                HoleKind::Torn
            } else {
                HoleKind::InDoubt
            };
            // Beyond the end that others name, only a file that became shorter is damage; one in which nothing ever
            // was may be a spare that a power cut left short.
            let inside = (from, to.min(limit), kind);
            let beyond = |from: u64, to: u64| match cut_at {
                Some(cut) if to > cut && limit > DATA_START => (from.max(cut), to, HoleKind::Rot),
                _ => (from, to, HoleKind::Torn),
            };
            let parts = [inside, beyond(from.max(limit), to)];
            holes.extend(parts.into_iter().filter(|(from, to, _)| from < to));
        }
        holes.into_iter().map(|(from, to, kind)| Hole { from, to, kind }).collect()
    }

    fn counts(&self, id: u64, batch: &Batch) -> bool {
        let links = self.survey.chain.get(self.links_of(id)).unwrap_or_default();
        links.iter().any(|link| link.batch.at == batch.at)
    }
}

/// Of a segment that the log no longer knows: only its own batches can tell what was durable.
pub(crate) fn holes_alone(piece: &Piece) -> Vec<Hole> {
    let batches = &piece.layout.batches;
    let judged = stretches(piece, 0).map(|(from, to)| {
        let before = batches.iter().rev().find(|batch| batch.end() <= from);
        let mut after = batches.iter().filter(|batch| batch.at >= to);
        let vouched = after.clone().map(|batch| batch.head.durable_upto).max();
        let lost: Option<Lsn> = match (before, after.next()) {
            (Some(before), Some(after)) => {
                (before.head.next() < after.head.first).then(|| before.head.next())
            }
            (None, Some(after)) => after.head.first.checked_sub(1),
            (_, None) => None,
        };
        let rot = lost.zip(vouched).is_some_and(|(lost, vouched)| lost <= vouched);
        Hole { from, to, kind: if rot { HoleKind::Rot } else { HoleKind::InDoubt } }
    });
    judged.collect()
}

/// What lies between the valid batches, up to the last written page, `known_end`, or where a cut file should end.
fn stretches(piece: &Piece, known_end: u64) -> impl Iterator<Item = (u64, u64)> {
    let layout = &piece.layout;
    let written = layout.tail.map_or(0, |(_, end)| end).max(known_end);
    let end = if layout.cut { written.max(piece.header.segment_bytes) } else { written };
    let starts = std::iter::once(DATA_START).chain(layout.batches.iter().map(Batch::end));
    let ends = layout.batches.iter().map(|batch| batch.at).chain([end]);
    starts.zip(ends).filter(|(from, to)| from < to)
}
