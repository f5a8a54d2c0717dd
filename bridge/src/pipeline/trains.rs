//! Trains: events of class best-effort that differ in `id` and data only, moved as one.
//!
//! Where no rule of a border looks at what differs, the first event is judged for all; everywhere else, and where
//! somebody looks on, a train falls apart into its events, which take the way of single ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_event::{Event, EventTrain};
use meshbridge_policy::{ClassId, Context, DeliveryClass, Program, ZoneIndex};
use meshbridge_routing::wire::data::payload_digest;
use meshbridge_routing::wire::{TRAIN_EXTENSION, encode_hops, encode_train, hops_crossed};
use meshbridge_routing::{
    BridgeId, BridgeIndex, CarrierSet, DestinationSet, EventKey, Forwarding, ZoneName, lane_of,
};
use meshbridge_topic::Topic;
use smallvec::SmallVec;

use super::admission::{RETRY_AFTER, end_of_life, partition, set_of};
use super::best_effort::{EXTENSION, is_marked};
use super::dedup::Taken;
use super::judge::{Asked, Verdict, carries_alike, class, judges_alike};
use super::replies::is_reply;
use super::subscriptions::{Offered, TrainDelivery};
use super::{Inner, Pipeline, Principal, PublishRefused, lock};
use crate::link::{FrameBody, FrameDestination, FrameDestinations, Outbound};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// What became of a train that a client published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrainTaken {
    /// It is on its way.
    Whole {
        /// Somebody is subscribed, here or elsewhere.
        wanted: bool,
        /// A subscriber of this bridge is far behind.
        pressed: bool,
    },
    /// Its events have to be published one by one.
    Apart,
}

/// One set of destinations that get the train.
#[derive(Debug)]
struct Part {
    destinations: SmallVec<[BridgeIndex; 4]>,
    carriers: CarrierSet,
}

impl Pipeline {
    /// Takes a train whole, refuses it whole, or says that it is none for this way. Never waits.
    pub(crate) fn publish_train(
        &self,
        principal: &Principal,
        topic: &Topic,
        train: &EventTrain,
    ) -> Result<TrainTaken, PublishRefused> {
        let inner = &self.inner;
        if inner.draining.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(PublishRefused::Draining);
        }
        if !inner.parts.audit.admits() {
            return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
        }
        let generation = self.generation();
        let forwarding = inner.parts.forwarding.load();
        inner.publish_train(&generation, &forwarding, principal, topic, train)
    }

    /// Whether publications to the topic wait for the disk.
    pub(crate) fn is_durable(&self, topic: &Topic) -> bool {
        let generation = self.generation();
        generation.program.delivery(self.inner.parts.own_zone_index).for_topic(topic).class
            != DeliveryClass::BestEffort
    }
}

impl Inner {
    fn publish_train(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        principal: &Principal,
        topic: &Topic,
        train: &EventTrain,
    ) -> Result<TrainTaken, PublishRefused> {
        let (program, own) = (&generation.program, self.parts.own_zone_index);
        if is_reply(topic) {
            return Ok(TrainTaken::Apart);
        }
        let is_best_effort = program.delivery(own).for_topic(topic).class == DeliveryClass::BestEffort;
        if !is_best_effort || !self.parts.observers.are_none() {
            return Ok(TrainTaken::Apart);
        }
        let (mut wanted, mut groups) = (DestinationSet::default(), SmallVec::new());
        forwarding.match_topic(topic, &mut wanted, &mut groups);
        let first = train.first();
        let events = train.len() as u64;
        if !groups.is_empty()
            || !self.all_pass(
                generation,
                own,
                own,
                Context::Publish,
                topic,
                &first,
                events,
                Some(principal),
                0,
            )
        {
            return Ok(TrainTaken::Apart);
        }
        let Some(parts) = self.parts_of(generation, forwarding, principal, topic, &first, events, &wanted)
        else {
            return Ok(TrainTaken::Apart);
        };
        if !self.durable.left_out().is_empty() {
            return Ok(TrainTaken::Apart);
        }
        self.check_train_room(forwarding, &parts, train)?;
        let count = u32::try_from(train.len()).unwrap_or(u32::MAX);
        self.parts.drift.on_events(&self.parts.policies, topic, &first, count);
        let local = self.subscriptions.wants(topic);
        let now = Instant::now();
        let clock = self.durable.clock();
        let life = end_of_life(&first).map(|end| clock.remaining(end));
        if life == Some(Duration::ZERO) {
            self.parts.metrics.on_dropped(DropReason::Expired, events);
            self.parts.metrics.on_published(events, 0);
            return Ok(TrainTaken::Whole { wanted: true, pressed: false });
        }
        let lane = lane_of(topic.as_str(), partition(&first));
        let payload = train.encoded().clone();
        let digest = if parts.is_empty() { [0; 16] } else { payload_digest(&payload) };
        let mut sequencer = lock(&self.sequencer);
        let seq = sequencer.next_run(lane, events);
        let key = EventKey { origin: self.parts.own.clone(), run: self.parts.best_effort_run, lane, seq };
        for part in &parts {
            let last = seq + events - 1;
            let numbered: FrameDestinations = part
                .destinations
                .iter()
                .map(|bridge| FrameDestination {
                    bridge: *bridge,
                    prev: sequencer.replace_last_for(lane, *bridge, last),
                })
                .collect();
            let hop_limit = forwarding.default_hop_limit(&set_of(&numbered));
            let frame = Outbound {
                hop_limit,
                body: Arc::new(FrameBody {
                    key: key.clone(),
                    topic: topic.clone(),
                    digest,
                    payload: payload.clone(),
                    policy: generation.mark,
                    carriers: part.carriers.clone(),
                    extensions: SmallVec::from_iter([EXTENSION, encode_hops(hop_limit), encode_train(count)]),
                }),
                destinations: numbered,
                since: now,
                expires: life.map(|life| now + life),
            };
            self.forward(forwarding, frame, None);
        }
        let mut offered = Offered::default();
        if local {
            let delivery = TrainDelivery { key, topic: topic.clone(), train: train.clone() };
            // Under the lock, so that two trains of one lane reach a subscriber in the order of their numbers.
            offered = self.hand_out_train(generation, Some(own), &Arc::new(delivery), &first);
        }
        drop(sequencer);
        let is_wanted = local || !parts.is_empty();
        self.parts.metrics.on_published(events, if is_wanted { 0 } else { events });
        Ok(TrainTaken::Whole { wanted: is_wanted, pressed: offered.pressed })
    }

