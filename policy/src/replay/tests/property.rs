//! For random events and random policies: what is said of the protected view is what is said of the event itself, or
//! that it is unknown. And it is not always unknown.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

/// Rules that read, check, protect and strip the same few places. Two sets of rules are two choices out of these.
const RULES: [&str; 31] = [
    OPEN,
    CARDS,
    NO_CARDS,
    RICH,
    VISA,
    r#"{name: orders, match: {topics: ["orders.**"]}, permit: {}}"#,
    r#"{name: not-cn, match: {topics: ["**"], to: {zones: [us]}}, permit: {}}"#,
    r#"{name: gold, match: {topics: ["**"], event: {subject: "gold*"}}, permit: {}}"#,
    r#"{name: silent, match: {topics: ["hr.**"]}, except: {event: {subject: "gold*"}}, deny: {}, onViolation: dead-letter}"#,
    r#"{name: drop-name, match: {topics: ["**"]}, protect: [{fields: ["$.data.name"], as: drop}]}"#,
    r#"{name: redact-name, match: {topics: ["**"]}, protect: [{fields: ["$.data.name", "$.data.list[*].name"], as: redact}]}"#,
    r#"{name: drop-subject, match: {topics: ["**"]}, protect: [{fields: ["$.subject"], as: drop}]}"#,
    r#"{name: hash-subject, match: {topics: ["orders.**"]}, protect: [{fields: ["$.subject"], as: hash}]}"#,
    r#"{name: seal-list, match: {topics: ["**"], at: egress, from: {zones: [eu]}}, protect: [{fields: ["$.data.list"], as: encrypt, key: fields}]}"#,
    r#"{name: mail, match: {topics: ["**"], at: egress, from: {zones: [eu]}}, protect: [{classes: [contact.email], as: pseudonymise, key: tokens}]}"#,
    r#"{name: mask-mail, match: {topics: ["hr.**"]}, protect: [{classes: [contact.email], as: mask, keep: {first: 1, last: 0}}], onError: quarantine}"#,
    r#"{name: no-mail, match: {topics: ["orders.**"]}, forbid: {classes: [contact.email]}, onViolation: dead-letter}"#,
    r#"{name: has-name, match: {topics: ["**"], when: "has(event.data.name)"}, deny: {}, onViolation: quarantine}"#,
    r#"{name: long-list, match: {topics: ["**"], when: "event.data.?list.orValue([]).size() > 1"}, deny: {}}"#,
    r#"{name: ada, match: {topics: ["**"], when: "event.data.?name.orValue('') == 'Ada'"}, deny: {}, onViolation: dead-letter}"#,
    r#"{name: not-ada, match: {topics: ["**"]}, except: {when: "event.data.?name.orValue('') == 'Ada'"}, deny: {}}"#,
    r#"{name: traced, match: {topics: ["**"]}, require: {attributes: {traceparent: {}}}}"#,
    r#"{name: subject, match: {topics: ["**"]}, require: {attributes: {subject: {pattern: "[a-z]+"}}}, onViolation: reject}"#,
    r#"{name: strip-subject, match: {topics: ["**"]}, require: {attributes: {subject: {presence: optional, enum: [gold]}}}, onViolation: strip}"#,
    r#"{name: maybe-subject, match: {topics: ["**"]}, require: {attributes: {subject: {presence: optional, pattern: "[a-z]+"}}}, onViolation: reject}"#,
    r#"{name: small, match: {topics: ["**"]}, limit: {eventBytes: 180}}"#,
    r#"{name: tiny, match: {topics: ["**"]}, limit: {dataBytes: 60}}"#,
    r#"{name: total, match: {topics: ["**"]}, validate: {checks: [{cel: "event.data.?total.orValue(0) < 1000", message: m}]}}"#,
    r#"{name: named, match: {topics: ["**"]}, validate: {checks: [{cel: "event.data.?name.orValue('x').size() < 5", message: m}]}, onViolation: quarantine}"#,
    r#"{name: segments, match: {topics: ["**"]}, structure: {segments: [{name: s, enum: [orders, hr]}], more: true}}"#,
    r#"{name: here, match: {topics: ["**"]}, residency: {allow: [{regions: [eu, us]}], transit: [{regions: [eu, us]}]}}"#,
];

fn a_value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "\"4111 1111 1111 1111\"",
        "\"ada@example.com\"",
        "\"Ada\"",
        "\"Grace Hopper\"",
        "250",
        "1.50",
        "5000",
        "null",
        "true",
        "[]",
        "{}",
        "\"[redacted]\"",
        "{\"name\": \"Ada\"}",
        "[{\"name\":\"Ada\"}, 1]",
    ])
    .prop_map(str::to_owned)
}

