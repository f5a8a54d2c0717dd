//! What a replay says, case by case; `property` compares what it says of the protected view with what it says of the
//! events themselves.

mod property;

use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use super::*;
use crate::capture::{Begin, Line, Reader, Recorded, Writer};
use crate::{Context, Federation, SourceFile, compile};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {eu: {region: eu, jurisdiction: EU}, us: {region: us, jurisdiction: US}, cn: {region: cn, jurisdiction: CN}}
  bridges: [{id: a, zone: eu}, {id: b, zone: us}, {id: c, zone: cn}]
  keys:
    store-eu: {use: store, version: 1, zones: [eu]}
    fields: {use: encrypt, version: 1, zones: [eu]}
    tokens: {use: pseudonymise, version: 1, zones: [eu]}
"#;

/// One line for each rule.
fn program(rules: &[&str]) -> Program {
    let file = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION.to_owned())).expect("valid");
    let head =
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: p, layer: federation}\nspec:\n  rules:\n";
    let rules: String = rules.iter().map(|rule| format!("    - {rule}\n")).collect();
    let compiled = compile(&[file("p.yaml", format!("{head}{rules}"))], &federation, None);
    compiled.unwrap_or_else(|problems| panic!("{problems}")).program
}

/// An event on its way, and how it is recorded.
struct Case<'a> {
    topic: &'a str,
    to: &'a str,
    event: Event,
    sealed: bool,
    /// Rules that a person has released it from.
    released: &'a [&'a str],
}

fn event(data: &str, attributes: &[(&str, &str)]) -> Event {
    let builder = EventBuilder::new("1", "/s", "t").data_json(data.to_owned().into());
    let set = |builder: EventBuilder, (name, value): &(&str, &str)| {
        builder.set_attribute(name, AttributeValue::String(value))
    };
    attributes.iter().fold(builder, set).build().expect("an event")
}

/// The entry that a bridge under these policies would write.
fn record(program: &Program, case: &Case<'_>) -> Entry {
    let keys = TestKeys::of(program.federation());
    let zone = |name| program.zone(name).expect("a zone");
    let begin = Begin {
        capture: 1,
        bridge: "a",
        zone: zone("eu"),
        topics: Vec::new(),
        now: OffsetDateTime::UNIX_EPOCH,
        sealed: case.sealed,
    };
    let mut writer = Writer::begin(&begin, program, &keys).expect("a key");
    let topic = Topic::parse(case.topic).expect("a topic");
    let request = Request {
        context: Context::Egress,
        from: zone("eu"),
        to: zone(case.to),
        topic: &topic,
        event: &case.event,
        publisher: Some("shop"),
        subscriber: None,
        hops: 0,
        now: OffsetDateTime::UNIX_EPOCH,
        tick: 0,
        buckets: None,
        keys: &keys,
        randomness: &Randomness::new([9; 32]),
        released: &[],
        trace: false,
    };
    let mut scratch = Scratch::new();
    let released: Vec<std::sync::Arc<str>> = case.released.iter().map(|rule| (*rule).into()).collect();
    let request = Request { released: &released, ..request };
    let decision = program.decide(&request, &mut scratch);
    let (digest, blank) = (program.digest(), Vec::new());
    let ids = |rules: &[crate::RuleRef]| rules.iter().map(|rule| rule.id().to_owned()).collect::<Vec<_>>();
    let also_by = decision.stopped().map_or(blank, |stopped| ids(&stopped.also_by));
    let recorded = Recorded {
        digest: &digest,
        verdict: decision.stopped().map_or("forward", |stopped| stopped.disposition.name()),
        by: decision.stopped().map(|stopped| stopped.by.id()),
        also_by: Some(&also_by),
        is_rate: false,
        edited: match &decision.verdict {
            Verdict::Forward { event } => event.as_ref(),
            _ => None,
        },
    };
    let line = writer.entry(program.federation(), Some(program), &request, &recorded, &mut scratch);
    let reader = Reader::begin(&writer.header()).expect("a header");
    match reader.line(&line, &keys) {
        Ok(Line::Entry(entry)) => *entry,
        other => panic!("{line}: {other:?}"),
    }
}

