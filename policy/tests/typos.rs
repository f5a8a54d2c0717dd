//! A slip of the pen that makes policies looser is told of, at every place where one can be made: each document here is
//! told of with its code, and with the right spelling it is not.

use meshbridge_policy::testing;
use meshbridge_policy::{Diagnostic, Federation, SourceFile, compile};

const FEDERATION: &str = "\
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: t}
spec:
  zones:
    a: {region: eu, cloud: c1, jurisdiction: EU, labels: {env: prod}}
    b: {region: eu, cloud: c2, jurisdiction: EU, labels: {env: prod}}
    c: {region: us, cloud: c2, jurisdiction: US, labels: {env: dev}}
  bridges: [{id: a-1, zone: a}, {id: b-1, zone: b}, {id: c-1, zone: c}]
  links: [{from: a-1, to: b-1}, {from: b-1, to: c-1}]
";
const OK: &str = "{name: ok, match: {topics: [\"o.**\", \"p.*\"]}, permit: {}}";

fn file(name: &str, text: impl Into<String>) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.into() }
}

fn document(name: &str, kind: &str, spec: &str) -> SourceFile {
    file(
        &format!("{name}.yaml"),
        format!(
            "apiVersion: meshbridge/v1\nkind: {kind}\nmetadata: {{name: {name}, layer: federation}}\nspec: {spec}\n"
        ),
    )
}

fn policy(rules: &[&str]) -> SourceFile {
    document("f", "Policy", &format!("{{rules: [{}]}}", rules.join(", ")))
}

/// What `check` says.
fn told(files: &[SourceFile]) -> Vec<Diagnostic> {
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    let mut all = Vec::new();
    match compile(files, &federation, None) {
        Ok(compiled) => {
            let program = &compiled.program;
            for problems in [program.findings(), program.unproved()] {
                all.extend(problems.iter().cloned());
            }
            for test in files.iter().filter(|file| file.name.ends_with(".test.yaml")) {
                for suite in testing::suites(test, &federation).expect("a test") {
                    all.extend(suite.unknown_names(program).iter().cloned());
                }
            }
            all.extend(compiled.warnings.iter().cloned());
        }
        Err(problems) => all.extend(problems.iter().cloned()),
    }
    all
}

#[track_caller]
fn check(files: &[SourceFile], codes: &[&str]) {
    let found = told(files);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), codes, "{}", shown.join("\n"));
    assert!(found.iter().all(|one| one.help.is_some()), "{}", shown.join("\n"));
}

/// A rule beside the permit, misspelt and as it is meant.
#[track_caller]
fn rule(wrong: &str, right: &str, code: &str) {
    let named = |rest: &str| format!("{{name: r, {rest}}}");
    check(&[policy(&[OK, &named(wrong)])], &[code]);
    check(&[policy(&[OK, &named(right)])], &[]);
}

#[test]
fn an_exception_that_keeps_nothing_back() {
    for (wrong, right) in [
        ("topics: [\"oo.secret.**\"]", "topics: [\"o.secret.**\"]"),
        ("to: {labels: {enf: dev}}", "to: {labels: {env: dev}}"),
        ("to: {labels: {env: dve}}", "to: {labels: {env: dev}}"),
        ("same: [labels.enf]", "same: [labels.env]"),
        ("from: {zones: [a], regions: [us]}", "from: {zones: [a], regions: [eu]}"),
        ("at: deliver", "at: transit"),
    ] {
        let permit = |except: &str| {
            format!("{{name: ok, match: {{topics: [\"o.**\"]}}, except: {{{except}}}, permit: {{}}}}")
        };
        check(&[policy(&[&permit(wrong)])], &["P0224"]);
        check(&[policy(&[&permit(right)])], &[]);
    }
    rule(
        "match: {topics: [\"o.**\"]}, except: {topics: [o.x, oo.y]}, deny: {}",
        "match: {topics: [\"o.**\"]}, except: {topics: [o.x, o.y]}, deny: {}",
        "P0225",
    );
}

