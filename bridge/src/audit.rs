//! The decision log: who decided what about which event, by which rule, chained so that nobody edits it unseen.
//!
//! ```text
//!  pipeline ─► record ─► sampled? ─► encode ─► queue (bytes bounded) ─► thread: chain, write ─► fdatasync ─► checkpoint
//! ```
//!
//! Never a value of a payload. Plain permits are sampled; denials, and permits that edited the event, or that a waiver or
//! a warning touched, are always kept. An unsampled permit costs one hash of its id: nothing is encoded, locked or allocated.
//! What went on and has to be kept is gathered first: decisions that differ in their events' ids only become one record
//! that counts them (`gather.rs`). Denials never are.
//!
//! **Full.** The queue holds [`QUEUE_BYTES_MAX`]. Permits may take half of it and are lost, counted, beyond that. The
//! other half is for what must be kept; [`AuditLog::has_room`] is false from the half on, and a pipeline that asks
//! before it admits events loses no denial. One that does not ask loses them counted: the chain itself says how many
//! records are missing, at the place where they are missing, and the figures say so at once. A full disk is retried
//! and is the same as a full queue; a disk that fails ends the log, for what a failed flush leaves behind is unknown.
//!
//! **Trust.** The chain has no secret, so who can rewrite all of it can make another one. What they cannot do is end up
//! at a hash that somebody wrote down elsewhere: keep the checkpoint ([`Figures::durable`], the last line of `audit
//! export`) outside this machine, and give it to `audit verify`.
//!
//! One thread, started by [`AuditLog::open`] and joined by [`AuditLog::close`]. The layout of the files is in
//! `format.rs`, what happens at a start in `open.rs`, and what is checked in `walk.rs`.

mod format;
mod gather;
mod ids;
mod note;
mod open;
mod queue;
mod reader;
mod record;
mod segment;
mod walk;
mod watch;
mod writer;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use format::Checkpoint;
pub(crate) use gather::EventSought;
pub(crate) use ids::Ids;
pub(crate) use open::OpenAuditError;
pub(crate) use queue::{Figures, QUEUE_BYTES_MAX, State};
pub(crate) use record::{EventName, Finding, Record, Redact, Rule, Ruling, Verdict};
pub(crate) use walk::{Broken, Entry, Report, WalkError, walk};
pub(crate) use watch::AuditWatch;

use note::Note;
use queue::Queue;
use writer::Writer;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// A segment is closed when the next record would make it larger; at least 1 KiB. A record that is larger than that
    /// has a segment to itself.
    pub(crate) segment_bytes: u64,
    /// The oldest whole segments go when there are more; at least 2.
    pub(crate) segments_max: u64,
    /// What is written is on the disk so much later at the latest; what is gathered is written 50 ms later at the latest.
    pub(crate) sync_every: Duration,
    /// One permit in so many is kept; 0 for none, 1 for all.
    pub(crate) permits_per_sample: u32,
    /// Nothing is published while a decision might be lost.
    pub(crate) is_required: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 16 << 20,
            segments_max: 64,
            sync_every: Duration::from_millis(100),
            permits_per_sample: 1_000,
            is_required: false,
        }
    }
}

/// What became of a record that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It will be in the chain.
    Kept,
    /// A permit that was not chosen.
    NotSampled,
    /// The queue was full, or the log has failed; it is counted.
    Lost,
}

/// The decision log of one bridge.
pub(crate) struct AuditLog {
    queue: Arc<Queue>,
    permits_per_sample: u32,
    is_required: bool,
    /// The same event is chosen in each context, and no publisher can tell beforehand which.
    sampler: RandomState,
    redact: Redact,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("figures", &self.figures()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Goes on with the chain in `directory`, or begins one. `redact` names the class of a text that is itself
    /// personal data; ids, names and paths that come from outside pass it.
    pub(crate) fn open(
        directory: &Path,
        options: Options,
        redact: Redact,
    ) -> Result<AuditLog, OpenAuditError> {
        let queue = Arc::new(Queue::default());
        let writer = Writer::open(directory, options, Arc::clone(&queue), redact.clone())?;
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenAuditError::Unusable { path: directory.to_owned(), source })?;
        let (permits_per_sample, sampler) = (options.permits_per_sample, RandomState::new());
        let (is_required, thread) = (options.is_required, Mutex::new(Some(thread)));
        Ok(AuditLog { queue, permits_per_sample, is_required, sampler, redact, thread })
    }

