//! The subscribers of this bridge: which filters they hold and the queue each of them reads from.
//!
//! A queue that overflows ends its subscription with [`SubscriptionEnd::Overflow`]. That is loud on purpose: a
//! subscriber without a durable cursor that cannot keep up must hear of it, not miss events in silence.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use meshbridge_event::Event;
use meshbridge_routing::EventKey;
use meshbridge_topic::{FilterTrie, Topic, TopicFilter};
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

/// Deliveries that subscribers have taken, or will not take any more; the driver collects them.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    list: Mutex<Vec<(u64, bool)>>,
    pub(crate) some: Notify,
}

impl Finished {
    fn push(&self, body: u64, delivered: bool) {
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

#[derive(Debug)]
struct Queue {
    principal: Principal,
    state: Mutex<QueueState>,
    ready: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Arc<Delivery>>,
    bytes: usize,
    end: Option<SubscriptionEnd>,
}

/// What one entry costs beside the event's own bytes: list slot, allocation, key.
const ENTRY_OVERHEAD_BYTES: usize = 256;

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` when the subscription has ended, now or before.
    fn push(&self, delivery: Arc<Delivery>) -> bool {
        let size = delivery.event.encoded().len() + ENTRY_OVERHEAD_BYTES;
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        // One event always fits, however large: a bound below the event size must not starve a fast reader.
        if state.bytes + size > self.bytes_max && !state.events.is_empty() {
            state.end = Some(SubscriptionEnd::Overflow);
            drop(state);
            self.ready.notify_one();
            return false;
        }
        state.bytes += size;
        state.events.push_back(delivery);
        drop(state);
        self.ready.notify_one();
        true
    }

    fn end(&self, why: SubscriptionEnd) {
        self.lock().end.get_or_insert(why);
        self.ready.notify_one();
    }
}

type SubscriberId = u64;

#[derive(Debug, Default)]
struct Table {
    trie: FilterTrie<SubscriberId>,
    queues: HashMap<SubscriberId, Arc<Queue>>,
    next: SubscriberId,
    closed: bool,
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
}

impl Subscriptions {
    /// Registers a subscriber; `None` once [`Self::drain`] was called.
    pub(crate) fn insert(
        &self,
        principal: &Principal,
        filters: &[TopicFilter],
        bytes_max: usize,
        finished: &Arc<Finished>,
    ) -> Option<Subscriber> {
        let queue = Arc::new(Queue {
            principal: principal.clone(),
            state: Mutex::default(),
            ready: Notify::new(),
            bytes_max,
        });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.closed {
            return None;
        }
        let id = table.next;
        table.next += 1;
        for filter in filters {
            table.trie.insert(filter, id);
        }
        table.queues.insert(id, Arc::clone(&queue));
        Some(Subscriber { id, queue, current: None, finished: Arc::clone(finished) })
    }

    pub(crate) fn remove(&self, subscriber: &Subscriber, filters: &[TopicFilter]) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for filter in filters {
            table.trie.remove(filter, &subscriber.id);
        }
        table.queues.remove(&subscriber.id);
    }

    pub(crate) fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).queues.len()
    }

    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        let mut found = false;
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .trie
            .for_each_match(topic, |_| found = true);
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
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut ids: SmallVec<[SubscriberId; 16]> = SmallVec::new();
        table.trie.for_each_match(topic, |id| ids.push(*id));
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            let Some(queue) = table.queues.get(id) else { continue };
            let Some(delivery) = form(&queue.principal) else {
                offered.withheld += 1;
                continue;
            };
            if queue.push(delivery) {
                offered.delivered += 1;
            } else {
                offered.overflowed += 1;
            }
        }
        offered
    }

    /// Ends every subscription and takes no new ones.
    pub(crate) fn drain(&self) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
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
            {
                let mut state = self.queue.lock();
                if let Some(delivery) = state.events.pop_front() {
                    state.bytes -= delivery.event.encoded().len() + ENTRY_OVERHEAD_BYTES;
                    self.current = delivery.body;
                    return Ok(delivery);
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
        let queued = std::mem::take(&mut self.queue.lock().events);
        let left = self.current.into_iter().chain(queued.iter().filter_map(|delivery| delivery.body));
        left.for_each(|body| self.finished.push(body, false));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meshbridge_event::EventBuilder;
    use meshbridge_routing::{BridgeId, Run};

    use super::*;

    fn delivery(topic: &str, seq: u64, data: usize) -> Arc<Delivery> {
        let event = EventBuilder::new(&format!("e-{seq}"), "/test", "t")
            .data_binary(Bytes::from(vec![0; data]))
            .build()
            .expect("valid event");
        let key = EventKey {
            origin: BridgeId::parse("a").expect("valid id"),
            run: Run { epoch: 1, nonce: 2 },
            lane: 0,
            seq,
        };
        Arc::new(Delivery { body: Some(seq), key, topic: Topic::parse(topic).expect("valid topic"), event })
    }

    /// As the driver does it.
    fn deliver(subscriptions: &Subscriptions, all: &[Arc<Delivery>]) -> Offered {
        all.iter().map(|one| subscriptions.deliver(one)).fold(Offered::default(), |sum, one| Offered {
            delivered: sum.delivered + one.delivered,
            overflowed: sum.overflowed + one.overflowed,
            withheld: sum.withheld + one.withheld,
        })
    }

    fn filters(all: &[&str]) -> Vec<TopicFilter> {
        all.iter().map(|f| TopicFilter::parse(f).expect("valid filter")).collect()
    }

    #[tokio::test]
    async fn overlapping_filters_of_one_subscriber_deliver_an_event_once() {
        let subscriptions = Subscriptions::default();
        let mut reader = subscriptions
            .insert(&Principal::anonymous(), &filters(&["a.**", "a.b"]), 1 << 20, &Arc::default())
            .expect("open");
        let all = [delivery("a.b", 1, 8), delivery("c", 2, 8), delivery("a.c", 3, 8)];
        let offered = deliver(&subscriptions, &all);
        assert_eq!(offered, Offered { delivered: 2, ..Offered::default() });
        assert_eq!(reader.recv().await.map(|d| d.key.seq), Ok(1));
        assert_eq!(reader.recv().await.map(|d| d.key.seq), Ok(3));
    }

    #[tokio::test]
    async fn each_principal_gets_its_own_form_or_nothing() {
        let subscriptions = Subscriptions::default();
        let principal = |name: &str| Principal(Arc::from(name));
        let held = filters(&["a"]);
        let open = |name: &str| {
            subscriptions.insert(&principal(name), &held, 1 << 20, &Arc::default()).expect("open")
        };
        let (mut one, mut other) = (open("one"), open("other"));
        let offered = subscriptions.deliver_forms(&Topic::parse("a").expect("topic"), |principal| {
            (*principal.0 == *"one").then(|| delivery("a", 7, 1))
        });
        assert_eq!(offered, Offered { delivered: 1, withheld: 1, overflowed: 0 });
        subscriptions.drain();
        assert_eq!(one.recv().await.map(|delivery| delivery.key.seq), Ok(7));
        assert_eq!(other.recv().await.err(), Some(SubscriptionEnd::Draining));
    }

    #[tokio::test]
    async fn a_full_queue_ends_only_its_own_subscription_and_says_so() {
        let subscriptions = Subscriptions::default();
        let mut slow = subscriptions
            .insert(&Principal::anonymous(), &filters(&["**"]), 2_000, &Arc::default())
            .expect("open");
        let mut fast = subscriptions
            .insert(&Principal::anonymous(), &filters(&["**"]), 1 << 20, &Arc::default())
            .expect("open");
        let all: Vec<_> = (1..=10).map(|seq| delivery("a", seq, 300)).collect();
        let offered = deliver(&subscriptions, &all);
        assert!(offered.overflowed >= 1);
        let mut got = 0;
        let end = loop {
            match slow.recv().await {
                Ok(_) => got += 1,
                Err(end) => break end,
            }
        };
        assert!(got < 10);
        assert_eq!(end, SubscriptionEnd::Overflow);
        for seq in 1..=10 {
            assert_eq!(fast.recv().await.map(|d| d.key.seq), Ok(seq));
        }
    }

    #[tokio::test]
    async fn a_removed_subscriber_gets_nothing_and_leaves_no_filter_behind() {
        let subscriptions = Subscriptions::default();
        let held = filters(&["a.*", "**"]);
        let reader =
            subscriptions.insert(&Principal::anonymous(), &held, 1 << 20, &Arc::default()).expect("open");
        assert!(subscriptions.wants(&Topic::parse("a.b").expect("topic")));
        subscriptions.remove(&reader, &held);
        assert!(!subscriptions.wants(&Topic::parse("a.b").expect("topic")));
        assert_eq!(subscriptions.deliver(&delivery("a.b", 1, 1)), Offered::default());
    }

    #[tokio::test]
    async fn an_event_is_taken_when_the_next_one_is_asked_for_and_what_is_left_was_not() {
        let subscriptions = Subscriptions::default();
        let finished: Arc<Finished> = Arc::default();
        let held = filters(&["**"]);
        let mut reader =
            subscriptions.insert(&Principal::anonymous(), &held, 1 << 20, &finished).expect("open");
        deliver(&subscriptions, &[delivery("a", 1, 1), delivery("a", 2, 1), delivery("a", 3, 1)]);
        assert!(reader.recv().await.is_ok());
        assert_eq!(finished.take(), []);
        assert!(reader.recv().await.is_ok());
        assert_eq!(finished.take(), [(1, true)]);
        subscriptions.remove(&reader, &held);
        drop(reader);
        assert_eq!(finished.take(), [(2, false), (3, false)]);
    }

    #[tokio::test]
    async fn draining_ends_readers_after_what_was_queued() {
        let subscriptions = Subscriptions::default();
        let mut reader = subscriptions
            .insert(&Principal::anonymous(), &filters(&["**"]), 1 << 20, &Arc::default())
            .expect("open");
        subscriptions.deliver(&delivery("a", 1, 1));
        subscriptions.drain();
        assert!(reader.recv().await.is_ok());
        assert_eq!(reader.recv().await.err(), Some(SubscriptionEnd::Draining));
        assert!(
            subscriptions.insert(&Principal::anonymous(), &filters(&["a"]), 1, &Arc::default()).is_none()
        );
    }
}
