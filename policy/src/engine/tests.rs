//! The engine against the reference, and the law that an inner layer only tightens.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;
use proptest::prelude::*;

use crate::model::Context;
use crate::{Decision, Federation, Program, SourceFile, compile, reference};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    z-a: {region: r-1, cloud: c-1, jurisdiction: EU, labels: {env: prod}}
    z-b: {region: r-1, cloud: c-2, jurisdiction: EU}
    z-c: {region: r-2, cloud: c-2, jurisdiction: US, labels: {env: prod}}
  bridges: [{id: a, zone: z-a}, {id: b, zone: z-b}, {id: c, zone: z-c}]
  links: [{from: a, to: b}, {from: b, to: c}]
"#;

fn federation() -> Federation {
    let file = SourceFile { name: "federation.yaml".to_owned(), text: FEDERATION.to_owned() };
    Federation::parse(&file).expect("a valid document")
}

fn any_match() -> impl Strategy<Value = String> {
    let topics = prop::sample::select(vec!["\"**\"", "a.b", "\"a.**\"", "\"*.b\"", "\"**.x.**\"", "c"]);
    let extra = prop::sample::select(vec![
        "",
        ", at: egress",
        ", at: [ingress, transit]",
        ", from: {zones: [z-a]}",
        ", to: {jurisdictions: [US]}",
        ", same: [jurisdiction]",
        ", same: [labels.env]",
        ", to: {labels: {env: prod}}",
        ", event: {color: \"r*\"}",
        ", from: {regions: [r-1]}, event: {color: red}",
    ]);
    (topics, extra).prop_map(|(topics, extra)| format!("{{topics: [{topics}]{extra}}}"))
}

fn any_rule() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec![
        "permit: {}",
        "deny: {}",
        "deny: {}, onViolation: dead-letter",
        "require: {attributes: {color: {enum: [red, blue]}}}",
        "require: {attributes: {color: {presence: absent}}}, onViolation: reject",
        "protect: [{fields: [\"$.data.mail\"], as: redact}]",
        "protect: [{classes: [contact], as: mask, keep: {last: 2}}]",
        "protect: [{fields: [\"$.data.card\"], as: drop}, {classes: [\"*\"], as: hash}]",
        "protect: [{fields: [\"$.data\"], as: mask}]",
    ]);
    (any_match(), prop::option::weighted(0.4, any_match()), action).prop_map(|(matches, except, action)| {
        let except = except.map(|except| format!(", except: {except}")).unwrap_or_default();
        format!("match: {matches}{except}, {action}")
    })
}

fn layer() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["federation", "region/r-1", "region/r-2", "zone/z-a", "zone/z-c"])
}

fn file(name: &str, layer: &str, rules: &[String]) -> SourceFile {
    let mut text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n"
    );
    for (at, rule) in rules.iter().enumerate() {
        text.push_str(&format!("    - {{name: r{at}, {rule}}}\n"));
    }
    SourceFile { name: format!("{name}.yaml"), text }
}

