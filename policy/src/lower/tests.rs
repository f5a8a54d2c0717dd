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
