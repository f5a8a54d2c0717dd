//! Findings, differences and who learns of what, case by case.

use meshbridge_topic::{Topic, TopicFilter};
use proptest::prelude::*;

use crate::model::{Action, Context, Mode, Rule, Truth};
use crate::{Federation, Program, SourceFile, compile};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    eu-1: {region: eu, jurisdiction: EU, cloud: c-1}
    eu-2: {region: eu, jurisdiction: EU, cloud: c-2}
    us-1: {region: us, jurisdiction: US, cloud: c-1}
  bridges: [{id: a, zone: eu-1}, {id: b, zone: eu-2}, {id: c, zone: us-1}]
  keys:
    one: {use: encrypt, version: 1, zones: [eu-1, eu-2, us-1]}
    two: {use: encrypt, version: 1, zones: [eu-1, eu-2]}
"#;

const ALL: &str = "    - {name: all, match: {topics: [\"**\"]}, permit: {}}\n";

fn try_program(rules: &str, more: &str) -> Result<Program, String> {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    let base = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: base, layer: federation}}\nspec:\n  rules:\n{rules}"
    );
    let mut files = vec![file("base.yaml", &base)];
    if !more.is_empty() {
        files.push(file("more.yaml", more));
    }
    compile(&files, &federation, None)
        .map(|compiled| compiled.program)
        .map_err(|problems| problems.to_string())
}

