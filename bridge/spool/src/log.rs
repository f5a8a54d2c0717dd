//! The log while it runs: append, flush, seal, roll over, checkpoint, move, retire.
//!
//! ```text
//! append ─► batch in the active segment ─► sync ─► durable ─► (owner answers, sends)
//!              │ full: "continues in k+1", sync, next segment
//! maintain ─► spare ready · live bodies out of nearly dead segments · retire record ─► durable ─► unlink
//! ```
//!
//! Everything is synchronous and belongs to one thread. After a failed write or flush the log is poisoned and
//! takes nothing more (RELIABILITY S12).

mod checkpoint;
mod maintain;
mod options;
mod scrub;

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::bugs::{Bug, bug};
use crate::entry::{Entry, Location, Previous, owner_prefix};
use crate::error::AppendError;
use crate::fail_point;
use crate::format::{
    Codec, DATA_START, Header, Lsn, PAGE_BYTES, RecordParts, Run, SpoolId, VERSION, batch_bytes_bound,
};
use crate::index::{BodyReader, SegmentInfo};
#[cfg(feature = "sim")]
use crate::segment;
use crate::segment::{Spare, SpareJob};
use crate::vfs::{Vfs, VfsFile, write_full};

use checkpoint::Checkpoints;
use maintain::Leaving;
pub use maintain::Maintained;
pub use options::{Append, Appended, Class, Entropy, Options};
pub use scrub::Scrubbed;
use scrub::Scrubber;

/// Segments that only records which are not events may use (S13); one of them stays for recovery.
pub const RESERVE_SEGMENTS: u64 = 4;

#[derive(Debug)]
struct Active<F> {
    segment: u64,
    codec: Codec,
    file: F,
    bytes: u64,
    offset: u64,
    /// Said in the first batch.
    previous: Option<Previous>,
    #[allow(dead_code, reason = "only the seeded bugs write it again")]
    last_page: Vec<u8>,
}

/// The open log of one bridge.
pub struct Log<V: Vfs> {
    pub(crate) vfs: V,
    pub(crate) options: Options,
    entropy: Entropy,
    spool: SpoolId,
    run: Run,
    active: Active<V::File>,
    spares: VecDeque<Spare<V::File>>,
    /// A spare is being made elsewhere.
    spare_ordered: bool,
    newest_segment: u64,
    next: Lsn,
    durable: Lsn,
    /// What the disk itself says is durable: `durable_upto` of the last batch.
    vouched: Lsn,
    /// The last record that is not a seal.
    content: Lsn,
    reader: BodyReader<V>,
    checkpoints: Checkpoints,
    leaving: Vec<Leaving>,
    scrubber: Scrubber<V::File>,
    epoch_floor: u64,
    bytes_since_checkpoint: u64,
    /// Fewer bytes are free on the disk than the reserve wants.
    disk_low: bool,
    /// The last spare could not be made.
    spare_refused: bool,
    poisoned: bool,
    _lock: V::Lock,
}

impl<V: Vfs> fmt::Debug for Log<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Log");
        out.field("spool", &self.spool).field("run", &self.run).field("segment", &self.active.segment);
        out.field("next", &self.next).field("durable", &self.durable).field("poisoned", &self.poisoned);
        out.finish_non_exhaustive()
    }
}

/// What recovery hands over.
pub(crate) struct Parts<V: Vfs> {
    pub(crate) vfs: V,
    pub(crate) options: Options,
    pub(crate) entropy: Entropy,
    pub(crate) spool: SpoolId,
    pub(crate) run: Run,
    /// The fresh segment, its first batch written up to here and synced.
    pub(crate) fresh: Spare<V::File>,
    pub(crate) offset: u64,
    pub(crate) next: Lsn,
    pub(crate) vouched: Lsn,
    pub(crate) reader: BodyReader<V>,
    /// First segments of the last two checkpoints, the newer one last.
    pub(crate) checkpoints: [Option<u64>; 2],
    pub(crate) epoch_floor: u64,
    pub(crate) lock: V::Lock,
}

