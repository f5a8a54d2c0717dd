//! What is shown of events that are kept, and what is not.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use crate::engine::{Request, Scratch};
use crate::protect::Randomness;
use crate::testing::TestKeys;
use crate::{Context, Federation, Program, SourceFile, Verdict, compile};

const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {eu: {region: eu}, us: {region: us}}
  bridges: [{id: a, zone: eu}, {id: b, zone: us}]
";
const RULES: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: p, layer: federation}
spec:
  rules:
    - {name: open, match: {topics: ["open.**"]}, permit: {}}
    - {name: no-cards, match: {topics: ["**"]}, protect: [{classes: [payment.card], as: mask, keep: {first: 0, last: 4}}]}
    - {name: no-names, match: {topics: ["**"]}, protect: [{fields: ["$.data.name"], as: redact}]}
    - {name: no-mail, match: {topics: ["open.strict"]}, forbid: {classes: [contact.email]}}
    - {name: traced, match: {topics: ["open.traced", "open.strict"]}, require: {attributes: {traceparent: {}}}}
    - {name: never, match: {topics: ["open.never"]}, deny: {}, onViolation: quarantine}
    - name: some-notes
      match: {topics: ["open.doubt"], at: [publish, egress], when: "event.data.?level.orValue(1) > 1"}
      protect: [{fields: ["$.data.note"], as: drop}]
"#;
const DATA: &str = r#"{"card":"4111 1111 1111 1111","name":"Ada","mail":"ada@acme.example","total":1.50}"#;

fn program() -> Program {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    compile(&[file("p.yaml", RULES)], &federation, None).unwrap_or_else(|all| panic!("{all}")).program
}

fn json(data: &str) -> Event {
    EventBuilder::new("1", "/s", "t").data_json(data.to_owned().into()).build().expect("an event")
}

/// Whether it goes on, and what is shown of it.
fn view(topic: &str, event: &Event) -> (bool, Option<String>) {
    let program = program();
    let zone = |name| program.zone(name).expect("a zone");
    let keys = TestKeys::of(program.federation());
    let topic = Topic::parse(topic).expect("a topic");
    let request = Request {
        context: Context::Egress,
        from: zone("eu"),
        to: zone("us"),
        topic: &topic,
        event,
        publisher: None,
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
    let goes_on = matches!(program.decide(&request, &mut scratch).verdict, Verdict::Forward { .. });
    let view = program.kept_view(&request, &mut scratch);
    (goes_on, view.map(|event| String::from_utf8_lossy(event.data_bytes()).into_owned()))
}

#[test]
fn what_its_form_stops_is_shown_as_its_destination_would_get_it() {
    let expected = DATA.replace("4111 1111 1111 1111", "**** **** **** 1111").replace("Ada", "[redacted]");
    let passing = view("open.orders", &json(DATA));
    assert_eq!(passing, (true, Some(expected.clone())), "lost on its way, and stopped by nothing");
    assert_eq!(view("open.traced", &json(DATA)), (false, Some(expected)));
}

#[test]
fn what_a_rule_forbids_is_redacted_beside_what_others_protect() {
    let (goes_on, view) = view("open.strict", &json(DATA));
    let view = view.expect("a view");
    assert!(!goes_on && view.contains(r#""mail":"[redacted:contact.email]""#), "{view}");
    assert!(!view.contains("4111 ") && !view.contains("Ada") && view.contains("1.50"), "{view}");
}

#[test]
fn what_its_destination_may_not_have_at_all_is_not_shown() {
    for topic in ["open.never", "closed"] {
        assert_eq!(view(topic, &json(DATA)), (false, None), "{topic}");
    }
}

#[test]
fn what_cannot_be_protected_is_not_shown() {
    // A condition that compares a text with a number: nobody knows whether the note was to be protected.
    let doubtful = json(r#"{"level":"high","note":"to nobody"}"#);
    assert_eq!(view("open.doubt", &doubtful), (false, None));
    let binary = EventBuilder::new("1", "/s", "t")
        .data_binary(Bytes::from_static(&[0, 159, 146, 150]))
        .attribute("datacontenttype", AttributeValue::String("application/octet-stream"));
    assert_eq!(view("open.strict", &binary.build().expect("an event")), (false, None));
}

#[test]
fn a_name_that_is_personal_data_hides_the_rest() {
    let named = EventBuilder::new("1", "mailto:ada@acme.example", "t").data_json(DATA.to_owned().into());
    assert_eq!(view("open.traced", &named.build().expect("an event")).1, None);
}

#[test]
fn nothing_is_kept_at_publication_where_a_protection_is_in_doubt() {
    let program = program();
    let eu = program.zone("eu").expect("a zone");
    let (keys, topic) = (TestKeys::of(program.federation()), Topic::parse("open.doubt").expect("a topic"));
    let kept = |data: &str| {
        let event = json(data);
        let request = Request {
            context: Context::Publish,
            from: eu,
            to: eu,
            topic: &topic,
            event: &event,
            publisher: None,
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
        let kept = program.kept_form(&request, &mut Scratch::new());
        kept.map(|event| String::from_utf8_lossy(event.data_bytes()).into_owned())
    };
    assert_eq!(kept(r#"{"level":2,"note":"to nobody"}"#).as_deref(), Some(r#"{"level":2}"#));
    assert_eq!(kept(r#"{"level":"high","note":"to nobody"}"#), None);
}
