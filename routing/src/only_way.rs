//! Neighbours that are the only way some event may go, though they are reached otherwise (R42).
//!
//! ```text
//!   a ═══ b        An event of a for d that only the zones of a, b and d may carry needs a ═ b,
//!    ╲   ╱ ╲       though there is another way to b and to d. One that the zone of c may carry as well does not.
//!      c    d
//! ```
//!
//! Where every zone may carry, it is enough to look at the neighbour: who reaches it otherwise reaches in the same way
//! whoever is behind it. Among some zones it says nothing that the neighbour is not reached otherwise, for to each link
//! there are sets of zones that leave no other way, that of none for instance. What counts is where events go, inside
//! which zones and over which links, as the data path notes it (`demand`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::demand::{Asked, Demand};
use crate::limits::DEMAND_KEPT;
use crate::paths::Paths;
use crate::{BridgeIndex, DestinationSet, Passage};

/// The demand of late, and what followed from it last.
///
/// It is remembered for an hour at least: over a link that is held back nothing goes, and an event that waits at its origin
/// is seen by no other bridge, so what there was before has to do. After that the next change of the topology begins a
/// new list, and the one before serves for another hour.
#[derive(Debug)]
pub(crate) struct OnlyWays {
    recent: Arc<Demand>,
    former: Arc<Demand>,
    since: Instant,
    judged: Option<Judged>,
}

/// What was found, and of what it is true.
#[derive(Debug)]
struct Judged {
    paths: u64,
    news: [u64; 2],
    held: Vec<BridgeIndex>,
    needed: Vec<BridgeIndex>,
}

impl OnlyWays {
    pub(crate) fn new(now: Instant) -> OnlyWays {
        OnlyWays { recent: Arc::default(), former: Arc::default(), since: now, judged: None }
    }

    /// Where the next table is to note what it is asked for.
    pub(crate) fn demand(&mut self, now: Instant) -> Arc<Demand> {
        if self.since + DEMAND_KEPT <= now {
            self.since = now;
            self.former = std::mem::take(&mut self.recent);
        }
        Arc::clone(&self.recent)
    }

    /// Those of `held` that some event needs. Nothing is computed unless something is another than when this was last
    /// asked: the links that count, who is held, or where events go.
    pub(crate) fn among(&mut self, held: Vec<BridgeIndex>, paths: &Paths) -> &[BridgeIndex] {
        if held.is_empty() {
            return &[];
        }
        let demands = [&self.recent, &self.former];
        let news = demands.map(|demand| demand.news());
        let version = paths.version();
        let is_same = |judged: &Judged| judged.paths == version && judged.news == news && judged.held == held;
        let judged = match self.judged.take().filter(is_same) {
            Some(judged) => judged,
            None => {
                let mut needed: Vec<BridgeIndex> = Vec::new();
                for asked in demands.into_iter().flat_map(|demand| demand.classes()) {
                    let rest: Vec<BridgeIndex> =
                        held.iter().copied().filter(|one| !needed.contains(one)).collect();
                    if rest.is_empty() {
                        break;
                    }
                    needed.extend(Groups::new(paths, &asked.passage).needed(asked, rest));
                }
                Judged { paths: version, news, held, needed }
            }
        };
        &self.judged.insert(judged).needed
    }
}

/// The bridges that may carry, without the own one, as they reach each other through themselves alone.
struct Groups<'p> {
    paths: &'p Paths,
    passage: &'p Passage,
    /// By place; `None` for who may not carry.
    of: Vec<Option<u16>>,
    /// Whether a link of the own bridge leads there, by group.
    reached: Vec<bool>,
}

impl<'p> Groups<'p> {
    /// One walk over the graph.
    fn new(paths: &'p Paths, passage: &'p Passage) -> Groups<'p> {
        let count = paths.graph().len();
        let mut groups = Groups { paths, passage, of: vec![None; count], reached: Vec::new() };
        let places = || (0..count).map(|place| BridgeIndex(place as u16));
        let mut may_carry: Vec<bool> = places().map(|at| passage.carriers.contains(paths.zone(at))).collect();
        may_carry[usize::from(paths.own().0)] = false;
        let mut number = 0;
        let mut edge = VecDeque::new();
        for first in places() {
            if !may_carry[usize::from(first.0)] || groups.of[usize::from(first.0)].is_some() {
                continue;
            }
            edge.push_back(first);
            groups.of[usize::from(first.0)] = Some(number);
            while let Some(at) = edge.pop_front() {
                for next in groups.neighbours(at) {
                    let place = usize::from(next.0);
                    if may_carry[place] && groups.of[place].is_none() {
                        groups.of[place] = Some(number);
                        edge.push_back(next);
                    }
                }
            }
            number += 1;
        }
        let mut reached = vec![false; usize::from(number)];
        groups.neighbours(paths.own()).filter_map(|at| groups.of(at)).for_each(|group| reached[group] = true);
        Groups { reached, ..groups }
    }

    fn of(&self, bridge: BridgeIndex) -> Option<usize> {
        self.of[usize::from(bridge.0)].map(usize::from)
    }

    /// Over links that may be crossed.
    fn neighbours(&self, of: BridgeIndex) -> impl Iterator<Item = BridgeIndex> + use<'p> {
        let (paths, passage) = (self.paths, self.passage);
        let neighbours = paths.graph().of(of).iter().map(|(neighbour, _)| *neighbour);
        neighbours.filter(move |other| passage.crosses(paths.zone(of), paths.zone(*other)))
    }

    /// Those of `held` that begin the only way to one of the destinations.
    fn needed(&self, asked: &Asked, mut held: Vec<BridgeIndex>) -> Vec<BridgeIndex> {
        let own = self.paths.own();
        let mut missed = DestinationSet::default();
        let mut towards = vec![false; self.reached.len()];
        for to in asked.destinations().iter().filter(|to| *to != own) {
            // Who may carry is in the group of its neighbours that may.
            let last_steps = || self.neighbours(to).chain([to]).filter_map(|at| self.of(at));
            let is_reached =
                self.neighbours(to).any(|at| at == own) || last_steps().any(|group| self.reached[group]);
            if !is_reached {
                missed.insert(to);
                last_steps().for_each(|group| towards[group] = true);
            }
        }
        held.retain(|neighbour| {
            self.passage.crosses(self.paths.zone(own), self.paths.zone(*neighbour))
                && (missed.contains(*neighbour) || self.of(*neighbour).is_some_and(|group| towards[group]))
        });
        held
    }
}

#[cfg(test)]
mod tests;
