use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

mod named;

const CARD: &str = "4111111111111111";

fn scan(text: &str, wanted: ClassSet, least: Confidence) -> Result<Vec<Finding>, ScanError> {
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut found = Vec::new();
    Scanner::new().scan_json(&tape, &wanted, least, &mut found).map(|()| found)
}

fn all(text: &str) -> Vec<Finding> {
    scan(text, ClassSet::ALL, Confidence::Medium).expect("within budget")
}

/// Exactly one finding, of this class, which covers exactly this part of the text.
#[track_caller]
fn check(text: &str, class: Class, part: &str, nested: bool) {
    let found = all(text);
    let [one] = found.as_slice() else { panic!("{text}: {found:?}") };
    let covered = &text[one.range.start as usize..one.range.end as usize];
    assert_eq!((one.class, covered, one.nested), (class, part, nested), "{text}");
}

#[test]
fn values_are_found_whatever_they_are_written_as() {
    check(r#"{"a":"4111 1111 1111 1111"}"#, Class::CARD, "4111 1111 1111 1111", false);
    check(r#"{"a":4111111111111111}"#, Class::CARD, CARD, false);
    check(r#"{"a":4.111111111111111e15}"#, Class::CARD, "4.111111111111111e15", false);
    check(r#"{"a":4111111111111111.00}"#, Class::CARD, "4111111111111111.00", false);
    check(r#"{"a":"\u0034111\u00201111 1111 1111"}"#, Class::CARD, r"\u0034111\u00201111 1111 1111", false);
    check(
        r#"["４１１１ １１１１ １１１１ １１１１"]"#,
        Class::CARD,
        "４１１１ １１１１ １１１１ １１１１",
        false,
    );
    check("[\"4111\u{200b}1111\u{ad}11111111\"]", Class::CARD, "4111\u{200b}1111\u{ad}11111111", false);
    check(
        "[\"4111\u{a0}1111\u{2011}1111\u{a0}1111\"]",
        Class::CARD,
        "4111\u{a0}1111\u{2011}1111\u{a0}1111",
        false,
    );
    check("[\"٤١١١١١١١١١١١١١١١\"]", Class::CARD, "٤١١١١١١١١١١١١١١١", false);
    check(r#"{"4111111111111111":1}"#, Class::CARD, CARD, false);
    check(r#""4111111111111111""#, Class::CARD, CARD, false);
}

#[test]
fn a_finding_names_the_token_it_stands_in() {
    let text = r#"{"a":[true,"x li@example.com"],"li@example.com":4111111111111111}"#;
    let nodes: Vec<_> = all(text).iter().map(|finding| finding.node).collect();
    assert_eq!(nodes, [Some(4), Some(5), Some(6)]);
}

#[test]
fn every_occurrence_of_a_duplicate_key_is_looked_at() {
    let found = all(r#"{"ssn":"536221234","ssn":"none","ssn":536229876}"#);
    assert_eq!(found.iter().map(|finding| finding.class).collect::<Vec<_>>(), [Class::US_SSN; 2]);
}

#[test]
fn layers_are_looked_through_two_deep() {
    let quote = |text: &str| serde_json::to_string(text).expect("text");
    let once = format!(r#"{{"card":"{CARD}"}}"#);
    check(&format!(r#"{{"m":{}}}"#, quote(&once)), Class::CARD, CARD, true);
    let twice = format!(r#"{{"m":{}}}"#, quote(&once));
    check(&format!(r#"{{"m":{}}}"#, quote(&twice)), Class::CARD, CARD, true);
    for encoded in
        [STANDARD.encode(&once), URL_SAFE_NO_PAD.encode(&once), STANDARD.encode("li@example.com, hello")]
    {
        let found = all(&format!(r#"{{"m":"{encoded}"}}"#));
        assert_eq!(found.len(), 1, "{encoded}");
        assert_eq!((found[0].range.clone(), found[0].nested), (6..6 + encoded.len() as u32, true));
    }
    let inner = STANDARD.encode(STANDARD.encode(&once));
    assert_eq!(all(&format!(r#"["{inner}"]"#)).len(), 1);
    check(r#"["q=li%40example.com&x=1"]"#, Class::EMAIL, "li%40example.com", true);
    // What is found as it stands needs no decoding.
    check(r#"["to=li@example.com&subject=a%20b"]"#, Class::EMAIL, "li@example.com", false);
}

#[test]
fn more_layers_than_the_budget_are_an_error() {
    let inner = serde_json::to_string(&format!(r#"{{"a":"{}"}}"#, "x".repeat(200))).expect("text");
    let mut buffer = TapeBuffer::new();
    let text = format!("[{inner}]");
    let tape = buffer.parse(&text).expect("JSON");
    let mut scanner = Scanner::new().with_budget(100);
    let outcome = scanner.scan_json(&tape, &ClassSet::ALL, Confidence::Low, &mut Vec::new());
    assert_eq!(outcome, Err(ScanError::Budget { bytes: 100 }));
    // The next text has the whole budget again.
    let mut found = Vec::new();
    scanner
        .scan_value("li@example.com", None, &ClassSet::ALL, Confidence::Low, &mut found)
        .expect("no layers");
    assert_eq!(found.len(), 1);
}

#[test]
fn a_number_that_is_several_things_is_one_finding() {
    // Ten digits that a phone and an NHS number can have.
    let found = all(r#"{"phone":"943 476 5919"}"#);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].class, Class::PHONE);
    // Asked for one class only, it is found as that, whatever else would have been likelier.
    for class in std::iter::once(found[0].class).chain(found[0].alternatives.iter()) {
        let just = scan(r#"{"phone":"943 476 5919"}"#, [class].into_iter().collect(), Confidence::Medium);
        assert_eq!(just.expect("in budget").len(), 1, "{class}");
    }
}

/// Each of these made some detector look ahead, or compare, from every place in the text.
#[test]
fn long_hostile_text_takes_no_more_than_linear_time() {
    for part in [
        "eyJ-",
        "a@b.co ",
        "12345678\u{e9}",
        "%41@b.co ",
        "1 2 3 ",
        "1.22/333-",
        "12345678901234567890123 ",
        "sk-sk-",
        "::a:",
        "<<A<",
        "://a:b@",
        "(12)",
        "+1 ",
        "+%",
        "=+ %",
        "/eyJhIjoi",
        "A/aAbc",
        "+%4",
    ] {
        let text = part.repeat(80_000 / part.len());
        let mut found = Vec::new();
        Scanner::new()
            .scan_value(&text, Some("dob"), &ClassSet::ALL, Confidence::Low, &mut found)
            .expect("in budget");
        assert!(found.len() <= text.len() / 4, "{part:?}");
    }
}

/// A name that is read again for each member beside it makes the time grow with the square of the text.
#[test]
#[expect(clippy::disallowed_methods, reason = "two times of one run are compared")]
fn many_members_beside_a_long_name_cost_no_more_than_members_that_look_for_nothing() {
    let quickest = |first: &str, name: &str| {
        let text =
            format!(r#"{{"{}":{first}{}}}"#, "A-".repeat(20_000), format!(r#","{name}":1"#).repeat(6_000));
        let mut buffer = TapeBuffer::new();
        let tape = buffer.parse(&text).expect("JSON");
        let mut scanner = Scanner::new();
        let runs = (0..10).map(|_| {
            let begun = std::time::Instant::now();
            let mut found = Vec::new();
            scanner.scan_json(&tape, &ClassSet::ALL, Confidence::Low, &mut found).expect("in budget");
            assert_eq!(found, []);
            begun.elapsed()
        });
        runs.min().expect("some runs")
    };
    for (first, looks, benign) in [(r#""aaaa""#, "val", "vax"), ("1", "lat", "lax")] {
        let (looking, other) = (quickest(first, looks), quickest(first, benign));
        assert!(looking < other * 8, "{looks}: {looking:?}, {benign}: {other:?}");
    }
}

#[test]
fn only_what_is_wanted_is_reported() {
    let text = r#"{"a":"li@example.com, 203.0.113.7, 4111 1111 1111 1111","firstName":"Anna","lat":52.5200,"lon":13.4050}"#;
    for class in Class::all() {
        let found = scan(text, [class].into_iter().collect(), Confidence::Low).expect("in budget");
        assert!(
            found.iter().all(|finding| finding.class == class && finding.alternatives.is_empty()),
            "{found:?}"
        );
    }
    assert!(scan(text, ClassSet::EMPTY, Confidence::Low).expect("in budget").is_empty());
}

#[test]
fn coordinates_are_found_in_pairs() {
    let text = r#"{"position":{"lat":52.5200,"lon":13.4050},"lat":1}"#;
    let parts: Vec<_> =
        all(text).iter().map(|f| &text[f.range.start as usize..f.range.end as usize]).collect::<Vec<_>>();
    assert_eq!(parts, ["52.5200", "13.4050"]);
    assert_eq!(all(r#"{"geo":{"coordinates":[13.4050,52.5200]}}"#).len(), 2);
    assert!(all(r#"{"x":52.5200,"y":13.4050,"latency":12.25,"long":13.4050}"#).is_empty());
}

#[test]
fn names_need_a_person_around_them() {
    check(r#"{"customer":{"name":"Anna Schmidt"}}"#, Class::NAME, "Anna Schmidt", false);
    check(r#"{"patients":[{"name":{"first":"Anna"}}]}"#, Class::NAME, "Anna", false);
    assert!(all(r#"{"name":"Anna Schmidt","product":{"name":"Anna Schmidt"}}"#).is_empty());
    assert!(all(r#"{"customer":{"product":{"name":"Wireless Mouse"}}}"#).is_empty());
}

#[test]
fn numbers_of_things_are_left_alone() {
    for text in [
        r#"{"orderId":"4111111111111111"}"#,
        r#"{"trackingNumber":"529982247250"}"#,
        r#"{"ts":1767225600000,"epoch":1767225600}"#,
        r#"{"version":"10.20.30.40"}"#,
        r#"{"message":"invoice no. 52998224725 was paid"}"#,
        r#"{"messageId":"<20260314.abc@mail.example.com>"}"#,
        r#"{"id":"550e8400-e29b-41d4-a716-446655440000","at":"2026-03-14T09:26:53.589Z"}"#,
        r#"{"text":"run 550e8400-e29b-41d4-a716-446655440000 at 2026-03-14T09:26:53.589Z"}"#,
        r#"{"h":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#,
        r#"{"a":"[redacted:payment.card]","b":"tok_eu.1_abcdefghijklmnopqrstuvwxyz","c":"**** **** **** 1111"}"#,
    ] {
        assert!(all(text).is_empty(), "{text}: {:?}", all(text));
    }
}

#[test]
fn a_scanner_remembers_nothing() {
    let mut scanner = Scanner::new();
    let mut buffer = TapeBuffer::new();
    let texts = [r#"{"ssn":"536221234"}"#, r#"["{\"card\":4111111111111111}"]"#, r#"{"x":"536221234"}"#];
    for round in 0..3 {
        for text in texts {
            let mut found = Vec::new();
            let tape = buffer.parse(text).expect("JSON");
            scanner.scan_json(&tape, &ClassSet::ALL, Confidence::Medium, &mut found).expect("in budget");
            assert_eq!(found, all(text), "round {round}");
        }
    }
}

proptest! {
    /// Text from outside never panics, and ranges are in order, on characters and inside their token.
    #[test]
    fn any_text_gives_ranges_of_it(
        parts in proptest::collection::vec(
            prop_oneof![
                "\\PC{0,8}",
                "[0-9 .:/+@%<(){}\\[\\]_=-]{0,12}",
                "[0-9]{1,20}",
                "[A-Za-z0-9+/]{10,24}={0,2}",
                Just("4111 1111 1111 1111".to_owned()),
                Just("-----BEGIN ".to_owned()),
                Just("eyJhbGciOiJIUzI1NiJ9.".to_owned()),
                Just("P<UTO<<".to_owned()),
                Just("2001:db8::1".to_owned()),
                Just("+49 30".to_owned()),
                Just("born 12 May 1987".to_owned()),
                Just("１２号".to_owned()),
                Just("https://a:b@c".to_owned()),
                Just("2A".to_owned()),
                Just("%34%31".to_owned()),
            ],
            0..8,
        ),
        key in proptest::sample::select(vec!["", "ssn", "phone", "firstName", "dob", "address", "location", "iban", "lat"]),
    ) {
        let value = parts.concat();
        let quote = |text: &str| serde_json::to_string(text).expect("text");
        let member = format!("{{{}:{}}}", quote(key), quote(&value));
        for text in [member.clone(), format!("[{}]", quote(&member))] {
            let found = scan(&text, ClassSet::ALL, Confidence::Low).expect("in budget");
            let mut buffer = TapeBuffer::new();
            let tape = buffer.parse(&text).expect("JSON");
            for finding in &found {
                prop_assert!(finding.range.start < finding.range.end);
                prop_assert!(text.get(finding.range.start as usize..finding.range.end as usize).is_some());
                let node = tape.node(finding.node.expect("a token"));
                prop_assert!(node.start <= finding.range.start && finding.range.end <= node.end);
            }
        }
        let mut found = Vec::new();
        Scanner::new().scan_value(&value, Some(key), &ClassSet::ALL, Confidence::Low, &mut found).expect("in budget");
        for finding in found {
            prop_assert!(value.get(finding.range.start as usize..finding.range.end as usize).is_some());
        }
    }
}

#[test]
fn a_member_beside_it_says_what_a_value_is() {
    let birth = "1987-05-12";
    for (text, class, part) in [
        (r#"[{"name":"dateOfBirth","value":"1987-05-12"}]"#, Class::BIRTH_DATE, birth),
        (r#"[{"value":"1987-05-12","name":"dateOfBirth"}]"#, Class::BIRTH_DATE, birth),
        (r#"{"question":"date of birth","answer":"1987-05-12"}"#, Class::BIRTH_DATE, birth),
        (r#"{"field":"dob","old":null,"new":["1987-05-12"]}"#, Class::BIRTH_DATE, birth),
        (r#"{"dob":{"old":null,"new":"1987-05-12"}}"#, Class::BIRTH_DATE, birth),
        (r#"{"type":"firstName","value":"Anna"}"#, Class::NAME, "Anna"),
        (r#"{"system":"phone","value":"030 901820"}"#, Class::PHONE, "030 901820"),
    ] {
        check(text, class, part, false);
    }
    for text in [
        r#"{"name":"dateOfBirth","updated":"1987-05-12"}"#,
        r#"{"productName":"dob","value":"1987-05-12"}"#,
        r#"{"name":"deadline","value":"1987-05-12"}"#,
        r#"{"a":{"name":"dob"},"b":{"value":"1987-05-12"}}"#,
    ] {
        assert_eq!(all(text), [], "{text}");
    }
    // A neighbour adds what a value may be, and takes nothing away.
    check(r#"{"name":"order number","value":"4111111111111111"}"#, Class::CARD, CARD, false);
}

/// What stands in other cells of a row, or in the title of another column, says nothing against a value.
#[test]
fn cells_of_tables_and_segments_are_values_of_their_own() {
    check(r#"{"t":"id,ref,amount\n1,4111111111111111,20.00\n"}"#, Class::CARD, CARD, false);
    check(r#"{"t":"PID|1||4111111111111111^^^H^MR||"}"#, Class::CARD, CARD, false);
    check(r#"{"t":"order\tx\n17\t4111111111111111\tOK"}"#, Class::CARD, CARD, false);
    check(r#"{"t":"PID|1||44051401359^^^H^MR||"}"#, Class::PL_PESEL, "44051401359", false);
}

#[test]
fn a_plus_in_a_field_of_a_form_is_a_space() {
    check(r#"{"b":"a=1&card=4111+1111+1111+1111&x=2"}"#, Class::CARD, "4111+1111+1111+1111", true);
    check(
        r#"{"b":"x=%31&iban=DE89+3704+0044+0532+0130+00"}"#,
        Class::IBAN,
        "DE89+3704+0044+0532+0130+00",
        true,
    );
    // Nothing but the sign of a field makes it one.
    assert_eq!(all(r#"{"b":"4111+1111+1111+1111"}"#), []);
}

#[test]
fn a_sign_that_is_not_encoded_does_not_cut_the_word_it_stands_in() {
    check(r#"["tel:+49%20151%2023456789"]"#, Class::PHONE, "+49%20151%2023456789", true);
    check(r#"["call sip:+1%20415%20555%200132 now"]"#, Class::PHONE, "+1%20415%20555%200132", true);
    check(r#"["rate=5%+4111+1111+1111+1111"]"#, Class::CARD, "4111+1111+1111+1111", true);
    // The sign of a field counts as far as its word goes.
    assert_eq!(all(r#"["a=b%+c 4111+1111+1111+1111"]"#), []);
    assert_eq!(all(r#"["a=%31 4111+1111+1111+1111"]"#), []);
}

#[test]
fn some_groups_of_a_longer_series_are_no_number_by_themselves() {
    assert_eq!(all(r#"{"values":"5443 8658 8124 7732"}"#), []);
    check(r#"{"aadhaar":"8658 8124 7732"}"#, Class::IN_AADHAAR, "8658 8124 7732", false);
}

/// The texts of what was found as `class`.
fn parts(text: &str, class: Class) -> Vec<String> {
    let found = all(text).into_iter().filter(|finding| finding.class == class);
    found.map(|finding| text[finding.range.start as usize..finding.range.end as usize].to_owned()).collect()
}

#[test]
fn values_are_found_in_runs_of_any_length() {
    let card = "4111 1111 1111 1111";
    for (text, class, expected) in [
        ("4111111111111111 000000001250 978 000000000042 20240116".to_owned(), Class::CARD, vec![CARD]),
        (
            "4111111111111111/5500000000000004/4012888888881881/4111111111111111".to_owned(),
            Class::CARD,
            vec![CARD, "5500000000000004", "4012888888881881", CARD],
        ),
        (["536-22-1234"; 6].join(" "), Class::US_SSN, vec!["536-22-1234"; 6]),
        (["529.982.247-25"; 5].join(" "), Class::BR_CPF, vec!["529.982.247-25"; 5]),
        (format!("1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 {card}"), Class::CARD, vec![card]),
        (["203.0.113.77"; 40].join(" "), Class::IP, vec!["203.0.113.77"; 40]),
    ] {
        assert_eq!(parts(&format!(r#"{{"x":"{text}"}}"#), class), expected, "{text}");
    }
    // Wherever in a run it stands, also across the pieces it is looked at in.
    for before in 0..300 {
        for filler in ["1 ", "20 ", "123456 ", "12345678901234567890123 "] {
            let text =
                format!(r#"["{}{card} 07 {CARD} {}5"]"#, filler.repeat(before), "1 ".repeat(before % 7));
            let found = parts(&text, Class::CARD);
            assert_eq!(
                found.iter().filter(|part| *part == card || *part == CARD).count(),
                2,
                "{text} {found:?}"
            );
        }
    }
}

#[test]
fn what_is_decoded_twice_stands_in_the_whole_of_the_first_layer() {
    for inner in [
        "to=jane%40example.com&subject=x",
        "a=1&card=4111+1111+1111+1111&x=2",
        r#"{"card":"\u0034111111111111111"}"#,
        "card 4111\u{a0}1111\u{a0}1111\u{a0}1111",
    ] {
        let encoded = STANDARD.encode(inner);
        let found = all(&format!(r#"["{encoded}"]"#));
        assert_eq!(found.len(), 1, "{inner}: {found:?}");
        assert_eq!((found[0].range.clone(), found[0].nested), (2..2 + encoded.len() as u32, true), "{inner}");
    }
}

#[test]
fn a_word_with_bytes_of_latin_1_is_decoded() {
    let text = r#"{"q":"name=Jos%E9&email=jose%40example.com&card=4111%201111%201111%201111&x=%C3"}"#;
    assert_eq!(parts(text, Class::CARD), ["4111%201111%201111%201111"]);
    assert_eq!(parts(text, Class::EMAIL), ["jose%40example.com"]);
    check(r#"["a%FF%C3%A9b:jos%E9%40example.com;%80"]"#, Class::EMAIL, "jos%E9%40example.com", true);
}

#[test]
fn base64_is_found_in_the_paths_of_addresses() {
    let encoded = URL_SAFE_NO_PAD.encode(format!(r#"{{"pan":"{CARD}","n":1}}"#));
    for (before, behind) in [
        ("https://x.example/cb/", ""),
        ("https://x.example/a/b/c1/", "/done"),
        ("/Cb0/", "?x=1"),
        ("", "/to/X1"),
    ] {
        check(&format!(r#"["{before}{encoded}{behind}"]"#), Class::CARD, &encoded, true);
    }
    // Its own alphabet has the sign too.
    let encoded = STANDARD.encode(format!(r#"{{"pan":"{CARD}","n":"???>>>???"}}"#));
    assert!(encoded.contains('/'));
    check(&format!(r#"["https://x.example/cb/{encoded}"]"#), Class::CARD, &encoded, true);
}

#[test]
fn a_string_of_json_in_a_string_is_a_layer() {
    check(r#"{"a":"\"\\u0034111111111111111\""}"#, Class::CARD, r"\\u0034111111111111111", true);
    let quote = |text: &str| serde_json::to_string(text).expect("text");
    let text = quote(&quote(&format!(r#"{{"card":"{CARD}"}}"#)));
    check(&text, Class::CARD, CARD, true);
    // Without an escape it is found as it stands.
    check(r#"{"a":"\"li@example.com\""}"#, Class::EMAIL, "li@example.com", false);
}
