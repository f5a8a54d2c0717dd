//! The form of `kind: Policy`, as users write it.

use crate::shape::{Key, Shape};

pub(crate) static SELECTOR: Shape = Shape::Map(&[
    Key::optional("zones", &Shape::AtLeastOne(&Shape::Name), "names of zones"),
    Key::optional("regions", &Shape::AtLeastOne(&Shape::Name), "regions of zones"),
    Key::optional("clouds", &Shape::AtLeastOne(&Shape::Name), "clouds of zones"),
    Key::optional("jurisdictions", &Shape::AtLeastOne(&Shape::Text), "jurisdictions of zones"),
    Key::optional("labels", &Shape::Dict(&Shape::Text), "labels with their values"),
]);

static AT: Shape = Shape::AtLeastOne(&Shape::OneOf(&[
    "publish",
    "egress",
    "transit",
    "ingress",
    "deliver",
    "subscribe",
    "interest",
]));

static GLOBS: Shape = Shape::AtLeastOne(&Shape::Text);

pub(crate) static MATCH: Shape = Shape::Map(&[
    Key::required("topics", &Shape::OneOrMany(&Shape::Text), "topic filters, such as [\"orders.**\"]"),
    Key::optional("at", &AT, "where the rule is judged; the default depends on the action"),
    Key::optional("from", &SELECTOR, "zones the event comes from"),
    Key::optional("to", &SELECTOR, "zones the event goes to; in transit the carrying zone"),
    Key::optional(
        "same",
        &Shape::AtLeastOne(&Shape::Text),
        "zone, region, cloud, jurisdiction or labels.<name>",
    ),
    Key::optional("event", &Shape::Dict(&GLOBS), "CloudEvents attribute: pattern with *"),
    Key::optional("publisher", &GLOBS, "who published it, with *; only at publish and egress"),
    Key::optional("subscriber", &GLOBS, "who would get it, with *; only at deliver and subscribe"),
    Key::optional(
        "links",
        &Shape::AtLeastOne(&Shape::ZonePair),
        "links between two zones, such as [\"eu-1/us-1\"], both ways; only in deny",
    ),
    Key::optional("when", &Shape::Text, "a condition in CEL, such as event.data.?amount.orValue(0.0) > 10.0"),
]);

