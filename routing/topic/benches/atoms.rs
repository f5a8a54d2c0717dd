//! What it takes to tell all topics apart that a federation's rules tell apart.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use meshbridge_topic::{Atoms, TopicFilter};

/// Filters as organisations write them: a tree of domains, departments and versions; some with a wildcard in the middle.
fn filters(count: usize) -> Vec<TopicFilter> {
    let domains = ["orders", "payments", "catalog", "hr", "billing", "legacy", "telemetry", "audit"];
    let events = ["created", "settled", "cancelled", "updated", "viewed"];
    let mut texts = Vec::with_capacity(count);
    for at in 0..count {
        let (domain, event, part) = (domains[at % 8], events[at % 5], at / 8 % 64);
        texts.push(match at % 10 {
            0 => format!("{domain}.**"),
            1 => format!("{domain}.*.{event}"),
            2 => format!("{domain}.part-{part}.**"),
            3 => format!("{domain}.part-{part}.{event}.v{}", at % 3),
            4 => "**".to_owned(),
            5 => format!("{domain}.**.{event}"),
            _ => format!("{domain}.part-{part}.{event}"),
        });
    }
    texts.iter().map(|text| TopicFilter::parse(text).expect("a filter")).collect()
}

fn atoms(c: &mut Criterion) {
    for count in [100, 1_000] {
        let filters = filters(count);
        let found = Atoms::new(&filters).expect("few states").len();
        c.bench_function(&format!("atoms_of_{count}_filters_{found}_atoms"), |b| {
            b.iter(|| Atoms::new(black_box(&filters)).expect("few states"));
        });
    }
}

criterion_group!(benches, atoms);
criterion_main!(benches);
