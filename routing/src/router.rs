//! All neighbours, both databases, and the rules between them.
//!
//! One mutation at a time: call a `handle_*`, `subscribe` or the like, then drain [`Router::poll_transmit`] and
//! [`Router::poll_event`]. The forwarding snapshot is made when it is asked for, so many changes cost one.

mod exchange;
mod flood;
mod links;
mod views;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_topic::TopicFilter;

use crate::forwarding::{Forwarding, Roster};
use crate::ids::{BridgeId, LinkId, Run, ZoneName};
use crate::interest::{InterestFull, InterestSet, LINGER, OwnInterest, RESTORE_LINGER};
use crate::keyring::Keyring;
use crate::peer::Peer;
use crate::topology::Topology;
use crate::wire::WireError;
use crate::wire::control::Message;
use exchange::Staging;

pub use views::{InterestView, RouteView};

/// The bridges of the federation document and their zones: whoever is not in it does not exist.
#[derive(Clone, Debug, Default)]
pub struct Members(BTreeMap<BridgeId, ZoneName>);

impl Members {
    pub fn insert(&mut self, bridge: BridgeId, zone: ZoneName) {
        self.0.insert(bridge, zone);
    }

    pub fn zone(&self, bridge: &BridgeId) -> Option<&ZoneName> {
        self.0.get(bridge)
    }
}

/// Bounds on what is learned and announced (RELIABILITY §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub filters_per_owner: usize,
    pub filters_total: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { filters_per_owner: 100_000, filters_total: 2_000_000 }
    }
}

/// What a router is made from.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    pub federation: String,
    pub id: BridgeId,
    pub zone: ZoneName,
    /// Durable before the router is made.
    pub run: Run,
    pub members: Members,
    pub limits: Limits,
    /// For jitter; the same seed and inputs give the same outputs.
    pub seed: u64,
    pub policy_digest: [u8; 32],
}

/// A control message for a link; the driver puts the length in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub link: LinkId,
    pub payload: Bytes,
}

/// What the driver must know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// [`Router::forwarding`] gives something new.
    ForwardingChanged,
    /// R3: the link was silent for two seconds; close it.
    LinkDead(LinkId),
    /// R17: the run continues at this epoch, which must be stored before the next start.
    EpochRaised(u64),
    /// R16: two lives of a bridge claim the same epoch, as a cloned disk does. Neither is believed.
    CloneDetected(BridgeId),
    /// A statement was not taken. An alarm: either side is misconfigured, or somebody lies.
    Refused { peer: BridgeId, why: String },
}

/// A neighbour that broke the protocol; the link must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolViolation {
    #[error("a control message cannot be read: {0}")]
    Wire(#[from] WireError),
    #[error("the peer says it is `{claimed}` of federation `{federation}`, its certificate is for `{expected}`")]
    WrongGreeting { claimed: BridgeId, federation: String, expected: BridgeId },
}

/// R5: a record is renewed this often, so that silence of a life can be told.
pub(crate) const REFRESH: Duration = Duration::from_secs(10);
/// Events nobody polled yet; reports of refusals beyond it are dropped, the others cannot pile up.
const EVENTS_MAX: usize = 1_024;
/// R16: no epoch above this is believed.
pub(crate) const EPOCH_MAX: u64 = 1 << 48;

/// The routing core of one bridge.
pub struct Router {
    config: RouterConfig,
    keyring: Arc<dyn Keyring + Send + Sync>,
    roster: Arc<Roster>,
    peers: BTreeMap<LinkId, Peer>,
    topology: Topology,
    /// Of all bridges, our own included.
    sets: BTreeMap<BridgeId, InterestSet>,
    staging: HashMap<BridgeId, Staging>,
    own: OwnInterest,
    own_seq: u64,
    refresh_at: Instant,
    flush_at: Option<Instant>,
    flushed_at: Option<Instant>,
    stopping: bool,
    random: u64,
    summary: Option<[u8; 16]>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<RouterEvent>,
    forwarding: Arc<Forwarding>,
    forwarding_stale: bool,
    graph_stale: bool,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("id", &self.config.id).field("run", &self.config.run).finish_non_exhaustive()
    }
}

impl Router {
    pub fn new(config: RouterConfig, keyring: Arc<dyn Keyring + Send + Sync>, now: Instant) -> Router {
        let bridges: Vec<_> = config.members.0.iter().map(|(id, zone)| (id.clone(), zone.clone())).collect();
        let roster = Arc::new(Roster::new(bridges));
        let own = roster.index_of(&config.id).expect("the driver checked that the bridge is a member");
        let forwarding = Arc::new(Forwarding {
            generation: 0,
            own,
            graph: Arc::default(),
            table: Arc::new(vec![None; roster.bridges.len()]),
            roster: Arc::clone(&roster),
            links: HashMap::new(),
            interest: Vec::new(),
            classes: RwLock::default(),
        });
        let mut router = Router {
            random: config.seed | 1,
            config,
            keyring,
            roster,
            peers: BTreeMap::new(),
            topology: Topology::default(),
            sets: BTreeMap::new(),
            staging: HashMap::new(),
            own: OwnInterest::default(),
            own_seq: 0,
            refresh_at: now + REFRESH,
            flush_at: None,
            flushed_at: None,
            stopping: false,
            summary: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            forwarding,
            forwarding_stale: true,
            graph_stale: true,
        };
        router.originate_record(now);
        // R11: version 1 says what this life wants, even if that is nothing: it ends what a former life wanted.
        router.originate_first_set(now);
        router
    }

