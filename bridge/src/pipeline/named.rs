//! Subscriptions with memory: who holds which event, and when it is offered again.
//!
//! An event is *waiting* until a connection takes it, then *leased* until it is acknowledged; a lease that ends
//! otherwise brings it back, after a pause where the subscriber refused it. What is acknowledged is a record of the
//! delivery core; this module knows only what this process needs.
//!
//! ```text
//!  offer ─► waiting ─ take ─► leased ─ ack ─► gone          nack, lease over: attempts + 1, waits, or dead letter
//!              ▲                │
//!              └── connection ended, another took over
//! ```

mod lanes;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use meshbridge_topic::{FilterTrie, Topic, TopicFilter};
use rand::RngExt;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::lock;
use super::settings::{OnRetry, SubscriptionSettings};
use crate::webhook::TargetUrl;

/// Leases of one connection.
pub(crate) const LEASES_MAX: usize = 1_024;
/// Subscriptions of one bridge.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 10_000;

pub(super) use lanes::Lane;
use lanes::Lanes;

/// One subscription with memory.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) id: u32,
    pub(crate) name: Box<str>,
    pub(crate) owner: Box<str>,
    pub(crate) filters: Vec<TopicFilter>,
    /// Pushed there, instead of read by a client.
    pub(crate) push: Option<TargetUrl>,
    pub(crate) settings: SubscriptionSettings,
    state: Mutex<NamedState>,
    pub(super) ready: Notify,
}

#[derive(Debug, Default)]
struct NamedState {
    /// By the order of their first offer.
    waiting: BTreeMap<u64, u64>,
    leases: HashMap<u64, Lease>,
    /// Refused, to be offered again at this time: order and body.
    later: BTreeMap<(Instant, u64), u64>,
    attempts: HashMap<u64, u32>,
    lanes: Lanes,
    next_order: u64,
    next_token: u64,
    /// Of the connection that may take events; a newer one takes over.
    connection: u64,
    connected: bool,
    gone: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    order: u64,
    token: u64,
    until: Option<Instant>,
}

/// What a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) body: u64,
    pub(super) token: u64,
    /// Attempts of this process before this one.
    pub(super) attempts: u32,
}

/// Why a connection gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NamedEnd {
    #[error("another connection has taken the subscription over")]
    TakenOver,
    #[error("the subscription was deleted")]
    Deleted,
    #[error("the bridge is stopping")]
    Stopping,
}

/// Figures of one subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NamedFigures {
    pub(crate) waiting: usize,
    pub(crate) leased: usize,
    pub(crate) delayed: usize,
    pub(crate) connected: bool,
}

impl Named {
    pub(super) fn new(
        id: u32,
        name: &str,
        owner: &str,
        filters: Vec<TopicFilter>,
        push: Option<TargetUrl>,
        settings: SubscriptionSettings,
    ) -> Named {
        Named {
            settings,
            push,
            id,
            name: name.into(),
            owner: owner.into(),
            filters,
            state: Mutex::default(),
            ready: Notify::new(),
        }
    }

    /// As [`Named::offer`]; where retries block their lane, an event of this one.
    pub(super) fn offer_in(&self, body: u64, lane: Lane) {
        if self.settings.on_retry == OnRetry::Block {
            lock(&self.state).lanes.insert(body, lane);
        }
        self.offer(body);
    }

    pub(super) fn offer(&self, body: u64) {
        let mut state = lock(&self.state);
        let order = state.next_order;
        state.next_order += 1;
        state.waiting.insert(order, body);
        drop(state);
        self.ready.notify_one();
    }

    /// A connection begins; the former one, if any, gets nothing more, and what it held is offered again.
    pub(super) fn connect(&self) -> u64 {
        let mut state = lock(&self.state);
        state.connection += 1;
        state.connected = true;
        let connection = state.connection;
        state.give_back_leases();
        drop(state);
        // The former connection is asleep on this, and must learn that it is the former one.
        self.ready.notify_waiters();
        self.ready.notify_one();
        connection
    }

