//! From nodes that have the right shape to rules that mean something; collects every problem on the way.

mod action;
mod links;
mod literals;
mod matcher;
mod protect;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::documents::{Heading, heading};
use crate::federation::Federation;
use crate::message::Template;
use crate::model::{Action, Disposition, Layer, Mode, OnViolation, Rule};
use crate::schema::Schemas;
use crate::yaml::{Node, NodeKind};

pub(crate) use matcher::is_attribute_name;

const ACTIONS: [&str; 9] =
    ["permit", "deny", "residency", "require", "validate", "structure", "forbid", "protect", "limit"];

/// What lowering needs to know, and where it reports.
pub(crate) struct Lowering<'a> {
    pub(crate) federation: &'a Federation,
    pub(crate) schemas: &'a Schemas,
    pub(crate) problems: &'a mut Diagnostics,
}

/// The rules of a policy document, as they are written.
pub(crate) fn rules_of(document: &Node) -> &[Node] {
    document.get("spec").and_then(|spec| spec.get("rules")).map(Node::items).unwrap_or_default()
}

/// Whether a document could be of the layer federation: it says so, or what it says is no layer.
pub(crate) fn may_be_outermost(document: &Node) -> bool {
    let layer = document.get("metadata").and_then(|metadata| metadata.get("layer")).and_then(Node::text);
    layer.is_none_or(|layer| !layer.contains('/'))
}

/// Lowers one policy document; rules with an error in them are left out.
pub(crate) fn policy(document: &Node, lowering: &mut Lowering<'_>) -> Vec<Rule> {
    let Some(Heading { name, layer }) = heading(document, lowering.federation, lowering.problems) else {
        return Vec::new();
    };
    let owner = document.get("metadata").and_then(|m| m.get("owner")).and_then(Node::text).map(Arc::from);
    let rules = rules_of(document);
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    let mut lowered = Vec::new();
    for node in rules {
        let Some((name_node, rule_name)) = node.get("name").and_then(|n| Some((n, n.text()?))) else {
            continue;
        };
        let id = format!("{name}/{rule_name}");
        if let Some(first) = seen.insert(id.clone(), name_node.span.clone()) {
            let problem = Diagnostic::error("P0111", &name_node.span, format!("rule `{id}` occurs twice"));
            lowering.problems.push(problem.related(&first, "first here"));
        }
        lowered.extend(lowering.rule(node, id.into(), &layer, &owner));
    }
    lowered
}

/// `federation`, or an attribute of zones and its value.
pub(crate) fn lower_layer(node: &Node, federation: &Federation, problems: &mut Diagnostics) -> Option<Layer> {
    let text = node.text()?;
    if text == "federation" {
        return Some(Layer::federation());
    }
    let Some((attribute, value)) = text.split_once('/') else {
        let problem = Diagnostic::error("P0201", &node.span, format!("`{text}` is no layer"));
        let help = "write federation, or an attribute and its value such as region/eu or zone/dmz";
        problems.push(problem.help(help));
        return None;
    };
    let Some(depth) = federation.layers.iter().position(|layer| layer == attribute) else {
        let message = format!("the federation has no layer `{attribute}`");
        let help = format!("its layers are {}", federation.layers.join(", "));
        problems.push(Diagnostic::error("P0201", &node.span, message).help(help));
        return None;
    };
    if !federation.zones.iter().any(|zone| zone.attribute(attribute) == Some(value)) {
        let message = format!("no zone has {attribute} `{value}`, so these rules never apply");
        let help = "check the value against the federation document";
        problems.push(Diagnostic::error("P0202", &node.span, message).help(help));
    }
    Some(Layer::of(depth, attribute, value))
}