const OPEN: &str = r#"{name: open, match: {topics: ["**"]}, permit: {}}"#;
const CARDS: &str = r#"{name: cards, match: {topics: ["**"]}, protect: [{classes: [payment.card], as: mask, keep: {first: 0, last: 4}}]}"#;
const NO_CARDS: &str = r#"{name: no-cards, match: {topics: ["**"]}, forbid: {classes: [payment.card]}, onViolation: quarantine}"#;
const RICH: &str =
    r#"{name: rich, match: {topics: ["**"], when: "event.data.?total.orValue(0) > 100"}, deny: {}}"#;
const VISA: &str = r#"{name: visa, match: {topics: ["**"], when: "event.data.?card.orValue('').startsWith('4')"}, deny: {}}"#;
const DATA: &str = r#"{"card":"4111 1111 1111 1111","total":250}"#;

/// What a replay says of one event, in a few words.
#[track_caller]
fn check(old: &[&str], new: &[&str], sealed: bool, with_old: bool, expected: &str) {
    let (old, new) = (program(old), program(new));
    let case = Case { topic: "orders.new", to: "us", event: event(DATA, &[]), sealed, released: &[] };
    let entry = record(&old, &case);
    let mut replay = Replay::new(with_old.then_some(&old), &new);
    assert_eq!(told(&replay.judge(&entry)), expected, "sealed {sealed}, with the old ones {with_old}");
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Same => "same".to_owned(),
        Outcome::Unknown(why) => format!("unknown: {why}"),
        Outcome::Changed { kind, rules, .. } => format!("{}: {}", kind.name(), rules.join(" ")),
    }
}

#[test]
fn a_sealed_capture_is_exact_with_and_without_the_old_policies() {
    for with_old in [true, false] {
        let check = |old: &[&str], new: &[&str], expected: &str| check(old, new, true, with_old, expected);
        check(&[OPEN, CARDS], &[OPEN, CARDS], "same");
        check(&[OPEN, CARDS], &[OPEN, CARDS, NO_CARDS], "newly blocked: p/no-cards");
        check(&[OPEN, CARDS, NO_CARDS], &[OPEN, CARDS], "newly allowed: p/no-cards");
        check(&[OPEN, CARDS, VISA], &[OPEN, CARDS, RICH], "other rule: p/rich");
        check(&[OPEN], &[OPEN, CARDS], "stronger: p/cards");
        check(&[CARDS], &[OPEN, CARDS], "newly allowed: default-deny@federation");
        let harder = CARDS.replace("as: mask, keep: {first: 0, last: 4}", "as: redact");
        check(&[OPEN, CARDS], &[OPEN, &harder], "stronger: p/cards");
        check(&[OPEN, &harder], &[OPEN, CARDS], "weaker: p/cards");
    }
    check(&[OPEN, CARDS], &[OPEN], true, true, "weaker: p/cards");
    check(&[OPEN, CARDS], &[OPEN], true, false, "weaker: ");
}

#[test]
fn what_a_protected_capture_cannot_tell_is_unknown_by_the_rule_it_hangs_on() {
    let check = |old: &[&str], new: &[&str], expected: &str| check(old, new, false, true, expected);
    check(&[OPEN, CARDS], &[OPEN, CARDS], "same");
    check(&[OPEN, CARDS], &[OPEN, CARDS, RICH], "newly blocked: p/rich");
    check(&[OPEN, CARDS], &[OPEN, CARDS, VISA], "unknown: p/visa depends on what was altered");
    check(&[OPEN, CARDS], &[OPEN, CARDS, NO_CARDS], "unknown: p/no-cards depends on what was altered");
    check(&[OPEN, CARDS], &[OPEN], "weaker: ");
    // Both would stop it; the one that is certain comes first by its name.
    check(&[OPEN, CARDS], &[OPEN, CARDS, RICH, VISA], "newly blocked: p/rich");
    check(&[OPEN, CARDS], &[CARDS], "newly blocked: default-deny@federation");
    // Another protection may fail, or make another form.
    let harder = CARDS.replace("as: mask, keep: {first: 0, last: 4}", "as: redact");
    check(&[OPEN, CARDS], &[OPEN, &harder], "unknown: p/cards depends on what was altered");
}

