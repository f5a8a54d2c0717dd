//! What the form that a carrier sees must have met.

use super::*;
use crate::engine::ZoneSet;

/// The zones that may carry a thing from z-a to z-c, under rules of the federation.
fn carriers(rules: &[&str]) -> ZoneSet {
    let mut all = vec!["match: {topics: [\"**\"]}, permit: {}".to_owned()];
    all.extend(rules.iter().map(|rule| (*rule).to_owned()));
    let program = program(&[file("p", "federation", &all)]).expect("valid");
    let zone = |name| program.zone(name).expect("a zone of the federation");
    let (event, topic) = (event(None, None, "/s", "1"), Topic::parse("a.b").expect("a topic"));
    let randomness = Randomness::new([1; 32]);
    let request = Request {
        context: Context::Egress,
        from: zone("z-a"),
        to: zone("z-c"),
        topic: &topic,
        event: &event,
        publisher: None,
        subscriber: None,
        hops: 0,
        now: OffsetDateTime::UNIX_EPOCH,
        tick: 0,
        buckets: None,
        keys: &NoKeys,
        randomness: &randomness,
        released: &[],
        trace: false,
    };
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