#[test]
fn one_of_several_filters_that_meets_nothing() {
    for rest in
        ["deny: {}", "protect: [{classes: [\"*\"], as: redact}]", "residency: {allow: {jurisdictions: [EU]}}"]
    {
        rule(
            &format!("match: {{topics: [\"pp.*\", o.x]}}, {rest}"),
            &format!("match: {{topics: [\"p.*\", o.x]}}, {rest}"),
            "P0225",
        );
    }
    // What is judged inside a zone needs no permit.
    rule(
        "match: {topics: [\"pp.*\", o.x], at: egress}, deny: {}",
        "match: {topics: [\"pp.*\", o.x], at: [publish, egress]}, deny: {}",
        "P0225",
    );
}

#[test]
fn a_path_that_names_nothing_that_can_be_there() {
    let fields =
        |path: &str| format!("match: {{topics: [\"o.**\"]}}, protect: [{{fields: [\"{path}\"], as: drop}}]");
    rule(&fields("$.Subject"), &fields("$.subject"), "P0120");
    rule(&fields("$.data. card"), &fields("$.data['a b'].card no"), "P0402");
    rule(&fields("$.data.card\u{200b}"), &fields("$.data['card\\\\u200b']"), "P0402");
    let classified = |path: &str| {
        let spec = format!("{{topics: [{{match: \"o.**\", fields: {{\"{path}\": person.name}}}}]}}");
        [policy(&[OK]), document("d", "Classification", &spec)]
    };
    check(&classified("$.Subject"), &["P0120"]);
    check(&classified("$.subject"), &[]);
    rule("match: {topics: [\"o.x\u{200b}\"]}, deny: {}", "match: {topics: [o.x]}, deny: {}", "P0114");
}

#[test]
fn classes_of_which_none_is_left() {
    rule(
        "match: {topics: [\"o.**\"]}, protect: [{classes: [payment], except: [payment], as: drop}]",
        "match: {topics: [\"o.**\"]}, protect: [{classes: [payment], except: [payment.bic], as: drop}]",
        "P0112",
    );
    rule(
        "match: {topics: [\"o.**\"]}, forbid: {classes: [secret.jwt], except: [secret]}",
        "match: {topics: [\"o.**\"]}, forbid: {classes: [secret], except: [secret.jwt]}",
        "P0112",
    );
    rule(
        "match: {topics: [\"o.**\"]}, forbid: {classes: [secret], except: [contact]}",
        "match: {topics: [\"o.**\"]}, forbid: {classes: [\"*\"], except: [contact]}",
        "P0224",
    );
}

#[test]
fn a_rule_about_a_mark_that_crosses_no_border() {
    let marks = document("d", "Classification", "{attributes: {dataclassification: [public, restricted]}}");
    let with = |rest: &str| [policy(&[OK, &format!("{{name: r, {rest}}}")]), marks.clone()];
    check(&with("match: {topics: [\"o.**\"], event: {dataclassification: restrictd}}, deny: {}"), &["P0216"]);
    check(&with("match: {topics: [\"o.**\"], event: {dataclassification: \"restr*\"}}, deny: {}"), &[]);
    let except = |value: &str| {
        format!("match: {{topics: [o.x]}}, except: {{event: {{dataclassification: {value}}}}}, deny: {{}}")
    };
    check(&with(&except("publc")), &["P0224"]);
    check(&with(&except("public")), &[]);
    let unlisted = "{name: r, match: {topics: [o.x], event: {dataclassification: restrictd}}, deny: {}}";
    check(&[policy(&[OK, unlisted])], &[]);
    let local = "match: {topics: [\"o.**\"], at: publish, event: {dataclassification: restrictd}}, deny: {}";
    check(&with(local), &[]);
}

#[test]
fn what_is_said_of_topics_that_no_rule_knows() {
    let entry =
        |kind: &str, entry: &str| [policy(&[OK]), document("d", kind, &format!("{{topics: [{entry}]}}"))];
    let held = |topic: &str| format!("{{match: \"{topic}\", fields: {{\"$.data.card\": payment.card}}}}");
    check(&entry("Classification", &held("oo.**")), &["P0226"]);
    check(&entry("Classification", &held("o.x")), &[]);
    let kept = |topic: &str| format!("{{match: \"{topic}\", class: durable, retain: delivered}}");
    check(&entry("Delivery", &kept("oo.**")), &["P0226"]);
    check(&entry("Delivery", &kept("o.**")), &[]);
    check(&entry("Delivery", "{match: \"local.**\", class: best-effort}"), &[]);
}

