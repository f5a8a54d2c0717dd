//! What it takes to turn the forms that clients speak into an event and back, and what trains save of it.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meshbridge_event::{AttributeValue, DataKind, Event, EventBuilder, EventTrain, TrainWriter, http, json};

const DATA: &str = r#"{"order":4711,"lines":[{"sku":"A-1","qty":2,"note":"blue, if there is one"},{"sku":"B-2","qty":1}],"currency":"EUR","total":118.5}"#;
const EVENTS: usize = 256;

fn event(id: &str) -> Event {
    EventBuilder::new(id, "/eu-1/shop", "com.example.order.created")
        .attribute("subject", AttributeValue::String("order/4711"))
        .attribute("purpose", AttributeValue::String("contract"))
        .data_json(Bytes::from_static(DATA.as_bytes()))
        .build()
        .expect("a valid event")
}

fn one(c: &mut Criterion) {
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    let event = event("018f-77");
    let mut text = Vec::new();
    json::write_structured(&event, &[], &mut text);
    let headers: Vec<(String, String)> = http::binary_headers(&event).collect();
    group.bench_function("build", |b| b.iter(|| self::event(black_box("018f-77"))));
    group.bench_function("decode", |b| b.iter(|| Event::decode(black_box(event.encoded().clone()))));
    group.bench_function("structured_to_event", |b| b.iter(|| json::parse_structured(black_box(&text))));
    let mut out = Vec::with_capacity(text.len());
    group.bench_function("event_to_structured", |b| {
        b.iter(|| {
            out.clear();
            json::write_structured(black_box(&event), &[], &mut out);
        });
    });
    group.bench_function("binary_to_event", |b| {
        b.iter(|| {
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            http::parse_binary(headers, Some("application/json"), Bytes::from_static(DATA.as_bytes()))
        });
    });
    group.bench_function("event_to_binary", |b| b.iter(|| http::binary_headers(black_box(&event)).count()));
    group.finish();
}

fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("256_events");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let ids: Vec<String> = (0..EVENTS).map(|at| format!("018f-{at}")).collect();
    let events: Vec<Event> = ids.iter().map(|id| event(id)).collect();
    let mut batch = b"[".to_vec();
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            batch.push(b',');
        }
        json::write_structured(event, &[], &mut batch);
    }
    batch.push(b']');
    group.bench_function("batch_to_events", |b| b.iter(|| json::parse_batch(black_box(&batch))));
    let write = || {
        let mut writer = TrainWriter::like(&events[0], DataKind::Json, 64 << 10);
        ids.iter().for_each(|id| assert!(writer.push(id, DATA.as_bytes()), "there is room"));
        writer.finish().expect("it has events")
    };
    group.bench_function("write_train", |b| b.iter(write));
    let train = write();
    group.bench_function("read_train", |b| b.iter(|| EventTrain::decode(black_box(train.encoded().clone()))));
    group.bench_function("train_to_events", |b| b.iter(|| black_box(&train).events().count()));
    group.finish();
}

criterion_group!(benches, one, many);
criterion_main!(benches);
