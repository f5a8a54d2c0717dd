//! The one thread that writes the spool: group commit, seals, checkpoints, maintenance (RELIABILITY S5, S6, S11).
//!
//! ```text
//!  core ─► Append, Release, Checkpoint ─► thread: all that waits is one batch ─► fdatasync ─► committed ticket ─► watch
//! ```
//!
//! The next batch closes when the flush in flight returns, so a lone publisher waits for one flush and a crowd shares
//! it. When the disk fails, nothing more is acknowledged: the process ends with its own exit code and the next start
//! decides what is there (S12).

mod damage;
mod open;
mod queue;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use meshbridge_delivery::{Append, Record, Ticket};
use meshbridge_spool::vfs::RealVfs;
use meshbridge_spool::{BodyReader, Log};
use tokio::sync::watch;

pub(crate) use damage::DamageList;
pub(crate) use open::{open, report};
use queue::{Bounds, Queue};

/// Exit code of a bridge whose spool can no longer be written.
pub(crate) const EXIT_SPOOL: u8 = 6;
/// What a record costs beside the event's bytes and messages of routing, about.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// What may wait for the thread. A lone event is a job, so the jobs allow for 64 MiB of events of 1 KiB; what is in
/// reserve above that takes the acknowledgements, ends and releases that were on their way.
const QUEUE: Bounds =
    Bounds { jobs_admit: 64 << 10, bytes_admit: 64 << 20, jobs_max: 96 << 10, bytes_max: 96 << 20 };

type Spool = Log<RealVfs>;

#[derive(Debug)]
enum Job {
    Append(Append),
    Release(u64),
    Checkpoint(Vec<Vec<u8>>),
    RaiseEpoch { epoch: u64, done: SyncSender<()> },
    Stop { done: SyncSender<()> },
}

/// What others may know of the thread.
#[derive(Debug)]
struct Shared {
    queue: Queue<Job>,
    admits: AtomicBool,
    committed: watch::Sender<Ticket>,
    wants_checkpoint: AtomicBool,
    segments: AtomicU64,
    segments_max: u64,
    live_bytes: AtomicU64,
    /// Microseconds of the last flush.
    flush_us: AtomicU64,
    damage: DamageList,
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    reader: BodyReader<RealVfs>,
}

/// Figures for metrics and views.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalFigures {
    pub(crate) segments: u64,
    pub(crate) segments_max: u64,
    pub(crate) live_bytes: u64,
    pub(crate) queued_bytes: usize,
    pub(crate) flush: Duration,
    pub(crate) admits: bool,
    pub(crate) damaged: bool,
}

impl Journal {
    /// Starts the thread. It ends with [`Journal::stop`], or takes the process with it when the disk fails.
    pub(crate) fn start(log: Spool, segments_max: u64, damage: DamageList) -> Journal {
        // S13: what was admitted before the disk ran low must fit into the four segments that are free then.
        let within = usize::try_from(2 * log.segment_bytes()).unwrap_or(usize::MAX);
        let bytes_admit = QUEUE.bytes_admit.min(within);
        let bounds = Bounds { bytes_admit, bytes_max: QUEUE.bytes_max.min(within / 2 * 3), ..QUEUE };
        Journal::start_bounded(log, segments_max, damage, bounds)
    }

    /// With room for almost nothing, so that tests meet a full queue at every turn.
    #[cfg(test)]
    pub(crate) fn start_narrow(log: Spool, segments_max: u64, damage: DamageList) -> Journal {
        let bounds = Bounds { jobs_admit: 2, bytes_admit: 1_000, jobs_max: 3, bytes_max: 1_500 };
        Journal::start_bounded(log, segments_max, damage, bounds)
    }

    fn start_bounded(log: Spool, segments_max: u64, damage: DamageList, bounds: Bounds) -> Journal {
        let shared = Arc::new(Shared {
            queue: Queue::new(bounds),
            admits: AtomicBool::new(log.admits_events()),
            committed: watch::Sender::new(0),
            wants_checkpoint: AtomicBool::new(true),
            segments: AtomicU64::new(log.segments()),
            segments_max,
            live_bytes: AtomicU64::new(log.live_bytes()),
            flush_us: AtomicU64::new(0),
            damage,
        });
        let reader = log.reader();
        writer::start(log, Arc::clone(&shared));
        Journal { shared, reader }
    }

    /// Queues a batch. The order of calls is the order in the log. Where the queue is full, this waits for the disk.
    pub(crate) fn append(&self, append: Append) {
        let bytes = size_of(&append);
        self.shared.queue.push(Job::Append(append), bytes);
    }

    /// The bytes of an event are needed no more, by a record that was appended before.
    pub(crate) fn release(&self, body: u64) {
        self.shared.queue.push(Job::Release(body), 0);
    }

    /// The state as of everything appended so far.
    pub(crate) fn checkpoint(&self, parts: Vec<Vec<u8>>) {
        let bytes = parts.iter().map(Vec::len).sum();
        self.shared.queue.push(Job::Checkpoint(parts), bytes);
    }

    /// `true` once for each time that a checkpoint is due.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.shared.wants_checkpoint.swap(false, Ordering::Relaxed)
    }

    /// Whether an event may be taken now.
    pub(crate) fn admits(&self) -> bool {
        self.shared.admits.load(Ordering::Relaxed) && self.has_room()
    }

    /// Whether the thread keeps up. Unlike [`Journal::admits`] this says nothing about room on the disk: what lets space
    /// come back may always be appended.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.queue.has_room()
    }

    pub(crate) fn committed(&self) -> watch::Receiver<Ticket> {
        self.shared.committed.subscribe()
    }

    /// The next run will be above `epoch`; durable when this returns.
    pub(crate) fn raise_epoch(&self, epoch: u64) {
        let (done, wait) = sync_channel(1);
        self.shared.queue.push(Job::RaiseEpoch { epoch, done }, 0);
        let _ = wait.recv();
    }

    /// Writes out what is queued and ends the thread.
    pub(crate) fn stop(&self) {
        let (done, wait) = sync_channel(1);
        self.shared.queue.push(Job::Stop { done }, 0);
        let _ = wait.recv();
    }

    /// The record and bytes of an event. Reads the disk.
    pub(crate) fn read(&self, body: u64) -> Result<Vec<u8>, meshbridge_spool::ReadError> {
        self.reader.read(body)
    }

    pub(crate) fn figures(&self) -> JournalFigures {
        let shared = &self.shared;
        JournalFigures {
            segments: shared.segments.load(Ordering::Relaxed),
            segments_max: shared.segments_max,
            live_bytes: shared.live_bytes.load(Ordering::Relaxed),
            queued_bytes: shared.queue.bytes(),
            flush: Duration::from_micros(shared.flush_us.load(Ordering::Relaxed)),
            admits: self.admits(),
            damaged: shared.damage.is_open(),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

fn size_of(append: &Append) -> usize {
    append.records.iter().map(record_bytes).sum()
}

/// What a record takes in the log, about.
fn record_bytes((record, payload): &(Record, Bytes)) -> usize {
    record.message_bytes() + payload.len() + RECORD_OVERHEAD_BYTES
}
