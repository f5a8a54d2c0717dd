//! Claims about suggestions: they are the smallest, and each makes the event pass.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;
use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::prove::tests::oracle::{
    CLASSES, COLORS, FEDERATION as FOUR, TOPICS, ZONES, any_rule, event as event_of, program_of,
};
use crate::{Federation, SourceFile, compile};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    eu-1: {region: eu, jurisdiction: EU, cloud: c-1}
    us-1: {region: us, jurisdiction: US, cloud: c-1}
    cn-1: {region: cn, jurisdiction: CN, cloud: c-1}
  bridges: [{id: a, zone: eu-1}, {id: b, zone: us-1}, {id: c, zone: cn-1}]
"#;

const BASE: &str = "    - {name: p, match: {topics: [\"a.**\"]}, permit: {}}\n";

fn program(rules: &str, more: &str) -> Program {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    let base = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: base, layer: federation, owner: platform@acme.example}}\nspec:\n  rules:\n{rules}{more}"
    );
    let schema = file(
        "order.json",
        "{\"type\": \"object\", \"required\": [\"count\"], \"properties\": {\"count\": {\"type\": \"integer\"}}}",
    );
    compile(&[file("base.yaml", &base), schema], &federation, None)
        .map(|compiled| compiled.program)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn event(attributes: &[(&str, &str)], data: &str) -> Event {
    let builder = EventBuilder::new("1", "/s", "t");
    let builder = attributes
        .iter()
        .fold(builder, |builder, (name, value)| builder.attribute(name, AttributeValue::String(value)));
    builder.data_json(Bytes::from(data.to_owned())).build().expect("a valid event")
}

fn case(program: &Program, topic: &str, event: Event) -> Case {
    let zone = |name: &str| program.zone(name).expect("a zone");
    Case {
        from: zone("eu-1"),
        to: zone("us-1"),
        via: Vec::new(),
        at: Vec::new(),
        publisher: None,
        subscriber: None,
        hops: None,
        now: OffsetDateTime::UNIX_EPOCH,
        topic: Topic::parse(topic).expect("a topic"),
        event,
    }
}

#[track_caller]
fn asked(rules: &str, topic: &str, event: Event) -> WhyNot {
    let program = program(&format!("{BASE}{rules}"), "");
    let case = case(&program, topic, event);
    let answer = why_not(&program, &case, &TestKeys::of(program.federation()));
    assert_verified(&program, &case, &answer);
    answer
}

/// Each fix once more, by the engine alone.
#[track_caller]
fn assert_verified(program: &Program, case: &Case, answer: &WhyNot) {
    let keys = TestKeys::of(program.federation());
    for fix in answer.event.iter().chain(&answer.policy).chain(&answer.both) {
        let edited =
            fix.event.iter().try_fold(case.clone(), |case, edit| edit.apply(&case)).expect("it can be made");
        let mut changed: Option<Program> = None;
        for amendment in &fix.policy {
            changed = Some(amendment.apply(changed.as_ref().unwrap_or(program)).expect("it can be made"));
        }
        let program = changed.as_ref().unwrap_or(program);
        let crossing = cross(program, &edited, &keys, &mut Scratch::new());
        assert!(crossing.arrived.is_some(), "{fix}");
    }
}

fn lines(fixes: &[Fix]) -> Vec<String> {
    fixes.iter().map(|fix| fix.to_string().trim().to_owned()).collect()
}

#[test]
fn what_passes_needs_no_change() {
    let answer = asked("", "a.b", event(&[], "{}"));
    assert!(answer.passes() && !answer.is_answered());
    assert!(answer.to_string().contains("passes already"));
}

