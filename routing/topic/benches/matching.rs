//! What it takes to read a topic, and to find who wants it among many filters.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use meshbridge_topic::{FilterTrie, Topic, TopicFilter};

/// Filters as organisations write them, most of them literal.
fn trie(count: usize) -> FilterTrie<usize> {
    let mut trie = FilterTrie::default();
    for at in 0..count {
        let text = match at % 20 {
            0 => format!("plant-{}.line-7.**", at % 97),
            1 => format!("plant-{}.*.temperature", at % 97),
            _ => format!("plant-{}.line-{}.sensor-{at}.temperature", at % 97, at % 13),
        };
        trie.insert(&TopicFilter::parse(&text).expect("a filter"), at);
    }
    trie
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("match");
    group.throughput(Throughput::Elements(1));
    for count in [100, 10_000, 100_000, 1_000_000] {
        let trie = trie(count);
        let topics =
            [("wanted", "plant-3.line-3.sensor-3.temperature"), ("unwanted", "hr.payroll.eu.closed")];
        for (name, text) in topics {
            let topic = Topic::parse(text).expect("a topic");
            group.bench_function(BenchmarkId::new(name, format!("{count}_filters")), |b| {
                b.iter(|| {
                    let mut found = 0;
                    trie.for_each_match(black_box(&topic), |_| found += 1);
                    found
                });
            });
        }
    }
    group.bench_function("parse_topic_of_four_tokens", |b| {
        b.iter(|| Topic::parse(black_box("plant-3.line-3.sensor-3.temperature")).expect("a topic"));
    });
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
