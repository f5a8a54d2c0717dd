//! Whether a subscriber could ever get anything of a filter (POLICY §3, `subscribe`).
//!
//! Static, and careful in one direction: a filter is refused only where no event whatsoever could pass, so conditions of
//! a permit are taken as true and those of a refusal as false. What is not refused here is judged event by event.

use meshbridge_topic::TopicFilter;

use crate::decision::RuleRef;
use crate::federation::ZoneIndex;
use crate::model::{Action, Context, Glob, Match, Mode, OnViolation, Rule};
use crate::program::Program;

impl Program {
    /// The rule that keeps every topic of the filter from the subscriber at a bridge of `zone`, from whichever zone it
    /// comes. `None` where some event might be delivered.
    pub fn never_delivers(&self, zone: ZoneIndex, filter: &TopicFilter, subscriber: &str) -> Option<RuleRef> {
        let asked = Asked { program: self, filter, subscriber };
        if let Some(by) = asked.closed(Context::Subscribe, zone, zone) {
            return Some(by);
        }
        let by = asked.closed(Context::Deliver, zone, zone)?;
        let mut others = self.federation.zones().filter_map(|name| self.federation.zone(name));
        let open = others.any(|from| asked.closed(Context::Deliver, from, zone).is_none());
        (!open).then_some(by)
    }
}

struct Asked<'a> {
    program: &'a Program,
    filter: &'a TopicFilter,
    subscriber: &'a str,
}

impl Asked<'_> {
    /// What stops every event of the filter in this context.
    fn closed(&self, context: Context, from: ZoneIndex, to: ZoneIndex) -> Option<RuleRef> {
        let federation = &self.program.federation;
        let (from_zone, to_zone) = (federation.zone_at(from), federation.zone_at(to));
        let speaks = |rule: &&Rule| {
            rule.mode == Mode::Enforce
                && rule.matcher.border_holds(context, from_zone, to_zone)
                && rule.speaks(federation, context, from, to)
        };
        let rules = || self.program.rules.iter().filter(speaks);
        if let Some(denying) = rules().find(|rule| self.denies_all(rule)) {
            return Some(RuleRef::of(denying));
        }
        let permits = |rule: &Rule| {
            rule.is_permit() && self.is_named(&rule.matcher.subscriber) && self.shares(&rule.matcher)
        };
        let gates = self.program.gates(context, from, to);
        let shut = gates.iter().find(|gate| !rules().any(|rule| rule.layer == gate.layer && permits(rule)));
        shut.map(|gate| RuleRef::default_deny(&gate.layer))
    }

    /// Whether the rule stops every event of the filter for this subscriber, whatever is in it and whoever published it.
    fn denies_all(&self, rule: &Rule) -> bool {
        let matcher = &rule.matcher;
        matches!(rule.action, Action::Deny)
            && matches!(rule.on_violation, OnViolation::Stop(_))
            && rule.except.is_none()
            && !self.program.waivers.iter().any(|waiver| *waiver.rule == *rule.id)
            && matcher.event.is_empty()
            && matcher.publisher.is_empty()
            && matcher.when.is_none()
            && self.is_named(&matcher.subscriber)
            && matcher.topics.iter().any(|topics| topics.covers(self.filter))
    }

    fn is_named(&self, globs: &[Glob]) -> bool {
        globs.is_empty() || globs.iter().any(|glob| glob.is_match(self.subscriber))
    }

    fn shares(&self, matcher: &Match) -> bool {
        matcher.topics.iter().any(|topics| topics.intersects(self.filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Federation, SourceFile, compile};

    const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    here: {region: r, cloud: c, jurisdiction: EU}
    there: {region: r, cloud: c, jurisdiction: EU}
  bridges: [{id: a, zone: here}, {id: b, zone: there}]
  links: [{from: a, to: b}]
";

    fn program(rules: &str) -> Program {
        let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
        let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
        let head = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: p, layer: federation}\nspec:\n  rules:\n";
        let text = format!("{head}{}", rules.lines().map(|line| format!("    {line}\n")).collect::<String>());
        compile(&[file("p.yaml", &text)], &federation, None)
            .map_err(|problems| problems.to_string())
            .expect("valid")
            .program
    }

    #[track_caller]
    fn check(rules: &str, filter: &str, subscriber: &str, expected: Option<&str>) {
        let program = program(rules);
        let filter = TopicFilter::parse(filter).expect("a filter");
        let by = program.never_delivers(program.zone("here").expect("a zone"), &filter, subscriber);
        assert_eq!(by.as_ref().map(RuleRef::id), expected, "{filter} for {subscriber} under {rules}");
    }

    #[test]
    fn a_filter_is_refused_only_where_no_topic_of_it_could_be_delivered() {
        let deny = |matching: &str| format!("- {{name: d, match: {{{matching}}}, deny: {{}}}}");
        let at_subscribe = deny("at: subscribe, topics: [\"a.**\"]");
        check(&at_subscribe, "a.b", "me", Some("p/d"));
        check(&at_subscribe, "a.*.**", "me", Some("p/d"));
        check(&at_subscribe, "*.b", "me", None);
        check(&at_subscribe, "**", "me", None);
        let to_some = deny("at: deliver, topics: [\"a.**\"], subscriber: [\"ma*\"]");
        check(&to_some, "a.b", "max", Some("p/d"));
        check(&to_some, "a.b", "otto", None);
        // Not from here, but from elsewhere.
        check(&deny("at: deliver, topics: [\"a.**\"], same: zone"), "a.b", "me", None);
        check(&deny("at: deliver, topics: [\"a.**\"], event: {subject: x}"), "a.b", "me", None);
        check(&deny("at: deliver, topics: [\"a.**\"], when: \"'x' in tokens\""), "a.b", "me", None);
        check(&deny("at: egress, topics: [\"a.**\"]"), "a.b", "me", None);
    }

    #[test]
    fn permits_narrow_what_may_be_asked_for() {
        let permit = "- {name: m, match: {at: subscribe, topics: [\"a.*\"], subscriber: [me]}, permit: {}}";
        check(permit, "a.b", "me", None);
        check(permit, "**", "me", None);
        check(permit, "b", "me", Some("default-deny@federation"));
        check(permit, "a.b", "you", Some("default-deny@federation"));
    }

    #[test]
    fn an_exception_or_another_mode_refuses_nothing() {
        check(
            "- {name: d, match: {at: subscribe, topics: [a]}, except: {event: {subject: x}}, deny: {}}",
            "a",
            "me",
            None,
        );
        check("- {name: d, match: {at: subscribe, topics: [a]}, mode: warn, deny: {}}", "a", "me", None);
    }
}
