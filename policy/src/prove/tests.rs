//! What is proved and what is not, case by case; `oracle` compares with concrete runs of the engine.

pub(crate) mod oracle;

use super::{Proof, Refutation};
use crate::{Federation, Program, SourceFile, compile};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    eu-1: {region: eu, jurisdiction: EU}
    eu-2: {region: eu, jurisdiction: EU}
    us-1: {region: us, jurisdiction: US}
    cn-1: {region: cn, jurisdiction: CN}
  bridges: [{id: a, zone: eu-1}, {id: a-2, zone: eu-1}, {id: b, zone: eu-2}, {id: c, zone: us-1}, {id: d, zone: cn-1}]
  keys:
    tokens: {use: pseudonymise, version: 1, zones: [eu-1, eu-2]}
    seal: {use: encrypt, version: 1, zones: [eu-1, eu-2, cn-1]}
    other: {use: encrypt, version: 1, zones: [eu-1, us-1]}
"#;

const CLASSES: &str = r#"
apiVersion: meshbridge/v1
kind: Classification
metadata: {name: data, layer: federation}
spec:
  topics:
    - {match: "orders.**", mayHold: [payment.card]}
    - {match: "people.*", fields: {"$.data.mail": contact.email}}
    - {match: "kyc.**", mayHold: [gov-id]}
"#;

fn document(name: &str, layer: &str, rules: &str) -> String {
    format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n{rules}"
    )
}

fn program(policies: &str, classes: &str) -> Program {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    let files: Vec<SourceFile> = policies
        .split("---\n")
        .chain([classes])
        .enumerate()
        .filter(|(_, text)| !text.is_empty())
        .map(|(at, text)| file(&format!("p{at}.yaml"), text))
        .collect();
    compile(&files, &federation, None).unwrap_or_else(|problems| panic!("{problems}")).program
}

fn invariant(never: &str) -> String {
    format!(
        "apiVersion: meshbridge/v1\nkind: Invariant\nmetadata: {{name: asked, layer: federation}}\nspec: {{never: {never}}}\n"
    )
}

/// Rules of the layer federation, and a question.
fn asked(rules: &str, never: &str) -> Proof {
    let policies = format!("{}---\n{}", document("base", "federation", rules), invariant(never));
    let mut proofs = program(&policies, CLASSES).prove_invariants();
    assert_eq!(proofs.len(), 1);
    proofs.remove(0).proof
}

#[track_caller]
fn proved(rules: &str, never: &str) {
    let proof = asked(rules, never);
    assert!(proof.is_proved(), "{proof}");
}

#[track_caller]
fn refuted(rules: &str, never: &str) -> Refutation {
    match asked(rules, never) {
        Proof::Refuted(refutation) => *refutation,
        other => panic!("{other}"),
    }
}

fn way(refutation: &Refutation) -> String {
    refutation.counterexample.way()
}

const ALL: &str = "    - {name: all, match: {topics: [\"**\"]}, permit: {}}\n";
const CARD: &str = "{classes: [payment.card], discloses: [value, partial], except: {same: [jurisdiction]}}";

fn with(rules: &str) -> String {
    format!("{ALL}{rules}")
}

#[test]
fn what_nothing_permits_goes_nowhere() {
    proved("    - {name: some, match: {topics: [\"catalog.**\"]}, permit: {}}\n", CARD);
}

#[test]
fn what_is_permitted_and_not_protected_is_certain_to_be_seen() {
    let found = refuted(ALL, CARD);
    assert!(found.counterexample.is_certain() && !found.relay_only, "{found:?}");
    assert_eq!(found.counterexample.topic, "orders");
    assert_eq!(found.counterexample.steps[0].permits[0].rule, "base/all");
    assert_eq!(found.counterexample.steps[0].shows[0], "value");
}

#[test]
fn a_class_that_no_topic_holds_is_not_seen() {
    proved(ALL, "{classes: [payment.iban], discloses: [value]}");
}

#[test]
fn a_certain_protection_is_relied_on() {
    let redact =
        "    - {name: r, match: {topics: [\"orders.**\"]}, protect: [{classes: [payment], as: redact}]}\n";
    proved(&with(redact), CARD);
    proved(&with(redact), "{classes: [payment.card], discloses: [value, partial, link]}");
    let found = refuted(&with(redact), "{classes: [payment.card], discloses: [type]}");
    assert_eq!(found.counterexample.steps[0].protections[0].rule, "base/r");
}