    /// Never waits.
    pub(crate) fn record(&self, record: &Record<'_>) -> Recorded {
        let must_keep = record.must_be_kept();
        if !must_keep && !record.event.is_some_and(|event| self.is_sampled(&event)) {
            self.queue.count_unsampled(1);
            return Recorded::NotSampled;
        }
        if !self.queue.might_take(must_keep) {
            self.queue.count_lost(must_keep);
            return Recorded::Lost;
        }
        let taken = match &record.event {
            Some(event) if must_keep && gather::is_gathered(record) && !self.redact.is_private(event.id) => {
                let (kind, hash) = (gather::kind_of(record, &self.sampler), gather::hash_of_id(event.id));
                self.queue.gather(kind, record, event, [(event.id, hash)]) == 0
            }
            _ => self.queue.push(record.encode(&self.redact), must_keep),
        };
        match taken {
            true => Recorded::Kept,
            false => Recorded::Lost,
        }
    }

    /// Decisions that differ in their events' ids only, and have to be kept. `record` is that of any of them, and its cost
    /// that of all. Never waits.
    pub(crate) fn record_all(&self, record: &Record<'_>, ids: &Ids) {
        let Some(event) = &record.event else { return };
        debug_assert!(record.must_be_kept() && gather::is_gathered(record), "{record:?}");
        let cost = record.cost / (ids.len() as u64).max(1);
        let record = Record { cost, ..*record };
        let (private, plain): (Vec<&str>, Vec<&str>) = ids.iter().partition(|id| self.redact.is_private(id));
        if self.queue.might_take(true) {
            let hashed = plain.into_iter().map(|id| (id, gather::hash_of_id(id)));
            self.queue.gather(gather::kind_of(&record, &self.sampler), &record, event, hashed);
        } else {
            plain.iter().for_each(|_| self.queue.count_lost(true));
        }
        for id in private {
            self.record(&Record { event: Some(EventName { id, ..*event }), ..record });
        }
    }

    /// Permits of events that differ in their ids only: each is sampled for itself. Never waits.
    pub(crate) fn record_permits<'i>(&self, record: &Record<'_>, ids: impl Iterator<Item = &'i str>) {
        let Some(event) = &record.event else { return };
        debug_assert!(!record.must_be_kept(), "{record:?}");
        let mut unsampled = 0;
        for id in ids {
            let event = EventName { id, ..*event };
            if self.is_sampled(&event) {
                self.record(&Record { event: Some(event), ..*record });
            } else {
                unsampled += 1;
            }
        }
        self.queue.count_unsampled(unsampled);
    }

    /// Which policies all later decisions rest on. Always kept, as denials are.
    pub(crate) fn note_policies(&self, generation: u64, digest: &[u8; 32], bundles: Vec<String>) {
        let (time, digest) = (note::now_text(), format::hex(digest));
        self.queue.close_windows();
        self.queue.push(Note::Policies { time, generation, digest, bundles }.encode(), true);
    }

    /// Whether a decision made now will certainly be kept, if few are made before the next question.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    /// Whether events may be published: always, unless the log is required and has no room.
    pub(crate) fn admits(&self) -> bool {
        !self.is_required || self.has_room()
    }

    /// For metrics and views.
    pub(crate) fn figures(&self) -> Figures {
        self.queue.figures()
    }

    /// Waits until all that was recorded before is on the disk. `false` when that takes longer than `patience`.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        self.queue.flush(patience)
    }

    /// Writes what is queued, notes the end in the chain and joins the thread. What is recorded later is lost.
    pub(crate) fn close(&self) {
        self.queue.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread is in the figures as a failed log.
            let _ = thread.join();
        }
    }

    fn is_sampled(&self, event: &EventName<'_>) -> bool {
        match self.permits_per_sample {
            0 => false,
            every => self.sampler.hash_one((event.id, event.source)).is_multiple_of(u64::from(every)),
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// The log below a data directory, or the directory itself.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    let inside = path.join(DIRECTORY);
    if inside.is_dir() { inside } else { path.to_owned() }
}

/// Where a bridge keeps its log, below its data directory.
pub(crate) const DIRECTORY: &str = "audit";

/// The numbers of the segments in a directory, in order. Other files are no business of the log.
fn segment_numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(format::segment_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
