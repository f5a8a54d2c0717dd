//! From nodes that have the right shape to rules that mean something; collects every problem on the way.

use std::collections::BTreeMap;

use meshbridge_topic::TopicFilter;
use regex::{Regex, RegexBuilder};

use crate::detect::Class;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::federation::Federation;
use crate::message::Template;
use crate::model::{
    Action, Context, Disposition, Format, Layer, Match, Presence, Protect, Requirement, Rule, Selector,
};
use crate::path::Path;
use crate::protection::Protection;
use crate::yaml::{Node, NodeKind};

const REGEX_BYTES_MAX: usize = 1 << 20;
const ACTIONS: [&str; 4] = ["permit", "deny", "require", "protect"];
/// Refused by the shape already; a rule that has one lacks no action.
const LATER_ACTIONS: [&str; 5] = ["residency", "validate", "structure", "forbid", "limit"];

/// Lowers one policy document; rules with an error in them are left out.
pub(crate) fn policy(document: &Node, federation: &Federation, problems: &mut Diagnostics) -> Vec<Rule> {
    let text = |node: Option<&Node>| node.and_then(Node::text).unwrap_or_default().to_owned();
    let metadata = document.get("metadata");
    let name = text(metadata.and_then(|m| m.get("name")));
    let Some(layer_node) = metadata.and_then(|m| m.get("layer")) else { return Vec::new() };
    let Some(layer) = lower_layer(layer_node, federation, problems) else { return Vec::new() };
    let rules = document.get("spec").and_then(|spec| spec.get("rules")).map(Node::items).unwrap_or_default();
    let mut lowering = Lowering { federation, problems };
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    rules
        .iter()
        .filter_map(|node| {
            let name_node = node.get("name")?;
            let id = format!("{name}/{}", name_node.text()?);
            if let Some(first) = seen.insert(id.clone(), name_node.span.clone()) {
                let problem =
                    Diagnostic::error("P0111", &name_node.span, format!("rule `{id}` occurs twice"));
                lowering.problems.push(problem.related(&first, "first here"));
            }
            lowering.rule(node, id, &layer)
        })
        .collect()
}

pub(crate) fn lower_layer(node: &Node, federation: &Federation, problems: &mut Diagnostics) -> Option<Layer> {
    let text = node.text()?;
    if text == "federation" {
        return Some(Layer { depth: 0, of: None });
    }
    let Some((attribute, value)) = text.split_once('/') else {
        let problem = Diagnostic::error("P0201", &node.span, format!("`{text}` is no layer"));
        problems.push(
            problem.help("write federation, or an attribute and its value such as region/eu or zone/dmz"),
        );
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
        problems.push(
            Diagnostic::error("P0202", &node.span, message)
                .help("check the value against the federation document"),
        );
    }
    Some(Layer { depth, of: Some((attribute.to_owned(), value.to_owned())) })
}

struct Lowering<'a> {
    federation: &'a Federation,
    problems: &'a mut Diagnostics,
}

