//! What can be said of policies without an event: rules without effect, and what zones may learn. The same machinery as the proofs: all topics and all pairs of zones at once.

mod dead;
mod effects;
mod findings;
mod keys;
mod learn;
#[cfg(test)]
mod tests;

use meshbridge_topic::TopicFilter;

use crate::program::Program;
use crate::prove::RulePlace;

pub(crate) use learn::Learners;

/// What the conditions of a rule cost at worst, in steps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleCost {
    #[serde(flatten)]
    pub place: RulePlace,
    pub steps: u64,
}

impl Program {
    /// Findings beside the problems of documents: rules without effect, keys that are missing where they are needed, what
    /// mere carriers see. Not asked when a program is compiled, for it takes longer.
    pub fn findings(&self) -> crate::Diagnostics {
        findings::findings(self)
    }

    /// Every rule with conditions, and what they cost at worst; the dearest first.
    pub fn costs(&self) -> Vec<RuleCost> {
        let mut costs: Vec<RuleCost> = self
            .rules
            .iter()
            .filter_map(|rule| {
                let conditions =
                    std::iter::once(&rule.matcher).chain(&rule.except).filter_map(|one| one.when.as_ref());
                let mut steps: u64 = conditions.map(|(condition, _)| condition.cost()).sum();
                if let crate::model::Action::Validate(validate) = &rule.action {
                    steps += validate.checks.iter().map(|check| check.expression.cost()).sum::<u64>();
                }
                (steps > 0).then(|| RuleCost { place: RulePlace::of(rule), steps })
            })
            .collect();
        costs.sort_by(|a, b| (b.steps, &a.place.rule).cmp(&(a.steps, &b.place.rule)));
        costs
    }

    /// Whether `learner` is told that `owner` wants a filter (POLICY §3): some topic of it could pass from the learner to
    /// the owner, or the learner could lawfully carry it there for some origin. Conditions are taken as true. The same
    /// for the life of the program, so routing keeps one view for each class of learners.
    pub fn may_learn(
        &self,
        learner: crate::ZoneIndex,
        owner: crate::ZoneIndex,
        filter: &TopicFilter,
    ) -> bool {
        self.learners_of(owner, filter).contains(learner)
    }

    /// All zones that are told of it (see [`Program::may_learn`]), the owner's own among them.
    pub fn learners_of(&self, owner: crate::ZoneIndex, filter: &TopicFilter) -> crate::ZoneSet {
        self.learners().of(self, owner, filter)
    }
}
