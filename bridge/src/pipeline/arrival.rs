//! Frames that a link brought: carried further, delivered here, or both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use meshbridge_delivery::{Arrival as Known, Arrived, Outcome};
use meshbridge_event::Event;
use meshbridge_policy::{Context, ZoneIndex};
use meshbridge_routing::wire::{
    NoticeKind, data::payload_digest, decode_after, decode_groups, decode_train, hops_crossed,
};
use meshbridge_routing::{BridgeId, EventKey, Forwarding, GroupName, ZoneName};
use meshbridge_spool::fail_point;
use meshbridge_topic::Topic;
use smallvec::SmallVec;
use tracing::warn;

use super::best_effort::is_marked;
use super::judge::{Asked, Refusal, Verdict};
use super::over_links::Came;
use super::stored::Stored;
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
        let mut here = Vec::new();
        for arrival in batch {
            self.inner.arrive_one(&generation, &forwarding, neighbour, arrival, &mut here);
        }
        self.inner.receive_all(&generation, here);
    }
}

/// The event as it is kept, or how it ends.
type Judged = Result<(Arrived, Arc<Stored>), Outcome>;

/// Its predecessor as far as what is settled goes, and the number that it may be offered after.
type Follows = (u64, u64);

/// A frame for this bridge, of a known origin and with whole bytes.
#[derive(Debug)]
struct Here {
    frame: Outbound,
    prev: u64,
    zone: ZoneName,
    event: Event,
}

/// Who here is to have an event of another bridge.
#[derive(Debug, Default)]
struct Wanted {
    groups: SmallVec<[u32; 4]>,
    /// Not the subscriptions without memory.
    groups_only: bool,
    /// Offered to members elsewhere so often.
    attempts: u32,
    /// Consumer groups without a member here.
    returned: Vec<GroupName>,
}

impl Inner {
    fn arrive_one(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        neighbour: &BridgeId,
        Arrival { frame, here }: Arrival,
        all_here: &mut Vec<Here>,
    ) {
        let body = &frame.body;
        // Settles nothing: the origin keeps the event, and sends it again under its newer policies (POLICY §3).
        if !generation.is_open() || body.policy.federation_revision < generation.min_revision {
            return self.drop_frame(&frame, DropReason::StalePolicy);
        }
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
        let Some(zone) =
            forwarding.index_of(&body.key.origin).map(|index| forwarding.bridge(index).1.clone())
        else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        let Some(over) = forwarding.index_of(neighbour).map(|index| forwarding.bridge(index).1) else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        if self.is_denied_by_frame(&frame, over) {
            return;
        }
        if decode_train(&body.extensions).is_some() {
            return self.arrive_train(generation, forwarding, (neighbour, over), &zone, frame, here);
        }
        let Ok(event) = Event::decode(body.payload.clone()) else {
            return self.drop_frame(&frame, DropReason::Damaged);
        };
        let came = Came { over, origin: &zone, event: &event };
        let denies = generation.program.denies_links();
        if let Some(prev) = here.filter(|_| !denies || self.takes_here(generation, &frame, came)) {
            if is_marked(&frame) {
                self.receive_best_effort(generation, &zone, &frame, &event, prev);
            } else {
                let frame = frame.clone();
                all_here.push(Here { frame, prev, zone: zone.clone(), event: event.clone() });
            }
        }
        if frame.destinations.is_empty() {
            return;
        }
        if !denies {
            return self.carry(generation, forwarding, &zone, neighbour, frame, &event);
        }
        for part in self.carried_over_links(generation, forwarding, frame, came) {
            self.carry(generation, forwarding, &zone, neighbour, part, &event);
        }
    }

