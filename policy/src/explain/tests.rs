use meshbridge_event::json::parse_structured;
use serde_json::json;
use time::OffsetDateTime;

use super::*;
use crate::testing::TestKeys;
use crate::{Federation, SourceFile, compile};

const FEDERATION: &str = r#"apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {a: {region: eu}, b: {region: us}, c: {region: us}}
  bridges: [{id: a-1, zone: a}, {id: a-2, zone: a}, {id: b-1, zone: b}]
"#;

const POLICY: &str = r#"apiVersion: meshbridge/v1
kind: Policy
metadata: {name: p, layer: federation}
spec:
  rules:
    - {name: open, match: {topics: ["orders.**"]}, permit: {}}
    - {name: other-topic, match: {topics: ["hr.**"]}, deny: {}}
    - {name: other-zone, match: {topics: ["**"], to: {zones: [c]}}, deny: {}}
    - {name: other-type, match: {topics: ["**"], event: {type: "x.*"}}, deny: {}}
    - {name: small, match: {topics: ["**"], at: egress, when: 'event.data.?n.orValue(0) > 100'}, deny: {}}
    - {name: but-us, match: {topics: ["**"]}, except: {to: {regions: [us]}}, deny: {}}
    - {name: budget, match: {topics: ["**"], at: egress}, limit: {rate: {events: 5, per: 1s}}}
    - {name: mail, match: {topics: ["**"], at: egress}, protect: [{classes: [contact.email], as: redact}]}
    - {name: cards, match: {topics: ["**"], at: egress}, protect: [{classes: [payment.card], as: redact}]}
"#;

fn explained(topic: &str, event: &serde_json::Value, values: Values) -> Explanation {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a federation");
    let program =
        compile(&[file("p.yaml", POLICY)], &federation, None).unwrap_or_else(|p| panic!("{p}")).program;
    let zone = |name: &str| federation.zone(name).expect("a zone");
    let case = Case {
        from: zone("a"),
        to: zone("b"),
        via: Vec::new(),
        at: Vec::new(),
        publisher: None,
        subscriber: None,
        hops: None,
        now: OffsetDateTime::UNIX_EPOCH,
        topic: Topic::parse(topic).expect("a topic"),
        event: parse_structured(event.to_string().as_bytes()).expect("an event"),
    };
    explain(&program, &case, &TestKeys::of(&federation), values)
}

fn event() -> serde_json::Value {
    json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {"n": 1, "mail": "ana@example.com"}})
}

fn effect<'a>(explanation: &'a Explanation, rule: &str) -> &'a Effect {
    let rules = explanation.contexts[0].layers.iter().flat_map(|layer| &layer.rules);
    &rules.into_iter().find(|one| one.id == rule).expect("the rule is told").effect
}

#[test]
fn each_rule_that_does_not_apply_names_the_first_key_that_failed() {
    let explanation = explained("orders.new", &event(), Values::Masked);
    for (rule, wanted) in [
        ("p/other-topic", "match.topics"),
        ("p/other-zone", "match.to.zones"),
        ("p/other-type", "match.event.type"),
        ("p/small", "match.when"),
        ("p/but-us", "except"),
    ] {
        let Effect::DoesNotApply { key, .. } = effect(&explanation, rule) else {
            panic!("{rule}: {:?}", effect(&explanation, rule));
        };
        assert_eq!(key, wanted, "{rule}");
    }
}

#[test]
fn rules_that_apply_tell_what_they_do() {
    let explanation = explained("orders.new", &event(), Values::Masked);
    assert_eq!(effect(&explanation, "p/open"), &Effect::Permits);
    assert_eq!(effect(&explanation, "p/mail"), &Effect::Edits);
    assert_eq!(effect(&explanation, "p/cards"), &Effect::Passes);
    let stopped = explained("hr.new", &event(), Values::Masked);
    assert_eq!((stopped.verdict, effect(&stopped, "p/other-topic")), ("reject", &Effect::Stops));
    assert_eq!(stopped.contexts[0].layers[0].permits, Some(false));
}

#[test]
fn what_a_field_was_is_shown_only_where_it_is_asked_for() {
    let masked = explained("orders.new", &event(), Values::Masked);
    let change =
        masked.contexts[0].fields.iter().find(|change| change.path == "$.data.mail").expect("a change");
    assert_eq!(change.classes, ["contact.email"]);
    assert_eq!(change.before.as_deref(), Some("\"***@*******.***\""));
    assert_eq!(change.after.as_deref(), Some("\"[redacted:contact.email]\""));
    let told = format!("{masked} {}", serde_json::to_string(&masked).expect("JSON"));
    assert!(!told.contains("ana@example.com"), "{told}");
    let shown = explained("orders.new", &event(), Values::Shown);
    assert!(shown.to_string().contains("ana@example.com"), "{shown}");
}

