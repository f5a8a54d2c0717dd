//! The valid batches of all segments in the order of the log: where numbers are missing, where a power cut tore the
//! end, and which checkpoint is whole.

use std::collections::BTreeMap;

use super::Survey;
use crate::bugs::{Bug, bug};
use crate::entry::Previous;
use crate::format::{DATA_START, Lsn};
use crate::segment::Batch;

/// A valid batch of the chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) segment: u64,
    pub(crate) batch: Batch,
}

impl Survey {
    /// Puts the batches of all scanned segments in order, finds gaps, the torn end, and the newest checkpoint
    /// that is whole.
    pub(super) fn link(&mut self) {
        self.chain.clear();
        self.gaps.clear();
        self.void.clear();
        self.torn = None;
        let ids: Vec<u64> = self.pieces.keys().copied().collect();
        let mut counted = Vec::new();
        for id in &ids {
            let limit = self.limit_of(*id);
            let Some(piece) = self.pieces.get(id).filter(|_| !self.outside.contains(id)) else { continue };
            let inside = piece.layout.batches.iter().filter(|batch| batch.at < limit);
            counted.extend(inside.map(|batch| Link { segment: *id, batch: *batch }));
        }
        self.vouched = vouched_by(&counted);
        let superseded = self.superseded(&counted);
        let oldest = self.pieces.iter().find(|(id, _)| !self.outside.contains(id));
        let from_start = oldest.is_some_and(|(_, piece)| piece.header.previous == 0);
        let mut expected: Option<Lsn> = from_start.then_some(1);
        for link in counted {
            let first = link.batch.head.first;
            let before = self.chain.last().map(|last| last.segment);
            let sure = before.and_then(|before| superseded.get(&before)).copied();
            if let Some(e) = expected
                && !bug(Bug::ChainNotChecked)
            {
                match sure {
                    Some(sure) if before != Some(link.segment) => self.note_superseded(sure, first),
                    // What nothing in the segment vouches for may have been torn when the lost run began, which then
                    // dropped all that follows.
                    Some(sure) if self.void.contains_key(&link.segment) || first != e && e > sure => {
                        self.void.entry(link.segment).or_insert(link.batch.at);
                        continue;
                    }
                    _ if first == e => {}
                    _ if first < e => self.unlink_from(first),
                    _ if e <= self.vouched && !bug(Bug::DurableUptoIgnored) => {
                        self.gaps.push((self.chain.len(), e, first - 1));
                    }
                    _ => {
                        self.torn = Some(e);
                        break;
                    }
                }
            }
            expected = Some(link.batch.head.next());
            self.chain.push(link);
        }
        if bug(Bug::DurableUptoIgnored) {
            self.vouched = vouched_by(&self.chain);
        }
        self.find_checkpoints();
    }

    /// Segments behind which a run began whose first words are lost, with the highest number that is theirs for
    /// certain: what came after it was written anew elsewhere, without the pieces of checkpoints and thus under other
    /// numbers.
    fn superseded(&self, counted: &[Link]) -> BTreeMap<u64, Lsn> {
        let mut found = BTreeMap::new();
        let mut vouched = 0;
        for (at, link) in counted.iter().enumerate() {
            vouched = vouched.max(link.batch.head.durable_upto);
            let Some(next) = counted.get(at + 1).filter(|next| next.segment != link.segment) else {
                continue;
            };
            let open = self.limit_of(link.segment) == u64::MAX && !self.same_run(link.segment, next.segment);
            if open && !self.followed(link.segment, next) {
                found.insert(link.segment, vouched);
            }
        }
        found
    }

    /// Whether the run that begins with `next` says that the log had gone on behind `id` before, in segments of which
    /// it kept nothing: a power cut took what was never acknowledged there, and what it left of `id` is as it was.
    fn followed(&self, id: u64, next: &Link) -> bool {
        if next.batch.at != DATA_START {
            return false;
        }
        let mut previous = self.pieces.get(&next.segment).and_then(|piece| piece.facts.previous);
        let mut below = next.segment;
        while let Some(Previous { segment, end }) = previous.filter(|previous| previous.segment < below) {
            let Some(piece) = self.pieces.get(&segment).filter(|_| segment > id) else {
                return segment == id;
            };
            let kept_nothing = end == DATA_START;
            if piece.header.previous == id {
                return kept_nothing || self.same_run(id, segment);
            }
            if !kept_nothing {
                return false;
            }
            let named = Previous { segment: piece.header.previous, end: u64::MAX };
            previous = Some(piece.facts.previous.unwrap_or(named));
            below = segment;
        }
        false
    }

    /// Whether one run made both segments, so that nothing was written anew between them.
    pub(super) fn same_run(&self, id: u64, later: u64) -> bool {
        let run = |id| self.headers.get(&id).map(|header| header.run);
        run(id).is_some() && run(id) == run(later)
    }

    /// The chain goes on at `first` in a later run; of what lies before, only the numbers up to `sure` are what they
    /// were. The records above are kept, for most of them were copied; their numbers say nothing.
    fn note_superseded(&mut self, sure: Lsn, first: Lsn) {
        self.unlink_from(first);
        let end = self.chain.last().map_or(1, |last| last.batch.head.next());
        let from = end.min(sure.saturating_add(1));
        if from < first {
            // One that stood here began where the chain now ends.
            self.gaps.retain(|(at, ..)| *at < self.chain.len());
            self.gaps.push((self.chain.len(), from, first - 1));
        }
    }

    /// The newer segment holds copies of what the older one's tail had from this number on.
    fn unlink_from(&mut self, first: Lsn) {
        while self.chain.last().is_some_and(|last| last.batch.head.first >= first) {
            self.chain.pop();
        }
        self.gaps.retain(|(at, ..)| *at <= self.chain.len());
    }

    /// Without a checkpoint everything from the first record on is needed.
    pub(super) fn note_lost_start(&mut self) {
        let from_start = self.pieces.values().next().is_some_and(|piece| piece.header.previous == 0);
        let first = self.chain.first().map_or(1, |link| link.batch.head.first);
        if self.checkpoint.is_none() && !from_start && first > 1 {
            self.gaps.insert(0, (0, 1, first - 1));
        }
    }

    fn find_checkpoints(&mut self) {
        let Some(start) = self.chain.first().map(|link| link.batch.head.first) else { return };
        let end = self.chain.last().map_or(0, |link| link.batch.head.next());
        let whole = |&(begin, last): &(Lsn, Lsn)| {
            let inside = begin >= start && last < end;
            inside && !self.gaps.iter().any(|(_, first, gap_last)| *first <= last && *gap_last >= begin)
        };
        let all = self.counted(|facts| &facts.checkpoints).map(|fact| (fact.says, fact.lsn));
        let mut whole: Vec<(Lsn, Lsn)> = all.filter(whole).collect();
        whole.sort_unstable();
        // A checkpoint in the unvouched tail is not carried over, so it does not count.
        whole.retain(|(_, last)| *last <= self.vouched || bug(Bug::RecoveryTrustsTail));
        self.checkpoint = whole.last().copied();
        self.earlier_checkpoint = whole.iter().rev().nth(1).copied();
    }
}

/// The highest number that these batches know to be durable.
fn vouched_by(links: &[Link]) -> Lsn {
    links.iter().map(|link| link.batch.head.durable_upto).max().unwrap_or(0)
}
