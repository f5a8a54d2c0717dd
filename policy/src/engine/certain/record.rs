//! What the rules did that judged an event, as far as other rules are the same.

use std::collections::BTreeSet;

use super::{InPart, is_protect};
use crate::model::{Action, Disposition, Layer, Mode, OnViolation, Rule};
use crate::program::{Candidate, Plan, Program};

/// What the rules said that judged the event.
pub(crate) struct OnRecord<'a> {
    pub(crate) program: &'a Program,
    /// The rule that stopped it, with what became of it.
    pub(crate) stopped: Option<(Disposition, &'a str)>,
    /// All other rules that stopped it, where they are known.
    pub(crate) also_by: Option<&'a [String]>,
}

/// What both sets of rules have, where the record says what it did.
pub(super) struct Common<'e> {
    pub(super) record: &'e OnRecord<'e>,
    /// Ids of rules that are the same, and about this event in the same way.
    rules: BTreeSet<&'e str>,
    /// The same attributes are stripped, so that checks see the same event.
    strips_alike: bool,
    /// And the same is looked for and protected.
    pub(super) edits_alike: bool,
    then: Plan,
}

/// What one rule did.
pub(super) enum OnRecordSaid {
    Passed,
    Stopped(Disposition),
}

impl<'e> Common<'e> {
    pub(super) fn of(
        now: &'e Program,
        plan: &Plan,
        record: &'e OnRecord<'e>,
        part: &InPart<'_>,
    ) -> Option<Common<'e>> {
        let request = &part.request;
        let name = |zone| now.federation.zone_name(zone);
        let zone = |zone| record.program.federation.zone(name(zone));
        let (from, to) = (zone(request.from)?, zone(request.to)?);
        // Zones and keys are read by rules in many ways; where they differ nothing is the same.
        let alike = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") == format!("{b:?}");
        let federations = (&now.federation, &record.program.federation);
        if !alike(&federations.0.zones, &federations.1.zones)
            || !alike(federations.0.key_table(), federations.1.key_table())
        {
            return None;
        }
        let then = record.program.plan(request.context, from, to, request.topic);
        let rule_then = |candidate: &Candidate| &record.program.rules[candidate.rule as usize];
        let rule_now = |candidate: &Candidate| &now.rules[candidate.rule as usize];
        let waivers = |program: &Program, candidate: &Candidate| -> Vec<String> {
            candidate.waivers.iter().map(|at| program.waivers[*at as usize].canonical.clone()).collect()
        };
        let is_same = |a: &&Candidate, b: &&Candidate| {
            let (first, second) = (rule_now(a), rule_then(b));
            first.id == second.id
                && first.layer == second.layer
                && first.canonical == second.canonical
                && (a.conditional, a.exception) == (b.conditional, b.exception)
                && waivers(now, a) == waivers(record.program, b)
        };
        let rules: BTreeSet<&str> = plan
            .candidates
            .iter()
            .filter(|a| then.candidates.iter().any(|b| is_same(a, &b)))
            .map(|a| &*rule_now(a).id)
            .collect();
        let is_common = |rule: &Rule| rules.contains(&*rule.id);
        let all = |kind: fn(&Rule) -> bool| {
            let enforced = |rule: &&Rule| rule.mode == Mode::Enforce && kind(rule);
            plan.candidates.iter().map(rule_now).filter(enforced).all(is_common)
                && then.candidates.iter().map(rule_then).filter(enforced).all(is_common)
        };
        let strips_alike = all(|rule| rule.on_violation == OnViolation::Strip);
        let looks_alike = plan.wanted == then.wanted
            && plan.least == then.least
            && plan.has_fields == then.has_fields
            && alike(&plan.known, &then.known);
        let edits_alike = strips_alike && looks_alike && all(is_protect);
        Some(Common { record, rules, strips_alike, edits_alike, then })
    }

    pub(super) fn answer(&self, rule: &Rule) -> Option<OnRecordSaid> {
        let sees_the_same = match &rule.action {
            Action::Protect(_) | Action::Forbid(_) => self.edits_alike,
            _ => self.strips_alike,
        };
        if !sees_the_same || !self.rules.contains(&*rule.id) {
            return None;
        }
        let Some((disposition, by)) = self.record.stopped else { return Some(OnRecordSaid::Passed) };
        if is_protect(rule) {
            // Protections are made where nothing else stops the event, and that may be otherwise now.
            return None;
        }
        if *rule.id == *by {
            return Some(OnRecordSaid::Stopped(disposition));
        }
        let passed = !self.record.also_by?.iter().any(|id| **id == *rule.id);
        passed.then_some(OnRecordSaid::Passed)
    }

    /// Whether some permit of the layer applies, because one did then.
    pub(super) fn is_open(&self, layer: &Layer, default_deny: &str) -> bool {
        let had_gate = self.then.gates.iter().any(|gate| gate.layer == *layer);
        let permits = |program: &'e Program, plan: &Plan| -> BTreeSet<&'e str> {
            let rules = plan.candidates.iter().map(|candidate| &program.rules[candidate.rule as usize]);
            let permits = rules.filter(|rule| rule.is_permit() && rule.mode == Mode::Enforce);
            permits.filter(|rule| rule.layer == *layer).map(|rule| &*rule.id).collect()
        };
        let then = permits(self.record.program, &self.then);
        let was_open = match (self.record.stopped, self.record.also_by) {
            (None, _) => true,
            (Some((_, by)), Some(also_by)) => {
                by != default_deny && also_by.iter().all(|id| id != default_deny)
            }
            (Some(_), None) => false,
        };
        // Open then, by a permit that is still here: open now.
        had_gate && was_open && then.iter().all(|id| self.rules.contains(id))
    }
}