    /// This bridge is a destination of these: what is new is judged, and taken or ended (RELIABILITY §2, steps 6 to 8).
    fn receive_all(&self, generation: &Generation, here: Vec<Here>) {
        if here.is_empty() {
            return;
        }
        let now = Instant::now();
        let known: Vec<Known> = self
            .durable
            .with(|core| here.iter().map(|one| core.classify(&one.frame.body.key, now)).collect());
        let full = !self.durable.admits() || !self.parts.audit.admits();
        let mut taken = Vec::new();
        let mut unheard = BTreeSet::new();
        for (one, known) in here.into_iter().zip(known) {
            match known {
                // Full: the origin keeps it, and hears by the credit that it may come again later.
                Known::New if full => {
                    self.parts.metrics.on_dropped(DropReason::QueueFull, 1);
                    unheard.insert(one.frame.body.key.origin.clone());
                }
                Known::New => taken.extend(self.judge_here(generation, one)),
                Known::Known => self.parts.metrics.on_dropped(DropReason::Duplicate, 1),
                Known::UnknownRun | Known::NoRoom => self.parts.metrics.on_dropped(DropReason::Waited, 1),
            }
        }
        if !unheard.is_empty() {
            self.durable.with(|core| unheard.iter().for_each(|origin| core.had_no_room(origin, now)));
        }
        if taken.is_empty() {
            return;
        }
        let wall = self.durable.wall();
        fail_point!("destination.before-append");
        self.durable.with(|core| {
            for (key, (prev, after), verdict) in taken {
                // Another link may have brought it meanwhile.
                if core.classify(&key, now) != Known::New {
                    continue;
                }
                match verdict {
                    Ok((arrived, stored)) => {
                        if let Some(body) = core.take_after(arrived, after, wall) {
                            lock(&self.durable.cache).insert(body, stored);
                        }
                    }
                    Err(outcome) => core.refuse_after(key, prev, after, outcome),
                }
            }
        });
        fail_point!("destination.after-append");
    }

    /// `None` where a rate has no room: the origin offers the event again.
    fn judge_here(&self, generation: &Generation, one: Here) -> Option<(EventKey, Follows, Judged)> {
        let Here { frame, prev, zone, event } = one;
        let body = &frame.body;
        let key = body.key.clone();
        let hops = hops_crossed(&body.extensions, frame.hop_limit);
        let after = decode_after(&body.extensions, &self.parts.own).unwrap_or_else(|problem| {
            // It waits for its predecessor, as ever.
            warn!(%key, %problem, "What an event may follow cannot be read");
            None
        });
        let follows = (prev, after.unwrap_or(prev));
        let event = match self.judge_arrival(generation, Context::Ingress, &zone, &body.topic, &event, hops) {
            Verdict::Pass(edited) => edited.unwrap_or(event),
            Verdict::Wait(_) => {
                self.parts.metrics.on_dropped(DropReason::Waited, 1);
                return None;
            }
            Verdict::Stop(refusal) => {
                self.refuse(Context::Ingress, &frame, &refusal);
                // A consumer group has its own way to go on.
                let is_for_groups = decode_groups(&body.extensions, &self.parts.own)
                    .is_ok_and(|target| target.is_some_and(|target| !target.plain));
                let outcome = if is_for_groups { refusal.outcome() } else { refusal.outcome_on_arrival() };
                return Some((key, follows, Err(outcome)));
            }
        };
        let left = frame.expires.map(|expires| expires.saturating_duration_since(Instant::now()));
        let expires = left.map_or(0, |left| self.durable.clock().end_of(left));
        let Wanted { groups, groups_only, attempts, returned } = self.subscriptions_of(&frame);
        let arrived = Arrived {
            key: key.clone(),
            prev,
            topic: body.topic.as_str().into(),
            payload: event.encoded().clone(),
            expires,
            groups,
            groups_only,
            attempts,
            returned,
        };
        let (topic, judged) = (body.topic.clone(), Some(generation.number));
        let stored = Stored { key: key.clone(), topic, event, expires, publisher: None, judged, forms: None };
        Some((key, follows, Ok((arrived, Arc::new(stored)))))
    }

    /// Who here is to have the event.
    fn subscriptions_of(&self, frame: &Outbound) -> Wanted {
        let body = &frame.body;
        let target = match decode_groups(&body.extensions, &self.parts.own) {
            Ok(target) => target,
            Err(problem) => {
                // As if it had none: its other subscribers are none the worse.
                warn!(key = %body.key, %problem, "The consumer groups of an event cannot be read");
                None
            }
        };
        let Some(target) = target else {
            return Wanted { groups: self.named.matching(&body.topic), ..Wanted::default() };
        };
        let mut wanted =
            Wanted { groups_only: !target.plain, attempts: u32::from(target.attempts), ..Wanted::default() };
        if target.plain {
            wanted.groups = self.named.matching(&body.topic);
        }
        let now = Instant::now();
        for name in target.groups {
            match self.named.group(&name).filter(|named| named.takes_group(now)) {
                Some(named) => wanted.groups.push(named.id),
                None => wanted.returned.push(name),
            }
        }
        wanted
    }