fn files(policies: &[(&'static str, Vec<String>)]) -> Vec<SourceFile> {
    policies.iter().enumerate().map(|(at, (layer, rules))| file(&format!("p{at}"), layer, rules)).collect()
}

fn policies(
    layer: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = Vec<(&'static str, Vec<String>)>> {
    prop::collection::vec((layer, prop::collection::vec(any_rule(), 1..4)), 1..4)
}

fn event(color: Option<&str>, classification: bool) -> Event {
    let mut builder = EventBuilder::new("1", "/s", "t");
    if let Some(color) = color {
        builder = builder.attribute("color", AttributeValue::String(color));
    }
    if classification {
        builder = builder.attribute("dataclassification", AttributeValue::String("public, secret"));
    }
    let data =
        r#"{"mail":"ana@example.com","card":"4111 1111 1111 1111","n":1,"list":["x","li@example.com"]}"#;
    builder.data_json(Bytes::from_static(data.as_bytes())).build().expect("a valid event")
}

fn every_case(mut check: impl FnMut(Context, &str, &str, &Topic, &Event)) {
    let events =
        [event(None, false), event(Some("red"), false), event(Some("rust"), false), event(None, true)];
    for context in Context::ALL {
        for (from, to) in [("z-a", "z-b"), ("z-a", "z-c"), ("z-c", "z-a"), ("z-b", "z-c")] {
            for topic in ["a.b", "a.x.b", "c", "q"] {
                let topic = Topic::parse(topic).expect("a topic");
                for event in &events {
                    check(context, from, to, &topic, event);
                }
            }
        }
    }
}

fn decide(
    program: &Program,
    context: Context,
    from: &str,
    to: &str,
    topic: &Topic,
    event: &Event,
) -> Decision {
    let zone = |name| program.zone(name).expect("a zone of the federation");
    program.decide(context, zone(from), zone(to), topic, event)
}

/// A permit of an inner layer that the outermost never permits is refused by the compiler; not what is tested here.
fn program(files: &[SourceFile]) -> Option<Program> {
    compile(files, &federation()).ok().map(|compiled| compiled.program)
}

fn value_of(event: &Event, pointer: &str) -> Option<String> {
    let data: serde_json::Value = serde_json::from_slice(event.data_bytes()).ok()?;
    data.pointer(pointer).map(ToString::to_string)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_engine_decides_as_the_reference_does(all in policies(layer())) {
        let Some(program) = program(&files(&all)) else { return Ok(()) };
        let mut wrong = None;
        every_case(|context, from, to, topic, event| {
            let zone = |name| program.zone(name).expect("a zone");
            let stops = reference::stops(&program, context, zone(from), zone(to), topic, event);
            match decide(&program, context, from, to, topic, event) {
                // A protection may stop an event that no check stops: in transit, or on an error.
                Decision::Stop { by, also_by, .. } if !stops.is_empty() => {
                    let mut got: Vec<String> = also_by.iter().chain([&by]).map(ToString::to_string).collect();
                    let mut expected: Vec<String> = stops.iter().map(|(id, _)| id.clone()).collect();
                    let strictest = stops.iter().map(|(_, disposition)| *disposition).max();
                    let of_by = stops.iter().find(|(id, _)| id == by.id()).map(|(_, disposition)| *disposition);
                    got.sort();
                    expected.sort();
                    expected.dedup();
                    if got != expected || of_by != strictest {
                        wrong = Some(format!("{context:?} {from}->{to} {topic}: {got:?}, expected {expected:?}"));
                    }
                }
                Decision::Stop { by, .. } if context != Context::Transit => {
                    wrong = Some(format!("{context:?} {from}->{to} {topic}: stopped by {by}"));
                }
                Decision::Stop { .. } => {}
                Decision::Forward { .. } if !stops.is_empty() => {
                    wrong = Some(format!("{context:?} {from}->{to} {topic}: forwarded against {stops:?}"));
                }
                Decision::Forward { .. } => {}
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn an_inner_layer_never_permits_or_discloses_more(
        outer in policies(Just("federation")),
        inner in policies(prop::sample::select(vec!["region/r-1", "region/r-2", "zone/z-a", "zone/z-c"])),
    ) {
        let mut both = outer.clone();
        both.extend(inner);
        let (Some(alone), Some(with)) = (program(&files(&outer)), program(&files(&both))) else { return Ok(()) };
        let mut wrong = None;
        every_case(|context, from, to, topic, event| {
            let Decision::Forward { event: more } = decide(&with, context, from, to, topic, event) else { return };
            let Decision::Forward { event: less } = decide(&alone, context, from, to, topic, event) else {
                wrong = Some(format!("{context:?} {from}->{to} {topic}: the inner layer permits"));
                return;
            };
            let (more, less) = (more.unwrap_or_else(|| event.clone()), less.unwrap_or_else(|| event.clone()));
            for pointer in ["/mail", "/card", "/n", "/list/0", "/list/1"] {
                let original = value_of(event, pointer);
                if value_of(&less, pointer) != original && value_of(&more, pointer) == original {
                    wrong = Some(format!("{context:?} {from}->{to} {topic}: the inner layer discloses {pointer}"));
                }
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn protecting_twice_is_protecting_once(all in policies(Just("federation"))) {
        let Some(program) = program(&files(&all)) else { return Ok(()) };
        let mut wrong = None;
        every_case(|context, from, to, topic, event| {
            let Decision::Forward { event: Some(once) } = decide(&program, context, from, to, topic, event) else {
                return;
            };
            match decide(&program, context, from, to, topic, &once) {
                Decision::Forward { event: None } => {}
                other => wrong = Some(format!("{context:?} {from}->{to} {topic}: {other:?} after {:?}", once.data_text())),
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_files(all in policies(layer())) {
        let mut shuffled = files(&all);
        let (Some(one), true) = (program(&shuffled), shuffled.len() > 1) else { return Ok(()) };
        shuffled.reverse();
        let other = program(&shuffled).expect("the same files");
        prop_assert_eq!(one.digest(), other.digest());
    }
}
