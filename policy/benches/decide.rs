//! What a decision costs, and that it does not depend on how many rules there are: those that topic and zones leave are
//! found once for a topic, and remembered.
//!
//! Targets: 300 ns for a topic that was met before, the same with one rule and with ten thousand; 3 µs for an event
//! whatever is looked for in it, when nothing is found.

use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_policy::{
    Context, Federation, KeyRing, Program, Randomness, Request, Scratch, SourceFile, compile,
};
use meshbridge_topic::Topic;
use time::OffsetDateTime;

const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: bench}
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

/// Rules of one file; more would be refused.
const RULES_PER_FILE: usize = 500;

/// `count` rules about other topics, and those given about `orders.**`.
fn program(count: usize, rules: &[&str]) -> Program {
    let file = |name: String, text: String| SourceFile { name, text };
    let federation = Federation::parse(&file("federation.yaml".into(), FEDERATION.into()))
        .unwrap_or_else(|found| panic!("{found}"));
    let header = |at: usize| {
        format!(
            "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: p{at}, layer: federation}}\nspec:\n  rules:\n"
        )
    };
    let mut text = header(0);
    text.push_str("    - {name: open, match: {topics: [\"orders.**\"]}, permit: {}}\n");
    for (at, rule) in rules.iter().enumerate() {
        writeln!(text, "    - {{name: r{at}, match: {{topics: [\"orders.**\"]{rule}}}").expect("text");
    }
    let mut files = vec![file("p0.yaml".into(), text)];
    let others: Vec<usize> = (0..count).collect();
    for (at, chunk) in others.chunks(RULES_PER_FILE).enumerate() {
        let mut text = header(at + 1);
        for other in chunk {
            writeln!(
                text,
                "    - {{name: o{other}, match: {{topics: [\"part-{other}.*.created\"], event: {{purpose: \"m*\"}}}}, deny: {{}}}}"
            )
            .expect("text");
        }
        files.push(file(format!("p{}.yaml", at + 1), text));
    }
    compile(&files, &federation, None).unwrap_or_else(|found| panic!("{found}")).program
}

/// An order of 270 bytes of data.
fn order() -> Event {
    let data = r#"{"order":4711,"lines":[{"sku":"A-1","qty":2,"note":"blue, if there is one left"},{"sku":"B-2","qty":1,"note":"as before"}],"currency":"EUR","total":118.5,"express":true,"warehouse":"north-2","channel":"web","campaign":"autumn","gift":false,"weight":1.25,"boxes":[1,2,3]}"#;
    EventBuilder::new("018f-77", "/eu-1/shop", "com.example.order.created")
        .attribute("purpose", AttributeValue::String("contract"))
        .data_json(Bytes::from_static(data.as_bytes()))
        .build()
        .expect("a valid event")
}

fn measure(c: &mut Criterion, group: &str, name: impl std::fmt::Display, program: &Program) {
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
    c.benchmark_group(group).bench_function(BenchmarkId::from_parameter(name), |b| {
        b.iter(|| black_box(program.decide(black_box(&request), &mut scratch)));
    });
}

fn rules(c: &mut Criterion) {
    let own = [
        ", event: {purpose: marketing}}, deny: {}",
        "}, require: {attributes: {purpose: {enum: [contract, consent]}}}",
    ];
    for count in [1, 10, 100, 1_000, 10_000] {
        measure(c, "decide/rules", count, &program(count, &own));
    }
}

fn steps(c: &mut Criterion) {
    for (name, rule) in [
        ("condition", ", when: 'event.data.?total.orValue(0.0) > 1000.0'}, deny: {}"),
        ("forbid secrets", "}, forbid: {classes: [secret]}"),
        ("redact cards and contacts", "}, protect: [{classes: [payment.card, contact], as: redact}]"),
        ("redact everything", "}, protect: [{classes: [\"*\"], as: redact}]"),
    ] {
        measure(c, "decide/clean event", name, &program(100, &[rule]));
    }
}

criterion_group!(benches, rules, steps);
criterion_main!(benches);
