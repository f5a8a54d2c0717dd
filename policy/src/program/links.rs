//! Rules about links, as far as topic and zones decide them.

use smallvec::SmallVec;

use super::{Candidate, Program};
use crate::federation::ZoneIndex;
use crate::link::ZoneLink;
use crate::model::{Context, Facts, Match, Rule, Truth};

/// A rule that denies links to events of the topic at the border, but for its conditions.
#[derive(Debug)]
pub(crate) struct LinkCandidate {
    pub(crate) candidate: Candidate,
    /// Those that its layer speaks for, without what its exception takes out for certain.
    pub(crate) links: SmallVec<[ZoneLink; 2]>,
}

impl Program {
    /// The links of a rule whose topics and zones hold. `exception` tells whether those of its exception do.
    pub(super) fn link_candidate(
        &self,
        candidate: Candidate,
        from: ZoneIndex,
        exception: bool,
    ) -> Option<LinkCandidate> {
        let rule = &self.rules[candidate.rule as usize];
        let is_certain = exception && !rule.except.as_ref().is_some_and(Match::has_conditions);
        let mut links: SmallVec<[ZoneLink; 2]> = SmallVec::from_slice(&rule.matcher.links);
        links.retain(|link| {
            rule.speaks_for_link(&self.federation, from, *link)
                && !(is_certain && rule.except_for(*link).is_some())
        });
        let candidate = Candidate { exception: exception && !is_certain, ..candidate };
        (!links.is_empty()).then_some(LinkCandidate { candidate, links })
    }

    /// Whether some rule takes links off the way of events; then they have to be asked about.
    pub fn denies_links(&self) -> bool {
        self.denies_links
    }
}

impl LinkCandidate {
    /// The links that the rule takes off the way of an event. A condition that cannot be computed takes them off, too:
    /// on an error nothing goes on.
    pub(crate) fn denied<'c>(
        &'c self,
        rule: &'c Rule,
        facts: &impl Facts,
    ) -> impl Iterator<Item = ZoneLink> + 'c {
        let Candidate { conditional, exception, .. } = self.candidate;
        let matches = if conditional { rule.matcher.conditions_hold(facts) } else { Truth::Yes };
        let except = rule.except.as_ref().filter(|_| exception && matches != Truth::No);
        let excepted = except.map_or(Truth::No, |except| except.conditions_hold(facts));
        let applies = move |link: &ZoneLink| match rule.except_for(*link) {
            Some(_) => matches.and(excepted.not()) != Truth::No,
            None => matches != Truth::No,
        };
        self.links.iter().copied().filter(applies)
    }
}

/// Contexts in which links are denied.
pub(super) fn is_about_links(rule: &Rule, context: Context) -> bool {
    rule.is_about_links() && context.is_border()
}
