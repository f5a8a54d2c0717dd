//! What the admin API shows of a router.

use meshbridge_topic::TopicFilter;

use super::Router;
use crate::ids::{BridgeId, BridgeIndex, Run, ZoneName};

/// The way to one other bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    pub bridge: BridgeId,
    pub zone: ZoneName,
    pub reachable: bool,
    pub cost: u32,
    pub hops: u16,
    pub next_hop: Option<BridgeId>,
    /// From this bridge to the other one, both included; empty where there is no way.
    pub path: Vec<BridgeId>,
}

/// A set of filters, in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestView {
    pub bridge: BridgeId,
    pub zone: ZoneName,
    pub run: Run,
    pub version: u64,
    /// No newer snapshot of it is on its way.
    pub complete: bool,
    pub count: usize,
    /// The first ones in order.
    pub filters: Vec<TopicFilter>,
}

impl Router {
    /// Routes to all other bridges of the federation, reachable or not.
    pub fn routes(&self) -> Vec<RouteView> {
        let forwarding = &self.forwarding;
        let own = forwarding.own;
        self.roster
            .bridges
            .iter()
            .zip(0..)
            .filter(|(_, at)| BridgeIndex(*at) != own)
            .map(|((bridge, zone), at)| {
                let reach = forwarding.table[usize::from(at)];
                RouteView {
                    bridge: bridge.clone(),
                    zone: zone.clone(),
                    reachable: reach.is_some(),
                    cost: reach.map_or(0, |reach| u32::try_from(reach.cost).unwrap_or(u32::MAX)),
                    hops: reach.map_or(0, |reach| reach.hops),
                    next_hop: reach.map(|reach| forwarding.bridge(reach.next).0.clone()),
                    path: self.path(BridgeIndex(at)),
                }
            })
            .collect()
    }

    fn path(&self, to: BridgeIndex) -> Vec<BridgeId> {
        let mut path = Vec::new();
        let mut at = to;
        while at != self.forwarding.own {
            let Some(reach) = self.forwarding.table[usize::from(at.0)] else { return Vec::new() };
            path.push(self.forwarding.bridge(at).0.clone());
            at = reach.before;
        }
        path.push(self.config.id.clone());
        path.reverse();
        path
    }

    /// All sets, our own first, each with at most `filters_max` of its filters.
    pub fn interest_views(&self, filters_max: usize) -> Vec<InterestView> {
        let mut views: Vec<InterestView> = self
            .sets
            .iter()
            .map(|(bridge, set)| InterestView {
                bridge: bridge.clone(),
                zone: set.version.statement.zone.clone(),
                run: set.version.statement.run,
                version: set.version.statement.version,
                complete: !self.staging.contains_key(bridge),
                count: set.filters.len(),
                filters: set.filters.iter().take(filters_max).cloned().collect(),
            })
            .collect();
        views.sort_by_key(|view| view.bridge != self.config.id);
        views
    }

    /// The policies each bridge says it works under.
    pub fn policy_digests(&self) -> Vec<(BridgeId, [u8; 32])> {
        self.topology
            .entries()
            .map(|entry| {
                let record = &entry.record.statement;
                (record.bridge.clone(), record.policy_digest)
            })
            .collect()
    }

    /// The life this router speaks for; the epoch may have been raised.
    pub fn run(&self) -> Run {
        self.config.run
    }
}
