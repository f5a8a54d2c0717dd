//! Pseudonyms and sealed values.

use super::seal::{Binding, Kind, derive, pseudonym, seal, unseal};
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// RFC 5869, appendix A: the first 32 bytes of the output.
#[test]
fn hkdf_gives_the_published_vectors() {
    let one = derive(
        &bytes(&"0b".repeat(22)),
        &bytes("000102030405060708090a0b0c"),
        &bytes("f0f1f2f3f4f5f6f7f8f9"),
    );
    assert_eq!(one.to_vec(), bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"));
    let three = derive(&bytes(&"0b".repeat(22)), &[], &[]);
    assert_eq!(three.to_vec(), bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"));
}

/// RFC 4231, test case 2, and RFC 4648, section 10.
#[test]
fn hmac_and_base32_give_the_published_vectors() {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"Jefe");
    let mac = aws_lc_rs::hmac::sign(&key, b"what do ya want for nothing?");
    assert_eq!(mac.as_ref(), bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    for (text, expected) in [("f", "my"), ("fo", "mzxq"), ("foobar", "mzxw6ytboi")] {
        assert_eq!(super::super::seal::base32(text.as_bytes()), expected);
    }
}

#[test]
fn a_pseudonym_links_within_its_scope_and_not_beyond() {
    let secret = [3; 32];
    let token = |scope, zone, topic| pseudonym(&secret, scope, zone, topic, "value");
    for scope in Scope::ALL {
        let here = token(scope, "us-1", "a.b");
        assert_eq!(here.len(), 26);
        let by_zone = scope.is_within(Scope::DESTINATION);
        let by_topic = scope.is_within(Scope::TOPIC);
        assert_eq!(here != token(scope, "cn-1", "a.b"), by_zone, "{}", scope.name());
        assert_eq!(here != token(scope, "us-1", "a.c"), by_topic, "{}", scope.name());
        assert_ne!(here, pseudonym(&[4; 32], scope, "us-1", "a.b", "value"));
        assert_ne!(here, pseudonym(&secret, scope, "us-1", "a.b", "valuf"));
        for other in Scope::ALL.into_iter().filter(|other| *other != scope) {
            assert_ne!(here, token(other, "us-1", "a.b"));
        }
    }
    // No two lists of qualifiers are one text.
    assert_ne!(token(Scope::DESTINATION_TOPIC, "a", "bc"), token(Scope::DESTINATION_TOPIC, "ab", "c"));
}

const BINDING: Binding<'static> = Binding { key: "k", version: 1, source: "/s", id: "1" };

#[test]
fn a_sealed_value_opens_where_it_was_sealed_and_nowhere_else() {
    let secret = [9; 32];
    let randomness = Randomness::new([1; 32]);
    for length in 0..70 {
        let value = "x".repeat(length);
        let body = seal(&secret, &BINDING, Kind::Text, &value, &randomness, 0);
        assert_eq!(unseal(&secret, &BINDING, &body), Some((Kind::Text, value)));
        // The length shows in steps of 16 bytes: kind, value and the end of it, beside salt and tag.
        let bytes = 32 + (length + 2).next_multiple_of(16);
        assert_eq!(body.len(), (bytes * 4).div_ceil(3));
    }
    let body = seal(&secret, &BINDING, Kind::Text, "value", &randomness, 0);
    assert_eq!(unseal(&[8; 32], &BINDING, &body), None);
    for moved in [
        Binding { id: "2", ..BINDING },
        Binding { source: "/t", ..BINDING },
        Binding { version: 2, ..BINDING },
        Binding { key: "l", ..BINDING },
        Binding { source: "/s1", id: "", ..BINDING },
    ] {
        assert_eq!(unseal(&secret, &moved, &body), None, "{moved:?}");
    }
    for at in 0..body.len() {
        let mut damaged = body.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        let damaged = String::from_utf8(damaged).expect("ASCII");
        assert_eq!(unseal(&secret, &BINDING, &damaged), None, "byte {at}");
    }
    for odd in ["", "AAAA", "!", &body[..body.len() - 4]] {
        assert_eq!(unseal(&secret, &BINDING, odd), None);
    }
}

#[test]
fn the_same_randomness_gives_the_same_bytes_and_equal_values_stay_apart() {
    let mut world = World::new();
    let data = r#"{"a": "same", "b": "same"}"#;
    let demands = [by_field("$.data.*", SEALED)];
    let once = world.json(data, &demands);
    assert_eq!(once, world.json(data, &demands));
    let parsed: serde_json::Value = serde_json::from_str(&once).expect("JSON");
    assert_ne!(parsed["a"], parsed["b"], "equal values are not recognised");
    world.randomness = Randomness::new([8; 32]);
    assert_ne!(once, world.json(data, &demands));
}

#[test]
fn decrypting_gives_back_every_byte_of_the_data() {
    let world = World::new();
    let data = format!(
        r#"{{ "s": "q\u0022 \/ é\n", "n": -1.50e+3, "t": true, "z": null, "o": {{ "a" : [1,  2] }}, "memo": "to\u0020{MAIL} \u00e9", "l": ["{CARD}"] }}"#
    );
    let demands = [
        by_field("$.data.s", SEALED),
        by_field("$.data.n", SEALED),
        by_field("$.data.t", SEALED),
        by_field("$.data.z", SEALED),
        by_field("$.data.o", SEALED),
        by_class("*", SEALED),
    ];
    let event = base()
        .attribute("subject", AttributeValue::String(&format!("for {MAIL}!")))
        .data_json(Bytes::from(data.clone()))
        .build()
        .expect("an event");
    let sealed = world.once(&event, &demands);
    for gone in [MAIL, CARD, "1.50", "true"] {
        assert!(!show(&sealed).contains(gone), "{gone} in {}", show(&sealed));
    }
    let (opened, report) = decrypt(&sealed, &world.ring).expect("an event");
    assert_eq!(opened.data_text(), Some(data.as_str()));
    assert_eq!(opened.subject(), event.subject());
    assert_eq!(opened.attribute(GOVPROTECTED), None);
    assert_eq!((report.opened, report.failed, report.missing.len()), (8, 0, 0));

    let (same, report) = decrypt(&sealed, &MapKeyRing::new()).expect("an event");
    assert_eq!(same, sealed);
    assert_eq!((report.opened, report.missing), (0, [("fields".to_owned(), 1)].into()));
}

#[test]
fn a_sealed_value_cannot_be_moved_to_another_event() {
    let world = World::new();
    let sealed = world.json("{\"a\": \"secret\"}", &[by_field("$.data.a", SEALED)]);
    let other =
        EventBuilder::new("e-2", "/eu-1/shop", "t").data_json(Bytes::from(sealed)).build().expect("an event");
    let (opened, report) = decrypt(&other, &world.ring).expect("an event");
    assert_eq!((opened, report.opened, report.failed), (other, 0, 1));
}

#[test]
fn layers_of_seals_open_one_by_one() {
    let world = World::new();
    let inner = world.once(&json(r#"{"o": {"a": "x"}}"#), &[by_field("$.data.o.a", SEALED)]);
    let outer = world.once(&inner, &[by_field("$.data.o", SEALED)]);
    assert!(outer.data_text().is_some_and(|text| text.starts_with("{\"o\": \"enc_")), "{}", show(&outer));
    let (opened, report) = decrypt(&outer, &world.ring).expect("an event");
    assert_eq!((opened.data_text(), report.opened), (Some(r#"{"o": {"a": "x"}}"#), 2));
}

#[test]
fn a_key_that_is_not_held_names_the_rules_that_need_it() {
    let mut world = World::new();
    world.ring = MapKeyRing::new();
    let demands =
        [by_field("$.data.a", Protection::Redact), by_field("$.data.b", SEALED), by_field("$.data.c", TOKEN)];
    let failed = world.protect(&json(r#"{"a": "x", "b": "y"}"#), &demands).expect_err("no key");
    assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::MissingKey(FIELDS), &[1][..]));
    let done = world.protect(&json(r#"{"a": "x"}"#), &demands).expect("no key was needed");
    assert!(done.is_some());
}
