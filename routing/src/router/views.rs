//! Read-only views, for operators.

use meshbridge_topic::TopicFilter;

use super::Router;
use crate::interest::OwnerSets;
use crate::peer::Peer;
use crate::{Audience, BridgeId, BridgeIndex, GroupInterest, LinkId, LinkState, Run, ZoneName};

/// One interest set: what a bridge wants, as far as an audience may learn of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestView {
    pub bridge: BridgeId,
    pub zone: ZoneName,
    pub audience: Audience,
    pub run: Run,
    pub version: u64,
    /// A set is shown only as its owner signed it, as a whole.
    pub complete: bool,
    pub filters: Vec<TopicFilter>,
    /// Consumer groups there.
    pub groups: Vec<(TopicFilter, GroupInterest)>,
}

/// The way to one bridge when every zone may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    pub bridge: BridgeId,
    pub zone: ZoneName,
    pub reachable: bool,
    pub cost: u64,
    pub hops: usize,
    pub next_hop: Option<BridgeId>,
    /// From this bridge to that one, both included; empty if there is no path.
    pub path: Vec<BridgeId>,
}

impl Router {
    pub fn id(&self) -> &BridgeId {
        &self.id
    }

    /// The current run; its epoch rises when R20 says so.
    pub fn run(&self) -> Run {
        self.run
    }

    /// The newest record of each bridge, in the order of their ids.
    pub fn records(&self) -> impl Iterator<Item = &LinkState> {
        self.topology.iter()
    }

    /// The interest sets held, the own ones included; those of one bridge follow each other.
    pub fn interest_sets(&self) -> impl Iterator<Item = InterestView> + '_ {
        let sets = self.interest.iter().flat_map(|(owner, sets)| sets.iter().map(move |set| (owner, set)));
        sets.filter_map(|(owner, set)| {
            let mut wants = self.wants_of(set);
            wants.sort_unstable();
            let (groups, plain): (Vec<_>, Vec<_>) = wants.into_iter().partition(|want| want.group.is_some());
            let groups = groups.into_iter().filter_map(|want| Some((want.filter, (*want.group?).clone())));
            Some(InterestView {
                bridge: owner.clone(),
                zone: self.members.get(owner)?.clone(),
                audience: set.head.audience.clone(),
                run: set.head.run,
                version: set.head.version,
                complete: true,
                filters: plain.into_iter().map(|want| want.filter).collect(),
                groups: groups.collect(),
            })
        })
    }

    /// Filters that this bridge wants, those of groups and what lingers included; each may come more than once.
    pub fn own_filters(&self) -> Vec<TopicFilter> {
        self.own_interest.filters().cloned().collect()
    }

    /// The newest run in which interest of a bridge was said that is held here.
    pub fn interest_run(&self, owner: &BridgeId) -> Option<Run> {
        self.interest.get(owner).and_then(OwnerSets::run)
    }

    /// Neighbours with a session, and whether they have acknowledged what they may learn of what this bridge wants, in its
    /// newest version.
    pub fn own_interest_at_neighbours(&self) -> Vec<(BridgeId, bool)> {
        if self.flush_at.is_some() || !self.interest.contains_key(&self.id) {
            return Vec::new();
        }
        let up = self.peers.iter().filter(|(_, peer)| peer.is_synced());
        let knows = |link: LinkId, peer: &Peer| {
            self.own_stamps()
                .all(|(item, ours)| !self.may_share(link, &item) || !peer.flood.lacks(&item, ours))
        };
        up.map(|(link, peer)| (peer.bridge.clone(), knows(*link, peer))).collect()
    }

    /// One route per other member of the federation.
    pub fn routes(&self) -> impl Iterator<Item = RouteView> + '_ {
        let table = self.forwarding.paths.all();
        let places = (0..).map(BridgeIndex);
        let others = places.zip(self.bridges.iter()).filter(|(_, (bridge, _))| *bridge != self.id);
        others.map(|(place, (bridge, zone))| {
            let name = |index: BridgeIndex| self.forwarding.bridge(index).0.clone();
            let way = table.way(place);
            RouteView {
                bridge: bridge.clone(),
                zone: zone.clone(),
                reachable: way.is_some(),
                cost: way.map_or(0, |way| way.cost),
                hops: way.map_or(0, |way| usize::from(way.hops)),
                next_hop: way.map(|way| name(way.next)),
                path: way
                    .map(|_| self.id.clone())
                    .into_iter()
                    .chain(table.path(place).into_iter().map(name))
                    .collect(),
            }
        })
    }

    /// R42: neighbours that are connected and left out of the own record, because their links came and went.
    pub fn held_back(&self) -> impl Iterator<Item = &BridgeId> {
        self.damping.held()
    }
}