    pub(super) fn disconnect(&self, connection: u64) {
        let mut state = lock(&self.state);
        if state.connection == connection {
            state.connected = false;
            state.give_back_leases();
        }
    }

    /// The next event, leased for `lease` (for as long as the connection lives, where that is `None`). At most
    /// `leases_max` are held at a time.
    pub(super) fn take(
        &self,
        connection: u64,
        lease: Option<Duration>,
        leases_max: usize,
        now: Instant,
    ) -> Result<Option<Taken>, NamedEnd> {
        let mut state = lock(&self.state);
        if state.gone {
            return Err(NamedEnd::Deleted);
        }
        if state.connection != connection {
            return Err(NamedEnd::TakenOver);
        }
        state.wake_later(now);
        if state.leases.len() >= leases_max {
            return Ok(None);
        }
        let Some((order, body)) = state.next() else { return Ok(None) };
        state.next_token += 1;
        let token = state.next_token;
        state.leases.insert(body, Lease { order, token, until: lease.map(|lease| now + lease) });
        let attempts = state.attempts.get(&body).copied().unwrap_or(0);
        Ok(Some(Taken { body, token, attempts }))
    }

    /// `true` where the token is that of the running lease; an old one settles nothing.
    pub(super) fn end_lease(&self, body: u64, token: u64) -> bool {
        let mut state = lock(&self.state);
        let valid = state.leases.get(&body).is_some_and(|lease| lease.token == token);
        if valid {
            state.leases.remove(&body);
            state.end(body);
            drop(state);
            self.ready.notify_one();
        }
        valid
    }

    /// The subscriber could not deal with it: it waits and comes again. `true` when it has had all its attempts.
    pub(super) fn refuse(&self, body: u64, token: u64, now: Instant) -> Option<bool> {
        let mut state = lock(&self.state);
        let lease = state.leases.get(&body).copied().filter(|lease| lease.token == token)?;
        Some(state.fail(body, lease, &self.settings, now))
    }

    /// Bodies whose last attempt is over. Wakes what has waited long enough.
    pub(super) fn tick(&self, now: Instant) -> Vec<u64> {
        let mut state = lock(&self.state);
        let over: Vec<(u64, Lease)> = state
            .leases
            .iter()
            .filter(|(_, lease)| lease.until.is_some_and(|until| until <= now))
            .map(|(body, lease)| (*body, *lease))
            .collect();
        let dead = over
            .into_iter()
            .filter(|(body, lease)| state.fail(*body, *lease, &self.settings, now))
            .map(|(body, _)| body);
        let dead = dead.collect();
        if state.wake_later(now) {
            self.ready.notify_one();
        }
        dead
    }

    /// Everything that was offered up to this body is dealt with, as its subscriber says; gives the bodies.
    pub(super) fn end_up_to(&self, last: u64) -> Vec<u64> {
        let mut state = lock(&self.state);
        let Some(order) = state.waiting.iter().find(|(_, body)| **body == last).map(|(order, _)| *order)
        else {
            return Vec::new();
        };
        let later = state.waiting.split_off(&(order + 1));
        let ended: Vec<u64> = std::mem::replace(&mut state.waiting, later).into_values().collect();
        ended.iter().for_each(|body| state.end(*body));
        ended
    }

    /// The body ended otherwise.
    pub(super) fn forget(&self, body: u64) {
        let mut state = lock(&self.state);
        state.leases.remove(&body);
        state.waiting.retain(|_, waiting| *waiting != body);
        state.later.retain(|_, later| *later != body);
        state.end(body);
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.state).gone
    }

    pub(super) fn delete(&self) {
        lock(&self.state).gone = true;
        self.ready.notify_waiters();
        self.ready.notify_one();
    }

    pub(super) fn waiting(&self) -> Vec<u64> {
        lock(&self.state).waiting.values().copied().collect()
    }

    pub(crate) fn figures(&self) -> NamedFigures {
        let state = lock(&self.state);
        NamedFigures {
            waiting: state.waiting.len() + state.lanes.waiting(),
            leased: state.leases.len(),
            delayed: state.later.len(),
            connected: state.connected,
        }
    }
}