#[test]
fn a_missing_attribute_gets_a_value_that_the_rule_accepts() {
    for (requirement, value) in [
        ("format: w3c-traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"),
        ("enum: [red, blue]", "red"),
        ("pattern: \"^https://s\\\\.example/[a-z]{3}$\"", "https://s.example/aaa"),
        ("pattern: \"^/${from.zone}/\"", "/eu-1/"),
    ] {
        let rule = format!(
            "    - {{name: r, match: {{topics: [\"**\"]}}, require: {{attributes: {{x: {{{requirement}}}}}}}}}\n"
        );
        let answer = asked(&rule, "a.b", event(&[], "{}"));
        assert_eq!(answer.stopped_by, ["base/r"]);
        assert_eq!(lines(&answer.event)[0], format!("- set the attribute x to `{value}`"), "{answer}");
        assert!(answer.policy[0].policy[0].span.is_some(), "{answer}");
        assert_eq!(answer.policy[0].policy[0].owner.as_deref(), Some("platform@acme.example"));
    }
}

#[test]
fn what_is_not_permitted_is_another_topic_or_a_permit() {
    let answer = asked("", "b.c", event(&[], "{}"));
    assert_eq!(answer.stopped_by, ["default-deny@federation"]);
    assert_eq!(lines(&answer.event), ["- publish on a topic such as a.c"]);
    let permit = &answer.policy[0].policy[0];
    assert!(matches!(&permit.kind, AmendmentKind::Permit { topic, .. } if topic == "b.c"), "{answer}");
    assert_eq!(permit.layer, "federation");
}

#[test]
fn an_inner_layer_that_does_not_permit_is_named() {
    let inner = "---\napiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: in, layer: zone/us-1, owner: ops@acme.example}\nspec:\n  rules:\n    - {name: only, match: {topics: [\"a.x\"], at: ingress}, permit: {}}\n";
    let program = program(BASE, inner);
    let case = case(&program, "a.b", event(&[], "{}"));
    let answer = why_not(&program, &case, &TestKeys::of(program.federation()));
    assert_verified(&program, &case, &answer);
    let permit = &answer.policy[0].policy[0];
    assert_eq!((permit.layer.as_str(), permit.owner.as_deref()), ("zone/us-1", Some("ops@acme.example")));
    assert_eq!(lines(&answer.event), ["- publish on a topic such as a.x"]);
}

#[test]
fn conditions_sizes_findings_and_data_can_be_changed() {
    let deny = "    - {name: r, match: {topics: [\"**\"], event: {color: \"r*\"}}, deny: {}}\n";
    let answer = asked(deny, "a.b", event(&[("color", "red")], "{}"));
    assert_eq!(lines(&answer.event), ["- leave out the attribute color", "- set the attribute color to `x`"]);
    let limit = "    - {name: r, match: {topics: [\"**\"]}, limit: {eventBytes: 200}}\n";
    let answer = asked(limit, "a.b", event(&[], &format!("{{\"note\":\"{}\"}}", "x".repeat(300))));
    assert!(lines(&answer.event)[0].starts_with("- make the event at most 200 bytes; it has "), "{answer}");
    let forbid = "    - {name: r, match: {topics: [\"**\"]}, forbid: {classes: [payment]}}\n";
    let answer = asked(forbid, "a.b", event(&[], "{\"deep\":{\"card\":\"4111 1111 1111 1111\"}}"));
    assert_eq!(lines(&answer.event), ["- leave out the data at /deep/card"]);
    assert!(!answer.to_string().contains("4111"), "values are not shown");
    let answer = asked(forbid, "a.b", event(&[], "{\"ana@example.com\":{\"card\":\"4111 1111 1111 1111\"}}"));
    assert!(!answer.to_string().contains("ana@"), "neither are names that are personal data: {answer}");
    let schema = "    - {name: r, match: {topics: [\"**\"]}, validate: {schema: {file: order.json}}}\n";
    let answer = asked(schema, "a.b", event(&[], "{}"));
    assert_eq!(lines(&answer.event)[0], "- set the data at /count to something like `1`");
    let when = "    - {name: r, match: {topics: [\"**\"], when: 'event.data.?amount.orValue(0.0) > 10.0'}, deny: {}}\n";
    let answer = asked(when, "a.b", event(&[], "{\"amount\":20}"));
    assert!(lines(&answer.event).contains(&"- leave out the data at /amount".to_owned()), "{answer}");
}

