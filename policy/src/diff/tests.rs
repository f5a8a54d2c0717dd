//! Claims about differences.

mod oracle;

use super::{Change, ChangeKind, Diff, Effect};
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
    one: {use: encrypt, version: 1, zones: [eu-1, eu-2]}
"#;

const BASE: &str = "    - {name: p, match: {topics: [\"a.**\"]}, permit: {}}\n";

fn program_of(federation: &str, rules: &str, more: &str) -> Program {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", federation)).expect("a valid document");
    let base = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: base, layer: federation}}\nspec:\n  rules:\n{rules}{more}"
    );
    compile(&[file("base.yaml", &base)], &federation, None)
        .map(|compiled| compiled.program)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn program(rules: &str) -> Program {
    program_of(FEDERATION, rules, "")
}

fn base(rule: &str) -> String {
    format!("{BASE}    - {{name: r, {rule}}}\n")
}

#[track_caller]
fn diff(old: &str, new: &str, expected: &[ChangeKind]) -> Diff {
    let found = program(old).diff(&program(new));
    let kinds: Vec<ChangeKind> = found.changes.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, expected, "{found}");
    found
}

#[track_caller]
fn only(old: &str, new: &str, expected: ChangeKind) -> Change {
    let mut found = diff(old, new, &[expected]);
    found.changes.remove(0)
}

#[test]
fn the_same_policies_do_not_differ() {
    assert!(diff(BASE, BASE, &[]).is_no_looser());
    let rule = base("match: {topics: [\"a.x\"], event: {color: red}}, deny: {}");
    diff(&rule, &rule, &[]);
}

#[test]
fn a_permit_is_newly_allowed_wherever_it_opens_and_told_once() {
    let more = format!(
        "{BASE}    - {{name: q, match: {{topics: [\"b.**\"], from: {{zones: [eu-1]}}}}, permit: {{}}}}\n"
    );
    let change = only(BASE, &more, ChangeKind::NewlyAllowed);
    assert!(change.is_certain && change.example.judged, "{change}");
    assert_eq!(change.places, ["sent", "arrives", "carried"]);
    assert_eq!((change.example.topic.as_str(), change.example.from.as_str()), ("b", "eu-1"));
    assert_eq!(change.pair_count, 2);
    assert!(change.after.iter().any(|line| line.rule == "base/q" && line.span.is_some()), "{change}");
    assert!(change.before.iter().any(|line| line.rule == "default-deny@federation"), "{change}");
    let change = only(&more, BASE, ChangeKind::NewlyBlocked);
    assert!(!change.is_looser() && change.is_certain, "{change}");
}

#[test]
fn what_hangs_on_a_condition_says_on_which() {
    let deny = base("match: {topics: [\"a.x\"], event: {color: red}}, deny: {}");
    let change = only(&deny, BASE, ChangeKind::NewlyAllowed);
    assert_eq!(change.depends_on.len(), 1, "one condition at three borders: {change}");
    assert!(change.depends_on[0].when.contains("color") && !change.is_certain, "{change}");
    assert!(change.example.judged && change.example.event["color"] == "red", "{change}");
    let permit = base("match: {topics: [\"b\"], event: {color: \"gr*\"}}, permit: {}");
    let change = only(BASE, &permit, ChangeKind::NewlyAllowed);
    assert!(change.example.judged && change.example.event["color"] == "gr", "{change}");
    assert!(!change.depends_on.is_empty(), "{change}");
}

#[test]
fn a_condition_that_stays_changes_nothing() {
    let deny = "    - {name: c, match: {topics: [\"**\"], event: {color: red}}, deny: {}}\n";
    let more = format!("{BASE}{deny}    - {{name: q, match: {{topics: [\"b\"]}}, permit: {{}}}}\n");
    let change = only(&format!("{BASE}{deny}"), &more, ChangeKind::NewlyAllowed);
    assert!(change.is_certain, "{change}");
    // Another rule with the same condition, elsewhere: what it says is what counts.
    let renamed = deny.replace("name: c", "name: d");
    diff(&format!("{BASE}{deny}"), &format!("{BASE}{renamed}"), &[]);
}

