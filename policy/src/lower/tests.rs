use crate::{Federation, SourceFile, compile};

const FEDERATION: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: f}\nspec:\n  zones: {eu: {region: eu}, us: {region: us}}\n  bridges: [{id: eu-1, zone: eu}, {id: us-1, zone: us}]\n  links: []\n";

/// The messages about one rule of the federation, in the order of their places.
#[track_caller]
fn check(rule: &str, expected: &[&str]) {
    let source = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let federation = Federation::parse(&source("federation.yaml", FEDERATION.to_owned())).expect("valid");
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: p, layer: federation}}\nspec:\n  rules:\n    - {rule}\n"
    );
    let refused = compile(&[source("policies.yaml", text)], &federation, None).map(drop);
    let problems = refused.expect_err("the rule has faults");
    let messages: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(messages.len(), expected.len(), "{messages:?}");
    for (message, part) in messages.iter().zip(expected) {
        assert!(message.contains(part), "`{part}` is not in {messages:?}");
    }
}

#[test]
fn a_rule_with_two_actions_is_told_its_other_faults_too() {
    check(
        "{name: r, match: {topics: [a], same: [color]}, deny: {}, require: {attributes: {}}}",
        &["`color`", "exactly one action", "nothing is required"],
    );
}

#[test]
fn a_rule_without_an_action_is_told_its_other_faults_too() {
    check("{name: r, match: {topics: [a], same: [color]}}", &["no action", "`color`"]);
}

#[test]
fn what_would_mean_everyone_or_nothing_is_refused() {
    for key in ["event: {color: []}", "publisher: [], at: egress", "at: []", "to: {zones: []}"] {
        check(&format!("{{name: r, match: {{topics: [a], {key}}}, deny: {{}}}}"), &["must not be empty"]);
    }
    for action in [
        "forbid: {classes: []}",
        "protect: [{classes: [], as: drop}]",
        "protect: [{fields: [], as: drop}]",
        "residency: {allow: []}",
    ] {
        check(&format!("{{name: r, match: {{topics: [a]}}, {action}}}"), &["must not be empty"]);
    }
    check("{name: r, match: {topics: [a]}, residency: {allow: {}}}", &["allows every zone"]);
    check("{name: r, match: {topics: [a]}, residency: {allow: [{zones: [eu]}, {}]}}", &["allows every zone"]);
    check(
        "{name: r, match: {topics: [a], event: {data: \"*\"}}, deny: {}}",
        &["no event has an attribute `data`"],
    );
}

#[test]
fn topics_are_not_negated() {
    check("{name: r, match: {topics: [\"o.**\", \"!o.secret\"]}, deny: {}}", &["there is no negation"]);
}

#[test]
fn a_residency_is_judged_at_every_border() {
    for at in ["ingress", "deliver", "[egress, transit]"] {
        check(
            &format!("{{name: r, match: {{topics: [a], at: {at}}}, residency: {{allow: {{zones: [eu]}}}}}}"),
            &["at every border"],
        );
    }
}

#[test]
fn a_path_does_not_end_in_white_space() {
    check(
        "{name: r, match: {topics: [a]}, protect: [{fields: [\"$.data.card \"], as: drop}]}",
        &["white space"],
    );
}
