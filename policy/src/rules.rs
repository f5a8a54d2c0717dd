//! The form of `kind: Policy`, as users write it. Keys of later versions stand here too, so that they are refused by
//! name.

use crate::shape::{Key, Shape};

static SELECTOR: Shape = Shape::Map(&[
    Key::optional("zones", &Shape::OneOrMany(&Shape::Name), "names of zones"),
    Key::optional("regions", &Shape::OneOrMany(&Shape::Name), "regions of zones"),
    Key::optional("clouds", &Shape::OneOrMany(&Shape::Name), "clouds of zones"),
    Key::optional("jurisdictions", &Shape::OneOrMany(&Shape::Text), "jurisdictions of zones"),
    Key::optional("labels", &Shape::Dict(&Shape::Text), "labels with their values"),
]);

static AT: Shape = Shape::OneOrMany(&Shape::OneOf(&["egress", "transit", "ingress"]));

static MATCH: Shape = Shape::Map(&[
    Key::required("topics", &Shape::OneOrMany(&Shape::Text), "topic filters, such as [\"orders.**\"]"),
    Key::optional("at", &AT, "where the rule is judged; the default depends on the action"),
    Key::optional("from", &SELECTOR, "zones the event comes from"),
    Key::optional("to", &SELECTOR, "zones the event goes to; in transit the carrying zone"),
    Key::optional(
        "same",
        &Shape::OneOrMany(&Shape::Text),
        "zone, region, cloud, jurisdiction or labels.<name>",
    ),
    Key::optional("event", &Shape::Dict(&Shape::Text), "CloudEvents attribute: pattern with *"),
    Key::later("publisher"),
    Key::later("subscriber"),
    Key::later("links"),
    Key::later("when"),
]);

static EXCEPT: Shape = Shape::Map(&[
    Key::optional("topics", &Shape::OneOrMany(&Shape::Text), "topic filters"),
    Key::optional("at", &AT, "where the exception holds"),
    Key::optional("from", &SELECTOR, "zones the event comes from"),
    Key::optional("to", &SELECTOR, "zones the event goes to"),
    Key::optional("same", &Shape::OneOrMany(&Shape::Text), "attributes both zones agree on"),
    Key::optional("event", &Shape::Dict(&Shape::Text), "CloudEvents attribute: pattern with *"),
    Key::later("publisher"),
    Key::later("subscriber"),
    Key::later("links"),
    Key::later("when"),
]);

static ATTRIBUTE: Shape = Shape::Map(&[
    Key::optional("presence", &Shape::OneOf(&["required", "optional", "absent"]), "required by default"),
    Key::optional(
        "format",
        &Shape::OneOf(&["w3c-traceparent", "rfc3339", "uri", "uri-reference", "uuid", "media-type"]),
        "the value has this format",
    ),
    Key::optional("pattern", &Shape::Text, "the value matches this regular expression"),
    Key::optional("enum", &Shape::List { of: &Shape::Text, non_empty: true }, "the value is one of these"),
]);

static REQUIRE: Shape = Shape::Map(&[
    Key::required("attributes", &Shape::Dict(&ATTRIBUTE), "name: {presence, format, pattern, enum}"),
    Key::later("hops"),
]);

/// What may be looked for; a family covers its members.
pub(crate) static CLASSES: [&str; 7] =
    ["*", "contact", "contact.email", "contact.phone", "payment", "payment.card", "payment.iban"];

static CLASS: Shape = Shape::OneOf(&CLASSES);

static KEEP: Shape = Shape::Map(&[
    Key::optional("first", &Shape::Integer { min: 0, max: 64 }, "characters kept at the start"),
    Key::optional("last", &Shape::Integer { min: 0, max: 64 }, "characters kept at the end"),
]);

static PROTECTION: Shape = Shape::Map(&[
    Key::optional("classes", &Shape::OneOrMany(&CLASS), "classes of personal data that are looked for"),
    Key::optional("except", &Shape::OneOrMany(&CLASS), "classes that are left out"),
    Key::optional("fields", &Shape::OneOrMany(&Shape::Text), "paths, such as $.data.customer.email"),
    Key::required(
        "as",
        &Shape::OneOf(&["drop", "redact", "mask", "hash"]),
        "one of drop, redact, mask, hash",
    ),
    Key::optional("keep", &KEEP, "with mask: {first, last}"),
    Key::later("key"),
    Key::later("scope"),
    Key::later("to"),
    Key::later("undeclared"),
    Key::later("confidence"),
    Key::later("signatures"),
]);

static DISPOSITION: Shape = Shape::OneOf(&["reject", "dead-letter"]);

static RULE: Shape = Shape::Map(&[
    Key::required("name", &Shape::Name, "the name of the rule, unique in the policy"),
    Key::required("match", &MATCH, "what the rule is about, at least match: {topics: [\"**\"]}"),
    Key::optional("except", &EXCEPT, "what the rule is not about"),
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::optional("mode", &Shape::OneOf(&["enforce"]), "enforce; warn and shadow come later"),
    Key::optional("permit", &Shape::Empty, "lets the event cross"),
    Key::optional("deny", &Shape::Empty, "stops the event"),
    Key::optional("require", &REQUIRE, "attributes the event must have"),
    Key::optional(
        "protect",
        &Shape::List { of: &PROTECTION, non_empty: true },
        "what is removed or made unreadable",
    ),
    Key::optional("onViolation", &DISPOSITION, "what becomes of an event that is stopped"),
    Key::optional("onError", &DISPOSITION, "what becomes of an event that cannot be judged"),
    Key::optional(
        "message",
        &Shape::Text,
        "shown with the verdict; ${topic}, ${event.id}, ${from.zone} and others",
    ),
    Key::optional("help", &Shape::Text, "what the publisher can do"),
    Key::later("residency"),
    Key::later("validate"),
    Key::later("structure"),
    Key::later("forbid"),
    Key::later("limit"),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::required("rules", &Shape::List { of: &RULE, non_empty: true }, "the rules"),
]);

static METADATA: Shape = Shape::Map(&[
    Key::required("name", &Shape::Name, "the name of the policy, unique in the federation"),
    Key::required("layer", &Shape::Text, "federation, or region/eu, zone/cn-1 and the like"),
    Key::optional("owner", &Shape::Text, "who answers for the policy"),
]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Policy"]), "write kind: Policy"),
    Key::required("metadata", &METADATA, "write metadata: {name: …, layer: federation}"),
    Key::required("spec", &SPEC, "write spec: {rules: […]}"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}
