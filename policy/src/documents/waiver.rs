//! `kind: Waiver`: one rule of its own layer is switched off, for some events, until a date.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::documents::heading;
use crate::documents::policy::{MATCH, METADATA};
use crate::lower::{Lowering, canonical};
use crate::model::{Context, Waiver};
use crate::shape::{Key, Shape};
use crate::yaml::Node;

static SPEC: Shape = Shape::Map(&[
    Key::required("rule", &Shape::Text, "the rule, as <policy>/<rule>"),
    Key::required("match", &MATCH, "for which events, at least match: {topics: […]}"),
    Key::required("expires", &Shape::Text, "until when, such as \"2027-01-31T00:00:00Z\"; a year at most"),
    Key::required("reason", &Shape::Text, "why, for those who read the decision log"),
]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Waiver"]), "write kind: Waiver"),
    Key::required("metadata", &METADATA, "write metadata: {name: …, layer: …} with the layer of the rule"),
    Key::required("spec", &SPEC, "write spec: {rule, match, expires, reason}"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}

pub(crate) fn lower(document: &Node, lowering: &mut Lowering<'_>) -> Option<Waiver> {
    let heading = heading(document, lowering.federation, lowering.problems)?;
    let spec = document.get("spec")?;
    let rule = spec.get("rule")?;
    let matcher = lowering.matcher(spec.get("match")?, Context::ALL.iter().fold(0, |bits, c| bits | c.bit()));
    if let Some(place) = spec.get("match").and_then(|matched| matched.get("links")) {
        let help = "name topics and zones; the rule is waived with all of its links";
        lowering.error("P0124", place, "a waiver is not about links", help);
    }
    let date = spec.get("expires")?;
    let Ok(expires) = OffsetDateTime::parse(date.text()?, &Rfc3339) else {
        let help = "write it as \"2027-01-31T00:00:00Z\"";
        lowering.error("P0118", date, "this is no date and time of RFC 3339", help);
        return None;
    };
    Some(Waiver {
        name: heading.name,
        layer: heading.layer,
        span: document.get("metadata")?.get("name").unwrap_or(document).span.clone(),
        rule: rule.text()?.to_owned(),
        rule_span: rule.span.clone(),
        matcher,
        expires,
        reason: spec.get("reason").and_then(Node::text).unwrap_or_default().to_owned(),
        canonical: canonical(document),
    })
}
