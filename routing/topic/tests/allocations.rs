//! Matching costs no allocation. In a binary of its own, because what counts is the allocator of all of it.

use std::hint::black_box;

use meshbridge_topic::{FilterTrie, Topic, TopicFilter};

#[test]
fn matching_allocates_nothing() {
    let mut trie = FilterTrie::default();
    for (at, text) in ["**", "a.**", "*.b.*", "a.b.c", "**.c", "a.**.c", "x.y"].iter().enumerate() {
        trie.insert(&TopicFilter::parse(text).expect("a filter"), at);
    }
    let deep = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.c";
    for text in ["a.b.c", "nobody.wants.this", deep] {
        let topic = Topic::parse(text).expect("a topic");
        let mut found = 0;
        let info = allocation_counter::measure(|| trie.for_each_match(black_box(&topic), |_| found += 1));
        assert_eq!(info.count_total, 0, "{text}");
        assert!(found > 0, "{text}: `**` at least");
    }
    // The counter counts: a topic is owned text.
    let info = allocation_counter::measure(|| drop(black_box(Topic::parse(deep))));
    assert_eq!(info.count_total, 1);
}