#[test]
fn a_protection_of_the_first_of_two_members_is_not_passed_over() {
    let text =
        r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"m":"ana@example.com","m":"x"}}"#;
    let before = parse_structured(text.as_bytes()).expect("an event");
    let after = parse_structured(text.replace("ana@example.com", "y").as_bytes()).expect("an event");
    assert_eq!(fields::changes(&before, &after, &[], Values::Masked).len(), 1);
}

#[test]
fn of_a_list_that_got_shorter_only_the_sizes_are_told() {
    let event = |data: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{data}}}"#);
        parse_structured(text.as_bytes()).expect("an event")
    };
    let (before, after) = (event(r#"{"l":["ana@example.com","b"]}"#), event(r#"{"l":["b"]}"#));
    let told = fields::changes(&before, &after, &[], Values::Masked);
    let [change] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(change.before.as_deref(), Some("\"list of 2\""));
    assert_eq!(change.after.as_deref(), Some("\"list of 1\""));
}

#[test]
fn rates_of_a_zone_with_two_bridges_are_told_to_hold_twice() {
    let explanation = explained("orders.new", &event(), Values::Masked);
    let notes = explanation.contexts[0].notes.join(" ");
    assert!(notes.contains("p/budget") && notes.contains("2 times"), "{notes}");
}

#[test]
fn destinations_with_other_rules_are_another_class() {
    let egress = &explained("orders.new", &event(), Values::Masked).contexts[0];
    // The deny for c makes it another class than b.
    assert_eq!(egress.destination_class.as_deref(), Some(&["b".to_owned()][..]));
    assert_eq!((egress.cost.evaluations, egress.carriers.as_deref()), (Some(2), Some(&[][..])));
    assert!(egress.cost.steps_max > 0 && egress.cost.classes_searched > 0, "{:?}", egress.cost);
}

#[test]
fn denied_links_are_told_with_the_rule_and_where_they_hold_an_event_up() {
    let file = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let rule = "    - {name: not-direct, match: {topics: [\"orders.**\"], links: [a/b]}, deny: {}}\n";
    let shadow =
        "    - {name: tried, match: {topics: [\"orders.**\"], links: [b/c]}, mode: shadow, deny: {}}\n";
    let other = "    - {name: other, match: {topics: [\"hr.**\"], links: [b/c]}, deny: {}}\n";
    let head = POLICY.split("    - {name: other-topic").next().expect("the first rule");
    let explained = |links: &str| {
        let federation = FEDERATION.replace("  bridges:", &format!("  links: [{links}]\n  bridges:"));
        let federation = federation.replace("{id: b-1, zone: b}]", "{id: b-1, zone: b}, {id: c-1, zone: c}]");
        let federation = Federation::parse(&file("federation.yaml", federation)).expect("a federation");
        let policy = format!("{head}{rule}{shadow}{other}");
        let program =
            compile(&[file("p.yaml", policy)], &federation, None).unwrap_or_else(|p| panic!("{p}")).program;
        let zone = |name: &str| federation.zone(name).expect("a zone");
        let case = Case {
            from: zone("a"),
            to: zone("b"),
            via: Vec::new(),
            at: Vec::new(),
            publisher: None,
            subscriber: None,
            hops: None,
            now: OffsetDateTime::UNIX_EPOCH,
            topic: Topic::parse("orders.x").expect("a topic"),
            event: parse_structured(event().to_string().as_bytes()).expect("an event"),
        };
        explain(&program, &case, &TestKeys::of(&federation), Values::Masked)
    };
    let detour = explained("{from: a-1, to: b-1}, {from: a-1, to: c-1}, {from: c-1, to: b-1}");
    assert_eq!((detour.verdict, detour.held_at.as_deref()), ("forward", None));
    assert_eq!(detour.contexts[0].denied_links.as_deref(), Some(&["a/b".to_owned()][..]));
    assert_eq!(*effect(&detour, "p/not-direct"), Effect::DeniesLinks { links: vec!["a/b".to_owned()] });
    assert_eq!(*effect(&detour, "p/tried"), Effect::Reports);
    assert!(matches!(effect(&detour, "p/other"), Effect::DoesNotApply { key, .. } if key == "match.topics"));
    let text = detour.to_string();
    assert!(
        text.contains("! p/not-direct  deny: denies the links a/b") && text.contains("|- denied links: a/b"),
        "{text}"
    );
    let held = explained("{from: a-1, to: b-1}");
    assert_eq!(
        (held.verdict, held.held_at.as_deref(), held.by.as_deref()),
        ("hold", Some("a/b"), Some("p/not-direct"))
    );
    assert!(held.to_string().contains("the link a/b is denied to it: the event waits"), "{held}");
}
