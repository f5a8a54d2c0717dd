//! Links that this bridge's own policies deny to an event that others sent (R44): it comes over none of them, and leaves over
//! none. The origin has judged them too; here nobody is believed.

use std::sync::Arc;

use meshbridge_event::{Event, EventTrain};
use meshbridge_policy::{Context, RuleRef, ZoneLink};
use meshbridge_routing::wire::{NoticeKind, decode_train};
use meshbridge_routing::{BridgeIndex, EventKey, Forwarding, ZoneName};
use smallvec::SmallVec;
use tracing::info;

use super::Inner;
use super::judge::Asked;
use crate::link::{Barred, FrameDestinations, Outbound};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// What stands for a rule where the frame itself denies the link that it came over.
const BY_FRAME: &str = "links";

/// An event of a frame, and the zone that it begins in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came<'a> {
    /// The zone of the neighbour that sent the frame.
    pub(super) over: &'a ZoneName,
    pub(super) origin: &'a ZoneName,
    /// One of a train stands for all.
    pub(super) event: &'a Event,
}

impl Inner {
    /// Whether the frame itself denies the link that it came over: then the neighbour did not heed it.
    pub(super) fn is_denied_by_frame(&self, frame: &Outbound, over: &ZoneName) -> bool {
        let is_denied = frame.body.passage.denied.contains(over, &self.parts.own_zone);
        if is_denied {
            self.refuse_link(Context::Transit, frame, BY_FRAME, over);
        }
        is_denied
    }

    /// Whether this bridge, as a destination of the frame, may have it over the link that it came over. A refusal is no
    /// outcome: another copy may come over another link.
    pub(super) fn takes_here(&self, generation: &Generation, frame: &Outbound, came: Came<'_>) -> bool {
        let barred = self.barred(generation, Context::Ingress, frame, came, &self.parts.own_zone);
        let Some(rule) = by(&barred, came.over) else { return true };
        let own = &self.parts.own_zone;
        self.record_refused(generation, Context::Ingress, frame, came, (own, rule));
        self.refuse_link(Context::Ingress, frame, rule.id(), came.over);
        false
    }

    /// The frame for those of its destinations that it may be carried to from where it came, by the links that it must not
    /// leave over.
    pub(super) fn carried_over_links(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        frame: Outbound,
        came: Came<'_>,
    ) -> SmallVec<[Outbound; 1]> {
        let mut zones: SmallVec<[(&ZoneName, Barred); 4]> = SmallVec::new();
        let mut parts: SmallVec<[(Barred, FrameDestinations); 1]> = SmallVec::new();
        let mut refused: Option<(&ZoneName, RuleRef)> = None;
        for destination in &frame.destinations {
            let zone = forwarding.bridge(destination.bridge).1;
            let known = zones.iter().find(|(known, _)| *known == zone).map(|(_, barred)| barred.clone());
            let barred = known.unwrap_or_else(|| {
                let barred = self.barred(generation, Context::Transit, &frame, came, zone);
                zones.push((zone, barred.clone()));
                barred
            });
            if let Some(rule) = by(&barred, came.over) {
                refused.get_or_insert_with(|| (zone, rule.clone()));
                continue;
            }
            match parts.iter_mut().find(|(known, _)| *known == barred) {
                Some((_, destinations)) => destinations.push(*destination),
                None => parts.push((barred, FrameDestinations::from_iter([*destination]))),
            }
        }
        if let Some((zone, rule)) = &refused {
            self.record_refused(generation, Context::Transit, &frame, came, (zone, rule));
            self.refuse_link(Context::Transit, &frame, rule.id(), came.over);
        }
        let part = |(barred, destinations)| Outbound { barred, destinations, ..frame.clone() };
        parts.into_iter().map(part).collect()
    }

    /// Whether the frame must not leave over the link to a neighbour. Then the origin hears of it, and sends it another way.
    pub(super) fn is_barred(&self, forwarding: &Forwarding, frame: &Outbound, next: BridgeIndex) -> bool {
        if frame.barred.is_none() {
            return false;
        }
        let zone = forwarding.bridge(next).1;
        let rule = by(&frame.barred, zone);
        if let Some(rule) = rule {
            self.record_barred(forwarding, frame, rule);
            self.refuse_link(Context::Transit, frame, rule.id(), zone);
        }
        rule.is_some()
    }

