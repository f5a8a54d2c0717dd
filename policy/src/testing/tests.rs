//! Tests that would pass without testing anything fail, or are refused.

use super::{Outcome, run, suites};
use crate::{Federation, SourceFile, compile};

const FEDERATION: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: f}\nspec:\n  zones: {a: {region: eu}, b: {region: eu}, c: {region: us}}\n  bridges: [{id: a-1, zone: a}, {id: b-1, zone: b}, {id: c-1, zone: c}]\n  links: [{from: a-1, to: b-1}, {from: b-1, to: c-1}]\n";
const POLICIES: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: f, layer: federation}
spec:
  rules:
    - {name: ok, match: {topics: ["o.**"]}, permit: {}}
    - {name: g, match: {topics: [o.card]}, forbid: {classes: [payment]}}
    - {name: lim, match: {topics: ["**"]}, limit: {eventBytes: 100000}}
    - {name: pq, match: {topics: ["q.**"], from: {zones: [c]}}, permit: {}}
    - {name: r, match: {topics: [o.edited]}, protect: [{classes: [payment.iban], as: redact}]}
"#;
const IBAN: &str = "DE89370400440532013000";

fn source(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

/// What came of the tests; codes and messages where they are refused.
fn outcome(spec: &str) -> Result<Outcome, Vec<String>> {
    let federation = Federation::parse(&source("federation.yaml", FEDERATION)).expect("valid");
    let program = compile(&[source("policies.yaml", POLICIES)], &federation, None).expect("valid").program;
    let text = format!("apiVersion: meshbridge/v1\nkind: PolicyTest\nmetadata: {{name: t}}\nspec: {spec}\n");
    let suites = suites(&source("t.test.yaml", &text), &federation).map_err(|problems| {
        problems.iter().map(|problem| format!("{} {}", problem.code, problem.message)).collect::<Vec<_>>()
    })?;
    Ok(run(&suites[0], &program, false))
}

fn case(topic: &str, value: &str, expect: &str) -> String {
    format!(
        "{{cases: [{{name: x, from: a, to: b, topic: {topic}, event: {{id: \"1\", source: /s, type: t, data: {{v: \"{value}\"}}}}, expect: {{{expect}}}}}]}}"
    )
}

#[track_caller]
fn check_refused(spec: &str, expected: &[&str]) {
    let problems = outcome(spec).expect_err("a test that shows nothing");
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, part) in problems.iter().zip(expected) {
        assert!(problem.contains(part), "`{part}` is not in {problems:?}");
    }
}

#[track_caller]
fn check_error(spec: &str, part: &str) {
    let outcome = outcome(spec).expect("a test that can be read");
    let error = outcome.cases[0].error.clone().unwrap_or_default();
    assert!(error.contains(part), "`{part}` is not in `{error}`");
}

#[track_caller]
fn check_good(spec: &str) {
    let outcome = outcome(spec).expect("a test that can be read");
    assert!(outcome.cases.iter().all(super::CaseResult::is_good), "{outcome:?}");
}

#[test]
fn carriers_are_zones_of_the_federation() {
    check_good(&case("o.x", IBAN, "verdict: forward, carriers: [c]"));
    check_refused(
        &case("o.x", IBAN, "verdict: forward, carriers: [c, e-typo]"),
        &["P0110 there is no zone `e-typo`"],
    );
    let stopped =
        outcome(&case("o.card", IBAN, "verdict: quarantine, by: f/g, carriers: []")).expect("readable");
    assert_eq!(stopped.cases[0].mismatches[0].what, "carriers");
}

#[test]
fn of_an_event_that_does_not_arrive_nothing_is_expected() {
    check_good(&case("o.card", IBAN, "verdict: quarantine"));
    for (key, value) in [
        ("absent", format!("[{IBAN}]")),
        ("unchanged", "true".to_owned()),
        ("fields", "{\"$.data.v\": {equals: nonsense}}".to_owned()),
    ] {
        let expect = format!("verdict: quarantine, {key}: {value}");
        check_refused(&case("o.card", IBAN, &expect), &[&format!("P0112 `{key}` is about what arrives")]);
    }
}

#[test]
fn a_test_has_cases_or_proofs() {
    check_refused("{now: \"2026-01-01T00:00:00Z\"}", &["P0109 nothing is tested"]);
}

#[test]
fn a_proof_of_an_unknown_invariant_is_never_good() {
    for expect in ["unknown", "proved", "refuted"] {
        let outcome = outcome(&format!("{{proofs: [{{invariant: no-such, expect: {expect}}}]}}"));
        let outcome = outcome.expect("a test that can be read");
        assert!(!outcome.proofs[0].is_good(), "{expect}");
        assert_eq!(outcome.proofs[0].note.as_deref(), Some("there is no such invariant"));
    }
}

#[test]
fn a_field_has_an_expectation() {
    check_refused(
        &case("o.x", IBAN, "verdict: forward, fields: {\"$.data.nothing\": {}}"),
        &["P0112 nothing is expected of this field"],
    );
    check_refused(
        &case("o.x", IBAN, "verdict: forward, fields: {\"$.data.v \": {present: true}}"),
        &["P0402"],
    );
}

