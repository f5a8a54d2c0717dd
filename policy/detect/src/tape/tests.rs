use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn a_document_becomes_nodes_in_order() {
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(r#" {"a": [1, true], "b": null} "#).expect("JSON");
    let seen: Vec<_> =
        tape.nodes().iter().map(|node| (node.kind, node.parent, node.next, node.start, node.end)).collect();
    assert_eq!(
        seen,
        [
            (Kind::Object, 0, 7, 1, 28),
            (Kind::Key, 0, 5, 2, 5),
            (Kind::Array, 1, 5, 7, 16),
            (Kind::Number, 2, 4, 8, 9),
            (Kind::True, 2, 5, 11, 15),
            (Kind::Key, 0, 7, 18, 21),
            (Kind::Null, 5, 7, 23, 27),
        ]
    );
    assert_eq!(tape.members(0).collect::<Vec<_>>(), [(1, 2), (5, 6)]);
    assert_eq!(tape.elements(2).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(tape.members(2).count() + tape.elements(0).count() + tape.elements(6).count(), 0);
    assert_eq!((tape.key_of(2), tape.key_of(3), tape.key_of(0)), (Some(1), None, None));
}

#[test]
fn duplicate_keys_and_numbers_stay_as_they_were_written() {
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(r#"{"a":1e400,"a":-0.00,"a":123456789012345678901234567890}"#).expect("JSON");
    let values: Vec<_> = tape.members(0).map(|(key, value)| (tape.raw(key), tape.raw(value))).collect();
    assert_eq!(values, [("\"a\"", "1e400"), ("\"a\"", "-0.00"), ("\"a\"", "123456789012345678901234567890")]);
}

#[test]
fn text_that_is_not_strict_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,]",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "{1:2}",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "0x1",
        "tru",
        "nul",
        "True",
        "NaN",
        "'a'",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "\"\n\"",
        "1 1",
        "{}[]",
        "// a\n1",
        "\u{feff}1",
        "[1}",
        "{\"a\":1]",
        "\u{a0}1",
        "]",
        "}",
    ] {
        assert!(TapeBuffer::new().parse(text).is_err(), "{text:?}");
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text:?}");
    }
}

