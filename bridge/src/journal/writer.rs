//! The thread itself: rounds of group commit, and what is done between them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{Append, Record};
use meshbridge_spool::{Append as LogAppend, AppendError, Class, Scrubbed, Spare};
use tracing::{error, warn};

use super::queue::Next;
use super::{EXIT_SPOOL, Job, Shared, Spool, record_bytes, size_of};

/// Bytes of one batch, about (S5).
const BATCH_BYTES: usize = 1 << 20;
/// Jobs of one round: those that have no bytes must end it too.
const ROUND_JOBS: usize = 16 << 10;
/// The last commit is confirmed on the disk after so much quiet (S6).
const SEAL_AFTER: Duration = Duration::from_millis(100);
/// How often space is looked after, and how much is moved each time.
const MAINTAIN_EVERY: Duration = Duration::from_millis(250);
const MAINTAIN_BYTES: u64 = 4 << 20;
/// Bytes of log after which a checkpoint is due, at least; it also waits for four times its own size.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Cold segments are read again at about 10 MB/s, so much between two commits.
const SCRUB_BYTES: u64 = 256 << 10;
const SCRUB_EVERY: Duration = Duration::from_millis(25);
/// After a round of all segments, the scrubber rests.
const SCRUB_REST: Duration = Duration::from_secs(6);

/// Starts the thread. It ends when the queue is closed or a [`Job::Stop`] was done.
pub(super) fn start(log: Spool, shared: Arc<Shared>) {
    let (spares, made) = channel();
    let writer = Writer {
        log,
        shared: Arc::clone(&shared),
        spares,
        made,
        refused: None,
        checkpoint_bytes: 0,
        maintained: Instant::now(),
        scrub_at: Instant::now() + SCRUB_REST,
    };
    thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || {
            // A bridge without this thread would answer nobody and say nothing.
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                error!("The spool's thread has failed");
                exit_now();
            }
            shared.queue.end();
        })
        .expect("a thread can be started");
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
    /// When the scrubber reads its next piece.
    scrub_at: Instant,
}

impl Writer {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut quiet_since = Instant::now();
        loop {
            let pause = if self.log.needs_seal() { SEAL_AFTER } else { MAINTAIN_EVERY };
            let quiet = pause.saturating_sub(quiet_since.elapsed());
            let worked =
                match shared.queue.pop(quiet.min(self.scrub_at.saturating_duration_since(Instant::now()))) {
                    Next::Job(job) => {
                        let goes_on = self.round(job);
                        quiet_since = Instant::now();
                        goes_on
                    }
                    Next::Nothing if quiet_since.elapsed() >= pause => {
                        quiet_since = Instant::now();
                        self.idle().map(|()| true)
                    }
                    Next::Nothing => Ok(true),
                    Next::Closed => return,
                };
            match worked.and_then(|goes_on| self.look_after().map(|()| goes_on)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => give_up(&problem),
            }
        }
    }

    /// Everything that waits, up to the size of a batch, and one flush.
    fn round(&mut self, first: Job) -> Result<bool, AppendError> {
        let mut next = Some(first);
        let mut appends: Vec<Append> = Vec::new();
        let mut releases = Vec::new();
        let mut answers = Vec::new();
        let (mut jobs, mut bytes, mut goes_on, mut last) = (0, 0, true, None);
        while let Some(job) = next.take() {
            jobs += 1;
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
                    let size: usize = parts.iter().map(Vec::len).sum();
                    bytes += size;
                    self.checkpoint_bytes = size as u64;
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
            if bytes < BATCH_BYTES
                && jobs < ROUND_JOBS
                && goes_on
                && let Next::Job(job) = self.shared.queue.pop(Duration::ZERO)
            {
                next = Some(job);
            }
        }
        self.append(&appends)?;
        let started = Instant::now();
        self.log.sync()?;
        if last.is_some() {
            self.shared.flush_us.store(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        self.shared.queue.done(bytes);
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
    /// records, each true by itself: what must agree is in one of them, or is not taken up without its end.
    fn append(&mut self, appends: &[Append]) -> Result<(), AppendError> {
        let all: Vec<&(Record, Bytes)> = appends.iter().flat_map(|append| &append.records).collect();
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|entry| {
                bytes += record_bytes(entry);
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
        self.take_spares_made();
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
                let what = format!(
                    "{} events that were kept for somebody could not be read any more",
                    done.lost.len()
                );
                self.shared.damage.note(&what);
            }
            if done.moved + done.retired > 0 {
                self.log.sync()?;
            }
            // Two at most: a damaged file is set aside when it is replayed by nobody, not when the log has grown by so much.
            if self.log.rot_awaits_checkpoint() && !self.log.checkpoint_under_way() {
                self.shared.wants_checkpoint.store(true, Ordering::Relaxed);
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

    /// One piece between two commits, when it is time: a commit waits for no more than that.
    fn scrub(&mut self) -> Result<(), AppendError> {
        let now = Instant::now();
        if now < self.scrub_at {
            return Ok(());
        }
        self.scrub_at = now + SCRUB_EVERY;
        match self.log.scrub(SCRUB_BYTES)? {
            Scrubbed::Piece | Scrubbed::Segment { damaged: false, .. } => {}
            Scrubbed::Round => self.scrub_at = now + SCRUB_REST,
            Scrubbed::Segment { segment, damaged: true } => {
                error!(segment, "A file of the spool has rotted; what can be read is rescued");
                self.shared.damage.note(&format!("segment {segment} has rotted"));
            }
        }
        Ok(())
    }
}
