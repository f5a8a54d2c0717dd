//! What a capture shows and what it does not, and that what is read is what was written.

use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;

use super::*;
use crate::protect::Randomness;
use crate::testing::TestKeys;
use crate::{Context, MapKeyRing, SourceFile, Verdict, compile};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {eu: {region: eu}, us: {region: us}}
  bridges: [{id: a, zone: eu}, {id: b, zone: us}]
  keys:
    store-eu: {use: store, version: 2, zones: [eu]}
    fields: {use: encrypt, version: 1, zones: [eu]}
"#;
const RULES: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: p, layer: federation}
spec:
  rules:
    - {name: open, match: {topics: ["open.**"]}, permit: {}}
    - {name: no-cards, match: {topics: ["**"]}, protect: [{classes: [payment.card], as: mask, keep: {first: 0, last: 4}}, {fields: ["$.data.name"], as: drop}]}
    - {name: no-mail, match: {topics: ["open.strict"]}, forbid: {classes: [contact.email]}}
    - {name: traced, match: {topics: ["open.traced"]}, require: {attributes: {traceparent: {}}}}
    - {name: noted, match: {topics: ["open.**"]}, deny: {}, mode: warn, onViolation: annotate}
"#;

pub(super) fn world() -> (Program, TestKeys) {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    let program = compile(&[file("p.yaml", RULES)], &federation, None);
    let program = program.unwrap_or_else(|problems| panic!("{problems}")).program;
    let keys = TestKeys::of(program.federation());
    (program, keys)
}

fn event(data: &str) -> Event {
    let event = EventBuilder::new("1", "/s", "t").data_json(data.to_owned().into());
    event.attribute("subject", AttributeValue::String("s")).build().expect("an event")
}

/// Header and entry of one event that is judged at egress.
fn captured(sealed: bool, topic: &str, event: &Event) -> (Reader, String) {
    let (program, keys) = world();
    let zone = |name| program.zone(name).expect("a zone");
    let begin = Begin {
        capture: 7,
        bridge: "a",
        zone: zone("eu"),
        topics: vec!["**".to_owned()],
        now: OffsetDateTime::UNIX_EPOCH,
        sealed,
    };
    let mut writer = Writer::begin(&begin, &program, &keys).expect("a key");
    let topic = Topic::parse(topic).expect("a topic");
    let request = Request {
        context: Context::Egress,
        from: zone("eu"),
        to: zone("us"),
        topic: &topic,
        event,
        publisher: Some("shop"),
        subscriber: None,
        hops: 0,
        now: OffsetDateTime::UNIX_EPOCH,
        tick: 0,
        buckets: None,
        keys: &keys,
        randomness: &Randomness::new([3; 32]),
        released: &[],
        trace: false,
    };
    let mut scratch = Scratch::new();
    let decision = program.decide(&request, &mut scratch);
    let (verdict, by, edited) = match &decision.verdict {
        Verdict::Forward { event } => ("forward", None, event.as_ref()),
        Verdict::Hold { .. } => unreachable!("there is no rate"),
        Verdict::Stop(stopped) => (stopped.disposition.name(), Some(stopped.by.id()), None),
    };
    let digest = program.digest();
    let recorded = Recorded { digest: &digest, verdict, by, also_by: Some(&[]), is_rate: false, edited };
    let line = writer.entry(program.federation(), Some(&program), &request, &recorded, &mut scratch);
    assert!(writer.end(3, "time").contains("\"events\":1"));
    (Reader::begin(&writer.header()).expect("a header"), line)
}

