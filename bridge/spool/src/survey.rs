//! Reading a spool without changing it: which segments count, which batches are valid, where the log was damaged
//! and where a power cut merely tore its end. Recovery and the tools both start here.
//!
//! A stretch without a valid batch is **rot** when some valid batch elsewhere says that its numbers were durable
//! (`durable_upto`), and a **torn tail** otherwise (RELIABILITY S7).

mod holes;
mod piece;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use holes::holes_alone;
pub use holes::{Hole, HoleKind};
pub(crate) use piece::Piece;
pub(crate) use whole::{Stranger, Whole};

use crate::bugs::{Bug, bug};
use crate::entry::SegmentRow;
use crate::error::{Doing, OpenError};
use crate::format::{DATA_START, Header, Lsn, Run, SpoolId};
use crate::segment::{self, Batch, QUARANTINE};
use crate::vfs::Vfs;

use piece::{Fact, Facts, header_of};

/// A stretch of the log that was durable once and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it was found.
    pub segment: u64,
    /// Numbers of the records in it; some of them may have been read all the same. Unknown when the end of the
    /// log itself is gone: everything from the first number on.
    pub first: Lsn,
    pub last: Option<Lsn>,
    /// Records that could still be read one by one.
    pub salvaged: u64,
}

/// A valid batch of the chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) segment: u64,
    pub(crate) batch: Batch,
}

/// The log as it is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) headers: BTreeMap<u64, Header>,
    /// Present, and its header cannot be read.
    unreadable: BTreeSet<u64>,
    pub(crate) quarantined: BTreeSet<u64>,
    pub(crate) pieces: BTreeMap<u64, Piece>,
    /// All valid batches that count, in order.
    pub(crate) chain: Vec<Link>,
    /// (first, last) numbers that are missing between two batches of the chain, by the position of the later one.
    pub(crate) gaps: Vec<(usize, Lsn, Lsn)>,
    /// The highest number known to be durable.
    pub(crate) vouched: Lsn,
    /// Replay starts at the first record of this one.
    pub(crate) checkpoint: Option<(Lsn, Lsn)>,
    /// The checkpoint before it, if it is within what was read.
    pub(crate) earlier_checkpoint: Option<(Lsn, Lsn)>,
    pub(crate) missing: Vec<u64>,
    pub(crate) damage: Vec<Damage>,
    /// Numbers that a power cut tore off, from here on.
    pub(crate) torn: Option<Lsn>,
    /// Offsets from which on batches of a segment do not count, because a run that is lost may have dropped them.
    void: BTreeMap<u64, u64>,
    /// Only when everything was read: where old segments end that no later one says it of.
    ends: BTreeMap<u64, u64>,
    /// Only when everything was read: present, and no longer part of the log.
    outside: BTreeSet<u64>,
}

/// Asked whether to go on without a file.
type Refuse<'a> = dyn FnMut(u64, OpenError) -> Result<(), OpenError> + 'a;

impl Survey {
    /// Reads headers, then whole segments from the newest back to the last checkpoint that is whole.
    pub(crate) fn take<V: Vfs>(vfs: &V) -> Result<Survey, OpenError> {
        Survey::take_around(vfs, &mut |_, problem| Err(problem))
    }

    /// As [`Survey::take`]. Whatever forbids a start because of one file goes to `refuse`; when it answers `Ok`,
    /// the file counts as unreadable.
    fn take_around<V: Vfs>(vfs: &V, refuse: &mut Refuse<'_>) -> Result<Survey, OpenError> {
        let present = numbers(vfs, "")?;
        let mut survey = Survey { quarantined: numbers(vfs, QUARANTINE)?, ..Survey::default() };
        for id in present {
            match header_of(vfs, &segment::name(id), id) {
                Ok(Some(header)) => {
                    survey.headers.insert(id, header);
                }
                Ok(None) => {
                    survey.unreadable.insert(id);
                }
                Err(problem) => survey.set_apart(id, problem, refuse)?,
            }
        }
        survey.check_same_spool(refuse)?;
        let newest_first: Vec<u64> = survey.headers.keys().rev().copied().collect();
        for id in newest_first {
            if let Err(problem) = survey.scan(vfs, id) {
                survey.set_apart(id, problem, refuse)?;
                continue;
            }
            survey.link();
            if survey.checkpoint.is_some() {
                break;
            }
        }
        survey.note_lost_start();
        survey.find_missing();
        survey.note_damage();
        Ok(survey)
    }

