//! The subscribers of this bridge: which filters they hold and the queue each of them reads from.
//!
//! A queue that overflows ends its subscription with [`SubscriptionEnd::Overflow`]. That is loud on purpose: a
//! subscriber without a durable cursor that cannot keep up must hear of it, not miss events in silence.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use meshbridge_topic::{FilterTrie, Topic, TopicFilter};
use smallvec::SmallVec;
use tokio::sync::Notify;

pub(crate) use super::queue::{Delivery, SubscriptionEnd};
use super::queue::{Entry, Queue, Queued, Tags, TrainDelivery};
use super::sharing::{Groups, Left};
use super::{Principal, SubscribeRefused};

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

/// Filters that subscribers hold, each as often as it is held. Full: the subscription is refused, in the words that
/// clients of NATS know. Interest has a budget of its own; this one also bounds what nobody else is told of.
const HELD_MAX: usize = 4_000_000;
/// Of them, places where clients wait for replies.
const PRIVATE_MAX: usize = 1_000_000;

#[derive(Debug)]
struct Table {
    trie: FilterTrie<Holder>,
    /// Where clients wait for replies: no filter of anybody else takes in what comes there.
    private: FilterTrie<Holder>,
    queues: HashMap<SubscriberId, Arc<Queue>>,
    groups: Groups,
    next: SubscriberId,
    closed: bool,
    held: Held,
    held_max: Held,
}

/// Filters held, members of groups among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    all: usize,
    private: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            trie: FilterTrie::default(),
            private: FilterTrie::default(),
            queues: HashMap::new(),
            groups: Groups::default(),
            next: 0,
            closed: false,
            held: Held::default(),
            held_max: Held { all: HELD_MAX, private: PRIVATE_MAX },
        }
    }
}

/// Whether replies come to who holds this: a connection that asks tags what it holds. To any other subscriber an inbox is a
/// topic that nothing is published to, whatever its filter.
fn waits_at_inbox(tag: u64, filter: &TopicFilter) -> bool {
    tag != NO_TAG && is_inbox(filter.as_str())
}

/// A filter as a subscriber holds it: its tag and, where it shares the events with others, the name of their group.
type Holding<'a> = (u64, &'a TopicFilter, Option<&'a str>);

impl Table {
    /// Where a filter is held.
    fn trie_of(&mut self, tag: u64, filter: &TopicFilter) -> &mut FilterTrie<Holder> {
        if waits_at_inbox(tag, filter) { &mut self.private } else { &mut self.trie }
    }

    fn count(&mut self, tag: u64, filter: &TopicFilter, change: impl Fn(&mut usize)) {
        change(&mut self.held.all);
        if waits_at_inbox(tag, filter) {
            change(&mut self.held.private);
        }
    }

    fn check_room<'a>(&self, more: impl Iterator<Item = Holding<'a>>) -> Result<(), SubscribeRefused> {
        let wanted = more.fold(self.held, |Held { all, private }, (tag, filter, _)| Held {
            all: all + 1,
            private: private + usize::from(waits_at_inbox(tag, filter)),
        });
        if wanted.all > self.held_max.all || wanted.private > self.held_max.private {
            return Err(SubscribeRefused::InterestFull("maximum subscriptions exceeded".to_owned()));
        }
        Ok(())
    }

    fn hold(&mut self, queue: SubscriberId, (tag, filter, group): Holding<'_>) {
        self.count(tag, filter, |held| *held += 1);
        let holder = match group {
            None => Holder::One { queue, tag },
            Some(name) => match self.groups.join(filter, name, (queue, tag)) {
                (group, true) => Holder::Group(group),
                // It stands there already.
                (_, false) => return,
            },
        };
        self.trie_of(tag, filter).insert(filter, holder);
    }

    /// Takes away what is held; nothing where it is not.
    fn release(&mut self, queue: SubscriberId, (tag, filter, group): Holding<'_>) {
        let was_held = match group {
            None => self.trie_of(tag, filter).remove(filter, &Holder::One { queue, tag }),
            Some(name) => match self.groups.leave(filter, name, (queue, tag)) {
                Left::Last(group) => self.trie_of(tag, filter).remove(filter, &Holder::Group(group)),
                Left::Others => true,
                Left::Never => false,
            },
        };
        if was_held {
            self.count(tag, filter, |held| *held -= 1);
        }
    }
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

    /// Registers a subscriber; refused once [`Self::drain`] was called, and where there is no room.
    pub(crate) fn insert(
        &self,
        principal: &Principal,
        filters: &[TopicFilter],
        bytes_max: usize,
        finished: &Arc<Finished>,
    ) -> Result<Subscriber, SubscribeRefused> {
        let (id, queue) = self.attach(principal, bytes_max).ok_or(SubscribeRefused::Draining)?;
        if let Err(full) = self.hold(id, filters.iter().map(|filter| (NO_TAG, filter, None))) {
            self.detach(id);
            return Err(full);
        }
        let unpacked = VecDeque::new();
        Ok(Subscriber { id, queue, unpacked, current: None, finished: Arc::clone(finished) })
    }

    pub(crate) fn remove(&self, subscriber: &Subscriber, filters: &[TopicFilter]) {
        self.release(subscriber.id, filters.iter().map(|filter| (NO_TAG, filter, None)));
        self.detach(subscriber.id);
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

    /// Gives a queue all of these filters, or none where there is no room.
    pub(super) fn hold<'a>(
        &self,
        queue: SubscriberId,
        held: impl Iterator<Item = Holding<'a>> + Clone,
    ) -> Result<(), SubscribeRefused> {
        let mut table = self.write();
        table.check_room(held.clone())?;
        held.for_each(|one| table.hold(queue, one));
        Ok(())
    }

    /// Takes filters away again.
    pub(super) fn release<'a>(&self, queue: SubscriberId, held: impl Iterator<Item = Holding<'a>>) {
        let mut table = self.write();
        held.for_each(|one| table.release(queue, one));
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
