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
//!
//! A lease runs from when its reader was last done with an event that it got before this one (`named/progress.rs`). A
//! subscription that would add a dead letter where there is no room for one pauses (`letter_room.rs`).

mod attempts;
mod lanes;
mod later;
mod progress;
mod seen;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meshbridge_routing::GroupName;
use meshbridge_topic::TopicFilter;
use rand::RngExt;
use tokio::sync::Notify;

use super::letter_room::LetterRoom;
use super::lock;
use super::members::{Members, Strategy};
use super::settings::{OnRetry, SubscriptionSettings};
use crate::webhook::TargetUrl;

/// Leases of one connection.
pub(crate) const LEASES_MAX: usize = 1_024;
/// Events of a group dealt out at a time.
const DEAL: usize = 256;
/// A group without members keeps its events for so long: a client that reconnects takes less.
pub(super) const GROUP_GRACE: Duration = Duration::from_secs(5);
/// Subscriptions of one bridge.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 10_000;

pub(super) use lanes::Lane;
use lanes::Lanes;
use progress::Progress;
pub(super) use seen::HandOut;

/// One subscription with memory.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) id: u32,
    pub(crate) name: Box<str>,
    pub(crate) owner: Box<str>,
    pub(crate) filters: Vec<TopicFilter>,
    /// Pushed there, instead of read by a client.
    pub(crate) push: Option<TargetUrl>,
    /// Shared with members elsewhere under this name, which is the federation's.
    pub(crate) group: Option<Group>,
    pub(crate) settings: SubscriptionSettings,
    letters: Arc<LetterRoom>,
    state: Mutex<NamedState>,
    pub(super) ready: Notify,
}

/// Of a subscription that is a consumer group's part here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    pub(crate) strategy: Strategy,
}

#[derive(Debug, Default)]
struct NamedState {
    /// By the order of their first offer.
    waiting: BTreeMap<u64, u64>,
    /// Connections that share a group.
    members: Members,
    /// Of the bodies of a group, where its members are chosen by it.
    partitions: HashMap<u64, u32>,
    /// The federation was told that a member is here.
    live: bool,
    /// When the last member left, or the process began.
    idle_since: Option<Instant>,
    leases: HashMap<u64, Lease>,
    /// Refused, to be offered again at this time: order and body.
    later: BTreeMap<(Instant, u64), u64>,
    attempts: HashMap<u64, u32>,
    /// By body, the connection that got it last, and under which lease.
    handed: HashMap<u64, (u64, u64)>,
    /// How often it was noted that an event is overtaken, and how much of that is on the disk.
    notes: u64,
    notes_durable: u64,
    lanes: Lanes,
    /// Of the connections that hold leases which end by the clock.
    progress: HashMap<u64, Progress>,
    next_order: u64,
    next_token: u64,
    /// Of the connection that may take events; a newer one takes over.
    connection: u64,
    connected: bool,
    /// An event that has had its attempts waits for room among the dead letters, and the others behind it.
    paused: bool,
    gone: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    order: u64,
    token: u64,
    until: Option<Instant>,
    connection: u64,
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
    /// Until there is room for dead letters.
    pub(crate) paused: bool,
    /// Of a group: connections that share it.
    pub(crate) members: usize,
}

impl Named {
    #[expect(clippy::too_many_arguments, reason = "what a subscription is made of; two callers")]
    pub(super) fn new(
        id: u32,
        name: &str,
        owner: &str,
        filters: Vec<TopicFilter>,
        push: Option<TargetUrl>,
        group: Option<Group>,
        settings: SubscriptionSettings,
        letters: Arc<LetterRoom>,
    ) -> Named {
        let strategy = group.as_ref().map(|group| group.strategy).unwrap_or_default();
        let idle_since = Some(Instant::now());
        // Tokens of an earlier process must not be those of a lease of this one.
        let next_token = u64::from(rand::rng().random::<u32>()) << 32;
        let members = Members::new(strategy);
        let state = NamedState { members, idle_since, next_token, ..NamedState::default() };
        Named {
            group,
            settings,
            push,
            id,
            name: name.into(),
            owner: owner.into(),
            filters,
            letters,
            state: Mutex::new(state),
            ready: Notify::new(),
        }
    }

