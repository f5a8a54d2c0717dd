//! What inner layers do to attributes, by what outer rules ask of them.

use crate::{Federation, SourceFile, compile};

const FEDERATION: &str = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: f}\nspec:\n  zones: {eu: {region: eu}, us: {region: us}}\n  bridges: [{id: eu-1, zone: eu}, {id: us-1, zone: us}]\n  links: []\n";
const STRIP: &str = "match: {topics: [\"o.**\"], at: egress}, require: {attributes: {pad: {presence: optional, enum: [x]}}}, onViolation: strip";

fn policy(name: &str, layer: &str, rule: &str) -> String {
    format!(
        "---\napiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n    - {{name: ok, match: {{topics: [\"o.**\"]}}, permit: {{}}}}\n    - {{name: r, {rule}}}\n"
    )
}

/// The codes about an outer and an inner rule, with whatever else is said.
#[track_caller]
fn codes(outer: &str, inner: &str, more: &str) -> Vec<&'static str> {
    let source = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let federation = Federation::parse(&source("federation.yaml", FEDERATION.to_owned())).expect("valid");
    let text = format!("{}{}{more}", policy("f", "federation", outer), policy("z", "zone/eu", inner));
    let problems = match compile(&[source("policies.yaml", text)], &federation, None) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn an_inner_layer_strips_nothing_that_outer_rules_judge_whole_events_by() {
    for outer in [
        "match: {topics: [\"o.**\"], at: egress}, limit: {eventBytes: 200}",
        "match: {topics: [\"o.**\"], at: ingress}, limit: {rate: {bytes: 200, per: 1s}}",
        "match: {topics: [\"o.**\"], at: egress}, forbid: {classes: [payment]}",
        "match: {topics: [\"**\"]}, protect: [{fields: [\"$.data.v\"], as: redact, signatures: error}]",
        "match: {topics: [o.x], event: {pad: \"bad*\"}}, deny: {}",
    ] {
        assert_eq!(codes(outer, STRIP, ""), ["P0207"], "{outer}");
    }
    for outer in [
        "match: {topics: [\"p.**\"], at: egress}, limit: {eventBytes: 200}",
        "match: {topics: [\"o.**\"], at: publish}, limit: {eventBytes: 200}",
        "match: {topics: [\"o.**\"], at: egress}, limit: {dataBytes: 200}",
        "match: {topics: [\"o.**\"]}, protect: [{fields: [\"$.data.v\"], as: redact}]",
    ] {
        assert_eq!(codes(outer, STRIP, ""), [""; 0], "{outer}");
    }
    let obligation = STRIP.replace("pad", "dataclassification");
    assert_eq!(codes("match: {topics: [\"o.**\"]}, deny: {}", &obligation, ""), ["P0207"]);
}

#[test]
fn an_inner_layer_protects_no_attribute_that_outer_rules_read() {
    let outer = "match: {topics: [\"o.**\"], at: ingress, event: {pad: \"bad*\"}}, deny: {}";
    let declared = "---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {name: c, layer: zone/eu}\nspec: {topics: [{match: \"o.**\", fields: {\"$.pad\": person.name}}]}\n";
    let protect = |item: &str| format!("match: {{topics: [\"o.**\"], at: egress}}, protect: [{{{item}}}]");
    for how in ["drop", "redact", "mask"] {
        let by_name = protect(&format!("fields: [\"$.pad\"], as: {how}"));
        assert!(codes(outer, &by_name, "").contains(&"P0207"), "{how}");
        for classes in ["person", "person.name", "\"*\""] {
            let by_class = protect(&format!("classes: [{classes}], as: {how}"));
            assert!(codes(outer, &by_class, declared).contains(&"P0207"), "{how} {classes}");
            // A detector may find something in it, or may not.
            assert_eq!(codes(outer, &by_class, ""), ["P0208"], "{how} {classes}");
        }
    }
    let other = protect("classes: [payment], as: drop");
    assert_eq!(codes(outer, &other, declared), ["P0208"]);
    // What is required of an attribute holds no more where it is protected.
    let required = "match: {topics: [\"o.**\"]}, require: {attributes: {pad: {}}}";
    assert_eq!(codes(required, &protect("fields: [\"$.pad\"], as: redact"), ""), [""; 0]);
    assert_eq!(codes(required, &protect("fields: [\"$.pad\"], as: drop"), ""), ["P0207"]);
}

#[test]
fn a_condition_on_an_attribute_that_may_be_protected_is_warned_about() {
    let protect = "match: {topics: [\"o.**\"], at: egress}, protect: [{classes: [contact], as: redact}]";
    for (condition, warned) in [
        ("at: ingress, event: {pad: bad}", true),
        ("at: ingress, when: \"event.?pad.orValue('') == 'bad'\"", true),
        ("at: deliver, event: {pad: bad}", true),
        // Judged before anything is protected.
        ("at: egress, event: {pad: bad}", false),
        ("at: [egress, ingress], event: {pad: bad}", false),
        ("at: ingress, event: {type: bad}", false),
        ("at: ingress", false),
    ] {
        let outer = format!("match: {{topics: [\"o.**\"], {condition}}}, deny: {{}}");
        let expected: &[&str] = if warned { &["P0208"] } else { &[] };
        assert_eq!(codes(&outer, protect, ""), expected, "{condition}");
    }
}

