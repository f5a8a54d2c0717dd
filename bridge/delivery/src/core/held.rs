//! Pairs that are kept back: pending as before, and not handed out until they are let go (POLICY §3, quarantine).
//!
//! Nothing of this is in the log. After a restart every unsettled pair is handed out again, and whoever judges it then
//! holds it again. A held pair keeps its number, so its destination has a hole in the lane. What comes behind it is told
//! which number it may follow instead ([`Core::follows`]), and does not wait: not for [`super::Config::order_hold`], and not
//! at all where it was accepted in a later run.

use std::collections::BTreeMap;
use std::time::Instant;

use meshbridge_routing::{BridgeId, Run};
use roaring::RoaringTreemap;

use super::Core;

/// Those of one destination.
#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Held {
    places: BTreeMap<u64, (Run, u8)>,
    by_lane: BTreeMap<(Run, u8), usize>,
}

impl Held {
    fn insert(&mut self, body: u64, place: (Run, u8)) {
        if self.places.insert(body, place).is_none() {
            *self.by_lane.entry(place).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, body: u64) -> bool {
        let Some(place) = self.places.remove(&body) else { return false };
        if let Some(count) = self.by_lane.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.by_lane.remove(&place);
            }
        }
        true
    }

    pub(super) fn remove_all(&mut self, bodies: &RoaringTreemap) {
        let held: Vec<u64> = self.places.keys().copied().filter(|body| bodies.contains(*body)).collect();
        held.into_iter().for_each(|body| {
            self.remove(body);
        });
    }

    pub(super) fn contains(&self, body: u64) -> bool {
        self.places.contains_key(&body)
    }

    pub(super) fn in_lane(&self, run: Run, lane: u8) -> usize {
        self.by_lane.get(&(run, lane)).copied().unwrap_or(0)
    }
}

/// Held numbers in a row that are passed over. What comes behind more of them waits as behind any hole.
const ROW_MAX: usize = 1_024;

impl Core {
    /// The number that this event may be offered after at the destination, where those between it and `prev` are held.
    pub fn follows(&self, body: u64, destination: &BridgeId) -> Option<u64> {
        let held = &self.peers.get(destination)?.sender.held;
        if held.places.is_empty() {
            return None;
        }
        let key = &self.state.events.get(&body)?.key;
        let numbers = self.state.destinations.get(destination)?.lanes.get(&(key.run, key.lane))?;
        let prev = numbers.get(&key.seq)?.prev;
        let mut after = prev;
        for _ in 0..ROW_MAX {
            match numbers.get(&after).filter(|before| held.contains(before.body)) {
                Some(before) => after = before.prev,
                None => return (after != prev).then_some(after),
            }
        }
        None
    }

    /// Keeps a pair back. If its frame was handed out, it has not left. `false` where the pair is settled, or about to
    /// be ended.
    pub fn hold(&mut self, body: u64, destination: &BridgeId, now: Instant) -> bool {
        let Some(event) = self.state.events.get(&body) else { return false };
        let key = &event.key;
        let state = self.state.destinations.get(destination);
        let place = (key.run, key.lane);
        if state.and_then(|state| state.pending(key.run, key.lane, key.seq)).is_none() {
            return false;
        }
        let sender = &mut self.peers.entry(destination.clone()).or_default().sender;
        if sender.is_fenced(body) {
            return false;
        }
        sender.take_out(body);
        sender.held.insert(body, place);
        // Its place in the window is another one's.
        self.pump(vec![destination.clone()], now);
        true
    }

    /// A held pair is handed out again, in its turn. `false` where it was not held.
    pub fn let_go(&mut self, body: u64, destination: &BridgeId, now: Instant) -> bool {
        // What is not durable yet is handed out when it is.
        let durable = body <= self.durable_body;
        let Some(peer) = self.peers.get_mut(destination) else { return false };
        if !peer.sender.held.remove(body) {
            return false;
        }
        if durable {
            peer.sender.unsent.insert(body);
            self.pump(vec![destination.clone()], now);
        }
        true
    }

    /// Everything that is held is handed out again, to be judged anew.
    pub fn let_all_go(&mut self, now: Instant) {
        let all: Vec<BridgeId> = self.peers.keys().cloned().collect();
        for bridge in &all {
            let Some(peer) = self.peers.get_mut(bridge) else { continue };
            let held = std::mem::take(&mut peer.sender.held);
            let durable = held.places.into_keys().filter(|body| *body <= self.durable_body);
            peer.sender.unsent.extend(durable);
        }
        self.pump(all, now);
    }

    /// The bodies of pairs with this bridge itself that nobody holds, in the order in which they were accepted: events that a
    /// rule kept back when they were published, to be judged anew. They are durable.
    pub fn kept_back(&self) -> impl Iterator<Item = u64> {
        self.peers.get(&self.state.own).into_iter().flat_map(|peer| peer.sender.unsent.iter())
    }

    /// The bodies that are held for each destination, in the order in which they were accepted.
    pub fn held(&self) -> impl Iterator<Item = (&BridgeId, impl ExactSizeIterator<Item = u64>)> {
        self.peers.iter().map(|(bridge, peer)| (bridge, peer.sender.held.places.keys().copied()))
    }

    pub fn is_held(&self, body: u64, destination: &BridgeId) -> bool {
        self.peers.get(destination).is_some_and(|peer| peer.sender.held.contains(body))
    }
}
