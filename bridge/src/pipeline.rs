//! The life of an event inside one bridge (DESIGN §4), in batches.
//!
//! ```text
//!  listener ─► publish ─► plan: interest → destinations → egress verdict, once per destination class
//!                          └─► admission: numbers, then every copy on its way   (the one place before the answer)
//!  link ─────► arrival ─► transit verdict ─► forward, one copy per next hop
//!                     └─► dedup ─► ingress verdict ─► subscribers
//! ```
//!
//! Policy and forwarding are snapshots: a batch sees one generation of each. Events live in memory here; the one
//! place where durability comes in is [`admission`], between the verdict and the answer to the publisher.

mod admission;
mod arrival;
mod dedup;
mod forward;
mod judge;
mod notices;
mod parking;
mod plan;
mod principal;
mod recent;
mod subscriptions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use meshbridge_event::Event;
use meshbridge_policy::ZoneIndex;
use meshbridge_routing::{BridgeId, EventKey, Forwarding, Run, ZoneName};
use meshbridge_topic::{Topic, TopicFilter};
use tokio::sync::oneshot;

pub(crate) use principal::Principal;
pub(crate) use recent::{DEAD_LETTERS_MAX, DeadLetter, rfc3339};
pub(crate) use subscriptions::{Delivery, SubscriptionEnd};

use crate::link::Links;
use crate::metrics::Metrics;
use crate::policy_store::{Generation, PolicyStore};
use crate::router_task::{Command, RouterHandle};
pub(crate) use arrival::Arrival;
pub(crate) use parking::WAIT_MAX;

use admission::Sequencer;
use dedup::Dedup;
use parking::Parking;
use recent::{DeadLetters, RecentlySent};
use subscriptions::{Subscriber, Subscriptions};

/// What a client publishes.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Topic,
    pub(crate) event: Event,
}

/// The answer to one publication.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) key: EventKey,
    /// Whom it is for, this bridge included where it has subscribers.
    pub(crate) destinations: Vec<BridgeId>,
    /// Interested bridges that a rule keeps it from.
    pub(crate) denied: Vec<Denied>,
}

/// A destination that left the set at the border of this zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) destination: BridgeId,
    /// The rule, `<policy>/<rule>` or `default-deny@<layer>`.
    pub(crate) by: String,
    pub(crate) disposition: String,
}

/// Why a batch was not taken; nothing of it was.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PublishRefused {
    /// The queue to a next hop has no room. Worth trying again after the given time.
    #[error("the way to a destination is full")]
    Full { retry_after: Duration },
    /// The bridge is stopping. Another bridge of the zone may take it.
    #[error("the bridge is stopping")]
    Draining,
}

/// Why a subscription was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SubscribeRefused {
    /// The interest this bridge may announce is used up; the text names the budget.
    #[error("{0}")]
    InterestFull(String),
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Draining,
}

/// What the pipeline is built from.
#[derive(Debug)]
pub(crate) struct PipelineParts {
    pub(crate) own: BridgeId,
    pub(crate) own_zone: ZoneName,
    pub(crate) own_zone_index: ZoneIndex,
    pub(crate) run: Run,
    pub(crate) policies: Arc<PolicyStore>,
    pub(crate) forwarding: Arc<ArcSwap<Forwarding>>,
    pub(crate) links: Arc<Links>,
    pub(crate) router: RouterHandle,
    pub(crate) metrics: Arc<Metrics>,
}

/// The data path of one bridge; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: PipelineParts,
    subscriptions: Subscriptions,
    sequencer: Mutex<Sequencer>,
    dedup: Mutex<Dedup>,
    parking: Mutex<Parking>,
    recent: Mutex<RecentlySent>,
    dead_letters: Mutex<DeadLetters>,
    draining: AtomicBool,
}

/// Locks whose holder panicked keep their data: each critical section leaves it whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipeline {
    pub(crate) fn new(parts: PipelineParts) -> Pipeline {
        Pipeline {
            inner: Arc::new(Inner {
                parts,
                subscriptions: Subscriptions::default(),
                sequencer: Mutex::default(),
                dedup: Mutex::default(),
                parking: Mutex::default(),
                recent: Mutex::default(),
                dead_letters: Mutex::default(),
                draining: AtomicBool::new(false),
            }),
        }
    }

    /// Takes a batch whole or refuses it whole. When this returns `Ok`, every event has its number and every copy
    /// is on its way.
    pub(crate) async fn publish(
        &self,
        _principal: &Principal,
        batch: Vec<Publication>,
    ) -> Result<Vec<Accepted>, PublishRefused> {
        if self.inner.draining.load(Ordering::Relaxed) {
            return Err(PublishRefused::Draining);
        }
        let generation = self.generation();
        let forwarding = self.inner.parts.forwarding.load();
        let planned = self.inner.plan(&generation, &forwarding, batch);
        self.inner.admit(&generation, &forwarding, planned)
    }

    /// Registers a subscriber here and its interest with the federation.
    pub(crate) async fn subscribe(
        &self,
        _principal: &Principal,
        filters: Vec<TopicFilter>,
        queue_bytes_max: usize,
    ) -> Result<Subscription, SubscribeRefused> {
        // Local first: an event that arrives because of the interest must find its subscriber.
        let subscriber = self.inner.subscriptions.insert(&filters, queue_bytes_max);
        let subscriber = subscriber.ok_or(SubscribeRefused::Draining)?;
        let mut subscription = Subscription { pipeline: self.clone(), subscriber, filters, announced: false };
        let (reply, outcome) = oneshot::channel();
        let filters = subscription.filters.clone();
        self.inner.parts.router.send(Command::Subscribe { filters, reply }).await;
        match outcome.await {
            Ok(Ok(())) => {
                subscription.announced = true;
                Ok(subscription)
            }
            Ok(Err(full)) => Err(SubscribeRefused::InterestFull(full.to_string())),
            Err(_) => Err(SubscribeRefused::Draining),
        }
    }

    /// Ends all subscriptions and takes no more events.
    pub(crate) fn drain(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.subscriptions.drain();
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.inner.subscriptions.len()
    }

    pub(crate) fn parked_bytes(&self) -> usize {
        lock(&self.inner.parking).bytes()
    }

    /// The dead letters kept, oldest first, and how many older ones were overwritten.
    pub(crate) fn dead_letters(&self) -> (Vec<DeadLetter>, u64) {
        lock(&self.inner.dead_letters).snapshot()
    }

    pub(crate) fn forwarding(&self) -> arc_swap::Guard<Arc<Forwarding>> {
        self.inner.parts.forwarding.load()
    }

    fn generation(&self) -> arc_swap::Guard<Arc<Generation>> {
        self.inner.parts.policies.active()
    }
}

/// A live subscription; dropping it withdraws its interest.
#[derive(Debug)]
pub(crate) struct Subscription {
    pipeline: Pipeline,
    subscriber: Subscriber,
    filters: Vec<TopicFilter>,
    announced: bool,
}

impl Subscription {
    /// The next event, in lane order. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Result<Arc<Delivery>, SubscriptionEnd> {
        self.subscriber.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let inner = &self.pipeline.inner;
        inner.subscriptions.remove(&self.subscriber, &self.filters);
        if self.announced {
            let filters = std::mem::take(&mut self.filters);
            inner.parts.router.send_later(Command::Unsubscribe { filters });
        }
    }
}
