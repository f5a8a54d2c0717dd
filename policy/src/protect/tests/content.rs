//! Data that is not JSON, and data that is made to slip past.

use meshbridge_event::DataKind;

use super::survey::CannotRead;
use super::*;

fn event(content_type: Option<&str>, kind: DataKind, data: &[u8]) -> Event {
    let builder = match content_type {
        Some(text) => base().attribute("datacontenttype", AttributeValue::String(text)),
        None => base(),
    };
    builder.data(kind, Bytes::copy_from_slice(data)).build().expect("an event")
}

#[test]
fn text_is_edited_as_one_string() {
    let world = World::new();
    for content_type in ["text/plain", "TEXT/CSV; charset=\"UTF-8\"", "text/markdown;charset=us-ascii"] {
        let text = event(Some(content_type), DataKind::Text, format!("a,{MAIL}\n\"{CARD}\"").as_bytes());
        let edited =
            world.once(&text, &[by_class("contact", Protection::Redact), by_class("payment", LAST_FOUR)]);
        assert_eq!(edited.data_text(), Some("a,[redacted:contact.email]\n\"**** **** **** 1111\""));
        assert_eq!(list(&edited), "/data payment.card mask:0:4,/data contact.email redact");
        assert_eq!(edited.datacontenttype(), Some(content_type));
        // Which part was masked is not known any more, so all of it is.
        let again = world.once(&edited, &[by_class("payment", Protection::Redact)]);
        assert_eq!(again.data_text(), Some("[redacted:payment.card]"));
    }
}

#[test]
fn sealed_text_opens_again() {
    let world = World::new();
    let text = event(Some("text/plain"), DataKind::Text, format!("to {MAIL}: \"hi\"").as_bytes());
    let sealed = world.once(&text, &[by_class("contact", SEALED)]);
    assert!(!show(&sealed).contains(MAIL));
    let (opened, report) = decrypt(&sealed, &world.ring).expect("an event");
    assert_eq!((opened, report.opened), (text, 1));
}

#[test]
fn a_field_rule_on_text_is_an_error() {
    let mut world = World::new();
    let text = event(Some("text/plain"), DataKind::Text, b"{\"card\": 1}");
    let demands = [by_class("contact", Protection::Redact), by_field("$.data.card", Protection::Redact)];
    let failed = world.protect(&text, &demands).expect_err("no fields in a text");
    assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::NoFields, &[1][..]));
    assert_eq!(world.protect(&text, &demands[..1]), Ok(None));
    world
        .fields
        .push((Path::parse("$.data.card").expect("a path"), Class::named("payment.card").expect("a class")));
    let failed = world.protect(&text, &demands[..1]).expect_err("the topic is declared to have fields");
    assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::NoFields, &[0][..]));
    assert_eq!(world.protect(&text, &[by_field("$.subject", Protection::Redact)]), Ok(None));
}

