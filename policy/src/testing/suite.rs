//! A test document, read.

use meshbridge_event::json::parse_structured;
use meshbridge_topic::Topic;
use regex::Regex;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::case::{Case, Origin};
use super::expect::{Expected, expected};
use crate::SourceFile;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::documents::{Kind, invariant};
use crate::federation::{Federation, ZoneIndex};
use crate::lower::Lowering;
use crate::model::{Context, Never};
use crate::schema::Schemas;
use crate::shape::check;
use crate::yaml::{Node, NodeKind, documents};

/// The least shares of rules that decide, and of weakened rules that are noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    pub rules: Option<f64>,
    pub mutants: Option<f64>,
}

/// A question to the leak proof, with the answer that is expected.
#[derive(Clone, Debug)]
pub struct ProofCase {
    pub origin: Origin,
    /// The name of an invariant, or else a question of its own.
    pub invariant: Option<String>,
    pub(crate) never: Option<Never>,
    pub expect: String,
}

/// One document of the kind PolicyTest.
#[derive(Debug)]
pub struct Suite {
    pub name: String,
    /// Directories and files of the policies, relative to the document.
    pub policies: Vec<String>,
    /// The federation document, where the test names one.
    pub federation: Option<String>,
    pub coverage: Coverage,
    pub(super) cases: Vec<(Origin, Case, Expected)>,
    pub proofs: Vec<ProofCase>,
}

impl Suite {
    /// Number of cases.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }
}

/// Where the policies and the federation of each test in a file are, without reading the cases: those need the
/// federation.
pub fn places(file: &SourceFile) -> Vec<(Option<String>, Vec<String>)> {
    let mut ignored = Diagnostics::default();
    let of = |document: &Node| {
        let spec = document.get("spec")?;
        let policies = spec.get("policies").map(Node::items).unwrap_or_default();
        let policies = policies.iter().filter_map(Node::text).map(str::to_owned).collect();
        Some((spec.get("federation").and_then(Node::text).map(str::to_owned), policies))
    };
    let all = documents(file, &mut ignored);
    all.iter().filter(|document| is_test(document)).filter_map(of).collect()
}

fn is_test(document: &Node) -> bool {
    document.get("kind").and_then(Node::text) == Some(Kind::PolicyTest.name())
}

/// Reads the tests of a file; every problem of every case is reported.
pub fn suites(file: &SourceFile, federation: &Federation) -> Result<Vec<Suite>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let schemas = Schemas::default();
    let mut suites = Vec::new();
    for document in documents(file, &mut problems).iter().filter(|document| is_test(document)) {
        check(document, super::shape(), &mut problems);
        let lowering = Lowering { federation, schemas: &schemas, problems: &mut problems };
        suites.extend(Reader { lowering }.suite(document));
    }
    problems.sort();
    if problems.has_errors() { Err(problems) } else { Ok(suites) }
}

struct Reader<'a> {
    lowering: Lowering<'a>,
}