#[test]
fn two_things_that_stop_it_take_two_changes() {
    let rules = "    - {name: r, match: {topics: [\"**\"]}, require: {attributes: {x: {enum: [one]}}}}\n    - {name: s, match: {topics: [\"**\"], event: {color: red}}, deny: {}}\n";
    let answer = asked(rules, "a.b", event(&[("color", "red")], "{}"));
    assert!(answer.event.iter().all(|fix| fix.event.len() == 2), "{answer}");
    assert!(answer.policy.iter().all(|fix| fix.policy.len() == 2), "{answer}");
    assert!(!answer.event.is_empty() && !answer.policy.is_empty(), "{answer}");
    // The same two in another order are told once.
    assert_eq!(answer.policy.len(), 1, "{answer}");
}

#[test]
fn three_things_are_changed_one_after_the_other() {
    let rules: String = ["a", "b", "c"]
        .map(|name| format!("    - {{name: r-{name}, match: {{topics: [\"**\"]}}, require: {{attributes: {{{name}: {{enum: [one]}}}}}}}}\n"))
        .concat();
    let answer = asked(&rules, "a.b", event(&[], "{}"));
    assert_eq!(answer.event.iter().map(|fix| fix.event.len()).collect::<Vec<_>>(), [3], "{answer}");
}

#[test]
fn a_carrier_that_may_not_carry_is_avoided_or_allowed() {
    let rule = "    - {name: r, match: {topics: [\"**\"], to: {zones: [cn-1]}}, deny: {}}\n";
    let program = program(&format!("{BASE}{rule}"), "");
    let mut case = case(&program, "a.b", event(&[], "{}"));
    case.via = vec![program.zone("cn-1").expect("a zone")];
    let answer = why_not(&program, &case, &TestKeys::of(program.federation()));
    assert_verified(&program, &case, &answer);
    assert_eq!(lines(&answer.event), ["- send it on a way that avoids cn-1"]);
    assert_eq!(answer.stopped_by, ["base/r"]);
    assert!(!answer.policy.is_empty(), "{answer}");
}

#[test]
fn what_nothing_helps_is_said() {
    let denies = |names: &[&str]| -> String {
        names
            .iter()
            .map(|name| format!("    - {{name: {name}, match: {{topics: [\"**\"]}}, deny: {{}}}}\n"))
            .collect()
    };
    let answer = asked(&denies(&["r"]), "a.b", event(&[], "{}"));
    assert!(answer.event.is_empty() && answer.policy.len() == 1, "{answer}");
    assert!(answer.to_string().contains("no change of the event was found that is enough"), "{answer}");
    let answer = asked(&denies(&["r", "s", "t"]), "a.b", event(&[], "{}"));
    assert!(!answer.is_answered() && answer.to_string().contains("no change of one or two"), "{answer}");
}

#[test]
fn an_obligation_is_met_by_another_value_or_by_listing_it() {
    let list = "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {name: data, layer: federation}\nspec: {attributes: {dataclassification: [public]}}\n";
    let program = program(BASE, list);
    let case = case(&program, "a.b", event(&[("dataclassification", "internal")], "{}"));
    let answer = why_not(&program, &case, &TestKeys::of(program.federation()));
    assert_verified(&program, &case, &answer);
    assert!(
        lines(&answer.event).contains(&"- set the attribute dataclassification to `public`".to_owned()),
        "{answer}"
    );
    assert!(
        matches!(&answer.policy[0].policy[0].kind, AmendmentKind::Accept { value, .. } if value == "internal")
    );
}

