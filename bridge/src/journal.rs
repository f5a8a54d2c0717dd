//! The one thread that writes the spool: group commit, seals, checkpoints, maintenance (RELIABILITY S5, S6, S11).
//!
//! ```text
//!  core ─► Append, Release, Checkpoint ─► thread: all that waits is one batch ─► fdatasync ─► committed ticket ─► watch
//! ```
//!
//! The next batch closes when the flush in flight returns, so a lone publisher waits for one flush and a crowd shares
//! it. When the disk fails, nothing more is acknowledged: the process ends with its own exit code and the next start
//! decides what is there (S12).

mod open;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{Append, Record, Ticket};
use meshbridge_spool::vfs::RealVfs;
use meshbridge_spool::{Append as LogAppend, AppendError, BodyReader, Class, Log, Spare};
use tokio::sync::watch;
use tracing::{error, warn};

pub(crate) use open::{open, report};

/// Exit code of a bridge whose spool can no longer be written.
pub(crate) const EXIT_SPOOL: u8 = 6;
/// Bytes of one batch, about (S5).
const BATCH_BYTES: usize = 1 << 20;
/// What a record costs beside the event's bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// Bytes that wait for the thread; beyond them nothing more is admitted.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// The last commit is confirmed on the disk after so much quiet (S6).
const SEAL_AFTER: Duration = Duration::from_millis(100);
/// How often space is looked after, and how much is moved each time.
const MAINTAIN_EVERY: Duration = Duration::from_millis(250);
const MAINTAIN_BYTES: u64 = 4 << 20;
/// Bytes of log after which a checkpoint is due, at least; it also waits for four times its own size.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Cold segments are read again at about 10 MB/s.
const SCRUB_BYTES_PER_SECOND: u64 = 10 << 20;

type Spool = Log<RealVfs>;

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
    queued_bytes: AtomicUsize,
    admits: AtomicBool,
    committed: watch::Sender<Ticket>,
    wants_checkpoint: AtomicBool,
    segments: AtomicU64,
    segments_max: u64,
    live_bytes: AtomicU64,
    /// Microseconds of the last flush.
    flush_us: AtomicU64,
    damaged: AtomicBool,
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Journal {
    jobs: Sender<Job>,
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
    pub(crate) fn start(log: Spool, segments_max: u64, damaged: bool) -> Journal {
        let (jobs, queue) = channel();
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            admits: AtomicBool::new(log.admits_events()),
            committed: watch::Sender::new(0),
            wants_checkpoint: AtomicBool::new(true),
            segments: AtomicU64::new(log.segments()),
            segments_max,
            live_bytes: AtomicU64::new(log.live_bytes()),
            flush_us: AtomicU64::new(0),
            damaged: AtomicBool::new(damaged),
        });
        let reader = log.reader();
        let (spares, made) = channel();
        let writer = Writer {
            log,
            shared: Arc::clone(&shared),
            spares,
            made,
            refused: None,
            checkpoint_bytes: 0,
            maintained: Instant::now(),
            scrubbed: Instant::now(),
            scrub_after: 0,
        };
        thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                // A bridge without this thread would answer nobody and say nothing.
                if catch_unwind(AssertUnwindSafe(|| writer.run(&queue))).is_err() {
                    error!("The spool's thread has failed");
                    exit_now();
                }
            })
            .expect("a thread can be started");
        Journal { jobs, shared, reader }
    }

    /// Queues a batch. The order of calls is the order in the log.
    pub(crate) fn append(&self, append: Append) {
        self.shared.queued_bytes.fetch_add(size_of(&append), Ordering::Relaxed);
        let _ = self.jobs.send(Job::Append(append));
    }

    /// The bytes of an event are needed no more, by a record that was appended before.
    pub(crate) fn release(&self, body: u64) {
        let _ = self.jobs.send(Job::Release(body));
    }

    /// The state as of everything appended so far.
    pub(crate) fn checkpoint(&self, parts: Vec<Vec<u8>>) {
        let _ = self.jobs.send(Job::Checkpoint(parts));
    }

    /// `true` once for each time that a checkpoint is due.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.shared.wants_checkpoint.swap(false, Ordering::Relaxed)
    }

    /// Whether an event may be taken now.
    pub(crate) fn admits(&self) -> bool {
        self.shared.admits.load(Ordering::Relaxed)
            && self.shared.queued_bytes.load(Ordering::Relaxed) < QUEUE_BYTES_MAX
    }

    pub(crate) fn committed(&self) -> watch::Receiver<Ticket> {
        self.shared.committed.subscribe()
    }

    /// The next run will be above `epoch`; durable when this returns.
    pub(crate) fn raise_epoch(&self, epoch: u64) {
        let (done, wait) = sync_channel(1);
        let _ = self.jobs.send(Job::RaiseEpoch { epoch, done });
        let _ = wait.recv();
    }

    /// Writes out what is queued and ends the thread.
    pub(crate) fn stop(&self) {
        let (done, wait) = sync_channel(1);
        let _ = self.jobs.send(Job::Stop { done });
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
            queued_bytes: shared.queued_bytes.load(Ordering::Relaxed),
            flush: Duration::from_micros(shared.flush_us.load(Ordering::Relaxed)),
            admits: self.admits(),
            damaged: shared.damaged.load(Ordering::Relaxed),
        }
    }
}

