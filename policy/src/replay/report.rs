//! What a replay adds up to.

use std::collections::BTreeMap;
use std::fmt;

use super::{Kind, Outcome, Why};

/// Counts of a whole capture.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub counts: Counts,
    /// By kind and rule; a change that several rules make counts for each.
    pub changed: BTreeMap<(Kind, String), u64>,
    pub unknown: BTreeMap<Why, u64>,
}

/// Events, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub events: u64,
    pub same: u64,
    pub newly_allowed: u64,
    pub weaker: u64,
    pub newly_blocked: u64,
    pub stronger: u64,
    pub other_rule: u64,
    pub unknown: u64,
}

impl Summary {
    pub fn add(&mut self, outcome: &Outcome) {
        let counts = &mut self.counts;
        counts.events += 1;
        match outcome {
            Outcome::Same => counts.same += 1,
            Outcome::Unknown(why) => {
                counts.unknown += 1;
                *self.unknown.entry(why.clone()).or_default() += 1;
            }
            Outcome::Changed { kind, rules, .. } => {
                *match kind {
                    Kind::NewlyAllowed => &mut counts.newly_allowed,
                    Kind::Weaker => &mut counts.weaker,
                    Kind::NewlyBlocked => &mut counts.newly_blocked,
                    Kind::Stronger => &mut counts.stronger,
                    Kind::OtherRule => &mut counts.other_rule,
                } += 1;
                for rule in rules {
                    *self.changed.entry((*kind, rule.clone())).or_default() += 1;
                }
                if rules.is_empty() {
                    *self.changed.entry((*kind, "-".to_owned())).or_default() += 1;
                }
            }
        }
    }

    /// Whether some event would pass that did not, or show more than it did.
    pub fn passes_more(&self) -> bool {
        self.counts.newly_allowed + self.counts.weaker > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { events, same, unknown, .. } = self.counts;
        let changed = events - same - unknown;
        writeln!(f, "{events} events: {same} the same, {changed} changed, {unknown} unknown")?;
        for ((kind, rule), count) in &self.changed {
            writeln!(f, "  {count:>8}  {:13}  {rule}", kind.name())?;
        }
        for (why, count) in &self.unknown {
            writeln!(f, "  {count:>8}  {:13}  {why}", "unknown")?;
        }
        Ok(())
    }
}
