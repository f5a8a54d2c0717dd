//! A decision that protects something, from the encoded event to the edited one. Numbers are of one core.
//!
//! Target: 3 µs to redact three fields of an event of 1 KiB. By class the whole event is looked through besides.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_policy::{
    Context, Federation, MapKeyRing, Program, Randomness, Request, Scratch, SourceFile, Verdict, compile,
};
use meshbridge_topic::Topic;

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: bench}
spec:
  zones: {eu-1: {region: eu}, us-1: {region: us}}
  bridges: [{id: eu-1-a, zone: eu-1}, {id: us-1-a, zone: us-1}]
  links: [{from: eu-1-a, to: us-1-a}]
"#;

/// What the three fields are, for rules that ask by class.
const DECLARED: &str = r#"
apiVersion: meshbridge/v1
kind: Classification
metadata: {name: known, layer: federation}
spec:
  topics:
    - match: "orders.**"
      fields: {"$.data.customer.email": contact.email, "$.data.customer.name": person.name, "$.data.customer.phone": contact.phone}
"#;

fn program(protect: &str) -> Program {
    let file = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let federation =
        Federation::parse(&file("federation.yaml", FEDERATION.to_owned())).expect("a federation");
    let rules = match protect {
        "" => String::new(),
        items => format!("\n    - {{name: protect, match: {{topics: [\"**\"]}}, protect: [{items}]}}"),
    };
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: p, layer: federation}}\nspec:\n  rules:\n    - {{name: pass, match: {{topics: [\"**\"]}}, permit: {{}}}}{rules}\n"
    );
    let files = [file("p.yaml", text), file("known.yaml", DECLARED.to_owned())];
    let is_declared = protect.contains("person");
    let files = if is_declared { &files[..] } else { &files[..1] };
    compile(files, &federation, None).expect("a valid policy").program
}

/// An order of 1 KiB as shops send them.
fn event() -> Event {
    let lines: Vec<String> = (0..9)
        .map(|n| format!(r#"{{"sku": "A-10{n}-blue", "qty": {n}, "price": 1{n}.99, "note": "gift wrap"}}"#))
        .collect();
    let data = format!(
        r#"{{"customer": {{"email": "ana@example.com", "name": "Ana Novak", "phone": "+49 30 901820"}}, "lines": [{}], "total": 135.91, "currency": "EUR", "comment": "please ring twice and leave it with the neighbour if nobody opens", "status": "created"}}"#,
        lines.join(", ")
    );
    let builder =
        EventBuilder::new("7f9c24e5-2b1a-4d0c-9d5e-0a5b7c1d2e3f", "/eu-1/shop", "com.acme.orders.created")
            .attribute("time", AttributeValue::Timestamp("2026-11-20T10:00:00Z"))
            .attribute("dataschema", AttributeValue::Uri("https://schemas.acme.example/order/v2.json"));
    let event = builder.data_json(Bytes::from(data)).build().expect("an event");
    assert!((1000..1100).contains(&event.encoded().len()), "{}", event.encoded().len());
    event
}

fn decide(criterion: &mut Criterion) {
    let event = event();
    let topic = Topic::parse("orders.created.v2").expect("a topic");
    let mut group = criterion.benchmark_group("protect");
    group.throughput(Throughput::Bytes(event.encoded().len() as u64));
    let fields = r#"fields: ["$.data.customer.email", "$.data.customer.name", "$.data.customer.phone"]"#;
    for (name, items, edits) in [
        ("nothing_to_do_1_kib", String::new(), false),
        (
            "three_fields_not_there_1_kib",
            r#"{fields: ["$.data.a", "$.data.b.c", "$.data.d"], as: redact}"#.to_owned(),
            false,
        ),
        ("redact_three_fields_1_kib", format!("{{{fields}, as: redact}}"), true),
        ("mask_three_fields_1_kib", format!("{{{fields}, as: mask, keep: {{last: 2}}}}"), true),
        (
            "redact_three_declared_fields_1_kib",
            "{classes: [contact, person.name], as: redact}".to_owned(),
            true,
        ),
        ("redact_contact_by_class_1_kib", "{classes: [contact], as: redact}".to_owned(), true),
    ] {
        let program = program(&items);
        let (from, to) = (program.zone("eu-1").expect("a zone"), program.zone("us-1").expect("a zone"));
        let (keys, randomness, mut scratch) = (MapKeyRing::new(), Randomness::new([1; 32]), Scratch::new());
        let mut decided = |event: &Event| {
            let request = Request {
                context: Context::Egress,
                from,
                to,
                topic: &topic,
                event,
                publisher: None,
                subscriber: None,
                hops: 0,
                now: time::OffsetDateTime::UNIX_EPOCH,
                tick: 0,
                buckets: None,
                keys: &keys,
                randomness: &randomness,
                released: &[],
                trace: false,
            };
            program.decide(&request, &mut scratch).verdict
        };
        assert!(matches!(decided(&event), Verdict::Forward { event } if event.is_some() == edits), "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(decided(black_box(&event)))));
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