fn an_event() -> impl Strategy<Value = Event> {
    let names = prop::sample::select(vec!["card", "name", "total", "list", "memo", "name"]);
    let members = prop::collection::vec((names, a_value()), 0..5);
    let subject =
        prop::option::of(prop::sample::select(vec!["gold", "golden", "x1", "ada@example.com", "x"]));
    let trace = prop::option::of(Just("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    let class = prop::option::weighted(0.1, prop::sample::select(vec!["public", "internal"]));
    let shape = prop::sample::select(vec!["object", "object", "object", "object", "value", "text"]);
    (members, subject, trace, class, shape).prop_map(|(members, subject, trace, class, shape)| {
        let text: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        let data = match (shape, members.first()) {
            ("value", Some((_, value))) => value.clone(),
            _ => format!("{{{}}}", text.join(",")),
        };
        let builder = EventBuilder::new("1", "/s", "t");
        let builder = match shape {
            "text" => builder.data_text(data.into()),
            _ => builder.data_json(data.into()),
        };
        let attributes = [("subject", subject), ("traceparent", trace), ("dataclassification", class)];
        let set = |builder: EventBuilder, (name, value): (&str, Option<&str>)| match value {
            Some(value) => builder.set_attribute(name, AttributeValue::String(value)),
            None => builder,
        };
        attributes.into_iter().fold(builder, set).build().expect("an event")
    })
}

/// Most events are to cross, or nothing is learnt.
fn some_rules() -> impl Strategy<Value = Vec<usize>> {
    let rules = prop::collection::btree_set(1..RULES.len(), 0..6);
    (prop::bool::weighted(0.8), rules).prop_map(|(is_open, rules)| {
        let open = is_open.then_some(0);
        open.into_iter().chain(rules).collect()
    })
}

/// The same with one or two rules more or fewer, as policies are edited.
fn an_edit() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..RULES.len(), 1..3)
}

fn chosen(rules: &[usize]) -> Program {
    // A policy without any rule is an error.
    const IDLE: &str = r#"{name: idle, match: {topics: [idle]}, deny: {}}"#;
    program(&rules.iter().map(|at| RULES[*at]).chain([IDLE]).collect::<Vec<_>>())
}

fn edited(rules: &[usize], edit: &[usize]) -> Vec<usize> {
    let mut rules = rules.to_vec();
    for at in edit {
        match rules.iter().position(|known| known == at) {
            Some(place) => _ = rules.remove(place),
            None => rules.push(*at),
        }
    }
    rules
}

/// Kind and sides: which rules edit is more than the view can tell.
fn comparable(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Changed { kind, old, new, .. } => format!("{} {old:?} {new:?}", kind.name()),
        other => told(other),
    }
}

struct Tally {
    all: AtomicU64,
    in_part: AtomicU64,
    known: AtomicU64,
    changed: AtomicU64,
}

static TALLY: OnceLock<Tally> = OnceLock::new();

fn agree(then: &Program, old: Option<&Program>, new: &Program, case: Case<'_>) -> Result<(), TestCaseError> {
    let view = record(then, &Case { sealed: false, ..Case { event: case.event.clone(), ..case } });
    let whole = record(then, &Case { sealed: true, ..case });
    let of_view = Replay::new(old, new).judge(&view);
    let of_whole = Replay::new(old, new).judge(&whole);
    let tally = TALLY.get_or_init(|| Tally {
        all: AtomicU64::new(0),
        in_part: AtomicU64::new(0),
        known: AtomicU64::new(0),
        changed: AtomicU64::new(0),
    });
    let is_known = !matches!(of_view, Outcome::Unknown(_));
    tally.all.fetch_add(1, Ordering::Relaxed);
    if !view.is_whole() {
        tally.in_part.fetch_add(1, Ordering::Relaxed);
        tally.known.fetch_add(u64::from(is_known), Ordering::Relaxed);
        tally.changed.fetch_add(u64::from(is_known && of_view != Outcome::Same), Ordering::Relaxed);
    } else {
        prop_assert!(is_known, "nothing is hidden: {of_view:?}");
    }
    prop_assert!(!matches!(of_whole, Outcome::Unknown(_)), "{of_whole:?}");
    if is_known {
        prop_assert_eq!(comparable(&of_view), comparable(&of_whole), "{:?}", view.what);
    }
    Ok(())
}

fn run(cases: u32) {
    let topics = prop::sample::select(vec!["orders.new", "hr.leave", "other"]);
    let zones = prop::sample::select(vec!["us", "cn"]);
    let strategy = (some_rules(), an_edit(), some_rules(), an_event(), topics, zones);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&strategy, |(then, edit, other, event, topic, to)| {
        let (after, other) = (chosen(&edited(&then, &edit)), chosen(&other));
        let then = chosen(&then);
        let case = || Case { topic, to, event: event.clone(), sealed: false, released: &[] };
        agree(&then, None, &after, case())?;
        agree(&then, Some(&then), &after, case())?;
        agree(&then, Some(&then), &other, case())?;
        // Neither of the two is what judged it.
        agree(&then, Some(&other), &after, case())
    });
    if let Err(problem) = outcome {
        panic!("{problem}");
    }
}

#[test]
fn a_protected_capture_says_what_a_sealed_one_says_or_that_it_is_unknown() {
    run(400);
    let tally = TALLY.get().expect("it ran");
    let [all, in_part, known, changed] =
        [&tally.all, &tally.in_part, &tally.known, &tally.changed].map(|count| count.load(Ordering::Relaxed));
    assert!(in_part * 4 > all, "too few events are known in part: {in_part} of {all}");
    assert!(known * 4 > in_part, "too little is known: {known} of {in_part}");
    assert!(changed * 20 > in_part, "too few changes are known: {changed} of {in_part}");
}