#[test]
fn a_protection_that_shows_more_is_weaker() {
    let protect = |form: &str| {
        base(&format!("match: {{topics: [\"a.**\"]}}, protect: [{{classes: [payment.card], as: {form}}}]"))
    };
    let change =
        only(&protect("mask, keep: {last: 2}"), &protect("mask, keep: {last: 4}"), ChangeKind::Weaker);
    assert!(change.what.contains("payment.card") && change.what.contains("last 4 kept now"), "{change}");
    assert!(change.is_certain, "{change}");
    only(&protect("mask, keep: {last: 4}"), &protect("redact"), ChangeKind::Stronger);
    let change = only(&protect("redact"), BASE, ChangeKind::Weaker);
    assert!(change.what.ends_with("the value itself now"), "{change}");
    assert_eq!(change.before[0].rule, "base/r");
    // Neither shows no more than the other.
    diff(&protect("encrypt, key: one"), &protect("hash"), &[ChangeKind::Weaker, ChangeKind::Stronger]);
}

#[test]
fn a_protected_place_counts_as_well() {
    let rule = base("match: {topics: [\"a.**\"]}, protect: [{fields: [\"$.data.memo\"], as: redact}]");
    let change = only(&rule, BASE, ChangeKind::Weaker);
    assert!(change.what.contains("$.data.memo") && change.is_certain, "{change}");
}

#[test]
fn a_key_that_more_zones_hold_shows_them_the_value() {
    let rule = base(
        "match: {topics: [\"a.**\"], from: {regions: [eu]}}, protect: [{classes: [payment.iban], as: encrypt, key: one}]",
    );
    let wider = FEDERATION.replace("zones: [eu-1, eu-2]}", "zones: [eu-1, eu-2, us-1]}");
    let found = program(&rule).diff(&program_of(&wider, &rule, ""));
    let [change] = found.changes.as_slice() else { panic!("{found}") };
    assert_eq!(change.kind, ChangeKind::Weaker);
    assert!(change.pairs.iter().all(|pair| pair.to == "us-1"), "{change}");
    let back = program_of(&wider, &rule, "").diff(&program(&rule));
    assert!(back.is_no_looser() && back.count(ChangeKind::Stronger) == 1, "{back}");
}

#[test]
fn checks_are_put_in_an_order_where_they_have_one() {
    let limit = |most: u32| base(&format!("match: {{topics: [\"a.**\"]}}, limit: {{eventBytes: {most}}}"));
    let effect = |old: &str, new: &str| only(old, new, ChangeKind::ChangedCheck).effect;
    assert_eq!(effect(&limit(100), &limit(200)), Some(Effect::Looser));
    assert_eq!(effect(&limit(200), &limit(100)), Some(Effect::Tighter));
    assert_eq!(effect(&limit(100), BASE), Some(Effect::Looser));
    assert_eq!(effect(BASE, &limit(100)), Some(Effect::Tighter));
    let require = |values: &str| {
        base(&format!(
            "match: {{topics: [\"a.**\"]}}, require: {{attributes: {{color: {{enum: [{values}]}}}}}}"
        ))
    };
    assert_eq!(effect(&require("red"), &require("red, blue")), Some(Effect::Looser));
    assert_eq!(effect(&require("red"), &require("blue")), Some(Effect::Either));
    let pattern = |text: &str| {
        base(&format!(
            "match: {{topics: [\"a.**\"]}}, require: {{attributes: {{color: {{pattern: \"{text}\"}}}}}}"
        ))
    };
    assert_eq!(effect(&pattern("^r"), &pattern("^b")), Some(Effect::Either));
    let forbid =
        |classes: &str| base(&format!("match: {{topics: [\"a.**\"]}}, forbid: {{classes: [{classes}]}}"));
    assert_eq!(effect(&forbid("payment, secret"), &forbid("payment")), Some(Effect::Looser));
    let change = only(&limit(300), BASE, ChangeKind::ChangedCheck);
    assert!(change.is_looser() && change.example.judged, "{change}");
    assert!(change.example.event.to_string().len() > 300, "{change}");
}