#[test]
fn value_includes_guess_and_a_mask_shows_a_part() {
    let hash = "    - {name: h, match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: hash}]}\n";
    refuted(&with(hash), "{classes: [payment.card], discloses: [value]}");
    proved(&with(hash), "{classes: [payment.card], discloses: [partial]}");
    let mask = "    - {name: m, match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: mask, keep: {last: 4}}]}\n";
    proved(&with(mask), "{classes: [payment.card], discloses: [value]}");
    refuted(&with(mask), "{classes: [payment.card], discloses: [partial]}");
}

#[test]
fn what_is_not_certain_is_not_relied_on() {
    let protect = "protect: [{classes: [payment.card], as: redact}]";
    for (condition, mode) in [
        ("match: {topics: [\"**\"], event: {color: red}}", ""),
        ("match: {topics: [\"**\"]}, except: {event: {color: red}}", ""),
        ("match: {topics: [\"**\"]}", ", mode: shadow"),
        ("match: {topics: [\"**\"]}", ", mode: warn"),
        ("match: {topics: [\"**\"], at: ingress}", ""),
    ] {
        refuted(&with(&format!("    - {{name: r, {condition}{mode}, {protect}}}\n")), CARD);
    }
    let high = "    - {name: r, match: {topics: [\"**\"]}, protect: [{classes: [payment], confidence: high, as: redact}]}\n";
    let found = refuted(&with(high), CARD);
    assert!(!found.counterexample.is_certain(), "{found:?}");
    // A declared field is no matter of confidence.
    let high = "    - {name: r, match: {topics: [\"**\"]}, protect: [{classes: [contact], confidence: high, as: redact}]}\n";
    proved(&with(high), "{classes: [contact.email], discloses: [value]}");
}

#[test]
fn checks_stop_nothing_in_a_proof() {
    let forbid = "    - {name: f, match: {topics: [\"**\"]}, forbid: {classes: [payment]}}\n";
    let found = refuted(&with(forbid), CARD);
    assert!(!found.counterexample.is_certain());
    let require =
        "    - {name: q, match: {topics: [\"**\"]}, require: {attributes: {color: {enum: [red]}}}}\n";
    let found = refuted(&with(require), CARD);
    assert!(found.counterexample.is_certain());
    assert_eq!(found.counterexample.checks[0].rule, "base/q");
}

#[test]
fn a_waived_rule_is_not_relied_on() {
    let rules = with("    - {name: d, match: {topics: [\"orders.**\"]}, deny: {}}\n");
    proved(&rules, CARD);
    let waiver = "apiVersion: meshbridge/v1\nkind: Waiver\nmetadata: {name: w, layer: federation}\nspec: {rule: base/d, match: {topics: [\"orders.eu.**\"]}, expires: \"2027-01-01T00:00:00Z\", reason: r}\n";
    let policies = format!("{}---\n{waiver}---\n{}", document("base", "federation", &rules), invariant(CARD));
    let proofs = program(&policies, CLASSES).prove_invariants();
    let Proof::Refuted(found) = &proofs[0].proof else { panic!("{}", proofs[0].proof) };
    assert_eq!(found.counterexample.topic, "orders.eu");
    assert_eq!(found.counterexample.depends_on[0].place.rule, "base/d");
}

#[test]
fn a_family_counts_as_a_member_that_nobody_knows() {
    let never = "{classes: [gov-id], discloses: [value, partial], except: {same: [jurisdiction]}}";
    let family =
        "    - {name: r, match: {topics: [\"kyc.**\"]}, protect: [{classes: [gov-id], as: redact}]}\n";
    proved(&with(family), never);
    let known: Vec<&str> =
        crate::Class::all().filter(|class| class.is_in("gov-id")).map(|class| class.name()).collect();
    let each = format!(
        "    - {{name: r, match: {{topics: [\"kyc.**\"]}}, protect: [{{classes: [{}], as: redact}}]}}\n",
        known.join(", ")
    );
    let found = refuted(&with(&each), never);
    assert!(found.counterexample.class.contains("gov-id that no rule names"), "{found:?}");
    let less = "    - {name: r, match: {topics: [\"kyc.**\"]}, protect: [{classes: [gov-id], except: [gov-id.us], as: redact}]}\n";
    refuted(&with(less), never);
}