    fn set_apart(&mut self, id: u64, problem: OpenError, refuse: &mut Refuse<'_>) -> Result<(), OpenError> {
        refuse(id, problem)?;
        self.headers.remove(&id);
        self.unreadable.insert(id);
        Ok(())
    }

    fn check_same_spool(&mut self, refuse: &mut Refuse<'_>) -> Result<(), OpenError> {
        let mut files: BTreeMap<SpoolId, (usize, u64)> = BTreeMap::new();
        for header in self.headers.values() {
            let (count, newest) = files.entry(header.spool).or_default();
            (*count, *newest) = (*count + 1, header.segment);
        }
        // A stray file may be the newest one.
        let most = files.into_iter().max_by_key(|(_, count_and_newest)| *count_and_newest);
        let Some((expected, _)) = most else { return Ok(()) };
        let others: Vec<(u64, SpoolId)> = self
            .headers
            .values()
            .map(|h| (h.segment, h.spool))
            .filter(|(_, found)| *found != expected)
            .collect();
        for (segment, found) in others {
            self.set_apart(segment, OpenError::Mixed { segment, found, expected }, refuse)?;
        }
        Ok(())
    }

    pub(crate) fn spool(&self) -> Option<SpoolId> {
        self.headers.values().next_back().map(|header| header.spool)
    }

    /// The highest epoch any readable file knows, and the run of the newest segment with a batch.
    pub(crate) fn last_run(&self) -> (u64, Option<Run>) {
        let floor = self.pieces.values().map(|piece| piece.facts.epoch_floor).max().unwrap_or(0);
        let epoch = self.headers.values().map(|header| header.run.epoch).max().unwrap_or(0);
        (epoch.max(floor), self.tip().and_then(|tip| self.headers.get(&tip)).map(|header| header.run))
    }

    pub(crate) fn epoch_floor(&self) -> u64 {
        self.pieces.values().map(|piece| piece.facts.epoch_floor).max().unwrap_or(0)
    }

    /// The segment where the log ends.
    pub(crate) fn tip(&self) -> Option<u64> {
        self.chain.last().map(|link| link.segment)
    }

    /// Files above the tip without a valid batch: spares, and segments that a power cut left unfinished.
    pub(crate) fn batchless(&self) -> Vec<u64> {
        let tip = self.tip().unwrap_or(0);
        let all = self.headers.keys().chain(&self.unreadable).copied();
        let mut above: Vec<u64> = all.filter(|id| *id > tip).collect();
        above.sort_unstable();
        above
    }

    pub(crate) fn present(&self) -> BTreeSet<u64> {
        self.headers.keys().chain(&self.unreadable).copied().collect()
    }

    fn scan<V: Vfs>(&mut self, vfs: &V, id: u64) -> Result<(), OpenError> {
        let Some(header) = self.headers.get(&id).cloned() else { return Ok(()) };
        self.pieces.insert(id, Piece::read(vfs, &segment::name(id), header)?);
        Ok(())
    }

