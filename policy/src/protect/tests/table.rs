//! What each protection makes of each kind of value.

use super::*;

#[test]
fn by_field_every_kind_of_value_becomes_what_the_table_says() {
    let values =
        ["\"4111 1111 1111 1111\"", "-12.50", "true", "null", "[1, \"ab c\", {}]", "{\"k\": \"abcdef\"}"];
    check(Protection::Drop, values, ["", "", "", "", "", ""]);
    check(Protection::Redact, values, ["\"[redacted]\"", "null", "null", "null", "[]", "{}"]);
    check(
        LAST_FOUR,
        values,
        [
            "\"**** **** **** 1111\"",
            "\"-**.*0\"",
            "null",
            "null",
            "[\"*\", \"** c\", {}]",
            "{\"k\": \"****ef\"}",
        ],
    );
    check(
        Protection::Mask { first: 1, last: 0 },
        values,
        [
            "\"4*** **** **** ****\"",
            "\"-1*.**\"",
            "null",
            "null",
            "[\"*\", \"a* *\", {}]",
            "{\"k\": \"a*****\"}",
        ],
    );
    check(
        ladder("100"),
        values,
        ["\"[redacted]\"", "-100", "null", "null", "[0, \"[redacted]\", {}]", "{\"k\": \"[redacted]\"}"],
    );
}

#[track_caller]
fn check(protection: Protection, values: [&str; 6], expected: [&str; 6]) {
    let world = World::new();
    for (value, expected) in values.into_iter().zip(expected) {
        let demand = [by_field("$.data.x", protection)];
        // As the only member, and between two others.
        let (alone, among) = match expected {
            "" => ("{ }".to_owned(), "{\"a\":1, \"z\" : 2}".to_owned()),
            text => (format!("{{ \"x\" : {text} }}"), format!("{{\"a\":1 , \"x\" : {text}, \"z\" : 2}}")),
        };
        let given = world.json(&format!("{{ \"x\" : {value} }}"), &demand);
        let given = if expected.is_empty() { given.replace("  ", " ") } else { given };
        assert_eq!(given, alone, "{protection:?} of {value}");
        let given = world.json(&format!("{{\"a\":1 , \"x\" : {value}, \"z\" : 2}}"), &demand);
        assert_eq!(given, among, "{protection:?} of {value}");
    }
}

#[test]
fn hashes_and_tokens_are_texts_of_their_grammar() {
    let world = World::new();
    let made = |protection, value: &str| {
        let data = world.json(&format!("{{\"x\":{value}}}"), &[by_field("$.data.x", protection)]);
        let data: serde_json::Value = serde_json::from_str(&data).expect("JSON");
        data["x"].as_str().map(str::to_owned)
    };
    // SHA-256 of "abc": FIPS 180-4, example of NIST.
    let abc = "sha256_ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(made(Protection::Hash, "\"abc\"").as_deref(), Some(abc));
    assert_eq!(made(Protection::Hash, "\"a\\u0062c\"").as_deref(), Some(abc), "escapes do not count");
    assert_eq!(made(Protection::Hash, "null"), None);
    assert_eq!(made(TOKEN, "\"12\""), made(TOKEN, "12"), "a number and its text give one token");
    assert_eq!(made(TOKEN, "\"e\\u0301\""), made(TOKEN, "\"\u{e9}\""), "NFC");
    assert!(
        made(TOKEN, "\"x\"").is_some_and(|token| token.starts_with("tok_tokens.1_") && token.len() == 39)
    );
    assert_eq!(made(TOKEN, "true"), None);
}

#[test]
fn elements_go_with_one_comma() {
    let world = World::new();
    let cards = [by_class("payment.card", Protection::Drop)];
    for (given, expected) in [
        (format!("[ \"{CARD}\" , 1 , 2 ]"), "[ 1 , 2 ]"),
        (format!("[ 1 , \"{CARD}\" , 2 ]"), "[ 1 , 2 ]"),
        (format!("[ 1 , 2 , \"{CARD}\" ]"), "[ 1 , 2 ]"),
        (format!("[\"{CARD}\",\"{CARD}\"]"), "[]"),
        (format!("[\"{CARD}\",1,\"{CARD}\",\"{CARD}\",2,\"{CARD}\"]"), "[1,2]"),
        (format!("{{\"a\":[\"{CARD}\"],\"b\":\"{CARD}\"}}"), "{\"a\":[]}"),
    ] {
        assert_eq!(world.json(&given, &cards), expected, "{given}");
    }
}

#[test]
fn the_data_itself_can_be_protected() {
    let world = World::new();
    assert_eq!(world.json("{\"a\": 1}", &[by_field("$.data", Protection::Redact)]), "{}");
    assert_eq!(world.json("\"abcdef\"", &[by_field("$.data", LAST_FOUR)]), "\"****ef\"");
    let gone = world.once(&json("{\"a\": 1}"), &[by_field("$.data", Protection::Drop)]);
    assert_eq!(gone.data_kind(), meshbridge_event::DataKind::None);
}

