//! What a case expects, and how what came differs from it.

use meshbridge_detect::tape::TapeBuffer;
use meshbridge_event::Event;
use regex::Regex;
use serde_json::Value;

use super::crossing::Crossing;
use super::run::Mismatch;
use super::suite::{json, regex};
use crate::decision::RuleRef;
use crate::documents;
use crate::engine::json_of;
use crate::federation::{Federation, ZoneIndex};
use crate::link::ZoneLink;
use crate::lower::Lowering;
use crate::path::Path;
use crate::protect::Numbering;
use crate::testing::search;
use crate::yaml::{Node, NodeKind};

#[derive(Debug)]
pub(crate) struct Expected {
    verdict: String,
    by: Option<String>,
    also_by: Vec<String>,
    hits: Vec<String>,
    not_hit: Vec<String>,
    warned: Vec<String>,
    shadowed: Vec<String>,
    waived_by: Vec<String>,
    carriers: Option<Vec<ZoneIndex>>,
    denied_links: Option<Vec<ZoneLink>>,
    fields: Vec<(Path, FieldExpected)>,
    absent: Vec<String>,
    unchanged: bool,
    message_contains: Option<String>,
}

#[derive(Debug, Default)]
struct FieldExpected {
    equals: Option<Value>,
    matches: Option<Regex>,
    present: Option<bool>,
}

impl Expected {
    /// Names of what stops an event: rules, layers that do not permit, obligations.
    pub(super) fn stopping(&self) -> impl Iterator<Item = &str> {
        self.also_by.iter().chain(&self.by).map(String::as_str)
    }

    /// Names of rules that apply or do not.
    pub(super) fn applying(&self) -> impl Iterator<Item = &str> {
        let lists = [&self.hits, &self.not_hit, &self.warned, &self.shadowed];
        lists.into_iter().flatten().map(String::as_str)
    }

    fn asks_of_what_arrives(&self) -> bool {
        !self.fields.is_empty() || !self.absent.is_empty() || self.unchanged
    }

    pub(super) fn waivers(&self) -> impl Iterator<Item = &str> {
        self.waived_by.iter().map(String::as_str)
    }

    /// Whether the case is about what no rule says.
    pub(super) fn expects_default_deny(&self) -> bool {
        self.by.as_ref().is_some_and(|by| by.starts_with("default-deny@"))
    }
}

pub(super) fn expected(node: &Node, lowering: &mut Lowering<'_>) -> Option<Expected> {
    let texts = |key: &str| -> Vec<String> {
        node.get(key)
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect()
    };
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let mut fields = Vec::new();
    for (path, wanted) in node.get("fields").map(Node::entries).unwrap_or_default() {
        if let Some(path) = documents::path(path, lowering.problems) {
            fields.push((path, field(wanted, lowering)));
        }
    }
    let carriers = node
        .get("carriers")
        .map(|list| list.items().iter().filter_map(|zone| self::zone(zone, lowering)).collect());
    let denied_links = node.get("deniedLinks").map(|list| {
        let items = list.items().iter();
        items.filter_map(|item| lowering.link(item, item.text()?)).collect()
    });
    only_of_what_arrives(node, lowering);
    Some(Expected {
        verdict: text("verdict")?,
        by: text("by"),
        also_by: texts("alsoBy"),
        hits: texts("hits"),
        not_hit: texts("notHit"),
        warned: texts("warned"),
        shadowed: texts("shadowed"),
        waived_by: texts("waivedBy"),
        carriers,
        denied_links,
        fields,
        absent: texts("absent"),
        unchanged: node.get("unchanged").and_then(Node::boolean).unwrap_or(false),
        message_contains: text("messageContains"),
    })
}

/// A zone of the federation; another name is reported.
pub(super) fn zone(node: &Node, lowering: &mut Lowering<'_>) -> Option<ZoneIndex> {
    let name = node.text()?;
    let zone = lowering.federation.zone(name);
    if zone.is_none() {
        let help = "its zones are in the federation document";
        lowering.error("P0110", node, format!("there is no zone `{name}`"), help);
    }
    zone
}

/// Of an event that does not arrive nothing can be expected: whatever is said of it would hold.
fn only_of_what_arrives(node: &Node, lowering: &mut Lowering<'_>) {
    let Some(verdict) = node.get("verdict").and_then(Node::text).filter(|verdict| *verdict != "forward")
    else {
        return;
    };
    for key in ["fields", "absent", "unchanged"] {
        if let Some(place) = node.get(key) {
            let message = format!("`{key}` is about what arrives, and of `{verdict}` nothing does");
            lowering.error("P0112", place, message, "remove it, or expect verdict: forward");
        }
    }
}

fn field(node: &Node, lowering: &mut Lowering<'_>) -> FieldExpected {
    if matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty()) {
        let help = "give `equals`, `matches` or `present`";
        lowering.error("P0112", node, "nothing is expected of this field", help);
    }
    FieldExpected {
        equals: node.get("equals").map(json),
        matches: node.get("matches").and_then(|pattern| regex(pattern, lowering)),
        present: node.get("present").and_then(Node::boolean),
    }
}

