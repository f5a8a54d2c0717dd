//! Publishers that want to hear more than `stored`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use meshbridge_delivery::{Effect, Outcome};
use meshbridge_routing::{BridgeId, EventKey};
use tokio::sync::Notify;

use super::lock;

/// How sure a publisher wants to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AckLevel {
    /// Admitted to memory.
    None,
    /// On the disk of the origin.
    #[default]
    Stored,
    /// On the disk of every destination, or ended there.
    Replicated,
    /// Ended everywhere.
    Delivered,
}

impl AckLevel {
    pub(crate) const NAMES: [&'static str; 4] = ["none", "stored", "replicated", "delivered"];

    pub(crate) fn parse(text: &str) -> Option<AckLevel> {
        Some(match text {
            "none" => AckLevel::None,
            "stored" => AckLevel::Stored,
            "replicated" => AckLevel::Replicated,
            "delivered" => AckLevel::Delivered,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        AckLevel::NAMES[self as usize]
    }
}

/// What is known of one event so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// By key: for a consumer group the event may go to the same bridge under another one.
    unsettled: BTreeSet<(EventKey, BridgeId)>,
    open: BTreeSet<(EventKey, BridgeId)>,
    /// Consumer groups that wait for a bridge with a member.
    groups: usize,
    pub(crate) ended: BTreeMap<BridgeId, Outcome>,
}

impl Progress {
    pub(super) fn reached(&self, level: AckLevel) -> bool {
        match level {
            AckLevel::None | AckLevel::Stored => true,
            AckLevel::Replicated => self.unsettled.is_empty() && self.groups == 0,
            AckLevel::Delivered => self.open.is_empty() && self.groups == 0,
        }
    }

    /// Who has not answered what `level` asks for.
    pub(super) fn missing(&self, level: AckLevel) -> Vec<BridgeId> {
        let set = if level == AckLevel::Delivered { &self.open } else { &self.unsettled };
        let missing: BTreeSet<&BridgeId> = set.iter().map(|(_, bridge)| bridge).collect();
        missing.into_iter().cloned().collect()
    }

    /// A pair goes on under another key.
    fn rename(&mut self, (from, to): (&EventKey, &EventKey), destination: &BridgeId) {
        let (before, now) = ((from.clone(), destination.clone()), (to.clone(), destination.clone()));
        for pairs in [&mut self.unsettled, &mut self.open] {
            if pairs.remove(&before) {
                pairs.insert(now.clone());
            }
        }
    }

    /// Where one bridge has the event twice, the end that is not `delivered` is told.
    fn end(&mut self, destination: &BridgeId, outcome: &Outcome) {
        let told = self.ended.entry(destination.clone()).or_insert_with(|| outcome.clone());
        if *told == Outcome::Delivered {
            *told = outcome.clone();
        }
    }
}

#[derive(Debug)]
pub(super) struct Waiter {
    progress: Mutex<Progress>,
    changed: Notify,
    /// Under which it goes on for a consumer group, with their bodies.
    further: Mutex<Vec<(EventKey, u64)>>,
}

impl Waiter {
    /// Until `level` is reached; drop it at the deadline.
    pub(super) async fn reached(&self, level: AckLevel) {
        loop {
            let changed = self.changed.notified();
            if lock(&self.progress).reached(level) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }
}

#[derive(Debug, Default)]
struct Table {
    by_body: HashMap<u64, EventKey>,
    by_key: HashMap<EventKey, Entry>,
}

/// A publisher that says an event again waits with the one that said it first.
#[derive(Clone, Debug)]
struct Entry {
    /// Nobody has to be told of its record any more where there is none.
    body: Option<u64>,
    waiter: Arc<Waiter>,
    publishers: usize,
}

/// What an event still has to reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    pub(super) body: Option<u64>,
    /// Destinations that may not have it yet.
    pub(super) pending: &'a [BridgeId],
    /// Those that have it, and have not said how it ended.
    pub(super) stored: &'a [BridgeId],
    /// Consumer groups that wait for a bridge with a member.
    pub(super) groups: usize,
}

/// All of them. Bounded by the requests in flight.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<Table>);

/// A publisher's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    table: Arc<Waiters>,
    key: EventKey,
    waiter: Arc<Waiter>,
}

impl std::ops::Deref for Waiting {
    type Target = Waiter;