#[test]
fn an_invariant_that_asks_nothing() {
    let never = |more: &str| {
        let spec =
            format!("{{never: {{classes: [payment.card], discloses: [value]{more}}}, onUnproven: warn}}");
        let held = document("c", "Classification", "{topics: [{match: \"o.**\", mayHold: [contact]}]}");
        [
            policy(&[OK, "{name: d, match: {topics: [\"q.**\", o.z], at: [publish, egress]}, deny: {}}"]),
            held,
            document("d", "Invariant", &spec),
        ]
    };
    for more in [
        ", match: {topics: [\"oo.**\"]}",
        ", match: {to: {labels: {env: prd}}}",
        ", match: {from: {zones: [a]}, to: {zones: [a]}}",
        ", except: {topics: [\"**\"]}",
        ", match: {topics: [\"o.**\"]}, except: {topics: [\"o.**\"]}",
    ] {
        check(&never(more), &["P0227"]);
    }
    for more in [
        "",
        ", match: {topics: [\"o.**\"]}",
        // A guard of what is closed today.
        ", match: {topics: [\"q.**\"]}",
        ", match: {to: {labels: {env: prod}}}, except: {same: [jurisdiction]}",
    ] {
        check(&never(more), &[]);
    }
}

#[test]
fn a_condition_on_a_value_that_no_zone_has() {
    let when = |condition: &str| format!("match: {{topics: [\"o.**\"], when: '{condition}'}}, deny: {{}}");
    rule(&when("from.zone == \"aa\""), &when("from.zone == \"a\""), "P0110");
    rule(&when("to.jurisdiction == \"us\""), &when("to.jurisdiction == \"US\""), "P0110");
    rule(&when("to.zone in [\"a\", \"bb\"]"), &when("to.zone in [\"a\", \"b\"]"), "P0110");
    let selects =
        |value: &str| format!("match: {{topics: [\"o.**\"], to: {{jurisdictions: [{value}]}}}}, deny: {{}}");
    rule(&selects("eu"), &selects("EU"), "P0110");
    let found = told(&[policy(&[OK, &format!("{{name: r, {}}}", selects("eu"))])]);
    assert_eq!(found[0].help.as_deref(), Some("did you mean `EU`?"));
}

#[test]
fn a_schema_that_asks_nothing_by_mistake() {
    let with = |schema: &str| {
        let rule = "{name: r, match: {topics: [\"o.**\"], at: egress}, validate: {schema: {file: s.json}}}";
        [policy(&[OK, rule]), file("s.json", schema)]
    };
    check(&with("{\"requird\": [\"a\"]}"), &["P0126"]);
    check(&with("{\"required\": [\"a\"], \"x-note\": 1}"), &[]);
    check(&with("{\"required\": [\"a\"], \"required\": []}"), &["P0122"]);
}

#[test]
fn a_document_in_a_file_for_schemas() {
    let text = "{\"apiVersion\": \"meshbridge/v1\", \"kind\": \"Policy\", \"metadata\": {\"name\": \"g\"}, \"spec\": {}}";
    check(&[policy(&[OK]), file("g.json", text)], &["P0125"]);
    check(&[policy(&[OK]), file("g.json", "{\"title\": \"kind\", \"properties\": {\"spec\": true}}")], &[]);
}

#[test]
fn a_file_whose_name_ends_otherwise() {
    let names = [
        "p/g.YAML",
        "p/g.Yml",
        "p/s.jsn",
        "p/g.yaml",
        "p/g.yml",
        "p/s.json",
        "README.md",
        "Makefile",
        "p/g.yaml.bak",
    ];
    let found = meshbridge_policy::misnamed(&names.map(str::to_owned));
    let files: Vec<&str> = found.iter().map(|one| &*one.span.file).collect();
    assert_eq!(files, ["p/g.YAML", "p/g.Yml", "p/s.jsn"]);
    assert!(found.iter().all(|one| one.code == "P0125"));
}

#[test]
fn a_number_that_programs_read_differently() {
    let keep = |last: &str| {
        format!(
            "match: {{topics: [\"o.**\"]}}, protect: [{{classes: [payment], as: mask, keep: {{last: {last}}}}}]"
        )
    };
    let found = told(&[policy(&[OK, &format!("{{name: r, {}}}", keep("010"))])]);
    assert!(found.iter().any(|one| one.code == "P0102" && one.message.contains("010")));
    rule(&keep("010"), &keep("10"), "P0102");
}

