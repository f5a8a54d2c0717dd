//! Between the pipeline and the thread that writes: bodies in order, bounded in bytes, windows of decisions that become
//! bodies, and the figures of the log.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::format::Checkpoint;
use super::gather::{KINDS_MAX, WINDOW_BYTES, Window};
use super::record::{EventName, Record, Redact};

/// Bytes that wait for the thread; as many again may be on their way to the disk.
pub(crate) const QUEUE_BYTES_MAX: usize = 8 << 20;
/// From here on permits are lost and [`Queue::has_room`] is false.
const ROOM_BYTES: usize = QUEUE_BYTES_MAX / 2;
/// What a body costs beside its bytes, about.
const OVERHEAD_BYTES: usize = 64;

/// How the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Running,
    /// Nothing can be written at the moment; it is tried again.
    DiskFull,
    /// Nothing will be written any more.
    Failed,
}

/// Figures for metrics and views. Counters begin at the start of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) state: State,
    /// Records in the chain, notes included.
    pub(crate) written: u64,
    /// Decisions that share a record with others.
    pub(crate) gathered: u64,
    pub(crate) unsampled: u64,
    /// Sampled permits that found the queue half full.
    pub(crate) lost_permits: u64,
    /// What had to be kept and could not be: an alarm.
    pub(crate) lost_others: u64,
    pub(crate) queued_bytes: usize,
    pub(crate) segments: u64,
    /// The last place of the chain that is on the disk. Worth keeping elsewhere.
    pub(crate) durable: Checkpoint,
}

/// Losses since the last note about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) permits: u64,
    pub(super) others: u64,
}

/// What becomes a record.
#[derive(Debug)]
pub(super) enum Body {
    Ready(Vec<u8>),
    Window(Box<Window>),
}

impl Body {
    pub(super) fn encode(self, redact: &Redact) -> Vec<u8> {
        match self {
            Body::Ready(body) => body,
            Body::Window(window) => window.encode(redact),
        }
    }