#[test]
fn what_is_forbidden_to_a_recipient_is_forbidden_to_a_carrier() {
    let forbid = base("match: {topics: [\"a.**\"], at: egress}, forbid: {classes: [payment]}");
    let change = only(&forbid, BASE, ChangeKind::ChangedCheck);
    assert_eq!((change.effect, change.places.as_slice()), (Some(Effect::Looser), &["sent", "carried"][..]));
    // No other check of egress is asked of carriers.
    let limit = base("match: {topics: [\"a.**\"], at: egress}, limit: {eventBytes: 300}");
    assert_eq!(only(&limit, BASE, ChangeKind::ChangedCheck).places, ["sent"]);
}

#[test]
fn a_zone_that_comes_or_goes_is_told() {
    let wider = FEDERATION
        .replace("  bridges:", "    cn-1: {region: cn, jurisdiction: CN, cloud: c-1}\n  bridges:")
        .replace("{id: c, zone: us-1}]", "{id: c, zone: us-1}, {id: d, zone: cn-1}]");
    let (small, large) = (program(BASE), program_of(&wider, BASE, ""));
    let found = small.diff(&large);
    let [change] = found.changes.as_slice() else { panic!("{found}") };
    assert_eq!((change.kind, change.pair_count), (ChangeKind::NewlyAllowed, 6));
    assert!(change.before.iter().any(|line| line.rule == "zone cn-1"), "{change}");
    let found = large.diff(&small);
    assert_eq!(found.count(ChangeKind::NewlyBlocked), 1, "{found}");
    assert!(found.is_no_looser(), "{found}");
}

#[test]
fn a_rule_in_shadow_is_none() {
    let deny = base("match: {topics: [\"a.x\"]}, deny: {}");
    let change = only(&deny, &deny.replace("deny: {}", "deny: {}, mode: shadow"), ChangeKind::NewlyAllowed);
    assert!(change.is_certain && change.after.iter().any(|line| line.rule == "base/r"), "{change}");
}

#[test]
fn a_waiver_lets_through_while_it_is_in_force() {
    let deny = base("match: {topics: [\"a.x\"]}, deny: {}");
    let waiver = "---\napiVersion: meshbridge/v1\nkind: Waiver\nmetadata: {name: w, layer: federation}\nspec: {rule: base/r, match: {topics: [\"a.x\"]}, expires: \"2999-01-01T00:00:00Z\", reason: r}\n";
    let found = program(&deny).diff(&program_of(FEDERATION, &deny, waiver));
    let [change] = found.changes.as_slice() else { panic!("{found}") };
    assert_eq!(change.kind, ChangeKind::NewlyAllowed);
    assert!(change.depends_on.iter().any(|one| one.when.contains("2999")), "{change}");
}

#[test]
fn obligations_that_are_met_no_more_are_told() {
    let classes = |values: &str| {
        format!(
            "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: data, layer: federation}}\nspec: {{attributes: {{dataclassification: [{values}]}}}}\n"
        )
    };
    let of = |values: &str| program_of(FEDERATION, BASE, &classes(values));
    let found = of("public").diff(&of("public, internal"));
    let [change] = found.changes.as_slice() else { panic!("{found}") };
    assert_eq!((change.kind, change.effect), (ChangeKind::ChangedCheck, Some(Effect::Looser)));
    assert!(change.what.contains("internal") && !found.is_no_looser(), "{change}");
    assert!(of("public, internal").diff(&of("public")).is_no_looser());
}

