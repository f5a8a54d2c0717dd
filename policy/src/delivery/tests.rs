//! What is refused, what matches, and the law that one more entry never loosens.

use meshbridge_topic::{Topic, TopicFilter};
use proptest::prelude::*;

use super::{DeliveryClass, OnDestinationFull, Retain, TopicDelivery};
use crate::{Diagnostics, Federation, Program, SourceFile, compile};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {z-a: {region: r-1}, z-b: {region: r-2}}
  bridges: [{id: a, zone: z-a}, {id: b, zone: z-b}]
  links: [{from: a, to: b}]
"#;
const LAYERS: [&str; 4] = ["federation", "region/r-1", "zone/z-a", "zone/z-b"];
const TOPICS: [&str; 6] = ["a", "a.b", "a.x.b", "b", "c.d", "a.b.c"];

fn federation() -> Federation {
    let file = SourceFile { name: "federation.yaml".to_owned(), text: FEDERATION.to_owned() };
    Federation::parse(&file).expect("a valid document")
}

fn document(name: &str, layer: &str, entries: &[String]) -> SourceFile {
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: Delivery\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  topics:\n{}",
        entries.iter().map(|entry| format!("    - {entry}\n")).collect::<String>()
    );
    SourceFile { name: format!("{name}.yaml"), text }
}

fn one(layer: &str, entry: &str) -> Result<Program, Diagnostics> {
    compile(&[document("d", layer, &[entry.to_owned()])], &federation(), None)
        .map(|compiled| compiled.program)
}

fn delivery(program: &Program, zone: &str, topic: &str) -> TopicDelivery {
    let zone = program.zone(zone).expect("a zone of the federation");
    program.delivery(zone).for_topic(&Topic::parse(topic).expect("a topic"))
}

/// Code, line and column of every problem.
#[track_caller]
fn check_refused(layer: &str, entry: &str, expected: &[(&str, usize, usize)]) {
    let problems = one(layer, entry).expect_err(entry);
    let found: Vec<_> = problems.iter().map(|p| (p.code, p.span.line, p.span.column)).collect();
    assert_eq!(found, expected, "{entry}\n{problems}");
}

#[test]
fn without_documents_everything_is_durable() {
    let program = compile(&[], &federation(), None).expect("nothing is wrong with nothing").program;
    assert_eq!(delivery(&program, "z-a", "a.b"), TopicDelivery::default());
    let default = TopicDelivery {
        class: DeliveryClass::Durable,
        retain: Retain::Stored,
        on_destination_full: OnDestinationFull::Refuse,
    };
    assert_eq!(TopicDelivery::default(), default);
}

#[test]
fn entries_apply_to_the_topics_they_match() {
    let program = one("federation", "{match: [\"a.*\", c.**], class: best-effort}").expect("valid");
    for (topic, class) in [
        ("a.b", DeliveryClass::BestEffort),
        ("c.d", DeliveryClass::BestEffort),
        ("a.b.c", DeliveryClass::Durable),
        ("b", DeliveryClass::Durable),
    ] {
        assert_eq!(delivery(&program, "z-a", topic).class, class, "{topic}");
    }
}

#[test]
fn keys_that_an_entry_leaves_out_are_left_to_the_others() {
    let entries = [
        "{match: \"**\", class: durable, onDestinationFull: dead-letter}".to_owned(),
        "{match: \"a.**\", class: durable, retain: delivered, order: lane}".to_owned(),
    ];
    let program =
        compile(&[document("d", "federation", &entries)], &federation(), None).expect("valid").program;
    let both = delivery(&program, "z-b", "a.b");
    assert_eq!((both.retain, both.on_destination_full), (Retain::Delivered, OnDestinationFull::DeadLetter));
    assert_eq!(delivery(&program, "z-b", "b").retain, Retain::Stored);
}

#[test]
fn an_inner_layer_speaks_for_its_own_zones() {
    let program = one("zone/z-a", "{match: \"**\", class: durable, retain: delivered}").expect("valid");
    assert_eq!(delivery(&program, "z-a", "a").retain, Retain::Delivered);
    assert_eq!(delivery(&program, "z-b", "a").retain, Retain::Stored);
}

