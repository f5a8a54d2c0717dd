//! The subscribers of this bridge: which filters they hold and the queue each of them reads from.
//!
//! A queue that overflows ends its subscription with [`SubscriptionEnd::Overflow`]. That is loud on purpose: a
//! subscriber without a durable cursor that cannot keep up must hear of it, not miss events in silence.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use meshbridge_event::{Event, EventTrain};
use meshbridge_routing::EventKey;
use meshbridge_topic::{FilterTrie, Topic, TopicFilter};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::Principal;
use super::sharing::Groups;

/// One event on its way to subscribers of this bridge; shared by all of them.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// In the spool; `None` for an event of class best-effort.
    pub(crate) body: Option<u64>,
    pub(crate) key: EventKey,
    pub(crate) topic: Topic,
    pub(crate) event: Event,
}

/// Deliveries that subscribers have taken, or will not take any more; the driver collects them.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    list: Mutex<Vec<(u64, bool)>>,
    pub(crate) some: Notify,
}

impl Finished {
    pub(super) fn push(&self, body: u64, delivered: bool) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((body, delivered));
        self.some.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<(u64, bool)> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
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
    fn bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES
            + match self {
                Queued::One(delivery) => delivery.event.encoded().len(),
                Queued::Train(delivery) => delivery.train.encoded().len(),
                Queued::Note(text) => text.len(),
            }
    }

    fn events(&self) -> u32 {
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
    principal: Principal,
    state: Mutex<QueueState>,
    ready: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    entries: VecDeque<Entry>,
    bytes: usize,
    end: Option<SubscriptionEnd>,
}

/// What one entry costs beside the event's own bytes: list slot, allocation, key.
const ENTRY_OVERHEAD_BYTES: usize = 256;