    /// So often its subscriber could not deal with it, before this process.
    pub(super) fn tried(&self, body: u64, attempts: u32) {
        lock(&self.state).attempts.insert(body, attempts);
    }

    /// As [`Named::offer`]; where retries block their lane, an event of this one.
    pub(super) fn offer_in(&self, body: u64, lane: Lane, partition: u32) {
        if self.settings.on_retry == OnRetry::Block {
            lock(&self.state).lanes.insert(body, lane);
        }
        self.offer(body, partition);
    }

    /// `partition` decides between the members of a group that is shared by it.
    pub(super) fn offer(&self, body: u64, partition: u32) {
        let mut state = lock(&self.state);
        let order = state.next_order;
        state.next_order += 1;
        state.waiting.insert(order, body);
        if state.members.is_sticky() {
            state.partitions.insert(body, partition);
        }
        drop(state);
        self.wake();
    }

    pub(super) fn wake(&self) {
        if self.group.is_some() {
            self.ready.notify_waiters();
        } else {
            self.ready.notify_one();
        }
    }

    /// A connection begins; the former one, if any, gets nothing more, and what it held is offered again.
    pub(super) fn connect(&self, weight: u32) -> u64 {
        let mut state = lock(&self.state);
        state.connection += 1;
        let connection = state.connection;
        if self.group.is_some() {
            state.members.join(connection, weight);
            state.idle_since = None;
            return connection;
        }
        state.connected = true;
        state.give_back_leases(None);
        state.progress.clear();
        drop(state);
        // The former connection is asleep on this, and must learn that it is the former one.
        self.ready.notify_waiters();
        self.ready.notify_one();
        connection
    }

    pub(super) fn disconnect(&self, connection: u64) {
        let mut state = lock(&self.state);
        state.progress.remove(&connection);
        if self.group.is_some() {
            let unread = state.members.leave(connection);
            state.waiting.extend(unread);
            state.give_back_leases(Some(connection));
            if state.members.is_empty() {
                state.idle_since = Some(Instant::now());
            }
            drop(state);
            self.wake();
        } else if state.connection == connection {
            state.connected = false;
            state.give_back_leases(None);
        }
    }