fn entry(reader: &Reader, line: &str, ring: &dyn KeyRing) -> Entry {
    match reader.line(line, ring) {
        Ok(Line::Entry(entry)) => *entry,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_protected_view_is_what_the_destination_gets_and_says_where_it_was_edited() {
    let judged =
        event(r#"{"card":"4111 1111 1111 1111","name":"Ada","total":1.50, "list":[1,"4111111111111111"]}"#);
    let (reader, line) = captured(false, "open.orders", &judged);
    assert!(!line.contains("4111 1111") && !line.contains("Ada") && !line.contains("govwarn"), "{line}");
    assert!(line.contains(r#""total":1.50,"#), "what is not edited keeps its spelling: {line}");
    let entry = entry(&reader, &line, &MapKeyRing::new());
    assert_eq!((entry.verdict, entry.event_bytes), ("forward", judged.encoded().len() as u64));
    let What::Part { view, altered } = &entry.what else { panic!("{entry:?}") };
    let json = serde_json::from_slice(view.data_bytes()).ok();
    let hides = |read: &[&str]| {
        let read: Vec<String> = read.iter().map(|name| (*name).to_owned()).collect();
        altered.hides_path(json.as_ref(), &read)
    };
    assert!(hides(&["card"]) && hides(&["name"]) && hides(&[]), "{altered:?}");
    assert!(hides(&["other"]), "a member that is not there may be the one that is gone: {altered:?}");
    assert!(!hides(&["total"]) && hides(&["list"]) && hides(&["list", "1"]) && !hides(&["list", "0"]));
    assert!(!altered.hides_attribute(view, "subject") && altered.hides_attribute(view, "govprotected"));
    assert!(!altered.hides_attribute(view, "traceparent"), "no attribute is gone");
}

#[test]
fn an_event_that_nobody_edits_is_kept_byte_for_byte() {
    for data in
        [r#"{"zeta" : 1.50, "alpha":[ 1e3,2 ],  "text":"caf\u00e9"}"#, "[1,\n2]", "{\"a\":1,\"a\":2}", "7"]
    {
        let judged = event(data);
        let (reader, line) = captured(false, "open.orders", &judged);
        assert!(!line.contains('\n'));
        let entry = entry(&reader, &line, &MapKeyRing::new());
        let What::Whole { event, form: None } = &entry.what else { panic!("{entry:?}") };
        assert_eq!(event.encoded(), judged.encoded());
    }
}

#[test]
fn of_what_the_destination_is_not_to_have_there_is_an_outline_only() {
    let judged = event(r#"{"mail":"ada@example.com","word":"tulip"}"#);
    for topic in ["closed.orders", "open.strict"] {
        let (reader, line) = captured(false, topic, &judged);
        assert!(!line.contains("tulip") && !line.contains("example.com"), "{line}");
        let entry = entry(&reader, &line, &MapKeyRing::new());
        let What::Part { view, altered } = &entry.what else { panic!("{entry:?}") };
        assert!(altered.hides_data() && altered.hides_attribute(view, "subject"));
        assert!(!altered.hides_attribute(view, "type"));
        assert_eq!(entry.topic.as_ref().map(Topic::as_str), Some(topic));
    }
    // Only its form keeps it back, so its destination may see it.
    let (_, line) = captured(false, "open.traced", &judged);
    assert!(line.contains("dead-letter") && line.contains("tulip"), "{line}");
}

#[test]
fn names_that_are_personal_data_are_not_shown() {
    let judged = EventBuilder::new("4111 1111 1111 1111", "/s", "t").build().expect("an event");
    let (reader, line) = captured(false, "closed.ada@example%2Ecom", &judged);
    assert!(!line.contains("4111 1111"), "{line}");
    let entry = entry(&reader, &line, &MapKeyRing::new());
    let What::Part { view, altered } = &entry.what else { panic!("{entry:?}") };
    assert!(altered.hides_attribute(view, "id") && !altered.hides_attribute(view, "source"));
}

#[test]
fn a_sealed_event_opens_with_its_key_in_its_place_and_nowhere_else() {
    let judged = event(r#"{"card":"4111 1111 1111 1111","name":"Ada"}"#);
    let (reader, line) = captured(true, "open.orders", &judged);
    assert!(!line.contains("4111") && !line.contains("Ada"), "{line}");
    assert_eq!(reader.header().key.as_deref(), Some("store-eu.2"));
    let (_, keys) = world();
    let opened = entry(&reader, &line, &keys);
    let What::Whole { event, form: Some(form) } = &opened.what else { panic!("{opened:?}") };
    assert_eq!(event.encoded(), judged.encoded());
    assert!(!String::from_utf8_lossy(form.data_bytes()).contains("4111 1111"));

    let why =
        |reader: &Reader, line: &str, ring: &dyn KeyRing| reader.line(line, ring).expect_err("it is sealed");
    assert_eq!(why(&reader, &line, &MapKeyRing::new()), CaptureError::NoKey("store-eu.2".to_owned()));
    let mut wrong = MapKeyRing::new();
    wrong.insert("store-eu", 2, [1; 32]);
    assert_eq!(why(&reader, &line, &wrong), CaptureError::DoesNotOpen(1));
    for (from, to) in [
        ("\"eu\"", "\"us\""),
        ("open.orders", "open.hr"),
        ("\"forward\"", "\"reject\""),
        ("\"n\":1", "\"n\":2"),
    ] {
        assert!(
            matches!(why(&reader, &line.replace(from, to), &keys), CaptureError::DoesNotOpen(_)),
            "{from}"
        );
    }
    let mut other = reader.clone();
    other.header.capture = "0000000000000008".to_owned();
    assert_eq!(why(&other, &line, &keys), CaptureError::DoesNotOpen(1));
    let at = line.len() - 10;
    let flipped = if line.as_bytes()[at] == b'A' { "B" } else { "A" };
    let damaged = format!("{}{flipped}{}", &line[..at], &line[at + 1..]);
    assert_eq!(why(&reader, &damaged, &keys), CaptureError::DoesNotOpen(1));
}

#[test]
fn without_a_store_key_nothing_is_sealed() {
    let (program, _) = world();
    let begin = |zone: &str| Begin {
        capture: 1,
        bridge: "a",
        zone: program.zone(zone).expect("a zone"),
        topics: Vec::new(),
        now: OffsetDateTime::UNIX_EPOCH,
        sealed: true,
    };
    let mut other_use = MapKeyRing::new();
    other_use.insert("fields", 1, [1; 32]);
    assert_eq!(Writer::begin(&begin("eu"), &program, &other_use).err(), Some(NoStoreKey));
    let keys = TestKeys::of(program.federation());
    assert_eq!(Writer::begin(&begin("us"), &program, &keys).err(), Some(NoStoreKey), "a key of another zone");
    assert!(Writer::begin(&begin("eu"), &program, &keys).is_ok());
}

#[test]
fn what_is_no_capture_is_refused_by_name() {
    let (reader, line) = captured(false, "open.orders", &event("{}"));
    let header = json(reader.header());
    assert_eq!(Reader::begin("{}").err(), Some(CaptureError::NotACapture));
    assert_eq!(Reader::begin(&line).err(), Some(CaptureError::NotACapture));
    let later = header.replace("\"version\":1", "\"version\":9");
    assert_eq!(Reader::begin(&later).err(), Some(CaptureError::Version(9)));
    let ring = MapKeyRing::new();
    for damaged in [&line[..line.len() / 2], "", "{}", "[]", &line.replace("egress", "outside")] {
        assert!(matches!(reader.line(damaged, &ring), Err(CaptureError::Malformed(_))), "{damaged}");
    }
    let end = json(&EndLine { end: End { events: 2, missed: 1, why: "time".to_owned() } });
    assert!(matches!(reader.line(&end, &ring), Ok(Line::End(End { events: 2, missed: 1, .. }))));
}
