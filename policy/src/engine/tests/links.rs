//! Which links an event must not cross, by the layers that are heard.

use super::*;

/// The links that a thing on a.b must not cross, under rules of these layers.
fn denied_at(
    context: Context,
    policies: &[(&'static str, &[&str])],
    (from, to): (&str, &str),
    color: Option<&str>,
) -> Vec<String> {
    let all = "match: {topics: [\"**\"]}, permit: {}".to_owned();
    let mut stack = vec![("federation", vec![all])];
    for (layer, rules) in policies {
        stack.push((layer, rules.iter().map(|rule| (*rule).to_owned()).collect()));
    }
    let program = program(&files(&stack)).expect("valid");
    let (event, topic) = (event(color, None, "/s", "1"), Topic::parse("a.b").expect("a topic"));
    let randomness = Randomness::new([1; 32]);
    let request = Request {
        context,
        publisher: Some("user:ana"),
        ..request(&program, (from, to), &topic, &event, &randomness)
    };
    let mut scratch = Scratch::new();
    let verdict = program.decide(&request, &mut scratch).verdict;
    assert!(matches!(verdict, Verdict::Forward { event: None }), "a denied link stops nothing: {verdict:?}");
    let denied = program.denied_links(&request, &mut scratch);
    denied.iter().map(|link| link.name(program.federation())).collect()
}

fn denied(policies: &[(&'static str, &[&str])], ends: (&str, &str)) -> Vec<String> {
    denied_at(Context::Egress, policies, ends, None)
}

const A_B: &str = "match: {topics: [\"a.**\"], links: [z-b/z-a]}, deny: {}";

#[test]
fn links_are_denied_to_the_events_that_the_rule_is_about() {
    assert_eq!(denied(&[("federation", &[A_B])], ("z-a", "z-c")), ["z-a/z-b"]);
    assert_eq!(denied(&[("federation", &[A_B])], ("z-c", "z-a")), ["z-a/z-b"], "both ways");
    for other in [
        "match: {topics: [\"c.**\"], links: [z-a/z-b]}, deny: {}",
        "match: {topics: [\"**\"], to: {zones: [z-b]}, links: [z-a/z-b]}, deny: {}",
        "match: {topics: [\"**\"], from: {zones: [z-b]}, links: [z-a/z-b]}, deny: {}",
        "match: {topics: [\"**\"], event: {color: red}, links: [z-a/z-b]}, deny: {}",
        "match: {topics: [\"**\"], at: egress, publisher: [\"app:*\"], links: [z-a/z-b]}, deny: {}",
        "match: {topics: [\"**\"], links: [z-a/z-b]}, mode: shadow, deny: {}",
        "match: {topics: [\"**\"], links: [z-a/z-b]}, mode: warn, deny: {}",
    ] {
        assert!(denied(&[("federation", &[other])], ("z-a", "z-c")).is_empty(), "{other}");
    }
}

/// In transit the destination is asked about, not who carries: the origin judged by it, too.
#[test]
fn other_bridges_judge_where_the_rule_says_so() {
    let everywhere = "match: {topics: [\"**\"], to: {zones: [z-c]}, links: [z-a/z-b]}, deny: {}";
    let origin = "match: {topics: [\"**\"], at: egress, to: {zones: [z-c]}, links: [z-a/z-b]}, deny: {}";
    for (context, rule, expected) in [
        (Context::Egress, everywhere, true),
        (Context::Transit, everywhere, true),
        (Context::Ingress, everywhere, true),
        (Context::Egress, origin, true),
        (Context::Transit, origin, false),
        (Context::Ingress, origin, false),
    ] {
        let denied = denied_at(context, &[("federation", &[rule])], ("z-a", "z-c"), None);
        assert_eq!(!denied.is_empty(), expected, "{context} {rule}");
    }
}

/// As for carriers: the layers of the origin, and of who is at an end of the link.
#[test]
fn the_layers_of_the_origin_and_of_both_ends_are_heard() {
    let rule = "match: {topics: [\"**\"], links: [z-a/z-b]}, deny: {}";
    let far = "match: {topics: [\"**\"], links: [z-b/z-c]}, deny: {}";
    for (layer, rule, (from, to), expected) in [
        ("zone/z-a", rule, ("z-a", "z-c"), true),
        ("zone/z-a", rule, ("z-c", "z-b"), true),
        ("zone/z-b", rule, ("z-c", "z-a"), true),
        ("zone/z-c", rule, ("z-c", "z-a"), true),
        ("zone/z-c", rule, ("z-a", "z-c"), false),
        ("zone/z-a", far, ("z-a", "z-c"), true),
        ("zone/z-a", far, ("z-b", "z-a"), false),
        ("region/r-2", rule, ("z-a", "z-b"), false),
        ("region/r-2", far, ("z-a", "z-b"), true),
    ] {
        let denied = denied(&[(layer, &[rule])], (from, to));
        assert_eq!(!denied.is_empty(), expected, "{layer} {rule} {from} -> {to}: {denied:?}");
    }
}

#[test]
fn an_exception_may_be_for_some_of_the_links() {
    let rule = |except: &str| {
        format!("match: {{topics: [\"**\"], links: [z-a/z-b, z-b/z-c]}}, except: {{{except}}}, deny: {{}}")
    };
    let check = |except: &str, color: Option<&str>, expected: &[&str]| {
        let rule = rule(except);
        let denied = denied_at(Context::Egress, &[("federation", &[&rule])], ("z-a", "z-c"), color);
        assert_eq!(denied, expected, "{except} {color:?}");
    };
    check("topics: [a.b]", None, &[]);
    check("topics: [c]", None, &["z-a/z-b", "z-b/z-c"]);
    check("links: [z-b/z-a]", None, &["z-b/z-c"]);
    check("links: [z-b/z-a], to: {zones: [z-b]}", None, &["z-a/z-b", "z-b/z-c"]);
    check("links: [z-b/z-a], event: {color: red}", Some("red"), &["z-b/z-c"]);
    check("links: [z-b/z-a], event: {color: red}", None, &["z-a/z-b", "z-b/z-c"]);
    check("event: {color: red}", Some("red"), &[]);
}

/// What cannot be computed is denied, never open.
#[test]
fn a_condition_in_error_denies() {
    let rule = "match: {topics: [\"**\"], when: \"int(event.source) > 0\", links: [z-a/z-b]}, deny: {}";
    assert_eq!(denied(&[("federation", &[rule])], ("z-a", "z-c")), ["z-a/z-b"]);
    let not = "match: {topics: [\"**\"], when: \"int(event.id) > 1\", links: [z-a/z-b]}, deny: {}";
    assert!(denied(&[("federation", &[not])], ("z-a", "z-c")).is_empty());
    let except =
        "match: {topics: [\"**\"], links: [z-a/z-b]}, except: {when: \"int(event.source) > 0\"}, deny: {}";
    assert_eq!(denied(&[("federation", &[except])], ("z-a", "z-c")), ["z-a/z-b"]);
}

#[test]
fn inside_a_zone_links_to_others_are_denied_as_well() {
    assert_eq!(denied(&[("federation", &[A_B])], ("z-a", "z-a")), ["z-a/z-b"]);
}

#[test]
fn destinations_with_other_links_are_another_class() {
    let all = "match: {topics: [\"**\"]}, permit: {}".to_owned();
    let to = "match: {topics: [\"**\"], to: {zones: [z-c]}, links: [z-a/z-b]}, deny: {}".to_owned();
    let both = "match: {topics: [\"**\"], links: [z-a/z-b]}, deny: {}".to_owned();
    let by_region = "match: {topics: [\"**\"], links: [z-a/z-b, z-b/z-c]}, except: {links: [z-b/z-c], to: {zones: [z-b]}}, deny: {}".to_owned();
    for (rule, alike) in [(both, true), (to, false), (by_region, false)] {
        let program = program(&[file("p", "federation", &[all.clone(), rule])]).expect("valid");
        let zone = |name| program.zone(name).expect("a zone of the federation");
        let topic = Topic::parse("a.b").expect("a topic");
        let mut scratch = Scratch::new();
        let mut class = |to| program.class(Context::Egress, zone("z-a"), zone(to), &topic, &mut scratch);
        assert_eq!(class("z-b") == class("z-c"), alike);
    }
}

#[test]
fn the_outermost_rule_is_named() {
    let rule = "match: {topics: [\"**\"], links: [z-a/z-b]}, deny: {}".to_owned();
    let all = "match: {topics: [\"**\"]}, permit: {}".to_owned();
    let files = [file("a", "zone/z-a", std::slice::from_ref(&rule)), file("z", "federation", &[all, rule])];
    let program = program(&files).expect("valid");
    let mut names = Vec::new();
    let mut scratch = Scratch::new();
    every_case(&program, |request| {
        let denied = program.denied_links(request, &mut scratch);
        names.extend(denied.iter().filter_map(|link| program.denied_by(&denied, link)));
    });
    assert!(!names.is_empty() && names.iter().all(|rule| rule.id() == "z/r1"), "{names:?}");
}
