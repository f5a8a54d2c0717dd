//! What waits for one reader: events, trains of them, and notes of its connection, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use meshbridge_event::{Event, EventTrain};
use meshbridge_routing::EventKey;
use meshbridge_topic::Topic;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::Principal;

/// One event on its way to subscribers of this bridge; shared by all of them.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// In the spool; `None` for an event of class best-effort.
    pub(crate) body: Option<u64>,
    pub(crate) key: EventKey,
    pub(crate) topic: Topic,
    pub(crate) event: Event,
}

/// Events of one topic on their way to subscribers of this bridge, of class best-effort; shared by all of them.
#[derive(Debug)]
pub(crate) struct TrainDelivery {
    /// Of the first; the others have the numbers that follow.
    pub(crate) key: EventKey,
    pub(crate) topic: Topic,
    pub(crate) train: EventTrain,
}

impl TrainDelivery {
    /// Its events, each for itself.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = Arc<Delivery>> + '_ {
        self.train.events().zip(self.key.seq..).map(|(event, seq)| {
            let key = EventKey { seq, ..self.key.clone() };
            Arc::new(Delivery { body: None, key, topic: self.topic.clone(), event })
        })
    }
}

/// What waits in a queue.
#[derive(Clone, Debug)]
pub(crate) enum Queued {
    One(Arc<Delivery>),
    Train(Arc<TrainDelivery>),
    /// What the connection itself has to say, in its place among the events.
    Note(Bytes),
}

impl Queued {
    pub(super) fn bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES
            + match self {
                Queued::One(delivery) => delivery.event.encoded().len(),
                Queued::Train(delivery) => delivery.train.encoded().len(),
                Queued::Note(text) => text.len(),
            }
    }

    pub(super) fn events(&self) -> u32 {
        match self {
            Queued::One(_) => 1,
            Queued::Train(delivery) => u32::try_from(delivery.train.len()).unwrap_or(u32::MAX),
            Queued::Note(_) => 0,
        }
    }
}

/// An entry of a queue, with the tags of the filters that it came by; none where the reader has given no tags.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) what: Queued,
    pub(crate) tags: Tags,
}

impl Entry {
    /// In the spool, where the event is.
    pub(super) fn body(&self) -> Option<u64> {
        match &self.what {
            Queued::One(delivery) => delivery.body,
            Queued::Train(_) | Queued::Note(_) => None,
        }
    }
}

pub(crate) type Tags = SmallVec<[u64; 2]>;

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) principal: Principal,
    state: Mutex<QueueState>,
    pub(super) ready: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) entries: VecDeque<Entry>,
    /// Of what waits, and of what the reader has taken and not finished.
    pub(super) bytes: usize,
    pub(super) end: Option<SubscriptionEnd>,
}

/// What one entry costs beside the event's own bytes: list slot, allocation, key.
const ENTRY_OVERHEAD_BYTES: usize = 256;

impl Queue {
    pub(super) fn new(principal: &Principal, bytes_max: usize) -> Queue {
        Queue { principal: principal.clone(), state: Mutex::default(), ready: Notify::new(), bytes_max }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when the subscription has ended, now or before; else whether the queue is more than half full.
    pub(super) fn push(&self, what: Queued, tags: Tags) -> Option<bool> {
        let size = what.bytes();
        let mut state = self.lock();
        if state.end.is_some() {
            return None;
        }
        // One event always fits, however large: a bound below the event size must not starve a fast reader.
        if state.bytes + size > self.bytes_max && state.bytes > 0 {
            state.end = Some(SubscriptionEnd::Overflow);
            drop(state);
            self.ready.notify_one();
            return None;
        }
        state.bytes += size;
        let is_first = state.entries.is_empty();
        state.entries.push_back(Entry { what, tags });
        let is_pressed = state.bytes > self.bytes_max / 2;
        drop(state);
        if is_first {
            self.ready.notify_one();
        }
        Some(is_pressed)
    }

    pub(super) fn end(&self, why: SubscriptionEnd) {
        self.lock().end.get_or_insert(why);
        self.ready.notify_one();
    }

    /// What waits, out of turn.
    pub(super) fn take_rest(&self) -> VecDeque<Entry> {
        std::mem::take(&mut self.lock().entries)
    }

    /// Entries that were taken are gone: there is room for as many.
    pub(super) fn on_finished(&self, entries: &VecDeque<Entry>) {
        let bytes: usize = entries.iter().map(|entry| entry.what.bytes()).sum();
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Moves everything that waits into `entries`, which has none; waits while there is nothing. They count until they are
    /// [finished](Queue::on_finished). Cancel-safe.
    pub(super) async fn take_all(&self, entries: &mut VecDeque<Entry>) -> Result<(), SubscriptionEnd> {
        loop {
            {
                let mut state = self.lock();
                if !state.entries.is_empty() {
                    std::mem::swap(&mut state.entries, entries);
                    return Ok(());
                }
                if let Some(end) = state.end {
                    return Err(end);
                }
            }
            // `notify_one` stores a permit, so a push between the check and this await is not missed.
            self.ready.notified().await;
        }
    }
}

/// Why a subscription gives no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionEnd {
    /// The client read too slowly: its queue reached its bound.
    #[error("the subscriber was too slow and its queue is full")]
    Overflow,
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Draining,
}