    /// Puts the batches of all scanned segments in order, finds gaps, the torn end, and the newest checkpoint
    /// that is whole.
    fn link(&mut self) {
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
            if self.limit_of(link.segment) == u64::MAX && !self.same_run(link.segment, next.segment) {
                found.insert(link.segment, vouched);
            }
        }
        found
    }

    /// Whether one run made both segments, so that nothing was written anew between them.
    fn same_run(&self, id: u64, later: u64) -> bool {
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
    fn note_lost_start(&mut self) {
        let from_start = self.pieces.values().next().is_some_and(|piece| piece.header.previous == 0);
        let first = self.chain.first().map_or(1, |link| link.batch.head.first);
        if self.checkpoint.is_none() && !from_start && first > 1 {
            self.gaps.insert(0, (0, 1, first - 1));
        }
    }

    /// Batches of `id` from here on do not count, because a later segment says where the log went on.
    pub(crate) fn limit_of(&self, id: u64) -> u64 {
        let later = self.pieces.range(id + 1..).filter_map(|(_, piece)| piece.facts.previous);
        let said = later.filter(|previous| previous.segment == id).map(|previous| previous.end).min();
        said.or(self.ends.get(&id).copied()).unwrap_or(u64::MAX)
    }

    fn counts_until(&self, id: u64) -> u64 {
        self.limit_of(id).min(self.void.get(&id).copied().unwrap_or(u64::MAX))
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

    /// Facts of one kind from batches that count.
    fn counted<'s, T: 's>(
        &'s self,
        kind: impl Fn(&'s Facts) -> &'s Vec<Fact<T>>,
    ) -> impl Iterator<Item = &'s Fact<T>> {
        let end = self.chain.last().map_or(0, |link| link.batch.head.next());
        self.pieces.iter().flat_map(move |(id, piece)| {
            let limit = self.counts_until(*id);
            kind(&piece.facts).iter().filter(move |fact| fact.at < limit && fact.lsn < end)
        })
    }

    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<u64> {
        let at = self.chain.partition_point(|link| link.batch.head.next() <= lsn);
        self.chain.get(at).map(|link| link.segment)
    }

    /// Everything that retire records within reach have taken out of the log.
    pub(crate) fn retired(&self) -> BTreeSet<u64> {
        self.counted(|facts| &facts.retired).flat_map(|fact| fact.says.iter().copied()).collect()
    }

    fn find_missing(&mut self) {
        let present = self.present();
        let retired = self.retired();
        let begin = self.checkpoint.and_then(|(begin, _)| self.segment_of(begin)).unwrap_or(0);
        let mut needed = BTreeSet::new();
        for (id, header) in &self.headers {
            // Older ones may name segments that were retired before the checkpoint; a blank one below the tip is a
            // spare of an earlier run, and so was the one it names.
            let blank = self.pieces.get(id).is_some_and(|piece| piece.layout.batches.is_empty());
            if *id > begin && header.previous != 0 && !(blank && Some(*id) < self.tip()) {
                needed.insert(header.previous);
            }
        }
        needed.extend(self.pieces.keys().filter_map(|id| self.continues_in(*id)));
        needed.retain(|id| !present.contains(id) && !retired.contains(id) && !self.quarantined.contains(id));
        if !bug(Bug::MissingSegmentSkipped) {
            self.missing.extend(needed);
        }
    }

    /// Where the segment says that the log goes on, unless a later segment says that it went on there instead: the
    /// announced one was blank when a crash came.
    fn continues_in(&self, id: u64) -> Option<u64> {
        let end = self.chain.last().map_or(0, |link| link.batch.head.next());
        let limit = self.counts_until(id);
        let facts = &self.pieces.get(&id)?.facts;
        let next = facts.continues.iter().find(|fact| fact.at < limit && fact.lsn < end)?.says;
        let mut later = self.pieces.range(id + 1..).filter(|(later, _)| **later != next);
        let elsewhere =
            later.any(|(_, piece)| piece.facts.previous.is_some_and(|previous| previous.segment == id));
        (!elsewhere).then_some(next)
    }

    /// Segments that a checkpoint lists must be there too; called when its table has been read.
    pub(crate) fn check_rows(&mut self, rows: &[SegmentRow]) {
        let present = self.present();
        let retired = self.retired();
        let gone = rows
            .iter()
            .map(|row| row.segment)
            .filter(|id| !present.contains(id) && !retired.contains(id) && !self.quarantined.contains(id));
        let gone: Vec<u64> = gone.filter(|id| !self.missing.contains(id)).collect();
        if !bug(Bug::MissingSegmentSkipped) {
            self.missing.extend(gone);
        }
    }

    fn note_damage(&mut self) {
        for (at, first, last) in &self.gaps {
            let segment = self.chain.get(at.saturating_sub(1)).map_or(0, |link| link.segment);
            let damage = Damage { segment, first: *first, last: Some(*last), salvaged: 0 };
            self.damage.push(damage);
        }
        self.note_lost_end();
        // Below the tip an unreadable file shows as a gap, unless nothing of it was needed for replay. One that no batch
        // speaks of is a spare that an earlier run made and a power cut undid.
        let spoken_of = self.spoken_of();
        let tip_or_zero = self.tip().unwrap_or(0);
        let begin = self.checkpoint.and_then(|(begin, _)| self.segment_of(begin)).unwrap_or(0);
        let retired = self.retired();
        let quiet = self.unreadable.iter().filter(|id| {
            **id < tip_or_zero && **id >= begin && !retired.contains(id) && spoken_of.contains(id)
        });
        let quiet: Vec<u64> = quiet.copied().collect();
        for id in quiet {
            if !self.damage.iter().any(|damage| damage.segment == id) && self.gaps.is_empty() {
                self.damage.push(Damage { segment: id, first: 0, last: Some(0), salvaged: 0 });
            }
        }
    }

    /// Whether the log may have gone on behind the last batch that is left.
    fn note_lost_end(&mut self) {
        let tip = self.tip();
        // The newest file was durable in full size before its first batch: if it is short now, it was cut.
        let cut = tip.filter(|tip| self.pieces.get(tip).is_some_and(|piece| piece.layout.cut));
        // A torn end in a file that has rotted elsewhere may be rot as well: its last commits and what vouched for them.
        let dirty = tip.filter(|tip| {
            let dirty = self.pieces.get(tip).is_some_and(|piece| piece.layout.tail.is_some());
            let gap_before = |at: usize| self.chain.get(at).is_some_and(|link| link.segment == *tip);
            dirty && self.gaps.iter().any(|(at, ..)| gap_before(*at))
        });
        // Another file says that this one was durable in full, and its header or its end is gone.
        let named = self.headers.values().map(|header| header.previous);
        let named: BTreeSet<u64> =
            named.chain(self.pieces.keys().filter_map(|id| self.continues_in(*id))).collect();
        let short = self.pieces.iter().filter(|(_, piece)| piece.layout.cut).map(|(id, _)| id);
        let above = self.unreadable.iter().chain(short).filter(|id| Some(**id) > tip && named.contains(id));
        let above: Vec<u64> = above.copied().collect();
        let end = self.chain.last().map_or(1, |link| link.batch.head.next());
        // A later run may have begun in one that is lost and have written anew what nothing vouches for here.
        let anew = above.iter().any(|id| !tip.is_some_and(|tip| self.same_run(tip, *id)));
        let first = if anew { end.min(self.vouched.saturating_add(1)) } else { end };
        let ends = cut.into_iter().chain(dirty).chain(above);
        self.damage.extend(ends.map(|segment| Damage { segment, first, last: None, salvaged: 0 }));
    }

    /// Segments that batches of other segments name: the log went there, or came from there.
    pub(crate) fn spoken_of(&self) -> BTreeSet<u64> {
        let before =
            self.pieces.values().filter_map(|piece| piece.facts.previous.map(|previous| previous.segment));
        before.chain(self.pieces.keys().filter_map(|id| self.continues_in(*id))).collect()
    }

    /// Where the valid batches of a scanned segment end.
    pub(crate) fn end_of(&self, id: u64) -> u64 {
        let last = self.chain.iter().rev().find(|link| link.segment == id);
        last.map_or(DATA_START, |link| link.batch.end())
    }

    /// Whether something in a scanned segment, before its end, cannot be read.
    pub(crate) fn rotten(&self, id: u64) -> bool {
        let end = self.end_of(id).max(match self.limit_of(id) {
            u64::MAX => 0,
            limit => limit,
        });
        let holed = self
            .pieces
            .get(&id)
            .is_some_and(|piece| piece.layout.cut || piece.layout.holes.iter().any(|(from, _)| *from < end));
        holed || self.unreadable.contains(&id) || self.damage.iter().any(|damage| damage.segment == id)
    }
}

/// The highest number that these batches know to be durable.
fn vouched_by(links: &[Link]) -> Lsn {
    links.iter().map(|link| link.batch.head.durable_upto).max().unwrap_or(0)
}

/// Numbers of the segments in a directory.
fn numbers<V: Vfs>(vfs: &V, directory: &str) -> Result<BTreeSet<u64>, OpenError> {
    let names = vfs.list(directory).doing(|| "list the spool".to_owned())?;
    Ok(names.iter().filter_map(|name| segment::number(name)).collect())
}