    /// Who gets the train as it is, by carriers; `None` where not everybody does.
    #[expect(clippy::too_many_arguments, reason = "what a verdict at egress is about")]
    fn parts_of(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        principal: &Principal,
        topic: &Topic,
        first: &Event,
        events: u64,
        wanted: &DestinationSet,
    ) -> Option<SmallVec<[Part; 2]>> {
        let (program, from) = (&generation.program, self.parts.own_zone_index);
        let mut parts: SmallVec<[Part; 2]> = SmallVec::new();
        let mut classes: SmallVec<[(ClassId, usize); 4]> = SmallVec::new();
        let mut home = None;
        for bridge in wanted.iter() {
            let (_, zone) = forwarding.bridge(bridge);
            if *zone == self.parts.own_zone {
                let at = *home.get_or_insert_with(|| {
                    parts.push(Part { destinations: SmallVec::new(), carriers: CarrierSet::All });
                    parts.len() - 1
                });
                parts[at].destinations.push(bridge);
                continue;
            }
            let to = program.zone(zone.as_str())?;
            let class = class(program, Context::Egress, from, to, topic);
            if let Some((_, at)) = classes.iter().find(|(known, _)| *known == class) {
                parts[*at].destinations.push(bridge);
                continue;
            }
            if !self.all_pass(generation, from, to, Context::Egress, topic, first, events, Some(principal), 0)
                || !carries_alike(program, from, to, topic)
            {
                return None;
            }
            let asked = Asked {
                context: Context::Egress,
                from,
                to,
                topic,
                event: first,
                publisher: Some(&principal.0),
                subscriber: None,
                hops: 0,
            };
            let carriers = self.carriers(generation, &asked, first);
            classes.push((class, parts.len()));
            parts.push(Part { destinations: SmallVec::from_iter([bridge]), carriers });
        }
        Some(parts)
    }

    /// Whether every event of a train passes as it is, which its first one tells; `false` also where it cannot tell.
    #[expect(clippy::too_many_arguments, reason = "what a verdict is about")]
    fn all_pass(
        &self,
        generation: &Generation,
        from: ZoneIndex,
        to: ZoneIndex,
        context: Context,
        topic: &Topic,
        first: &Event,
        events: u64,
        publisher: Option<&Principal>,
        hops: u8,
    ) -> bool {
        let program: &Program = &generation.program;
        if !context.is_border() && self.passes(generation, context, from, topic) {
            return true;
        }
        if !judges_alike(program, context, from, to, topic) {
            return false;
        }
        let publisher = publisher.map(|publisher| &*publisher.0);
        let asked = Asked { context, from, to, topic, event: first, publisher, subscriber: None, hops };
        let passes = matches!(self.judge(generation, &asked), Verdict::Pass(None));
        if passes {
            self.parts.metrics.on_forwarded_alike(context.name(), events.saturating_sub(1));
        }
        passes
    }

    fn check_train_room(
        &self,
        forwarding: &Forwarding,
        parts: &[Part],
        train: &EventTrain,
    ) -> Result<(), PublishRefused> {
        let sessions = self.parts.links.sessions();
        let mut split = meshbridge_routing::Split::default();
        for part in parts {
            let mut set = DestinationSet::default();
            part.destinations.iter().for_each(|bridge| set.insert(*bridge));
            forwarding.split(&set, &part.carriers, None, &mut split);
            let is_full = |link| {
                sessions.get(link).is_some_and(|session| !session.outbox.has_room_for(train.encoded().len()))
            };
            if split.hops.iter().any(|hop| is_full(&hop.link)) {
                return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
            }
        }
        Ok(())
    }