impl Lowering<'_> {
    pub(crate) fn error(&mut self, code: &'static str, node: &Node, message: impl Into<String>, help: &str) {
        self.problems.push(Diagnostic::error(code, &node.span, message).help(help));
    }

    fn rule(&mut self, node: &Node, id: Arc<str>, layer: &Layer, owner: &Option<Arc<str>>) -> Option<Rule> {
        let errors = self.problems.errors();
        // Of a rule without exactly one action every other fault is told as well.
        let actions = self.actions(node);
        let lowered: Vec<_> = actions.into_iter().map(|(key, action)| self.action(key, action)).collect();
        let (action, at_default) = lowered.into_iter().flatten().next().unzip();
        let mode = match node.get("mode").and_then(Node::text) {
            Some("warn") => Mode::Warn,
            Some("shadow") => Mode::Shadow,
            _ => Mode::Enforce,
        };
        let match_node = node.get("match");
        let matcher = match_node.map(|matched| self.matcher(matched, at_default.unwrap_or(u8::MAX)));
        let except = node.get("except").map(|except| self.matcher(except, u8::MAX));
        let (action, match_node, matcher) = (action?, match_node?, matcher?);
        let action = self.of_links(node, action, &matcher, except.as_ref());
        self.check_contexts(match_node, &action, &matcher);
        let on_violation = self.on_violation(node, &action, mode);
        let on_error = node.get("onError").and_then(Node::text).and_then(Disposition::parse);
        if matches!(action, Action::Permit) {
            self.check_permit(node, mode);
        }
        let message = node.get("message").and_then(|message| self.template(message, &action));
        if self.problems.errors() > errors {
            return None;
        }
        let topics = match_node.get("topics").map(Node::items).unwrap_or_default();
        Some(Rule {
            canonical: canonical(node),
            id,
            layer: layer.clone(),
            span: node.get("name").unwrap_or(node).span.clone(),
            topic_spans: topics.iter().map(|topic| topic.span.clone()).collect(),
            owner: owner.clone(),
            matcher,
            except,
            mode,
            action,
            on_violation,
            on_error: on_error.unwrap_or(Disposition::DeadLetter),
            message,
            help: node.get("help").and_then(Node::text).map(Arc::from),
        })
    }

    /// Exactly one, or a problem.
    fn actions<'n>(&mut self, node: &'n Node) -> Vec<(&'n str, &'n Node)> {
        let of_entry = |(key, value): &'n (Node, Node)| {
            let name = key.text().filter(|name| ACTIONS.contains(name))?;
            Some((key, (name, value)))
        };
        let (places, actions): (Vec<&Node>, Vec<_>) = node.entries().iter().filter_map(of_entry).unzip();
        match places[..] {
            [_] => {}
            [] => {
                let place = node.get("name").unwrap_or(node);
                let help = format!("add one of {}", ACTIONS.join(", "));
                self.error("P0112", place, "the rule has no action", &help);
            }
            [_, second, ..] => {
                self.error("P0112", second, "a rule has exactly one action", "make two rules of it");
            }
        }
        actions
    }

    fn check_permit(&mut self, node: &Node, mode: Mode) {
        if let Some(on_error) = node.get("onError") {
            let help = "remove it: a permit in error does not permit";
            self.error("P0112", on_error, "a permit takes no `onError`", help);
        }
        if let Some(on_violation) = node.get("onViolation") {
            let help = "remove it: what no permit covers is rejected";
            self.error("P0112", on_violation, "a permit takes no `onViolation`", help);
        }
        let Some(place) = node.get("mode") else { return };
        match mode {
            Mode::Warn => {
                let help = "write enforce, or shadow to have it count as absent";
                self.error("P0112", place, "a permit takes no `mode: warn`", help);
            }
            Mode::Shadow => {
                let message = "a permit in shadow counts as absent";
                let help = "the layer then permits what its other permits cover, or does not narrow at all";
                self.problems.push(Diagnostic::warning("P0209", &place.span, message).help(help));
            }
            Mode::Enforce => {}
        }
    }

    fn on_violation(&mut self, node: &Node, action: &Action, mode: Mode) -> OnViolation {
        let default = OnViolation::Stop(match action {
            Action::Require { .. } | Action::Validate(_) => Disposition::DeadLetter,
            Action::Forbid(_) => Disposition::Quarantine,
            _ => Disposition::Reject,
        });
        let Some((place, text)) = node.get("onViolation").and_then(|n| Some((n, n.text()?))) else {
            return default;
        };
        match text {
            "strip" => {
                let optional = |action: &Action| match action {
                    Action::Require { attributes, hops_max } => {
                        use crate::model::Presence::Optional;
                        hops_max.is_none() && attributes.iter().all(|one| one.presence == Optional)
                    }
                    _ => false,
                };
                if !optional(action) {
                    let help = "only `require` strips, and only attributes with presence: optional";
                    self.error("P0119", place, "there is nothing to strip here", help);
                }
                OnViolation::Strip
            }
            "annotate" => {
                if mode != Mode::Warn {
                    let help = "write mode: warn, for an annotated event is forwarded";
                    self.error("P0119", place, "`annotate` needs mode: warn", help);
                }
                OnViolation::Annotate
            }
            _ if matches!(action, Action::Protect(_)) => {
                let help =
                    "a protection is never violated; `onError` says what happens where it cannot be done";
                self.error("P0119", place, "`protect` takes no `onViolation`", help);
                default
            }
            text => Disposition::parse(text).map_or(default, OnViolation::Stop),
        }
    }

    fn template(&mut self, node: &Node, action: &Action) -> Option<Template> {
        let segments: Vec<&str> = match action {
            Action::Structure(structure) => structure.segments.iter().map(|s| s.name.as_str()).collect(),
            _ => Vec::new(),
        };
        match Template::parse(node.text()?, &segments) {
            Ok(template) => Some(template),
            Err(name) => {
                let help = format!("known here: {}", Template::placeholders(&segments));
                self.error("P0113", node, format!("unknown placeholder `{name}`"), &help);
                None
            }
        }
    }
}

/// The node in one spelling: keys sorted, no white space, no places.
pub(crate) fn canonical(node: &Node) -> String {
    match &node.kind {
        NodeKind::Null => "null".to_owned(),
        NodeKind::Bool(value) => value.to_string(),
        NodeKind::Integer(number) => number.to_string(),
        NodeKind::Decimal(text) => text.clone(),
        NodeKind::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        NodeKind::List(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        NodeKind::Map(entries) => {
            let mut all: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}:{}", canonical(key), canonical(value)))
                .collect();
            all.sort();
            format!("{{{}}}", all.join(","))
        }
    }
}