#[test]
fn a_path_protects_what_is_declared_there() {
    let never = "{classes: [contact.email], discloses: [value, partial]}";
    let path = |path: &str| {
        with(&format!(
            "    - {{name: r, match: {{topics: [\"people.*\"]}}, protect: [{{fields: [\"{path}\"], as: redact}}]}}\n"
        ))
    };
    proved(&path("$.data.mail"), never);
    proved(&path("$.data"), never);
    proved(&path("$.data..mail"), never);
    refuted(&path("$.data.other"), never);
    let found = refuted(&path("$.data.mail.x"), never);
    assert_eq!(found.counterexample.field.as_deref(), Some("$.data.mail"));
    // Of what is somewhere no path can be sure.
    let orders =
        "    - {name: r, match: {topics: [\"**\"]}, protect: [{fields: [\"$.data\"], as: redact}]}\n";
    refuted(&with(orders), CARD);
}

#[test]
fn a_cipher_is_the_value_where_its_key_is() {
    let seal = "    - {name: s, match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: encrypt, key: seal}]}\n";
    let never = |zone: &str| {
        format!(
            "{{classes: [payment.card], discloses: [value], match: {{from: {{zones: [eu-1]}}, to: {{zones: [{zone}]}}}}, relay: false}}"
        )
    };
    proved(&with(seal), &never("us-1"));
    let found = refuted(&with(seal), &never("cn-1"));
    assert_eq!(found.counterexample.steps[0].form, "cipher under seal.1");
    let token = "    - {name: t, match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: pseudonymise, key: tokens}]}\n";
    proved(&with(token), &never("us-1"));
    refuted(&with(token), &never("eu-2"));
    // Two keys meet in nothing but the type.
    let other = format!(
        "{seal}    - {{name: o, match: {{topics: [\"**\"]}}, protect: [{{classes: [payment.card], as: encrypt, key: other}}]}}\n"
    );
    proved(&with(&other), &never("cn-1"));
}