/// What the outermost layer closes by listing nothing no inner layer opens, in this comparison as in the engine.
#[test]
fn an_inner_list_without_an_outer_one_only_narrows_public() {
    let classes = |values: &str| {
        format!(
            "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: data, layer: region/eu}}\nspec: {{attributes: {{dataclassification: [{values}]}}}}\n"
        )
    };
    let of = |more: &str| program_of(FEDERATION, BASE, more);
    let (none, wide) = (of(""), of(&classes("public, internal")));
    assert!(none.diff(&wide).changes.is_empty(), "{}", none.diff(&wide));
    let narrow = of(&classes("internal"));
    let found = none.diff(&narrow);
    let [change] = found.changes.as_slice() else { panic!("{found}") };
    assert_eq!(change.effect, Some(Effect::Tighter), "{change}");
    assert!(change.what.contains("public") && !narrow.diff(&none).is_no_looser(), "{change}");
}

#[test]
fn many_zones_make_few_entries() {
    let zones: String = (0..40)
        .map(|at| format!("    z-{at}: {{region: r-{}, jurisdiction: EU, cloud: c}}\n", at % 4))
        .collect();
    let federation = format!(
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {{name: test}}\nspec:\n  zones:\n{zones}  bridges: [{{id: a, zone: z-0}}]\n"
    );
    let more =
        format!("{BASE}    - {{name: q, match: {{topics: [\"b.*\", \"c.*\", \"d\"]}}, permit: {{}}}}\n");
    let found = program_of(&federation, BASE, "").diff(&program_of(&federation, &more, ""));
    let [change] = found.changes.as_slice() else { panic!("{found}") };
    assert_eq!((change.pair_count, change.topic_count), (40 * 39, 3));
    assert!(change.pairs.len() <= 10 && found.to_string().lines().count() < 12, "{found}");
}

#[test]
fn markdown_quotes_whatever_policies_say() {
    let rule = base("match: {topics: [\"a.**\"], event: {color: \"`|<b>`\"}}, deny: {}");
    let text = program(&rule).diff(&program(BASE)).markdown();
    assert!(text.starts_with("## Policy changes\n") && text.contains("`` "), "{text}");
    assert!(text.contains("**Something is newly allowed or weaker.**"), "{text}");
}

/// What egress redacts, the `forbid` behind the border finds no more; what it shows again, it finds again.
#[test]
fn a_check_behind_the_border_changes_with_the_form_that_egress_makes() {
    let forbid =
        "    - {name: f, match: {topics: [\"a.**\"], at: ingress}, forbid: {classes: [payment.card]}}\n";
    let redact = "    - {name: r, match: {topics: [\"a.**\"], at: egress}, protect: [{classes: [payment.card], as: redact}]}\n";
    let (plain, redacted) = (format!("{BASE}{forbid}"), format!("{BASE}{forbid}{redact}"));
    let found = diff(&plain, &redacted, &[ChangeKind::ChangedCheck, ChangeKind::Stronger]);
    let check = found.changes.iter().find(|one| one.kind == ChangeKind::ChangedCheck).expect("told");
    assert!(check.is_looser() && !found.is_no_looser(), "{check}");
    assert_eq!((check.effect, check.places.as_slice()), (Some(Effect::Looser), ["arrives"].as_slice()));
    assert!(check.what.contains("base/f") && check.what.contains("payment.card"), "{check}");
    assert!(check.depends_on.iter().any(|one| one.when.contains("holds payment.card")), "{check}");
    assert!(check.example.judged, "an event with a card arrives now: {check}");

    let found = diff(&redacted, &plain, &[ChangeKind::Weaker, ChangeKind::ChangedCheck]);
    let check = found.changes.iter().find(|one| one.kind == ChangeKind::ChangedCheck).expect("told");
    assert_eq!(check.effect, Some(Effect::Tighter), "{check}");
}