#[test]
fn half_a_surrogate_pair_is_refused_at_its_place() {
    for text in
        [r#""ab\ud800""#, r#""ab\udc00""#, r#""ab\ud800\u0041""#, r#""ab\ud800\n""#, r#""ab\ud83d\ud83d""#]
    {
        let error = TapeBuffer::new().parse(text).map(|_| ()).expect_err(text);
        assert_eq!(error, ParseError::LoneSurrogate { at: 3 }, "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let mut buffer = TapeBuffer::new();
    assert!(buffer.parse(&nested(DEPTH_MAX)).is_ok());
    assert!(matches!(buffer.parse(&nested(DEPTH_MAX + 1)), Err(ParseError::Depth { at: 64 })));
    assert!(matches!(buffer.parse(&"[".repeat(100_000)), Err(ParseError::Depth { .. })));
}

#[test]
fn places_of_unescaped_text_never_split_an_escape() {
    let text = "{\"k\\u0065y\":\"a\\u0034\u{53f7}\\ud83d\\ude00\\nz\"}";
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(text).expect("JSON");
    assert_eq!(tape.unescape(1), "key");
    let value = tape.unescaped(2);
    assert_eq!(value.text, "a4\u{53f7}\u{1f600}\nz");
    let pieces: Vec<_> = value
        .text
        .char_indices()
        .map(|(at, c)| {
            let range = value.range_of(&(at..at + c.len_utf8()));
            &text[range.start as usize..range.end as usize]
        })
        .collect();
    assert_eq!(pieces, ["a", "\\u0034", "\u{53f7}", "\\ud83d\\ude00", "\\n", "z"]);
    let plain = buffer.parse("  \"plain\"").expect("JSON").unescaped(0);
    assert_eq!((plain.place_of(0), plain.place_of(5)), (3, 8));
}

#[test]
fn paths_are_written_as_policies_write_them() {
    let text =
        r#"{"data":{"customer":[0,{"e-mail":1}],"odd key":{"it's":2},"名前":3,"":4,"0a":5,"a\u0000":6}}"#;
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(text).expect("JSON");
    let paths: Vec<_> = (0..tape.nodes().len() as u32)
        .filter(|at| tape.node(*at).kind == Kind::Number)
        .map(|at| tape.path(at))
        .collect();
    assert_eq!(
        paths,
        [
            "$.data.customer[0]",
            "$.data.customer[1].e-mail",
            r"$.data['odd key']['it\'s']",
            "$.data.名前",
            "$.data['']",
            "$.data['0a']",
            r"$.data['a\u0000']",
        ]
    );
    assert_eq!((tape.path(0), tape.path(1)), ("$".to_owned(), "$.data".to_owned()));
}

#[test]
fn a_large_event_does_not_keep_its_memory() {
    let mut buffer = TapeBuffer::new();
    let large = format!("[{}0]", "0,".repeat(200_000));
    assert_eq!(buffer.parse(&large).expect("JSON").nodes().len(), 200_002);
    buffer.parse("1").expect("JSON");
    assert!(buffer.nodes.capacity() < 100_000);
    assert_eq!(buffer.parse("[]").expect("JSON").nodes().len(), 1);
}

/// The value of a node, and on the way that ranges, links and helpers agree.
fn to_value(tape: &Tape<'_>, index: u32) -> Value {
    let node = tape.node(index);
    let value = match node.kind {
        Kind::Object => {
            let mut expected = index + 1;
            let mut map = serde_json::Map::new();
            for (key, value) in tape.members(index) {
                assert_eq!(key, expected);
                assert_eq!((tape.node(key).parent, tape.node(value).parent), (index, key));
                assert_eq!(tape.node(value).next, tape.node(key).next);
                expected = tape.node(key).next;
                map.insert(tape.unescape(key).into_owned(), to_value(tape, value));
            }
            assert_eq!(expected, node.next);
            Value::Object(map)
        }
        Kind::Array => Value::Array(
            tape.elements(index)
                .map(|element| {
                    assert_eq!(tape.node(element).parent, index);
                    to_value(tape, element)
                })
                .collect(),
        ),
        Kind::String => Value::String(tape.unescape(index).into_owned()),
        Kind::Key => panic!("a key is no value"),
        Kind::Number => serde_json::from_str(tape.raw(index)).expect("a number"),
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::Null => Value::Null,
    };
    assert_eq!(serde_json::from_str::<Value>(tape.raw(index)).expect("its range is JSON"), value);
    value
}

fn check_as_serde_json(text: &str) {
    let mut buffer = TapeBuffer::new();
    match (buffer.parse(text), serde_json::from_str::<Value>(text)) {
        (Ok(tape), Ok(expected)) => assert_eq!(to_value(&tape, 0), expected),
        // A number larger than f64 has is a matter of values, which the tape has none of.
        (Ok(_), Err(error)) => {
            assert!(error.to_string().contains("number out of range"), "{text:?}: {error}");
        }
        (Err(error), Ok(_)) => panic!("{text:?}: {error}"),
        (Err(_), Err(_)) => {}
    }
}

fn json() -> impl Strategy<Value = String> {
    let string = proptest::collection::vec(
        prop_oneof![
            any::<char>()
                .prop_map(|c| serde_json::to_string(&c).map(|s| s[1..s.len() - 1].to_owned()).unwrap()),
            any::<char>().prop_map(|c| {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }),
            Just("\\/".to_owned()),
        ],
        0..12,
    )
    .prop_map(|parts| format!("\"{}\"", parts.concat()));
    let space = proptest::sample::select(vec!["", " ", "\n\t", "\r "]);
    let leaf = prop_oneof![
        string.clone(),
        any::<i64>().prop_map(|n| n.to_string()),
        (-1e9..1e9).prop_map(|n: f64| format!("{n:e}")),
        proptest::sample::select(vec!["true", "false", "null", "0", "-0", "0.50", "1E+2"])
            .prop_map(str::to_owned),
    ];
    (leaf, space).prop_map(|(leaf, space)| format!("{space}{leaf}{space}")).prop_recursive(
        5,
        40,
        5,
        move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(|all| format!("[{}]", all.join(","))),
                proptest::collection::vec((string.clone(), inner), 0..5).prop_map(|all| {
                    let members: Vec<_> =
                        all.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
                    format!("{{{}}}", members.join(", "))
                }),
            ]
        },
    )
}

proptest! {
    #[test]
    fn json_is_read_as_serde_json_reads_it(text in json()) {
        serde_json::from_str::<Value>(&text).expect("the strategy makes JSON");
        check_as_serde_json(&text);
    }

    #[test]
    fn damaged_json_is_judged_as_serde_json_judges_it(
        text in json(), at in any::<proptest::sample::Index>(),
        other in "[\\[\\]{},:\"\\\\ue0-9.+ \\n\\x00a-f-]{0,3}",
    ) {
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        characters.splice(at..=at, other.chars());
        check_as_serde_json(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn any_text_is_judged_as_serde_json_judges_it(text in "\\PC{0,20}|[\\[\\]{},:\"0-9.e+a-z-]{0,20}") {
        check_as_serde_json(&text);
    }
}

#[test]
fn paths_are_the_same_in_any_order() {
    let text = r#"[[1,[2,{"a":[3,4]}],5],{"b":[[6],[7,8]]},[9,10]]"#;
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(text).expect("JSON");
    let count = tape.nodes().len() as u32;
    let mut paths = tape.paths();
    for node in (0..count).chain((0..count).rev()).chain((0..count * 7).map(|at| at * 5 % count)) {
        assert_eq!(paths.path(node), tape.path(node));
    }
    let last: Vec<_> = [8, 9, count - 1].map(|node| paths.path(node)).to_vec();
    assert_eq!(last, ["$[0][1][1].a[0]", "$[0][1][1].a[1]", "$[2][1]"]);
}

/// Counting from the first element for each of them takes the square of the time.
#[test]
#[expect(clippy::disallowed_methods, reason = "two times of one run are compared")]
fn paths_of_many_elements_take_one_walk() {
    let text = format!("[{}1]", "1,".repeat(60_000));
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(&text).expect("JSON");
    let nodes = 1..tape.nodes().len() as u32;
    let begun = std::time::Instant::now();
    let one = tape.path(nodes.end - 1);
    let of_one = begun.elapsed();
    let mut paths = tape.paths();
    let begun = std::time::Instant::now();
    let last = nodes.map(|node| paths.path(node)).last();
    assert_eq!(last, Some(one));
    // Each of them counted would be some 30,000 times as long.
    assert!(begun.elapsed() < of_one * 10_000, "{:?} {of_one:?}", begun.elapsed());
}
