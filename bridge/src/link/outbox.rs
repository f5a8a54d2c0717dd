//! What waits for one next hop: a queue per data stream, bounded in bytes together.
//!
//! Reading a link never waits for one of these (DESIGN §5): what does not fit comes back to the caller, who decides.
//! When the session ends, what was not written is taken out again and finds its way over another path.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use meshbridge_policy::RuleRef;
use meshbridge_routing::wire::{PolicyMark, decode_train};
use meshbridge_routing::{BridgeIndex, EventKey, Passage, ZoneName};
use meshbridge_topic::Topic;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::transport::DATA_STREAMS;

/// Bytes queued for one next hop (RELIABILITY §2, step 5).
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes queued for all next hops of a bridge together.
pub(crate) const QUEUES_BYTES_MAX: usize = 256 << 20;
/// What a queued frame costs beside its payload.
const FRAME_OVERHEAD_BYTES: usize = 256;

/// What all copies of an event share, whatever link they take.
#[derive(Debug)]
pub(crate) struct FrameBody {
    pub(crate) key: EventKey,
    pub(crate) topic: Topic,
    /// The encoded event, after the protections of its destination class.
    pub(crate) payload: Bytes,
    /// Over `payload` (`meshbridge_routing::wire::data::payload_digest`).
    pub(crate) digest: [u8; 16],
    /// The policies the origin judged it under.
    pub(crate) policy: PolicyMark,
    pub(crate) passage: Passage,
    /// Extension section, carried as it came.
    pub(crate) extensions: SmallVec<[(u8, u8, Bytes); 2]>,
}

/// A destination of a frame and the last earlier number of the lane that was meant for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameDestination {
    pub(crate) bridge: BridgeIndex,
    pub(crate) prev: u64,
}

pub(crate) type FrameDestinations = SmallVec<[FrameDestination; 4]>;

/// Zones over whose links a bridge on the way does not pass an event on, each with the rule that says so. `None` where its
/// policies deny none of its links; an origin says what it denies in the passage.
pub(crate) type Barred = Option<Arc<[(ZoneName, RuleRef)]>>;

/// One copy of an event, for one next hop.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) body: Arc<FrameBody>,
    pub(crate) destinations: FrameDestinations,
    pub(crate) hop_limit: u8,
    /// When it came to this bridge; it leaves memory five seconds later at the latest.
    pub(crate) since: Instant,
    /// End of its life, where it has one.
    pub(crate) expires: Option<Instant>,
    /// Known here, and not on the wire: every bridge judges for itself.
    pub(crate) barred: Barred,
}

impl Outbound {
    /// How many events it holds.
    pub(crate) fn events(&self) -> u32 {
        decode_train(&self.body.extensions).unwrap_or(1)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.body.payload.len() + FRAME_OVERHEAD_BYTES
    }
}

/// Bytes queued over all links of this bridge.
#[derive(Debug, Default)]
pub(crate) struct QueueBudget(AtomicUsize);

/// The queues of one session.
#[derive(Debug)]
pub(crate) struct Outbox {
    streams: [StreamQueue; DATA_STREAMS],
    bytes: AtomicUsize,
    closed: AtomicBool,
    budget: Arc<QueueBudget>,
}

#[derive(Debug, Default)]
struct StreamQueue {
    frames: Mutex<VecDeque<Outbound>>,
    ready: Notify,
}

impl StreamQueue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Outbound>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a frame was not queued; the frame comes back.
#[derive(Debug)]
pub(crate) enum NotQueued {
    Full(Outbound),
    /// The session has ended; the next forwarding table knows another way, or none.
    Closed(Outbound),
}

impl Outbox {
    pub(crate) fn new(budget: Arc<QueueBudget>) -> Outbox {
        Outbox {
            streams: Default::default(),
            bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            budget,
        }
    }

    /// The stream of a lane: always the same, so a lane keeps its order.
    pub(crate) fn stream_of(lane: u8) -> usize {
        usize::from(lane) % DATA_STREAMS
    }

    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let more = bytes + FRAME_OVERHEAD_BYTES;
        self.bytes.load(Ordering::Relaxed) + more <= QUEUE_BYTES_MAX
            && self.budget.0.load(Ordering::Relaxed) + more <= QUEUES_BYTES_MAX
    }

    pub(crate) fn push(&self, frame: Outbound) -> Result<(), NotQueued> {
        if !self.has_room_for(frame.body.payload.len()) {
            return Err(NotQueued::Full(frame));
        }
        let stream = &self.streams[Outbox::stream_of(frame.body.key.lane)];
        let size = frame.queued_bytes();
        let mut frames = stream.lock();
        // Under the lock: `take_all` sets the flag before it empties the queues, so nothing is left behind.
        if self.closed.load(Ordering::Acquire) {
            return Err(NotQueued::Closed(frame));
        }
        frames.push_back(frame);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.budget.0.fetch_add(size, Ordering::Relaxed);
        drop(frames);
        stream.ready.notify_one();
        Ok(())
    }

    /// Moves frames of one stream into `batch` until they make about `bytes_max`; waits while there are none.
    pub(crate) async fn next_batch(&self, stream: usize, bytes_max: usize, batch: &mut Vec<Outbound>) {
        let queue = &self.streams[stream];
        loop {
            {
                let mut frames = queue.lock();
                let mut bytes = 0;
                while let Some(frame) = frames.front() {
                    let size = frame.queued_bytes();
                    if bytes > 0 && bytes + size > bytes_max {
                        break;
                    }
                    bytes += size;
                    batch.extend(frames.pop_front());
                }
                self.release(bytes);
            }
            if !batch.is_empty() {
                return;
            }
            queue.ready.notified().await;
        }
    }

    /// Closes the outbox and gives back what was not written.
    pub(crate) fn take_all(&self) -> Vec<Outbound> {
        self.closed.store(true, Ordering::Release);
        let mut left = Vec::new();
        for stream in &self.streams {
            left.extend(stream.lock().drain(..));
        }
        self.release(left.iter().map(Outbound::queued_bytes).sum());
        left
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
