//! Every question about filters, answered by slow and obvious code for all small inputs.

use meshbridge_topic::{FilterTrie, ParseErrorKind, Topic, TopicFilter};

/// All texts of one to `length` tokens out of `alphabet`.
fn texts(alphabet: &[&str], length: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut last: Vec<String> = vec![String::new()];
    for _ in 0..length {
        last = last
            .iter()
            .flat_map(|text| {
                alphabet.iter().map(move |token| {
                    if text.is_empty() { (*token).to_owned() } else { format!("{text}.{token}") }
                })
            })
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn topics(length: usize) -> Vec<Topic> {
    // `z` occurs in no filter: it stands for every token that a filter does not name.
    texts(&["a", "b", "z"], length).iter().map(|text| Topic::parse(text).expect("a topic")).collect()
}

fn filters(length: usize) -> Vec<TopicFilter> {
    texts(&["a", "b", "*", "**"], length).iter().filter_map(|text| TopicFilter::parse(text).ok()).collect()
}

/// The definition, by recursion.
fn naive(filter: &[&str], topic: &[&str]) -> bool {
    match (filter.split_first(), topic.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"**", rest)), _) => (0..=topic.len()).any(|taken| naive(rest, &topic[taken..])),
        (Some(_), None) => false,
        (Some((token, rest)), Some((first, others))) => {
            (*token == "*" || token == first) && naive(rest, others)
        }
    }
}

fn naive_matches(filter: &TopicFilter, topic: &Topic) -> bool {
    naive(&filter.tokens().collect::<Vec<_>>(), &topic.tokens().collect::<Vec<_>>())
}

#[test]
fn every_small_filter_matches_as_the_definition_says() {
    let topics = topics(5);
    for filter in filters(4) {
        for topic in &topics {
            assert_eq!(filter.matches(topic), naive_matches(&filter, topic), "{filter} against {topic}");
        }
    }
}

#[test]
fn covers_and_intersects_agree_with_all_topics_up_to_a_length_that_decides() {
    // Filters of three tokens are told apart by topics of up to seven: three named tokens and two runs of `**`.
    let topics = topics(7);
    let filters = filters(3);
    let matched: Vec<Vec<u64>> = filters
        .iter()
        .map(|filter| {
            let mut bits = vec![0_u64; topics.len().div_ceil(64)];
            for (at, topic) in topics.iter().enumerate() {
                if naive_matches(filter, topic) {
                    bits[at / 64] |= 1 << (at % 64);
                }
            }
            bits
        })
        .collect();
    let mut pairs = 0;
    for (a, a_bits) in filters.iter().zip(&matched) {
        for (b, b_bits) in filters.iter().zip(&matched) {
            let covers = a_bits.iter().zip(b_bits).all(|(a, b)| b & !a == 0);
            let intersects = a_bits.iter().zip(b_bits).any(|(a, b)| a & b != 0);
            assert_eq!(a.covers(b), covers, "{a} covers {b}");
            assert_eq!(a.intersects(b), intersects, "{a} intersects {b}");
            pairs += 1;
        }
    }
    assert!(pairs > 6_000, "{pairs} pairs");
}

#[test]
fn the_trie_finds_what_each_filter_matches_and_forgets_what_is_removed() {
    let filters = filters(3);
    let mut trie = FilterTrie::default();
    for (id, filter) in filters.iter().enumerate() {
        trie.insert(filter, id);
    }
    let check = |trie: &FilterTrie<usize>, kept: &dyn Fn(usize) -> bool| {
        for topic in topics(4) {
            let mut found = Vec::new();
            trie.for_each_match(&topic, |id| found.push(*id));
            found.sort_unstable();
            found.dedup();
            let expected: Vec<usize> =
                (0..filters.len()).filter(|id| kept(*id) && naive_matches(&filters[*id], &topic)).collect();
            assert_eq!(found, expected, "{topic}");
        }
    };
    check(&trie, &|_| true);
    for (id, filter) in filters.iter().enumerate().filter(|(id, _)| id % 3 != 0) {
        assert!(trie.remove(filter, &id));
        assert!(!trie.remove(filter, &id), "removed twice");
    }
    check(&trie, &|id| id % 3 == 0);
    for (id, filter) in filters.iter().enumerate().filter(|(id, _)| id % 3 == 0) {
        assert!(trie.remove(filter, &id));
    }
    assert!(trie.is_empty());
}