fn program(rules: &str) -> Program {
    try_program(rules, "").unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn codes(rules: &str, expected: &[&str]) -> crate::Diagnostics {
    let found = program(rules).findings();
    let codes: Vec<&str> = found.iter().map(|one| one.code).collect();
    assert_eq!(codes, expected, "{found}");
    assert!(found.iter().all(|one| one.help.is_some()), "{found}");
    found
}

#[test]
fn plain_rules_have_no_findings() {
    codes(ALL, &[]);
    codes(
        &format!(
            "{ALL}    - {{name: d, match: {{topics: [\"a.**\"], to: {{zones: [us-1]}}}}, deny: {{}}}}\n"
        ),
        &[],
    );
}

#[test]
fn rules_without_effect_are_told_of() {
    let with = |rule: &str| format!("{ALL}    - {{name: r, {rule}}}\n");
    codes(&with("match: {topics: [a], from: {regions: [eu], jurisdictions: [US]}}, deny: {}"), &["P0215"]);
    codes(&with("match: {topics: [\"a.*\"]}, permit: {}"), &["P0217"]);
    let some = "    - {name: some, match: {topics: [\"a.**\"]}, permit: {}}\n";
    codes(&format!("{some}    - {{name: r, match: {{topics: [\"b.**\"]}}, deny: {{}}}}\n"), &["P0216"]);
    let two = "    - {name: d, match: {topics: [\"a.**\"]}, deny: {}}\n    - {name: e, match: {topics: [\"a.b\"], event: {color: red}}, deny: {}}\n";
    let found = codes(&format!("{ALL}{two}"), &["P0218"]);
    assert!(found.iter().any(|one| one.related.iter().any(|place| place.span.line == 7)), "{found}");
}

#[test]
fn the_later_of_two_rules_that_do_the_same_is_told_of() {
    let two = "    - {name: d, match: {topics: [\"a.**\"]}, deny: {}}\n    - {name: e, match: {topics: [\"a.**\"]}, deny: {}}\n";
    let found = codes(&format!("{ALL}{two}"), &["P0218"]);
    assert!(found.iter().all(|one| one.span.line == 8), "{found}");
    let protect = "    - {name: d, match: {topics: [\"**\"]}, protect: [{classes: [contact], as: redact}]}\n    - {name: e, match: {topics: [\"a\"]}, protect: [{classes: [contact.email], as: mask, keep: {last: 2}}]}\n";
    codes(&format!("{ALL}{protect}"), &["P0218"]);
}

#[test]
fn keys_that_a_sender_lacks_are_errors() {
    let rule = |matches: &str| {
        format!(
            "{ALL}    - {{name: r, match: {{topics: [\"a.**\"]{matches}}}, protect: [{{classes: [contact], as: encrypt, key: two}}]}}\n"
        )
    };
    let found = codes(&rule(", at: egress"), &["P0409"]);
    assert!(found.has_errors());
    assert_eq!(
        found.iter().next().and_then(|one| one.example.as_ref()).map(|one| one.from.as_str()),
        Some("us-1")
    );
    codes(&rule(", at: egress, from: {regions: [eu]}"), &[]);
}

#[test]
fn a_recipient_needs_no_key_for_what_the_sender_protects() {
    let item = "[{classes: [contact], fields: [$.data.note], as: encrypt, key: two}]";
    let rule = |name: &str, more: &str, item: &str| {
        format!(
            "    - {{name: {name}, match: {{topics: [\"a.**\"], from: {{regions: [eu]}}{more}}}, protect: {item}}}\n"
        )
    };
    codes(&format!("{ALL}{}", rule("r", "", item)), &[]);
    codes(&format!("{ALL}{}", rule("r", ", event: {color: red}", item)), &[]);
    // Judged on arrival only, or another part of the event: there the value is still as it was.
    let found = codes(&format!("{ALL}{}", rule("r", ", at: ingress", item)), &["P0409"]);
    let help = found.iter().next().and_then(|one| one.help.clone()).unwrap_or_default();
    assert!(help.starts_with("protect it at egress"), "a key is not to be handed out: {help}");
    let both = |outer: &str| {
        format!("{ALL}{}{}", rule("e", ", at: egress", outer), rule("i", ", at: ingress", item))
    };
    codes(&both(item), &[]);
    codes(&both("[{classes: [contact], as: redact}, {fields: [$.data], as: drop}]"), &[]);
    codes(&both("[{classes: [contact.email], fields: [$.data.note], as: redact}]"), &["P0409"]);
    codes(&both("[{classes: [contact], fields: [$.data.memo], as: redact}]"), &["P0409"]);
    codes(&both("[{classes: [contact], fields: [$.data.note], confidence: high, as: redact}]"), &["P0409"]);
    let unless = rule("e", ", at: egress, event: {color: red}", item) + &rule("i", ", at: ingress", item);
    codes(&format!("{ALL}{unless}"), &["P0409"]);
}

#[test]
fn a_layer_that_the_sender_does_not_hear_needs_its_key_on_arrival() {
    let inner = |item: &str| {
        format!(
            "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: us, layer: region/us}}\nspec:\n  rules:\n    - {{name: r, match: {{topics: [\"a.**\"], from: {{regions: [eu]}}}}, protect: {item}}}\n"
        )
    };
    let item = "[{classes: [contact], as: encrypt, key: two}]";
    let told = |rules: &str| -> Vec<&str> {
        let program = try_program(rules, &inner(item)).expect("valid");
        program.findings().iter().map(|one| one.code).collect()
    };
    assert_eq!(told(ALL), ["P0409"]);
    let outer = format!(
        "{ALL}    - {{name: o, match: {{topics: [\"**\"], at: egress}}, protect: [{{classes: [contact], as: drop}}]}}\n"
    );
    assert!(!told(&outer).contains(&"P0409"));
}

#[test]
fn two_keys_for_one_value_are_told_of_with_both_lines() {
    let rules = format!(
        "{ALL}    - {{name: r, match: {{topics: [\"**\"], at: egress, from: {{regions: [eu]}}}}, protect: [{{classes: [contact], as: encrypt, key: two}}]}}
    - {{name: s, match: {{topics: [\"a.**\"]}}, protect: [{{classes: [contact.email], as: encrypt, key: one}}]}}\n"
    );
    let found = codes(&rules, &["P0410"]);
    let lines: Vec<usize> = found.iter().flat_map(|one| [one.span.line, one.related[0].span.line]).collect();
    assert_eq!(lines, [8, 7]);
}

#[test]
fn a_zone_that_only_carries_is_told_of_unless_the_permit_names_it() {
    let rules = |carriers: &str| {
        format!(
            "    - {{name: p, match: {{topics: [\"a.**\"], at: [egress, ingress], to: {{zones: [eu-2]}}}}, permit: {{}}}}
    - {{name: t, match: {{topics: [\"a.**\"], {carriers}}}, permit: {{}}}}\n"
        )
    };
    let found = codes(&rules("at: transit, from: {zones: [eu-1]}"), &["P0221"]);
    assert_eq!(found.iter().next().map(|one| one.span.line), Some(7));
    codes(&rules("at: transit, from: {zones: [eu-1]}, to: {zones: [us-1]}"), &[]);
}

#[test]
fn dead_waivers_and_forgotten_zones_are_told_of() {
    let waiver = "apiVersion: meshbridge/v1\nkind: Waiver\nmetadata: {name: w, layer: federation}\nspec: {rule: base/d, match: {topics: [\"b\"]}, expires: \"2027-01-01T00:00:00Z\", reason: r}\n";
    let rules = format!("{ALL}    - {{name: d, match: {{topics: [\"a\"]}}, deny: {{}}}}\n");
    let program = try_program(&rules, waiver).expect("valid");
    assert_eq!(program.findings().iter().map(|one| one.code).collect::<Vec<_>>(), ["P0219"]);
    codes(
        "    - {name: p, match: {topics: [\"a\"], from: {regions: [eu]}, to: {regions: [eu]}}, permit: {}}\n",
        &["P0220"],
    );
}

#[test]
fn rules_with_conditions_have_a_cost() {
    let rule = "    - {name: w, match: {topics: [\"a\"], when: 'event.data.?amount.orValue(0.0) > 10.0'}, deny: {}}\n";
    let costs = program(&format!("{ALL}{rule}")).costs();
    assert_eq!(costs.len(), 1);
    assert!(costs[0].steps > 0 && costs[0].place.rule == "base/w");
}

#[test]
fn a_zone_learns_what_it_could_send_or_carry() {
    let filter = |text: &str| TopicFilter::parse(text).expect("a filter");
    let rules = "    - {name: p, match: {topics: [\"a.**\"], from: {zones: [eu-1]}, to: {zones: [eu-2]}, at: [egress, ingress]}, permit: {}}
    - {name: t, match: {topics: [\"a.x\"], to: {zones: [us-1]}, at: transit}, permit: {}}\n";
    let one = program(rules);
    let learns = |program: &Program, learner: &str, owner: &str, text: &str| {
        let zone = |name: &str| program.zone(name).expect("a zone");
        program.may_learn(zone(learner), zone(owner), &filter(text))
    };
    assert!(learns(&one, "eu-1", "eu-2", "a.**"));
    assert!(learns(&one, "eu-1", "eu-2", "**"));
    assert!(!learns(&one, "eu-1", "eu-2", "b.**"));
    assert!(!learns(&one, "eu-2", "eu-1", "a.**"), "nothing passes that way");
    assert!(learns(&one, "us-1", "eu-2", "a.*"), "it may carry a.x");
    assert!(!learns(&one, "us-1", "eu-2", "a.y"));
    assert!(learns(&one, "us-1", "us-1", "a.y"), "its own");
    let narrowed = program(&format!(
        "{rules}    - {{name: stop, match: {{topics: [\"**\"], at: interest, from: {{zones: [us-1]}}}}, deny: {{}}}}\n"
    ));
    assert!(!learns(&narrowed, "us-1", "eu-2", "a.*"));
    assert!(learns(&narrowed, "eu-1", "eu-2", "a.*"));
    let unless = program(&format!(
        "{rules}    - {{name: stop, match: {{topics: [\"**\"], at: ingress, event: {{color: red}}}}, deny: {{}}}}\n"
    ));
    assert!(learns(&unless, "eu-1", "eu-2", "a.**"), "some event passes");
    let never = program(&format!(
        "{rules}    - {{name: stop, match: {{topics: [\"**\"], at: ingress}}, deny: {{}}}}\n"
    ));
    assert!(!learns(&never, "eu-1", "eu-2", "a.**"), "its own border never admits it");
}

#[test]
fn what_a_person_may_release_is_told_of() {
    let filter = TopicFilter::parse("a.x").expect("a filter");
    for (held, told) in [("onViolation: quarantine", true), ("onViolation: dead-letter", false)] {
        for at in ["egress", "ingress"] {
            let rules = format!(
                "{ALL}    - {{name: d, match: {{topics: [\"a.x\"], at: {at}}}, deny: {{}}, {held}}}\n"
            );
            let program = program(&rules);
            let zone = |name: &str| program.zone(name).expect("a zone");
            assert_eq!(program.may_learn(zone("eu-1"), zone("eu-2"), &filter), told, "{held} at {at}");
        }
    }
}

/// Whether some event of the topic may pass, by asking each rule by itself.
fn may_pass(program: &Program, context: Context, from: usize, to: usize, topic: &Topic) -> bool {
    let zones = &program.federation.zones;
    let speaks =
        |rule: &&Rule| rule.layer.speaks_at(context, &zones[from], &zones[to]) && rule.mode == Mode::Enforce;
    let matches = |rule: &Rule| {
        rule.matcher.topic_holds(topic) && rule.matcher.border_holds(context, &zones[from], &zones[to])
    };
    let excepted = |rule: &Rule| match &rule.except {
        Some(except)
            if except.topic_holds(topic) && except.border_holds(context, &zones[from], &zones[to]) =>
        {
            if except.has_conditions() {
                Truth::Unknown
            } else {
                Truth::Yes
            }
        }
        _ => Truth::No,
    };
    let permits = program.rules.iter().filter(speaks).filter(|rule| rule.is_permit());
    let narrows = context.is_border() || permits.clone().any(|rule| rule.matcher.at & context.bit() != 0);
    let is_permitted = !narrows || permits.clone().any(|rule| matches(rule) && excepted(rule) != Truth::Yes);
    let is_stopped = program.rules.iter().filter(speaks).any(|rule| {
        matches!(rule.action, Action::Deny)
            && matches(rule)
            && !rule.matcher.has_conditions()
            && excepted(rule) == Truth::No
    });
    is_permitted && !is_stopped
}

fn any_rule() -> impl Strategy<Value = String> {
    let topics = prop::sample::select(vec!["\"**\"", "a.b", "\"a.**\"", "\"*.b\"", "\"**.x.**\"", "c"]);
    let place = prop::sample::select(vec![
        "",
        ", from: {regions: [eu]}",
        ", to: {zones: [eu-2]}",
        ", to: {jurisdictions: [US]}",
        ", same: [cloud]",
        ", at: egress",
        ", at: transit",
        ", at: [egress, ingress]",
        ", at: interest",
        ", event: {color: red}",
    ]);
    let except = prop::sample::select(vec![
        "",
        "",
        ", except: {same: [jurisdiction]}",
        ", except: {event: {color: red}}",
        ", except: {topics: [a.b]}",
    ]);
    let action = prop::sample::select(vec!["permit: {}", "permit: {}", "deny: {}"]);
    (topics, place, except, action).prop_map(|(topics, place, except, action)| {
        format!("match: {{topics: [{topics}]{place}}}{except}, {action}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_learns_what_is_what_one_topic_after_the_other_says(rules in prop::collection::vec(any_rule(), 1..7)) {
        let text: String = rules.iter().enumerate().map(|(at, rule)| format!("    - {{name: r{at}, {rule}}}\n")).collect();
        let Ok(program) = try_program(&text, "") else { return Ok(()) };
        // `q` occurs in no filter, and three tokens are enough to meet each of them.
        let mut texts = vec![String::new()];
        for _ in 0..3 {
            let longer = texts.iter().flat_map(|text| ["a", "b", "c", "x", "q"].map(|token| format!("{text}.{token}")));
            texts = texts.iter().cloned().chain(longer).collect();
        }
        let topics: std::collections::BTreeSet<Topic> =
            texts.iter().filter_map(|text| Topic::parse(text.strip_prefix('.')?).ok()).collect();
        for asked in ["**", "a.*", "c", "*.b", "a.b"] {
            let filter = TopicFilter::parse(asked).expect("a filter");
            for learner in 0..3 {
                for owner in (0..3).filter(|owner| *owner != learner) {
                    let passes = |topic: &Topic, from: usize| {
                        from != owner
                            && may_pass(&program, Context::Egress, from, owner, topic)
                            && may_pass(&program, Context::Ingress, from, owner, topic)
                    };
                    let carries = |topic: &Topic| {
                        (0..3).filter(|origin| *origin != learner).any(|origin| {
                            let denied = program.rules.iter().any(|rule| {
                                let zones = &program.federation.zones;
                                matches!(rule.action, Action::Deny)
                                    && !rule.matcher.has_conditions()
                                    && rule.except.as_ref().is_none_or(|except| {
                                        !(except.topic_holds(topic)
                                            && except.border_holds(Context::Egress, &zones[origin], &zones[learner]))
                                    })
                                    && rule.matcher.topic_holds(topic)
                                    && rule.matcher.border_holds(Context::Egress, &zones[origin], &zones[learner])
                            });
                            passes(topic, origin) && may_pass(&program, Context::Transit, origin, learner, topic) && !denied
                        })
                    };
                    let told = topics.iter().filter(|topic| filter.matches(topic)).any(|topic| {
                        may_pass(&program, Context::Interest, learner, owner, topic)
                            && (passes(topic, learner) || carries(topic))
                    });
                    let zone = |at: usize| crate::prove::zone(at);
                    prop_assert_eq!(program.may_learn(zone(learner), zone(owner), &filter), told, "{} {} {}", learner, owner, asked);
                }
            }
        }
    }
}