#[test]
fn every_problem_is_reported_at_its_place() {
    check_refused(
        "federation",
        "{match: \"a..b\", clas: durable}",
        &[("P0109", 6, 7), ("P0114", 6, 15), ("P0104", 6, 23)],
    );
    check_refused(
        "federation",
        "{match: a, class: durable, retain: forever, order: strict, onDestinationFull: block}",
        &[("P0104", 6, 42), ("P0104", 6, 58), ("P0104", 6, 85)],
    );
    check_refused(
        "federation",
        "{match: a, class: best-effort, retain: stored, onDestinationFull: refuse}",
        &[("P0117", 6, 38), ("P0117", 6, 54)],
    );
    check_refused("federation", "{match: [], class: durable}", &[("P0107", 6, 15)]);
    check_refused("zone/z-c", "{match: a, class: durable}", &[("P0202", 3, 28)]);
    check_refused("cloud/x", "{match: a, class: durable}", &[("P0201", 3, 28)]);
}

#[test]
fn an_inner_layer_cannot_loosen() {
    check_refused("zone/z-a", "{match: a, class: best-effort}", &[("P0205", 6, 25)]);
    check_refused(
        "region/r-1",
        "{match: a, class: durable, onDestinationFull: dead-letter}",
        &[("P0205", 6, 53)],
    );
    assert!(one("zone/z-a", "{match: a, class: durable, retain: stored}").is_ok());
}

#[test]
fn a_misspelled_word_gets_the_right_suggestion() {
    let problems = one("federation", "{match: a, class: durable, retian: stored}").expect_err("misspelled");
    assert!(problems.to_string().contains("did you mean `retain`?"), "{problems}");
    let mut file = document("d", "federation", &["{match: a, class: durable}".to_owned()]);
    file.text = file.text.replace("kind: Delivery", "kind: Delivry");
    let problems = compile(&[file], &federation(), None).expect_err("misspelled");
    assert_eq!(problems.len(), 1, "{problems}");
    assert!(problems.to_string().contains("did you mean `Delivery`?"), "{problems}");
}

#[test]
fn names_are_unique_among_documents_of_a_kind() {
    let entry = ["{match: a, class: durable}".to_owned()];
    let twice = [document("d", "federation", &entry), document("d", "federation", &entry)];
    let problems = compile(&twice, &federation(), None).expect_err("one name, two documents");
    assert!(problems.to_string().contains("delivery `d` occurs twice"), "{problems}");
}

#[test]
fn the_digest_tells_delivery_documents_apart() {
    let digest = |entry| one("federation", entry).expect("valid").digest();
    let without = compile(&[], &federation(), None).expect("valid").program.digest();
    let (durable, best_effort) =
        (digest("{match: a, class: durable}"), digest("{match: a, class: best-effort}"));
    assert_ne!(durable, best_effort);
    assert_ne!(durable, without);
}

/// One entry as drawn: its layer, filter and values.
type Drawn = (&'static str, &'static str, &'static str);

fn entry(layers: &'static [&'static str]) -> impl Strategy<Value = Drawn> {
    let filters = vec!["\"**\"", "\"a.**\"", "\"*.b\"", "a.b", "\"**.b.**\"", "b"];
    let inner = vec![
        "class: durable",
        "class: durable, retain: delivered",
        "class: durable, retain: stored",
        "class: durable, onDestinationFull: refuse",
    ];
    let outer = [
        inner.clone(),
        vec![
            "class: best-effort",
            "class: durable, onDestinationFull: dead-letter",
            "class: durable, retain: delivered, onDestinationFull: dead-letter",
        ],
    ]
    .concat();
    (prop::sample::select(layers), prop::sample::select(filters)).prop_flat_map(move |(layer, filter)| {
        let values = if layer == "federation" { outer.clone() } else { inner.clone() };
        (Just(layer), Just(filter), prop::sample::select(values))
    })
}

