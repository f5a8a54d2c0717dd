//! What goes in comes out: through the encoding, the JSON format, binary mode and the SDK.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, DataKind, Event, EventBuilder, http, json};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Value {
    Boolean(bool),
    Integer(i32),
    Text(String),
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é号😀]{1,20}"
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i32>().prop_map(Value::Integer),
        text().prop_map(Value::Text),
    ]
}

fn json_data() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just(r#"{ "b" : 1.50, "a":[1e3 ,"\u00e9"], "a": -0 }"#.to_owned()),
        Just("\"text\"".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("[]".to_owned()),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let extensions = prop::collection::btree_map("x[a-z0-9]{1,8}", value(), 0..6);
    let data = prop_oneof![
        Just((DataKind::None, None, Bytes::new())),
        json_data().prop_map(|text| (DataKind::Json, Some("application/json"), Bytes::from(text))),
        json_data().prop_map(|text| (DataKind::Json, None, Bytes::from(text))),
        text().prop_map(|text| (DataKind::Text, Some("text/plain"), Bytes::from(text))),
        prop::collection::vec(any::<u8>(), 1..64).prop_map(|bytes| (
            DataKind::Binary,
            Some("application/octet-stream"),
            Bytes::from(bytes)
        )),
    ];
    (text(), "/[a-z]{1,9}", text(), extensions, data, any::<bool>()).prop_map(
        |(id, source, ty, extensions, (kind, content_type, bytes), has_time)| {
            let mut builder = EventBuilder::new(&id, &source, &ty);
            if let Some(content_type) = content_type {
                builder = builder.attribute("datacontenttype", AttributeValue::String(content_type));
            }
            if has_time {
                builder = builder.attribute("time", AttributeValue::Timestamp("2026-11-20T10:00:00.5+01:00"));
            }
            for (name, value) in &extensions {
                builder = builder.attribute(
                    name,
                    match value {
                        Value::Boolean(value) => AttributeValue::Boolean(*value),
                        Value::Integer(value) => AttributeValue::Integer(i64::from(*value)),
                        Value::Text(text) => AttributeValue::String(text),
                    },
                );
            }
            builder.data(kind, bytes).build().expect("the parts are valid")
        },
    )
}

proptest! {
    #[test]
    fn the_encoding_gives_the_event_back(event in event()) {
        let read = Event::decode(event.encoded().clone()).expect("it was encoded");
        prop_assert_eq!(&read, &event);
        prop_assert_eq!(&event.to_builder().build().expect("it was valid"), &event);
    }

    #[test]
    fn the_json_format_gives_the_event_back(event in event()) {
        let mut written = Vec::new();
        json::write_structured(&event, &[], &mut written);
        prop_assert_eq!(&json::parse_structured(&written).expect("it was written"), &event);
    }

    #[test]
    fn a_batch_gives_its_events_back(events in prop::collection::vec(event(), 0..5)) {
        let mut written = vec![b'['];
        for (at, event) in events.iter().enumerate() {
            if at > 0 {
                written.extend_from_slice(b" ,\n");
            }
            json::write_structured(event, &[], &mut written);
        }
        written.push(b']');
        prop_assert_eq!(json::parse_batch(&written).expect("it was written"), events);
    }

    /// Headers have no types: extensions come back as strings with the same text.
    #[test]
    fn binary_mode_gives_the_texts_and_the_data_back(event in event()) {
        let headers: Vec<(String, String)> = http::binary_headers(&event).collect();
        for (_, value) in &headers {
            prop_assert!(value.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{}", value);
        }
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let read = http::parse_binary(pairs, event.datacontenttype(), event.data_shared()).expect("it was written");
        prop_assert_eq!(read.data_kind(), event.data_kind());
        prop_assert_eq!(read.data_bytes(), event.data_bytes());
        for (name, value) in event.attributes() {
            let found = read.attribute(name).expect("each attribute has a header");
            prop_assert_eq!(found.to_text(), value.to_text());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::decode(Bytes::from(bytes.clone()));
        let _ = json::parse_structured(&bytes);
        let _ = json::parse_batch(&bytes);
    }

    #[test]
    fn a_changed_byte_is_refused_or_gives_an_event_that_holds_together(
        event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = event.encoded().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Event::decode(Bytes::from(bytes)) {
            let mut written = Vec::new();
            json::write_structured(&read, &[], &mut written);
            prop_assert!(!read.id().is_empty() && !read.source().is_empty() && !read.ty().is_empty());
        }
    }
}

proptest! {
    #[test]
    fn an_edited_event_is_the_event_made_of_its_parts(
        event in event(),
        name in "x[a-z0-9]{1,8}|subject|id",
        set in text(),
        gone in any::<prop::sample::Index>(),
    ) {
        let gone = event.attributes().nth(gone.index(event.attributes().count())).expect("one of them").0;
        let edited = event.to_builder().set_attribute(&name, AttributeValue::String(&set)).remove_attribute(gone);
        let parts = event.attributes().filter(|(other, _)| *other != gone);
        let mut made = EventBuilder::empty();
        for (other, value) in parts {
            made = made.attribute(other, if other == name { AttributeValue::String(&set) } else { value });
        }
        if event.attribute(&name).is_none() && name != gone {
            made = made.attribute(&name, AttributeValue::String(&set));
        }
        let made = made.data(event.data_kind(), event.data_shared());
        prop_assert_eq!(edited.build(), made.build());
    }

    #[test]
    fn an_attribute_is_found_by_its_name(event in event(), other in "[a-z]{1,9}") {
        for (name, value) in event.attributes() {
            prop_assert_eq!(event.attribute(name), Some(value));
        }
        let named = event.attributes().find(|(name, _)| *name == other).map(|(_, value)| value);
        prop_assert_eq!(event.attribute(&other), named);
    }
}

#[test]
fn data_keeps_every_byte_of_its_spelling() {
    let text = br#"{"id":"1","data":{ "n" : 1.50, "n":2,"s":"\u00e9" },"source":"/s","specversion":"1.0","type":"t"}"#;
    let event = json::parse_structured(text).expect("a valid event");
    assert_eq!(event.data_bytes(), br#"{ "n" : 1.50, "n":2,"s":"\u00e9" }"#);
    let names: Vec<&str> = event.attributes().map(|(name, _)| name).collect();
    assert_eq!(names, ["id", "source", "type"]);
}

#[test]
fn errors_name_the_attribute_and_the_byte() {
    check(r#"{"specversion":"1.0","id":"1","source":"/s"}"#, Some("type"), None);
    check(r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, Some("specversion"), None);
    check(r#"{"id":"1","source":"/s","type":"t"}"#, Some("specversion"), None);
    check(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","Bad":"x"}"#, Some("Bad"), None);
    check(r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#, Some("id"), Some(35));
    check(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":{}}"#, Some("x"), Some(59));
    check(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":1.5}"#, Some("x"), Some(59));
    check(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}"#,
        Some("data_base64"),
        Some(69),
    );
    check(r#"{"specversion":"1.0","id":"#, None, Some(25));
    check("[]", None, Some(0));
    check(r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, Some("id"), None);
    check(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"today"}"#, Some("time"), None);
}

#[track_caller]
fn check(text: &str, attribute: Option<&str>, offset: Option<usize>) {
    let problem = json::parse_structured(text.as_bytes()).expect_err(text);
    assert_eq!(problem.attribute.as_deref(), attribute, "{problem}");
    if offset.is_some() {
        assert_eq!(problem.offset, offset, "{problem}");
    }
}

#[test]
fn a_batch_names_its_malformed_member() {
    let text = br#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"1.0"}]"#;
    match json::parse_batch(text) {
        Err(json::BatchError::Member { index, problem }) => {
            assert_eq!((index, problem.attribute.as_deref()), (1, Some("id")));
        }
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "sdk")]
mod sdk {
    use super::*;

    proptest! {
        #[test]
        fn the_sdk_gives_its_event_back(event in event()) {
            let first = cloudevents::Event::try_from(&event).expect("the SDK holds it");
            let ours = Event::try_from(&first).expect("we hold it");
            let second = cloudevents::Event::try_from(&ours).expect("the SDK holds it");
            prop_assert_eq!(first, second);
            prop_assert_eq!(ours.data_kind(), event.data_kind());
        }
    }
}
