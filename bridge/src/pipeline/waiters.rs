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
    unsettled: BTreeSet<BridgeId>,
    open: BTreeSet<BridgeId>,
    pub(crate) ended: BTreeMap<BridgeId, Outcome>,
}

impl Progress {
    pub(super) fn reached(&self, level: AckLevel) -> bool {
        match level {
            AckLevel::None | AckLevel::Stored => true,
            AckLevel::Replicated => self.unsettled.is_empty(),
            AckLevel::Delivered => self.open.is_empty(),
        }
    }

    /// Who has not answered what `level` asks for.
    pub(super) fn missing(&self, level: AckLevel) -> Vec<BridgeId> {
        let set = if level == AckLevel::Delivered { &self.open } else { &self.unsettled };
        set.iter().cloned().collect()
    }
}

#[derive(Debug)]
pub(super) struct Waiter {
    progress: Mutex<Progress>,
    changed: Notify,
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
    by_key: HashMap<EventKey, (u64, Arc<Waiter>)>,
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
        if let Some((body, _)) = table.by_key.remove(&self.key) {
            table.by_body.remove(&body);
        }
    }
}

impl Waiters {
    /// To be called before the event can have any effect.
    pub(super) fn add(
        self: &Arc<Waiters>,
        key: &EventKey,
        body: u64,
        remote: &[BridgeId],
        own: Option<BridgeId>,
    ) -> Waiting {
        let unsettled: BTreeSet<BridgeId> = remote.iter().cloned().collect();
        let open = unsettled.iter().cloned().chain(own).collect();
        let progress = Progress { unsettled, open, ended: BTreeMap::new() };
        let waiter = Arc::new(Waiter { progress: Mutex::new(progress), changed: Notify::new() });
        let mut table = lock(&self.0);
        table.by_body.insert(body, key.clone());
        table.by_key.insert(key.clone(), (body, Arc::clone(&waiter)));
        drop(table);
        Waiting { table: Arc::clone(self), key: key.clone(), waiter }
    }

    pub(super) fn on_effect(&self, effect: &Effect) {
        let table = lock(&self.0);
        if table.by_key.is_empty() {
            return;
        }
        let (key, destination, outcome) = match effect {
            Effect::Settled { body, destination } => match table.by_body.get(body) {
                Some(key) => (key, destination, None),
                None => return,
            },
            Effect::Ended { key, destination, outcome } => (key, destination, Some(outcome)),
            Effect::Released(_) => return,
        };
        let Some((_, waiter)) = table.by_key.get(key) else { return };
        let mut progress = lock(&waiter.progress);
        progress.unsettled.remove(destination);
        if let Some(outcome) = outcome {
            progress.open.remove(destination);
            progress.ended.insert(destination.clone(), outcome.clone());
        }
        drop(progress);
        waiter.changed.notify_waiters();
    }
}