fn program(all: &[Drawn]) -> Program {
    let files: Vec<SourceFile> = all
        .iter()
        .enumerate()
        .map(|(at, (layer, filter, values))| {
            document(&format!("d-{at}"), layer, &[format!("{{match: {filter}, {values}}}")])
        })
        .collect();
    compile(&files, &federation(), None).expect("drawn to be valid").program
}

fn at_least_as_strict(more: TopicDelivery, less: TopicDelivery) -> bool {
    more.class >= less.class
        && more.retain >= less.retain
        && more.on_destination_full >= less.on_destination_full
}

/// The slow and obvious answer.
fn expected(all: &[Drawn], zone: &str, topic: &Topic) -> TopicDelivery {
    let region = if zone == "z-a" { "region/r-1" } else { "region/r-2" };
    let speaks = |layer: &str| layer == "federation" || layer == region || layer == format!("zone/{zone}");
    let of_topic: Vec<&str> = all
        .iter()
        .filter(|(layer, filter, _)| {
            speaks(layer)
                && TopicFilter::parse(filter.trim_matches('"')).expect("a topic filter").matches(topic)
        })
        .map(|(_, _, values)| *values)
        .collect();
    let says = |text: &str| of_topic.iter().any(|values| values.contains(text));
    TopicDelivery {
        class: if says("best-effort") && !says("class: durable") {
            DeliveryClass::BestEffort
        } else {
            DeliveryClass::Durable
        },
        retain: if says("delivered") { Retain::Delivered } else { Retain::Stored },
        on_destination_full: if says("dead-letter") && !says("refuse") {
            OnDestinationFull::DeadLetter
        } else {
            OnDestinationFull::Refuse
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_lookup_agrees_with_the_obvious_one(all in prop::collection::vec(entry(&LAYERS), 0..8)) {
        let program = program(&all);
        for zone in ["z-a", "z-b"] {
            for topic in TOPICS {
                let wanted = expected(&all, zone, &Topic::parse(topic).expect("a topic"));
                prop_assert_eq!(delivery(&program, zone, topic), wanted, "{} at {}", topic, zone);
            }
        }
    }

    #[test]
    fn one_more_entry_never_loosens_what_another_says(
        all in prop::collection::vec(entry(&LAYERS), 0..6),
        more in entry(&LAYERS),
    ) {
        // Somebody has spoken already, as loosely as can be: of the class, or of the other keys.
        for base in ["class: best-effort", "class: durable, retain: stored, onDestinationFull: dead-letter"] {
            let mut all = all.clone();
            all.push(("federation", "\"**\"", base));
            let before = program(&all);
            all.push(more);
            let after = program(&all);
            for zone in ["z-a", "z-b"] {
                for topic in TOPICS {
                    let (before, after) = (delivery(&before, zone, topic), delivery(&after, zone, topic));
                    // Best-effort leaves the other keys to be said first by somebody else.
                    let strict = if base == "class: best-effort" {
                        after.class >= before.class && after.retain >= before.retain
                    } else {
                        at_least_as_strict(after, before)
                    };
                    prop_assert!(strict, "{} at {}: {:?} after {:?}", topic, zone, after, before);
                }
            }
        }
    }

    #[test]
    fn an_inner_layer_never_loosens(
        all in prop::collection::vec(entry(&LAYERS), 0..6),
        more in entry(&LAYERS[1..]),
    ) {
        let before = program(&all);
        let mut with = all;
        with.push(more);
        let after = program(&with);
        for zone in ["z-a", "z-b"] {
            for topic in TOPICS {
                let (before, after) = (delivery(&before, zone, topic), delivery(&after, zone, topic));
                // A key nobody had spoken of has its default, and an inner layer never says less than that.
                prop_assert!(at_least_as_strict(after, before), "{} at {}: {:?} after {:?}", topic, zone, after, before);
            }
        }
    }

    #[test]
    fn the_order_of_documents_does_not_matter(all in prop::collection::vec(entry(&LAYERS), 0..6)) {
        let mut reversed = all.clone();
        reversed.reverse();
        for zone in ["z-a", "z-b"] {
            for topic in TOPICS {
                prop_assert_eq!(delivery(&program(&all), zone, topic), delivery(&program(&reversed), zone, topic));
            }
        }
    }
}
