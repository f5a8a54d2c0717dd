//! What the form that a carrier sees must have met.

use super::*;
use crate::engine::ZoneSet;

/// The zones that may carry a thing from z-a to z-c, under rules of the federation.
fn carriers(rules: &[&str]) -> ZoneSet {
    let mut all = vec!["match: {topics: [\"**\"]}, permit: {}".to_owned()];
    all.extend(rules.iter().map(|rule| (*rule).to_owned()));
    let program = program(&[file("p", "federation", &all)]).expect("valid");
    let (event, topic) = (event(None, None, "/s", "1"), Topic::parse("a.b").expect("a topic"));
    let randomness = Randomness::new([1; 32]);
    let request = request(&program, ("z-a", "z-c"), &topic, &event, &randomness);
    let mut scratch = Scratch::new();
    let Verdict::Forward { event: form } = program.decide(&request, &mut scratch).verdict else {
        panic!("it is permitted")
    };
    program.carriers(&request, form.as_ref().unwrap_or(&event), &mut scratch)
}

const MASKED_BY_PATH: &str =
    "match: {topics: [\"**\"]}, protect: [{fields: [\"$.data.card\"], as: mask, keep: {last: 4}}]";

#[test]
fn a_form_that_shows_no_more_than_a_carrier_may_see_is_carried() {
    let same = "match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: mask, keep: {last: 4}}]";
    let weaker = "match: {topics: [\"**\"], to: {zones: [z-b]}}, protect: [{fields: [\"$.data.card\"], as: mask, keep: {first: 4, last: 4}}]";
    assert_eq!(carriers(&[]).iter().count(), 1);
    assert_eq!(carriers(&[MASKED_BY_PATH]).iter().count(), 1);
    assert_eq!(carriers(&[MASKED_BY_PATH, same]).iter().count(), 1);
    assert_eq!(carriers(&[MASKED_BY_PATH, weaker]).iter().count(), 1);
}

/// A path names no class, so in the form nothing tells that what is left was a card.
#[test]
fn a_class_that_a_path_has_hidden_is_protected_towards_carriers_too() {
    let stronger =
        "match: {topics: [\"**\"], to: {zones: [z-b]}}, protect: [{classes: [payment.card], as: redact}]";
    assert!(carriers(&[stronger]).is_empty());
    assert!(carriers(&[MASKED_BY_PATH, stronger]).is_empty());
    let hashed_by_path = "match: {topics: [\"**\"]}, protect: [{fields: [\"$.data\"], as: hash}]";
    assert!(carriers(&[hashed_by_path, stronger]).is_empty());
}

/// The zones that may carry between these two, under rules of the federation.
fn carriers_between(rules: &[&str], from: &str, to: &str) -> Vec<String> {
    let mut all = vec!["match: {topics: [\"**\"]}, permit: {}".to_owned()];
    all.extend(rules.iter().map(|rule| (*rule).to_owned()));
    let program = program(&[file("p", "federation", &all)]).expect("valid");
    let (event, topic) = (event(None, None, "/s", "1"), Topic::parse("a.b").expect("a topic"));
    let randomness = Randomness::new([1; 32]);
    let request = request(&program, (from, to), &topic, &event, &randomness);
    let carriers = program.carriers(&request, &event, &mut Scratch::new());
    for zone in carriers.iter() {
        let filter = meshbridge_topic::TopicFilter::from(&topic);
        assert!(program.may_learn(zone, request.to, &filter), "a carrier is told for whom");
    }
    carriers.iter().map(|zone| program.federation().zone_name(zone).to_owned()).collect()
}

#[test]
fn a_zone_that_is_not_told_what_a_destination_wants_is_no_carrier_for_it() {
    let silent = |to: &str| {
        format!(
            "match: {{topics: [\"a.**\"], at: interest, from: {{zones: [z-b]}}, to: {{zones: [{to}]}}}}, deny: {{}}"
        )
    };
    assert_eq!(carriers_between(&[], "z-a", "z-c"), ["z-b"]);
    assert!(carriers_between(&[&silent("z-c")], "z-a", "z-c").is_empty());
    assert_eq!(carriers_between(&[&silent("z-a")], "z-a", "z-c"), ["z-b"], "of another destination");
    let other = "match: {topics: [\"c.**\"], at: interest, from: {zones: [z-b]}}, deny: {}";
    assert_eq!(carriers_between(&[other], "z-a", "z-c"), ["z-b"], "of other topics");
    let noted = format!("{}, mode: warn", silent("z-c"));
    assert_eq!(carriers_between(&[&noted], "z-a", "z-c"), ["z-b"], "a warning stops nothing");
}

#[test]
fn between_bridges_of_one_zone_only_those_carry_that_may_and_are_told() {
    assert_eq!(carriers_between(&[], "z-a", "z-a").len(), 2);
    let not_b = "match: {topics: [\"a.**\"], at: transit, to: {zones: [z-b]}}, deny: {}";
    assert_eq!(carriers_between(&[not_b], "z-a", "z-a"), ["z-c"]);
    let silent = "match: {topics: [\"a.**\"], at: interest, from: {zones: [z-b]}}, deny: {}";
    assert_eq!(carriers_between(&[silent], "z-a", "z-a"), ["z-c"]);
}

/// Two destinations that are alike in all but who may learn what they want are two classes: their carriers differ.
#[test]
fn a_rule_about_interest_tells_destinations_apart() {
    let all = "match: {topics: [\"**\"]}, permit: {}".to_owned();
    let silent =
        "match: {topics: [\"**\"], at: interest, to: {zones: [z-c]}, from: {zones: [z-b]}}, deny: {}"
            .to_owned();
    for (rules, alike) in [(vec![all.clone()], true), (vec![all, silent], false)] {
        let program = program(&[file("p", "federation", &rules)]).expect("valid");
        let zone = |name| program.zone(name).expect("a zone of the federation");
        let topic = Topic::parse("a.b").expect("a topic");
        let mut scratch = Scratch::new();
        let mut class = |to| program.class(Context::Egress, zone("z-a"), zone(to), &topic, &mut scratch);
        assert_eq!(class("z-b") == class("z-c"), alike);
    }
}