#[test]
fn of_a_stopped_event_the_rules_that_both_have_are_known() {
    let check = |old: &[&str], new: &[&str], expected: &str| check(old, new, false, true, expected);
    check(
        &[OPEN, CARDS, NO_CARDS],
        &[OPEN, CARDS, NO_CARDS, RICH],
        "unknown: p/rich depends on what was altered",
    );
    check(
        &[OPEN, NO_CARDS],
        &[OPEN, NO_CARDS, r#"{name: hr, match: {topics: ["hr.**"]}, deny: {}}"#],
        "same",
    );
    check(&[OPEN, NO_CARDS], &[OPEN], "newly allowed: p/no-cards");
    check(&[OPEN, NO_CARDS], &[NO_CARDS], "other rule: default-deny@federation");
    check(&[OPEN, VISA], &[OPEN], "newly allowed: p/visa");
    // What would quarantine it is not named before what rejects it.
    check(&[OPEN, VISA], &[OPEN, VISA, NO_CARDS], "same");
}

#[test]
fn without_the_old_policies_the_verdict_on_record_counts() {
    let check = |old: &[&str], new: &[&str], expected: &str| check(old, new, false, false, expected);
    check(&[OPEN, CARDS], &[OPEN, CARDS], "same");
    check(&[OPEN, CARDS], &[OPEN, CARDS, RICH], "newly blocked: p/rich");
    let two = [OPEN, CARDS, r#"{name: hr, match: {topics: ["hr.**"]}, deny: {}}"#];
    check(&[OPEN, CARDS], &two, "unknown: p/cards depends on what was altered");
    check(&[OPEN, RICH], &[OPEN], "newly allowed: p/rich");
}

/// What a person let through goes through again; another rule that came meanwhile still stops it.
#[test]
fn a_release_from_quarantine_is_on_record() {
    let old = program(&[OPEN, NO_CARDS]);
    for sealed in [true, false] {
        let case =
            |released| Case { topic: "orders.new", to: "us", event: event(DATA, &[]), sealed, released };
        let entry = record(&old, &case(&["p/no-cards"]));
        assert_eq!((entry.verdict, entry.released.len()), ("forward", 1), "sealed {sealed}");
        let judged = |new: &[&str], with_old: bool| {
            told(&Replay::new(with_old.then_some(&old), &program(new)).judge(&entry))
        };
        for with_old in [true, false] {
            assert_eq!(judged(&[OPEN, NO_CARDS], with_old), "same", "sealed {sealed}");
            assert_eq!(judged(&[OPEN, NO_CARDS, RICH], with_old), "newly blocked: p/rich", "sealed {sealed}");
        }
        assert_eq!(record(&old, &case(&[])).verdict, "quarantine");
    }
}

#[test]
fn a_verdict_of_a_rate_is_not_taken_for_one_of_the_event() {
    let new = program(&[OPEN]);
    let case = Case { topic: "orders.new", to: "us", event: event(DATA, &[]), sealed: true, released: &[] };
    let mut entry = record(&new, &case);
    entry.is_rate = true;
    assert_eq!(Replay::new(None, &new).judge(&entry), Outcome::Unknown(Why::Rate));
    assert_eq!(Replay::new(Some(&new), &new).judge(&entry), Outcome::Same);
    entry.to = "mars".to_owned();
    let unknown = Outcome::Unknown(Why::Zone { name: "mars".to_owned() });
    assert_eq!(Replay::new(Some(&new), &new).judge(&entry), unknown);
}

#[test]
fn a_summary_counts_each_event_once_and_groups_by_rule() {
    let mut summary = Summary::default();
    let (old, new) = (program(&[OPEN, NO_CARDS]), program(&[OPEN]));
    for sealed in [true, false] {
        let entry = record(
            &old,
            &Case { topic: "orders.new", to: "us", event: event(DATA, &[]), sealed, released: &[] },
        );
        summary.add(&Replay::new(Some(&old), &new).judge(&entry));
        summary.add(&Outcome::Unknown(Why::Rate));
    }
    assert_eq!((summary.counts.events, summary.counts.newly_allowed, summary.counts.unknown), (4, 2, 2));
    assert!(summary.passes_more());
    let text = summary.to_string();
    assert!(text.contains("4 events: 0 the same, 2 changed, 2 unknown"), "{text}");
    assert!(
        text.lines().any(|line| line.contains("newly allowed") && line.ends_with("p/no-cards")),
        "{text}"
    );
}