impl Lowering<'_> {
    fn error(&mut self, code: &'static str, node: &Node, message: impl Into<String>, help: &str) {
        self.problems.push(Diagnostic::error(code, &node.span, message).help(help));
    }

    fn rule(&mut self, node: &Node, id: String, layer: &Layer) -> Option<Rule> {
        let before = self.problems.len();
        let actions: Vec<&(Node, Node)> = node
            .entries()
            .iter()
            .filter(|(key, _)| key.text().is_some_and(|key| ACTIONS.contains(&key)))
            .collect();
        let (action_key, action_node) = match actions.as_slice() {
            [(key, value)] => (key.text().unwrap_or_default(), value),
            [] if LATER_ACTIONS.iter().any(|later| node.get(later).is_some()) => return None,
            [] => {
                let name = node.get("name").unwrap_or(node);
                self.error(
                    "P0112",
                    name,
                    "the rule has no action",
                    "add one of permit, deny, require, protect",
                );
                return None;
            }
            [_, (second, _), ..] => {
                self.error("P0112", second, "a rule has exactly one action", "make two rules of it");
                return None;
            }
        };
        let (action, at_default) = match action_key {
            "permit" => (Action::Permit, 7),
            "deny" => (Action::Deny, 7),
            "require" => (Action::Require(self.requirements(action_node)), 5),
            _ => (Action::Protect(self.protections(action_node)), 7),
        };
        let match_node = node.get("match")?;
        let matcher = self.matcher(match_node, at_default);
        let except = node.get("except").map(|except| self.matcher(except, 7));
        let disposition = |key: &str| {
            node.get(key).and_then(Node::text).map(|text| match text {
                "reject" => Disposition::Reject,
                _ => Disposition::DeadLetter,
            })
        };
        let on_violation_default = match action {
            Action::Require(_) => Disposition::DeadLetter,
            _ => Disposition::Reject,
        };
        if let Some(on_error) = node.get("onError")
            && matches!(action, Action::Permit)
        {
            self.error(
                "P0112",
                on_error,
                "a permit takes no `onError`",
                "remove it: a permit in error does not permit",
            );
        }
        let message = node.get("message").and_then(|message| match Template::parse(message.text()?) {
            Ok(template) => Some(template),
            Err(name) => {
                let help = format!("known here: {}", Template::placeholders());
                self.error("P0113", message, format!("unknown placeholder `{name}`"), &help);
                None
            }
        });
        if self.problems.iter().skip(before).any(|p| p.severity == crate::Severity::Error) {
            return None;
        }
        let topics = match_node.get("topics").map(Node::items).unwrap_or_default();
        Some(Rule {
            canonical: canonical(node),
            id,
            layer: layer.clone(),
            span: node.get("name").unwrap_or(node).span.clone(),
            topic_spans: topics.iter().map(|topic| topic.span.clone()).collect(),
            matcher,
            except,
            action,
            on_violation: disposition("onViolation").unwrap_or(on_violation_default),
            on_error: disposition("onError").unwrap_or(Disposition::DeadLetter),
            message,
            help: node.get("help").and_then(Node::text).map(str::to_owned),
        })
    }

    fn matcher(&mut self, node: &Node, at_default: u8) -> Match {
        let mut matcher = Match { at: at_default, ..Match::default() };
        for topic in node.get("topics").map(Node::items).unwrap_or_default() {
            let Some(text) = topic.text() else { continue };
            match TopicFilter::parse(text) {
                Ok(filter) => matcher.topics.push(filter),
                Err(problem) => {
                    let help =
                        "tokens between dots; `*` is one token, `**` any number; exclude with `except`";
                    self.error("P0114", topic, format!("`{text}` is no topic filter: {problem}"), help);
                }
            }
        }
        if let Some(topics) = node.get("topics")
            && topics.items().is_empty()
        {
            self.error("P0107", topics, "the list of topics is empty", "write [\"**\"] for every topic");
        }
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
        for (name, pattern) in node.get("event").map(Node::entries).unwrap_or_default() {
            let (Some(attribute), Some(glob)) = (name.text(), pattern.text()) else { continue };
            if let Some(regex) = self.glob(pattern, glob) {
                matcher.event.push((attribute.to_owned(), regex));
            }
        }
        matcher
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
                    let message = format!("no zone has {attribute} `{text}`");
                    self.error("P0110", value, message, "check the name against the federation document");
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

    /// A zone without an attribute that is selected by would slip past a `deny`.
    fn every_zone_has(&mut self, node: &Node, attribute: &str) {
        let lacking: Vec<&str> = self
            .federation
            .zones
            .iter()
            .filter(|zone| zone.attribute(attribute).is_none())
            .map(|zone| zone.name.as_str())
            .collect();
        if !lacking.is_empty() {
            let message =
                format!("this selects by {attribute}, which zone {} does not have", lacking.join(", "));
            self.error("P0204", node, message, "give every zone this attribute in the federation document");
        }
    }

    fn glob(&mut self, node: &Node, glob: &str) -> Option<Regex> {
        let parts: Vec<String> = glob.split('*').map(regex::escape).collect();
        self.regex(node, &format!("(?s)^{}$", parts.join(".*")))
    }

    fn regex(&mut self, node: &Node, pattern: &str) -> Option<Regex> {
        let built =
            RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
        match built {
            Ok(regex) => Some(regex),
            Err(problem) => {
                let line = problem.to_string().lines().last().unwrap_or_default().trim().to_owned();
                self.error("P0116", node, "this is no regular expression", &line);
                None
            }
        }
    }

    fn requirements(&mut self, node: &Node) -> Vec<Requirement> {
        let entries = node.get("attributes").map(Node::entries).unwrap_or_default();
        let mut all = Vec::new();
        for (name, value) in entries {
            let text = |key: &str| value.get(key).and_then(Node::text);
            let presence = match text("presence") {
                Some("optional") => Presence::Optional,
                Some("absent") => Presence::Absent,
                _ => Presence::Required,
            };
            let format = text("format").and_then(|format| match format {
                "w3c-traceparent" => Some(Format::Traceparent),
                "rfc3339" => Some(Format::Rfc3339),
                "uri" => Some(Format::Uri),
                "uri-reference" => Some(Format::UriReference),
                "uuid" => Some(Format::Uuid),
                "media-type" => Some(Format::MediaType),
                _ => None,
            });
            let pattern = value.get("pattern").and_then(|pattern| {
                let text = pattern.text()?;
                if text.contains("${") {
                    let help = "write the value out, one rule for each zone";
                    self.error(
                        "P0108",
                        pattern,
                        "placeholders in patterns are not supported by this version",
                        help,
                    );
                    return None;
                }
                self.regex(pattern, text)
            });
            let values = value.get("enum").map(Node::items).unwrap_or_default();
            all.push(Requirement {
                attribute: name.text().unwrap_or_default().to_owned(),
                presence,
                format,
                pattern,
                values: values.iter().filter_map(Node::text).map(str::to_owned).collect(),
            });
        }
        all
    }

    fn protections(&mut self, node: &Node) -> Vec<Protect> {
        let mut all = Vec::new();
        for item in node.items() {
            let names =
                |key: &str| item.get(key).map(Node::items).unwrap_or_default().iter().filter_map(Node::text);
            let excepted: Vec<&str> = names("except").collect();
            let families: Vec<&str> = names("classes").collect();
            let classes = Class::ALL
                .into_iter()
                .filter(|class| {
                    families.iter().any(|f| class.is_in(f)) && !excepted.iter().any(|f| class.is_in(f))
                })
                .collect();
            let mut fields = Vec::new();
            for field in item.get("fields").map(Node::items).unwrap_or_default() {
                match field.text().map(Path::parse) {
                    Some(Ok(path)) => {
                        if matches!(path.attribute(), Some("id" | "source" | "type" | "specversion")) {
                            let help = "match the event and deny it instead";
                            self.error(
                                "P0401",
                                field,
                                "this attribute names the event and cannot be protected",
                                help,
                            );
                        }
                        fields.push(path);
                    }
                    Some(Err((message, at))) => {
                        let message = format!("this is no path: {message} (byte {at})");
                        self.error(
                            "P0402",
                            field,
                            message,
                            "write $.subject, $.data.customer.email, $.data.items[*].card",
                        );
                    }
                    None => {}
                }
            }
            if item.get("classes").is_none() && item.get("fields").is_none() {
                self.error(
                    "P0403",
                    item,
                    "neither `classes` nor `fields` is given",
                    "say what is to be protected",
                );
            }
            let count = |key: &str| {
                let number = item.get("keep").and_then(|keep| keep.get(key)).and_then(Node::integer);
                number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
            };
            let how = item.get("as").and_then(Node::text).unwrap_or_default();
            if let Some(keep) = item.get("keep")
                && how != "mask"
            {
                self.error("P0404", keep, "`keep` belongs to mask", "write as: mask, or remove `keep`");
            }
            if how == "hash" && item.get("classes").is_some() {
                let node = item.get("as").unwrap_or(item);
                let problem = Diagnostic::warning("P0405", &node.span, "a hash can be confirmed by guessing")
                    .help("card numbers, phones and addresses can be enumerated; use mask or redact for secrecy");
                self.problems.push(problem);
            }
            let protection = match how {
                "drop" => Protection::Drop,
                "hash" => Protection::Hash,
                "mask" => Protection::Mask { first: count("first"), last: count("last") },
                _ => Protection::Redact,
            };
            all.push(Protect { classes, fields, protection });
        }
        all
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