#[test]
fn a_copy_of_the_trie_stays_what_it_was() {
    let (early, late): (Vec<TopicFilter>, Vec<TopicFilter>) = filters(3).into_iter().enumerate().fold(
        (Vec::new(), Vec::new()),
        |(mut early, mut late), (at, one)| {
            if at % 2 == 0 {
                early.push(one)
            } else {
                late.push(one)
            }
            (early, late)
        },
    );
    let mut trie = FilterTrie::default();
    early.iter().for_each(|filter| trie.insert(filter, filter.clone()));
    let copy = trie.clone();
    late.iter().for_each(|filter| trie.insert(filter, filter.clone()));
    early.iter().for_each(|filter| assert!(trie.remove(filter, filter), "{filter}"));
    let check = |trie: &FilterTrie<TopicFilter>, held: &[TopicFilter]| {
        for topic in topics(4) {
            let mut found = Vec::new();
            trie.for_each_match(&topic, |filter| found.push(filter.clone()));
            found.sort();
            found.dedup();
            let mut expected: Vec<TopicFilter> =
                held.iter().filter(|filter| naive_matches(filter, &topic)).cloned().collect();
            expected.sort();
            assert_eq!(found, expected, "{topic}");
        }
        assert_eq!(trie.len(), held.len());
    };
    check(&copy, &early);
    check(&trie, &late);
}

#[test]
fn no_cover_of_a_filter_is_missed() {
    let filters = filters(4);
    let mut trie = FilterTrie::default();
    let wild: Vec<&TopicFilter> = filters.iter().filter(|filter| !filter.is_literal()).collect();
    wild.iter().for_each(|filter| trie.insert(filter, (*filter).clone()));
    for filter in &filters {
        let mut found = std::collections::BTreeSet::new();
        trie.for_each_possible_cover(filter, |other| {
            found.insert(other.clone());
        });
        for other in wild.iter().filter(|other| other.covers(filter)) {
            assert!(found.contains(*other), "{other} covers {filter}");
            assert!(filter.as_str().starts_with(other.literal_prefix()), "{other} covers {filter}");
        }
    }
}

#[test]
fn errors_name_the_rule_and_the_byte() {
    check_topic("", ParseErrorKind::EmptyToken, 0);
    check_topic("a..b", ParseErrorKind::EmptyToken, 2);
    check_topic("a.b.", ParseErrorKind::EmptyToken, 4);
    check_topic("a.*", ParseErrorKind::WildcardInTopic, 2);
    check_topic("a.b c", ParseErrorKind::Character(' '), 3);
    check_topic("a.é/", ParseErrorKind::Character('/'), 4);
    check_topic("a.x\u{200b}", ParseErrorKind::Character('\u{200b}'), 3);
    check_topic("a.>", ParseErrorKind::Character('>'), 2);
    check_topic(&"a.".repeat(16), ParseErrorKind::TooManyTokens, 32);
    check_topic(&"a".repeat(257), ParseErrorKind::TooLong, 256);
    check_filter("a*.b", ParseErrorKind::PartialWildcard, 1);
    check_filter("a.***", ParseErrorKind::PartialWildcard, 2);
    check_filter("**.a.**.b.**", ParseErrorKind::TooManyMultiWildcards, 10);
    assert!(Topic::parse(&["a"; 16].join(".")).is_ok());
    assert!(Topic::parse("订单.eu.%2E").is_ok());
}

#[track_caller]
fn check_topic(text: &str, kind: ParseErrorKind, offset: usize) {
    let problem = Topic::parse(text).expect_err(text);
    assert_eq!((problem.kind, problem.offset), (kind, offset), "{text:?}");
}

#[track_caller]
fn check_filter(text: &str, kind: ParseErrorKind, offset: usize) {
    let problem = TopicFilter::parse(text).expect_err(text);
    assert_eq!((problem.kind, problem.offset), (kind, offset), "{text:?}");
}
