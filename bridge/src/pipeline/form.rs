//! What one destination gets of a stored event now: the form that the policies in force make of it, an end, or nothing
//! until a person has looked.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_policy::{Context, Request, Verdict as Said};
use meshbridge_routing::{BridgeId, Forwarding, Passage, ZoneName};

use super::Inner;
use super::judge::{Asked, Refusal, Verdict};
use super::quarantine::HeldId;
use super::stored::Stored;
use crate::policy_store::Generation;

/// The event as a destination gets it.
pub(super) struct Form {
    pub(super) payload: Bytes,
    /// Zones that may see it on its way, and links that it does not cross.
    pub(super) passage: Passage,
}

impl Form {
    /// Forms of one class share their bytes.
    pub(super) fn is_shared_with(&self, other: &Form) -> bool {
        self.payload.as_ptr() == other.payload.as_ptr()
            && self.payload.len() == other.payload.len()
            && self.passage == other.passage
    }
}

impl Inner {
    /// The bytes this destination may have; `None` where a rule forbids it now, which ends the pair or holds it.
    pub(super) fn form_for(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        stored: &Stored,
        body: u64,
        bridge: &BridgeId,
    ) -> Option<Form> {
        let index = forwarding.index_of(bridge)?;
        if let Some((number, forms)) = &stored.forms
            && *number == generation.number
            && let Some(form) = forms.iter().find(|form| !form.waits && form.destinations.contains(&index))
        {
            let passage = self.detour(forwarding, stored.key.lane, form.passage.clone(), index);
            return Some(Form { payload: form.event.encoded().clone(), passage });
        }
        let (_, zone) = forwarding.bridge(index);
        if *zone == self.parts.own_zone {
            let publisher = stored.publisher.as_deref();
            let passage = self.home_passage(generation, &stored.topic, &stored.event, publisher);
            let passage = self.detour(forwarding, stored.key.lane, passage, index);
            return Some(Form { payload: stored.event.encoded().clone(), passage });
        }
        let program = &generation.program;
        let quarantine = &self.parts.quarantine;
        let asked = program.zone(zone.as_str()).map(|to| Asked {
            context: Context::Egress,
            from: self.parts.own_zone_index,
            to,
            topic: &stored.topic,
            event: &stored.event,
            publisher: stored.publisher.as_deref(),
            subscriber: None,
            hops: 0,
        });
        let verdict = match &asked {
            None => Verdict::Stop(Refusal::unknown_zone()),
            Some(asked) => self.judge_released(generation, asked, &quarantine.released(&stored.key, bridge)),
        };
        match verdict {
            Verdict::Pass(edited) => {
                quarantine.unlist(body, bridge);
                let form = edited.unwrap_or_else(|| stored.event.clone());
                let passage = asked.map_or(Passage::ANY, |asked| self.passage(generation, &asked, &form));
                let passage = self.detour(forwarding, stored.key.lane, passage, index);
                Some(Form { payload: form.encoded().clone(), passage })
            }
            // It counts as sent and lost: the core sends it again, and then the rate is asked again.
            Verdict::Wait(_) => None,
            Verdict::Stop(refusal) if refusal.holds() => {
                let id = HeldId { body, destination: bridge.clone() };
                self.hold_back(generation, stored, id, &refusal);
                None
            }
            Verdict::Stop(refusal) => {
                self.on_refused_here(&stored.key, &stored.topic, &stored.event, bridge.as_str(), &refusal);
                let now = Instant::now();
                self.durable.with(|core| {
                    if refusal.keeps() {
                        core.not_sent_dead(body, bridge, &refusal.by, now);
                    } else {
                        core.not_sent(body, bridge, refusal.outcome(), now);
                    }
                });
                None
            }
        }
    }

    /// Whether the destination is reached, and not over zones and links that the event may take under the rules in force
    /// (POLICY §3). Nothing is recorded of this: nobody decides by it.
    pub(super) fn has_no_lawful_path(&self, body: u64, bridge: &BridgeId) -> bool {
        let generation = self.parts.policies.active();
        let forwarding = self.parts.forwarding.load();
        let reached = forwarding.index_of(bridge).filter(|index| forwarding.cost_to(*index).is_some());
        let Some(index) = reached else { return false };
        let Ok(stored) = tokio::task::block_in_place(|| self.durable.stored(body)) else { return false };
        let passage = self.lawful_passage(&generation, &stored, forwarding.bridge(index).1);
        passage.is_some_and(|passage| !forwarding.reaches(index, &passage))
    }

    /// `None` where the event may not go to the zone at all.
    fn lawful_passage(&self, generation: &Generation, stored: &Stored, zone: &ZoneName) -> Option<Passage> {
        let (topic, publisher) = (&stored.topic, stored.publisher.as_deref());
        if *zone == self.parts.own_zone {
            return Some(self.home_passage(generation, topic, &stored.event, publisher));
        }
        let (context, from) = (Context::Egress, self.parts.own_zone_index);
        let to = generation.program.zone(zone.as_str())?;
        let event = &stored.event;
        let asked = Asked { context, from, to, topic, event, publisher, subscriber: None, hops: 0 };
        let said = self.with_request(&asked, |request, scratch| {
            generation.program.decide(&Request { buckets: None, ..*request }, scratch).verdict
        });
        let Said::Forward { event: edited } = said else { return None };
        let form = edited.unwrap_or_else(|| event.clone());
        Some(self.passage(generation, &asked, &form))
    }
}