fn size_of(append: &Append) -> usize {
    append.records.iter().map(|(_, payload)| payload.len() + RECORD_OVERHEAD_BYTES).sum()
}

fn give_up(problem: &AppendError) -> ! {
    error!(%problem, "The spool cannot be written any more; the bridge ends, and what it acknowledged is on the disk");
    exit_now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing may be acknowledged, sent or written after this (S12)"
)]
fn exit_now() -> ! {
    std::process::exit(i32::from(EXIT_SPOOL))
}

struct Writer {
    log: Spool,
    shared: Arc<Shared>,
    spares: Sender<std::io::Result<Spare<std::fs::File>>>,
    made: Receiver<std::io::Result<Spare<std::fs::File>>>,
    /// When the making of a file failed last; none since one was made.
    refused: Option<Instant>,
    /// Of the last checkpoint.
    checkpoint_bytes: u64,
    maintained: Instant,
    scrubbed: Instant,
    scrub_after: u64,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let pause = if self.log.needs_seal() { SEAL_AFTER } else { MAINTAIN_EVERY };
            let worked = match queue.recv_timeout(pause) {
                Ok(job) => self.round(job, queue),
                Err(RecvTimeoutError::Timeout) => self.idle().map(|()| true),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match worked.and_then(|goes_on| self.look_after().map(|()| goes_on)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => give_up(&problem),
            }
        }
    }

    /// Everything that waits, up to the size of a batch, and one flush.
    fn round(&mut self, first: Job, queue: &Receiver<Job>) -> Result<bool, AppendError> {
        let mut next = Some(first);
        let mut appends: Vec<Append> = Vec::new();
        let mut releases = Vec::new();
        let mut answers = Vec::new();
        let (mut bytes, mut goes_on, mut last) = (0, true, None);
        while let Some(job) = next.take() {
            match job {
                Job::Append(append) => {
                    bytes += size_of(&append);
                    last = Some(append.ticket);
                    appends.push(append);
                }
                Job::Release(body) => releases.push(body),
                Job::Checkpoint(parts) => {
                    self.append(&appends)?;
                    appends.clear();
                    self.checkpoint_bytes = parts.iter().map(|part| part.len() as u64).sum();
                    self.log.begin_checkpoint(parts);
                }
                Job::RaiseEpoch { epoch, done } => {
                    self.log.raise_epoch(epoch)?;
                    answers.push(done);
                }
                Job::Stop { done } => {
                    answers.push(done);
                    goes_on = false;
                }
            }
            if bytes < BATCH_BYTES && goes_on {
                next = queue.try_recv().ok();
            }
        }
        self.append(&appends)?;
        let started = Instant::now();
        self.log.sync()?;
        if last.is_some() {
            self.shared.flush_us.store(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        releases.into_iter().for_each(|body| self.log.release(body));
        if let Some(last) = last {
            self.shared.committed.send_replace(last);
        } else if self.log.checkpoint_under_way() {
            self.log.append(Class::Essential, &[])?;
        }
        if !goes_on && self.log.needs_seal() {
            self.log.seal()?;
        }
        for done in answers {
            let _ = done.send(());
        }
        Ok(goes_on)
    }

    /// Writes what the batches hold, in pieces that any segment has room for. A crash between two pieces leaves whole
    /// records, each true by itself: what must agree is in one of them.
    fn append(&mut self, appends: &[Append]) -> Result<(), AppendError> {
        let all: Vec<&(Record, Bytes)> = appends.iter().flat_map(|append| &append.records).collect();
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(_, payload)| {
                bytes += payload.len() + RECORD_OVERHEAD_BYTES;
                bytes <= BATCH_BYTES
            });
            let (piece, others) = rest.split_at(fits.count().max(1));
            self.append_piece(piece)?;
            rest = others;
        }
        Ok(())
    }

    fn append_piece(&mut self, piece: &[&(Record, Bytes)]) -> Result<(), AppendError> {
        let heads: Vec<Vec<u8>> = piece.iter().map(|(record, _)| record.encode()).collect();
        let records: Vec<LogAppend<'_>> = piece
            .iter()
            .zip(&heads)
            .map(|((record, payload), head)| match record.body() {
                Some(id) => LogAppend::Body { id, head, bytes: payload },
                None => LogAppend::State(head),
            })
            .collect();
        self.take_spares();
        // The queue was admitted while there was room; what is in it may use the reserve rather than be lost.
        self.log.append(Class::Essential, &records).map(|_| ())
    }

    fn take_spares(&mut self) {
        while let Ok(made) = self.made.try_recv() {
            self.add_spare(made);
        }
        if self.log.awaits_spare()
            && let Ok(made) = self.made.recv()
        {
            self.add_spare(made);
        }
    }

    fn add_spare(&mut self, made: std::io::Result<Spare<std::fs::File>>) {
        match &made {
            Ok(_) => self.refused = None,
            Err(problem) => {
                if self.refused.replace(Instant::now()).is_none() {
                    warn!(%problem, "No further file of the spool can be made; events are refused until it succeeds");
                }
            }
        }
        self.log.add_spare(made);
    }

    fn idle(&mut self) -> Result<(), AppendError> {
        if self.log.checkpoint_under_way() {
            self.log.append(Class::Essential, &[])?;
            self.log.sync()?;
        } else if self.log.needs_seal() {
            self.log.seal()?;
        }
        Ok(())
    }

    /// Space, spares, checkpoints and the scrubber; cheap when there is nothing to do.
    fn look_after(&mut self) -> Result<(), AppendError> {
        self.order_spare();
        let due = self.log.bytes_since_checkpoint() > CHECKPOINT_BYTES.max(4 * self.checkpoint_bytes);
        let tight =
            self.log.is_tight() && self.log.bytes_since_checkpoint() > self.checkpoint_bytes.max(1 << 20);
        if (due || tight) && !self.log.checkpoint_under_way() {
            self.shared.wants_checkpoint.store(true, Ordering::Relaxed);
        }
        if self.maintained.elapsed() >= MAINTAIN_EVERY {
            self.maintained = Instant::now();
            let done = self.log.maintain(MAINTAIN_BYTES)?;
            if !done.lost.is_empty() {
                error!(
                    events = done.lost.len(),
                    "Events that were kept for somebody could not be read any more"
                );
                self.shared.damaged.store(true, Ordering::Relaxed);
            }
            if done.moved + done.retired > 0 {
                self.log.sync()?;
            }
        }
        self.scrub()?;
        self.shared.admits.store(self.log.admits_events(), Ordering::Relaxed);
        self.shared.segments.store(self.log.segments(), Ordering::Relaxed);
        self.shared.live_bytes.store(self.log.live_bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn order_spare(&mut self) {
        self.take_spares_made();
        // A full disk does not get room by being asked at every commit.
        if self.refused.is_some_and(|at| at.elapsed() < MAINTAIN_EVERY) {
            return;
        }
        if let Some(job) = self.log.order_spare() {
            let spares = self.spares.clone();
            thread::spawn(move || {
                let _ = spares.send(job.run());
            });
        }
    }

    fn take_spares_made(&mut self) {
        while let Ok(made) = self.made.try_recv() {
            self.add_spare(made);
        }
    }

    fn scrub(&mut self) -> Result<(), AppendError> {
        let pace = Duration::from_secs((64 << 20) / SCRUB_BYTES_PER_SECOND);
        if self.scrubbed.elapsed() < pace || self.shared.queued_bytes.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        self.scrubbed = Instant::now();
        match self.log.scrub(self.scrub_after)? {
            None => self.scrub_after = 0,
            Some(scrubbed) => {
                self.scrub_after = scrubbed.segment;
                if scrubbed.damaged {
                    error!(
                        segment = scrubbed.segment,
                        "A file of the spool has rotted; what can be read is rescued"
                    );
                    self.shared.damaged.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}
