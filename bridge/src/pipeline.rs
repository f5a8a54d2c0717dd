//! The life of an event inside one bridge (DESIGN §4), in batches.
//!
//! ```text
//!  listener ─► publish verdict ─► plan: interest → destinations → egress verdict, once per destination class
//!                          └─► admission: numbers, then every copy on its way   (the one place before the answer)
//!  link ─────► arrival ─► transit verdict ─► forward, one copy per next hop
//!                     └─► dedup ─► ingress verdict ─► subscribers
//! ```
//!
//! Policy and forwarding are snapshots: a batch sees one generation of each. Events live in memory here; the one
//! place where durability comes in is [`admission`], between the verdict and the answer to the publisher.

mod accounts;
mod admission;
mod arrival;
mod best_effort;
mod client;
mod dead_letters;
mod dedup;
mod detours;
mod driver;
mod durable;
mod form;
mod forward;
mod groups;
mod intake;
mod judge;
mod kept_back;
mod kept_views;
mod letter_room;
mod members;
mod membership;
mod named;
mod named_api;
mod named_connection;
mod named_table;
mod notices;
mod observe;
mod over_links;
mod pace;
mod parking;
mod plan;
mod principal;
mod publishing;
mod push;
mod quarantine;
mod queue;
mod quotas;
mod recent;
mod reception;
mod record;
mod relays;
mod replies;
mod sealed;
mod settings;
mod sharing;
mod sitting;
mod stored;
mod subscriptions;
mod todo;
mod train_arrivals;
mod trains;
mod waiters;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use meshbridge_delivery::{Core, LeftOut, Outcome};
use meshbridge_event::Event;
use meshbridge_policy::{Buckets, MapKeyRing, ZoneIndex};
use meshbridge_routing::{BridgeId, EventKey, Forwarding, LinkId, Run, ZoneName};
use meshbridge_topic::{Topic, TopicFilter};

pub(crate) use client::{Client, Subscribing, Tagged};
pub(crate) use principal::Principal;
pub(crate) use publishing::Taken;
pub(crate) use push::Webhooks;
pub(crate) use quarantine::{HeldView, Quarantine, QuarantineOptions, RulingRefused, Which};
pub(crate) use queue::{Delivery, Entry, Queued, SubscriptionEnd, TrainDelivery};
pub(crate) use quotas::{Quota, Quotas};
pub(crate) use recent::{DEAD_LETTERS_MAX, DeadLetter, rfc3339};
pub(crate) use replies::is_reply;
pub(crate) use settings::{OnRetry, Wished};
pub(crate) use subscriptions::is_inbox;
pub(crate) use trains::TrainTaken;

use crate::audit::AuditLog;
use crate::drift::DriftSampler;
use crate::journal::{Journal, JournalFigures};
use crate::link::Links;
use crate::metrics::Metrics;
use crate::observers::Observers;
use crate::policy_store::{Generation, PolicyStore};
use crate::router_task::{AnnounceRefused, Announced, RouterHandle};
use crate::sealing::Sealing;
pub(crate) use arrival::Arrival;
pub(crate) use dead_letters::DeadLetterView;
pub(crate) use intake::{RejectReason, Rejection};
pub(crate) use kept_views::Kept;
pub(crate) use members::{Strategy, WEIGHT_MAX};
pub(crate) use membership::MembershipRefused;
pub(crate) use named::{LEASES_MAX, NamedEnd};
pub(crate) use named_api::{Acknowledged, Kind, NamedRefused, NamedView, Reader};
pub(crate) use named_connection::{Acks, Flushed, Leased, NamedConnection};
pub(crate) use parking::WAIT_MAX;
pub(crate) use reception::FilterDenied;
pub(crate) use waiters::AckLevel;

use accounts::Ends;
use best_effort::Sequencer;
use dedup::Dedup;
use detours::Detours;
use durable::Durable;
use groups::Unchosen;
use letter_room::LetterRoom;
use named_table::NamedTable;
use parking::Parking;
use recent::{DeadLetters, RecentlySent};
use replies::Replies;
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
    /// Of the destinations, those that it does not go to before a person has decided.
    pub(crate) held: Vec<Held>,
    /// Interested bridges that it does not go to for another reason.
    pub(crate) left_out: Vec<(BridgeId, LeftOut)>,
    /// The publisher has said this before; the key is that of the first time.
    pub(crate) duplicate: bool,
    /// Its `expirytime` was over when it was published, so it goes nowhere.
    pub(crate) expired: bool,
    /// How far it has come, where more than `stored` was asked for.
    pub(crate) reached: Option<Reached>,
}

