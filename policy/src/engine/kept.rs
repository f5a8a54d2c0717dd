//! What people see of an event that is kept because a rule stopped it, or its destination was lost (POLICY §3).

use meshbridge_event::Event;
use smallvec::SmallVec;

use super::evaluation::{Evaluation, Live};
use super::view::as_before;
use super::{Data, Request, Scratch, personal_class};
use crate::Confidence;
use crate::decision::{Report, RuleRef, Verdict};
use crate::model::{Action, Forbid, Mode};
use crate::program::Program;
use crate::protect::{Claim, Crossing, Demand, Survey, apply};
use crate::protection::Protection;

impl Program {
    /// The event after the protections towards `request.to`, for whoever looks at a dead letter or at what is held.
    /// What a `forbid` found is redacted, too: a person who decides about it need not read it. `None` where nothing of
    /// the event but its names may be shown: the destination is not to have it in any form, so that no protection
    /// towards it was ever asked for; a protection cannot be made; or a name is itself personal data.
    pub fn kept_view(&self, request: &Request<'_>, scratch: &mut Scratch) -> Option<Event> {
        let event = request.event;
        let names = [request.topic.as_str(), event.id(), event.source(), event.ty()];
        if names.into_iter().any(|name| personal_class(name).is_some()) {
            return None;
        }
        let request = &Request { buckets: None, trace: false, ..*request };
        match self.decide(request, scratch).verdict {
            Verdict::Forward { event: made } => {
                Some(made.map_or_else(|| event.clone(), |made| as_before(event, made)))
            }
            Verdict::Hold { .. } => None,
            Verdict::Stop(stopped) => {
                let mut all = std::iter::once(&stopped.by).chain(&stopped.also_by);
                if !all.all(|rule| self.leaves_a_view(rule)) {
                    return None;
                }
                let plan = scratch.plan(self, request);
                let Scratch { surveyor, tape, .. } = scratch;
                let data = Data::for_plan(&plan, event, tape);
                let evaluation = Evaluation::new(self, &plan, request, data);
                let (live, _) = evaluation.applying(&mut Report::default());
                let stripped = evaluation.strip(&live);
                let event = stripped.as_ref().unwrap_or(event);
                let sight = evaluation.look(surveyor, event);
                evaluation.view_of_stopped(&live, event, sight.as_ref())
            }
        }
    }

    /// Whether what the rule stopped has a form that its destination could have had.
    fn leaves_a_view(&self, rule: &RuleRef) -> bool {
        let known = self.rules.iter().find(|known| *known.id == *rule.id());
        known.is_some_and(|rule| match rule.action {
            Action::Forbid(_)
            | Action::Limit(_)
            | Action::Require { .. }
            | Action::Structure(_)
            | Action::Validate(_) => true,
            Action::Deny
            | Action::DenyLinks
            | Action::Permit
            // It could not be made, or not even be asked for.
            | Action::Protect(_)
            | Action::Residency { .. } => false,
        })
    }
}

impl<'a> Evaluation<'a> {
    fn view_of_stopped(&self, live: &[Live<'a>], event: &Event, sight: Option<&Survey<'_>>) -> Option<Event> {
        let enforced = || live.iter().filter(|one| one.rule.mode == Mode::Enforce);
        let forbidden: SmallVec<[(&Live<'a>, Demand); 2]> = enforced()
            .filter_map(|one| match &one.rule.action {
                Action::Forbid(forbid) => Some((one, redacting(forbid))),
                _ => None,
            })
            .collect();
        let mut claims: SmallVec<[Claim<'_>; 8]> = SmallVec::new();
        for one in enforced() {
            let Action::Protect(items) = &one.rule.action else { continue };
            // Nobody knows whether it protects: what it would have hidden must not be shown.
            if one.is_error {
                return None;
            }
            let opaque = self.opaque(one.rule);
            claims.extend(items.iter().map(|item| Claim { demand: &item.demand, rule: one.at, opaque }));
        }
        claims.extend(forbidden.iter().map(|(one, demand)| Claim {
            demand,
            rule: one.at,
            opaque: self.opaque(one.rule),
        }));
        if claims.is_empty() {
            return Some(event.clone());
        }
        // What was not searched is not shown.
        let sight = sight?;
        let (_, to) = self.zones();
        let crossing = Crossing { to_zone: &to.name, topic: self.request.topic.as_str() };
        let (keys, ring) = (self.program.keys(), self.request.keys);
        let made = apply(sight, &claims, keys, ring, self.request.randomness, crossing).ok()?;
        Some(made.map_or_else(|| event.clone(), |made| made.event))
    }
}

/// A `forbid` as if it asked for what it forbids to be redacted, uncertain findings too: somebody is about to read it.
fn redacting(forbid: &Forbid) -> Demand {
    Demand {
        classes: forbid.classes,
        confidence: Confidence::Low,
        undeclared: forbid.undeclared,
        fields: Vec::new(),
        protection: Protection::Redact,
        signatures_error: false,
    }
}

#[cfg(test)]
mod tests;
