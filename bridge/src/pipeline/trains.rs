//! Trains: events of class best-effort that differ in `id` and data only, moved as one.
//!
//! Where no rule of a border looks at what differs, the largest event is judged for all; elsewhere each is judged, and
//! what may go on is put together again. Where somebody looks on, and where consumer groups share, a train falls apart
//! into its events, which take the way of single ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_event::{Event, EventTrain, TrainWriter};
use meshbridge_policy::{ClassId, Context, DeliveryClass, Editors, Program, ZoneIndex};
use meshbridge_routing::wire::data::payload_digest;
use meshbridge_routing::wire::{encode_hops, encode_train};
use meshbridge_routing::{BridgeIndex, DestinationSet, EventKey, Forwarding, Passage, lane_of};
use meshbridge_topic::Topic;
use smallvec::SmallVec;

use super::admission::{RETRY_AFTER, end_of_life, partition, set_of};
use super::best_effort::EXTENSION;
use super::judge::{
    Asked, Refusal, Verdict, carries_alike, class, counts, judges_alike, links_alike, passes,
};
use super::queue::TrainDelivery;
use super::replies::is_reply;
use super::sitting::Sitting;
use super::subscriptions::Offered;
use super::{Inner, Pipeline, Principal, PublishRefused, lock};
use crate::link::{FrameBody, FrameDestination, FrameDestinations, Outbound};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// What became of a train that a client published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrainTaken {
    /// It is on its way.
    Whole {
        /// A subscriber of this bridge is far behind.
        pressed: bool,
    },
    /// Its events have to be published one by one.
    Apart,
}

/// One set of destinations that get the same bytes.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) destinations: SmallVec<[BridgeIndex; 4]>,
    /// Whole, or what is left of it: pieces without a gap, each with its place in the train and its passage.
    pub(super) pieces: SmallVec<[Piece; 1]>,
}

/// Destinations that get the same, at the place of their [`Part`].
#[derive(Debug)]
struct OfClass {
    class: ClassId,
    zones: SmallVec<[ZoneIndex; 4]>,
    /// What was said, of each event or of one for all: the records of every further zone, where there may be one.
    verdicts: Vec<(Event, Verdict, Editors)>,
}

/// Events of a train that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) train: EventTrain,
    pub(super) passage: Passage,
}

/// An event of a train that goes no further, by its place.
type Refused = (u64, Event, SmallVec<[BridgeIndex; 4]>, Refusal);

/// A train, and what verdicts about it are given for.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) topic: &'a Topic,
    pub(super) train: &'a EventTrain,
    /// Stands for all of it.
    pub(super) largest: Event,
    pub(super) publisher: Option<&'a str>,
    pub(super) hops: u8,
}

