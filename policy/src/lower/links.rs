//! Links between zones: `links` in `match` and `except`. A denied link is none that stops an event: it leaves the graph, so
//! a `deny` with links becomes an action of its own here, and nothing that asks for a `deny` takes it for one.

use super::Lowering;
use super::action::BORDERS;
use crate::classes::nearest;
use crate::diagnostics::Diagnostic;
use crate::federation::ZoneIndex;
use crate::link::ZoneLink;
use crate::model::{Action, Context, Match};
use crate::yaml::Node;

/// What says how an event ends: a rule about links ends none.
const OF_VERDICTS: [&str; 4] = ["onViolation", "onError", "message", "help"];

impl Lowering<'_> {
    /// The links that a `match` or an `except` names, in order and each once.
    pub(super) fn links(&mut self, node: &Node) -> Vec<ZoneLink> {
        let mut links = Vec::new();
        for item in node.get("links").map(Node::items).unwrap_or_default() {
            let Some(link) = item.text().and_then(|text| self.link(item, text)) else { continue };
            if !self.federation.is_linked(link) {
                let name = link.name(self.federation);
                let message = format!("the federation document has no link `{name}`");
                let help =
                    "check the zones; a link that is not there needs no denial, one that comes later will";
                self.problems.push(Diagnostic::warning("P0222", &item.span, message).help(help));
            }
            links.push(link);
        }
        links.sort_unstable();
        links.dedup();
        links
    }

    pub(crate) fn link(&mut self, item: &Node, text: &str) -> Option<ZoneLink> {
        let shown: String = text.chars().take(130).collect();
        let Some((one, other)) = text.split_once('/') else {
            let help = "write the zones at its ends, such as \"eu-1/us-1\"";
            self.error("P0123", item, format!("`{shown}` names no link"), help);
            return None;
        };
        let (first, second) = (self.end_of_link(item, one, other), self.end_of_link(item, other, one));
        let (first, second) = (first?, second?);
        let link = ZoneLink::between(first, second);
        if link.is_none() {
            let help = "name two zones: inside a zone nothing crosses a border";
            self.error("P0123", item, format!("`{shown}` has one zone at both ends"), help);
        }
        link
    }

    fn end_of_link(&mut self, item: &Node, name: &str, other: &str) -> Option<ZoneIndex> {
        let zone = self.federation.zone(name);
        if zone.is_none() {
            let shown: String = name.chars().take(64).collect();
            // A link has two ends, so the zone at the other is not what was meant.
            let others = self.federation.zones().filter(|zone| *zone != other);
            let near = nearest(name, others)
                .filter(|near| strsim::damerau_levenshtein(near, name) < near.len().max(name.len()));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its zones are {}", self.federation.zones().collect::<Vec<_>>().join(", ")),
            };
            self.error("P0110", item, format!("there is no zone `{shown}`"), &help);
        }
        zone
    }

    /// The action of a rule, where its match may be about links; complains where links do not go with the rest of it.
    pub(super) fn of_links(
        &mut self,
        node: &Node,
        action: Action,
        matcher: &Match,
        except: Option<&Match>,
    ) -> Action {
        let named = |key: &str| node.get(key).and_then(|part| part.get("links"));
        let (of_match, of_except) = (named("match"), named("except"));
        match (of_match, of_except, &action) {
            (None, None, _) => return action,
            (of_match, of_except, Action::Limit(_)) => {
                for place in [of_match, of_except].into_iter().flatten() {
                    let message = "`links` in a `limit` is not supported by this version of meshbridge";
                    let help = "limit at `egress`, or `deny` the link; a key that is not enforced must not look as if it were";
                    self.error("P0108", place, message, help);
                }
                return action;
            }
            (None, Some(place), Action::Deny) => {
                let help = "name the links of the rule in `match`, and here those of them that stay open";
                self.error("P0124", place, "an exception of links, and a match that has none", help);
                return action;
            }
            (Some(_), _, Action::Deny) => {}
            (of_match, of_except, action) => {
                let message = format!("`{}` is not about links", action.name());
                for place in [of_match, of_except].into_iter().flatten() {
                    self.error("P0124", place, message.clone(), "`links` goes with `deny`; remove it here");
                }
                return action.clone();
            }
        }
        self.check_links(node, matcher, except);
        Action::DenyLinks
    }

    fn check_links(&mut self, node: &Node, matcher: &Match, except: Option<&Match>) {
        let egress = Context::Egress.bit();
        if let Some(place) = node.get("match").and_then(|matched| matched.get("at"))
            && (matcher.at & egress == 0 || matcher.at & !BORDERS != 0)
        {
            let message = "links are denied where an event leaves, for all of its way";
            let help = "remove `at`, or write `at: egress`, and `transit` or `ingress` beside it for those who check it again";
            self.error("P0124", place, message, help);
        }
        let stray = except.and_then(|except| except.links.iter().find(|link| !matcher.links.contains(link)));
        if let (Some(link), Some(place)) =
            (stray, node.get("except").and_then(|excepted| excepted.get("links")))
        {
            let message = format!("the rule denies no link `{}`", link.name(self.federation));
            let help = "except links of `match` only";
            self.error("P0124", place, message, help);
        }
        for key in OF_VERDICTS {
            if let Some(place) = node.get(key) {
                let message = format!("a rule about links takes no `{key}`");
                let help = "remove it: a denied link stops no event, which takes another way or waits for one; what cannot be judged is denied";
                self.error("P0124", place, message, help);
            }
        }
    }
}