impl<V: Vfs + Clone> Log<V> {
    pub(crate) fn from_parts(parts: Parts<V>) -> Log<V> {
        let header = &parts.fresh.header;
        let active = Active {
            segment: header.segment,
            codec: Codec::new(header.segment, header.salt),
            bytes: header.segment_bytes,
            file: parts.fresh.file,
            offset: parts.offset,
            previous: None,
            last_page: Vec::new(),
        };
        Log {
            newest_segment: active.segment,
            vfs: parts.vfs,
            options: parts.options,
            entropy: parts.entropy,
            spool: parts.spool,
            run: parts.run,
            active,
            spares: VecDeque::new(),
            spare_ordered: false,
            next: parts.next,
            durable: parts.next - 1,
            vouched: parts.vouched,
            content: parts.next - 1,
            reader: parts.reader,
            checkpoints: Checkpoints::new(parts.checkpoints),
            leaving: Vec::new(),
            scrubber: Scrubber::default(),
            epoch_floor: parts.epoch_floor,
            bytes_since_checkpoint: 0,
            disk_low: false,
            spare_refused: false,
            poisoned: false,
            _lock: parts.lock,
        }
    }

    pub fn spool_id(&self) -> SpoolId {
        self.spool
    }

    pub fn run(&self) -> Run {
        self.run
    }

    /// The highest number that is on the disk for good.
    pub fn durable(&self) -> Lsn {
        if bug(Bug::AcknowledgeBeforeSync) { self.next - 1 } else { self.durable }
    }

    /// Segments on disk that belong to the log.
    pub fn segments(&self) -> u64 {
        self.reader.index().segments.len() as u64 + self.spares.len() as u64
    }

    pub fn segment_bytes(&self) -> u64 {
        self.options.segment_bytes
    }

    /// Bytes of events that are live, of their records.
    pub fn live_bytes(&self) -> u64 {
        self.reader.index().segments.values().map(|segment| segment.live_bytes).sum()
    }

    /// Whether an event would be taken now.
    pub fn admits_events(&self) -> bool {
        bug(Bug::ReserveUsedForEvents) || !(self.poisoned || self.is_tight())
    }

    fn in_reserve(&self, more: u64) -> bool {
        self.segments() + more > self.options.segments_max.saturating_sub(self.options.reserve())
    }

    /// A spare is being made and there is no other: what would roll over should wait for it.
    pub fn awaits_spare(&self) -> bool {
        self.spare_ordered && self.spares.is_empty()
    }

    /// Whether space is short: checkpoints and maintenance are then worth doing early.
    pub fn is_tight(&self) -> bool {
        self.disk_low || self.spare_refused || self.in_reserve(0)
    }

    pub fn reader(&self) -> BodyReader<V> {
        self.reader.clone()
    }

