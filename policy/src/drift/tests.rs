use meshbridge_event::{Event, EventBuilder};
use meshbridge_topic::Topic;
use serde_json::json;

use crate::{Federation, Program, Scratch, SourceFile, compile};

const FEDERATION: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: f}\nspec:\n  zones: {eu: {region: eu}, us: {region: us}}\n  bridges: [{id: eu-1, zone: eu}, {id: us-1, zone: us}]\n  links: []\n";

fn program(documents: &str) -> Program {
    let source = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&source("federation.yaml", FEDERATION)).expect("valid");
    compile(&[source("policies.yaml", documents)], &federation, None).expect("valid").program
}

fn classification(name: &str, layer: &str, topics: &str) -> String {
    format!(
        "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: {name}, layer: {layer}, owner: o}}\nspec: {{topics: [{topics}]}}\n"
    )
}

fn event(data: serde_json::Value) -> Event {
    let data = bytes::Bytes::from(data.to_string());
    EventBuilder::new("1", "/s", "t").data_json(data).build().expect("a valid event")
}

/// Class and path of each finding that is undeclared in zone `eu`.
#[track_caller]
fn check(program: &Program, topic: &str, data: serde_json::Value, expected: &[(&str, &str)]) {
    let zone = program.zone("eu").expect("a zone");
    let topic = Topic::parse(topic).expect("a topic");
    let found = program.drift(zone, &topic, &event(data), &mut Scratch::new());
    let found: Vec<(&str, &str)> = found.iter().map(|one| (one.class.name(), &*one.path)).collect();
    assert_eq!(found, expected, "{topic}");
}

#[test]
fn what_no_classification_declares_at_its_place_is_drift() {
    let topics = "{match: \"pay.*\", fields: {\"$.data.payer\": contact.email}}, {match: \"mail.*\", mayHold: [contact.email]}";
    let program = program(&classification("c", "federation", topics));
    let both = || json!({"payer": "ada@example.com", "note": "bob@example.com"});
    check(&program, "pay.made", json!({"payer": "ada@example.com"}), &[]);
    check(&program, "pay.made", both(), &[("contact.email", "$.data.note")]);
    check(&program, "mail.sent", both(), &[]);
    check(&program, "other", json!({"mail": "ada@example.com"}), &[("contact.email", "$.data.mail")]);
    check(&program, "other", json!({"text": "nothing"}), &[]);
}

#[test]
fn an_inner_layer_declares_for_its_own_zones() {
    let mail = "{match: \"a\", mayHold: [contact.email]}";
    let federation = classification("c", "federation", "{match: \"b\", mayHold: []}");
    let data = || json!({"mail": "ada@example.com"});
    check(&program(&(federation.clone() + &classification("e", "region/eu", mail))), "a", data(), &[]);
    let elsewhere = program(&(federation + &classification("u", "region/us", mail)));
    check(&elsewhere, "a", data(), &[("contact.email", "$.data.mail")]);
}

#[test]
fn where_nothing_is_declared_nothing_drifts() {
    let rules = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: p, layer: federation}\nspec: {rules: [{name: r, match: {topics: [\"**\"]}, permit: {}}]}\n";
    check(&program(rules), "a", json!({"mail": "ada@example.com"}), &[]);
    let of_us = classification("u", "region/us", "{match: \"a\", mayHold: []}");
    check(&program(&of_us), "a", json!({"mail": "ada@example.com"}), &[]);
}

#[test]
fn a_key_that_is_personal_data_is_shown_as_its_class() {
    let program = program(&classification("c", "federation", "{match: \"a\", mayHold: []}"));
    let zone = program.zone("eu").expect("a zone");
    let topic = Topic::parse("a").expect("a topic");
    let data = json!({"ada@example.com": "bob@example.com"});
    let found = program.drift(zone, &topic, &event(data), &mut Scratch::new());
    assert!(!found.is_empty());
    assert!(found.iter().all(|one| !one.path.contains("example.com")), "{found:?}");
}