/// Names cannot be edited, so what is found in them is an error; the dots of a topic make a number no decimal one.
#[test]
fn a_card_that_is_a_token_of_the_topic_is_seen() {
    let mut world = World::new();
    let demand = Demand { confidence: Confidence::Medium, ..by_class("payment.card", Protection::Redact) };
    let event = json(r#"{"n":1}"#);
    assert_eq!(world.protect(&event, std::slice::from_ref(&demand)), Ok(None));
    for topic in ["o.4111111111111111", "o.4111111111111111.paid", "4111111111111111"] {
        world.topic = topic;
        let failed = world.protect(&event, std::slice::from_ref(&demand)).expect_err(topic);
        assert_eq!(failed.rules.as_slice(), &[0][..], "{topic}");
    }
    world.topic = "o.2026-11-22.v1";
    assert_eq!(world.protect(&event, &[demand]), Ok(None));
}

#[test]
fn what_cannot_be_read_cannot_be_protected() {
    let mut world = World::new();
    let xml = event(Some("application/xml"), DataKind::Binary, b"<a/>");
    let utf16 = event(Some("text/plain; charset=utf-16"), DataKind::Text, b"x");
    let latin = event(Some("application/json; charset=iso-8859-1"), DataKind::Json, b"{}");
    let html = event(Some("text/html"), DataKind::Text, b"<p>");
    let demands = [by_class("contact", Protection::Redact), by_field("$.subject", Protection::Redact)];
    for opaque in [&xml, &utf16, &latin, &html] {
        let failed = world.protect(opaque, &demands).expect_err("opaque");
        assert_eq!(
            (failed.why, failed.rules.as_slice()),
            (Unprotectable::Unreadable(CannotRead::Opaque), &[0][..])
        );
    }
    // The Classification knows what is in it.
    world.opaque = Some(ClassSet::EMPTY);
    assert_eq!(world.protect(&xml, &demands), Ok(None));
    world.opaque = Some(ClassSet::of("payment"));
    assert_eq!(world.protect(&xml, &demands), Ok(None));
    world.opaque = Some(ClassSet::of("contact.email"));
    assert!(world.protect(&xml, &demands).is_err());
    world.opaque = Some(ClassSet::EMPTY);
    assert!(world.protect(&xml, &[by_field("$.data.a", Protection::Redact)]).is_err());
}

#[test]
fn malformed_and_deep_json_is_refused_whatever_is_declared() {
    let mut world = World::new();
    world.opaque = Some(ClassSet::EMPTY);
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    for data in
        ["{\"a\": \"x\",}", "{\"a\": 1} x", "\u{feff}{}", "{\"a\": \"\\ud800\"}", "{'a': 1}", "[01]", &deep]
    {
        for kind in [DataKind::Binary, DataKind::Text] {
            let failed = world
                .protect(&event(None, kind, data.as_bytes()), &[by_class("contact", Protection::Redact)]);
            let why = failed.expect_err("malformed").why;
            assert!(matches!(why, Unprotectable::Unreadable(CannotRead::Malformed(_))), "{data}");
        }
    }
    let invalid = event(Some("application/json"), DataKind::Binary, b"{\"a\": \"\xff\"}");
    assert!(world.protect(&invalid, &[by_field("$.data.a", Protection::Redact)]).is_err());
}

#[test]
fn another_content_type_does_not_make_json_something_else() {
    let world = World::new();
    let data = r#"{"card": "\u0034111 1111 1111 1111"}"#;
    for content_type in
        ["text/plain", "image/png", "application/vnd.x+json", "Application/JSON ; charset=utf-8"]
    {
        let event = event(Some(content_type), DataKind::Json, data.as_bytes());
        let edited = world.once(&event, &[by_field("$.data.card", LAST_FOUR)]);
        assert_eq!(edited.data_text(), Some(r#"{"card": "**** **** **** 1111"}"#), "{content_type}");
    }
    // Text and bytes that are said to be JSON are read as JSON.
    for kind in [DataKind::Text, DataKind::Binary] {
        let event = event(Some("application/json"), kind, data.as_bytes());
        let edited = world.once(&event, &[by_class("payment", Protection::Redact)]);
        assert_eq!(edited.data_bytes(), br#"{"card": "[redacted:payment.card]"}"#);
        assert_eq!(edited.data_kind(), kind);
    }
}

#[test]
fn events_built_to_slip_past_do_not() {
    let world = World::new();
    let redact = [by_class("payment", Protection::Redact)];
    for (data, expected) in [
        // Escapes, and escapes of every digit.
        (
            r#"{"a":"\u0034\u0031\u0031\u0031 1111 1111 1111"}"#.to_owned(),
            r#"{"a":"[redacted:payment.card]"}"#,
        ),
        // JSON in a string: all of the string.
        (
            r#"{"a":"{\"card\":\"4111 1111 1111 1111\",\"x\":1}"}"#.to_owned(),
            r#"{"a":"[redacted:payment.card]"}"#,
        ),
        // The second of two members of one name.
        (format!(r#"{{"a":1,"a":"{CARD}"}}"#), r#"{"a":1,"a":"[redacted:payment.card]"}"#),
        // Full-width digits.
        (r#"{"a":"４１１１ 1111 1111 1111"}"#.to_owned(), r#"{"a":"[redacted:payment.card]"}"#),
        // A token's beginning is no token, and a name may look like one.
        (format!(r#"{{"a":"tok_{CARD}"}}"#), r#"{"a":"tok_[redacted:payment.card]"}"#),
        (format!(r#"{{"a":"[redacted:{CARD}]"}}"#), r#"{"a":"[redacted:[redacted:payment.card]]"}"#),
        (format!(r#"{{"sha256_{CARD}":0}}"#), r#"{"[redacted:payment.card]":0}"#),
    ] {
        let seen = world.json(&data, &redact);
        if data.contains("tok_4") || data.contains("sha256_4") {
            // Whether a word character before a number hides it is for the detectors to say.
            assert!(seen == data || seen == expected, "{seen}");
            continue;
        }
        assert_eq!(seen, expected, "{data}");
    }
    // Numbers of any length are what their digits are.
    let long = format!("{{\"n\": {}, \"m\": 1e400, \"k\": -0.0}}", "1".repeat(400));
    let seen = world.json(&long, &[by_field("$.data.*", LAST_FOUR)]);
    assert!(seen.contains(&format!("{}1111\"", "*".repeat(396))) && seen.contains("\"-*.*\""), "{seen}");
    assert_eq!(world.json("{\"n\": 1e400}", &[by_field("$.data.n", ladder("10"))]), "{\"n\": null}");
}

#[test]
fn an_event_that_would_be_too_large_is_refused() {
    let world = World::new();
    let event = attribute("subject", &"x".repeat(3900));
    let failed = world.protect(&event, &[by_field("$.subject", SEALED)]).expect_err("too large");
    assert!(matches!(failed.why, Unprotectable::Event(_)), "{failed:?}");
}

#[test]
fn findings_say_what_and_where_and_never_the_value() {
    let mut world = World::new();
    world
        .fields
        .push((Path::parse("$.data.who").expect("a path"), Class::named("person.name").expect("a class")));
    let event = base()
        .attribute("subject", AttributeValue::String(MAIL))
        .data_json(Bytes::from(format!(r#"{{"who": "Li Na", "l": [0, {{"odd key": "{CARD}"}}]}}"#)))
        .build()
        .expect("an event");
    let mut surveyor = Surveyor::default();
    let declared =
        Declared { fields: &world.fields, vouched: world.fields.len(), may_hold: ClassSet::of("contact") };
    let survey = surveyor.look(&event, "a.b", declared, &world.keys, &ClassSet::of("*"), Confidence::Low);
    let found: Vec<_> =
        survey.findings().map(|found| (found.class.name(), found.path(), found.undeclared)).collect();
    assert_eq!(
        found,
        [
            ("payment.card", "$.data.l[1]['odd key']".to_owned(), true),
            ("contact.email", "$.subject".to_owned(), false),
            ("person.name", "$.data.who".to_owned(), false),
        ]
    );
}

/// Each of these took time in proportion to the square of its length if looked through from every place anew.
#[test]
fn long_events_of_beginnings_and_findings_are_done_in_one_pass() {
    let world = World::new();
    for piece in
        ["[redacted", "tok_ ", " enc_a.1_AAAA", "-enc_a.1_A", "sha256_ ", "ana@example.com [redacted] "]
    {
        let data = format!("[\"{}\"]", piece.repeat(400_000 / piece.len()));
        let demands = [by_class("contact", Protection::Redact), by_field("$.data[1]", LAST_FOUR)];
        let given = world.protect(&json(&data), &demands).expect("protected");
        assert_eq!(given.is_some(), piece.contains('@'), "{piece}");
    }
}