#[test]
fn by_class_the_finding_is_replaced_and_not_what_is_around_it() {
    let world = World::new();
    let data = format!(r#"{{"memo":"call\u0020{MAIL}, card {CARD}\n","card":4111111111111111}}"#);
    let redact = [by_class("*", Protection::Redact)];
    let expected =
        r#"{"memo":"call\u0020[redacted:contact.email], card [redacted:payment.card]\n","card":null}"#;
    assert_eq!(world.json(&data, &redact), expected);
    let expected = r#"{"memo":"call\u0020, card \n"}"#;
    assert_eq!(world.json(&data, &[by_class("*", Protection::Drop)]), expected);
    let token = |data: &str| world.json(data, &[by_class("payment.card", TOKEN)]);
    let (text, number) = (token(&format!("[\"{CARD}\"]")), token("[4111111111111111]"));
    assert_eq!(text, number, "spaces and kind do not count");
}

#[test]
fn names_of_members_are_protected_and_stay_unique() {
    let world = World::new();
    let data = r#"{"ana@example.com": 1, "[redacted:contact.email]": 0, "bob@example.com": {"li@example.com": 2}, "x": 3}"#;
    let expected = r#"{"[redacted:contact.email]#2": 1, "[redacted:contact.email]": 0, "[redacted:contact.email]#3": {"[redacted:contact.email]": 2}, "x": 3}"#;
    for protection in [Protection::Redact, LAST_FOUR, SEALED, ladder("year")] {
        assert_eq!(world.json(data, &[by_class("contact", protection)]), expected, "{protection:?}");
    }
    let expected = r#"{"[redacted:contact.email]": 0, "x": 3}"#;
    assert_eq!(world.json(data, &[by_class("contact", Protection::Drop)]), expected);
    let tokens = world.json(r#"{"ana@example.com":"ANA@example.com"}"#, &[by_class("contact", TOKEN)]);
    let (name, value) = tokens.split_once(':').expect("a member");
    assert_eq!(name.trim_matches(['{', '"']), value.trim_matches(['}', '"']), "one token for both");
    let edited = world.once(&json(data), &[by_class("contact", Protection::Redact)]);
    assert!(!list(&edited).contains('@'), "{}", list(&edited));
}

/// What is asked of a field is asked of what stands in the names below it: who may not see `li@example.com` as a value
/// may not see it as a name either.
#[test]
fn names_below_a_field_are_protected_with_it_where_they_hold_something() {
    let mut world = World::new();
    let data =
        r#"{"book": {"li@example.com": {"first": "Li", "4111111111111111": 7}}, "ana@example.com": 1}"#;
    for (protection, first, number) in
        [(LAST_FOUR, "\"**\"", "\"*\""), (ladder("year"), "\"[redacted]\"", "null")]
    {
        let expected = format!(
            r#"{{"book": {{"[redacted]": {{"first": {first}, "[redacted]": {number}}}}}, "ana@example.com": 1}}"#
        );
        assert_eq!(world.json(data, &[by_field("$.data.book", protection)]), expected, "{protection:?}");
    }
    let tokens = world.json(data, &[by_field("$.data.book", TOKEN)]);
    assert!(!tokens.contains("li@") && !tokens.contains("4111") && tokens.contains("\"first\""), "{tokens}");
    // The same by the word of a Classification, and by a path that ends in the object's members.
    assert!(!world.json(data, &[by_field("$.data.*", TOKEN)]).contains("li@"));
    world.fields = vec![(Path::parse("$.data.book").expect("a path"), Class::NAME)];
    let named = world.json(data, &[by_class("person.name", LAST_FOUR)]);
    assert!(!named.contains("li@") && named.contains("ana@"), "{named}");
}

#[test]
fn a_duplicated_name_is_protected_every_time() {
    let world = World::new();
    let data = r#"{"a": "one", "\u0061": "two", "b": {"a": "three"}}"#;
    let expected = r#"{"a": "[redacted]", "\u0061": "[redacted]", "b": {"a": "three"}}"#;
    assert_eq!(world.json(data, &[by_field("$.data.a", Protection::Redact)]), expected);
    assert_eq!(world.json(data, &[by_field("$.data.a", Protection::Drop)]), r#"{"b": {"a": "three"}}"#);
}

#[test]
fn what_overlaps_is_one_range_with_the_meet() {
    let world = World::new();
    let data = format!(r#"{{"memo": "card {CARD}", "o": {{"card": "{CARD}", "n": 1}}}}"#);
    let mask = by_class("payment.card", LAST_FOUR);
    // A field that holds a finding: all of the field.
    let both = [mask.clone(), by_field("$.data.memo", Protection::Mask { first: 1, last: 2 })];
    let expected = r#"{"memo": "**** **** **** **** **11", "o": {"card": "**** **** **** 1111", "n": 1}}"#;
    assert_eq!(world.json(&data, &both), expected);
    // Two kinds disclose nothing in common.
    let both = [mask.clone(), by_field("$.data.memo", Protection::Hash)];
    assert!(world.json(&data, &both).starts_with(r#"{"memo": "[redacted]""#));
    // A container that is sealed as a whole and holds something masked.
    let both = [mask.clone(), by_field("$.data.o", SEALED)];
    assert!(world.json(&data, &both).ends_with(r#""o": {}}"#));
    // And one whose leaves are masked, part of which goes.
    let both = [by_field("$.data.o", LAST_FOUR), by_field("$.data.o.n", Protection::Drop)];
    assert!(world.json(&data, &both).ends_with(r#""o": {"card": "**** **** **** 1111"}}"#));
    let both = [mask, by_field("$.data.o", Protection::Drop)];
    assert!(world.json(&data, &both).ends_with(r#"**** 1111"}"#));
}

#[test]
fn a_declared_field_needs_no_detector() {
    let mut world = World::new();
    world
        .fields
        .push((Path::parse("$.data.who").expect("a path"), Class::named("person.name").expect("a class")));
    let redact = by_class("person", Protection::Redact);
    let data = r#"{"who": "Li Na", "else": "Li Na"}"#;
    assert_eq!(
        world.json(data, std::slice::from_ref(&redact)),
        r#"{"who": "[redacted:person.name]", "else": "Li Na"}"#
    );
    let undeclared = Demand { undeclared: true, ..redact };
    assert_eq!(world.json(data, &[undeclared]), data);
}

#[test]
fn undeclared_is_what_the_classification_does_not_list_there() {
    let mut world = World::new();
    world
        .fields
        .push((Path::parse("$.data.card").expect("a path"), Class::named("payment.card").expect("a class")));
    let demand = [Demand { undeclared: true, ..by_class("*", Protection::Redact) }];
    let data = format!(r#"{{"card": "{CARD}", "memo": "{CARD}", "mail": "{MAIL}"}}"#);
    let expected = format!(
        r#"{{"card": "{CARD}", "memo": "[redacted:payment.card]", "mail": "[redacted:contact.email]"}}"#
    );
    assert_eq!(world.json(&data, &demand), expected);
    world.may_hold = ClassSet::of("contact");
    assert!(world.json(&data, &demand).contains(MAIL));
}

#[test]
fn attributes_are_protected_where_they_do_not_name_the_event() {
    let world = World::new();
    let event = attribute("subject", &format!("for {MAIL}"));
    let edited = world.once(&event, &[by_class("contact", Protection::Redact)]);
    assert_eq!(edited.subject(), Some("for [redacted:contact.email]"));
    assert_eq!(list(&edited), "/subject contact.email redact");
    let edited = world.once(&event, &[by_field("$.subject", Protection::Drop)]);
    assert_eq!(edited.subject(), None);
    // What the type of an attribute cannot hold goes.
    let edited =
        world.once(&attribute("time", "2026-11-20T10:00:00Z"), &[by_field("$.time", ladder("year"))]);
    assert_eq!(edited.attribute("time"), None);
    for name in ["id", "source", "type"] {
        let failed = world
            .protect(&event, &[by_field("$.subject", LAST_FOUR), by_field(&format!("$.{name}"), LAST_FOUR)]);
        let failed = failed.expect_err("names are not protected");
        assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::Name, &[1][..]));
    }
    let named = EventBuilder::new(MAIL, "/s", "t").build().expect("an event");
    let failed = world.protect(&named, &[by_class("payment", LAST_FOUR), by_class("contact", LAST_FOUR)]);
    let failed = failed.expect_err("the id is an address");
    assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::Name, &[1][..]));
}

#[test]
fn signatures_go_with_what_they_vouched_for() {
    let world = World::new();
    let signed = |data: &str| {
        let builder = base()
            .attribute("signature", AttributeValue::String("s"))
            .attribute("datahash", AttributeValue::String("h"));
        builder.data_json(Bytes::copy_from_slice(data.as_bytes())).build().expect("an event")
    };
    let redact = by_field("$.data.a", Protection::Redact);
    let edited = world.once(&signed("{\"a\": \"x\"}"), std::slice::from_ref(&redact));
    assert_eq!(edited.attribute("signature"), None);
    assert_eq!(edited.attribute("datahash"), None);
    assert_eq!(list(&edited), "/data/a - redact,/datahash - drop,/signature - drop");
    let strict = [by_field("$.data.b", Protection::Redact), Demand { signatures_error: true, ..redact }];
    let failed = world.protect(&signed("{\"a\": \"x\"}"), &strict).expect_err("signed");
    assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::Signed, &[1][..]));
    assert_eq!(world.protect(&signed("{}"), &strict), Ok(None), "nothing was to be edited");
}
