//! Events of class best-effort: numbered, forwarded and forgotten. Memory only; what does not fit is dropped and
//! counted. Their numbers belong to a run of their own, outside the lanes of durable delivery.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::LeftOut;
use meshbridge_policy::DeliveryClass;
use meshbridge_routing::{
    BridgeId, BridgeIndex, DestinationSet, EventKey, Forwarding, LANES, LinkId, Passage, Split, lane_of,
    wire::{data::payload_digest, encode_hops},
};
use smallvec::SmallVec;

use super::admission::{RETRY_AFTER, end_of_life, named_ones, partition, set_of};
use super::plan::Planned;
use super::replies::is_reply;
use super::subscriptions::Delivery;
use super::{Accepted, Inner, Publication, PublishRefused, lock};
use crate::link::{FrameBody, FrameDestination, FrameDestinations, Outbound, Session};
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
        self.check_room(forwarding, &planned)?;
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
        let now = Instant::now();
        let policy = generation.mark;
        let events = planned.len() as u64;
        let mut unrouted = 0;
        let mut accepted = Vec::with_capacity(planned.len());
        let mut local = Vec::new();
        let clock = self.durable.clock();
        let mut sequencer = lock(&self.sequencer);
        for (mut plan, left_out) in planned.into_iter().zip(left_out) {
            let lane = lane_of(plan.topic.as_str(), partition(&plan.event));
            self.take_detours(forwarding, lane, &mut plan);
            let key = EventKey {
                origin: self.parts.own.clone(),
                run: self.parts.best_effort_run,
                lane,
                seq: sequencer.next(lane),
            };
            let mut destinations = Vec::new();
            let life = end_of_life(&plan.event).map(|end| clock.remaining(end));
            let expired = life == Some(Duration::ZERO);
            if expired {
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
                    let hop_limit = forwarding.default_hop_limit(&set_of(&numbered), &variant.passage);
                    let frame = Outbound {
                        hop_limit,
                        body: Arc::new(FrameBody {
                            key: key.clone(),
                            topic: plan.topic.clone(),
                            digest: payload_digest(&payload),
                            payload,
                            policy,
                            passage: variant.passage.clone(),
                            extensions: SmallVec::from_iter([EXTENSION, encode_hops(hop_limit)]),
                        }),
                        destinations: numbered,
                        since: now,
                        expires: life.map(|life| now + life),
                        barred: None,
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
            accepted.push(Accepted { left_out, expired, ..Accepted::new(key, destinations, plan.denied) });
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
        let mut needed = Needed::default();
        for variant in planned.iter().flat_map(|plan| &plan.variants) {
            let mut set = DestinationSet::default();
            variant.destinations.iter().for_each(|bridge| set.insert(*bridge));
            needed.add(forwarding, &set, &variant.passage, variant.event.encoded().len());
        }
        needed.check(&self.parts.links.sessions())
    }

    /// The same before anything is judged, of a batch as it was published: a rate counts what goes on, and who tries again
    /// while there is no room is not recorded each time.
    pub(super) fn check_room_for(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        batch: &[Publication],
    ) -> Result<(), PublishRefused> {
        let options = generation.program.delivery(self.parts.own_zone_index);
        let is_best_effort =
            |one: &Publication| options.for_topic(&one.topic).class == DeliveryClass::BestEffort;
        let are_replies = batch.iter().all(|one| is_reply(&one.topic));
        if !are_replies && !batch.iter().all(is_best_effort) {
            let full = PublishRefused::Full { retry_after: RETRY_AFTER };
            return if self.durable.admits() { Ok(()) } else { Err(full) };
        }
        let sessions = self.parts.links.sessions();
        let bytes = batch.iter().map(|one| one.event.encoded().len()).sum();
        if sessions.values().all(|session| session.outbox.has_room_for(bytes)) {
            return Ok(());
        }
        let (mut needed, mut groups) = (Needed::default(), SmallVec::new());
        for Publication { topic, event } in batch {
            let mut set = DestinationSet::default();
            forwarding.match_topic(topic, &mut set, &mut groups);
            needed.add(forwarding, &set, &Passage::ANY, event.encoded().len());
        }
        needed.check(&sessions)
    }
}

/// Bytes that links are to carry.
#[derive(Default)]
struct Needed {
    links: SmallVec<[(LinkId, usize); 8]>,
    split: Split,
}

impl Needed {
    fn add(
        &mut self,
        forwarding: &Forwarding,
        destinations: &DestinationSet,
        passage: &Passage,
        bytes: usize,
    ) {
        forwarding.split(destinations, passage, None, &mut self.split);
        for hop in &self.split.hops {
            match self.links.iter_mut().find(|(known, _)| *known == hop.link) {
                Some((_, sum)) => *sum += bytes,
                None => self.links.push((hop.link, bytes)),
            }
        }
    }

    fn check(&self, sessions: &HashMap<LinkId, Arc<Session>>) -> Result<(), PublishRefused> {
        let is_full = |(link, bytes): &(_, usize)| {
            sessions.get(link).is_some_and(|session| !session.outbox.has_room_for(*bytes))
        };
        if self.links.iter().any(is_full) {
            return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
        }
        Ok(())
    }
}