    pub(super) fn receive_best_effort(
        &self,
        generation: &Generation,
        origin_zone: &ZoneName,
        frame: &Outbound,
        event: &Event,
        prev: u64,
    ) {
        let body = &frame.body;
        if !lock(&self.dedup).take(&body.key, prev) {
            return self.parts.metrics.on_dropped(DropReason::Duplicate, 1);
        }
        let hops = hops_crossed(&body.extensions, frame.hop_limit);
        let event =
            match self.judge_arrival(generation, Context::Ingress, origin_zone, &body.topic, event, hops) {
                Verdict::Pass(edited) => edited.unwrap_or_else(|| event.clone()),
                Verdict::Wait(_) => return self.parts.metrics.on_dropped(DropReason::Waited, 1),
                Verdict::Stop(refusal) => return self.refuse(Context::Ingress, frame, &refusal),
            };
        let (key, topic) = (body.key.clone(), body.topic.clone());
        self.hand_out(&Arc::new(Delivery { body: None, key, topic, event }));
    }

    /// Others behind this bridge are destinations: it carries the frame, if its policies let it.
    pub(super) fn carry(
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
        fail_point!("transit.before-forward");
        if !frame.body.passage.carriers.contains(&self.parts.own_zone) {
            let refusal = Refusal::by_federation("residency");
            if let Some(from) = generation.program.zone(origin_zone.as_str()) {
                let (context, to, topic) = (Context::Transit, self.parts.own_zone_index, &frame.body.topic);
                let asked =
                    Asked { context, from, to, topic, event, publisher: None, subscriber: None, hops: 0 };
                self.record_refusal(generation, &asked, &refusal);
            }
            return self.refuse(Context::Transit, &frame, &refusal);
        }
        let hops = hops_crossed(&frame.body.extensions, frame.hop_limit);
        match self.judge_arrival(generation, Context::Transit, origin_zone, &frame.body.topic, event, hops) {
            Verdict::Pass(_) => {
                frame.hop_limit -= 1;
                self.forward(forwarding, frame, Some(neighbour));
            }
            // Its origin sends it again.
            Verdict::Wait(_) => self.parts.metrics.on_dropped(DropReason::Waited, 1),
            Verdict::Stop(refusal) => self.refuse(Context::Transit, &frame, &refusal),
        }
    }

    /// What came from another zone into this one, or through it.
    pub(super) fn judge_arrival(
        &self,
        generation: &Generation,
        context: Context,
        origin_zone: &ZoneName,
        topic: &Topic,
        event: &Event,
        hops: u8,
    ) -> Verdict {
        if *origin_zone == self.parts.own_zone {
            return Verdict::Pass(None);
        }
        let program = &generation.program;
        let Some(from) = program.zone(origin_zone.as_str()) else {
            return Verdict::Stop(Refusal::unknown_zone());
        };
        let to: ZoneIndex = self.parts.own_zone_index;
        self.judge(
            generation,
            &Asked { context, from, to, topic, event, publisher: None, subscriber: None, hops },
        )
    }

    /// The event ends here; the origin hears of it and keeps the record (POLICY §3).
    fn refuse(&self, context: Context, frame: &Outbound, refusal: &Refusal) {
        self.refuse_key(context, &frame.body.key, refusal);
    }

    pub(super) fn refuse_key(&self, context: Context, key: &EventKey, refusal: &Refusal) {
        self.parts.metrics.on_dropped(DropReason::Denied, 1);
        let kind = NoticeKind::Denied {
            rule: refusal.by.clone(),
            disposition: refusal.disposition.to_owned(),
            context: context.name().to_owned(),
        };
        self.notify_origin(key, kind);
    }
}
