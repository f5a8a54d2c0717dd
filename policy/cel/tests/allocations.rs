//! Common conditions allocate nothing. In a binary of its own, because what counts is the allocator of all of it.

use std::hint::black_box;

use meshbridge_cel::{Limits, Scope, Steps, compile};
use serde_json::json;

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use support::Event;

#[track_caller]
fn allocations(source: &str) -> u64 {
    let expression = compile(source, &Scope::at_origin(), &Limits::default()).expect("a condition");
    let event = Event::payment(json!({
        "amount": 12_000, "currency": "EUR", "lines": [{"sku": "A-1", "qty": 2}, {"sku": "B-2", "qty": 1}]
    }));
    let evaluate = || expression.evaluate(black_box(&event), &mut Steps::new(10_000));
    // A regular expression makes its cache when it is first used.
    assert_eq!(evaluate(), Ok(true), "{source}");
    let counted = allocation_counter::measure(|| {
        let _ = black_box(evaluate());
    });
    counted.count_total
}

#[test]
fn common_conditions_allocate_nothing() {
    for source in [
        "event.data.?amount.orValue(0.0) > 10000.0 && tokens[0] == \"payments\"",
        "now.getDayOfWeek(\"UTC\") in [0, 6] && event.data.?amount.orValue(0.0) > 10000.0",
        "event.data.?lines.orValue([]).all(l, l.?qty.orValue(0) > 0)",
        "has(event.data.currency) && event.data.currency in [\"EUR\", \"USD\"]",
        "event.source.matches(\"^/eu-[0-9]+/\") && from.region == \"eu\" && from.labels.?env.orValue(\"\") == \"prod\"",
        "event.?subject.orValue(\"\").startsWith(\"invoice-\") && publisher != \"\" && event.?time.orValue(now) < now",
        "event.data.?currency.orValue(1) > 5 || true",
    ] {
        assert_eq!(allocations(source), 0, "{source}");
    }
    // The counter counts: computed text is owned.
    assert!(allocations("event.data.?currency.orValue(\"\").lowerAscii() == \"eur\"") > 0);
}
