//! `kind: Invariant`: what must be provable (POLICY §9).

use crate::documents::heading;
use crate::documents::policy::{METADATA, SELECTOR};
use crate::lower::{Lowering, canonical};
use crate::model::{Context, Disclosure, Invariant, Match, Never};
use crate::shape::{Key, Shape};
use crate::yaml::Node;

static PLACE: Shape = Shape::Map(&[
    Key::optional("topics", &Shape::OneOrMany(&Shape::Text), "topic filters; every topic where left out"),
    Key::optional("from", &SELECTOR, "zones where the value begins"),
    Key::optional("to", &SELECTOR, "zones that must not see it"),
    Key::optional("same", &Shape::AtLeastOne(&Shape::Text), "attributes on which both zones agree"),
]);

pub(crate) static NEVER: Shape = Shape::Map(&[
    Key::required("classes", &Shape::AtLeastOne(&Shape::Text), "classes of personal data, families, or *"),
    Key::required(
        "discloses",
        &Shape::AtLeastOne(&Shape::OneOf(&["value", "partial", "link", "type"])),
        "what must not be seen of them",
    ),
    Key::optional("match", &PLACE, "topics and zones the question is about"),
    Key::optional("except", &PLACE, "where it may be seen"),
    Key::optional(
        "at",
        &Shape::OneOf(&["egress", "deliver"]),
        "deliver asks what subscribers get; egress by default",
    ),
    Key::optional(
        "relay",
        &Shape::Bool,
        "whether zones may publish again what they received; true by default",
    ),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::required("never", &NEVER, "write never: {classes: […], discloses: [value]}"),
    Key::optional("onUnproven", &Shape::OneOf(&["fail", "warn"]), "fail, the default, refuses the policies"),
]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Invariant"]), "write kind: Invariant"),
    Key::required("metadata", &METADATA, "write metadata: {name: …, layer: federation}"),
    Key::required("spec", &SPEC, "write spec: {never: …}"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}

pub(crate) fn lower(document: &Node, lowering: &mut Lowering<'_>) -> Option<Invariant> {
    let heading = heading(document, lowering.federation, lowering.problems)?;
    let spec = document.get("spec")?;
    Some(Invariant {
        name: heading.name,
        layer: heading.layer,
        span: document.get("metadata")?.get("name").unwrap_or(document).span.clone(),
        never: never(spec.get("never")?, lowering),
        must_hold: spec.get("onUnproven").and_then(Node::text) != Some("warn"),
        canonical: canonical(document),
    })
}

/// A question, also as it stands under `proofs` of a test.
pub(crate) fn never(node: &Node, lowering: &mut Lowering<'_>) -> Never {
    let every = Context::ALL.iter().fold(0, |bits, context| bits | context.bit());
    let classes = node.get("classes").map(Node::items).unwrap_or_default();
    for class in classes {
        crate::classes::check_family(class, lowering.problems);
    }
    let matcher = node.get("match").map(|place| lowering.matcher(place, every));
    let discloses = node.get("discloses").map(Node::items).unwrap_or_default();
    Never {
        classes: classes.iter().filter_map(Node::text).map(str::to_owned).collect(),
        discloses: discloses.iter().filter_map(|item| Disclosure::parse(item.text()?)).collect(),
        matcher: matcher.unwrap_or_else(|| Match { at: every, ..Match::default() }),
        except: node.get("except").map(|place| lowering.matcher(place, every)),
        at_deliver: node.get("at").and_then(Node::text) == Some("deliver"),
        relay: node.get("relay").and_then(Node::boolean).unwrap_or(true),
    }
}
