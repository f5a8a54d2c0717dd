//! All neighbours and both databases behind one sans-IO door.
//!
//! `handle_*`, `subscribe` and their kin change the state; `poll_*` hands out the effects. After every input the
//! router recomputes what depends on what changed, so that [`Router::forwarding`] is never behind.

mod api;
mod epoch;
mod messages;
mod own;
mod replicate;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::damping::Damping;
use crate::forwarding::InterestTries;
use crate::interest::OwnerSets;
use crate::only_way::OnlyWays;
use crate::own_audiences::OwnAudiences;
use crate::peer::Peer;
use crate::rng::Jitter;
use crate::topology::Topology;
use crate::wire::{DecodeError, Message};
use crate::{BridgeId, BridgeIndex, Forwarding, Keyring, Limits, LinkId, Refusal, Run, ZoneName};

pub use views::{InterestView, RouteView};

/// The bridges of the federation document and their zones.
pub type Members = BTreeMap<BridgeId, ZoneName>;

/// What a router is told once.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    pub federation: String,
    pub id: BridgeId,
    pub zone: ZoneName,
    pub run: Run,
    /// 4,096 at most; `id` belongs to it.
    pub members: Members,
    pub limits: Limits,
    /// For jitter.
    pub seed: u64,
    pub policy_digest: [u8; 32],
}

/// A control message for a link. Bounded by what is replicated; the driver closes a link that does not take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub link: LinkId,
    pub payload: Bytes,
}

/// What the driver should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// [`Router::forwarding`] has a new generation.
    ForwardingChanged,
    /// What this bridge wants changed, or ended: keep [`Router::take_interest_news`] for the next start.
    InterestChanged(BridgeId),
    /// R20: write it to disk and sync before anything else is sent.
    EpochRaised(u64),
    /// R2: silent for 2 s, or one link too many; close it.
    LinkDead(LinkId),
    /// R42: the links with a neighbour came and went; until then it is left out, unless it is the only way.
    Damped { neighbour: BridgeId, until: Instant },
    /// R21: two bridges run under one name and epoch: a copied disk.
    CloneDetected { bridge: BridgeId, runs: [Run; 2] },
    /// A statement was not believed; `peer` passed it on.
    Refused { peer: BridgeId, why: Refusal },
}

/// The neighbour broke the protocol; the link is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolViolation {
    #[error("a control message cannot be read")]
    Decode(#[from] DecodeError),
    #[error("the neighbour belongs to another federation")]
    WrongFederation,
    #[error("the neighbour introduces itself as `{0}`, which the link does not prove")]
    WrongIdentity(BridgeId),
    #[error("the neighbour claims epoch {0}, beyond 2^48")]
    EpochTooHigh(u64),
}

/// The subscription is refused: interest is never summarised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterestFull {
    #[error("this bridge already wants {0} filters")]
    Owner(usize),
    #[error("the federation already wants {0} filters")]
    Total(usize),
    #[error("the policies divide what this bridge wants among more than {0} audiences")]
    Audiences(usize),
    #[error("the zones that may learn of the filter are too many to be named")]
    Audience,
}

/// The control plane of one bridge.
pub struct Router {
    federation: String,
    id: BridgeId,
    run: Run,
    members: Members,
    bridges: Arc<Vec<(BridgeId, ZoneName)>>,
    own: BridgeIndex,
    limits: Limits,
    policy_digest: [u8; 32],
    keyring: Arc<dyn Keyring + Send + Sync>,
    jitter: Jitter,

    peers: BTreeMap<LinkId, Peer>,
    topology: Topology,
    damping: Damping,
    only_ways: OnlyWays,
    interest: BTreeMap<BridgeId, OwnerSets>,
    own_interest: OwnAudiences,
    /// The highest version of a set of this run that is forgotten: one for the same audience continues above it.
    version_floor: u64,
    /// When each bridge last spoke in the run we hold a record of (R21).
    spoke: BTreeMap<BridgeId, Instant>,
    /// Names under which two bridges speak, and until when both are refused.
    clones: BTreeMap<BridgeId, Instant>,
    /// The boot of our own name that we last continued above, and when (R20).
    jumped_over: Option<(u64, Instant)>,

    seq: u64,
    originated_at: Option<Instant>,
    originate_at: Option<Instant>,
    flushed_at: Option<Instant>,
    flush_at: Option<Instant>,
    shut_down: bool,

    /// The sets of others are not those of the snapshot any more.
    interest_changed: bool,
    /// More inputs follow before the snapshot is asked for.
    in_turn: bool,
    /// Neither are the links, or the runs of others.
    forwarding_changed: bool,
    /// R23: no lease of others ends before this: the least of all that were ever given, until it has passed.
    lease_end: Option<Instant>,
    forwarding: Arc<Forwarding>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<RouterEvent>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("id", &self.id)
            .field("run", &self.run)
            .field("peers", &self.peers)
            .field("generation", &self.forwarding.generation)
            .finish_non_exhaustive()
    }
}

