//! Events that no rule can tell apart, so that one verdict is that of all.

use meshbridge_topic::Topic;

use super::Scratch;
use crate::federation::ZoneIndex;
use crate::model::{Action, Context, Match};
use crate::program::{Candidate, Program};

impl Program {
    /// Whether events of the topic that differ in `id` and data only pass where the largest of them passes, from the same
    /// publisher and at the same time, with the same edits and reports, and over the same links: no rule that could apply looks at either but for
    /// its size, and none counts. Where the largest is stopped, nothing is said of the others.
    pub fn judges_alike(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        scratch: &mut Scratch,
    ) -> bool {
        let plan = scratch.plan_of(self, context, from, to, topic);
        let mut candidates = plan.candidates.iter().chain(plan.links.iter().map(|one| &one.candidate));
        candidates.all(|candidate| self.is_asked_alike(candidate))
    }

    /// Whether some rule counts events of the topic: each one that is judged takes from a rate, whatever becomes of it then.
    pub fn counts(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        scratch: &mut Scratch,
    ) -> bool {
        let plan = scratch.plan_of(self, context, from, to, topic);
        let mut rules = plan.candidates.iter().map(|candidate| &self.rules[candidate.rule as usize]);
        rules.any(|rule| matches!(&rule.action, Action::Limit(limit) if limit.rate.is_some()))
    }

    /// Whether such events must not cross the same links, whatever else may tell them apart.
    pub fn links_alike(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        scratch: &mut Scratch,
    ) -> bool {
        let plan = scratch.plan_of(self, context, from, to, topic);
        plan.links.iter().all(|one| self.is_asked_alike(&one.candidate))
    }

    /// Whether the rule looks at nothing in which such events differ but their size, and counts none.
    fn is_asked_alike(&self, candidate: &Candidate) -> bool {
        let rule = &self.rules[candidate.rule as usize];
        asks_alike(&rule.action) && self.applies_alike(candidate)
    }

    /// Whether the rule applies to all such events where it applies to one.
    pub(super) fn applies_alike(&self, candidate: &Candidate) -> bool {
        let rule = &self.rules[candidate.rule as usize];
        let waivers = candidate.waivers.iter().map(|at| &self.waivers[*at as usize].matcher);
        let mut conditions = [Some(&rule.matcher), rule.except.as_ref()].into_iter().flatten().chain(waivers);
        conditions.all(holds_alike)
    }

    /// Whether such events have the same carriers, too.
    pub fn carries_alike(
        &self,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        scratch: &mut Scratch,
    ) -> bool {
        self.federation.zone_indexes().filter(|zone| *zone != from && *zone != to).all(|zone| {
            [Context::Transit, Context::Egress]
                .into_iter()
                .all(|context| self.judges_alike(context, from, zone, topic, scratch))
        })
    }
}

/// Whether it asks the same of all such events; of their size it may ask that of the largest.
pub(super) fn asks_alike(action: &Action) -> bool {
    match action {
        Action::Permit
        | Action::Deny
        | Action::DenyLinks
        | Action::Residency { .. }
        | Action::Structure(_) => true,
        Action::Require { attributes, .. } => attributes.iter().all(|one| one.attribute != "id"),
        // The largest speaks for all as to size; each counts in a rate.
        Action::Limit(limit) => limit.rate.is_none(),
        Action::Validate(_) | Action::Forbid(_) | Action::Protect(_) => false,
    }
}

fn holds_alike(matcher: &Match) -> bool {
    let attributes_only = matcher.when.as_ref().is_none_or(|(condition, _)| {
        let reads = condition.reads();
        reads.data.is_empty() && !reads.attributes.contains("id")
    });
    attributes_only && matcher.event.iter().all(|(name, _)| name != "id")
}