static EXCEPT: Shape = Shape::Map(&[
    Key::optional("topics", &Shape::OneOrMany(&Shape::Text), "topic filters"),
    Key::optional("at", &AT, "where the exception holds"),
    Key::optional("from", &SELECTOR, "zones the event comes from"),
    Key::optional("to", &SELECTOR, "zones the event goes to"),
    Key::optional("same", &Shape::AtLeastOne(&Shape::Text), "attributes both zones agree on"),
    Key::optional("event", &Shape::Dict(&GLOBS), "CloudEvents attribute: pattern with *"),
    Key::optional("publisher", &GLOBS, "who published it, with *; only at publish and egress"),
    Key::optional("subscriber", &GLOBS, "who would get it, with *; only at deliver and subscribe"),
    Key::optional(
        "links",
        &Shape::AtLeastOne(&Shape::ZonePair),
        "links of `match` that the exception is for; all of them where left out",
    ),
    Key::optional("when", &Shape::Text, "a condition in CEL, such as event.data.?amount.orValue(0.0) > 10.0"),
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

static HOPS: Shape =
    Shape::Map(&[Key::required("max", &Shape::Integer { min: 1, max: 255 }, "the largest number of hops")]);

static REQUIRE: Shape = Shape::Map(&[
    Key::optional("attributes", &Shape::Dict(&ATTRIBUTE), "name: {presence, format, pattern, enum}"),
    Key::optional("hops", &HOPS, "how many bridges it may have crossed: {max: 4}"),
]);

/// A class of personal data, a family of them, or `*`; which ones there are is the detectors' to say.
static CLASSES: Shape = Shape::AtLeastOne(&Shape::Text);

static CONFIDENCE: Shape = Shape::OneOf(&["low", "medium", "high"]);

static KEEP: Shape = Shape::Map(&[
    Key::optional("first", &Shape::Integer { min: 0, max: 64 }, "characters kept at the start"),
    Key::optional("last", &Shape::Integer { min: 0, max: 64 }, "characters kept at the end"),
]);

static PROTECTION: Shape = Shape::Map(&[
    Key::optional("classes", &CLASSES, "classes of personal data that are looked for"),
    Key::optional("except", &CLASSES, "classes that are left out"),
    Key::optional("fields", &Shape::AtLeastOne(&Shape::Text), "paths, such as $.data.customer.email"),
    Key::required(
        "as",
        &Shape::OneOf(&["drop", "redact", "mask", "hash", "pseudonymise", "encrypt", "generalise"]),
        "one of drop, redact, mask, hash, pseudonymise, encrypt, generalise",
    ),
    Key::optional("keep", &KEEP, "with mask: {first, last}"),
    Key::optional("key", &Shape::Name, "with pseudonymise and encrypt: a key of the federation document"),
    Key::optional(
        "scope",
        &Shape::OneOf(&["destination", "topic", "destination+topic", "federation"]),
        "with pseudonymise: within what equal values get equal tokens; destination by default",
    ),
    Key::optional(
        "to",
        &Shape::TextOrInteger,
        "with generalise: year, month, network, degree, tenth, country, 1000, 100 or 10",
    ),
    Key::optional("undeclared", &Shape::Bool, "only what the Classification does not list for the topic"),
    Key::optional("confidence", &CONFIDENCE, "how sure a detector must be; medium by default"),
    Key::optional(
        "signatures",
        &Shape::OneOf(&["remove", "error"]),
        "what becomes of attributes that sign the data when it is edited; removed by default",
    ),
]);

static RESIDENCY: Shape = Shape::Map(&[
    Key::required("allow", &Shape::AtLeastOne(&SELECTOR), "zones it may go to"),
    Key::optional(
        "transit",
        &Shape::AtLeastOne(&SELECTOR),
        "zones that may carry it; as `allow` where left out",
    ),
]);

static SCHEMA: Shape = Shape::Map(&[
    Key::optional("file", &Shape::Text, "a JSON Schema among the policies, relative to this file"),
    Key::optional("ref", &Shape::Text, "the name of a schema of the bundle; with sha256"),
    Key::optional("sha256", &Shape::Text, "the digest of the schema that `ref` names, in hex"),
]);

static CHECK: Shape = Shape::Map(&[
    Key::required("cel", &Shape::Text, "a condition that must be true"),
    Key::optional("message", &Shape::Text, "shown where it is not"),
]);

static VALIDATE: Shape = Shape::Map(&[
    Key::optional("schema", &SCHEMA, "{file: …}, or {ref: …, sha256: …}"),
    Key::optional("checks", &Shape::List { of: &CHECK, non_empty: true }, "[{cel, message}]"),
]);

static SEGMENT: Shape = Shape::Map(&[
    Key::required("name", &Shape::Text, "what the segment is called in messages and in typePrefix"),
    Key::optional("enum", &Shape::List { of: &Shape::Text, non_empty: true }, "the segment is one of these"),
    Key::optional("pattern", &Shape::Text, "the segment matches this regular expression"),
]);

static STRUCTURE: Shape = Shape::Map(&[
    Key::optional(
        "segments",
        &Shape::List { of: &SEGMENT, non_empty: true },
        "the tokens of the topic in order",
    ),
    Key::optional("more", &Shape::Bool, "whether further tokens may follow"),
    Key::optional("typePrefix", &Shape::Text, "how the type begins, such as com.acme.${domain}."),
]);

static FORBID: Shape = Shape::Map(&[
    Key::required("classes", &CLASSES, "classes of personal data that must not be there"),
    Key::optional("except", &CLASSES, "classes that are left out"),
    Key::optional("undeclared", &Shape::Bool, "only what the Classification does not list for the topic"),
    Key::optional("confidence", &CONFIDENCE, "how sure a detector must be; high by default"),
]);

static RATE: Shape = Shape::Map(&[
    Key::optional("events", &Shape::Integer { min: 1, max: 1_000_000_000 }, "events in each `per`"),
    Key::optional("bytes", &Shape::Integer { min: 1, max: 1 << 40 }, "bytes in each `per`"),
    Key::required("per", &Shape::Duration, "such as 1s, 1m, 1h"),
    Key::optional(
        "burst",
        &Shape::Integer { min: 1, max: 1_000 },
        "multiple of the rate that may come at once; 1",
    ),
    Key::optional(
        "key",
        &Shape::AtLeastOne(&Shape::Text),
        "one bucket for each value of these, such as [from.zone, topic]",
    ),
]);

static LIMIT: Shape = Shape::Map(&[
    Key::optional("eventBytes", &Shape::Integer { min: 1, max: 1 << 40 }, "bytes of the whole event"),
    Key::optional("dataBytes", &Shape::Integer { min: 0, max: 1 << 40 }, "bytes of its data"),
    Key::optional("rate", &RATE, "{events or bytes, per, burst, key}"),
    Key::optional("wait", &Shape::Duration, "how long an event may wait for the rate; 0 by default"),
]);

static ON_VIOLATION: Shape = Shape::OneOf(&["reject", "dead-letter", "quarantine", "strip", "annotate"]);
static ON_ERROR: Shape = Shape::OneOf(&["reject", "dead-letter", "quarantine"]);

static RULE: Shape = Shape::Map(&[
    Key::required("name", &Shape::Name, "the name of the rule, unique in the policy"),
    Key::required("match", &MATCH, "what the rule is about, at least match: {topics: [\"**\"]}"),
    Key::optional("except", &EXCEPT, "what the rule is not about"),
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::optional(
        "mode",
        &Shape::OneOf(&["enforce", "warn", "shadow"]),
        "enforce, the default; warn reports, shadow counts",
    ),
    Key::optional("permit", &Shape::Empty, "lets the event cross"),
    Key::optional("deny", &Shape::Empty, "stops the event"),
    Key::optional("require", &REQUIRE, "attributes the event must have"),
    Key::optional(
        "protect",
        &Shape::List { of: &PROTECTION, non_empty: true },
        "what is removed or made unreadable",
    ),
    Key::optional("onViolation", &ON_VIOLATION, "what becomes of an event that is stopped"),
    Key::optional("onError", &ON_ERROR, "what becomes of an event that cannot be judged"),
    Key::optional(
        "message",
        &Shape::Text,
        "shown with the verdict; ${topic}, ${event.id}, ${from.zone} and others",
    ),
    Key::optional("help", &Shape::Text, "what the publisher can do"),
    Key::optional("residency", &RESIDENCY, "where the event may go, and which zones may carry it"),
    Key::optional("validate", &VALIDATE, "what its data must be"),
    Key::optional("structure", &STRUCTURE, "how its topic and type must be built"),
    Key::optional("forbid", &FORBID, "what must not be in it"),
    Key::optional("limit", &LIMIT, "how large it may be and how many may come"),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::required("rules", &Shape::List { of: &RULE, non_empty: true }, "the rules"),
]);

pub(crate) static METADATA: Shape = Shape::Map(&[
    Key::required("name", &Shape::Name, "the name of the document, unique among its kind in the federation"),
    Key::required("layer", &Shape::Text, "federation, or region/eu, zone/cn-1 and the like"),
    Key::optional("owner", &Shape::Text, "who answers for it"),
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
