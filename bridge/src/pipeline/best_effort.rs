//! Events of class best-effort: numbered, forwarded and forgotten. Memory only; what does not fit is dropped and
//! counted. Their numbers belong to a run of their own, outside the lanes of durable delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::LeftOut;
use meshbridge_routing::{
    BridgeId, BridgeIndex, CarrierSet, DestinationSet, EventKey, Forwarding, LANES, Split, lane_of,
    wire::{data::payload_digest, encode_hops},
};
use smallvec::SmallVec;

use super::admission::{RETRY_AFTER, end_of_life, named_ones, partition, set_of};
use super::plan::Planned;
use super::subscriptions::Delivery;
use super::{Accepted, Inner, PublishRefused, lock};
use crate::link::{FrameBody, FrameDestination, FrameDestinations, Outbound};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// Marks a frame of this class (R29).
pub(super) const EXTENSION: (u8, u8, Bytes) = (1, 1, Bytes::new());

/// Whether a frame is of this class.
pub(super) fn is_marked(frame: &Outbound) -> bool {
    frame.body.extensions.iter().any(|(kind, ..)| *kind == EXTENSION.0)
}

/// Numbers of one run, a sequence for each lane.
#[derive(Debug)]
pub(super) struct Sequencer {
    lanes: Vec<LaneNumbers>,
}

#[derive(Debug, Default)]
struct LaneNumbers {
    last: u64,
    /// By bridge index: the last number of this lane that was meant for the bridge (`prev` of the next one).
    last_for: Vec<u64>,
}

impl Default for Sequencer {
    fn default() -> Sequencer {
        Sequencer { lanes: (0..LANES).map(|_| LaneNumbers::default()).collect() }
    }
}

impl Sequencer {
    pub(super) fn next(&mut self, lane: u8) -> u64 {
        self.next_run(lane, 1)
    }

    /// The first of `count` numbers that follow each other.
    pub(super) fn next_run(&mut self, lane: u8, count: u64) -> u64 {
        let numbers = &mut self.lanes[usize::from(lane)];
        let first = numbers.last + 1;
        numbers.last += count;
        first
    }

    /// Replaces the last number meant for `bridge`, and gives the one before.
    pub(super) fn replace_last_for(&mut self, lane: u8, bridge: BridgeIndex, seq: u64) -> u64 {
        let last_for = &mut self.lanes[usize::from(lane)].last_for;
        let at = usize::from(bridge.0);
        if last_for.len() <= at {
            last_for.resize(at + 1, 0);
        }
        std::mem::replace(&mut last_for[at], seq)
    }
}

impl Inner {
    /// Takes the bridges out that get nothing new; gives them, by event.
    fn take_out(
        &self,
        forwarding: &Forwarding,
        planned: &mut [Planned],
    ) -> Vec<SmallVec<[(BridgeId, LeftOut); 1]>> {
        let out = self.durable.left_out();
        let of_one = |plan: &mut Planned| {
            let mut left_out = SmallVec::new();
            for variant in plan.variants.iter_mut().filter(|_| !out.is_empty()) {
                variant.destinations.retain(|index| {
                    let bridge = forwarding.bridge(*index).0;
                    let found = out.iter().find(|(known, _)| known == bridge);
                    if let Some((_, reason)) = found {
                        self.parts.metrics.on_left_out(reason.name());
                        left_out.push((bridge.clone(), *reason));
                    }
                    found.is_none()
                });
            }
            left_out
        };
        planned.iter_mut().map(of_one).collect()
    }