impl NamedState {
    fn give_back_leases(&mut self) {
        let leases: Vec<(u64, Lease)> = self.leases.drain().collect();
        for (body, lease) in leases {
            *self.attempts.entry(body).or_default() += 1;
            self.waiting.insert(lease.order, body);
        }
    }

    /// The next one whose lane is free.
    fn next(&mut self) -> Option<(u64, u64)> {
        loop {
            let (order, body) = self.waiting.pop_first()?;
            if !self.lanes.holds_back(order, body) {
                return Some((order, body));
            }
        }
    }

    /// The event is dealt with; what its lane held back may come.
    fn end(&mut self, body: u64) {
        self.attempts.remove(&body);
        self.waiting.extend(self.lanes.end(body));
    }

    fn fail(&mut self, body: u64, lease: Lease, settings: &SubscriptionSettings, now: Instant) -> bool {
        self.leases.remove(&body);
        let attempts = self.attempts.entry(body).or_default();
        *attempts += 1;
        if *attempts >= settings.max_attempts {
            self.end(body);
            return true;
        }
        let pause = settings.pause(*attempts).mul_f64(rand::rng().random_range(0.8..=1.2));
        self.later.insert((now + pause, lease.order), body);
        false
    }

    fn wake_later(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, order), body) = entry.remove_entry();
            self.waiting.insert(order, body);
            any = true;
        }
        any
    }
}

#[derive(Debug, Default)]
struct Table {
    trie: FilterTrie<u32>,
    by_id: BTreeMap<u32, Arc<Named>>,
}

/// All subscriptions with memory of this bridge.
#[derive(Debug, Default)]
pub(super) struct NamedTable(RwLock<Table>);

impl NamedTable {
    pub(super) fn insert(&self, named: Arc<Named>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for filter in &named.filters {
            table.trie.insert(filter, named.id);
        }
        table.by_id.insert(named.id, named);
    }

    pub(super) fn remove(&self, id: u32) -> Option<Arc<Named>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let named = table.by_id.remove(&id)?;
        for filter in &named.filters {
            table.trie.remove(filter, &id);
        }
        Some(named)
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Named>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    pub(super) fn find(&self, owner: &str, name: &str) -> Option<Arc<Named>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.by_id.values().find(|named| *named.owner == *owner && *named.name == *name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Named>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect()
    }

