//! Trains that a link brought: delivered here, carried further, or both.

use std::sync::Arc;

use meshbridge_event::{Event, EventTrain};
use meshbridge_policy::{Context, ZoneIndex};
use meshbridge_routing::wire::data::payload_digest;
use meshbridge_routing::wire::{TRAIN_EXTENSION, hops_crossed};
use meshbridge_routing::{BridgeId, EventKey, Forwarding, Passage, ZoneName};
use smallvec::SmallVec;

use super::best_effort::is_marked;
use super::dedup::Taken;
use super::judge::{Refusal, links_alike};
use super::over_links::Came;
use super::queue::TrainDelivery;
use super::sitting::Sitting;
use super::trains::{Piece, Whole};
use super::{Inner, lock};
use crate::link::{FrameBody, FrameDestination, Outbound};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

impl Inner {
    /// A train that a link brought: carried further, delivered here, or both.
    pub(super) fn arrive_train(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        (neighbour, over): (&BridgeId, &ZoneName),
        zone: &ZoneName,
        frame: Outbound,
        here: Option<u64>,
    ) {
        let Ok(train) = EventTrain::decode(frame.body.payload.clone()) else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        let events = train.len() as u64;
        if u64::from(frame.events()) != events || !is_marked(&frame) {
            return self.drop_frame(&frame, DropReason::Damaged);
        }
        let hops = hops_crossed(&frame.body.extensions, frame.hop_limit);
        let topic = &frame.body.topic;
        let asked = Whole { topic, train: &train, largest: train.largest(), publisher: None, hops };
        let from = generation.program.zone(zone.as_str());
        let own = self.parts.own_zone_index;
        let is_home = *zone == self.parts.own_zone;
        let all_pass = |context| {
            is_home || from.is_some_and(|from| self.all_pass(generation, context, from, own, &asked))
        };
        let denies = generation.program.denies_links();
        let came = Came { over, origin: zone, event: &asked.largest };
        if denies && !from.is_some_and(|from| self.takes_one_way(generation, forwarding, from, &frame)) {
            return self.arrive_apart(generation, forwarding, neighbour, came, &frame, &train, here);
        }
        let is_watched = !self.parts.observers.are_none();
        if let Some(prev) = here.filter(|_| !denies || self.takes_here(generation, &frame, came)) {
            let taken = match (is_watched, from) {
                (false, Some(_)) => lock(&self.dedup).take_run(&frame.body.key, events, prev),
                _ => Taken::Partly,
            };
            match (taken, from) {
                (Taken::All, Some(from)) => {
                    let whole = || Piece { start: 0, train: train.clone(), passage: Passage::ANY };
                    let pieces = if all_pass(Context::Ingress) {
                        SmallVec::from_iter([whole()])
                    } else {
                        let refused = |start, _, refusal: Refusal| {
                            let key = EventKey { seq: frame.body.key.seq + start, ..frame.body.key.clone() };
                            self.refuse_key(Context::Ingress, &key, &refusal);
                        };
                        let place = asked.at(Context::Ingress, from, own, &asked.largest);
                        let mut sitting = Sitting::new(self, generation, place);
                        let judged = |event: &Event| sitting.judge(event).0;
                        let anywhere = |_: &Event, _: &Event| Passage::ANY;
                        self.sift(&train, judged, (true, anywhere), refused)
                    };
                    for piece in pieces {
                        let key =
                            EventKey { seq: frame.body.key.seq + piece.start, ..frame.body.key.clone() };
                        let delivery = TrainDelivery { key, topic: topic.clone(), train: piece.train };
                        self.hand_out_train(generation, Some(from), &Arc::new(delivery));
                    }
                }
                (Taken::None, _) => self.parts.metrics.on_dropped(DropReason::Duplicate, events),
                _ => {
                    for (single, event, prev) in singles(&frame, &train, Some(prev)) {
                        self.receive_best_effort(generation, zone, &single, &event, prev.unwrap_or_default());
                    }
                }
            }
        }
        if frame.destinations.is_empty() {
            return;
        }
        let is_whole = !is_watched
            && frame.body.passage.carriers.contains(&self.parts.own_zone)
            && all_pass(Context::Transit);
        let parts = match denies {
            true => self.carried_over_links(generation, forwarding, frame.clone(), came),
            false => SmallVec::from_iter([frame.clone()]),
        };
        for part in parts {
            if is_whole {
                self.carry_train(forwarding, neighbour, part);
                continue;
            }
            for (single, event, _) in singles(&part, &train, None) {
                self.carry(generation, forwarding, zone, neighbour, single, &event);
            }
        }
    }

    /// Whether no rule denies a link to one event of the train and not to another, here and for whom it is carried.
    fn takes_one_way(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        from: ZoneIndex,
        frame: &Outbound,
    ) -> bool {
        let (program, topic) = (&generation.program, &frame.body.topic);
        let own = self.parts.own_zone_index;
        let zones = frame.destinations.iter().map(|one| forwarding.bridge(one.bridge).1.as_str());
        links_alike(program, Context::Ingress, from, own, topic)
            && zones
                .filter_map(|zone| program.zone(zone))
                .all(|to| links_alike(program, Context::Transit, from, to, topic))
    }

    /// A train whose events may have to take different ways.
    #[expect(clippy::too_many_arguments, reason = "what arrives, from where, and under what")]
    fn arrive_apart(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        neighbour: &BridgeId,
        came: Came<'_>,
        frame: &Outbound,
        train: &EventTrain,
        here: Option<u64>,
    ) {
        for (single, event, prev) in singles(frame, train, here) {
            let came = Came { event: &event, ..came };
            if let Some(prev) = prev.filter(|_| self.takes_here(generation, &single, came)) {
                self.receive_best_effort(generation, came.origin, &single, &event, prev);
            }
            for part in self.carried_over_links(generation, forwarding, single, came) {
                self.carry(generation, forwarding, came.origin, neighbour, part, &event);
            }
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
            passage: body.passage.clone(),
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
            barred: frame.barred.clone(),
        };
        (single, event, prev.map(before))
    })
}