    fn deref(&self) -> &Waiter {
        &self.waiter
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut table = lock(&self.table.0);
        if let Some(entry) = table.by_key.get_mut(&self.key) {
            entry.publishers -= 1;
            if entry.publishers > 0 {
                return;
            }
        }
        if let Some(Entry { body: Some(body), .. }) = table.by_key.remove(&self.key) {
            table.by_body.remove(&body);
        }
        for (key, body) in lock(&self.waiter.further).drain(..) {
            table.by_key.remove(&key);
            table.by_body.remove(&body);
        }
    }
}

impl Waiters {
    /// To be called under the lock of the core, before what is seen there can change.
    pub(super) fn add(self: &Arc<Waiters>, key: &EventKey, before: Before<'_>) -> Waiting {
        let Before { body, pending, stored, groups } = before;
        let mut table = lock(&self.0);
        if let Some(entry) = table.by_key.get_mut(key) {
            entry.publishers += 1;
            let waiter = Arc::clone(&entry.waiter);
            return Waiting { table: Arc::clone(self), key: key.clone(), waiter };
        }
        let under_key = |bridge: &BridgeId| (key.clone(), bridge.clone());
        let unsettled: BTreeSet<_> = pending.iter().map(under_key).collect();
        let open = unsettled.iter().cloned().chain(stored.iter().map(under_key)).collect();
        let progress = Progress { unsettled, open, groups, ended: BTreeMap::new() };
        let (changed, further) = (Notify::new(), Mutex::default());
        let waiter = Arc::new(Waiter { progress: Mutex::new(progress), changed, further });
        table.by_body.extend(body.map(|body| (body, key.clone())));
        table.by_key.insert(key.clone(), Entry { body, waiter: Arc::clone(&waiter), publishers: 1 });
        drop(table);
        Waiting { table: Arc::clone(self), key: key.clone(), waiter }
    }

    pub(super) fn on_effect(&self, effect: &Effect) {
        let mut table = lock(&self.0);
        if table.by_key.is_empty() {
            return;
        }
        if let Effect::Moved { from, to, body, destination, group } = effect {
            let Some(Entry { waiter, .. }) = table.by_key.get(from).cloned() else { return };
            table.by_body.insert(*body, to.clone());
            let further = Entry { body: Some(*body), waiter: Arc::clone(&waiter), publishers: 1 };
            // Once for all its pairs.
            if table.by_key.insert(to.clone(), further).is_none() {
                lock(&waiter.further).push((to.clone(), *body));
            }
            let mut progress = lock(&waiter.progress);
            if group.is_none() {
                return progress.rename((from, to), destination);
            }
            progress.groups = progress.groups.saturating_sub(1);
            progress.unsettled.insert((to.clone(), destination.clone()));
            progress.open.insert((to.clone(), destination.clone()));
            return;
        }
        let (key, destination, outcome) = match effect {
            Effect::Settled { body, destination } => match table.by_body.get(body) {
                Some(key) => (key, destination, None),
                None => return,
            },
            Effect::Ended { key, destination, outcome } => (key, destination, Some(outcome)),
            Effect::Unchosen { body, .. } => {
                let waiter = table.by_body.get(body).and_then(|key| table.by_key.get(key));
                if let Some(Entry { waiter, .. }) = waiter {
                    lock(&waiter.progress).groups += 1;
                }
                return;
            }
            Effect::Released(_) | Effect::Moved { .. } => return,
        };
        let Some(Entry { waiter, .. }) = table.by_key.get(key) else { return };
        let mut progress = lock(&waiter.progress);
        let pair = (key.clone(), destination.clone());
        progress.unsettled.remove(&pair);
        if let Some(outcome) = outcome {
            progress.open.remove(&pair);
            if *outcome != Outcome::Moved {
                progress.end(destination, outcome);
            }
        }
        drop(progress);
        waiter.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use meshbridge_routing::Run;

    use super::*;

    fn key(epoch: u64, seq: u64) -> EventKey {
        let origin = "here".parse().expect("an id");
        EventKey { origin, run: Run { epoch, nonce: 7 }, lane: 0, seq }
    }

    #[test]
    fn who_waits_for_an_event_goes_on_waiting_under_its_other_key() {
        let waiters = Arc::new(Waiters::default());
        let (there, far): (BridgeId, BridgeId) =
            ("there".parse().expect("an id"), "far".parse().expect("an id"));
        let (from, to) = (key(1, 9), key(2, 1));
        let pending = [there.clone(), far.clone()];
        let before = Before { body: Some(5), pending: &pending, stored: &[], groups: 1 };
        let waiting = waiters.add(&from, before);
        for destination in [&there, &far] {
            let (from, to, destination) = (from.clone(), to.clone(), destination.clone());
            waiters.on_effect(&Effect::Moved { from, to, body: 5, destination, group: None });
        }
        assert_eq!(waiting.progress().groups, 1, "no group was chosen");
        let ended = |key: &EventKey, destination: &BridgeId| {
            let (key, destination, outcome) = (key.clone(), destination.clone(), Outcome::Delivered);
            waiters.on_effect(&Effect::Ended { key, destination, outcome });
        };
        ended(&from, &there);
        assert_eq!(waiting.progress().missing(AckLevel::Delivered).len(), 2, "that is another event's end");
        waiters.on_effect(&Effect::Settled { body: 5, destination: far.clone() });
        assert_eq!(waiting.progress().missing(AckLevel::Replicated), std::slice::from_ref(&there));
        ended(&to, &there);
        ended(&to, &far);
        assert!(waiting.progress().missing(AckLevel::Delivered).is_empty());
        drop(waiting);
        let table = lock(&waiters.0);
        assert!(table.by_key.is_empty() && table.by_body.is_empty(), "{table:?}");
    }
}
