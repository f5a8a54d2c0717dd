//! Phase 4: what is made unreadable, in one pass over the event as it arrived.

use meshbridge_event::Event;
use smallvec::SmallVec;

use super::evaluation::{Evaluation, Live};
use crate::model::{Action, Context, Mode, Rule};
use crate::protect::{CannotProtect, Claim, Crossing, Protected, Survey, Surveyor, apply};
use crate::{ClassSet, Confidence};

/// Why protection cannot be claimed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    /// A carrier would have to edit: the event may not pass there.
    pub(super) is_violation: bool,
}

type Failed<'a> = Vec<(&'a Rule, Failure)>;

impl<'a> Evaluation<'a> {
    /// Looks for what the rules of the plan ask about, where they ask about anything.
    pub(super) fn look<'s>(&'s self, surveyor: &'s mut Surveyor, event: &'s Event) -> Option<Survey<'s>> {
        let plan = self.plan;
        if plan.wanted.is_empty() && !plan.has_fields {
            return None;
        }
        let (declared, keys) = (plan.known.declared(), self.program.keys());
        Some(surveyor.look(event, self.request.topic.as_str(), declared, keys, &plan.wanted, plan.least))
    }

    /// Looks for what these rules ask about, in the event as it arrived.
    pub(super) fn look_for<'s>(&'s self, rules: &[Live<'_>], surveyor: &'s mut Surveyor) -> Survey<'s> {
        let demands = rules.iter().flat_map(|one| match &one.rule.action {
            Action::Protect(items) => items.as_slice(),
            _ => &[],
        });
        let (mut wanted, mut least) = (ClassSet::EMPTY, Confidence::High);
        for item in demands {
            wanted = wanted.union(item.demand.classes);
            least = least.min(item.demand.confidence);
        }
        let (declared, keys) = (self.plan.known.declared(), self.program.keys());
        surveyor.look(self.request.event, self.request.topic.as_str(), declared, keys, &wanted, least)
    }

    /// The event after the enforced protections; `None` where it fulfils them already.
    pub(super) fn protect(
        &self,
        live: &[Live<'a>],
        sight: Option<&Survey<'_>>,
    ) -> Result<Option<Protected>, Failed<'a>> {
        let protecting: SmallVec<[Live<'a>; 4]> = live
            .iter()
            .filter(|one| {
                one.rule.mode == Mode::Enforce
                    && matches!(one.rule.action, Action::Protect(_))
                    && !one.is_error
            })
            .copied()
            .collect();
        if protecting.is_empty() {
            return Ok(None);
        }
        let edited = match self.protect_with(&protecting, sight) {
            Ok(edited) => edited,
            Err(problem) => {
                let is_one = |one: &&Live<'_>| problem.rules.contains(&one.at);
                let failure = || Failure { text: problem.why.to_string(), is_violation: false };
                return Err(protecting.iter().filter(is_one).map(|one| (one.rule, failure())).collect());
            }
        };
        if self.request.context == Context::Transit && edited.is_some() {
            // A carrier edits nothing: what it would have to edit, it may not see.
            return Err(self.editors(&protecting, sight));
        }
        Ok(edited)
    }

    fn editors(&self, protecting: &[Live<'a>], sight: Option<&Survey<'_>>) -> Failed<'a> {
        let failure = |text: &str| Failure { text: text.to_owned(), is_violation: true };
        let edits = |one: &&Live<'a>| !matches!(self.protect_with(&[**one], sight), Ok(None));
        let mut editing: Failed<'a> = protecting
            .iter()
            .filter(edits)
            .map(|one| (one.rule, failure("a zone on the way may not see this in clear")))
            .collect();
        if editing.is_empty() {
            editing = protecting
                .iter()
                .map(|one| (one.rule, failure("a zone on the way may not see this")))
                .collect();
        }
        editing
    }

    /// What some rules make of the event; the error says why that cannot be done.
    pub(super) fn protect_with(
        &self,
        protecting: &[Live<'a>],
        sight: Option<&Survey<'_>>,
    ) -> Result<Option<Protected>, CannotProtect> {
        let mut claims: SmallVec<[Claim<'_>; 8]> = SmallVec::new();
        for one in protecting {
            let Action::Protect(items) = &one.rule.action else { continue };
            let opaque = self.opaque(one.rule);
            claims.extend(items.iter().map(|item| Claim { demand: &item.demand, rule: one.at, opaque }));
        }
        let Some(sight) = sight else { return Ok(None) };
        let (_, to) = self.zones();
        let crossing = Crossing { to_zone: &to.name, topic: self.request.topic.as_str() };
        let (keys, ring) = (self.program.keys(), self.request.keys);
        apply(sight, &claims, keys, ring, self.request.randomness, crossing)
    }
}