#[test]
fn a_check_behind_the_border_that_reads_something_else_stays_as_it_is() {
    let redact = "    - {name: r, match: {topics: [\"a.**\"], at: egress}, protect: [{classes: [payment.card], as: redact}]}\n";
    for check in [
        "match: {topics: [\"a.**\"], at: ingress}, forbid: {classes: [contact]}",
        "match: {topics: [\"a.**\"], at: ingress}, require: {attributes: {traceparent: {}}}",
        "match: {topics: [\"b\"], at: ingress}, forbid: {classes: [payment.card]}",
        "match: {topics: [\"a.**\"], at: egress}, forbid: {classes: [contact]}",
    ] {
        let plain = format!("{BASE}    - {{name: f, {check}}}\n");
        diff(&plain, &format!("{plain}{redact}"), &[ChangeKind::Stronger]);
    }
    // A condition that reads the data decides otherwise where they are other data.
    let condition = "    - {name: f, match: {topics: [\"a.**\"], at: ingress, when: 'event.data.?card.hasValue()'}, deny: {}}\n";
    let plain = format!("{BASE}{condition}");
    let found = diff(&plain, &format!("{plain}{redact}"), &[ChangeKind::ChangedCheck, ChangeKind::Stronger]);
    assert!(found.changes.iter().any(|one| one.effect == Some(Effect::Either)), "{found}");
}

fn classified(layer: &str, topic: &str) -> String {
    format!(
        "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: data, layer: {layer}}}\nspec: {{topics: [{{match: \"a.**\", {topic}}}]}}\n"
    )
}

/// One rule, and what two editions of a Classification say: whether something is looser, and what is told.
#[track_caller]
fn known(rule: &str, old: (&str, &str), new: (&str, &str)) -> Diff {
    let of = |(layer, topic)| program_of(FEDERATION, &base(rule), &classified(layer, topic));
    assert!(of(old).diff(&of(old)).changes.is_empty());
    of(old).diff(&of(new))
}

#[test]
fn what_unreadable_data_hold_changes_what_rules_stop() {
    let all = "federation";
    for rule in [
        "match: {topics: [\"a.**\"]}, protect: [{classes: [payment.card], as: redact}]",
        "match: {topics: [\"a.**\"]}, forbid: {classes: [payment.card]}",
    ] {
        for old in ["mayHold: [contact]", "mayHold: [contact], opaque: [payment.card]"] {
            let nothing = "mayHold: [contact], opaque: []";
            let found = known(rule, (all, old), (all, nothing));
            assert!(!found.is_no_looser(), "{rule}: {found}");
            assert!(found.changes.iter().all(|one| one.effect == Some(Effect::Looser)), "{rule}: {found}");
            let found = known(rule, (all, nothing), (all, old));
            assert!(found.is_no_looser() && !found.changes.is_empty(), "{rule}: {found}");
            // An inner layer's word does not reach an outer rule.
            let found = known(rule, ("zone/eu-1", old), ("zone/eu-1", nothing));
            assert!(found.is_no_looser(), "{rule}: {found}");
        }
    }
}

#[test]
fn what_topics_are_known_to_hold_changes_what_is_forbidden() {
    let all = "federation";
    let undeclared = "match: {topics: [\"a.**\"]}, forbid: {classes: [payment], undeclared: true}";
    let (few, more) = ((all, "mayHold: [contact]"), (all, "mayHold: [contact, payment]"));
    assert!(!known(undeclared, few, more).is_no_looser());
    let found = known(undeclared, more, few);
    assert!(found.is_no_looser() && !found.changes.is_empty(), "{found}");
    let forbid = "match: {topics: [\"a.**\"]}, forbid: {classes: [person.name]}";
    let (field, somewhere) = ((all, "fields: {\"$.data.v\": person.name}"), (all, "mayHold: [person.name]"));
    assert!(!known(forbid, field, somewhere).is_no_looser());
    let found = known(forbid, somewhere, field);
    assert!(found.is_no_looser() && !found.changes.is_empty(), "{found}");
}