    /// Ids of those that want the topic, ascending, each once.
    pub(super) fn matching(&self, topic: &Topic) -> SmallVec<[u32; 4]> {
        let mut ids = SmallVec::new();
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.trie.for_each_match(topic, |id| ids.push(*id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPTS_MAX: u32 = 20;
    const LEASE: Duration = Duration::from_secs(30);
    const PAUSE_FIRST: Duration = Duration::from_secs(1);
    const PAUSE_MAX: Duration = Duration::from_secs(300);

    fn named_with(settings: SubscriptionSettings) -> Named {
        let filters = vec![TopicFilter::parse("**").expect("filter")];
        Named::new(1, "n", "me", filters, None, settings)
    }

    fn named() -> Named {
        named_with(SubscriptionSettings::default())
    }

    #[test]
    fn a_retry_blocks_its_own_lane_and_no_other() {
        let settings = SubscriptionSettings { on_retry: OnRetry::Block, ..SubscriptionSettings::default() };
        let (named, now) = (named_with(settings), Instant::now());
        let lane = |number| (meshbridge_routing::BridgeId::parse("far").expect("valid id"), number);
        [(1, 5), (2, 5), (3, 6), (4, 5)].iter().for_each(|(body, l)| named.offer_in(*body, lane(*l)));
        let connection = named.connect();
        let first = take(&named, connection, now).expect("offered");
        let other = take(&named, connection, now).expect("offered");
        assert_eq!((first.body, other.body), (1, 3));
        assert_eq!(take(&named, connection, now), None, "the lane is busy");
        assert_eq!(named.refuse(1, first.token, now), Some(false));
        assert_eq!(take(&named, connection, now), None, "and stays so while the event waits");
        assert_eq!(named.figures().waiting, 2);
        let again = take(&named, connection, now + PAUSE_MAX).expect("offered again");
        assert_eq!(again.body, 1);
        assert!(named.end_lease(1, again.token));
        let next = take(&named, connection, now + PAUSE_MAX).expect("the next one");
        assert_eq!(next.body, 2);
        named.forget(2);
        assert_eq!(take(&named, connection, now + PAUSE_MAX).map(|taken| taken.body), Some(4));
    }

    fn take(named: &Named, connection: u64, now: Instant) -> Option<Taken> {
        named.take(connection, Some(LEASE), LEASES_MAX, now).expect("still ours")
    }

    #[test]
    fn what_a_connection_held_comes_first_to_the_next_one_and_counts_as_an_attempt() {
        let (named, now) = (named(), Instant::now());
        (1..=3).for_each(|body| named.offer(body));
        let first = named.connect();
        assert_eq!(take(&named, first, now).map(|t| (t.body, t.attempts)), Some((1, 0)));
        assert_eq!(take(&named, first, now).map(|t| t.body), Some(2));
        let second = named.connect();
        assert_eq!(named.take(first, None, 9, now), Err(NamedEnd::TakenOver));
        let seen: Vec<_> =
            (0..3).filter_map(|_| take(&named, second, now)).map(|t| (t.body, t.attempts)).collect();
        assert_eq!(seen, [(1, 1), (2, 1), (3, 0)]);
    }

    #[test]
    fn a_late_acknowledgement_of_an_earlier_attempt_settles_nothing() {
        let (named, now) = (named(), Instant::now());
        named.offer(7);
        let connection = named.connect();
        let old = take(&named, connection, now).expect("offered");
        assert!(named.tick(now + LEASE).is_empty());
        let later = now + LEASE + PAUSE_FIRST * 2;
        let fresh = take(&named, connection, later).expect("offered again");
        assert_eq!(fresh.attempts, 1);
        assert!(!named.end_lease(7, old.token));
        assert!(named.end_lease(7, fresh.token));
        assert!(!named.end_lease(7, fresh.token));
    }

    #[test]
    fn the_last_attempt_that_fails_is_the_end() {
        let (named, mut now) = (named(), Instant::now());
        named.offer(7);
        let connection = named.connect();
        for attempt in 1..=ATTEMPTS_MAX {
            let taken = take(&named, connection, now).expect("offered");
            assert_eq!(taken.attempts, attempt - 1);
            assert_eq!(named.refuse(7, taken.token, now), Some(attempt == ATTEMPTS_MAX));
            now += PAUSE_MAX * 2;
        }
        assert_eq!(take(&named, connection, now), None);
    }

    #[test]
    fn credit_holds_events_back() {
        let (named, now) = (named(), Instant::now());
        (1..=3).for_each(|body| named.offer(body));
        let connection = named.connect();
        let taken = named.take(connection, None, 1, now).expect("ours").expect("one");
        assert_eq!(named.take(connection, None, 1, now), Ok(None));
        assert!(named.end_lease(taken.body, taken.token));
        assert!(named.take(connection, None, 1, now).expect("ours").is_some());
    }

    #[test]
    fn up_to_the_last_one_seen_everything_is_dealt_with() {
        let named = named();
        (1..=5).for_each(|body| named.offer(body));
        assert_eq!(named.end_up_to(3), [1, 2, 3]);
        assert_eq!(named.end_up_to(3), [0_u64; 0]);
        assert_eq!(named.waiting(), [4, 5]);
    }
}
