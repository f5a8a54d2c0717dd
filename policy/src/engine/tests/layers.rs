//! What an inner layer adds never opens what the layers outside of it close, document by document.

use super::*;

const PERMIT: &str = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: f, layer: federation}\nspec:\n  rules:\n    - {name: ok, match: {topics: [\"a.**\"]}, permit: {}}\n";

fn classification(name: &str, layer: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: {name}, layer: {layer}}}\nspec: {spec}\n"
    )
}

fn policy(name: &str, layer: &str, rule: &str) -> String {
    format!(
        "---\napiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n    - {{name: r, {rule}}}\n"
    )
}

/// The rule that stops an event from z-a to z-c, if one does.
#[track_caller]
fn stopped_by(more: &str, context: Context, event: &Event) -> Option<String> {
    let file = SourceFile { name: "all.yaml".to_owned(), text: format!("{PERMIT}{more}") };
    let program =
        compile(&[file], &federation(), None).unwrap_or_else(|problems| panic!("{problems}")).program;
    let mut scratch = Scratch::new();
    let (topic, randomness) = (Topic::parse("a.b").expect("a topic"), Randomness::new([1; 32]));
    let decision = program.decide(
        &Request { context, ..request(&program, ("z-a", "z-c"), &topic, event, &randomness) },
        &mut scratch,
    );
    decision.stopped().map(|stopped| stopped.by.id().to_owned())
}

#[test]
fn an_inner_list_of_obligations_opens_nothing() {
    let restricted = event(None, Some("restricted"), "/s", "1");
    let public = event(None, Some("public"), "/s", "1");
    let inner = classification("zc", "zone/z-a", "{attributes: {dataclassification: [restricted]}}");
    let at_egress = |more: &str, event: &Event| stopped_by(more, Context::Egress, event);
    let default = Some("federation/unmet-obligation".to_owned());
    assert_eq!(at_egress("", &restricted), default);
    assert_eq!(at_egress(&inner, &restricted), default);
    assert_eq!(at_egress("", &public), None);
    assert_eq!(at_egress(&inner, &public), Some("zc/unmet-obligation".to_owned()));
    let outer =
        classification("fc", "federation", "{attributes: {dataclassification: [public, restricted]}}");
    assert_eq!(at_egress(&format!("{outer}{inner}"), &restricted), None);
    // A list of one attribute says nothing of another.
    let other = classification("fc", "federation", "{attributes: {datacategory: [restricted]}}");
    assert_eq!(at_egress(&format!("{other}{inner}"), &restricted), default);
}

#[test]
fn what_opaque_data_hold_is_said_by_layers_of_the_same_zone_only() {
    let image = EventBuilder::new("1", "/s", "a.thing")
        .data_binary(Bytes::from_static(b"\x89PNG"))
        .build()
        .expect("a valid event");
    let none =
        |name: &str, layer: &str| classification(name, layer, "{topics: [{match: \"a.**\", opaque: []}]}");
    let forbid = |layer: &str, at: &str| {
        policy(
            "p",
            layer,
            &format!("match: {{topics: [\"a.**\"], at: {at}}}, forbid: {{classes: [payment.card]}}"),
        )
    };
    let stops = |forbid: &str, says: &str, context: Context| {
        stopped_by(&format!("{forbid}{}", none("u", says)), context, &image).is_some()
    };
    // z-a is in r-1, z-c in r-2; in transit the layers of both speak.
    for rule in ["region/r-1", "zone/z-a"] {
        let rule = forbid(rule, "transit");
        assert!(stops(&rule, "region/r-2", Context::Transit));
        assert!(stops(&rule, "zone/z-c", Context::Transit));
        assert!(!stops(&rule, "region/r-1", Context::Transit));
        assert!(!stops(&rule, "federation", Context::Transit));
    }
    assert!(stops(&forbid("region/r-1", "transit"), "zone/z-a", Context::Transit));
    assert!(!stops(&forbid("zone/z-a", "egress"), "region/r-1", Context::Egress));
    assert!(!stops(&forbid("zone/z-c", "ingress"), "region/r-2", Context::Ingress));
    assert!(stops(&forbid("federation", "egress"), "zone/z-a", Context::Egress));
}

/// What an inner layer did to a field before the border hides nothing from an outer layer's rule by class.
#[test]
fn a_field_that_was_protected_before_is_still_of_its_class() {
    for form in ["hash", "mask, keep: {first: 2, last: 2}"] {
        let inner = format!(
            "match: {{topics: [\"**\"], at: publish}}, protect: [{{fields: [\"$.data.card\"], as: {form}}}]"
        );
        let outer = "match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: redact}]";
        let all = "match: {topics: [\"**\"]}, permit: {}";
        let files =
            files(&[("federation", vec![all.to_owned(), outer.to_owned()]), ("zone/z-a", vec![inner])]);
        let program = program(&files).expect("valid");
        let (topic, randomness) = (Topic::parse("a.b").expect("a topic"), Randomness::new([1; 32]));
        let event = event(None, None, "/s", "1");
        let mut scratch = Scratch::new();
        let here = Request {
            context: Context::Publish,
            ..request(&program, ("z-a", "z-a"), &topic, &event, &randomness)
        };
        let Verdict::Forward { event: Some(published) } = program.decide(&here, &mut scratch).verdict else {
            panic!("{form}: it is edited")
        };
        assert_ne!(value_of(&published, "/card"), value_of(&event, "/card"), "{form}");
        let leaves = request(&program, ("z-a", "z-c"), &topic, &published, &randomness);
        let Verdict::Forward { event: Some(left) } = program.decide(&leaves, &mut scratch).verdict else {
            panic!("{form}: it is edited again")
        };
        assert_eq!(value_of(&left, "/card").as_deref(), Some("\"[redacted:payment.card]\""), "{form}");
    }
}
