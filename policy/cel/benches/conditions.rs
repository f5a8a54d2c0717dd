//! Evaluation of three conditions as policies have them. Compilation is outside of what is measured.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use meshbridge_cel::{Limits, Scope, Steps, compile};
use serde_json::{Value, json};

#[path = "../tests/it/support.rs"]
#[allow(dead_code)]
mod support;

use support::Event;

fn conditions(criterion: &mut Criterion) {
    let lines: Vec<Value> =
        (0..10).map(|line| json!({"sku": format!("A-{line}"), "qty": line + 1})).collect();
    let event =
        Event::payment(json!({"amount": 12_000, "currency": "EUR", "customer": {"id": 7}, "lines": lines}));
    for (name, source) in [
        ("amount_and_topic", "event.data.?amount.orValue(0.0) > 10000.0 && tokens[0] == \"payments\""),
        (
            "weekend_freeze",
            "now.getDayOfWeek(\"UTC\") in [0, 6] && event.data.?amount.orValue(0.0) > 10000.0",
        ),
        ("ten_order_lines", "event.data.?lines.orValue([]).all(l, l.?qty.orValue(0) > 0)"),
        ("source_pattern", "event.source.matches(\"^/eu-[0-9]+/\") && from.region == \"eu\""),
    ] {
        let expression = compile(source, &Scope::event(), &Limits::default()).expect("a condition");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| expression.evaluate(black_box(&event), &mut Steps::new(10_000)));
        });
    }
}

criterion_group!(benches, conditions);
criterion_main!(benches);