    /// Numbers a planned batch and sends it on its way, or refuses all of it.
    pub(super) fn admit_best_effort(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        mut planned: Vec<Planned>,
    ) -> Result<Vec<Accepted>, PublishRefused> {
        for plan in &mut planned {
            plan.refuse_held(forwarding);
            // Without memory there is nowhere to wait for a rate, and what waits is not in its final form.
            plan.variants.retain(|variant| {
                if variant.waits {
                    self.parts.metrics.on_dropped(DropReason::Waited, variant.destinations.len() as u64);
                }
                !variant.waits
            });
        }
        let left_out = self.take_out(forwarding, &mut planned);
        self.check_room(forwarding, &planned)?;
        let now = Instant::now();
        let policy = generation.mark;
        let events = planned.len() as u64;
        let mut unrouted = 0;
        let mut accepted = Vec::with_capacity(planned.len());
        let mut local = Vec::new();
        let clock = self.durable.clock();
        let mut sequencer = lock(&self.sequencer);
        for (plan, left_out) in planned.into_iter().zip(left_out) {
            let lane = lane_of(plan.topic.as_str(), partition(&plan.event));
            let key = EventKey {
                origin: self.parts.own.clone(),
                run: self.parts.best_effort_run,
                lane,
                seq: sequencer.next(lane),
            };
            let mut destinations = Vec::new();
            let life = end_of_life(&plan.event).map(|end| clock.remaining(end));
            if life == Some(Duration::ZERO) {
                self.parts.metrics.on_dropped(DropReason::Expired, 1);
            } else {
                if plan.local {
                    destinations.push(self.parts.own.clone());
                    let (topic, event) = (plan.topic.clone(), plan.event.clone());
                    local.push(Arc::new(Delivery { body: None, key: key.clone(), topic, event }));
                }
                for variant in &plan.variants {
                    let numbered = variant.destinations.iter().map(|bridge| FrameDestination {
                        bridge: *bridge,
                        prev: sequencer.replace_last_for(lane, *bridge, key.seq),
                    });
                    let numbered: FrameDestinations = numbered.collect();
                    destinations.extend(numbered.iter().map(|d| forwarding.bridge(d.bridge).0.clone()));
                    let payload = variant.event.encoded().clone();
                    let hop_limit = forwarding.default_hop_limit(&set_of(&numbered));
                    let frame = Outbound {
                        hop_limit,
                        body: Arc::new(FrameBody {
                            key: key.clone(),
                            topic: plan.topic.clone(),
                            digest: payload_digest(&payload),
                            payload,
                            policy,
                            carriers: variant.carriers.clone(),
                            extensions: SmallVec::from_iter([EXTENSION, encode_hops(hop_limit)]),
                        }),
                        destinations: numbered,
                        since: now,
                        expires: life.map(|life| now + life),
                    };
                    self.forward(forwarding, frame, None);
                }
            }
            if destinations.is_empty() && plan.denied.is_empty() && left_out.is_empty() {
                unrouted += 1;
            }
            for (bridge, refusal) in &plan.refused {
                let destination = forwarding.bridge(*bridge).0;
                self.on_refused_here(&key, &plan.topic, &plan.event, destination.as_str(), refusal);
            }
            let left_out = named_ones(left_out);
            accepted.push(Accepted { left_out, ..Accepted::new(key, destinations, plan.denied) });
        }
        // Still under the lock, so that two batches of one lane reach a subscriber in the order of their numbers.
        local.iter().for_each(|delivery| {
            self.hand_out(delivery);
        });
        drop(sequencer);
        self.parts.metrics.on_published(events, unrouted);
        Ok(accepted)
    }

    /// Full means refused, before acceptance (RELIABILITY P7): a batch is taken when every queue it needs has room.
    fn check_room(&self, forwarding: &Forwarding, planned: &[Planned]) -> Result<(), PublishRefused> {
        let sessions = self.parts.links.sessions();
        let mut split = Split::default();
        let mut needed: SmallVec<[(meshbridge_routing::LinkId, usize); 8]> = SmallVec::new();
        for variant in planned.iter().flat_map(|plan| &plan.variants) {
            let mut set = DestinationSet::default();
            variant.destinations.iter().for_each(|bridge| set.insert(*bridge));
            forwarding.split(&set, &CarrierSet::All, None, &mut split);
            for hop in &split.hops {
                let link = hop.link;
                let bytes = variant.event.encoded().len();
                match needed.iter_mut().find(|(known, _)| *known == link) {
                    Some((_, sum)) => *sum += bytes,
                    None => needed.push((link, bytes)),
                }
            }
        }
        let full = |(link, bytes): &(_, usize)| {
            sessions.get(link).is_some_and(|session| !session.outbox.has_room_for(*bytes))
        };
        if needed.iter().any(full) {
            return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
        }
        Ok(())
    }
}