#[test]
fn a_holder_of_the_key_may_publish_the_value_again() {
    // To cn-1 it goes sealed, from cn-1 to us-1 in clear, and cn-1 has the key.
    let rules = with(
        "    - {name: s, match: {topics: [\"**\"], to: {zones: [cn-1]}}, protect: [{classes: [payment.card], as: encrypt, key: seal}]}
    - {name: d, match: {topics: [\"**\"], from: {zones: [eu-1, eu-2]}, to: {zones: [us-1]}}, deny: {}}
    - {name: c, match: {topics: [\"**\"], at: transit}, deny: {}}\n",
    );
    let never =
        "{classes: [payment.card], discloses: [value], match: {from: {regions: [eu]}, to: {zones: [us-1]}}}";
    let found = refuted(&rules, never);
    assert!(found.relay_only);
    assert!(way(&found).ends_with("-> cn-1 -> us-1"), "{}", way(&found));
    proved(&rules, &never.replace("us-1]}}", "us-1]}}, relay: false"));
}

#[test]
fn a_value_goes_on_from_zones_that_may_have_it() {
    let rules = with(
        "    - {name: r, match: {topics: [\"**\"], from: {jurisdictions: [EU]}, to: {zones: [us-1]}}, protect: [{classes: [payment], as: redact}]}
    - {name: c, match: {topics: [\"**\"], at: transit}, deny: {}}\n",
    );
    let never =
        "{classes: [payment.card], discloses: [value], match: {from: {zones: [eu-1]}, to: {zones: [us-1]}}}";
    let found = refuted(&rules, never);
    assert_eq!(way(&found), "eu-1 -> cn-1 -> us-1");
    assert!(found.relay_only);
}

#[test]
fn a_mask_that_was_published_again_passes_class_rules() {
    // cn-1 gets a mask; what goes on from it is redacted by class, which no longer knows it.
    let rules = |demand: &str| {
        with(&format!(
            "    - {{name: m, match: {{topics: [\"**\"], to: {{zones: [cn-1]}}}}, protect: [{{classes: [contact.email], as: mask, keep: {{last: 4}}}}]}}
    - {{name: d, match: {{topics: [\"**\"], from: {{regions: [eu]}}, to: {{zones: [us-1]}}}}, deny: {{}}}}
    - {{name: r, match: {{topics: [\"**\"], from: {{zones: [cn-1]}}}}, protect: [{{{demand}, as: redact}}]}}
    - {{name: c, match: {{topics: [\"**\"], at: transit}}, deny: {{}}}}\n"
        ))
    };
    let never = "{classes: [contact.email], discloses: [partial], match: {from: {regions: [eu]}, to: {zones: [us-1]}}}";
    refuted(&rules("classes: [contact]"), never);
    proved(&rules("fields: [\"$.data.mail\"]"), never);
}

#[test]
fn a_mask_that_only_some_events_get_is_looked_at_too() {
    // In clear to cn-1 but for red events, which get a mask; a mask then passes the class rule behind.
    let rules = with(
        "    - {name: m, match: {topics: [\"**\"], to: {zones: [cn-1]}, event: {color: red}}, protect: [{classes: [contact.email], as: mask, keep: {last: 4}}]}
    - {name: d, match: {topics: [\"**\"], from: {regions: [eu]}, to: {zones: [us-1]}}, deny: {}}
    - {name: r, match: {topics: [\"**\"], from: {zones: [cn-1]}}, protect: [{classes: [contact], as: redact}]}
    - {name: c, match: {topics: [\"**\"], at: transit}, deny: {}}\n",
    );
    let never = "{classes: [contact.email], discloses: [partial], match: {from: {regions: [eu]}, to: {zones: [us-1]}}}";
    let found = refuted(&rules, never);
    assert!(!found.counterexample.is_certain(), "{found:?}");
}

#[test]
fn a_carrier_sees_what_it_carries() {
    let rules =
        "    - {name: all, match: {topics: [\"**\"], at: [egress, ingress], to: {zones: [eu-2]}}, permit: {}}
    - {name: way, match: {topics: [\"**\"], at: transit}, permit: {}}\n";
    let never = "{classes: [payment.card], discloses: [value, partial], match: {from: {zones: [eu-1]}, to: {zones: [us-1]}}}";
    let found = refuted(rules, never);
    assert_eq!(found.counterexample.steps[0].role, super::Role::Carrier { towards: "eu-2".to_owned() });
    assert!(found.counterexample.is_certain());
    // What is demanded towards the carrier it would have to edit, and a carrier edits nothing.
    let demand = format!(
        "{rules}    - {{name: r, match: {{topics: [\"**\"], to: {{zones: [us-1, cn-1]}}}}, protect: [{{classes: [payment], as: redact}}]}}\n"
    );
    proved(&demand, never);
    let deny = format!(
        "{rules}    - {{name: r, match: {{topics: [\"**\"], at: egress, to: {{zones: [us-1, cn-1]}}}}, deny: {{}}}}\n"
    );
    proved(&deny, never);
}

#[test]
fn what_bridges_of_one_zone_send_each_other_is_carried_as_it_is() {
    let rules = |more: &str| {
        format!(
            "    - {{name: out, match: {{topics: [\"**\"], from: {{zones: [eu-1]}}, to: {{zones: [us-1]}}, at: [egress, ingress]}}, permit: {{}}}}
    - {{name: way, match: {{topics: [\"**\"], from: {{zones: [eu-1]}}, to: {{zones: [eu-2]}}, at: transit}}, permit: {{}}}}
    - {{name: r, match: {{topics: [\"**\"], from: {{zones: [eu-1]}}, to: {{zones: [us-1]}}}}, protect: [{{classes: [payment], as: redact}}]}}\n{more}"
        )
    };
    let back = "    - {name: back, match: {topics: [\"**\"], from: {zones: [eu-2]}, to: {zones: [eu-1]}}, permit: {}}\n";
    let never =
        "{classes: [payment.card], discloses: [value], match: {from: {zones: [eu-1]}, to: {zones: [eu-2]}}}";
    let found = refuted(&rules(back), never);
    assert_eq!(found.counterexample.steps[0].role, super::Role::Carrier { towards: "eu-1".to_owned() });
    assert!(found.counterexample.is_certain() && !found.relay_only, "{found:?}");
    // Who is not told what a zone wants carries nothing to it.
    proved(&rules(""), never);
    let demand = "    - {name: m, match: {topics: [\"**\"], to: {zones: [eu-2]}}, protect: [{classes: [payment], as: redact}]}\n";
    proved(&rules(&format!("{back}{demand}")), never);
    let deny = "    - {name: d, match: {topics: [\"**\"], at: egress, to: {zones: [eu-2]}}, deny: {}}\n";
    proved(&rules(&format!("{back}{deny}")), never);
}

#[test]
fn a_bridge_alone_in_its_zone_sends_nothing_to_it() {
    // Both send nothing but `z` to other zones: eu-1 has two bridges, eu-2 one.
    for (zone, is_proved) in [("eu-1", false), ("eu-2", true)] {
        let only = "    - {name: only, match: {topics: [z], at: egress}, permit: {}}\n";
        let never = format!(
            "{{classes: [payment.card], discloses: [value], match: {{topics: [orders], from: {{zones: [{zone}]}}, to: {{zones: [us-1]}}}}}}"
        );
        let inner = document("inner", &format!("zone/{zone}"), only);
        let policies = [document("base", "federation", ALL), inner, invariant(&never)];
        let proof = program(&policies.join("---\n"), CLASSES).prove_invariants().remove(0).proof;
        assert_eq!(proof.is_proved(), is_proved, "{zone}: {proof}");
    }
}

#[test]
fn subscribers_are_asked_about_after_all_borders() {
    let at = |context: &str| {
        with(&format!(
            "    - {{name: r, match: {{topics: [\"**\"], at: {context}}}, protect: [{{classes: [payment], as: redact}}]}}\n"
        ))
    };
    for (context, egress, deliver) in
        [("egress", true, true), ("ingress", false, true), ("deliver", false, true)]
    {
        let never = "{classes: [payment.card], discloses: [value]";
        // Carriers have to be left out: at ingress nothing was protected for them.
        assert_eq!(asked(&at(context), &format!("{never}}}")).is_proved(), egress, "{context}");
        assert_eq!(asked(&at(context), &format!("{never}, at: deliver}}")).is_proved(), deliver, "{context}");
    }
}

/// What the recipient sees has no key any more; but the sender had to make a token of it first, and cannot.
#[test]
fn what_nobody_can_make_for_want_of_a_key_is_not_certain() {
    let rules = with(
        "    - {name: t, match: {topics: [\"orders.**\"], at: egress}, protect: [{classes: [payment.card], as: pseudonymise, key: tokens}]}\n    - {name: r, match: {topics: [\"orders.**\"], at: deliver}, protect: [{classes: [payment.card], as: redact}]}\n",
    );
    let never = |from: &str| {
        format!(
            "{{classes: [payment.card], discloses: [type], at: deliver, relay: false, match: {{from: {{zones: [{from}]}}, to: {{zones: [cn-1]}}}}}}"
        )
    };
    let depends = |from: &str| {
        let one = refuted(&rules, &never(from)).counterexample;
        one.depends_on.iter().map(|one| one.why.clone()).collect::<Vec<_>>().join("; ")
    };
    assert!(
        depends("us-1").contains("us-1 can make it, though it does not hold tokens.1"),
        "{}",
        depends("us-1")
    );
    assert!(!depends("eu-1").contains("does not hold"), "{}", depends("eu-1"));
}

#[test]
fn where_no_classification_speaks_everything_may_be_anywhere() {
    let policies = format!("{}---\n{}", document("base", "federation", ALL), invariant(CARD));
    let proofs = program(&policies, "").prove_invariants();
    assert!(!proofs[0].proof.is_proved());
}

#[test]
fn inner_layers_narrow_and_residency_stops() {
    let base = document("base", "federation", ALL);
    let eu =
        "    - {name: home, match: {topics: [\"orders.**\"]}, residency: {allow: {jurisdictions: [EU]}}}\n";
    let never = "{classes: [payment.card], discloses: [value], match: {from: {jurisdictions: [EU]}}, except: {same: [jurisdiction]}}";
    let policies = format!("{base}---\n{}---\n{}", document("eu", "region/eu", eu), invariant(never));
    assert!(program(&policies, CLASSES).prove_invariants()[0].proof.is_proved());
    let narrow = "    - {name: only, match: {topics: [\"catalog.**\"], at: [egress, transit]}, permit: {}}\n";
    let policies = format!("{base}---\n{}---\n{}", document("eu", "region/eu", narrow), invariant(never));
    assert!(program(&policies, CLASSES).prove_invariants()[0].proof.is_proved());
}

/// Rules of the layer federation, a Classification of an inner layer beside the one given, and a question.
fn asked_of(rules: &str, classes: &str, inner: (&str, &str), never: &str) -> Proof {
    let (layer, topics) = inner;
    let inner = format!(
        "apiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: inner, layer: {layer}}}\nspec: {{topics: [{topics}]}}\n"
    );
    let policies = format!("{}---\n{inner}---\n{}", document("base", "federation", rules), invariant(never));
    program(&policies, classes).prove_invariants().remove(0).proof
}

#[test]
fn a_declaration_is_relied_on_only_where_its_layer_speaks() {
    let inner = ("zone/eu-1", "{match: \"names\", fields: {\"$.data.zzz\": person.name}}");
    let rule = |more: &str| {
        with(&format!(
            "    - {{name: r, match: {{topics: [\"names\"]{more}}}, protect: [{{classes: [person.name], as: redact}}]}}\n"
        ))
    };
    let never =
        "{classes: [person.name], discloses: [value], match: {from: {zones: [eu-1]}, to: {zones: [us-1]}}}";
    // Its own zone declares it, and redacts it for everybody.
    assert!(asked_of(&rule(""), CLASSES, inner, never).is_proved());
    // In clear it gets to another zone, where nothing says what stands there.
    let Proof::Refuted(found) = asked_of(&rule(", to: {zones: [us-1]}"), CLASSES, inner, never) else {
        panic!("proved")
    };
    assert!(found.relay_only && !found.counterexample.is_certain(), "{found}");
    assert!(found.counterexample.depends_on.iter().any(|one| one.why.contains("declares")), "{found}");
    // Behind the border the recipient's layers are asked.
    let deliver = "{classes: [person.name], discloses: [value], at: deliver, relay: false, match: {to: {zones: [us-1]}}}";
    let behind = rule(", at: [ingress, deliver]");
    assert!(!asked_of(&behind, CLASSES, inner, deliver).is_proved());
    assert!(asked_of(&behind, CLASSES, ("federation", inner.1), deliver).is_proved());
}

#[test]
fn what_unreadable_data_hold_is_stopped_only_by_rules_that_are_told_so() {
    let opaque = |classes: &str| {
        format!(
            "apiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: data, layer: federation}}\nspec: {{topics: [{{match: \"img\", opaque: {classes}}}]}}\n"
        )
    };
    let rules = with(
        "    - {name: r, match: {topics: [\"img\"]}, protect: [{classes: [payment.card], as: redact}]}\n",
    );
    let never = "{classes: [payment.card], discloses: [value]}";
    let inner = |classes: &str| format!("{{match: \"img\", opaque: {classes}}}");
    let card = inner("[payment.card]");
    // The outer layer says that such data hold nothing, and an inner layer's word does not reach its rule.
    let Proof::Refuted(found) = asked_of(&rules, &opaque("[]"), ("zone/eu-1", &card), never) else {
        panic!("proved")
    };
    assert!(found.counterexample.depends_on.iter().any(|one| one.why.contains("cannot be read")), "{found}");
    assert!(asked_of(&rules, &opaque("[payment.card]"), ("zone/eu-1", &card), never).is_proved());
    assert!(asked_of(&rules, &opaque("[payment.card]"), ("zone/eu-1", &inner("[]")), never).is_proved());
    // Where the outer layer says nothing its rule stops what it cannot read.
    assert!(
        asked_of(
            &rules,
            &opaque("[]").replace("opaque: []", "mayHold: [contact]"),
            ("zone/eu-1", &card),
            never
        )
        .is_proved()
    );
    assert!(asked_of(&rules, &opaque("[]"), ("zone/eu-1", &inner("[]")), never).is_proved());
}

#[test]
fn too_many_states_are_unknown_and_not_proved() {
    let filters: Vec<String> = (0..14).map(|at| format!("\"**.t{at}.{}\"", ["*"; 12].join("."))).collect();
    let rules = format!("    - {{name: all, match: {{topics: [{}]}}, permit: {{}}}}\n", filters.join(", "));
    let proof = asked(&rules, CARD);
    assert!(matches!(&proof, Proof::Unknown { filters, .. } if !filters.is_empty()), "{proof}");
}

/// A denied link takes ways away. It is no denial of a destination, nor of a carrier: what was seen is seen over another.
#[test]
fn denied_links_prove_nothing() {
    let all = "    - {name: all, match: {topics: [\"**\"]}, permit: {}}\n";
    let links = "    - {name: l, match: {topics: [\"**\"], links: [eu-1/us-1, eu-1/eu-2, eu-1/cn-1, eu-2/us-1]}, deny: {}}\n";
    let never =
        "{classes: [payment.card], discloses: [value], match: {from: {zones: [eu-1]}, to: {zones: [us-1]}}}";
    let refutation = refuted(&format!("{all}{links}"), never);
    assert_eq!(refutation.to_string(), refuted(all, never).to_string());
    let deny = "    - {name: d, match: {topics: [\"**\"], to: {zones: [us-1]}}, deny: {}}\n";
    proved(&format!("{all}{deny}{links}"), never.replace("}}}", "}}, relay: false}").as_str());
}
