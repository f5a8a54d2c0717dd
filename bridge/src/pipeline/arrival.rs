//! Frames that a link brought: carried further, delivered here, or both.

use std::sync::Arc;
use std::time::Instant;

use meshbridge_event::Event;
use meshbridge_policy::{Context, ZoneIndex};
use meshbridge_routing::wire::{NoticeKind, data::payload_digest};
use meshbridge_routing::{BridgeId, Forwarding, ZoneName};

use super::judge::{Refusal, Verdict, context_name};
use super::subscriptions::Delivery;
use super::{Inner, Pipeline, lock};
use crate::link::Outbound;
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// A decoded frame: for this bridge, for others behind it, or both.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// `destinations` without this bridge; the hop limit as received.
    pub(crate) frame: Outbound,
    /// `prev` for this bridge, where it is a destination.
    pub(crate) here: Option<u64>,
}

impl Pipeline {
    /// Takes the frames of one batch from `neighbour`, in order.
    pub(crate) fn arrive(&self, neighbour: &BridgeId, batch: Vec<Arrival>) {
        let generation = self.generation();
        let forwarding = self.inner.parts.forwarding.load();
        let mut local = Vec::new();
        for arrival in batch {
            self.inner.arrive_one(&generation, &forwarding, neighbour, arrival, &mut local);
        }
        self.inner.deliver(&local);
    }
}

impl Inner {
    fn arrive_one(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        neighbour: &BridgeId,
        Arrival { frame, here }: Arrival,
        local: &mut Vec<Arc<Delivery>>,
    ) {
        let body = &frame.body;
        if payload_digest(&body.payload) != body.digest {
            return self.drop_frame(&frame, DropReason::Damaged);
        }
        // Our own event came back: a loop of the moment, its other copies are on their way.
        if body.key.origin == self.parts.own {
            return self.parts.metrics.on_dropped(DropReason::Duplicate, 1);
        }
        if frame.expires.is_some_and(|expires| expires <= Instant::now()) {
            return self.drop_frame(&frame, DropReason::Expired);
        }
        let Ok(event) = Event::decode(body.payload.clone()) else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        let Some(zone) =
            forwarding.index_of(&body.key.origin).map(|index| forwarding.bridge(index).1.clone())
        else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        if let Some(prev) = here {
            self.receive(generation, &zone, &frame, &event, prev, local);
        }
        if !frame.destinations.is_empty() {
            self.carry(generation, forwarding, &zone, neighbour, frame, &event);
        }
    }

    /// This bridge is a destination.
    fn receive(
        &self,
        generation: &Generation,
        origin_zone: &ZoneName,
        frame: &Outbound,
        event: &Event,
        prev: u64,
        local: &mut Vec<Arc<Delivery>>,
    ) {
        let body = &frame.body;
        if !lock(&self.dedup).take(&body.key, prev) {
            return self.parts.metrics.on_dropped(DropReason::Duplicate, 1);
        }
        let event = match self.judge_arrival(generation, Context::Ingress, origin_zone, frame, event) {
            Verdict::Pass(edited) => edited.unwrap_or_else(|| event.clone()),
            Verdict::Stop(refusal) => return self.refuse(Context::Ingress, frame, &refusal),
        };
        local.push(Arc::new(Delivery { key: body.key.clone(), topic: body.topic.clone(), event }));
    }

    /// Others behind this bridge are destinations: it carries the frame, if its policies let it.
    fn carry(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        origin_zone: &ZoneName,
        neighbour: &BridgeId,
        mut frame: Outbound,
        event: &Event,
    ) {
        if frame.hop_limit <= 1 {
            return self.drop_frame(&frame, DropReason::HopLimit);
        }
        frame.hop_limit -= 1;
        if !frame.body.carriers.contains(&self.parts.own_zone) {
            let refusal = Refusal {
                by: "residency".to_owned(),
                layer: "federation".to_owned(),
                disposition: "reject",
                message: None,
            };
            return self.refuse(Context::Transit, &frame, &refusal);
        }
        match self.judge_arrival(generation, Context::Transit, origin_zone, &frame, event) {
            Verdict::Pass(_) => self.forward(forwarding, frame, Some(neighbour)),
            Verdict::Stop(refusal) => self.refuse(Context::Transit, &frame, &refusal),
        }
    }

    fn judge_arrival(
        &self,
        generation: &Generation,
        context: Context,
        origin_zone: &ZoneName,
        frame: &Outbound,
        event: &Event,
    ) -> Verdict {
        if *origin_zone == self.parts.own_zone {
            return Verdict::Pass(None);
        }
        let program = &generation.program;
        let Some(from) = program.zone(origin_zone.as_str()) else {
            return Verdict::Stop(Refusal::unknown_zone());
        };
        let to: ZoneIndex = self.parts.own_zone_index;
        self.verdict(context, program.decide(context, from, to, &frame.body.topic, event))
    }

    /// The event ends here; the origin hears of it and keeps the record (POLICY §3).
    fn refuse(&self, context: Context, frame: &Outbound, refusal: &Refusal) {
        self.parts.metrics.on_dropped(DropReason::Denied, 1);
        let kind = NoticeKind::Denied {
            rule: refusal.by.clone(),
            disposition: refusal.disposition.to_owned(),
            context: context_name(context).to_owned(),
        };
        self.notify_origin(&frame.body.key, kind);
    }

    pub(super) fn deliver(&self, batch: &[Arc<Delivery>]) {
        if batch.is_empty() {
            return;
        }
        let offered = self.subscriptions.deliver(batch);
        self.parts.metrics.on_delivered(u64::from(offered.delivered));
        self.parts.metrics.on_dropped(DropReason::SlowSubscriber, u64::from(offered.overflowed));
    }
}
