//! What one destination gets of a stored event now: the form that the policies in force make of it, an end, or nothing
//! until a person has looked.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_policy::Context;
use meshbridge_routing::{BridgeId, Forwarding, Passage};

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
}