#[test]
fn a_declaration_that_moves_to_an_inner_layer_is_known_to_fewer() {
    let rule = "match: {topics: [\"a.**\"]}, protect: [{classes: [person.name], as: redact}]";
    let field = "fields: {\"$.data.v\": person.name}";
    let found = known(rule, ("federation", field), ("zone/eu-1", field));
    assert!(found.count(ChangeKind::Weaker) > 0, "{found}");
    let found = known(rule, ("zone/eu-1", field), ("federation", field));
    assert!(found.is_no_looser() && !found.changes.is_empty(), "{found}");
}

/// A text cannot be protected where fields are declared; it passes where they are not.
#[test]
fn fields_that_are_declared_no_more_let_texts_through() {
    let rule = "match: {topics: [\"a.**\"]}, protect: [{classes: [payment.card], as: redact}]";
    let (field, somewhere) = ("fields: {\"$.data.v\": contact.email}", "mayHold: [contact.email]");
    let found = known(rule, ("federation", field), ("federation", somewhere));
    assert!(!found.is_no_looser(), "{found}");
    assert!(known(rule, ("federation", somewhere), ("federation", field)).is_no_looser());
}

#[test]
fn a_signature_that_may_be_removed_is_told() {
    let rule = |more: &str| {
        base(&format!(
            "match: {{topics: [\"a.**\"]}}, protect: [{{fields: [\"$.data.v\"], as: redact{more}}}]"
        ))
    };
    let change = only(&rule(", signatures: error"), &rule(""), ChangeKind::ChangedCheck);
    assert_eq!(change.effect, Some(Effect::Looser), "{change}");
    assert!(change.places.contains(&"sent"), "{change}");
    let change = only(&rule(""), &rule(", signatures: error"), ChangeKind::ChangedCheck);
    assert_eq!(change.effect, Some(Effect::Tighter), "{change}");
}

#[test]
fn what_rules_read_of_zones_changes_with_the_zones() {
    let moved =
        FEDERATION.replace("us-1: {region: us, jurisdiction: US", "us-1: {region: us, jurisdiction: EU");
    let between =
        |rule: &str| program_of(FEDERATION, &base(rule), "").diff(&program_of(&moved, &base(rule), ""));
    let found = between("match: {topics: [\"a.**\"], when: 'to.jurisdiction == \"US\"'}, deny: {}");
    assert!(found.count(ChangeKind::NewlyAllowed) > 0, "{found}");
    for change in &found.changes {
        assert!(change.pairs.iter().all(|pair| pair.to == "us-1"), "{change}");
    }
    let pattern =
        "match: {topics: [\"a.**\"]}, require: {attributes: {k: {pattern: \"^${to.jurisdiction}$\"}}}";
    let found = between(pattern);
    assert!(found.changes.iter().any(|one| one.effect == Some(Effect::Either)), "{found}");
    let labelled = FEDERATION.replace("US, cloud: c-1", "US, cloud: c-1, labels: {open: \"yes\"}");
    let rule = base("match: {topics: [\"a.**\"], when: 'event.type in to.labels'}, deny: {}");
    let found = program_of(&labelled, &rule, "").diff(&program_of(FEDERATION, &rule, ""));
    assert!(found.count(ChangeKind::NewlyAllowed) > 0, "{found}");
    // What reads something else stays as it is.
    for rule in [
        "match: {topics: [\"a.**\"], when: 'to.region == \"us\"'}, deny: {}",
        "match: {topics: [\"a.**\"]}, require: {attributes: {k: {pattern: \"^${to.region}$\"}}}",
    ] {
        assert!(between(rule).changes.is_empty(), "{}", between(rule));
    }
}