    /// The next event, leased for `lease` (for as long as the connection lives, where that is `None`), which begins anew
    /// with each event that the connection got before it and ends. At most `leases_max` are held at a time.
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
        let shared = self.group.is_some();
        if if shared { !state.members.contains(connection) } else { state.connection != connection } {
            return Err(NamedEnd::TakenOver);
        }
        if state.paused && self.letters.is_full() {
            return Ok(None);
        }
        state.paused = false;
        state.wake_later(now);
        if !shared && state.leases.len() >= leases_max {
            return Ok(None);
        }
        let next = if shared { state.next_of_member(connection, leases_max) } else { state.next() };
        let Some((order, body)) = next else { return Ok(None) };
        state.next_token += 1;
        let token = state.next_token;
        if let Some(lease) = lease {
            state.progress.entry(connection).or_insert_with(|| Progress::new(lease, now));
        }
        state.leases.insert(body, Lease { order, token, until: lease.map(|lease| now + lease), connection });
        let attempts = state.attempts.get(&body).copied().unwrap_or(0);
        Ok(Some(Taken { body, token, attempts }))
    }

    /// `true` where the token is that of the running lease; an old one settles nothing.
    pub(super) fn end_lease(&self, body: u64, token: u64, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let Some(lease) = state.leases.get(&body).copied().filter(|lease| lease.token == token) else {
            return false;
        };
        state.leases.remove(&body);
        state.end(body);
        state.members.released(lease.connection);
        state.note_progress(lease, now);
        drop(state);
        self.wake();
        true
    }

    /// The body ended otherwise.
    pub(super) fn forget(&self, body: u64) {
        let mut state = lock(&self.state);
        if let Some(lease) = state.leases.remove(&body) {
            state.members.released(lease.connection);
        }
        state.members.forget(body);
        state.waiting.retain(|_, waiting| *waiting != body);
        state.later.retain(|_, later| *later != body);
        state.end(body);
    }

    pub(super) fn is_sticky(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.strategy == Strategy::Sticky)
    }

    pub(super) fn group_name(&self) -> Option<&GroupName> {
        self.group.as_ref().map(|group| &group.name)
    }

    /// A member is connected, or was a moment ago.
    pub(super) fn takes_group(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        !state.gone && (state.live || state.idle_since.is_none_or(|since| now < since + GROUP_GRACE))
    }

    /// The federation was told that a member is here, and not yet that it has left.
    pub(super) fn is_live(&self) -> bool {
        lock(&self.state).live
    }

    /// Whether the federation is to be told that a member has come.
    pub(super) fn comes_alive(&self) -> bool {
        let mut state = lock(&self.state);
        let news = !state.live && !state.members.is_empty();
        state.live |= news;
        news
    }

    /// The last member has been away for too long: what the group holds, with the attempts of this process. To be told
    /// to the federation before the events are given back.
    pub(super) fn falls_asleep(&self, now: Instant) -> Option<Vec<(u64, u32)>> {
        let mut state = lock(&self.state);
        let over = state.idle_since.is_some_and(|since| since + GROUP_GRACE <= now);
        if !over || !state.live && state.waiting.is_empty() && state.later.is_empty() {
            return None;
        }
        state.live = false;
        Some(state.take_all())
    }

    /// The group ends here; what it holds goes back.
    pub(super) fn end_group(&self) -> Vec<(u64, u32)> {
        let mut state = lock(&self.state);
        state.gone = true;
        state.give_back_leases(None);
        let all = state.take_all();
        drop(state);
        self.ready.notify_waiters();
        all
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
            waiting: state.waiting.len() + state.lanes.waiting() + state.members.assigned(),
            leased: state.leases.len(),
            delayed: state.later.len(),
            connected: state.connected || !state.members.is_empty(),
            paused: state.paused,
            members: state.members.len(),
        }
    }
}

impl NamedState {
    /// Those of one connection, or all.
    fn give_back_leases(&mut self, connection: Option<u64>) {
        let theirs = |lease: &Lease| connection.is_none_or(|connection| lease.connection == connection);
        let leases: Vec<(u64, Lease)> = self.leases.extract_if(|_, lease| theirs(lease)).collect();
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
        self.handed.remove(&body);
        self.waiting.extend(self.lanes.end(body));
    }

    fn take_all(&mut self) -> Vec<(u64, u32)> {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        let bodies: Vec<u64> = waiting.chain(std::mem::take(&mut self.later).into_values()).collect();
        let attempts = |body: &u64| self.attempts.get(body).copied().unwrap_or(0);
        let all = bodies.iter().map(|body| (*body, attempts(body))).collect();
        for body in bodies {
            self.attempts.remove(&body);
            self.handed.remove(&body);
            self.partitions.remove(&body);
        }
        all
    }

    /// Deals out what waits, and gives this member its next one.
    fn next_of_member(&mut self, connection: u64, room: usize) -> Option<(u64, u64)> {
        self.members.set_room(connection, room);
        let waiting: Vec<(u64, u64)> = self.waiting.iter().take(DEAL).map(|(o, b)| (*o, *b)).collect();
        for (order, body) in waiting {
            let partition = self.partitions.get(&body).copied().unwrap_or(0);
            match self.members.choose(partition) {
                Some(member) => {
                    self.waiting.remove(&order);
                    self.members.assign(member, order, body);
                }
                // Another partition may have a member with room.
                None if self.members.is_sticky() => {}
                None => break,
            }
        }
        self.members.take(connection)
    }
}

#[cfg(test)]
mod tests;