    /// To the subscriptions without memory: whole where everybody may have it as it is.
    fn hand_out_train(
        &self,
        generation: &Generation,
        from: Option<ZoneIndex>,
        delivery: &Arc<TrainDelivery>,
        first: &Event,
    ) -> Offered {
        let events = delivery.train.len() as u64;
        let own = self.parts.own_zone_index;
        let is_open = from.is_some_and(|from| {
            self.is_open(generation, from, &delivery.topic)
                && self.all_pass(
                    generation,
                    from,
                    own,
                    Context::Deliver,
                    &delivery.topic,
                    first,
                    events,
                    None,
                    0,
                )
        });
        if !is_open {
            delivery.deliveries().for_each(|one| {
                self.hand_out(&one);
            });
            return Offered::default();
        }
        let offered = self.subscriptions.deliver_train(delivery);
        self.parts.metrics.on_delivered(u64::from(offered.delivered));
        self.parts.metrics.on_dropped(DropReason::SlowSubscriber, u64::from(offered.overflowed));
        offered
    }

    /// A train that a link brought: carried further, delivered here, or both.
    pub(super) fn arrive_train(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        neighbour: &BridgeId,
        zone: &ZoneName,
        frame: Outbound,
        here: Option<u64>,
    ) {
        let Ok(train) = EventTrain::decode(frame.body.payload.clone()) else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        let (first, events) = (train.first(), train.len() as u64);
        if u64::from(frame.events()) != events || !is_marked(&frame) {
            return self.drop_frame(&frame, DropReason::Damaged);
        }
        let hops = hops_crossed(&frame.body.extensions, frame.hop_limit);
        let topic = &frame.body.topic;
        let judged = |context| {
            let own = self.parts.own_zone_index;
            let from = generation.program.zone(zone.as_str());
            *zone == self.parts.own_zone
                || from.is_some_and(|from| {
                    self.all_pass(generation, from, own, context, topic, &first, events, None, hops)
                })
        };
        let is_watched = !self.parts.observers.are_none();
        if let Some(prev) = here {
            let taken = if is_watched || !judged(Context::Ingress) {
                Taken::Partly
            } else {
                lock(&self.dedup).take_run(&frame.body.key, events, prev)
            };
            match taken {
                Taken::All => {
                    let from = generation.program.zone(zone.as_str());
                    let (key, topic) = (frame.body.key.clone(), topic.clone());
                    let delivery = Arc::new(TrainDelivery { key, topic, train: train.clone() });
                    self.hand_out_train(generation, from, &delivery, &first);
                }
                Taken::None => self.parts.metrics.on_dropped(DropReason::Duplicate, events),
                Taken::Partly => {
                    for (single, event, prev) in singles(&frame, &train, Some(prev)) {
                        self.receive_best_effort(generation, zone, &single, &event, prev.unwrap_or_default());
                    }
                }
            }
        }
        if frame.destinations.is_empty() {
            return;
        }
        if !is_watched && frame.body.carriers.contains(&self.parts.own_zone) && judged(Context::Transit) {
            return self.carry_train(forwarding, neighbour, frame);
        }
        for (single, event, _) in singles(&frame, &train, None) {
            self.carry(generation, forwarding, zone, neighbour, single, &event);
        }
    }

    fn carry_train(&self, forwarding: &Forwarding, neighbour: &BridgeId, mut frame: Outbound) {
        if frame.hop_limit <= 1 {
            return self.drop_frame(&frame, DropReason::HopLimit);
        }
        frame.hop_limit -= 1;
        self.forward(forwarding, frame, Some(neighbour));
    }
}

/// The events of a train as frames of their own, with `prev` for this bridge.
fn singles<'a>(
    frame: &'a Outbound,
    train: &'a EventTrain,
    prev: Option<u64>,
) -> impl Iterator<Item = (Outbound, Event, Option<u64>)> + 'a {
    let body = &frame.body;
    let extensions: SmallVec<[_; 2]> =
        body.extensions.iter().filter(|(kind, ..)| *kind != TRAIN_EXTENSION).cloned().collect();
    train.events().zip(body.key.seq..).map(move |(event, seq)| {
        let is_first = seq == body.key.seq;
        let before = |prev: u64| if is_first { prev } else { seq - 1 };
        let payload = event.encoded().clone();
        let single = FrameBody {
            key: EventKey { seq, ..body.key.clone() },
            topic: body.topic.clone(),
            digest: payload_digest(&payload),
            payload,
            policy: body.policy,
            carriers: body.carriers.clone(),
            extensions: extensions.clone(),
        };
        let destinations = frame
            .destinations
            .iter()
            .map(|one| FrameDestination { bridge: one.bridge, prev: before(one.prev) });
        let single = Outbound {
            body: Arc::new(single),
            destinations: destinations.collect(),
            hop_limit: frame.hop_limit,
            since: frame.since,
            expires: frame.expires,
        };
        (single, event, prev.map(before))
    })
}