#[test]
fn rules_that_are_named_exist() {
    for key in ["hits", "notHit", "warned", "shadowed"] {
        for name in ["no-such/unmet-obligation", "default-deny@nowhere", "default-deny@federation", "f/typo"]
        {
            let spec = case("o.x", IBAN, &format!("verdict: forward, {key}: [{name}]"));
            check_error(&spec, &format!("there is no rule `{name}`"));
        }
    }
    for name in ["no-such/unmet-obligation", "default-deny@nowhere", "default-deny@region/mars", "f/typo"] {
        check_error(
            &case("p.x", IBAN, &format!("verdict: reject, by: {name}")),
            &format!("there is no rule `{name}`"),
        );
    }
    check_good(&case("q.x", IBAN, "verdict: reject, by: default-deny@federation"));
}

#[test]
fn a_case_that_no_rule_decides_says_so() {
    // The limit about every topic applies, and stops nothing.
    check_error(&case("q.x", IBAN, "verdict: reject"), "no rule decided");
    check_good(&case("o.x", IBAN, "verdict: forward"));
}

#[test]
fn a_protection_that_edits_nothing_is_not_covered() {
    let never = |value: &str| {
        let outcome = outcome(&case("o.edited", value, "verdict: forward")).expect("a test that can be read");
        outcome.never_decisive.contains(&"f/r".to_owned())
    };
    assert!(never("plain"));
    assert!(!never(IBAN));
}

/// Direct a - c, and a - b - c.
const TRIANGLE: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: f}\nspec:\n  zones: {a: {region: eu}, b: {region: eu}, c: {region: us}}\n  bridges: [{id: a-1, zone: a}, {id: b-1, zone: b}, {id: c-1, zone: c}]\n  links: [{from: a-1, to: b-1}, {from: b-1, to: c-1}, {from: a-1, to: c-1}]\n";

/// What a case with `more` from a to c shows under rules about links; with the rules that no case shows deciding.
fn over_links(federation: &str, rules: &str, more: &str, expect: &str) -> Outcome {
    let federation = Federation::parse(&source("federation.yaml", federation)).expect("valid");
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: f, layer: federation}}\nspec:\n  rules:\n    - {{name: ok, match: {{topics: [\"o.**\"]}}, permit: {{}}}}\n{rules}"
    );
    let program = compile(&[source("policies.yaml", &text)], &federation, None)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .program;
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: PolicyTest\nmetadata: {{name: t}}\nspec: {{cases: [{{name: x, from: a, to: c, {more}topic: o.x, event: {{id: \"1\", source: /s, type: t}}, expect: {{{expect}}}}}]}}\n"
    );
    let suites = suites(&source("t.test.yaml", &text), &federation).unwrap_or_else(|p| panic!("{p}"));
    run(&suites[0], &program, true)
}

#[test]
fn a_denied_link_holds_what_has_no_other_way() {
    let direct = "    - {name: l, match: {topics: [\"o.**\"], links: [a/c]}, deny: {}}\n";
    let both = "    - {name: l, match: {topics: [\"o.**\"], links: [a/c, b/a]}, deny: {}}\n";
    let line = TRIANGLE.replace(", {from: a-1, to: c-1}", "");
    for (federation, rules, more, expect) in [
        (TRIANGLE, direct, "", "verdict: forward, deniedLinks: [c/a], hits: [f/l]"),
        (TRIANGLE, direct, "via: [b], ", "verdict: forward"),
        (TRIANGLE, both, "", "verdict: hold, by: f/l, deniedLinks: [a/b, a/c]"),
        (TRIANGLE, both, "via: [b], ", "verdict: hold, by: f/l"),
        // Whatever way there is was not the one that is denied.
        (&line, direct, "", "verdict: forward"),
        (&TRIANGLE.replace("links: [", "links: [] # ["), both, "", "verdict: forward"),
        (TRIANGLE, "", "", "verdict: forward, deniedLinks: []"),
    ] {
        let outcome = over_links(federation, rules, more, expect);
        let case = &outcome.cases[0];
        assert!(case.is_good(), "{rules} {more} {expect}: {:?} {:?}", case.mismatches, case.error);
    }
    let wrong = over_links(TRIANGLE, direct, "", "verdict: forward, deniedLinks: [a/b]");
    let mismatch = &wrong.cases[0].mismatches[0];
    assert_eq!((&*mismatch.what, &*mismatch.expected, &*mismatch.came), ("deniedLinks", "a/b", "a/c"));
}

#[test]
fn a_rule_about_links_is_covered_by_a_case_that_tells_its_links() {
    let rule = "    - {name: l, match: {topics: [\"o.**\"], links: [a/c]}, deny: {}}\n";
    let told = over_links(TRIANGLE, rule, "", "verdict: forward, deniedLinks: [a/c]");
    assert!(told.never_decisive.is_empty(), "{:?}", told.never_decisive);
    assert!(told.survivors.iter().all(|one| one.rule != "f/l"), "{:?}", told.survivors);
    let not_told = over_links(TRIANGLE, rule, "", "verdict: forward");
    assert!(not_told.survivors.iter().any(|one| one.rule == "f/l"), "{:?}", not_told.survivors);
}
