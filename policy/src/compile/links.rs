//! Links that rules deny, all of them together.

use std::collections::BTreeSet;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::federation::Federation;
use crate::link::{LINKS_MAX, ZoneLink};
use crate::model::{Mode, Rule};

/// P0223: a frame has room for so many, and an event must not go where it says less than its rules.
pub(super) fn check(rules: &[Rule], federation: &Federation, problems: &mut Diagnostics) {
    let denying: Vec<&Rule> =
        rules.iter().filter(|rule| rule.is_about_links() && rule.mode == Mode::Enforce).collect();
    for rule in &denying {
        // Rules that are about one topic have filters that meet, so whatever holds for an event of this rule is among these.
        let meets = |other: &&&Rule| {
            let mut filters = rule.matcher.topics.iter();
            filters.any(|one| other.matcher.topics.iter().any(|another| one.intersects(another)))
        };
        let together: Vec<&&Rule> = denying.iter().filter(meets).collect();
        let links: BTreeSet<ZoneLink> =
            together.iter().flat_map(|other| other.matcher.links.iter().copied()).collect();
        if links.len() <= LINKS_MAX {
            continue;
        }
        let message = format!(
            "rules about the same topics deny {} links together, more than the {LINKS_MAX} that an event can be kept from",
            links.len()
        );
        let help = "deny `transit` to zones instead, or write narrower topics";
        let mut problem = Diagnostic::error("P0223", &rule.span, message).help(help);
        let another = together.iter().find(|other| other.id != rule.id);
        if let Some(another) = another {
            problem = problem.related(&another.span, "denies some of them");
        }
        if let (Some(filter), Some(link)) = (rule.matcher.topics.first(), links.first()) {
            let [from, to] = link.ends().map(|zone| federation.zone_name(zone).to_owned());
            let example = super::reach::example(filter, federation);
            problem = problem.example(crate::diagnostics::Example { from, to, ..example });
        }
        // One of them tells of all.
        problems.push(problem);
        return;
    }
}