impl Accepted {
    fn new(key: EventKey, destinations: Vec<BridgeId>, denied: Vec<Denied>) -> Accepted {
        Accepted {
            key,
            destinations,
            denied,
            held: Vec::new(),
            left_out: Vec::new(),
            duplicate: false,
            expired: false,
            reached: None,
        }
    }
}

/// The answer to a publisher that waited.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) level: AckLevel,
    /// Who has not answered what was asked for.
    pub(crate) missing: Vec<BridgeId>,
    /// Destinations where it ended, and how.
    pub(crate) outcomes: Vec<(BridgeId, Outcome)>,
}

/// What a publisher asks for beside taking the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) level: AckLevel,
    /// How long the answer may wait for it.
    pub(crate) patience: Duration,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { level: AckLevel::Stored, patience: Duration::from_secs(10) }
    }
}

/// A destination that left the set at the border of this zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) destination: BridgeId,
    /// The rule, `<policy>/<rule>` or `default-deny@<layer>`.
    pub(crate) by: String,
    pub(crate) disposition: String,
}

/// A destination that is pending until a person has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) destination: BridgeId,
    /// The rule, `<policy>/<rule>`.
    pub(crate) by: String,
}

/// Why a batch was not taken; nothing of it was.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PublishRefused {
    /// The spool, or the queue to a next hop, has no room. Worth trying again after the given time.
    #[error("the bridge has no room for more events")]
    Full { retry_after: Duration },
    /// One destination has too much waiting for it.
    #[error("too many events wait for bridge `{bridge}`: {quota}")]
    DestinationFull { bridge: BridgeId, quota: String, retry_after: Duration },
    /// A rule makes dead letters of events in the batch, and there is no room for more of them.
    #[error("too many dead letters are kept: purge some, or raise `delivery.deadLetterEvents`")]
    LettersFull { retry_after: Duration },
    /// The publisher has as much in the spool as it may have.
    #[error("too many of your events are kept: {quota}")]
    ProducerFull { quota: String, retry_after: Duration },
    /// A rule refuses one of the events.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    /// The bridge is stopping. Another bridge of the zone may take it.
    #[error("the bridge is stopping")]
    Draining,
}

/// Why a subscription was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SubscribeRefused {
    /// The interest this bridge may announce is used up, or the room for subscriptions; the text names the budget.
    #[error("{0}")]
    InterestFull(String),
    /// A rule keeps everything of a filter from this subscriber.
    #[error(transparent)]
    Denied(Box<FilterDenied>),
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Draining,
}

impl From<AnnounceRefused> for SubscribeRefused {
    fn from(refused: AnnounceRefused) -> SubscribeRefused {
        match refused {
            AnnounceRefused::Full(full) => SubscribeRefused::InterestFull(full.to_string()),
            AnnounceRefused::Stopped => SubscribeRefused::Draining,
        }
    }
}

/// What the pipeline is built from.
#[derive(Debug)]
pub(crate) struct PipelineParts {
    pub(crate) own: BridgeId,
    pub(crate) own_zone: ZoneName,
    pub(crate) own_zone_index: ZoneIndex,
    /// Numbers of best-effort events belong to this run.
    pub(crate) best_effort_run: Run,
    /// All bridges of the federation.
    pub(crate) bridges: Vec<BridgeId>,
    pub(crate) quotas: Quotas,
    pub(crate) policies: Arc<PolicyStore>,
    /// Keys for data that this bridge holds.
    pub(crate) keys: Arc<MapKeyRing>,
    pub(crate) forwarding: Arc<ArcSwap<Forwarding>>,
    pub(crate) links: Arc<Links>,
    pub(crate) router: RouterHandle,
    pub(crate) sealing: Sealing,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) quarantine: Quarantine,
    /// Who looks on while events are judged.
    pub(crate) observers: Arc<Observers>,
    /// Looks through samples of what is published.
    pub(crate) drift: Arc<DriftSampler>,
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
    durable: Durable,
    ends: Ends,
    named: NamedTable,
    letters: Arc<LetterRoom>,
    unchosen: Unchosen,
    /// Held while a subscription with memory is made.
    making: tokio::sync::Mutex<()>,
    webhooks: OnceLock<Arc<Webhooks>>,
    /// The link towards each bridge, as the delivery core was told.
    ways: Mutex<HashMap<BridgeId, Option<LinkId>>>,
    subscriptions: Subscriptions,
    replies: Replies,
    sequencer: Mutex<Sequencer>,
    dedup: Mutex<Dedup>,
    parking: Mutex<Parking>,
    recent: Mutex<RecentlySent>,
    detours: Detours,
    dead_letters: Mutex<DeadLetters>,
    /// What rates of the policies have let through.
    buckets: Buckets,
    /// When this bridge began; buckets run by the time since.
    started: Instant,
    draining: AtomicBool,
    /// What the spool held when the bridge started is with its subscriptions.
    resumed: AtomicBool,
    resumed_now: tokio::sync::Notify,
}