impl Whole<'_> {
    /// An event of it at a border, or inside the zone.
    pub(super) fn at<'a>(
        &'a self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        event: &'a Event,
    ) -> Asked<'a> {
        let Whole { topic, publisher, hops, .. } = *self;
        Asked { context, from, to, topic, event, publisher, subscriber: None, hops }
    }
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

    /// Whether publications to the topic are counted against a rate: what is taken together would be counted though it is
    /// refused together.
    pub(crate) fn counts(&self, topic: &Topic) -> bool {
        let own = self.inner.parts.own_zone_index;
        counts(&self.generation().program, Context::Publish, own, own, topic)
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
        let asked = Whole { topic, train, largest: train.largest(), publisher: Some(&principal.0), hops: 0 };
        if !groups.is_empty()
            || !self.durable.left_out().is_empty()
            || !self.are_abroad(generation, forwarding, &wanted)
        {
            return Ok(TrainTaken::Apart);
        }
        self.check_train_room(forwarding, &wanted, train)?;
        if train.len() == 1 && !passes(program, Context::Publish, own, own, topic) {
            // It is judged alone anyway.
            return Ok(TrainTaken::Apart);
        }
        if !self.all_pass(generation, Context::Publish, own, own, &asked) {
            return Ok(TrainTaken::Apart);
        }
        let Some((mut parts, refused)) = self.parts_of(generation, forwarding, &asked, &wanted) else {
            return Ok(TrainTaken::Apart);
        };
        let events = train.len() as u64;
        let count = u32::try_from(train.len()).unwrap_or(u32::MAX);
        self.parts.drift.on_events(&self.parts.policies, topic, &asked.largest, count);
        let local = self.subscriptions.wants(topic);
        let now = Instant::now();
        let clock = self.durable.clock();
        let life = end_of_life(&asked.largest).map(|end| clock.remaining(end));
        if life == Some(Duration::ZERO) {
            self.parts.metrics.on_dropped(DropReason::Expired, events);
            self.parts.metrics.on_published(events, 0);
            return Ok(TrainTaken::Whole { pressed: false });
        }
        let lane = lane_of(topic.as_str(), partition(&asked.largest));
        self.take_detours_of_train(forwarding, lane, &mut parts);
        let mut sequencer = lock(&self.sequencer);
        let seq = sequencer.next_run(lane, events);
        let key = EventKey { origin: self.parts.own.clone(), run: self.parts.best_effort_run, lane, seq };
        for part in &parts {
            for piece in &part.pieces {
                let first = seq + piece.start;
                let last = first + piece.train.len() as u64 - 1;
                let numbered: FrameDestinations = part
                    .destinations
                    .iter()
                    .map(|bridge| FrameDestination {
                        bridge: *bridge,
                        prev: sequencer.replace_last_for(lane, *bridge, last),
                    })
                    .collect();
                let hop_limit = forwarding.default_hop_limit(&set_of(&numbered), &piece.passage);
                let payload = piece.train.encoded().clone();
                let count = u32::try_from(piece.train.len()).unwrap_or(u32::MAX);
                let frame = Outbound {
                    hop_limit,
                    body: Arc::new(FrameBody {
                        key: EventKey { seq: first, ..key.clone() },
                        topic: topic.clone(),
                        digest: payload_digest(&payload),
                        payload,
                        policy: generation.mark,
                        passage: piece.passage.clone(),
                        extensions: SmallVec::from_iter([
                            EXTENSION,
                            encode_hops(hop_limit),
                            encode_train(count),
                        ]),
                    }),
                    destinations: numbered,
                    since: now,
                    expires: life.map(|life| now + life),
                    barred: None,
                };
                self.forward(forwarding, frame, None);
            }
        }
        let mut offered = Offered::default();
        if local {
            let delivery = TrainDelivery { key: key.clone(), topic: topic.clone(), train: train.clone() };
            // Under the lock, so that two trains of one lane reach a subscriber in the order of their numbers.
            offered = self.hand_out_train(generation, Some(own), &Arc::new(delivery));
        }
        drop(sequencer);
        for (start, event, bridges, refusal) in &refused {
            let key = EventKey { seq: seq + start, ..key.clone() };
            for bridge in bridges {
                let destination = forwarding.bridge(*bridge).0;
                self.on_refused_here(&key, topic, event, destination.as_str(), refusal);
            }
        }
        let is_wanted = local || !parts.is_empty();
        self.parts.metrics.on_published(events, if is_wanted { 0 } else { events });
        Ok(TrainTaken::Whole { pressed: offered.pressed })
    }

    /// Whether all of these are in other zones that are known. Who may carry an event inside a zone is asked of each.
    fn are_abroad(&self, generation: &Generation, forwarding: &Forwarding, bridges: &DestinationSet) -> bool {
        bridges.iter().all(|bridge| {
            let (_, zone) = forwarding.bridge(bridge);
            *zone != self.parts.own_zone && generation.program.zone(zone.as_str()).is_some()
        })
    }

    /// Who gets which bytes, and which events stay; `None` where a zone is not known.
    fn parts_of(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        asked: &Whole<'_>,
        wanted: &DestinationSet,
    ) -> Option<(SmallVec<[Part; 2]>, Vec<Refused>)> {
        let (program, from) = (&generation.program, self.parts.own_zone_index);
        let mut parts: SmallVec<[Part; 2]> = SmallVec::new();
        let mut refused: Vec<Refused> = Vec::new();
        let mut classes: SmallVec<[OfClass; 4]> = SmallVec::new();
        let whole = |passage| Piece { start: 0, train: asked.train.clone(), passage };
        let is_for_several = wanted.iter().nth(1).is_some();
        for bridge in wanted.iter() {
            let to = program.zone(forwarding.bridge(bridge).1.as_str())?;
            let class = class(program, Context::Egress, from, to, asked.topic);
            if let Some((known, part)) =
                classes.iter_mut().zip(&mut parts).find(|(one, _)| one.class == class)
            {
                if !known.zones.contains(&to) {
                    known.zones.push(to);
                    for (event, verdict, editors) in &known.verdicts {
                        let asked = asked.at(Context::Egress, from, to, event);
                        self.record_alike(generation, &asked, (verdict, editors));
                    }
                }
                // Those that stay stay for all of the class.
                let of_class = part.destinations.first().copied();
                for (_, _, bridges, _) in
                    refused.iter_mut().filter(|(_, _, bridges, _)| bridges.first().copied() == of_class)
                {
                    bridges.push(bridge);
                }
                part.destinations.push(bridge);
                continue;
            }
            let mut verdicts = Vec::new();
            let pieces = if carries_alike(program, from, to, asked.topic)
                && self.all_pass(generation, Context::Egress, from, to, asked)
            {
                verdicts.push((asked.largest.clone(), Verdict::Pass(None), Editors::default()));
                SmallVec::from_iter([whole(self.passage(
                    generation,
                    &asked.at(Context::Egress, from, to, &asked.largest),
                    &asked.largest,
                ))])
            } else {
                let stays = |start, event, refusal| {
                    refused.push((start, event, SmallVec::from_iter([bridge]), refusal))
                };
                let is_carried_alike = carries_alike(program, from, to, asked.topic)
                    && links_alike(program, Context::Egress, from, to, asked.topic);
                let mut sitting =
                    Sitting::new(self, generation, asked.at(Context::Egress, from, to, &asked.largest));
                let judged = |event: &Event| {
                    let (verdict, editors) = sitting.judge(event);
                    if is_for_several {
                        verdicts.push((event.clone(), verdict.clone(), editors));
                    }
                    verdict
                };
                let way = |event: &Event, form: &Event| {
                    self.passage(generation, &asked.at(Context::Egress, from, to, event), form)
                };
                self.sift(asked.train, judged, (is_carried_alike, way), stays)
            };
            classes.push(OfClass { class, zones: SmallVec::from_iter([to]), verdicts });
            parts.push(Part { destinations: SmallVec::from_iter([bridge]), pieces });
        }
        Some((parts, refused))
    }

    /// Judges each event of a train for itself, and puts what may go on together again. `way` says which one an event may
    /// take in the form that it got, and whether those with equal attributes take the same.
    pub(super) fn sift(
        &self,
        train: &EventTrain,
        mut judge: impl FnMut(&Event) -> Verdict,
        (is_one_way, mut way): (bool, impl FnMut(&Event, &Event) -> Passage),
        mut stays: impl FnMut(u64, Event, Refusal),
    ) -> SmallVec<[Piece; 1]> {
        let mut pieces = SmallVec::new();
        let mut current: Option<(u64, Passage, TrainWriter)> = None;
        let finish = |current: &mut Option<(u64, Passage, TrainWriter)>,
                      pieces: &mut SmallVec<[Piece; 1]>| {
            let finished = current.take();
            pieces.extend(finished.and_then(|(start, passage, writer)| {
                Some(Piece { start, train: writer.finish()?, passage })
            }));
        };
        for (start, event) in (0..).zip(train.events()) {
            let edited = match judge(&event) {
                Verdict::Pass(edited) => edited,
                // Without memory there is nowhere to wait.
                Verdict::Wait(_) => {
                    self.parts.metrics.on_dropped(DropReason::Waited, 1);
                    finish(&mut current, &mut pieces);
                    continue;
                }
                Verdict::Stop(refusal) => {
                    stays(start, event, refusal);
                    finish(&mut current, &mut pieces);
                    continue;
                }
            };
            let form = edited.as_ref().unwrap_or(&event);
            let mut passage = None;
            if let Some((_, known, writer)) = &mut current
                && writer.is_like(form)
                && (is_one_way || known == passage.insert(way(&event, form)))
                && writer.push(form.id(), form.data_bytes())
            {
                continue;
            }
            finish(&mut current, &mut pieces);
            let passage = passage.unwrap_or_else(|| way(&event, form));
            let mut writer = TrainWriter::like(form, form.data_kind(), train.encoded().len());
            // An event of a train fits into another one; an edit makes no id longer.
            if writer.push(form.id(), form.data_bytes()) {
                current = Some((start, passage, writer));
            } else {
                self.parts.metrics.on_dropped(DropReason::Damaged, 1);
            }
        }
        finish(&mut current, &mut pieces);
        pieces
    }

    /// Whether every event of a train passes as it is, which its largest one tells; `false` also where it cannot tell.
    pub(super) fn all_pass(
        &self,
        generation: &Generation,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        asked: &Whole<'_>,
    ) -> bool {
        let program: &Program = &generation.program;
        if !context.is_border() && self.passes(generation, context, from, asked.topic) {
            self.parts.metrics.on_passed(context, asked.train.len() as u64 - 1);
            return true;
        }
        if !judges_alike(program, context, from, to, asked.topic) {
            return false;
        }
        self.passes_for_all(generation, &asked.at(context, from, to, &asked.largest), asked.train)
    }

    /// Full means refused, before anything is judged: a rate counts what goes on.
    fn check_train_room(
        &self,
        forwarding: &Forwarding,
        wanted: &DestinationSet,
        train: &EventTrain,
    ) -> Result<(), PublishRefused> {
        let sessions = self.parts.links.sessions();
        let mut split = meshbridge_routing::Split::default();
        forwarding.split(wanted, &Passage::ANY, None, &mut split);
        let is_full = |link| {
            sessions.get(link).is_some_and(|session| !session.outbox.has_room_for(train.encoded().len()))
        };
        if split.hops.iter().any(|hop| is_full(&hop.link)) {
            return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
        }
        Ok(())
    }

    /// To the subscriptions without memory: whole where everybody may have it as it is.
    pub(super) fn hand_out_train(
        &self,
        generation: &Generation,
        from: Option<ZoneIndex>,
        delivery: &Arc<TrainDelivery>,
    ) -> Offered {
        if !from.is_some_and(|from| self.is_open(generation, from, &delivery.topic)) {
            delivery.deliveries().for_each(|one| {
                self.hand_out(&one);
            });
            return Offered::default();
        }
        let offered = self.subscriptions.deliver_train(delivery);
        self.parts.metrics.on_passed(Context::Deliver, delivery.train.len() as u64 - 1);
        self.parts.metrics.on_delivered(u64::from(offered.delivered));
        self.parts.metrics.on_dropped(DropReason::SlowSubscriber, u64::from(offered.overflowed));
        offered
    }
}