impl Router {
    fn send(&mut self, link: LinkId, message: &Message) {
        self.transmits.push_back(Transmit { link, payload: message.encode() });
    }

    fn refuse(&mut self, link: LinkId, why: Refusal) {
        if let Some(peer) = self.peers.get(&link) {
            self.events.push_back(RouterEvent::Refused { peer: peer.bridge.clone(), why });
        }
    }

    /// The zone that the federation document gives a bridge.
    fn zone_of(&self, bridge: &BridgeId) -> Result<&ZoneName, Refusal> {
        self.members.get(bridge).ok_or_else(|| Refusal::Unlisted(bridge.clone()))
    }

    /// Brings the snapshot up to date. Called at the end of every input. What did not change is shared with the snapshot
    /// before, and where nothing did there is no new one: what others derived from it stays good.
    fn refresh(&mut self, now: Instant) {
        self.publish(now);
        // What changed may have taken the other ways to a neighbour.
        if self.damping.held().next().is_some() {
            self.list_again(now);
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Instant) {
        let topology = self.topology.take_changes();
        // A set that changes while a snapshot has it is copied where it changes: once for each snapshot.
        if self.in_turn && topology.is_none() && !self.forwarding_changed {
            return;
        }
        let interest = std::mem::take(&mut self.interest_changed);
        if !std::mem::take(&mut self.forwarding_changed) && !interest && topology.is_none() {
            return;
        }
        let before = &self.forwarding;
        let paths = topology.map(|(changes, graph)| {
            Arc::new(before.paths.after(graph, &changes, self.only_ways.demand(now)))
        });
        // Of several sessions with a neighbour the cheapest carries; among equals the newest.
        let mut links: BTreeMap<BridgeIndex, (u32, LinkId)> = BTreeMap::new();
        for (link, peer) in self.peers.iter().filter(|(_, peer)| self.carries(peer)) {
            let Some(index) = before.index_of(&peer.bridge) else { continue };
            let best = links.entry(index).or_insert((peer.cost, *link));
            if peer.cost <= best.0 {
                *best = (peer.cost, *link);
            }
        }
        self.forwarding = Arc::new(Forwarding {
            generation: before.generation + 1,
            own: self.own,
            bridges: Arc::clone(&self.bridges),
            interest: if interest { Arc::new(self.tries()) } else { Arc::clone(&before.interest) },
            paths: paths.unwrap_or_else(|| Arc::clone(&before.paths)),
            links: links.into_iter().map(|(bridge, (_, link))| (bridge, link)).collect(),
        });
        if self.events.back() != Some(&RouterEvent::ForwardingChanged) {
            self.events.push_back(RouterEvent::ForwardingChanged);
        }
    }

    /// What others want, by their places: both lists are in the order of ids, so one walk finds all.
    fn tries(&self) -> InterestTries {
        let mut table = self.bridges.iter().enumerate();
        let sets = self.interest.iter().filter_map(|(owner, sets)| {
            let (place, _) = table.find(|(_, (bridge, _))| bridge == owner)?;
            let place = BridgeIndex(u16::try_from(place).ok()?);
            Some((place, sets.trie()?.clone()))
        });
        sets.collect()
    }

    /// R42: a session has ended. While there is another one with the neighbour, nothing has.
    fn on_flap(&mut self, neighbour: &BridgeId, run: Run, now: Instant) {
        let remains = self.peers.values().any(|peer| peer.bridge == *neighbour && peer.is_up());
        if !remains && let Some(until) = self.damping.on_down(neighbour, run, now) {
            self.events.push_back(RouterEvent::Damped { neighbour: neighbour.clone(), until });
        }
    }

    /// R42: those that have been still for long enough are listed, and those that are the only way: to themselves, or for
    /// some event, as this bridge knows or as they do.
    fn list_again(&mut self, now: Instant) {
        let (table, damping) = (&self.forwarding, &self.damping);
        let lasting = damping.lasting(now).filter_map(|id| table.index_of(id)).collect();
        let needed = self.only_ways.among(lasting, &table.paths);
        // The far end of a link may be no more than the destination of what needs it, and see nothing of it meanwhile.
        let is_needed_there = |id: &BridgeId| {
            let record = self.topology.get(id).map(|held| &held.record);
            record.is_some_and(|record| {
                record.links.iter().any(|link| link.to == self.id)
                    && damping.is_held_there(id, record.run, now)
            })
        };
        let is_only_way = |id: &BridgeId| {
            let place = table.index_of(id);
            place.is_none_or(|to| table.paths.all().way(to).is_none() || needed.contains(&to))
                || is_needed_there(id)
        };
        let only_ways: Vec<BridgeId> = damping.lasting(now).filter(|id| is_only_way(id)).cloned().collect();
        if self.damping.release(&only_ways, now) {
            self.originate_soon(now);
        }
    }
}