/// Two topics in turn, where the second is enough.
#[test]
fn what_a_later_step_makes_needless_is_not_told() {
    let layers = vec![("region/r-2", vec!["match: {topics: [a.b]}, permit: {}".to_owned()])];
    let program = program_of(FOUR, CLASSES, &layers, None).expect("valid");
    let zone = |at: usize| program.zone(ZONES[at]).expect("a zone");
    let case =
        Case { from: zone(1), to: zone(3), ..self::case_of(&program, TOPICS[2], event_of(COLORS[0], &[0])) };
    let answer = why_not(&program, &case, &TestKeys::of(program.federation()));
    assert_verified(&program, &case, &answer);
    assert!(!answer.event.is_empty() && answer.event.iter().all(|fix| fix.event.len() == 1), "{answer}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the rules are: what is told passes, and nothing of two steps is told where one of them is enough.
    #[test]
    fn every_suggestion_passes_and_none_is_larger_than_it_has_to_be(
        layers in prop::collection::vec(
            (
                prop::sample::select(vec!["federation", "region/r-2", "zone/z-c"]),
                prop::collection::vec(any_rule(), 1..5),
            ),
            1..3,
        ),
        pick in (0..TOPICS.len(), 0..4_usize, 0..4_usize, 0..COLORS.len(), 0..3_usize),
    ) {
        let Some(program) = program_of(FOUR, CLASSES, &layers, None) else { return Ok(()) };
        let (topic, from, to, color, class) = pick;
        let zone = |at: usize| program.zone(ZONES[at]).expect("a zone");
        let case = Case {
            from: zone(from),
            to: zone(to),
            ..self::case_of(&program, TOPICS[topic], event_of(COLORS[color], &[class]))
        };
        let keys = TestKeys::of(program.federation());
        let answer = why_not(&program, &case, &keys);
        assert_verified(&program, &case, &answer);
        let crossing = cross(&program, &case, &keys, &mut Scratch::new());
        prop_assert_eq!(answer.passes(), crossing.arrived.is_some());
        for fix in answer.event.iter().filter(|fix| fix.event.len() == 2) {
            for edit in &fix.event {
                let alone = edit.apply(&case).map(|case| cross(&program, &case, &keys, &mut Scratch::new()));
                prop_assert!(alone.is_none_or(|alone| alone.arrived.is_none()), "one is enough: {}", fix);
            }
        }
    }
}

fn case_of(program: &Program, topic: &str, event: Event) -> Case {
    let first = program.zone(ZONES[0]).expect("a zone");
    Case {
        from: first,
        to: first,
        via: Vec::new(),
        at: Vec::new(),
        publisher: None,
        subscriber: None,
        hops: None,
        now: OffsetDateTime::UNIX_EPOCH,
        topic: Topic::parse(topic).expect("a topic"),
        event,
    }
}

#[test]
fn a_denied_link_is_avoided_or_excepted() {
    let rules = "    - {name: l, match: {topics: [\"a.**\"], links: [cn-1/us-1, eu-1/us-1]}, deny: {}}\n";
    let federation = FEDERATION
        .replace("  bridges:", "  links: [{from: a, to: b}, {from: a, to: c}, {from: c, to: b}]\n  bridges:");
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", &federation)).expect("a valid document");
    let base = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: base, layer: federation}}\nspec:\n  rules:\n{BASE}{rules}"
    );
    let program = compile(&[file("base.yaml", &base)], &federation, None).expect("valid").program;
    let keys = TestKeys::of(program.federation());
    let direct = case(&program, "a.b", event(&[], "{}"));
    let found = why_not(&program, &direct, &keys);
    assert_eq!((found.verdict, found.at), ("hold", Some("egress")), "{found}");
    assert_eq!(found.stopped_by, ["base/l"], "{found}");
    let told: Vec<String> = found.policy.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("let base/l not apply"), "{found}");
    let one = rules.replace("cn-1/us-1, ", "");
    let base = base.replace(rules, &one);
    let program = compile(&[file("base.yaml", &base)], &federation, None).expect("valid").program;
    assert!(why_not(&program, &direct, &keys).passes(), "there is another way");
}
