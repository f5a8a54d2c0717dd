//! Events of one train, judged one after the other: what they have in common is asked once.
//!
//! ```text
//! first event    all phases ─► nothing was said but which edits ─► what applies, what is yet to be asked
//! further ones   what looks at `id` or data, and the protections; anything else than that they go on: all phases
//! ```

use std::sync::Arc;

use smallvec::SmallVec;

use super::alike::asks_alike;
use super::evaluation::{Evaluation, Live, Tally, is_protect};
use super::{Data, Request, Scratch};
use crate::decision::{Debited, Decision, Editors, Report, Verdict};
use crate::model::{Action, Mode, OnViolation};
use crate::program::{Plan, Program};
use crate::protect::{Protected, Surveyor};

/// What one event told of those that differ from it in `id` and data only; see [`Program::decide_next`].
#[derive(Debug, Default)]
pub struct Told(Option<Known>);

#[derive(Debug)]
struct Known {
    plan: Arc<Plan>,
    /// Rules whose checks look at what differs, by their places.
    asks: SmallVec<[usize; 8]>,
    /// Rules that protect.
    protects: SmallVec<[usize; 4]>,
}

impl Program {
    /// As [`Program::decide`], for an event that differs from those which `told` has seen in `id` and data only, in the
    /// same place and from the same publisher, at about the same time.
    pub fn decide_next(&self, request: &Request<'_>, scratch: &mut Scratch, told: &mut Told) -> Decision {
        if let Some(known) = &told.0 {
            let Scratch { surveyor, tape, .. } = &mut *scratch;
            let data = Data::for_plan(&known.plan, request.event, tape);
            let evaluation = Evaluation::new(self, &known.plan, request, data);
            if let Some(decision) = evaluation.decide_known(known, surveyor) {
                return decision;
            }
            return self.decide(request, scratch);
        }
        let decision = self.decide(request, scratch);
        if matches!(decision.verdict, Verdict::Forward { .. }) && decision.report.is_none() {
            told.0 = self.known(request, scratch);
        }
        decision
    }

    /// What is known after an event that went on with nothing to report; `None` where it says too little of others.
    fn known(&self, request: &Request<'_>, scratch: &mut Scratch) -> Option<Known> {
        let plan = scratch.plan(self, request);
        let is_plain = plan.links.is_empty() && request.released.is_empty() && !request.trace;
        if !is_plain || !plan.candidates.iter().all(|candidate| self.applies_alike(candidate)) {
            return None;
        }
        let Scratch { tape, .. } = scratch;
        let data = Data::for_plan(&plan, request.event, tape);
        let evaluation = Evaluation::new(self, &plan, request, data);
        let (live, shadow) = evaluation.applying(&mut Report::default());
        // What only looks on, strips, or counts is asked of each as a whole.
        let is_simple = |one: &Live<'_>| {
            let counts = matches!(&one.rule.action, Action::Limit(limit) if limit.rate.is_some());
            let strips = one.rule.on_violation == OnViolation::Strip && !asks_alike(&one.rule.action);
            one.rule.mode == Mode::Enforce && !one.is_error && !counts && !strips
        };
        if !shadow.is_empty() || !live.iter().all(is_simple) || evaluation.strip(&live).is_some() {
            return None;
        }
        // The size differs, too.
        let asks = |one: &&Live<'_>| {
            matches!(one.rule.action, Action::Limit(_))
                || !(asks_alike(&one.rule.action) || is_protect(one.rule))
        };
        let asks = live.iter().filter(asks).map(|one| one.at).collect();
        let protects = live.iter().filter(|one| is_protect(one.rule)).map(|one| one.at).collect();
        Some(Known { plan: Arc::clone(&plan), asks, protects })
    }
}

impl<'a> Evaluation<'a> {
    /// The decision, where it is that the event goes on with nothing to report.
    fn decide_known(&self, known: &Known, surveyor: &mut Surveyor) -> Option<Decision> {
        let live = |at: &usize| Live { at: *at, rule: &self.program.rules[*at], is_error: false };
        let event = self.request.event;
        let sight = self.look(surveyor, event);
        let sight = sight.as_ref();
        let mut tally = Tally::default();
        for at in &known.asks {
            self.check(live(at), event, sight, &mut tally);
        }
        if !tally.is_plain() {
            return None;
        }
        let protects: SmallVec<[Live<'a>; 4]> = known.protects.iter().map(live).collect();
        let mut editors = Editors::default();
        let event = match self.protect(&protects, sight) {
            Ok(Some(Protected { event, rules })) => {
                editors.extend(rules);
                Some(event)
            }
            Ok(None) => None,
            Err(_) => return None,
        };
        Some(Decision {
            verdict: Verdict::Forward { event },
            report: None,
            editors,
            debited: Debited::default(),
        })
    }
}
