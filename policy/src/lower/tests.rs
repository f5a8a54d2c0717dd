use crate::{Federation, SourceFile, compile};

const FEDERATION: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: f}\nspec:\n  zones: {eu: {region: eu}, us: {region: us}, cn: {region: cn}}\n  bridges: [{id: eu-1, zone: eu}, {id: us-1, zone: us}, {id: cn-1, zone: cn}]\n  links: [{from: eu-1, to: us-1}]\n";

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

/// The codes, messages and helps about a rule that denies links.
fn about_links(rule: &str) -> Vec<(&'static str, String, String)> {
    let source = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let federation = Federation::parse(&source("federation.yaml", FEDERATION.to_owned())).expect("valid");
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: p, layer: federation}}\nspec:\n  rules:\n    - {{name: r, {rule}}}\n"
    );
    let problems = match compile(&[source("policies.yaml", text)], &federation, None) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems,
    };
    let told = problems.iter().filter(|one| one.code != "P0208");
    told.map(|one| (one.code, one.message.clone(), one.help.clone().unwrap_or_default())).collect()
}

#[test]
fn links_are_two_zones_of_the_federation() {
    let rule = |link: &str| about_links(&format!("match: {{topics: [a], links: [{link}]}}, deny: {{}}"));
    assert_eq!(rule("eu/us"), []);
    assert_eq!(rule("us/eu, eu/us"), [], "the same twice");
    for (link, code, message, help) in [
        ("eu/uss", "P0110", "no zone `uss`", "did you mean `us`?"),
        ("eu/somewhere-else", "P0110", "no zone `somewhere-else`", "its zones are eu, us, cn"),
        ("eu/eu", "P0123", "one zone at both ends", "name two zones"),
        ("eu-us", "P0123", "`eu-us` names no link", "write the zones at its ends"),
        ("eu/", "P0110", "no zone ``", "its zones are"),
        ("eu/us/cn", "P0110", "no zone `us/cn`", "its zones are"),
        ("eu/cn", "P0222", "no link `cn/eu`", "check the zones"),
    ] {
        let found = rule(link);
        let is_it = |(known, said, helps): &(&str, String, String)| {
            *known == code && said.contains(message) && helps.contains(help)
        };
        assert!(found.len() == 1 && found.iter().all(is_it), "{link}: {found:?}");
    }
    assert_eq!(about_links("match: {topics: [a], links: []}, deny: {}").len(), 1);
    assert_eq!(about_links("match: {topics: [a], links: 1}, deny: {}")[0].0, "P0105");
}

#[test]
fn links_go_with_a_denial_that_says_nothing_of_a_verdict() {
    let links = "topics: [a], links: [eu/us]";
    for (rule, codes) in [
        (format!("match: {{{links}}}, except: {{links: [us/eu], to: {{zones: [us]}}}}, deny: {{}}"), vec![]),
        (format!("match: {{{links}, at: egress, publisher: [x]}}, deny: {{}}, mode: warn"), vec![]),
        (format!("match: {{{links}, at: [egress, ingress]}}, deny: {{}}"), vec![]),
        (format!("match: {{{links}}}, permit: {{}}"), vec!["P0124"]),
        (format!("match: {{{links}}}, residency: {{allow: {{zones: [eu]}}}}"), vec!["P0124"]),
        (format!("match: {{{links}}}, protect: [{{classes: [contact], as: drop}}]"), vec!["P0124"]),
        (format!("match: {{{links}}}, limit: {{eventBytes: 9}}"), vec!["P0108"]),
        ("match: {topics: [a]}, except: {links: [eu/us]}, limit: {eventBytes: 9}".to_owned(), vec!["P0108"]),
        ("match: {topics: [a]}, except: {links: [eu/us]}, deny: {}".to_owned(), vec!["P0124"]),
        (format!("match: {{{links}}}, except: {{links: [us/cn]}}, deny: {{}}"), vec!["P0124", "P0222"]),
        (format!("match: {{{links}, at: transit}}, deny: {{}}"), vec!["P0124"]),
        (format!("match: {{{links}, at: [egress, deliver]}}, deny: {{}}"), vec!["P0124"]),
        (format!("match: {{{links}, at: publish}}, deny: {{}}"), vec!["P0124"]),
        (format!("match: {{{links}}}, deny: {{}}, onViolation: reject"), vec!["P0124"]),
        (format!("match: {{{links}}}, deny: {{}}, onError: reject"), vec!["P0124"]),
        (format!("match: {{{links}}}, deny: {{}}, message: m, help: h"), vec!["P0124", "P0124"]),
        (format!("match: {{{links}, publisher: [x]}}, deny: {{}}"), vec!["P0121"]),
    ] {
        let found = about_links(&rule);
        let mut known: Vec<&str> = found.iter().map(|(code, ..)| *code).collect();
        known.sort_unstable();
        assert_eq!(known, codes, "{rule}: {found:?}");
        assert!(found.iter().all(|(.., help)| !help.is_empty()), "{found:?}");
    }
}
