//! `kind: PolicyTest`: cases with what is expected of them (POLICY §8).

use crate::documents::invariant::NEVER;
use crate::shape::{Key, Shape};

static ANY: Shape = Shape::Any;

static EXPECTED_FIELD: Shape = Shape::Map(&[
    Key::optional("equals", &ANY, "the value, compared as JSON"),
    Key::optional("matches", &Shape::Text, "a regular expression that the text matches"),
    Key::optional("present", &Shape::Bool, "whether there is anything at the path"),
]);

static RULES: Shape = Shape::List { of: &Shape::Text, non_empty: false };

static LINKS: Shape = Shape::List { of: &Shape::ZonePair, non_empty: false };

static EXPECT: Shape = Shape::Map(&[
    Key::required(
        "verdict",
        &Shape::OneOf(&["forward", "reject", "dead-letter", "quarantine", "hold"]),
        "what becomes of the event",
    ),
    Key::optional("by", &Shape::Text, "the rule that is named, <policy>/<rule> or default-deny@<layer>"),
    Key::optional("alsoBy", &RULES, "rules that stop the event too; others may as well"),
    Key::optional("hits", &RULES, "enforced rules that apply"),
    Key::optional("notHit", &RULES, "rules that do not apply"),
    Key::optional("warned", &RULES, "rules in mode: warn that would have acted"),
    Key::optional("shadowed", &RULES, "rules in mode: shadow that would have acted"),
    Key::optional("waivedBy", &RULES, "waivers that switched a rule off"),
    Key::optional("carriers", &RULES, "all zones that may carry it on the way, no more and no fewer"),
    Key::optional("deniedLinks", &LINKS, "all links that it must not cross, such as [\"eu-1/us-1\"]"),
    Key::optional(
        "fields",
        &Shape::Dict(&EXPECTED_FIELD),
        "path: {equals, matches, present}, of what arrives",
    ),
    Key::optional("absent", &RULES, "texts that are nowhere in what arrives, however encoded"),
    Key::optional("unchanged", &Shape::Bool, "true: what arrives is byte for byte what left"),
    Key::optional("messageContains", &Shape::Text, "part of the message"),
]);

static CASE: Shape = Shape::Map(&[
    Key::required("name", &Shape::Text, "what the case shows"),
    Key::required("from", &Shape::Name, "the zone where the event is published"),
    Key::required("to", &Shape::Name, "the zone it goes to"),
    Key::optional(
        "via",
        &Shape::List { of: &Shape::Name, non_empty: false },
        "zones that carry it, in order",
    ),
    Key::optional(
        "at",
        &Shape::AtLeastOne(&Shape::OneOf(&[
            "publish",
            "egress",
            "transit",
            "ingress",
            "deliver",
            "subscribe",
            "interest",
        ])),
        "judge only here; the whole crossing by default",
    ),
    Key::optional("publisher", &Shape::Text, "the authenticated principal that publishes"),
    Key::optional("subscriber", &Shape::Text, "the authenticated principal that would get it"),
    Key::optional("hops", &Shape::Integer { min: 0, max: 255 }, "bridges it has crossed on arrival"),
    Key::optional("now", &Shape::Text, "the time of the case"),
    Key::required("topic", &Shape::Text, "the topic"),
    Key::required("event", &ANY, "the event, or {use: name, with: changes}"),
    Key::required("expect", &EXPECT, "at least expect: {verdict: …}"),
]);

static PROOF: Shape = Shape::Map(&[
    Key::optional("invariant", &Shape::Name, "an invariant of the policies"),
    Key::optional("never", &NEVER, "a question of its own"),
    Key::required("expect", &Shape::OneOf(&["proved", "refuted", "unknown"]), "the answer"),
]);

static COVERAGE: Shape = Shape::Map(&[
    Key::optional("rules", &Shape::Fraction, "share of rules that must decide or change something"),
    Key::optional("mutants", &Shape::Fraction, "share of weakened rules that must be noticed"),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional("description", &Shape::Text, "for the reader"),
    Key::optional(
        "policies",
        &Shape::List { of: &Shape::Text, non_empty: true },
        "directories or files with the policies, relative to this file",
    ),
    Key::optional("federation", &Shape::Text, "the federation document, relative to this file"),
    Key::optional("now", &Shape::Text, "the time of every case that gives none"),
    Key::optional("coverage", &COVERAGE, "{rules, mutants}: the least shares"),
    Key::optional("events", &Shape::Dict(&ANY), "name: event, for cases to use"),
    Key::optional("cases", &Shape::List { of: &CASE, non_empty: true }, "the cases"),
    Key::optional("proofs", &Shape::List { of: &PROOF, non_empty: true }, "questions to the leak proof"),
]);

static METADATA: Shape = Shape::Map(&[Key::required("name", &Shape::Name, "the name of the test")]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["PolicyTest"]), "write kind: PolicyTest"),
    Key::required("metadata", &METADATA, "write metadata: {name: …}"),
    Key::required("spec", &SPEC, "write spec: {cases: […]}"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}
