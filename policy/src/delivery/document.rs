//! The form of `kind: Delivery`, and from nodes of that form to entries.

use meshbridge_topic::TopicFilter;

use super::{DeliveryClass, Entry, OnDestinationFull, Retain, Said, TopicDelivery};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::federation::Federation;
use crate::lower::{canonical, lower_layer};
use crate::model::Layer;
use crate::shape::{Key, Shape};
use crate::yaml::Node;

static TOPIC: Shape = Shape::Map(&[
    Key::required("match", &Shape::OneOrMany(&Shape::Text), "topic filters, such as \"payments.**\""),
    Key::required(
        "class",
        &Shape::OneOf(&["durable", "best-effort"]),
        "durable: on disk before the publisher is answered; best-effort: in memory, may be dropped",
    ),
    Key::optional(
        "retain",
        &Shape::OneOf(&["stored", "delivered"]),
        "how long the origin keeps the event: until its destinations stored it (default) or delivered it",
    ),
    Key::optional(
        "order",
        &Shape::OneOf(&["lane"]),
        "lane, the default: kept per topic and partition key; never to break it comes later",
    ),
    Key::optional(
        "onDestinationFull",
        &Shape::OneOf(&["refuse", "dead-letter"]),
        "a full destination refuses the publication (default), or gets the event as a dead letter",
    ),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::required("topics", &Shape::List { of: &TOPIC, non_empty: true }, "[{match, class, …}]"),
]);

static METADATA: Shape = Shape::Map(&[
    Key::required("name", &Shape::Name, "the name of the document, unique among its kind"),
    Key::required("layer", &Shape::Text, "federation, or region/eu, zone/cn-1 and the like"),
    Key::optional("owner", &Shape::Text, "who answers for it"),
]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Delivery"]), "write kind: Delivery"),
    Key::required("metadata", &METADATA, "write metadata: {name: …, layer: federation}"),
    Key::required("spec", &SPEC, "write spec: {topics: […]}"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}

/// Lowers one document; collects every problem on the way.
pub(crate) fn lower(document: &Node, federation: &Federation, problems: &mut Diagnostics) -> Vec<Entry> {
    let metadata = document.get("metadata");
    let Some(layer) = metadata.and_then(|metadata| metadata.get("layer")) else { return Vec::new() };
    let Some(layer) = lower_layer(layer, federation, problems) else { return Vec::new() };
    let name = metadata.and_then(|metadata| metadata.get("name")).and_then(Node::text).unwrap_or_default();
    let topics = document.get("spec").and_then(|spec| spec.get("topics")).map(Node::items);
    topics.unwrap_or_default().iter().map(|node| entry(node, name, &layer, problems)).collect()
}

fn entry(node: &Node, document: &str, layer: &Layer, problems: &mut Diagnostics) -> Entry {
    let text = |key: &str| node.get(key).and_then(Node::text);
    let class = text("class").and_then(|text| match text {
        "best-effort" => Some(DeliveryClass::BestEffort),
        "durable" => Some(DeliveryClass::Durable),
        _ => None,
    });
    let retain = text("retain").and_then(|text| match text {
        "stored" => Some(Retain::Stored),
        "delivered" => Some(Retain::Delivered),
        _ => None,
    });
    let on_destination_full = text("onDestinationFull").and_then(|text| match text {
        "dead-letter" => Some(OnDestinationFull::DeadLetter),
        "refuse" => Some(OnDestinationFull::Refuse),
        _ => None,
    });
    if class == Some(DeliveryClass::BestEffort) {
        for (key, _) in node.entries() {
            if let Some(name @ ("retain" | "order" | "onDestinationFull")) = key.text() {
                let message = format!("best-effort keeps nothing, so `{name}` has no effect");
                let help = format!("remove `{name}`, or write class: durable");
                problems.push(Diagnostic::error("P0117", &key.span, message).help(help));
            }
        }
    }
    if layer.depth > 0 {
        let default = TopicDelivery::default();
        let loosens = [
            ("class", class.is_some_and(|class| class < default.class)),
            ("retain", retain.is_some_and(|retain| retain < default.retain)),
            ("onDestinationFull", on_destination_full.is_some_and(|full| full < default.on_destination_full)),
        ];
        for (key, _) in loosens.into_iter().filter(|(_, loosens)| *loosens) {
            let Some(value) = node.get(key) else { continue };
            let problem = Diagnostic::error("P0205", &value.span, "this can never take effect")
                .label(format!("{} cannot loosen how a topic is delivered", layer.name()))
                .help("write it in a document of the layer federation, or remove this entry");
            problems.push(problem);
        }
    }
    Entry {
        layer: layer.clone(),
        filters: filters(node, problems),
        said: Said { class, retain, on_destination_full },
        span: node.span.clone(),
        canonical: format!("{document}{}", canonical(node)),
    }
}

fn filters(node: &Node, problems: &mut Diagnostics) -> Vec<TopicFilter> {
    let Some(node) = node.get("match") else { return Vec::new() };
    if node.items().is_empty() {
        let problem = Diagnostic::error("P0107", &node.span, "the list of topics is empty");
        problems.push(problem.help("write \"**\" for every topic"));
    }
    let mut filters = Vec::new();
    for item in node.items() {
        let Some(text) = item.text() else { continue };
        match TopicFilter::parse(text) {
            Ok(filter) => filters.push(filter),
            Err(problem) => {
                let message = format!("`{text}` is no topic filter: {problem}");
                let problem = Diagnostic::error("P0114", &item.span, message);
                problems.push(problem.help("tokens between dots; `*` is one token, `**` any number"));
            }
        }
    }
    filters
}
