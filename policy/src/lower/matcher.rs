//! What rules are about: `match` and `except`.

use super::Lowering;
use super::action::BORDERS;
use crate::condition;
use crate::diagnostics::{Diagnostic, Severity};
use crate::documents::filters;
use crate::model::{Action, Context, Glob, Match, Selector};
use crate::yaml::Node;

/// Contexts in which the listener knows who publishes, and who would get the event.
const PUBLISHER_AT: u8 = Context::Publish.bit() | Context::Egress.bit();
const SUBSCRIBER_AT: u8 = Context::Deliver.bit() | Context::Subscribe.bit();

impl Lowering<'_> {
    pub(crate) fn matcher(&mut self, node: &Node, at_default: u8) -> Match {
        let mut matcher = Match { at: at_default, ..Match::default() };
        matcher.topics = node.get("topics").map(|topics| filters(topics, self.problems)).unwrap_or_default();
        if let Some(at) = node.get("at") {
            matcher.at =
                at.items().iter().filter_map(|n| Context::parse(n.text()?)).fold(0, |bits, c| bits | c.bit());
        }
        matcher.from = node.get("from").map(|from| self.selector(from)).unwrap_or_default();
        matcher.to = node.get("to").map(|to| self.selector(to)).unwrap_or_default();
        for same in node.get("same").map(Node::items).unwrap_or_default() {
            let Some(text) = same.text() else { continue };
            if matches!(text, "zone" | "region" | "cloud" | "jurisdiction") {
                self.every_zone_has(same, text);
            } else if text.strip_prefix("labels.").is_none_or(str::is_empty) {
                let help = "use zone, region, cloud, jurisdiction or labels.<name>";
                self.error("P0115", same, format!("zones have no attribute `{text}`"), help);
            }
            matcher.same.push(text.to_owned());
        }
        for (name, patterns) in node.get("event").map(Node::entries).unwrap_or_default() {
            let Some(attribute) = name.text() else { continue };
            if !is_attribute_name(attribute) || attribute == "data" {
                let help = "names of CloudEvents attributes have lower-case letters and digits only";
                self.error("P0120", name, format!("no event has an attribute `{attribute}`"), help);
            }
            matcher.event.push((attribute.to_owned(), globs(patterns)));
        }
        matcher.links = self.links(node);
        matcher.publisher = node.get("publisher").map(globs).unwrap_or_default();
        matcher.subscriber = node.get("subscriber").map(globs).unwrap_or_default();
        if let Some(when) = node.get("when") {
            matcher.when = condition::lower(when, condition::Use::When, self.problems)
                .map(|expression| (expression, when.span.clone()));
            self.values_of_zones(when);
        }
        matcher
    }

    /// Principals are known in some contexts only; in the others the key would never hold.
    pub(super) fn check_contexts(&mut self, node: &Node, action: &Action, matcher: &Match) {
        if let Some(place) = node.get("at")
            && matches!(action, Action::Residency { .. })
            && matcher.at != BORDERS
        {
            let message = "residency is judged at every border: egress, transit and ingress";
            self.error("P0112", place, message, "remove `at`, or write a `deny` for this context");
        }
        for (key, known_at, names) in [
            ("publisher", PUBLISHER_AT, "publish, egress"),
            ("subscriber", SUBSCRIBER_AT, "deliver, subscribe"),
        ] {
            if let Some(place) = node.get(key)
                && matcher.at & !known_at != 0
            {
                let help = format!("add `at: [{names}]`, or one of them");
                self.error(
                    "P0121",
                    place,
                    format!("the {key} is not known in every context of this rule"),
                    &help,
                );
            }
        }
        if let Some((condition, _)) = &matcher.when
            && condition.reads().publisher
            && matcher.at & !PUBLISHER_AT != 0
            && let Some(place) = node.get("when")
        {
            let message = "the publisher is not known in every context of this rule";
            self.error("P0121", place, message, "add `at: [publish, egress]`, or one of them");
        }
        // What is judged when a client asks for a filter, or before interest is told, has no event yet.
        let without_event = Context::Subscribe.bit() | Context::Interest.bit();
        if matcher.at & without_event != 0 && !matches!(action, Action::Permit | Action::Deny) {
            let place = node.get("at").unwrap_or(node);
            let help = "only permit and deny can be judged there";
            self.error("P0121", place, "there is no event at `subscribe` and `interest`", help);
        }
    }

    pub(super) fn selectors(&mut self, node: &Node) -> Vec<Selector> {
        node.items().iter().map(|item| self.selector(item)).collect()
    }

    fn selector(&mut self, node: &Node) -> Selector {
        let mut selector = Selector::default();
        let keys = [
            ("zones", "zone"),
            ("regions", "region"),
            ("clouds", "cloud"),
            ("jurisdictions", "jurisdiction"),
        ];
        for (key, attribute) in keys {
            let Some(values) = node.get(key) else { continue };
            let mut accepted = Vec::new();
            for value in values.items() {
                let Some(text) = value.text() else { continue };
                if !self.federation.zones.iter().any(|zone| zone.attribute(attribute) == Some(text)) {
                    let problem = self.no_zone_has(value, attribute, text);
                    self.problems.push(problem);
                }
                accepted.push(text.to_owned());
            }
            self.every_zone_has(values, attribute);
            selector.attributes.push((attribute, accepted));
        }
        let labels = node.get("labels").map(Node::entries).unwrap_or_default();
        selector.labels = labels
            .iter()
            .filter_map(|(key, value)| Some((key.text()?.to_owned(), value.text()?.to_owned())))
            .collect();
        selector
    }

    /// P0110, with the value that is most like it.
    pub(super) fn no_zone_has(&self, node: &Node, attribute: &str, text: &str) -> Diagnostic {
        let values = self.federation.zones.iter().filter_map(|zone| zone.attribute(attribute));
        let alike = |value: &&str| value.eq_ignore_ascii_case(text);
        let near = values.clone().find(alike).or_else(|| crate::classes::nearest(text, values));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "check the name against the federation document".to_owned(),
        };
        Diagnostic::error("P0110", &node.span, format!("no zone has {attribute} `{text}`")).help(help)
    }

    /// A zone without an attribute that is selected by would slip past a `deny`.
    fn every_zone_has(&mut self, node: &Node, attribute: &str) {
        let zones = self.federation.zones.iter();
        let lacking: Vec<&str> =
            zones.filter(|zone| zone.attribute(attribute).is_none()).map(|zone| zone.name.as_str()).collect();
        if !lacking.is_empty() {
            let message =
                format!("this selects by {attribute}, which zone {} does not have", lacking.join(", "));
            let help = "give every zone this attribute in the federation document";
            let said = self.problems.iter().any(|known| {
                known.code == "P0204" && known.severity == Severity::Error && known.span == node.span
            });
            if !said {
                self.problems.push(Diagnostic::error("P0204", &node.span, message).help(help));
            }
        }
    }
}

fn globs(node: &Node) -> Vec<Glob> {
    node.items().iter().filter_map(Node::text).map(Glob::parse).collect()
}

/// CloudEvents 1.0, section 3.1: lower-case letters and digits.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
