//! The link-state database and the shortest paths in it.
//!
//! Each bridge speaks for itself only: its record lists its live links. A link counts when both ends list it (R9), so
//! a bridge that died keeps its record and loses its place, and one that lies about a neighbour gains nothing.
//!
//! ```text
//!   a: [b 10, c 10]      a ──10── b
//!   b: [a 10, d 10]      │        │       c lists no link to d, so c–d does not count
//!   c: [a 10]            10       10      although d lists it: d is reached over b
//!   d: [b 10, c 10]      │        │
//!                        c        d
//! ```

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use crate::ids::{BridgeId, BridgeIndex, Run};
use crate::wire::control::{Digest, LinkState, Signed};

/// R16: a life that has not been heard for this long no longer stands in the way of another with the same epoch.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// What is known of one bridge.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Signed<LinkState>,
    /// When the signer's certificate ends; the record goes with it.
    pub(crate) not_after: Instant,
    /// When this life was heard last.
    heard_at: Instant,
    /// Another life that claims the same epoch, and when it was heard last: neither is believed.
    rival: Option<(Run, Instant)>,
}

/// What a record is to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Newer than what is there.
    Newer,
    Same,
    Older,
    /// R16: the epoch is claimed by two lives, and the former spoke lately.
    Rival,
    /// R16: the epoch is claimed by two lives, and the former is silent: the newcomer must jump.
    MustJump,
}

#[derive(Debug, Default)]
pub(crate) struct Topology {
    entries: BTreeMap<BridgeId, Entry>,
}

impl Topology {
    pub(crate) fn judge(&self, record: &LinkState, now: Instant) -> Verdict {
        let Some(entry) = self.entries.get(&record.bridge) else { return Verdict::Newer };
        let known = &entry.record.statement;
        match record.run.epoch.cmp(&known.run.epoch) {
            Ordering::Greater => Verdict::Newer,
            Ordering::Less => Verdict::Older,
            Ordering::Equal if record.run.nonce != known.run.nonce => {
                if now.duration_since(entry.heard_at) < SILENCE { Verdict::Rival } else { Verdict::MustJump }
            }
            Ordering::Equal => match record.seq.cmp(&known.seq) {
                Ordering::Greater => Verdict::Newer,
                Ordering::Equal => Verdict::Same,
                Ordering::Less => Verdict::Older,
            },
        }
    }

    /// Stores a record that [`Topology::judge`] called newer. `true` when the graph may have changed.
    pub(crate) fn insert(&mut self, record: Signed<LinkState>, not_after: Instant, now: Instant) -> bool {
        let bridge = record.statement.bridge.clone();
        let former = self.entries.get(&bridge);
        let changed = former.is_none_or(|former| {
            former.record.statement.links != record.statement.links
                || former.record.statement.policy_digest != record.statement.policy_digest
        });
        let rival = former
            .and_then(|former| former.rival)
            .filter(|_| former.is_some_and(|f| f.record.statement.run == record.statement.run));
        let unblocked = rival.is_none() && former.is_some_and(|former| former.rival.is_some());
        self.entries.insert(bridge, Entry { record, not_after, heard_at: now, rival });
        changed || unblocked
    }

    /// Notes that two lives claim one epoch. `true` when they were not known as rivals before.
    pub(crate) fn note_rival(&mut self, bridge: &BridgeId, rival: Run, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(bridge) else { return false };
        entry.rival.replace((rival, now)).is_none()
    }

    /// Removes what has ended by `now`; `true` when the graph may have changed.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.not_after > now);
        let mut changed = self.entries.len() != before;
        for entry in self.entries.values_mut() {
            if entry.rival.is_some_and(|(_, heard)| now.duration_since(heard) >= SILENCE) {
                entry.rival = None;
                changed = true;
            }
        }
        changed
    }

    /// When [`Topology::expire`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let ends = self.entries.values().map(|entry| entry.not_after);
        let rivals = self.entries.values().filter_map(|entry| entry.rival.map(|(_, heard)| heard + SILENCE));
        ends.chain(rivals).min()
    }

    pub(crate) fn entry(&self, bridge: &BridgeId) -> Option<&Entry> {
        self.entries.get(bridge)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.entries
            .values()
            .map(|entry| {
                let record = &entry.record.statement;
                Digest { bridge: record.bridge.clone(), run: record.run, number: record.seq }
            })
            .collect()
    }

    /// The graph of links that both ends list, over the indices of `index_of`.
    pub(crate) fn graph(&self, bridges: usize, index_of: impl Fn(&BridgeId) -> Option<BridgeIndex>) -> Graph {
        let mut neighbours = vec![Vec::new(); bridges];
        let usable = |bridge: &BridgeId| self.entries.get(bridge).filter(|entry| entry.rival.is_none());
        for (bridge, entry) in &self.entries {
            let Some(from) = index_of(bridge).filter(|_| entry.rival.is_none()) else { continue };
            for (other, cost) in &entry.record.statement.links {
                // R9: the two-way check.
                let listed_back = usable(other).is_some_and(|back| {
                    back.record.statement.links.binary_search_by(|(id, _)| id.cmp(bridge)).is_ok()
                });
                if let Some(to) = index_of(other).filter(|_| listed_back) {
                    neighbours[usize::from(from.0)].push((to, *cost));
                }
            }
        }
        Graph { neighbours }
    }
}

/// Links with their costs, as each end lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    neighbours: Vec<Vec<(BridgeIndex, u32)>>,
}

/// The way to one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) cost: u64,
    pub(crate) hops: u16,
    /// The first bridge on the way.
    pub(crate) next: BridgeIndex,
    /// The last one before the destination.
    pub(crate) before: BridgeIndex,
}

impl Graph {
    /// R10: shortest paths from `own` by Dijkstra, over carriers only. Of equal costs the fewer hops win, then the
    /// smaller first hop: every bridge decides alike, and each hop is strictly nearer to the destination, so in a
    /// stable topology a frame cannot come back.
    pub(crate) fn shortest(
        &self,
        own: BridgeIndex,
        may_carry: impl Fn(BridgeIndex) -> bool,
    ) -> Vec<Option<Reach>> {
        let mut reach: Vec<Option<Reach>> = vec![None; self.neighbours.len()];
        let mut heap = BinaryHeap::new();
        heap.push(Reverse((0_u64, 0_u16, own, own, own)));
        while let Some(Reverse((cost, hops, next, node, before))) = heap.pop() {
            let at = usize::from(node.0);
            if node != own {
                if reach[at].is_some() {
                    continue;
                }
                reach[at] = Some(Reach { cost, hops, next, before });
                if !may_carry(node) {
                    continue;
                }
            } else if hops > 0 {
                continue;
            }
            for (neighbour, link_cost) in &self.neighbours[at] {
                if *neighbour != own && reach[usize::from(neighbour.0)].is_none() {
                    let first = if node == own { *neighbour } else { next };
                    let hops = hops.saturating_add(1);
                    heap.push(Reverse((cost + u64::from(*link_cost), hops, first, *neighbour, node)));
                }
            }
        }
        reach
    }
}
