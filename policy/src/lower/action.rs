//! What rules do: the fields of each action.

use super::Lowering;
use super::matcher::is_attribute_name;
use crate::classes::{class_set, is_known_class};
use crate::condition;
use crate::diagnostics::Diagnostic;
use crate::duration;
use crate::message::Template;
use crate::model::{
    Action, Amount, BucketPart, Check, Context, Forbid, Format, Limit, Presence, Rate, Requirement, Segment,
    Structure, Validate,
};
use crate::pattern::{BadPattern, Pattern, ZONE_ATTRIBUTES};
use crate::yaml::{Node, NodeKind};
use crate::{ClassSet, Confidence};

/// Where an event crosses.
pub(super) const BORDERS: u8 = Context::Egress.bit() | Context::Transit.bit() | Context::Ingress.bit();
const ENDS: u8 = Context::Egress.bit() | Context::Ingress.bit();

impl Lowering<'_> {
    /// The action and where it is judged by default (POLICY §2).
    pub(super) fn action(&mut self, key: &str, node: &Node) -> Option<(Action, u8)> {
        Some(match key {
            "permit" => (Action::Permit, BORDERS),
            "deny" => (Action::Deny, BORDERS),
            "residency" => {
                let allow = node.get("allow").map(|allow| self.selectors(allow)).unwrap_or_default();
                if let Some(place) = node.get("allow")
                    && allow.iter().any(|one| one.attributes.is_empty() && one.labels.is_empty())
                {
                    let help = "name zones, regions, clouds, jurisdictions or labels";
                    self.error("P0112", place, "this allows every zone", help);
                }
                let transit = node.get("transit").map(|transit| self.selectors(transit));
                (Action::Residency { transit: transit.unwrap_or_else(|| allow.clone()), allow }, BORDERS)
            }
            "require" => (self.require(node), ENDS),
            "validate" => (self.validate(node)?, ENDS),
            "structure" => (self.structure(node), ENDS),
            "forbid" => (self.forbid(node), BORDERS),
            "limit" => (self.limit(node), ENDS),
            _ => (Action::Protect(self.protections(node)), BORDERS),
        })
    }

    fn pattern(&mut self, node: &Node) -> Option<Pattern> {
        match Pattern::parse(node.text()?, self.federation.zones.len()) {
            Ok(pattern) => Some(pattern),
            Err(BadPattern::UnknownPlaceholder(name)) => {
                let known: Vec<String> = ["from", "to"]
                    .iter()
                    .flat_map(|end| ZONE_ATTRIBUTES.map(|name| format!("{end}.{name}")))
                    .collect();
                let help = format!("known in patterns: {}", known.join(", "));
                self.error("P0113", node, format!("unknown placeholder `{name}`"), &help);
                None
            }
            Err(BadPattern::Malformed(problem)) => {
                let message = format!("this is no regular expression: {}", reason(&problem));
                let help = "write \\ before a sign that means itself, and \"…\" in YAML with two; look-arounds and back-references are not supported";
                self.error("P0116", node, message, help);
                None
            }
        }
    }

    fn require(&mut self, node: &Node) -> Action {
        let mut attributes = Vec::new();
        for (name, value) in node.get("attributes").map(Node::entries).unwrap_or_default() {
            let Some(attribute) = name.text() else { continue };
            if !is_attribute_name(attribute) || attribute == "data" {
                let help = "names of CloudEvents attributes have lower-case letters and digits only";
                self.error("P0120", name, format!("no event has an attribute `{attribute}`"), help);
            }
            attributes.push(self.requirement(attribute, value));
        }
        let hops = node.get("hops").and_then(|hops| hops.get("max")).and_then(Node::integer);
        let hops_max = hops.and_then(|max| u8::try_from(max).ok());
        // What is of a wrong kind is told as that.
        let is_list =
            node.get("attributes").is_some_and(|attributes| !matches!(attributes.kind, NodeKind::Map(_)));
        if attributes.is_empty() && !is_list && node.get("hops").is_none() {
            self.error("P0112", node, "nothing is required", "name attributes, or hops: {max: …}");
        }
        Action::Require { attributes, hops_max }
    }

    fn requirement(&mut self, attribute: &str, node: &Node) -> Requirement {
        let text = |key: &str| node.get(key).and_then(Node::text);
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
        if presence == Presence::Absent
            && let Some(place) = ["format", "pattern", "enum"].iter().find_map(|key| node.get(key))
        {
            self.error("P0112", place, "an absent attribute has no value", "remove this, or the presence");
        }
        let values = node.get("enum").map(Node::items).unwrap_or_default();
        Requirement {
            attribute: attribute.to_owned(),
            presence,
            format,
            pattern: node.get("pattern").and_then(|pattern| self.pattern(pattern)),
            values: values.iter().filter_map(Node::text).map(str::to_owned).collect(),
        }
    }

    fn validate(&mut self, node: &Node) -> Option<Action> {
        let schema = node.get("schema").and_then(|schema| self.schema(schema));
        let mut checks = Vec::new();
        for check in node.get("checks").map(Node::items).unwrap_or_default() {
            let Some(cel) = check.get("cel") else { continue };
            let message = check.get("message").and_then(Node::text).map(Into::into);
            let expression = condition::lower(cel, condition::Use::Check, self.problems)?;
            self.values_of_zones(cel);
            checks.push(Check { expression, message });
        }
        if schema.is_none() && checks.is_empty() && node.get("schema").is_none() {
            self.error("P0112", node, "nothing is checked", "give a `schema`, `checks`, or both");
        }
        Some(Action::Validate(Validate { schema, checks }))
    }

    fn schema(&mut self, node: &Node) -> Option<std::sync::Arc<crate::schema::Schema>> {
        let text = |key: &str| node.get(key).and_then(Node::text);
        let found = match (text("file"), text("ref"), text("sha256")) {
            (Some(file), None, None) => self.schemas.by_file(&node.span.file, file),
            (None, Some(name), Some(digest)) => self.schemas.by_digest(name, digest),
            _ => {
                let help = "write {file: schemas/order.json}, or {ref: …, sha256: …}";
                self.error("P0112", node, "a schema is one file, or a reference with its digest", help);
                return None;
            }
        };
        match found {
            Ok(schema) => {
                let place = node.get("file").or_else(|| node.get("ref")).unwrap_or(node);
                for (at, keyword) in schema.unknown() {
                    let message =
                        format!("no JSON Schema has the keyword `{keyword}`, at {at}: it asks nothing");
                    let problem = Diagnostic::warning("P0126", &place.span, message);
                    self.problems.push(match crate::schema::nearest_keyword(keyword) {
                        Some(near) => problem.help(format!("did you mean `{near}`?")),
                        None => problem.help("remove it, or begin it with `x-` if it is a note"),
                    });
                }
                Some(schema)
            }
            Err(problem) => {
                let place = node.get("file").or_else(|| node.get("ref")).unwrap_or(node);
                let help = "a schema is one of the files of the policies; it is never fetched";
                self.error("P0122", place, problem, help);
                None
            }
        }
    }

    fn structure(&mut self, node: &Node) -> Action {
        let mut segments: Vec<Segment> = Vec::new();
        for item in node.get("segments").map(Node::items).unwrap_or_default() {
            let name = item.get("name").and_then(Node::text).unwrap_or_default().to_owned();
            if segments.iter().any(|known| known.name == name) || Template::is_reserved(&name) {
                let place = item.get("name").unwrap_or(item);
                let help = "each segment has a name of its own, which messages use";
                self.error("P0111", place, format!("the name `{name}` is taken"), help);
            }
            let values = item.get("enum").map(Node::items).unwrap_or_default();
            segments.push(Segment {
                name,
                values: values.iter().filter_map(Node::text).map(str::to_owned).collect(),
                pattern: item.get("pattern").and_then(|pattern| self.pattern(pattern)),
            });
        }
        let names: Vec<&str> = segments.iter().map(|segment| segment.name.as_str()).collect();
        let prefix = node.get("typePrefix");
        let type_prefix = prefix.and_then(|prefix| match Template::parse_prefix(prefix.text()?, &names) {
            Ok(template) => Some(template),
            Err(name) => {
                let help =
                    format!("known here: {} and those of the zones, such as from.zone", names.join(", "));
                self.error("P0113", prefix, format!("unknown placeholder `{name}`"), &help);
                None
            }
        });
        if segments.is_empty() && prefix.is_none() {
            self.error(
                "P0112",
                node,
                "nothing is asked of topic or type",
                "give `segments`, `typePrefix`, or both",
            );
        }
        let more = node.get("more").and_then(Node::boolean).unwrap_or(segments.is_empty());
        Action::Structure(Structure { segments, more, type_prefix })
    }

    /// The classes of `classes` without those of `except`.
    pub(super) fn classes(&mut self, node: &Node) -> ClassSet {
        let wanted = node.get("classes").map(|list| class_set(list, self.problems)).unwrap_or_default();
        let Some(except) = node.get("except") else { return wanted };
        let left = wanted.minus(class_set(except, self.problems));
        if left.is_empty() && !wanted.is_empty() {
            let help = "leave fewer classes out, or remove what looks for none";
            self.error("P0112", except, "this `except` takes all of `classes` away", help);
            return left;
        }
        for item in except.items() {
            let Some(name) = item.text().filter(|name| is_known_class(name)) else { continue };
            if !wanted.is_empty() && wanted.intersection(ClassSet::of(name)).is_empty() {
                let message = format!("`{name}` is none of `classes`, so leaving it out changes nothing");
                let problem = Diagnostic::warning("P0224", &item.span, message);
                self.problems.push(problem.help("name one of the classes above, or remove it"));
            }
        }
        left
    }

    pub(super) fn confidence(node: &Node, default: Confidence) -> Confidence {
        match node.get("confidence").and_then(Node::text) {
            Some("low") => Confidence::Low,
            Some("medium") => Confidence::Medium,
            Some("high") => Confidence::High,
            _ => default,
        }
    }

    fn forbid(&mut self, node: &Node) -> Action {
        Action::Forbid(Forbid {
            classes: self.classes(node),
            undeclared: node.get("undeclared").and_then(Node::boolean).unwrap_or(false),
            confidence: Self::confidence(node, Confidence::High),
        })
    }

    fn limit(&mut self, node: &Node) -> Action {
        let number = |node: &Node, key: &str| {
            node.get(key).and_then(Node::integer).and_then(|number| u64::try_from(number).ok())
        };
        let rate = node.get("rate").and_then(|rate| {
            let amount = match (number(rate, "events"), number(rate, "bytes")) {
                (Some(events), None) => Amount::Events(events),
                (None, Some(bytes)) => Amount::Bytes(bytes),
                _ => {
                    let given = ["events", "bytes"].iter().filter(|key| rate.get(key).is_some()).count();
                    if given != 1 && matches!(rate.kind, NodeKind::Map(_)) {
                        let help = "give exactly one of them";
                        self.error("P0112", rate, "a rate counts events or bytes", help);
                    }
                    return None;
                }
            };
            let per = rate.get("per").and_then(Node::text).and_then(duration::parse)?;
            if per.is_zero() {
                let place = rate.get("per").unwrap_or(rate);
                self.error("P0107", place, "`per` is zero", "write 1s, 1m or 1h");
            }
            let burst = number(rate, "burst").and_then(|burst| u32::try_from(burst).ok()).unwrap_or(1);
            let key = rate.get("key").map(Node::items).unwrap_or_default();
            let key = key.iter().filter_map(|part| self.bucket_part(part)).collect();
            Some(Rate { amount, per, burst, key })
        });
        let wait = node.get("wait").and_then(Node::text).and_then(duration::parse).unwrap_or_default();
        let (event_bytes, data_bytes) = (number(node, "eventBytes"), number(node, "dataBytes"));
        if ["eventBytes", "dataBytes", "rate"].iter().all(|key| node.get(key).is_none()) {
            self.error("P0112", node, "nothing is limited", "give eventBytes, dataBytes or rate");
        }
        if let Some(place) = node.get("wait")
            && node.get("rate").is_none()
        {
            self.error(
                "P0112",
                place,
                "`wait` belongs to `rate`",
                "a large event does not shrink by waiting",
            );
        }
        Action::Limit(Limit { event_bytes, data_bytes, rate, wait })
    }

    fn bucket_part(&mut self, node: &Node) -> Option<BucketPart> {
        let text = node.text()?;
        let attribute = |name: &str| ZONE_ATTRIBUTES.into_iter().find(|known| *known == name);
        let part = match text.split_once('.') {
            None if text == "topic" => Some(BucketPart::Topic),
            None if text == "publisher" => Some(BucketPart::Publisher),
            Some(("from", name)) => attribute(name).map(BucketPart::From),
            Some(("to", name)) => attribute(name).map(BucketPart::To),
            Some(("event", name)) if is_attribute_name(name) => Some(BucketPart::Event(name.to_owned())),
            _ => None,
        };
        if part.is_none() {
            let help = "known: topic, publisher, event.<attribute>, from.zone, to.zone and the other zone attributes";
            self.error("P0113", node, format!("buckets cannot be keyed by `{text}`"), help);
        }
        part
    }
}

/// What the compiler of patterns says, without the pattern that it repeats.
fn reason(problem: &str) -> &str {
    let last = problem.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or(problem);
    last.strip_prefix("error: ").unwrap_or(last)
}
