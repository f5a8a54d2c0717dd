//! `kind: Classification`: what topics are known to hold, and which obligations of events are met.

use crate::classes::{class_set, one_class};
use crate::diagnostics::Diagnostics;
use crate::documents::policy::METADATA;
use crate::documents::{self, filters, heading};
use crate::federation::Federation;
use crate::lower::canonical;
use crate::model::{Classification, Classified};
use crate::shape::{Key, Shape};
use crate::yaml::Node;

static VALUES: Shape = Shape::List { of: &Shape::Text, non_empty: false };

static ATTRIBUTES: Shape = Shape::Map(&[
    Key::optional("dataclassification", &VALUES, "values whose obligations these policies meet"),
    Key::optional("dataregulation", &VALUES, "regulations that these policies meet"),
    Key::optional("datacategory", &VALUES, "categories of data that these policies know"),
]);

static TOPIC: Shape = Shape::Map(&[
    Key::required("match", &Shape::OneOrMany(&Shape::Text), "topic filters, such as \"payments.**\""),
    Key::optional("fields", &Shape::Dict(&Shape::Text), "path: class; the value there is of that class"),
    Key::optional("mayHold", &Shape::OneOrMany(&Shape::Text), "classes that are somewhere in the event"),
    Key::optional(
        "opaque",
        &Shape::List { of: &Shape::Text, non_empty: false },
        "classes that data hold which are not JSON; [] for none",
    ),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::optional("attributes", &ATTRIBUTES, "values of the data classification attributes that are met"),
    Key::optional(
        "topics",
        &Shape::List { of: &TOPIC, non_empty: false },
        "[{match, fields, mayHold, opaque}]",
    ),
]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Classification"]), "write kind: Classification"),
    Key::required("metadata", &METADATA, "write metadata: {name: …, layer: federation}"),
    Key::required("spec", &SPEC, "write spec: {topics: […]}"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}

pub(crate) fn lower(
    document: &Node,
    federation: &Federation,
    problems: &mut Diagnostics,
) -> Option<Classification> {
    let heading = heading(document, federation, problems)?;
    let spec = document.get("spec")?;
    let texts = |node: &Node| node.items().iter().filter_map(Node::text).map(str::to_owned).collect();
    let attributes = spec.get("attributes").map(Node::entries).unwrap_or_default();
    let attributes = attributes
        .iter()
        .filter_map(|(name, values)| Some((name.text()?.to_owned(), texts(values))))
        .collect();
    let topics = spec.get("topics").map(Node::items).unwrap_or_default();
    let topics = topics.iter().map(|node| classified(node, problems)).collect();
    Some(Classification {
        name: heading.name,
        layer: heading.layer,
        attributes,
        topics,
        canonical: canonical(document),
    })
}

fn classified(node: &Node, problems: &mut Diagnostics) -> Classified {
    let mut fields = Vec::new();
    for (path, class) in node.get("fields").map(Node::entries).unwrap_or_default() {
        let class = one_class(class, problems);
        fields.extend(documents::path(path, problems).zip(class));
    }
    Classified {
        filters: node.get("match").map(|node| filters(node, problems)).unwrap_or_default(),
        fields,
        may_hold: node.get("mayHold").map(|node| class_set(node, problems)).unwrap_or_default(),
        opaque: node.get("opaque").map(|node| class_set(node, problems)),
        span: node.span.clone(),
    }
}
