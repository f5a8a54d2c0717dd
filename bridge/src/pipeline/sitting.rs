//! The events of one train, judged one after the other. What they have in common is asked once, and decisions that
//! differ in their events' ids only are recorded and counted together.

use std::time::{Duration, Instant};

use meshbridge_event::Event;
use meshbridge_policy::{Decision, Editors, Told, Verdict as Said};

use super::Inner;
use super::judge::{Asked, Verdict};
use super::record::protected;
use crate::audit::Ids;
use crate::policy_store::Generation;

/// See the module. What is still to be recorded is recorded when it is dropped.
#[derive(Debug)]
pub(super) struct Sitting<'a> {
    inner: &'a Inner,
    generation: &'a Generation,
    /// Where it is; the event stands for all.
    asked: Asked<'a>,
    told: Told,
    alike: Alike,
}

/// Decisions that only edited, by the same rules and in the same places, not recorded yet.
#[derive(Debug, Default)]
struct Alike {
    editors: Editors,
    protected: String,
    ids: Ids,
    cost: Duration,
}

impl<'a> Sitting<'a> {
    pub(super) fn new(inner: &'a Inner, generation: &'a Generation, asked: Asked<'a>) -> Sitting<'a> {
        Sitting { inner, generation, asked, told: Told::default(), alike: Alike::default() }
    }

    /// Judges an event that differs in `id` and data only from the others, with the rules that edited it.
    pub(super) fn judge(&mut self, event: &Event) -> (Verdict, Editors) {
        let (inner, generation) = (self.inner, self.generation);
        let asked = Asked { event, ..self.asked };
        let begun = Instant::now();
        let decision = inner.with_request(&asked, |request, scratch| {
            generation.program.decide_next(request, scratch, &mut self.told)
        });
        let cost = begun.elapsed();
        inner.observe(generation, &asked, &[], &decision);
        let editors = decision.editors.clone();
        if let Some(edited) = only_edited(&decision) {
            let list = protected(edited);
            if self.alike.editors != editors || self.alike.protected != list {
                self.settle();
                self.alike.editors.clone_from(&editors);
                self.alike.protected.push_str(list);
            }
            self.alike.ids.push(event.id());
            self.alike.cost += cost;
            let Said::Forward { event } = decision.verdict else { return (Verdict::Pass(None), editors) };
            return (Verdict::Pass(event), editors);
        }
        self.settle();
        inner.record(generation, &asked, &decision, cost);
        (inner.note(asked.context, generation, decision), editors)
    }

    /// Records and counts what was kept back.
    fn settle(&mut self) {
        let Alike { editors, protected, ids, cost } = std::mem::take(&mut self.alike);
        if ids.len() > 0 {
            let Sitting { inner, generation, asked, .. } = self;
            inner.record_edits(generation, asked, (&editors, &protected), &ids, cost);
            inner.parts.metrics.on_forwarded(asked.context.name(), true, ids.len() as u64);
        }
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// The edited event, where there is nothing else to say of the decision.
fn only_edited(decision: &Decision) -> Option<&Event> {
    match &decision.verdict {
        Said::Forward { event } if decision.report.is_none() => event.as_ref(),
        _ => None,
    }
}