    /// Writes `records` as one batch, all or nothing after a crash, and gives their numbers. They are durable when
    /// [`Log::durable`] has reached the last.
    pub fn append(&mut self, class: Class, records: &[Append<'_>]) -> Result<Appended, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        // With every batch, so that no burst gets past the mark, nor what others take meanwhile.
        self.look_at_disk();
        if class == Class::Event && !self.admits_events() {
            return Err(AppendError::Full);
        }
        let riders = self.checkpoints.next_riders(self.options.checkpoint_step_bytes, self.next);
        let own = records.iter().map(|record| match record {
            Append::State(bytes) => bytes.len() + 1,
            Append::Body { head, bytes, .. } => head.len() + bytes.len() + 9,
        });
        let need = batch_bytes_bound(own.chain(riders.iter().map(Vec::len)).chain([64]));
        let written = self.make_room(need, class).and_then(|()| self.write_records(records, &riders));
        match written {
            Ok(first) => {
                self.content = self.next - 1;
                Ok(Appended { first, last: self.content })
            }
            Err(problem) => {
                self.checkpoints.put_back(riders);
                Err(problem)
            }
        }
    }

    /// Rolls over to the next segment when `need` bytes and the page that says so do not fit.
    fn make_room(&mut self, need: u64, class: Class) -> Result<(), AppendError> {
        let max = self.active.bytes - DATA_START - PAGE_BYTES;
        if need > max {
            return Err(AppendError::TooLarge { bytes: need, max });
        }
        if self.active.offset + need + PAGE_BYTES <= self.active.bytes {
            return Ok(());
        }
        let spare_needed = u64::from(self.spares.is_empty());
        if class == Class::Event && self.in_reserve(spare_needed) && !bug(Bug::ReserveUsedForEvents) {
            return Err(AppendError::Full);
        }
        self.roll()
    }

    fn roll(&mut self) -> Result<(), AppendError> {
        if self.spares.is_empty() {
            // Failing to make a segment closes admission and breaks nothing (S12).
            self.make_spare();
        }
        if self.spares.is_empty() && !self.leaving.is_empty() {
            // Files that are only waiting for their retire record to be durable make the room.
            self.flush_active().map_err(|problem| self.poison(problem))?;
            self.unlink_retired(&mut Maintained::default());
            self.make_spare();
        }
        let Some(spare) = self.spares.pop_front() else { return Err(AppendError::Full) };
        fail_point!("spool.before-roll");
        let next = spare.header.segment;
        let last = Entry::Continue { next }.encode();
        self.write_batch(&[RecordParts([&last, &[], &[]])])?;
        // The next segment's first batch will call this one durable, so it must be.
        self.flush_active().map_err(|problem| self.poison(problem))?;
        fail_point!("spool.after-roll");
        let previous = Some(Previous { segment: self.active.segment, end: self.active.offset });
        let codec = Codec::new(next, spare.header.salt);
        let info =
            SegmentInfo { codec: codec.clone(), end: DATA_START, rotten: false, live: 0, live_bytes: 0 };
        self.reader.index().segments.insert(next, info);
        self.active = Active {
            segment: next,
            codec,
            bytes: spare.header.segment_bytes,
            file: spare.file,
            offset: DATA_START,
            previous,
            last_page: Vec::new(),
        };
        // With a newer file there that names this one, its loss would be noticed (M29).
        if self.spares.is_empty() && !self.spare_ordered {
            self.make_spare();
        }
        Ok(())
    }

    fn write_records(&mut self, records: &[Append<'_>], riders: &[Vec<u8>]) -> Result<Lsn, AppendError> {
        let prefixes: Vec<([u8; 9], usize)> = records
            .iter()
            .map(|record| match record {
                Append::State(_) => owner_prefix(None, false),
                Append::Body { id, .. } => owner_prefix(Some(*id), false),
            })
            .collect();
        let mut parts: Vec<RecordParts<'_>> = Vec::with_capacity(records.len() + riders.len());
        // Before the records: a checkpoint that begins here does not know them, so they must be replayed.
        parts.extend(riders.iter().map(|rider| RecordParts([rider.as_slice(), &[], &[]])));
        for (record, (prefix, len)) in records.iter().zip(&prefixes) {
            let prefix = prefix.get(..*len).unwrap_or_default();
            parts.push(match *record {
                Append::State(bytes) => RecordParts([prefix, bytes, &[]]),
                Append::Body { head, bytes, .. } => RecordParts([prefix, head, bytes]),
            });
        }
        let written = self.write_batch(&parts)?;
        self.checkpoints.on_written(written.first, riders, self.active.segment);
        let bodies = records.iter().enumerate().filter_map(|(at, record)| match record {
            Append::Body { id, .. } => Some((*id, riders.len() + at)),
            Append::State(_) => None,
        });
        let lengths: Vec<u32> = parts.iter().map(|part| part.len() as u32).collect();
        let mut index = self.reader.index();
        for (id, at) in bodies {
            index.place(id, written.location(at, lengths.get(at).copied().unwrap_or_default()));
        }
        Ok(written.first + riders.len() as u64)
    }

    /// Writes one batch at the end of the active segment. The caller made room.
    fn write_batch(&mut self, records: &[RecordParts<'_>]) -> Result<Written, AppendError> {
        let opening = (self.active.offset == DATA_START)
            .then(|| Entry::Open { run: self.run, previous: self.active.previous }.encode());
        let opening_parts = opening.as_ref().map(|open| RecordParts([open.as_slice(), &[], &[]]));
        let all = opening_parts.into_iter().chain(records.iter().copied());
        let at = self.active.offset;
        let mut vouched = self.durable;
        if bug(Bug::DurableUptoTooHigh) {
            vouched = self.next - 1;
        }
        let batch = self.active.codec.encode(at, self.next, vouched, all);
        fail_point!("spool.before-append");
        let written = if bug(Bug::PartialPageRewritten) && !self.active.last_page.is_empty() {
            let both = [self.active.last_page.as_slice(), batch.bytes.as_slice()].concat();
            write_full(&self.active.file, &both, at - PAGE_BYTES)
        } else {
            write_full(&self.active.file, &batch.bytes, at)
        };
        written.map_err(|problem| self.poison(problem))?;
        fail_point!("spool.after-append");
        if bug(Bug::PartialPageRewritten) {
            let tail = batch.bytes.len() - PAGE_BYTES as usize;
            self.active.last_page = batch.bytes.get(tail..).unwrap_or_default().to_vec();
        }
        let extra = usize::from(opening.is_some());
        let written = Written {
            segment: self.active.segment,
            at,
            first: self.next + extra as u64,
            starts: batch.starts.get(extra..).unwrap_or_default().to_vec(),
        };
        self.next += batch.starts.len() as u64;
        self.vouched = vouched;
        self.active.offset += batch.bytes.len() as u64;
        self.bytes_since_checkpoint += batch.bytes.len() as u64;
        if let Some(info) = self.reader.index().segments.get_mut(&self.active.segment) {
            info.end = self.active.offset;
        }
        Ok(written)
    }

    /// Makes everything appended durable: one `fdatasync`.
    pub fn sync(&mut self) -> Result<Lsn, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if self.durable + 1 < self.next {
            self.flush_active().map_err(|problem| self.poison(problem))?;
        }
        Ok(self.durable)
    }

    fn flush_active(&mut self) -> io::Result<()> {
        if !bug(Bug::NoDataSync) {
            self.active.file.sync_data()?;
        }
        fail_point!("spool.after-sync");
        self.durable = self.next - 1;
        self.checkpoints.on_durable(self.durable);
        Ok(())
    }

    fn poison(&mut self, problem: io::Error) -> AppendError {
        self.poisoned = !bug(Bug::FailedSyncRetried);
        AppendError::Broken(problem)
    }

    /// Whether the disk does not yet say that the last commit was durable (S6).
    pub fn needs_seal(&self) -> bool {
        self.vouched < self.content && self.durable >= self.content && !bug(Bug::NoSeal)
    }

    /// Writes that down, durably, so that rot in the last commit is told from a torn write.
    pub fn seal(&mut self) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if !self.needs_seal() {
            return Ok(());
        }
        let seal = Entry::Seal.encode();
        self.make_room(PAGE_BYTES, Class::Essential)?;
        self.write_batch(&[RecordParts([&seal, &[], &[]])])?;
        self.sync().map(|_| ())
    }

    /// The next run's epoch will be above `epoch` (a higher one of ourselves was heard of).
    pub fn raise_epoch(&mut self, epoch: u64) -> Result<Lsn, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        self.write_waiting_begin()?;
        self.epoch_floor = self.epoch_floor.max(epoch);
        let entry = Entry::EpochFloor(self.epoch_floor).encode();
        self.make_room(PAGE_BYTES, Class::Essential)?;
        self.write_batch(&[RecordParts([&entry, &[], &[]])])?;
        self.content = self.next - 1;
        Ok(self.content)
    }