impl Reader<'_> {
    fn error(&mut self, code: &'static str, node: &Node, message: impl Into<String>, help: &str) {
        self.lowering.error(code, node, message, help);
    }

    fn suite(&mut self, document: &Node) -> Option<Suite> {
        let name = document.get("metadata")?.get("name")?.text()?.to_owned();
        let spec = document.get("spec")?;
        let list = |key: &str| spec.get(key).map(Node::items).unwrap_or_default();
        let share = |key: &str| {
            spec.get("coverage").and_then(|coverage| coverage.get(key)).and_then(|node| match &node.kind {
                NodeKind::Integer(number) => Some(*number as f64),
                NodeKind::Decimal(text) => text.parse().ok(),
                _ => None,
            })
        };
        if spec.get("cases").is_none() && spec.get("proofs").is_none() {
            self.error("P0109", spec, "nothing is tested", "give `cases`, `proofs`, or both");
        }
        let now = spec.get("now").and_then(|node| self.time(node)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut cases = Vec::new();
        for node in list("cases") {
            cases.extend(self.case(node, spec, now));
        }
        let mut proofs = Vec::new();
        for node in list("proofs") {
            proofs.extend(self.proof(node));
        }
        Some(Suite {
            name,
            policies: list("policies").iter().filter_map(Node::text).map(str::to_owned).collect(),
            federation: spec.get("federation").and_then(Node::text).map(str::to_owned),
            coverage: Coverage { rules: share("rules"), mutants: share("mutants") },
            cases,
            proofs,
        })
    }

    fn proof(&mut self, node: &Node) -> Option<ProofCase> {
        let invariant = node.get("invariant").and_then(Node::text).map(str::to_owned);
        let never = node.get("never").map(|never| invariant::never(never, &mut self.lowering));
        if invariant.is_some() == never.is_some() {
            self.error("P0501", node, "a proof asks one question", "give `invariant` or `never`");
        }
        let name = invariant.clone().unwrap_or_else(|| "never".to_owned());
        let origin = Origin { name, span: node.span.clone() };
        Some(ProofCase { origin, invariant, never, expect: node.get("expect")?.text()?.to_owned() })
    }

    fn time(&mut self, node: &Node) -> Option<OffsetDateTime> {
        let time = OffsetDateTime::parse(node.text()?, &Rfc3339).ok();
        if time.is_none() {
            let help = "write it as \"2027-01-31T00:00:00Z\"";
            self.error("P0118", node, "this is no date and time of RFC 3339", help);
        }
        time
    }

    fn zone(&mut self, node: &Node) -> Option<ZoneIndex> {
        super::expect::zone(node, &mut self.lowering)
    }

    fn case(&mut self, node: &Node, spec: &Node, now: OffsetDateTime) -> Option<(Origin, Case, Expected)> {
        let name_node = node.get("name")?;
        let origin = Origin { name: name_node.text()?.to_owned(), span: name_node.span.clone() };
        let (from, to) = (self.zone(node.get("from")?), self.zone(node.get("to")?));
        let mut via = Vec::new();
        for zone in node.get("via").map(Node::items).unwrap_or_default() {
            via.extend(self.zone(zone));
        }
        let at = node.get("at").map(Node::items).unwrap_or_default();
        let at = at.iter().filter_map(|context| Context::parse(context.text()?)).collect();
        let topic_node = node.get("topic")?;
        let topic = match Topic::parse(topic_node.text()?) {
            Ok(topic) => Some(topic),
            Err(problem) => {
                self.error(
                    "P0114",
                    topic_node,
                    format!("this is no topic: {problem}"),
                    "write orders.created.v1",
                );
                None
            }
        };
        let now = match node.get("now") {
            Some(node) => self.time(node)?,
            None => now,
        };
        let event_node = node.get("event")?;
        let event = self.event(event_node, spec);
        let expected = expected(node.get("expect")?, &mut self.lowering);
        let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
        let hops = node.get("hops").and_then(Node::integer).and_then(|hops| u8::try_from(hops).ok());
        let case = Case {
            from: from?,
            to: to?,
            via,
            at,
            publisher: text("publisher"),
            subscriber: text("subscriber"),
            hops,
            now,
            topic: topic?,
            event: event?,
        };
        Some((origin, case, expected?))
    }

    fn event(&mut self, node: &Node, spec: &Node) -> Option<meshbridge_event::Event> {
        let mut value = match node.get("use") {
            Some(name) => {
                let text = name.text()?;
                let Some(base) = spec.get("events").and_then(|events| events.get(text)) else {
                    let help = "name one of `events`";
                    self.error("P0110", name, format!("there is no event `{text}`"), help);
                    return None;
                };
                for (key, _) in node.entries() {
                    if !matches!(key.text(), Some("use" | "with")) {
                        let help = "write the changes under `with`";
                        self.error(
                            "P0104",
                            key,
                            "an event that uses another has `use` and `with` only",
                            help,
                        );
                    }
                }
                json(base)
            }
            None => json(node),
        };
        if let Some(patch) = node.get("with") {
            merge(&mut value, &json(patch));
        }
        if let Value::Object(members) = &mut value
            && !members.contains_key("specversion")
        {
            members.insert("specversion".to_owned(), "1.0".into());
        }
        match parse_structured(value.to_string().as_bytes()) {
            Ok(event) => Some(event),
            Err(problem) => {
                let help =
                    "an event has id, source and type, and attributes of lower-case letters and digits";
                self.error("P0502", node, format!("this is no event: {}", problem.message), help);
                None
            }
        }
    }
}

/// The node as JSON, members in the order of the document.
pub(super) fn json(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Bool(value) => (*value).into(),
        NodeKind::Integer(number) => (*number).into(),
        NodeKind::Decimal(text) => text.parse::<f64>().map_or(Value::Null, Value::from),
        NodeKind::Text(text) => text.as_str().into(),
        NodeKind::List(items) => items.iter().map(json).collect(),
        NodeKind::Map(entries) => {
            let members =
                entries.iter().map(|(key, value)| (key.text().unwrap_or_default().to_owned(), json(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// JSON merge patch, RFC 7396.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// A regular expression of a test.
pub(super) fn regex(node: &Node, lowering: &mut Lowering<'_>) -> Option<Regex> {
    match Regex::new(node.text()?) {
        Ok(regex) => Some(regex),
        Err(problem) => {
            let line = problem.to_string().lines().last().unwrap_or_default().trim().to_owned();
            lowering
                .problems
                .push(Diagnostic::error("P0116", &node.span, "this is no regular expression").help(line));
            None
        }
    }
}