/// An edit takes signatures away, so it is one of the attributes that hold them.
#[test]
fn an_inner_edit_takes_no_signature_that_outer_rules_read() {
    let protect = |item: &str| {
        format!("match: {topics}, protect: [{{{item}}}]", topics = "{topics: [\"o.**\"], at: egress}")
    };
    let data = protect("fields: [\"$.data.v\"], as: redact");
    let class = protect("classes: [contact], as: drop");
    for outer in [
        "match: {topics: [\"o.**\"], at: ingress}, require: {attributes: {signature: {}}}",
        "match: {topics: [\"o.**\"], at: ingress, event: {digest: \"sha256*\"}}, deny: {}",
        "match: {topics: [\"o.**\"], at: ingress}, require: {attributes: {dssematerial: {presence: absent}}}",
    ] {
        for inner in [&data, &class] {
            assert!(codes(outer, inner, "").contains(&"P0207"), "{outer} {inner}");
        }
    }
    let signed = "match: {topics: [\"o.**\"], at: ingress}, require: {attributes: {signature: {}}}";
    let careful = protect("fields: [\"$.data.v\"], as: redact, signatures: error");
    assert!(!codes(signed, &careful, "").contains(&"P0207"));
    let elsewhere = "match: {topics: [\"p.**\"], at: ingress}, require: {attributes: {signature: {}}}";
    assert!(!codes(elsewhere, &data, "").contains(&"P0207"));
    // A digest of the data holds where an attribute alone was edited; a signature may be over both.
    let attribute = protect("fields: [\"$.pad\"], as: redact");
    assert!(codes(signed, &attribute, "").contains(&"P0207"));
    let digest = "match: {topics: [\"o.**\"], at: ingress}, require: {attributes: {digest: {}}}";
    assert!(!codes(digest, &attribute, "").contains(&"P0207"));
}

/// A permit that lets through nothing of what the outermost layer lets through misleads whoever reads it.
#[test]
fn an_inner_permit_between_zones_that_nobody_permits_is_an_error() {
    let found = |outer: &str, inner: &str| {
        let source = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
        let federation = Federation::parse(&source("federation.yaml", FEDERATION.to_owned())).expect("valid");
        let one = |name: &str, layer: &str, matches: &str| {
            format!(
                "---\napiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n    - {{name: r, match: {{{matches}}}, permit: {{}}}}\n"
            )
        };
        let text = one("f", "federation", outer) + &one("z", "zone/eu", inner);
        match compile(&[source("policies.yaml", text)], &federation, None) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|problem| problem.code).collect(),
        }
    };
    let out = "topics: [\"o.**\"], from: {zones: [eu]}";
    assert_eq!(found(out, "topics: [o.x], from: {zones: [us]}, at: ingress"), ["P0203"]);
    assert_eq!(found("topics: [\"o.**\"], at: egress", "topics: [o.x], at: ingress"), ["P0203"]);
    assert_eq!(found(out, "topics: [o.x], at: egress"), [""; 0]);
    assert_eq!(found(out, "topics: [\"o.**\"], to: {zones: [us]}"), [""; 0]);
    assert_eq!(found("topics: [\"o.**\"]", "topics: [o.x], from: {zones: [us]}, at: ingress"), [""; 0]);
}

/// 70 zones around one.
fn about_many_links(rules: &[(&str, std::ops::Range<usize>)]) -> Vec<String> {
    let source = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let list = |make: &dyn Fn(usize) -> String| (0..70).map(make).collect::<Vec<_>>().join(", ");
    let federation = format!(
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {{name: f}}\nspec:\n  zones: {{hub: {{region: eu}}, {}}}\n  bridges: [{{id: h, zone: hub}}, {}]\n  links: [{}]\n",
        list(&|at| format!("z{at}: {{region: eu}}")),
        list(&|at| format!("{{id: b{at}, zone: z{at}}}")),
        list(&|at| format!("{{from: h, to: b{at}}}")),
    );
    let federation = Federation::parse(&source("federation.yaml", federation)).expect("valid");
    let mut text =
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: p, layer: federation}\nspec:\n  rules:\n"
            .to_owned();
    for (at, (topics, zones)) in rules.iter().enumerate() {
        let links: Vec<String> = zones.clone().map(|zone| format!("hub/z{zone}")).collect();
        let links = links.join(", ");
        text.push_str(&format!(
            "    - {{name: r{at}, match: {{topics: [\"{topics}\"], links: [{links}]}}, deny: {{}}}}\n"
        ));
    }
    let problems = match compile(&[source("p.yaml", text)], &federation, None) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(|one| format!("{} {}", one.code, one.message)).collect()
}

#[test]
fn no_event_is_kept_from_more_links_than_a_frame_can_say() {
    assert_eq!(about_many_links(&[("a", 0..64)]), [""; 0]);
    assert_eq!(about_many_links(&[("a.**", 0..40), ("b.**", 30..70)]), [""; 0], "no topic is of both");
    let found = about_many_links(&[("a.**", 0..40), ("*.b", 30..70)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("P0223") && found[0].contains("70 links"), "{found:?}");
    assert_eq!(about_many_links(&[("a", 0..65)]).len(), 1);
}

#[test]
fn a_file_that_has_been_emptied_is_no_policy() {
    let source = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&source("federation.yaml", FEDERATION)).expect("valid");
    let permits = source("permits.yaml", &policy("f", "federation", STRIP));
    for text in ["", "\n", "   \n\n", "# what was here is gone\n"] {
        let files = [permits.clone(), source("denies.yaml", text)];
        let problems = compile(&files, &federation, None).expect_err(text);
        let said: Vec<_> = problems.iter().map(|one| (one.code, &*one.span.file)).collect();
        assert_eq!(said, [("P0101", "denies.yaml")], "{text:?}");
    }
}
