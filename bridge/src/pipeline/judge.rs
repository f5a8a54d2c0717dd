//! Asking the policies in force, counting and logging what they say.

use meshbridge_delivery::{GroupEnd, Outcome};
use meshbridge_event::Event;
use meshbridge_policy::{Context, Decision, Disposition};
use tracing::info;

use super::Inner;
use super::stored::Stored;
use crate::policy_store::Generation;

/// A decision in the terms of the pipeline.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// May pass; with the edited event where a rule protected something.
    Pass(Option<Event>),
    Stop(Refusal),
}

/// Which rule stopped an event, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) by: String,
    pub(super) layer: String,
    pub(super) disposition: &'static str,
    pub(super) message: Option<String>,
}

/// The disposition that keeps a record of the event.
pub(super) const DEAD_LETTER: &str = "dead-letter";

impl Refusal {
    /// A zone that the federation document does not have: nothing is known of it, so nothing goes there.
    pub(super) fn unknown_zone() -> Refusal {
        Refusal {
            by: "default-deny@federation".to_owned(),
            layer: "federation".to_owned(),
            disposition: "reject",
            message: None,
        }
    }

    /// How the pair of the event and its destination ends.
    pub(super) fn outcome(&self) -> Outcome {
        let by = self.by.clone().into();
        if self.disposition == DEAD_LETTER { Outcome::DeadLettered(by) } else { Outcome::Denied(by) }
    }

    /// How a subscription with memory ends the event.
    pub(super) fn group_end(&self) -> GroupEnd {
        let by = self.by.clone().into();
        if self.disposition == DEAD_LETTER { GroupEnd::DeadLettered(by) } else { GroupEnd::Denied(by) }
    }
}

pub(super) const fn context_name(context: Context) -> &'static str {
    match context {
        Context::Egress => "egress",
        Context::Transit => "transit",
        Context::Ingress => "ingress",
    }
}

impl Inner {
    /// Counts the decision; a stop is logged with the rule, never with anything of the payload.
    pub(super) fn verdict(&self, context: Context, generation: &Generation, decision: Decision) -> Verdict {
        let name = context_name(context);
        match decision {
            Decision::Forward { event } => {
                self.parts.metrics.on_verdict(
                    name,
                    "",
                    "",
                    if event.is_some() { "protect" } else { "forward" },
                );
                Verdict::Pass(event)
            }
            Decision::Stop { disposition, by, message, .. } => {
                let disposition = match disposition {
                    Disposition::Reject => "reject",
                    Disposition::DeadLetter => DEAD_LETTER,
                };
                let refusal =
                    Refusal { by: by.to_string(), layer: by.layer().to_string(), disposition, message };
                self.parts.metrics.on_verdict(name, &refusal.layer, &refusal.by, disposition);
                info!(context = name, rule = %refusal.by, generation = generation.number, disposition, "Policy stopped an event");
                Verdict::Stop(refusal)
            }
        }
    }

    /// The event as it may be delivered here now. It is judged again where other policies are in force than when it was
    /// taken, or where nobody knows which those were (P9, M37).
    pub(super) fn judge_delivery(&self, stored: &Stored) -> Verdict {
        let generation = self.parts.policies.active();
        if stored.key.origin == self.parts.own || stored.judged == Some(generation.number) {
            return Verdict::Pass(None);
        }
        let forwarding = self.parts.forwarding.load();
        let zone = forwarding.index_of(&stored.key.origin).map(|index| forwarding.bridge(index).1.clone());
        let Some(zone) = zone else { return Verdict::Stop(Refusal::unknown_zone()) };
        self.judge_arrival(&generation, Context::Ingress, &zone, &stored.topic, &stored.event)
    }
}