/// Everything in which the crossing is not as expected.
pub(super) fn mismatches(
    expected: &Expected,
    crossing: &Crossing,
    sent: &Event,
    federation: &Federation,
) -> Vec<Mismatch> {
    let mut all = Vec::new();
    let mut differs = |what: &str, wanted: String, came: String| {
        all.push(Mismatch { what: what.to_owned(), expected: wanted, came });
    };
    if crossing.verdict() != expected.verdict {
        let by = crossing.by().map(|rule| format!(" by {rule}")).unwrap_or_default();
        differs("verdict", expected.verdict.clone(), format!("{}{by}", crossing.verdict()));
    }
    if let Some(by) = &expected.by
        && crossing.by().map(RuleRef::id) != Some(by)
    {
        differs("by", by.clone(), crossing.by().map_or("nobody", RuleRef::id).to_owned());
    }
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let also: Vec<&str> = crossing
        .stopped()
        .map(|stopped| stopped.also_by.iter().map(RuleRef::id).collect())
        .unwrap_or_default();
    let of = |pick: fn(&crate::decision::Report) -> &Vec<RuleRef>| -> Vec<&str> {
        let mut names: Vec<&str> =
            crossing.reports().flat_map(|report| pick(report).iter().map(RuleRef::id)).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let (hits, warned, shadowed) = (of(|r| &r.hits), of(|r| &r.warned), of(|r| &r.shadowed));
    let waivers: Vec<&str> = crossing.waivers().map(AsRef::as_ref).collect();
    for (what, wanted, came) in [
        ("alsoBy", &expected.also_by, &also),
        ("hits", &expected.hits, &hits),
        ("warned", &expected.warned, &warned),
        ("shadowed", &expected.shadowed, &shadowed),
        ("waivedBy", &expected.waived_by, &waivers),
    ] {
        for name in wanted.iter().filter(|name| !came.contains(&name.as_str())) {
            differs(what, name.clone(), list(came));
        }
    }
    for name in expected.not_hit.iter().filter(|name| hits.contains(&name.as_str())) {
        differs("notHit", format!("not {name}"), list(&hits));
    }
    if let Some(wanted) = &expected.carriers {
        let name = |zone: &ZoneIndex| federation.zone_name(*zone);
        let mut wanted: Vec<&str> = wanted.iter().map(name).collect();
        let came: Vec<ZoneIndex> = crossing.carriers.iter().flat_map(|set| set.iter()).collect();
        let mut came: Vec<&str> = came.iter().map(name).collect();
        wanted.sort_unstable();
        came.sort_unstable();
        if crossing.carriers.is_none() {
            differs("carriers", list(&wanted), "not asked, for nothing left egress".to_owned());
        } else if wanted != came {
            differs("carriers", list(&wanted), list(&came));
        }
    }
    if let Some(wanted) = &expected.denied_links {
        let names = |links: &mut dyn Iterator<Item = ZoneLink>| {
            let mut names: Vec<String> = links.map(|link| link.name(federation)).collect();
            names.sort_unstable();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let wanted = names(&mut wanted.iter().copied());
        match &crossing.denied_links {
            None => differs("deniedLinks", wanted, "not asked, for nothing left egress".to_owned()),
            Some(came) => {
                let came = names(&mut came.iter());
                if wanted != came {
                    differs("deniedLinks", wanted, came);
                }
            }
        }
    }
    if let Some(part) = &expected.message_contains {
        let message = crossing.stopped().and_then(|stopped| stopped.message.as_deref()).unwrap_or_default();
        if !message.contains(part) {
            differs("messageContains", part.clone(), message.to_owned());
        }
    }
    match &crossing.arrived {
        Some(arrived) => arrival(expected, arrived, sent, &mut differs),
        None if expected.asks_of_what_arrives() => {
            differs("event", "an event that arrives".to_owned(), "none".to_owned());
        }
        None => {}
    }
    all
}

fn arrival(
    expected: &Expected,
    arrived: &Event,
    sent: &Event,
    differs: &mut impl FnMut(&str, String, String),
) {
    if expected.unchanged && arrived.encoded() != sent.encoded() {
        differs("unchanged", "the bytes that were sent".to_owned(), "other bytes".to_owned());
    }
    for (path, wanted) in &expected.fields {
        let values = values_at(arrived, path);
        let what = format!("fields {path}");
        if let Some(present) = wanted.present
            && present == values.is_empty()
        {
            let words = |there: bool| if there { "a value" } else { "no value" }.to_owned();
            differs(&what, words(present), words(!values.is_empty()));
        }
        let shown = || values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Some(equals) = &wanted.equals
            && (values.is_empty() || values.iter().any(|value| value != equals))
        {
            differs(&what, equals.to_string(), shown());
        }
        if let Some(pattern) = &wanted.matches {
            let good = |value: &Value| match value {
                Value::String(text) => pattern.is_match(text),
                other => pattern.is_match(&other.to_string()),
            };
            if values.is_empty() || !values.iter().all(good) {
                differs(&what, format!("a match of {pattern}"), shown());
            }
        }
    }
    for text in &expected.absent {
        if let Some(place) = search::find(arrived, text) {
            differs("absent", format!("{text:?} nowhere"), format!("found in {place}"));
        }
    }
}

fn values_at(event: &Event, path: &Path) -> Vec<Value> {
    if let Some(name) = path.attribute() {
        let text = crate::model::attribute_text(event, name);
        return text.map(|text| Value::from(text.into_owned())).into_iter().collect();
    }
    let Some(text) = json_of(event) else { return Vec::new() };
    let mut buffer = TapeBuffer::new();
    let Ok(tape) = buffer.parse(text) else { return Vec::new() };
    let mut nodes = Vec::new();
    path.resolve(&tape, &Numbering::default(), &mut nodes);
    nodes.into_iter().filter_map(|node| serde_json::from_str(tape.raw(node)).ok()).collect()
}
