//! What passes costs no allocation. In a binary of its own, because what counts is the allocator of all of it.

use std::hint::black_box;

use bytes::Bytes;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_policy::{
    Context, Federation, KeyRing, Program, Randomness, Request, Scratch, SourceFile, Verdict, compile,
};
use meshbridge_topic::Topic;
use time::OffsetDateTime;

const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {eu-1: {region: eu, cloud: onprem, jurisdiction: EU}, us-1: {region: us, cloud: aws, jurisdiction: US}}
  bridges: [{id: eu-1-a, zone: eu-1}, {id: us-1-a, zone: us-1}]
  links: [{from: eu-1-a, to: us-1-a}]
";

struct NoKeys;

impl KeyRing for NoKeys {
    fn secret(&self, _: &str, _: u32) -> Option<&[u8; 32]> {
        None
    }
}

fn program(rules: &[&str]) -> Program {
    let file = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let federation =
        Federation::parse(&file("federation.yaml", FEDERATION.to_owned())).expect("a valid federation");
    let mut text = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: p, layer: federation}\nspec:\n  rules:\n    - {name: open, match: {topics: [\"orders.**\"]}, permit: {}}\n".to_owned();
    for (at, rule) in rules.iter().enumerate() {
        text.push_str(&format!("    - {{name: r{at}, match: {{topics: [\"orders.**\"]{rule}}}\n"));
    }
    compile(&[file("p.yaml", text)], &federation, None).unwrap_or_else(|found| panic!("{found}")).program
}

fn order() -> Event {
    let data = r#"{"order":4711,"lines":[{"sku":"A-1","qty":2,"note":"blue, if there is one"},{"sku":"B-2","qty":1}],"currency":"EUR","total":118.5,"express":true}"#;
    EventBuilder::new("018f-77", "/eu-1/shop", "com.example.order.created")
        .attribute("purpose", AttributeValue::String("contract"))
        .attribute(
            "traceparent",
            AttributeValue::String("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        )
        .data_json(Bytes::from_static(data.as_bytes()))
        .build()
        .expect("a valid event")
}

/// Allocations of a decision that lets the event pass as it is, once everything is warm.
#[track_caller]
fn allocations(rules: &[&str]) -> u64 {
    let program = program(rules);
    let zone = |name| program.zone(name).expect("a zone of the federation");
    let (event, topic) = (order(), Topic::parse("orders.created.eu").expect("a topic"));
    let randomness = Randomness::new([1; 32]);
    let request = Request {
        context: Context::Egress,
        from: zone("eu-1"),
        to: zone("us-1"),
        topic: &topic,
        event: &event,
        publisher: Some("app:shop"),
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
    let mut decide = || {
        black_box(program.denied_links(black_box(&request), &mut scratch));
        program.decide(black_box(&request), &mut scratch)
    };
    for _ in 0..3 {
        let verdict = decide().verdict;
        assert!(matches!(verdict, Verdict::Forward { event: None }), "{rules:?}: {verdict:?}");
    }
    allocation_counter::measure(|| {
        let _ = black_box(decide());
    })
    .count_total
}

#[test]
fn what_passes_allocates_nothing() {
    for rules in [
        &[][..],
        &[", event: {purpose: marketing}}, deny: {}"],
        &["}, except: {event: {purpose: \"contr*\"}}, deny: {}"],
        &[", when: 'event.data.?total.orValue(0.0) > 1000.0'}, deny: {}"],
        &[
            "}, require: {attributes: {traceparent: {format: w3c-traceparent}, purpose: {enum: [contract, consent]}}}",
        ],
        &[", links: [eu-1/us-1]}, deny: {}"],
        &[
            ", links: [eu-1/us-1], event: {purpose: \"c*\"}}, except: {links: [us-1/eu-1], event: {purpose: x}}, deny: {}",
        ],
        &["}, limit: {eventBytes: 65536, dataBytes: 32768}"],
        &["}, residency: {allow: {jurisdictions: [EU, US]}}"],
        &[
            "}, structure: {segments: [{name: domain, enum: [orders]}, {name: what, pattern: \"^[a-z]+$\"}], more: true}",
        ],
        &["}, forbid: {classes: [secret]}"],
        &["}, protect: [{classes: [payment.card, contact], as: redact}]"],
        &["}, protect: [{classes: [\"*\"], as: redact}, {fields: [\"$.data.customer.name\"], as: drop}]"],
    ] {
        assert_eq!(allocations(rules), 0, "{rules:?}");
    }
    // The counter counts: computed text is owned.
    assert!(allocations(&[", when: 'event.type.lowerAscii() == \"t\"'}, deny: {}"]) > 0);
}