    /// Counts a subscriber of `filter`; announced at once, or within a millisecond of the last announcement.
    pub fn subscribe(&mut self, filter: &TopicFilter, now: Instant) -> Result<(), InterestFull> {
        let filters_max = self.config.limits.filters_per_owner;
        if !self.own.contains(filter) && self.own.len() >= filters_max {
            return Err(InterestFull { filters_max });
        }
        self.own.add(filter);
        self.schedule_flush(now);
        Ok(())
    }

    /// One subscriber less. The filter lingers a moment, so that a reconnecting client does not make a wave.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, now: Instant) {
        let jitter = LINGER.mul_f64(self.next_random() / 2.0);
        self.own.remove(filter, now + LINGER + jitter);
    }

    /// Filters of the former run, kept for a minute until their subscribers are back.
    pub fn restore_interest(&mut self, filters: &[TopicFilter], now: Instant) {
        for filter in filters.iter().take(self.config.limits.filters_per_owner) {
            self.own.restore(filter, now + RESTORE_LINGER);
        }
        self.schedule_flush(now);
    }

    pub fn set_policy_digest(&mut self, digest: [u8; 32], now: Instant) {
        self.config.policy_digest = digest;
        self.originate_record(now);
    }

    /// The bridge has a new certificate: what it said is said again under the new key.
    pub fn resign(&mut self, now: Instant) {
        self.originate_record(now);
        self.resign_set(now);
    }

    /// Leaves the topology: a record without links makes the neighbours route around this bridge at once.
    pub fn shutdown(&mut self, now: Instant) {
        self.stopping = true;
        self.originate_record(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.tend_links(now);
        if self.refresh_at <= now {
            self.originate_record(now);
        }
        self.own.expire(now);
        if self.own.is_dirty() && self.flush_at.is_none_or(|at| at <= now) {
            self.flush_interest(now);
        }
        if self.topology.expire(now) {
            self.on_graph_changed();
        }
        self.expire_sets(now);
    }

    /// When [`Router::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().map(Peer::next_timeout).min();
        let sets = self.sets.values().map(|set| set.not_after).min();
        [Some(self.refresh_at), peers, self.flush_at, self.own.next_expiry(), self.topology.next_expiry(), sets]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        if self.forwarding_stale {
            self.forwarding_stale = false;
            self.rebuild_forwarding();
            return Some(RouterEvent::ForwardingChanged);
        }
        self.events.pop_front()
    }

    /// The latest snapshot, as of the last [`RouterEvent::ForwardingChanged`].
    pub fn forwarding(&self) -> Arc<Forwarding> {
        Arc::clone(&self.forwarding)
    }

    fn send(&mut self, link: LinkId, message: &Message) {
        self.transmits.push_back(Transmit { link, payload: message.encode() });
    }

    fn emit(&mut self, event: RouterEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        }
    }

    fn on_graph_changed(&mut self) {
        self.graph_stale = true;
        self.forwarding_stale = true;
        self.summary = None;
    }

    fn on_interest_changed(&mut self) {
        self.forwarding_stale = true;
        self.summary = None;
    }

    fn rebuild_forwarding(&mut self) {
        let old = &self.forwarding;
        let own = old.own;
        let (graph, table) = if self.graph_stale {
            let index_of = |bridge: &BridgeId| self.roster.index_of(bridge);
            let graph = self.topology.graph(self.roster.bridges.len(), index_of);
            if graph == *old.graph {
                (Arc::clone(&old.graph), Arc::clone(&old.table))
            } else {
                let table = graph.shortest(own, |_| true);
                (Arc::new(graph), Arc::new(table))
            }
        } else {
            (Arc::clone(&old.graph), Arc::clone(&old.table))
        };
        self.graph_stale = false;
        let links = self.peers.values().filter(|peer| peer.is_up());
        let links = links.filter_map(|peer| Some((self.roster.index_of(&peer.bridge)?, peer.link))).collect();
        let interest = self
            .sets
            .iter()
            .filter(|(bridge, set)| **bridge != self.config.id && !set.filters.is_empty())
            .filter_map(|(bridge, set)| Some((self.roster.index_of(bridge)?, Arc::clone(&set.trie))))
            .collect();
        self.forwarding = Arc::new(Forwarding {
            generation: old.generation + 1,
            own,
            roster: Arc::clone(&self.roster),
            graph,
            table,
            links,
            interest,
            classes: RwLock::default(),
        });
    }

    /// From 0 to 1; xorshift, seeded by the driver. For jitter only.
    fn next_random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from(u32::try_from(self.random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}
