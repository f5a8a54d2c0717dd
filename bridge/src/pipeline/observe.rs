//! Decisions, as those who look on at the admin port get them. Where nobody does, one load of an atomic is the cost.

use std::sync::Arc;

use meshbridge_event::Event;
use meshbridge_policy::{Concern, Decision, Program, RuleRef, Stopped, Verdict as Said};

use super::Inner;
use super::judge::{Asked, Cause, Verdict as Outcome};
use crate::observers::Seen;
use crate::policy_store::Generation;

/// The part of a decision that is told.
struct Told<'a> {
    verdict: &'static str,
    by: Option<&'a RuleRef>,
    also_by: Option<&'a [RuleRef]>,
    is_rate: bool,
    edited: Option<&'a Event>,
    released: &'a [Arc<str>],
}

impl Inner {
    pub(super) fn observe(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        released: &[Arc<str>],
        decision: &Decision,
    ) {
        if self.parts.observers.are_none() {
            return;
        }
        let blank = Told {
            verdict: "forward",
            by: None,
            also_by: Some(&[]),
            is_rate: false,
            edited: None,
            released: &[],
        };
        let told = match &decision.verdict {
            Said::Forward { event } => Told { edited: event.as_ref(), ..blank },
            Said::Hold { by, .. } => Told { verdict: "hold", by: Some(by), is_rate: true, ..blank },
            Said::Stop(stopped) => Told {
                verdict: stopped.disposition.name(),
                by: Some(&stopped.by),
                also_by: Some(&stopped.also_by),
                is_rate: is_rate(&generation.program, stopped),
                ..blank
            },
        };
        self.show(generation, asked, Told { released, ..told }, Some(decision));
    }

    /// A destination of a class that was judged already.
    pub(super) fn observe_alike(&self, generation: &Generation, asked: &Asked<'_>, of_class: &Outcome) {
        if self.parts.observers.are_none() {
            return;
        }
        let blank =
            Told { verdict: "forward", by: None, also_by: None, is_rate: false, edited: None, released: &[] };
        let told = match of_class {
            Outcome::Pass(edited) => Told { edited: edited.as_ref(), ..blank },
            // Who waits is judged again, each for itself.
            Outcome::Wait(_) => return,
            Outcome::Stop(refusal) => {
                let Some((by, disposition)) = &refusal.rule else { return };
                let is_limit = generation.program.concern(by) == Concern::Limit;
                let is_rate = is_limit && refusal.cause != Cause::Size;
                Told { verdict: disposition.name(), by: Some(by), is_rate, ..blank }
            }
        };
        self.show(generation, asked, told, None);
    }

    fn show(&self, generation: &Generation, asked: &Asked<'_>, told: Told<'_>, decision: Option<&Decision>) {
        let active = self.parts.policies.active();
        let shared: &Arc<Generation> = &active;
        self.parts.observers.on_decision(&Seen {
            generation,
            shared: (shared.number == generation.number).then_some(shared),
            context: asked.context,
            from: asked.from,
            to: asked.to,
            topic: asked.topic,
            event: asked.event,
            publisher: asked.publisher,
            hops: asked.hops,
            verdict: told.verdict,
            by: told.by,
            also_by: told.also_by,
            is_rate: told.is_rate,
            edited: told.edited,
            released: told.released,
            report: decision.and_then(|decision| decision.report.as_deref()),
            is_alike: decision.is_none(),
        });
    }
}

/// Whether another time, with the same event, the verdict may be another: sizes say the same always, rates do not.
fn is_rate(program: &Program, stopped: &Stopped) -> bool {
    let is_limit = |rule: &RuleRef| program.concern(rule) == Concern::Limit;
    let limits = std::iter::once(&stopped.by).chain(&stopped.also_by).any(is_limit);
    stopped.retry_after.is_some() || (limits && !stopped.is_too_large)
}
