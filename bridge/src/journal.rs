//! The one thread that writes the spool: group commit, seals, checkpoints, maintenance (RELIABILITY S5, S6, S11).
//!
//! ```text
//!  core ─► Append, Release, Checkpoint ─► thread: all that waits is one batch ─► fdatasync ─► committed ticket ─► watch
//! ```
//!
//! The next batch closes when the flush in flight returns, so a lone publisher waits for one flush and a crowd shares
//! it. When the disk fails, nothing more is acknowledged: the process ends with its own exit code and the next start
//! decides what is there (S12).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use meshbridge_delivery::{Append, Record, State, Ticket};
use meshbridge_routing::BridgeId;
use meshbridge_spool::vfs::RealVfs;
use meshbridge_spool::{
    Append as LogAppend, AppendError, BodyReader, Class, Damage, Log, OpenError, Options, Recovered, Replay,
    Spare,
};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::SpoolSettings;

/// Exit code of a bridge whose spool can no longer be written.
pub(crate) const EXIT_SPOOL: u8 = 6;
/// Bytes of one batch, about (S5).
const BATCH_BYTES: usize = 1 << 20;
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

/// What a start found.
pub(crate) struct Opened {
    pub(crate) log: Spool,
    pub(crate) state: State,
    pub(crate) recovered: Recovered,
    /// Bodies that are wanted and lost.
    pub(crate) lost: Vec<u64>,
}

/// Opens the spool in `directory` and folds what it holds.
pub(crate) fn open(
    directory: &Path,
    settings: SpoolSettings,
    own: &BridgeId,
    accept_missing: bool,
) -> anyhow::Result<Opened> {
    let vfs = RealVfs::new(directory).with_context(|| format!("cannot use `{}`", directory.display()))?;
    let options = Options {
        segment_bytes: settings.segment_bytes,
        segments_max: settings.segments_max,
        first_epoch: now_seconds(),
        accept_missing,
        ..Options::default()
    };
    let mut state = State::new(own.clone());
    let mut unreadable = 0_u64;
    let mut effects = Vec::new();
    let opened = Log::open(vfs, options, Box::new(rand::random), |item| {
        let read = match item {
            Replay::Part(part) => state.apply_part(part),
            Replay::State { bytes, .. } | Replay::Body { bytes, .. } => {
                Record::decode(bytes).map(|(record, _)| {
                    state.apply(&record, &mut effects);
                    effects.clear();
                })
            }
            Replay::Lost { .. } => Ok(()),
        };
        unreadable += u64::from(read.is_err());
    });
    let (mut log, recovered) = opened.map_err(|problem| explain(directory, problem))?;
    if unreadable > 0 {
        warn!(records = unreadable, "Records of the spool make no sense to this version and were left out");
    }
    let lost = log.retain(|body| state.events.contains_key(&body));
    Ok(Opened { log, state, recovered, lost })
}

/// A new disk under an old name counts from here: above all the runs of the disk it replaces, which began at an earlier
/// time and counted its starts.
fn now_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs().max(1))
}

fn explain(directory: &Path, problem: OpenError) -> anyhow::Error {
    let shown = directory.display();
    let hint = match &problem {
        OpenError::InUse => " (another bridge runs on this data directory)".to_owned(),
        OpenError::Missing(_) => format!(
            ": look at `meshbridge spool verify {shown}`; put the files back, or accept what is lost with `meshbridge run --accept-missing`"
        ),
        _ => String::new(),
    };
    anyhow::Error::new(problem).context(format!("cannot open the spool in `{shown}`{hint}"))
}

/// Says what recovery found, loudly where it is damage.
pub(crate) fn report(recovered: &Recovered, lost: &[u64]) -> bool {
    if let Some(first) = recovered.torn {
        info!(first, "The last write before the stop was cut short; it had not been acknowledged");
    }
    for Damage { segment, first, last, salvaged } in &recovered.damage {
        error!(segment, first, last, salvaged, "The spool is damaged: these records were durable once");
    }
    if !recovered.missing.is_empty() {
        error!(segments = ?recovered.missing, "Files of the spool are missing, and this was accepted");
    }
    if !lost.is_empty() {
        error!(events = lost.len(), "Events that were kept for somebody are lost with a damaged file");
    }
    !recovered.damage.is_empty() || !recovered.missing.is_empty() || !lost.is_empty()
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
            checkpoint_bytes: 0,
            maintained: Instant::now(),
            scrubbed: Instant::now(),
            scrub_after: 0,
        };
        thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run(&queue))
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
    append.records.iter().map(|(_, payload)| payload.len() + 128).sum()
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing may be acknowledged, sent or written after this (S12)"
)]
fn give_up(problem: &AppendError) -> ! {
    error!(%problem, "The spool cannot be written any more; the bridge ends, and what it acknowledged is on the disk");
    std::process::exit(i32::from(EXIT_SPOOL))
}

struct Writer {
    log: Spool,
    shared: Arc<Shared>,
    spares: Sender<std::io::Result<Spare<std::fs::File>>>,
    made: Receiver<std::io::Result<Spare<std::fs::File>>>,
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

    fn append(&mut self, appends: &[Append]) -> Result<(), AppendError> {
        let all = appends.iter().flat_map(|append| &append.records);
        let heads: Vec<Vec<u8>> = all.clone().map(|(record, _)| record.encode()).collect();
        let records: Vec<LogAppend<'_>> = all
            .zip(&heads)
            .map(|((record, payload), head)| match record.body() {
                Some(id) => LogAppend::Body { id, head, bytes: payload },
                None => LogAppend::State(head),
            })
            .collect();
        if records.is_empty() {
            return Ok(());
        }
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
        if let Err(problem) = &made {
            warn!(%problem, "No further file of the spool can be made; events are refused until it succeeds");
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