#[test]
fn a_link_that_is_denied_or_open_again_is_told() {
    let rule = |links: &str| base(&format!("match: {{topics: [\"a.x\"], links: [{links}]}}, deny: {{}}"));
    let (none, one, two) = (BASE.to_owned(), rule("eu-1/us-1"), rule("us-1/eu-1, eu-1/eu-2"));
    let closed = only(&none, &one, ChangeKind::ChangedCheck);
    assert_eq!(
        (closed.effect, &*closed.what),
        (Some(Effect::Tighter), "base/r: the link eu-1/us-1 may not be crossed")
    );
    assert!(closed.is_certain && closed.example.judged && !closed.is_looser(), "{closed}");
    assert_eq!(
        (closed.places.as_slice(), closed.topics.as_slice()),
        (&["sent"][..], &["a.x".to_owned()][..])
    );
    let open = only(&two, &one, ChangeKind::ChangedCheck);
    assert_eq!(
        (open.effect, &*open.what),
        (Some(Effect::Looser), "base/r: the link eu-1/eu-2 may be crossed")
    );
    assert!(open.is_certain && open.is_looser() && open.after.len() == 1, "{open}");
    let open = only(&two, &none, ChangeKind::ChangedCheck);
    assert_eq!(open.what, "base/r: the links eu-1/eu-2, eu-1/us-1 may be crossed");
    diff(&one, &one, &[]);
    let shadow = one.replace("deny: {}", "mode: shadow, deny: {}");
    assert!(only(&one, &shadow, ChangeKind::ChangedCheck).is_looser());
    let except = one.replace("deny: {}", "except: {to: {zones: [eu-2]}}, deny: {}");
    let narrower = only(&one, &except, ChangeKind::ChangedCheck);
    assert_eq!((narrower.is_looser(), narrower.pair_count), (true, 2), "{narrower}");
    let when = one.replace("links:", "event: {color: red}, links:");
    let depends = only(&one, &when, ChangeKind::ChangedCheck);
    assert!(depends.is_looser(), "{depends}");
    let origin = one.replace("links:", "at: egress, links:");
    assert!(only(&one, &origin, ChangeKind::ChangedCheck).is_looser(), "the others judge it no more");
}

#[test]
fn what_is_kept_that_was_not_is_told() {
    let rule = |action: &str, how: &str| base(&format!("match: {{topics: [a.x]}}, {action}: {how}"));
    for (action, what, key) in [
        ("deny", "{}", "onViolation"),
        ("forbid", "{classes: [payment]}", "onViolation"),
        ("require", "{attributes: {subject: {}}}", "onViolation"),
        ("protect", "[{classes: [payment], as: drop}]", "onError"),
    ] {
        let ends = |end: &str| rule(action, &format!("{what}, {key}: {end}"));
        for (before, after) in
            [("reject", "quarantine"), ("reject", "dead-letter"), ("dead-letter", "quarantine")]
        {
            let change = only(&ends(before), &ends(after), ChangeKind::Kept);
            assert!(change.is_looser() && change.what.contains("a copy is kept"), "{change}");
            assert_eq!(change.places.first(), Some(&"sent"), "{change}");
            let change = only(&ends(after), &ends(before), ChangeKind::Kept);
            assert!(!change.is_looser(), "{change}");
        }
    }
    // A rule that cannot be in error, and what no permit or another rule lets nobody keep.
    diff(&rule("deny", "{}, onError: reject"), &rule("deny", "{}, onError: quarantine"), &[]);
    let asks = |end: &str| {
        base(&format!("match: {{topics: [a.x], at: egress, publisher: [p]}}, deny: {{}}, onError: {end}"))
    };
    assert!(only(&asks("reject"), &asks("quarantine"), ChangeKind::Kept).what.contains("cannot judge"));
    let closed = |end: &str| base(&format!("match: {{topics: [b]}}, deny: {{}}, onViolation: {end}"));
    diff(&closed("reject"), &closed("quarantine"), &[]);
    let both = |end: &str| {
        format!(
            "{}    - {{name: s, match: {{topics: [a.x]}}, deny: {{}}}}\n",
            rule("deny", &format!("{{}}, onViolation: {end}"))
        )
    };
    diff(&both("reject"), &both("quarantine"), &[]);
    // What passed before was in the hands of its recipient.
    diff(BASE, &rule("deny", "{}, onViolation: quarantine"), &[ChangeKind::NewlyBlocked]);
}