    /// The body's bytes are needed no more. Say so to the log's owner's own records first: this is not written.
    pub fn release(&mut self, id: u64) {
        self.reader.index().release(id);
    }

    /// After replay: releases every body that the owner does not know to be live. Gives those it wants to keep and
    /// that are lost, because their segment is.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) -> Vec<u64> {
        let mut index = self.reader.index();
        index.retain(&mut keep);
        let lost = index.bodies.iter().filter(|(_, at)| !index.segments.contains_key(&at.segment));
        let mut lost: Vec<u64> = lost.map(|(id, _)| id).collect();
        lost.sort_unstable();
        lost.iter().for_each(|id| index.release(*id));
        lost
    }

    fn spare_job(&mut self) -> SpareJob<V> {
        let salt = if bug(Bug::ConstantSalt) { [0; 32] } else { (self.entropy)() };
        let header = Header {
            version: VERSION,
            spool: self.spool,
            segment: self.newest_segment + 1,
            previous: self.newest_segment,
            segment_bytes: self.options.segment_bytes,
            run: self.run,
            salt,
        };
        self.newest_segment = header.segment;
        SpareJob { vfs: self.vfs.clone(), header }
    }

    /// Makes a spare now; when that fails, admission closes until it succeeds.
    pub(crate) fn make_spare(&mut self) {
        let before = self.newest_segment;
        match self.spare_job().run() {
            Ok(spare) => {
                self.spares.push_back(spare);
                self.spare_refused = false;
            }
            Err(_) => {
                self.newest_segment = before;
                self.spare_refused = true;
            }
        }
        self.look_at_disk();
    }

    /// The page after the last batch, and what names it; for tests that forge.
    #[cfg(feature = "seeded-bugs")]
    pub fn position(&self) -> (u64, u64, Lsn) {
        (self.active.segment, self.active.offset, self.next)
    }

    /// The file that is being written; for tests that damage it.
    #[cfg(feature = "sim")]
    pub fn active_file(&self) -> String {
        segment::name(self.active.segment)
    }
}

/// Where a batch went.
#[derive(Debug)]
struct Written {
    segment: u64,
    at: u64,
    first: Lsn,
    starts: Vec<u32>,
}

impl Written {
    fn location(&self, record: usize, len: u32) -> Location {
        let start = self.starts.get(record).copied().unwrap_or_default();
        Location { segment: self.segment, offset: self.at + u64::from(start), len }
    }
}
