//! How long it takes to find the filters that match a topic, and what a filter costs in memory: Meshbridge's trie, that
//! of Zenoh's key expressions, and one of nested hash maps as one would write it first. Before anything is timed, all have
//! to find the same number of filters for each topic.
//!
//! Names of benchmarks: `<what>/<structure>/<shape>_<filters>`. Memory goes to stderr: resident memory that came with the
//! structure, divided by the filters, their texts included.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meshbridge_topic::{FilterTrie, Topic, TopicFilter};
use zenoh_keyexpr::keyexpr_tree::{IKeyExprTree, IKeyExprTreeMut, IKeyExprTreeNode, KeBoxTree};
use zenoh_keyexpr::{OwnedKeyExpr, keyexpr};

const MILLION: usize = 1_000_000;
/// Topics that are matched in turn.
const TOPICS: usize = 4_096;

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// No wildcards.
    Literal,
    /// Of four filters, one has `*` in the middle and one ends with `**`.
    Mixed,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Shape::Literal => "literal",
            Shape::Mixed => "mixed",
        }
    }

    /// Four levels, as people build them. Distinct for distinct numbers.
    fn filter(self, number: usize) -> String {
        let (area, site) = (number % 97, number % 1_009);
        match (self, number % 4) {
            (Shape::Mixed, 1) => format!("plant.a{area}.*.d{number}"),
            (Shape::Mixed, 2) => format!("plant.a{area}.s{site}.d{number}.**"),
            _ => format!("plant.a{area}.s{site}.d{number}"),
        }
    }
}

/// Spread over all filters; what the number's filter matches.
fn topics(filters: usize) -> Vec<String> {
    let number = |at: usize| at.wrapping_mul(2_654_435_761) % filters;
    (0..TOPICS).map(number).map(|n| format!("plant.a{}.s{}.d{n}", n % 97, n % 1_009)).collect()
}

/// As one would write it first: a hash map at each node.
#[derive(Default)]
struct Naive {
    children: HashMap<Box<str>, Naive>,
    values: Vec<u32>,
}

impl Naive {
    fn insert(&mut self, filter: &str, value: u32) {
        let node = filter.split('.').fold(self, |node, token| node.children.entry(token.into()).or_default());
        node.values.push(value);
    }

    fn for_each_match(&self, tokens: &[&str], found: &mut impl FnMut(u32)) {
        if let Some(many) = self.children.get("**") {
            (0..=tokens.len()).for_each(|taken| many.for_each_match(&tokens[taken..], found));
        }
        match tokens.split_first() {
            None => self.values.iter().copied().for_each(found),
            Some((token, rest)) => {
                for child in [*token, "*"].iter().filter_map(|token| self.children.get(*token)) {
                    child.for_each_match(rest, found);
                }
            }
        }
    }
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or_default() * 4_096
}

/// Builds a structure and says what a filter of it takes.
fn built<T>(name: &str, filters: usize, build: impl FnOnce() -> T) -> T {
    let before = resident_bytes();
    let begin = std::time::Instant::now();
    let built = build();
    let bytes = resident_bytes().saturating_sub(before) / filters;
    let nanos = begin.elapsed().as_nanos() / filters as u128;
    eprintln!("{name}: {bytes} bytes and {nanos} ns to insert, a filter of {filters}");
    built
}

fn meshbridge(shape: Shape, filters: usize) -> FilterTrie<u32> {
    let mut trie = FilterTrie::default();
    for number in 0..filters {
        let filter = TopicFilter::parse(&shape.filter(number)).expect("a filter");
        trie.insert(&filter, number as u32);
    }
    trie
}

fn zenoh(shape: Shape, filters: usize) -> KeBoxTree<u32> {
    let mut tree = KeBoxTree::new();
    for number in 0..filters {
        let text = shape.filter(number).replace('.', "/");
        tree.insert(keyexpr::new(&text).expect("a key expression"), number as u32);
    }
    tree
}