#[test]
fn a_test_that_names_no_rule() {
    let test = |hits: &str| {
        let case = format!(
            "{{name: c, from: a, to: b, topic: o.x, event: {{id: \"1\", source: /a, type: t}}, expect: {{verdict: forward, hits: [{hits}]}}}}"
        );
        let text = format!(
            "apiVersion: meshbridge/v1\nkind: PolicyTest\nmetadata: {{name: t}}\nspec: {{cases: [{case}]}}\n"
        );
        [policy(&[OK]), file("a.test.yaml", text)]
    };
    check(&test("f/okk"), &["P0503"]);
    check(&test("f/ok"), &[]);
}

/// One mistake is told once, and what is said besides it is true.
#[test]
fn a_mistake_has_no_false_followers() {
    let inner = file(
        "g.yaml",
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: g, layer: zone/a}\nspec: {rules: [{name: ok, match: {topics: [\"o.**\"]}, permit: {}}]}\n",
    );
    let waiver = document(
        "w",
        "Waiver",
        "{rule: f/ok, match: {topics: [o.x]}, expires: \"2027-01-01T00:00:00Z\", reason: r}",
    );
    let mut broken = policy(&[OK]);
    broken.text.push_str("  \"\n");
    check(&[broken, inner.clone(), waiver.clone()], &["P0101"]);
    let misspelt = policy(&["{name: ok, match: {topics: [\"o.**\"]}, permitt: {}}"]);
    check(&[misspelt, inner.clone(), waiver], &["P0112", "P0104"]);
    // A mistake elsewhere hides nothing.
    let other = document("h", "Policy", "{rules: [{name: r, match: {topics: [\"q.**\"]}, permit: {}}]}");
    let wrong = document("i", "Classification", "{topics: [{match: \"o..x\"}]}");
    check(&[other, inner, wrong], &["P0203", "P0114"]);
    for (action, code) in [
        ("limit: {eventBytes: \"1024\"}", "P0105"),
        ("limit: {rate: 3}", "P0105"),
        ("require: {hops: {max: \"4\"}}", "P0105"),
        ("require: {attributes: [purpose]}", "P0105"),
        ("require: {}", "P0112"),
        ("limit: {}", "P0112"),
        ("require: {attributes: {}}", "P0112"),
    ] {
        let rule = format!("{{name: r, match: {{topics: [\"o.**\"]}}, {action}}}");
        let found = told(&[policy(&[OK, &rule])]);
        assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [code], "{action}: {found:?}");
    }
}

#[test]
fn helps_help() {
    let rule = |rest: &str| policy(&[OK, &format!("{{name: r, {rest}}}")]);
    let help = |file: SourceFile, code: &str| -> String {
        let found = told(&[file]);
        let one = found.iter().find(|one| one.code == code).unwrap_or_else(|| panic!("{code}: {found:?}"));
        one.help.clone().unwrap_or_else(|| panic!("no help: {one}"))
    };
    assert!(help(file("f.yaml", "a: [1\n"), "P0101").contains("not closed"));
    assert!(help(rule("match: {topics: [o.x]}, deny: {}, deny: {}"), "P0103").contains("remove one"));
    assert_eq!(
        help(rule("match: {topics: [o.x]}, limit: {eventBytes: \"1\"}"), "P0105"),
        "write the number without quotes"
    );
    assert_eq!(
        help(policy(&["{name: To_US, match: {topics: [o.x]}, deny: {}}"]), "P0106"),
        "write `to-us`, everywhere it is used"
    );
    assert_eq!(
        help(rule("match: {topics: [o.x]}, limit: {eventBytes: 0}"), "P0107"),
        "write 1, or something between"
    );
    let pattern = rule("match: {topics: [o.x]}, require: {attributes: {subject: {pattern: \"(a\"}}}");
    let found = told(std::slice::from_ref(&pattern));
    assert_eq!(found[0].message, "this is no regular expression: unclosed group");
    assert!(help(pattern, "P0116").starts_with("write \\"));
    assert_eq!(
        help(rule("match: {topics: [o.x], links: [a/d]}, deny: {}"), "P0110"),
        "its zones are a, b, c"
    );
}