/// Locks whose holder panicked keep their data: each critical section leaves it whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipeline {
    pub(crate) fn new(parts: PipelineParts, core: Core, journal: Journal) -> Pipeline {
        Pipeline {
            inner: Arc::new(Inner {
                durable: Durable::new(core, journal),
                ends: Ends::default(),
                named: NamedTable::default(),
                letters: Arc::new(LetterRoom::new(parts.quotas.letters)),
                unchosen: Unchosen::default(),
                making: tokio::sync::Mutex::default(),
                webhooks: OnceLock::new(),
                ways: Mutex::default(),
                subscriptions: Subscriptions::default(),
                replies: Replies::new(parts.own.clone()),
                sequencer: Mutex::default(),
                dedup: Mutex::default(),
                parking: Mutex::default(),
                recent: Mutex::default(),
                detours: Detours::default(),
                dead_letters: Mutex::default(),
                buckets: Buckets::new(),
                started: Instant::now(),
                draining: AtomicBool::new(false),
                resumed: AtomicBool::new(false),
                resumed_now: tokio::sync::Notify::new(),
                parts,
            }),
        }
    }

    /// Registers a subscriber here and its interest with the federation.
    pub(crate) async fn subscribe(
        &self,
        principal: &Principal,
        filters: Vec<TopicFilter>,
        queue_bytes_max: usize,
    ) -> Result<Subscription, SubscribeRefused> {
        self.inner.may_ask_for(principal, &filters).map_err(SubscribeRefused::Denied)?;
        // Local first: an event that arrives because of the interest must find its subscriber.
        let subscriber = self.inner.subscriptions.insert(
            principal,
            &filters,
            queue_bytes_max,
            &self.inner.durable.finished,
        );
        let mut subscription =
            Subscription { pipeline: self.clone(), subscriber: subscriber?, filters, announced: None };
        let announced = self.inner.parts.router.announce(subscription.filters.clone()).await?;
        subscription.announced = Some(announced);
        Ok(subscription)
    }

    /// Waits until what the spool held when the bridge started is with its subscriptions; the driver does that first.
    pub(crate) async fn resumed(&self) {
        let resumed = self.inner.resumed_now.notified();
        if !self.inner.resumed.load(Ordering::Acquire) {
            resumed.await;
        }
    }

    /// The names of this bridge and of its zone.
    pub(crate) fn names(&self) -> (String, String) {
        (self.inner.parts.own.to_string(), self.inner.parts.own_zone.to_string())
    }

    /// Ends all subscriptions and takes no more events.
    pub(crate) fn drain(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.subscriptions.drain();
    }

    /// The federation remembers more of this bridge than its disk does: it goes on in this run, whose epoch is durable.
    pub(crate) fn begin_run(&self, run: Run) {
        self.inner.parts.sealing.raise_epoch(run.epoch);
        self.inner.durable.with(|core| core.begin_run(run, std::time::Instant::now()));
    }

    /// The next run of this bridge begins above `epoch`; on the disk when this returns.
    pub(crate) fn raise_epoch(&self, epoch: u64) {
        self.inner.durable.journal.raise_epoch(epoch);
    }

    /// Writes out what the log has been given. Nothing is taken after this.
    pub(crate) fn stop_journal(&self) {
        self.inner.durable.journal.stop();
    }

    pub(crate) fn spool_figures(&self) -> JournalFigures {
        self.inner.durable.journal.figures()
    }

    /// Ids of producers whose retries are recognised.
    pub(crate) fn producer_window(&self) -> usize {
        self.inner.durable.view(|core| core.state().producers.len())
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.inner.subscriptions.len()
    }

    /// Gaps in the numbers of best-effort events that came here.
    pub(crate) fn best_effort_gaps(&self) -> usize {
        lock(&self.inner.dedup).gaps()
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
    announced: Option<Announced>,
}

impl Subscription {
    /// The next event, in lane order. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Result<Arc<Delivery>, SubscriptionEnd> {
        self.subscriber.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.pipeline.inner.subscriptions.remove(&self.subscriber, &self.filters);
        // What was told of it goes with `announced`.
        self.announced = None;
    }
}