impl Queue {
    pub(super) fn new(principal: &Principal, bytes_max: usize) -> Queue {
        Queue { principal: principal.clone(), state: Mutex::default(), ready: Notify::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
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
        if state.bytes + size > self.bytes_max && !state.entries.is_empty() {
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

    /// Moves everything that waits into `entries`; waits while there is nothing. Cancel-safe.
    pub(super) async fn take_all(&self, entries: &mut VecDeque<Entry>) -> Result<(), SubscriptionEnd> {
        loop {
            {
                let mut state = self.lock();
                if !state.entries.is_empty() {
                    std::mem::swap(&mut state.entries, entries);
                    state.bytes = 0;
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

type SubscriberId = u64;

/// Whether a topic or filter is a place where a client waits for replies. Such a filter is not announced, and no wider one
/// takes in what is handed out there.
pub(crate) fn is_inbox(text: &str) -> bool {
    text.starts_with("_INBOX.")
}

/// Who holds a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    One {
        queue: SubscriberId,
        tag: u64,
    },
    /// One member of a group, in turn.
    Group(u32),
}

/// Without a tag of its own.
const NO_TAG: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Table {
    trie: FilterTrie<Holder>,
    /// Where clients wait for replies: no filter of anybody else takes in what comes there.
    private: FilterTrie<Holder>,
    queues: HashMap<SubscriberId, Arc<Queue>>,
    groups: Groups,
    next: SubscriberId,
    closed: bool,
}

type Chosen = SmallVec<[(SubscriberId, u64); 16]>;

impl Table {
    /// Who gets an event of the topic, by queue; a member of each group among them. `spreads`: another event of the topic
    /// may go to another member.
    fn chosen(&self, topic: &Topic, spreads: &mut bool) -> Chosen {
        let mut chosen = Chosen::new();
        let trie = if is_inbox(topic.as_str()) { &self.private } else { &self.trie };
        trie.for_each_match(topic, |holder| match *holder {
            Holder::One { queue, tag } => chosen.push((queue, tag)),
            Holder::Group(group) => {
                *spreads |= self.groups.members(group) > 1;
                chosen.extend(self.groups.choose(group));
            }
        });
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Calls `offer` once per queue, with its tags.
    fn for_each_queue(&self, chosen: &Chosen, mut offer: impl FnMut(&Queue, Tags)) {
        for of_queue in chosen.chunk_by(|a, b| a.0 == b.0) {
            let Some(queue) = of_queue.first().and_then(|(id, _)| self.queues.get(id)) else { continue };
            offer(queue, of_queue.iter().map(|(_, tag)| *tag).filter(|tag| *tag != NO_TAG).collect());
        }
    }
}

/// All live subscriptions. Read-locked once per batch by the data path, written when a client comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    table: RwLock<Table>,
}

/// What became of one local delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) delivered: u32,
    /// Subscriptions that ended because this event did not fit.
    pub(crate) overflowed: u32,
    /// Subscriptions that may not have it.
    pub(crate) withheld: u32,
    /// Some reader is far behind.
    pub(crate) pressed: bool,
}

impl Offered {
    fn count(&mut self, events: u32, pushed: Option<bool>) {
        match pushed {
            Some(is_pressed) => {
                self.delivered += events;
                self.pressed |= is_pressed;
            }
            None => self.overflowed += events,
        }
    }
}

impl Subscriptions {
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a subscriber; `None` once [`Self::drain`] was called.
    pub(crate) fn insert(
        &self,
        principal: &Principal,
        filters: &[TopicFilter],
        bytes_max: usize,
        finished: &Arc<Finished>,
    ) -> Option<Subscriber> {
        let (id, queue) = self.attach(principal, bytes_max)?;
        let mut table = self.write();
        for filter in filters {
            table.trie.insert(filter, Holder::One { queue: id, tag: NO_TAG });
        }
        drop(table);
        let unpacked = VecDeque::new();
        Some(Subscriber { id, queue, unpacked, current: None, finished: Arc::clone(finished) })
    }

    pub(crate) fn remove(&self, subscriber: &Subscriber, filters: &[TopicFilter]) {
        let mut table = self.write();
        for filter in filters {
            table.trie.remove(filter, &Holder::One { queue: subscriber.id, tag: NO_TAG });
        }
        table.queues.remove(&subscriber.id);
    }

    /// A queue without filters yet; `None` once [`Self::drain`] was called.
    pub(super) fn attach(
        &self,
        principal: &Principal,
        bytes_max: usize,
    ) -> Option<(SubscriberId, Arc<Queue>)> {
        let queue = Arc::new(Queue::new(principal, bytes_max));
        let mut table = self.write();
        if table.closed {
            return None;
        }
        let id = table.next;
        table.next += 1;
        table.queues.insert(id, Arc::clone(&queue));
        Some((id, queue))
    }

    /// Gives a queue filters, each with its tag and, where it shares the events with others, the name of their group.
    pub(super) fn hold<'a>(
        &self,
        queue: SubscriberId,
        held: impl Iterator<Item = (u64, &'a TopicFilter, Option<&'a str>)>,
    ) {
        let mut table = self.write();
        for (tag, filter, group) in held {
            let Table { trie, private, groups, .. } = &mut *table;
            let trie = if is_inbox(filter.as_str()) { private } else { trie };
            match group {
                None => trie.insert(filter, Holder::One { queue, tag }),
                Some(name) => {
                    let (group, is_new) = groups.join(filter, name, (queue, tag));
                    if is_new {
                        trie.insert(filter, Holder::Group(group));
                    }
                }
            }
        }
    }

    /// Takes filters away again.
    pub(super) fn release<'a>(
        &self,
        queue: SubscriberId,
        held: impl Iterator<Item = (u64, &'a TopicFilter, Option<&'a str>)>,
    ) {
        let mut table = self.write();
        for (tag, filter, group) in held {
            let Table { trie, private, groups, .. } = &mut *table;
            let trie = if is_inbox(filter.as_str()) { private } else { trie };
            match group {
                None => {
                    trie.remove(filter, &Holder::One { queue, tag });
                }
                Some(name) => {
                    if let Some(group) = groups.leave(filter, name, (queue, tag)) {
                        trie.remove(filter, &Holder::Group(group));
                    }
                }
            }
        }
    }

    pub(super) fn detach(&self, queue: SubscriberId) {
        self.write().queues.remove(&queue);
    }

    pub(crate) fn len(&self) -> usize {
        self.read().queues.len()
    }

    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        let mut found = false;
        let table = self.read();
        let trie = if is_inbox(topic.as_str()) { &table.private } else { &table.trie };
        trie.for_each_match(topic, |_| found = true);
        found
    }

    /// Hands the event to every subscriber with a matching filter, once per subscriber.
    pub(crate) fn deliver(&self, delivery: &Arc<Delivery>) -> Offered {
        self.deliver_forms(&delivery.topic, |_| Some(Arc::clone(delivery)))
    }

    /// The same, where each principal gets a form of its own, or nothing.
    pub(crate) fn deliver_forms(
        &self,
        topic: &Topic,
        mut form: impl FnMut(&Principal) -> Option<Arc<Delivery>>,
    ) -> Offered {
        let mut offered = Offered::default();
        let table = self.read();
        let chosen = table.chosen(topic, &mut false);
        table.for_each_queue(&chosen, |queue, tags| match form(&queue.principal) {
            Some(delivery) => offered.count(1, queue.push(Queued::One(delivery), tags)),
            None => offered.withheld += 1,
        });
        offered
    }

    /// Hands a train over whole where all its events have the same readers; event by event where a group shares them.
    pub(super) fn deliver_train(&self, delivery: &Arc<TrainDelivery>) -> Offered {
        let mut offered = Offered::default();
        let table = self.read();
        let mut spreads = false;
        let chosen = table.chosen(&delivery.topic, &mut spreads);
        if !spreads {
            let whole = Queued::Train(Arc::clone(delivery));
            table.for_each_queue(&chosen, |queue, tags| {
                offered.count(whole.events(), queue.push(whole.clone(), tags));
            });
            return offered;
        }
        for one in delivery.deliveries() {
            let chosen = table.chosen(&delivery.topic, &mut spreads);
            table.for_each_queue(&chosen, |queue, tags| {
                offered.count(1, queue.push(Queued::One(Arc::clone(&one)), tags));
            });
        }
        offered
    }

    /// Ends every subscription and takes no new ones.
    pub(crate) fn drain(&self) {
        let mut table = self.write();
        table.closed = true;
        for queue in table.queues.values() {
            queue.end(SubscriptionEnd::Draining);
        }
    }
}

/// The reading end of one subscription's queue.
#[derive(Debug)]
pub(crate) struct Subscriber {
    id: SubscriberId,
    queue: Arc<Queue>,
    /// Of a train that was taken from the queue.
    unpacked: VecDeque<Arc<Delivery>>,
    /// Handed out last; taken when the next one is asked for.
    current: Option<u64>,
    finished: Arc<Finished>,
}

impl Subscriber {
    /// The next event. Cancel-safe: an event leaves the queue only in the poll that returns it.
    /// What was queued before an overflow is still given.
    pub(crate) async fn recv(&mut self) -> Result<Arc<Delivery>, SubscriptionEnd> {
        if let Some(body) = self.current.take() {
            self.finished.push(body, true);
        }
        loop {
            if let Some(delivery) = self.unpacked.pop_front() {
                return Ok(delivery);
            }
            {
                let mut state = self.queue.lock();
                if let Some(entry) = state.entries.pop_front() {
                    state.bytes = state.bytes.saturating_sub(entry.what.bytes());
                    drop(state);
                    match entry.what {
                        Queued::One(delivery) => {
                            self.current = delivery.body;
                            return Ok(delivery);
                        }
                        Queued::Train(train) => self.unpacked.extend(train.deliveries()),
                        Queued::Note(_) => {}
                    }
                    continue;
                }
                if let Some(end) = state.end {
                    return Err(end);
                }
            }
            // `notify_one` stores a permit, so a push between the check and this await is not missed.
            self.queue.ready.notified().await;
        }
    }
}

impl Drop for Subscriber {
    /// To be dropped after its removal from the table: nothing is queued behind it.
    fn drop(&mut self) {
        let queued = std::mem::take(&mut self.queue.lock().entries);
        let bodies = queued.iter().filter_map(Entry::body);
        self.current.into_iter().chain(bodies).for_each(|body| self.finished.push(body, false));
    }
}

#[cfg(test)]
mod tests;