fn naive(shape: Shape, filters: usize) -> Naive {
    let mut trie = Naive::default();
    (0..filters).for_each(|number| trie.insert(&shape.filter(number), number as u32));
    trie
}

fn of_meshbridge(trie: &FilterTrie<u32>, topic: &Topic) -> u32 {
    let mut found = 0;
    trie.for_each_match(topic, |_| found += 1);
    found
}

fn of_zenoh(tree: &KeBoxTree<u32>, topic: &keyexpr) -> u32 {
    tree.intersecting_nodes(topic).filter(|node| node.weight().is_some()).count() as u32
}

fn of_naive(trie: &Naive, topic: &str) -> u32 {
    let mut found = 0;
    let tokens: Vec<&str> = topic.split('.').collect();
    trie.for_each_match(&tokens, &mut |_| found += 1);
    found
}

fn one_zone(c: &mut Criterion) {
    for (shape, filters) in [(Shape::Literal, MILLION), (Shape::Mixed, MILLION), (Shape::Mixed, 10_000)] {
        let name = format!("{}_{filters}", shape.name());
        let texts = topics(filters);
        let topics: Vec<Topic> = texts.iter().map(|text| Topic::parse(text).expect("a topic")).collect();
        let keys: Vec<OwnedKeyExpr> = texts
            .iter()
            .map(|text| OwnedKeyExpr::new(text.replace('.', "/")).expect("a key expression"))
            .collect();
        let mesh = built("meshbridge", filters, || meshbridge(shape, filters));
        let tree = built("zenoh-keyexpr", filters, || zenoh(shape, filters));
        let plain = built("naive", filters, || naive(shape, filters));
        for ((topic, key), text) in topics.iter().zip(&keys).zip(&texts) {
            let found = of_meshbridge(&mesh, topic);
            assert!(found > 0 || matches!(shape, Shape::Mixed), "{text}");
            assert_eq!(found, of_naive(&plain, text), "{text}");
            assert_eq!(found, of_zenoh(&tree, key), "{text}");
        }
        let mut group = c.benchmark_group("match");
        group.throughput(Throughput::Elements(1));
        let mut at = 0;
        let mut next = move || {
            at = (at + 1) % TOPICS;
            at
        };
        group.bench_function(format!("meshbridge/{name}"), |b| {
            b.iter(|| of_meshbridge(&mesh, black_box(&topics[next()])));
        });
        group.bench_function(format!("zenoh/{name}"), |b| {
            b.iter(|| of_zenoh(&tree, black_box(&keys[next()])))
        });
        group.bench_function(format!("naive/{name}"), |b| {
            b.iter(|| of_naive(&plain, black_box(&texts[next()])));
        });
        group.finish();
    }
}

/// A table has a trie for each bridge that wants something, and an event is matched with all of them.
fn hundred_zones(c: &mut Criterion) {
    let (zones, filters) = (100, 10_000);
    let tries: Vec<FilterTrie<u32>> = (0..zones).map(|_| meshbridge(Shape::Mixed, filters)).collect();
    let topics: Vec<Topic> =
        topics(filters).iter().map(|text| Topic::parse(text).expect("a topic")).collect();
    let mut at = 0;
    c.bench_function("match/meshbridge/100_zones_of_mixed_10000", |b| {
        b.iter(|| {
            at = (at + 1) % TOPICS;
            tries.iter().map(|trie| of_meshbridge(trie, black_box(&topics[at]))).sum::<u32>()
        });
    });
}

/// A table of forwarding keeps a copy while the next change is made.
fn change(c: &mut Criterion) {
    let mut trie = meshbridge(Shape::Mixed, MILLION);
    let filter = TopicFilter::parse("plant.a1.s1.new").expect("a filter");
    c.bench_function("insert_copy_remove/meshbridge/mixed_1000000", |b| {
        b.iter(|| {
            trie.insert(&filter, 0);
            let copy = trie.clone();
            trie.remove(&filter, &0);
            copy
        });
    });
}

criterion_group!(benches, one_zone, hundred_zones, change);
criterion_main!(benches);
