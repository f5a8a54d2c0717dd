//! Reading a spool without changing it: which segments count, which batches are valid, where the log was damaged
//! and where a power cut merely tore its end. Recovery and the tools both start here.
//!
//! A stretch without a valid batch is **rot** when some valid batch elsewhere says that its numbers were durable
//! (`durable_upto`), and a **torn tail** otherwise (RELIABILITY S7).

mod chain;
mod damage;
mod holes;
mod piece;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use chain::Link;
pub use damage::Damage;
pub(crate) use holes::holes_alone;
pub use holes::{Hole, HoleKind};
pub(crate) use piece::Piece;
pub(crate) use whole::{Stranger, Whole};

use crate::bugs::{Bug, bug};
use crate::entry::SegmentRow;
use crate::error::{Doing, OpenError};
use crate::format::{DATA_START, Header, Lsn, Run, SpoolId};
use crate::segment::{self, QUARANTINE};
use crate::vfs::Vfs;

use piece::{Fact, Facts, header_of};

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

    /// Batches of `id` from here on do not count, because a later segment says where the log went on.
    pub(crate) fn limit_of(&self, id: u64) -> u64 {
        let later = self.pieces.range(id + 1..).filter_map(|(_, piece)| piece.facts.previous);
        let said = later.filter(|previous| previous.segment == id).map(|previous| previous.end).min();
        said.or(self.ends.get(&id).copied()).unwrap_or(u64::MAX)
    }

    fn counts_until(&self, id: u64) -> u64 {
        self.limit_of(id).min(self.void.get(&id).copied().unwrap_or(u64::MAX))
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

/// Numbers of the segments in a directory.
fn numbers<V: Vfs>(vfs: &V, directory: &str) -> Result<BTreeSet<u64>, OpenError> {
    let names = vfs.list(directory).doing(|| "list the spool".to_owned())?;
    Ok(names.iter().filter_map(|name| segment::number(name)).collect())
}