    /// Decisions in it that share it with others.
    pub(super) fn gathered(&self) -> u64 {
        match self {
            Body::Window(window) if window.count() > 1 => window.count(),
            Body::Ready(_) | Body::Window(_) => 0,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    bodies: Vec<Body>,
    /// Open windows, the oldest first; at most [`KINDS_MAX`]. Each has [`WINDOW_BYTES`] of the queue while it is open.
    windows: Vec<Window>,
    lost: Lost,
    /// Bodies that were ever taken in.
    accepted: u64,
    /// Bodies of those that are on the disk.
    durable: u64,
    checkpoint: Checkpoint,
    wants_sync: bool,
    stops: bool,
}

/// What the thread has to do next.
pub(super) struct Batch {
    pub(super) bodies: Vec<Body>,
    pub(super) lost: Lost,
    /// Make everything durable after this batch.
    pub(super) wants_sync: bool,
    /// The last batch.
    pub(super) stops: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// The thread waits on it.
    work: Condvar,
    /// Those who flush wait on it.
    progress: Condvar,
    bytes: AtomicUsize,
    state: AtomicU8,
    unsampled: AtomicU64,
    gathered: AtomicU64,
    lost_permits: AtomicU64,
    lost_others: AtomicU64,
    written: AtomicU64,
    segments: AtomicU64,
}

impl Default for Queue {
    fn default() -> Queue {
        let checkpoint = Checkpoint { seq: 0, hash: [0; 32] };
        let waiting = Waiting {
            bodies: Vec::new(),
            windows: Vec::with_capacity(KINDS_MAX),
            lost: Lost::default(),
            accepted: 0,
            durable: 0,
            checkpoint,
            wants_sync: false,
            stops: false,
        };
        Queue {
            waiting: Mutex::new(waiting),
            work: Condvar::new(),
            progress: Condvar::new(),
            bytes: AtomicUsize::new(0),
            state: AtomicU8::new(State::Running as u8),
            unsampled: AtomicU64::new(0),
            gathered: AtomicU64::new(0),
            lost_permits: AtomicU64::new(0),
            lost_others: AtomicU64::new(0),
            written: AtomicU64::new(0),
            segments: AtomicU64::new(0),
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it holds the queue")
    }

    /// Whether encoding a record is worth it.
    pub(super) fn might_take(&self, must_keep: bool) -> bool {
        self.takes(must_keep, 0)
    }

    pub(super) fn has_room(&self) -> bool {
        self.takes(false, 0)
    }

    /// While the disk is full, what there is of the queue is for what must be kept.
    fn takes(&self, must_keep: bool, bytes: usize) -> bool {
        let after = self.bytes.load(Ordering::Relaxed).saturating_add(bytes);
        match self.state() {
            State::Running if !must_keep => after < ROOM_BYTES,
            State::Running | State::DiskFull if must_keep => after < QUEUE_BYTES_MAX,
            State::Running | State::DiskFull | State::Failed => false,
        }
    }

    /// `false`, and counted, when there is no room.
    pub(super) fn push(&self, body: Vec<u8>, must_keep: bool) -> bool {
        let bytes = body.len() + OVERHEAD_BYTES;
        let mut waiting = self.lock();
        if !self.takes(must_keep, bytes) {
            drop(waiting);
            self.count_lost(must_keep);
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        waiting.bodies.push(Body::Ready(body));
        waiting.accepted += 1;
        self.work.notify_one();
        true
    }

    /// Its room is that of an open window until here, and what it holds from here on: less, unless its texts are long.
    fn close(&self, waiting: &mut Waiting, window: usize) {
        let window = waiting.windows.remove(window);
        self.bytes.fetch_sub(WINDOW_BYTES, Ordering::Relaxed);
        self.bytes.fetch_add(window.bytes() + OVERHEAD_BYTES, Ordering::Relaxed);
        waiting.bodies.push(Body::Window(Box::new(window)));
        waiting.accepted += 1;
    }

    fn close_all(&self, waiting: &mut Waiting) {
        while !waiting.windows.is_empty() {
            self.close(waiting, 0);
        }
    }

    /// Those that are old enough; the others are due in this order.
    fn close_due(&self, waiting: &mut Waiting, now: Instant) {
        while waiting.windows.first().is_some_and(|window| window.due() <= now) {
            self.close(waiting, 0);
        }
    }

    /// Puts decisions that must be kept to others of their kind: events by their ids, with the hashes of these. How many
    /// found no room, which are counted.
    pub(super) fn gather<'i>(
        &self,
        kind: u64,
        record: &Record<'_>,
        event: &EventName<'_>,
        ids: impl IntoIterator<Item = (&'i str, [u8; 32])>,
    ) -> u64 {
        let mut lost = 0;
        let mut waiting = self.lock();
        let mut known = None;
        for (id, hash) in ids {
            let window =
                known.or_else(|| waiting.windows.iter().position(|window| window.takes(kind, record, event)));
            let Some(at) = window.filter(|_| self.takes(true, 0)).or_else(|| {
                if window.is_some() {
                    // It has its room already; but a log that has failed takes nothing.
                    return None;
                }
                self.open(&mut waiting, kind, record, event)
            }) else {
                lost += 1;
                continue;
            };
            waiting.windows[at].add(record, id, &hash);
            known = Some(at);
            if waiting.windows[at].is_full() {
                self.close(&mut waiting, at);
                self.work.notify_one();
                known = None;
            }
        }
        drop(waiting);
        (0..lost).for_each(|_| self.count_lost(true));
        lost
    }

    /// A new window, where there is room for one.
    fn open(
        &self,
        waiting: &mut Waiting,
        kind: u64,
        record: &Record<'_>,
        event: &EventName<'_>,
    ) -> Option<usize> {
        if waiting.windows.len() >= KINDS_MAX {
            // Before the question for room, for it gives some back.
            self.close(waiting, 0);
        }
        if !self.takes(true, WINDOW_BYTES) {
            return None;
        }
        self.bytes.fetch_add(WINDOW_BYTES, Ordering::Relaxed);
        waiting.windows.push(Window::new(kind, record, event, Instant::now()));
        // The thread has to know when it is due.
        self.work.notify_one();
        Some(waiting.windows.len() - 1)
    }

    /// What is decided from here on is of other windows than what was decided before.
    pub(super) fn close_windows(&self) {
        self.close_all(&mut self.lock());
        self.work.notify_one();
    }

    /// For the note in the chain, and for the figures.
    pub(super) fn count_lost(&self, must_keep: bool) {
        let mut waiting = self.lock();
        let (noted, figure) = match must_keep {
            true => (&mut waiting.lost.others, &self.lost_others),
            false => (&mut waiting.lost.permits, &self.lost_permits),
        };
        *noted += 1;
        figure.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unsampled(&self, permits: u64) {
        self.unsampled.fetch_add(permits, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Running,
            1 => State::DiskFull,
            _ => State::Failed,
        }
    }

    /// A log that has failed stays so.
    pub(super) fn set_state(&self, state: State) {
        self.state.fetch_max(state as u8, Ordering::AcqRel);
        if state == State::Failed {
            let _waiting = self.lock();
            self.progress.notify_all();
        }
    }

    /// After [`State::DiskFull`].
    pub(super) fn set_running(&self) {
        let (full, running) = (State::DiskFull as u8, State::Running as u8);
        // Failed logs are left alone.
        let _ = self.state.compare_exchange(full, running, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Waits for work, or until `deadline`.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Batch {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            if waiting.stops || waiting.wants_sync {
                self.close_all(&mut waiting);
            }
            self.close_due(&mut waiting, now);
            let due = waiting.windows.first().map(|window| window.due());
            let next = deadline.into_iter().chain(due).min();
            let has_work = !waiting.bodies.is_empty() || waiting.lost != Lost::default();
            let is_due = deadline.is_some_and(|deadline| deadline <= now);
            if has_work || waiting.stops || waiting.wants_sync || is_due {
                self.bytes.store(waiting.windows.len() * WINDOW_BYTES, Ordering::Relaxed);
                return Batch {
                    bodies: std::mem::take(&mut waiting.bodies),
                    lost: std::mem::take(&mut waiting.lost),
                    wants_sync: std::mem::take(&mut waiting.wants_sync),
                    stops: waiting.stops,
                };
            }
            waiting = match next.map(|next| next.saturating_duration_since(now)) {
                Some(left) => self.work.wait_timeout(waiting, left).expect("see lock").0,
                None => self.work.wait(waiting).expect("see lock"),
            };
        }
    }

    /// Waits a while before a full disk is tried again; `true` when the log is to stop instead.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let waiting = self.lock();
        let is_waiting = |waiting: &mut Waiting| !waiting.stops;
        self.work.wait_timeout_while(waiting, pause, is_waiting).expect("see lock").0.stops
    }

    /// Records were written, notes included; not yet durable.
    pub(super) fn on_written(&self, records: u64, gathered: u64, segments: u64) {
        self.gathered.fetch_add(gathered, Ordering::Relaxed);
        self.written.fetch_add(records, Ordering::Relaxed);
        self.segments.store(segments, Ordering::Relaxed);
    }

    /// All of `bodies` that were taken so far, and the chain up to `checkpoint`, are on the disk.
    pub(super) fn on_durable(&self, bodies: u64, checkpoint: Checkpoint) {
        let mut waiting = self.lock();
        waiting.durable = bodies;
        waiting.checkpoint = checkpoint;
        self.progress.notify_all();
    }

    pub(super) fn flush(&self, patience: Duration) -> bool {
        let mut waiting = self.lock();
        self.close_all(&mut waiting);
        let target = waiting.accepted;
        waiting.wants_sync = true;
        self.work.notify_one();
        let is_waiting = |waiting: &mut Waiting| waiting.durable < target && self.state() != State::Failed;
        let waiting = self.progress.wait_timeout_while(waiting, patience, is_waiting).expect("see lock").0;
        waiting.durable >= target
    }

    pub(super) fn stop(&self) {
        self.lock().stops = true;
        self.work.notify_all();
    }

    pub(super) fn figures(&self) -> Figures {
        let durable = self.lock().checkpoint;
        Figures {
            state: self.state(),
            written: self.written.load(Ordering::Relaxed),
            gathered: self.gathered.load(Ordering::Relaxed),
            unsampled: self.unsampled.load(Ordering::Relaxed),
            lost_permits: self.lost_permits.load(Ordering::Relaxed),
            lost_others: self.lost_others.load(Ordering::Relaxed),
            queued_bytes: self.bytes.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            durable,
        }
    }
}
