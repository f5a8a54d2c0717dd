//! Atoms against every topic of a small world, one by one.

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_topic::{Atoms, TOKENS_MAX, Topic, TopicFilter};
use proptest::prelude::*;

fn texts(alphabet: &[&str], length: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..length {
        last = last
            .iter()
            .flat_map(|text| {
                let longer = |token: &&str| {
                    if text.is_empty() { (*token).to_owned() } else { format!("{text}.{token}") }
                };
                alphabet.iter().map(longer).collect::<Vec<_>>()
            })
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn topics(length: usize) -> Vec<Topic> {
    texts(&["a", "b", "zz"], length).iter().map(|text| Topic::parse(text).expect("a topic")).collect()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).expect("a filter")
}

/// Which filters match, by asking each.
fn matching(filters: &[TopicFilter], topic: &Topic) -> Vec<usize> {
    (0..filters.len()).filter(|at| filters[*at].matches(topic)).collect()
}

fn check(filters: &[TopicFilter], asked: &[TopicFilter], topics: &[Topic]) {
    let atoms = Atoms::new(filters).expect("small");
    let mut examples: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    let mut brute: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for topic in topics {
        let atom = atoms.of(topic).expect("every topic has one");
        let matched: Vec<usize> = atoms.matching(atom).collect();
        assert_eq!(matched, matching(atoms.filters(), topic), "{topic} under {filters:?}");
        let tokens = topic.tokens().count();
        examples.entry(matched).and_modify(|known| *known = tokens.min(*known)).or_insert(tokens);
        for (at, one) in asked.iter().enumerate().filter(|(_, one)| one.matches(topic)) {
            assert!(atoms.intersecting(one).contains(atom), "{one} meets {topic}");
            brute.entry(at).or_default().insert(atom);
        }
    }
    // Every class of the small world is an atom, and there are no two atoms of one class.
    let classes: BTreeSet<Vec<usize>> = (0..atoms.len()).map(|atom| atoms.matching(atom).collect()).collect();
    assert_eq!(classes.len(), atoms.len());
    assert!(examples.keys().all(|class| classes.contains(class)));
    for atom in 0..atoms.len() {
        let example = atoms.example(atom);
        assert_eq!(atoms.of(example), Some(atom), "{example}");
        let matched: Vec<usize> = atoms.matching(atom).collect();
        assert_eq!(matched, matching(atoms.filters(), example), "{example}");
        // The world of short topics knows no shorter one.
        assert!(examples.get(&matched).is_none_or(|tokens| example.tokens().count() == *tokens), "{example}");
    }
    for (at, one) in asked.iter().enumerate() {
        let found: BTreeSet<usize> = atoms.intersecting(one).iter().collect();
        let short = |atom: &usize| atoms.example(*atom).tokens().count() <= 3;
        let known = brute.remove(&at).unwrap_or_default();
        assert!(known.iter().all(|atom| found.contains(atom)), "{one}");
        // With examples this short the small world has a topic for each meeting: three tokens and one for each `**`.
        if one.tokens().count() <= 2 && filters.iter().all(|f| f.tokens().count() <= 2) {
            assert!(
                found.iter().filter(|atom| short(atom)).all(|atom| known.contains(atom)),
                "{one} in {filters:?}"
            );
        }
    }
}

#[test]
fn every_pair_of_small_filters_tells_all_small_topics_apart_as_they_do_one_by_one() {
    let filters: Vec<TopicFilter> =
        texts(&["a", "b", "*", "**"], 2).iter().filter_map(|text| TopicFilter::parse(text).ok()).collect();
    let topics = topics(5);
    for (at, a) in filters.iter().enumerate() {
        for (place, b) in filters.iter().enumerate().skip(at) {
            // Each pair is asked about one other filter; over all pairs each filter is asked about often.
            let asked = &filters[(at * 7 + place) % filters.len()];
            check(&[a.clone(), b.clone()], std::slice::from_ref(asked), &topics);
        }
    }
}

fn any_filter() -> impl Strategy<Value = TopicFilter> {
    let token = prop_oneof![3 => Just("a"), 2 => Just("b"), 3 => Just("*"), 2 => Just("**")];
    prop::collection::vec(token, 1..5)
        .prop_filter_map("a filter has at most two `**`", |tokens| TopicFilter::parse(&tokens.join(".")).ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_filters_tell_topics_apart_as_they_do_one_by_one(
        filters in prop::collection::vec(any_filter(), 0..8),
        asked in prop::collection::vec(any_filter(), 0..3),
    ) {
        check(&filters, &asked, &topics(5));
    }
}

#[test]
fn examples_are_short_and_readable() {
    let filters = [filter("orders.**"), filter("*.created"), filter("x.y")];
    let atoms = Atoms::new(&filters).expect("small");
    let examples: Vec<&str> = (0..atoms.len()).map(|atom| atoms.example(atom).as_str()).collect();
    assert_eq!(examples, ["x", "orders", "x.y", "x.created", "orders.created"]);
    let named = Atoms::new([&filter("x.**"), &filter("y")]).expect("small");
    let examples: Vec<&str> = (0..named.len()).map(|atom| named.example(atom).as_str()).collect();
    // `x` and `y` occur, so what is made up is `z`.
    assert_eq!(examples.iter().filter(|text| **text == "z").count(), 1, "{examples:?}");
}

#[test]
fn classes_without_a_legal_topic_are_not_there() {
    // Fifteen tokens before, and none after `b`: sixteen is the most.
    let long = format!("**.b.{}", ["*"; 14].join("."));
    let longer = format!("a.{}", ["*"; 15].join("."));
    let atoms = Atoms::new([&filter(&long), &filter(&longer)]).expect("small");
    for atom in 0..atoms.len() {
        assert!(atoms.example(atom).tokens().count() <= TOKENS_MAX);
    }
    let wide = "w".repeat(200);
    let (a, b) = (filter(&format!("{wide}.**")), filter(&format!("**.{wide}.c")));
    let atoms = Atoms::new([&a, &b]).expect("small");
    let both = (0..atoms.len()).filter(|atom| atoms.matching(*atom).len() == 2).count();
    assert_eq!(both, 1, "only {wide}.c is short enough");
}

#[test]
fn an_unknown_filter_meets_the_atoms_that_it_cuts() {
    let atoms = Atoms::new([&filter("a.**"), &filter("b")]).expect("small");
    let met: Vec<&str> =
        atoms.intersecting(&filter("*.q")).iter().map(|atom| atoms.example(atom).as_str()).collect();
    assert_eq!(met, ["a", "x"]);
    assert!(atoms.intersecting(&filter("b")).iter().eq(atoms.of(&Topic::parse("b").expect("a topic"))));
}

#[test]
fn too_many_states_are_an_error_that_names_who_is_to_blame() {
    // Each `**.t<i>.*.*…` remembers whether its token stood at one of the places before: the states double with each.
    let mut filters: Vec<TopicFilter> = (0..40).map(|at| filter(&format!("plain.t{at}.**"))).collect();
    filters.extend((0..14).map(|at| filter(&format!("**.t{at}.{}", ["*"; 12].join(".")))));
    let problem = Atoms::new(&filters).expect_err("far too many");
    assert_eq!(problem.filters.len(), 10);
    assert!(problem.filters.iter().all(|one| one.as_str().starts_with("**")), "{:?}", problem.filters);
}