    /// The links at this bridge that its policies deny to the event on its way to a zone.
    fn barred(
        &self,
        generation: &Generation,
        context: Context,
        frame: &Outbound,
        came: Came<'_>,
        destination: &ZoneName,
    ) -> Barred {
        let (program, own) = (&generation.program, self.parts.own_zone_index);
        let (from, to) = (program.zone(came.origin.as_str())?, program.zone(destination.as_str())?);
        let (topic, event) = (&frame.body.topic, came.event);
        let asked = Asked { context, from, to, topic, event, publisher: None, subscriber: None, hops: 0 };
        let denied = self.link_denials(generation, &asked);
        let at_here = |link: ZoneLink| {
            let [one, other] = link.ends();
            let far = if one == own { other } else { one };
            let zone = ZoneName::parse(program.federation().zone_name(far)).ok()?;
            let rule = program.denied_by(&denied, link)?;
            (one == own || other == own).then_some((zone, rule))
        };
        let barred: Arc<[(ZoneName, RuleRef)]> = denied.iter().filter_map(at_here).collect();
        (!barred.is_empty()).then_some(barred)
    }

    /// Puts it on record that the event went no further here on its way to a zone.
    fn record_refused(
        &self,
        generation: &Generation,
        context: Context,
        frame: &Outbound,
        came: Came<'_>,
        (destination, rule): (&ZoneName, &RuleRef),
    ) {
        let program = &generation.program;
        let zones = (program.zone(came.origin.as_str()), program.zone(destination.as_str()));
        let (Some(from), Some(to)) = zones else { return };
        let (topic, event) = (&frame.body.topic, came.event);
        let asked = Asked { context, from, to, topic, event, publisher: None, subscriber: None, hops: 0 };
        self.record_denied_link(generation, &asked, rule);
    }

    /// The same where it was to leave: once for each zone that it was for.
    fn record_barred(&self, forwarding: &Forwarding, frame: &Outbound, rule: &RuleRef) {
        let body = &frame.body;
        let generation = self.parts.policies.active();
        let zone = |bridge| forwarding.bridge(bridge).1;
        let (Some(origin), Some(event)) = (forwarding.index_of(&body.key.origin), event_of(frame)) else {
            return;
        };
        let came = Came { over: &self.parts.own_zone, origin: zone(origin), event: &event };
        let mut told: SmallVec<[&ZoneName; 4]> = SmallVec::new();
        for destination in &frame.destinations {
            let destination = zone(destination.bridge);
            if !told.contains(&destination) {
                told.push(destination);
                self.record_refused(&generation, Context::Transit, frame, came, (destination, rule));
            }
        }
    }

    /// The frame does not go over the link. The origin hears of it, which settles nothing (RELIABILITY D8).
    pub(super) fn refuse_link(&self, context: Context, frame: &Outbound, rule: &str, zone: &ZoneName) {
        self.parts.metrics.on_dropped(DropReason::Denied, u64::from(frame.events()));
        let own = self.parts.own_zone.clone();
        info!(context = context.name(), %rule, link = %format_args!("{zone}/{own}"), "Policy kept an event from a link");
        let kind = NoticeKind::DeniedLink {
            rule: rule.to_owned(),
            context: context.name().to_owned(),
            link: (zone.clone(), own),
        };
        let key: &EventKey = &frame.body.key;
        self.notify_origin(key, kind);
    }
}

/// The event of a frame; of a train the one that stands for all.
fn event_of(frame: &Outbound) -> Option<Event> {
    let payload = frame.body.payload.clone();
    if decode_train(&frame.body.extensions).is_some() {
        return Some(EventTrain::decode(payload).ok()?.largest());
    }
    Event::decode(payload).ok()
}

fn by<'b>(barred: &'b Barred, zone: &ZoneName) -> Option<&'b RuleRef> {
    barred.as_deref()?.iter().find(|(known, _)| known == zone).map(|(_, rule)| rule)
}
