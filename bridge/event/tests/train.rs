//! Trains against the events they are made of.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, DataKind, DecodeError, Event, EventBuilder, EventTrain, TrainWriter};
use proptest::prelude::*;

fn event(id: &str, extension: &str, kind: DataKind, data: &[u8]) -> Event {
    let mut builder = EventBuilder::new(id, "/shop", "order.created");
    if !extension.is_empty() {
        builder = builder.attribute("traceparent", AttributeValue::String(extension));
    }
    let kind = if data.is_empty() { DataKind::None } else { kind };
    builder.data(kind, Bytes::copy_from_slice(data)).build().expect("a valid event")
}

fn kind() -> impl Strategy<Value = DataKind> {
    prop::sample::select(vec![DataKind::Binary, DataKind::Json, DataKind::Text])
}

proptest! {
    #[test]
    fn a_train_gives_its_events_back(
        ids in prop::collection::vec("[!-~]{1,40}|[a-zé]{1,20}", 1..40),
        extension in "[a-z0-9]{0,30}",
        kind in kind(),
        sizes in prop::collection::vec(0..300_usize, 40),
    ) {
        let data = |at: usize| match kind {
            DataKind::Json => format!("\"{}\"", "j".repeat(sizes[at])).into_bytes(),
            _ => vec![b'x'; sizes[at]],
        };
        let events: Vec<Event> =
            ids.iter().enumerate().map(|(at, id)| event(id, &extension, kind, &data(at))).collect();
        let mut writer = TrainWriter::like(&events[0], kind, 0);
        for event in &events {
            let is_like = writer.is_like(event);
            prop_assert!(is_like, "{:?}", event);
            let taken = writer.push(event.id(), event.data_bytes());
            prop_assert!(taken, "{:?}", event);
        }
        let written = writer.finish().expect("it has events");
        let read = EventTrain::decode(written.encoded().clone()).expect("it was written");
        for train in [&written, &read] {
            prop_assert_eq!(train.len(), events.len());
            let back: Vec<Event> = train.events().collect();
            for (event, back) in events.iter().zip(&back) {
                prop_assert_eq!(event.id(), back.id());
                prop_assert_eq!(event.source(), back.source());
                prop_assert_eq!(event.ty(), back.ty());
                prop_assert_eq!(event.attribute("traceparent"), back.attribute("traceparent"));
                prop_assert_eq!(event.attributes().count(), back.attributes().count());
                prop_assert_eq!(event.data_kind(), back.data_kind());
                prop_assert_eq!(event.data_bytes(), back.data_bytes());
            }
            let sizes = |event: &Event| (event.id().len(), event.data_bytes().len());
            let largest = sizes(&train.largest());
            prop_assert!(back.iter().all(|event| sizes(event).0 <= largest.0 && sizes(event).1 <= largest.1));
            prop_assert!(back.iter().any(|event| sizes(event).0 == largest.0));
            prop_assert!(back.iter().any(|event| sizes(event).1 == largest.1));
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(train) = EventTrain::decode(Bytes::from(bytes)) {
            prop_assert_eq!(train.events().count(), train.len());
        }
    }

    #[test]
    fn a_damaged_train_is_refused_or_read_and_never_panics(at in 0..400_usize, byte in any::<u8>(), cut in 0..400_usize) {
        let like = event("1", "t", DataKind::Json, b"{}");
        let mut writer = TrainWriter::like(&like, DataKind::Json, 0);
        for number in 0..10 {
            let taken = writer.push(&format!("id-{number}"), br#"{"n":1}"#);
            prop_assert!(taken, "event {}", number);
        }
        let mut bytes = writer.finish().expect("it has events").encoded().to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        for bytes in [bytes.clone(), bytes[..cut % length].to_vec()] {
            if let Ok(train) = EventTrain::decode(Bytes::from(bytes)) {
                prop_assert_eq!(train.events().count(), train.len());
            }
        }
    }
}

#[test]
fn what_a_train_cannot_hold_is_not_taken() {
    let like = event("1", "", DataKind::Binary, b"x");
    let mut writer = TrainWriter::like(&like, DataKind::Binary, 0);
    assert!(!writer.push("", b"x"), "an empty id");
    assert!(!writer.push("a\u{7}", b"x"), "a control character");
    assert!(!writer.push(&"i".repeat(256), b"x"), "a length beyond one byte");
    assert!(!writer.push("1", &vec![0; 5 << 20]), "more than a train may have");
    assert!(writer.is_empty());
    assert!(writer.finish().is_none(), "a train has an event");
    let mut writer = TrainWriter::like(&like, DataKind::Binary, 0);
    let taken = (0..5_000).filter(|number| writer.push(&number.to_string(), b"")).count();
    assert_eq!(taken, meshbridge_event::limits::TRAIN_EVENTS_MAX);
}

#[test]
fn only_events_with_the_same_attributes_are_alike() {
    let like = event("1", "t", DataKind::Json, b"{}");
    let writer = TrainWriter::like(&like, DataKind::Json, 0);
    assert!(writer.is_like(&event("2", "t", DataKind::Json, b"[1]")));
    assert!(writer.is_like(&event("2", "t", DataKind::None, b"")), "without data");
    for other in [
        event("1", "u", DataKind::Json, b"{}"),
        event("1", "", DataKind::Json, b"{}"),
        event("1", "t", DataKind::Binary, b"{}"),
        like.to_builder().attribute("more", AttributeValue::Boolean(true)).build().expect("a valid event"),
        like.to_builder()
            .set_attribute("type", AttributeValue::String("other"))
            .build()
            .expect("a valid event"),
    ] {
        assert!(!writer.is_like(&other), "{other:?}");
    }
}

/// Shared attributes that make an event of about this many bytes, without an id.
fn with_attributes(bytes: usize) -> Event {
    let value = "x".repeat(4_000);
    let names: Vec<String> = (0..bytes / 4_000).map(|number| format!("extension{number}")).collect();
    let add = |builder: EventBuilder, name: &String| builder.attribute(name, AttributeValue::String(&value));
    names.iter().fold(EventBuilder::new("1", "/shop", "order.created"), add).build().expect("a valid event")
}

/// Each event of a train repeats what they share once it is read: 4 MiB could become 128.
#[test]
fn a_train_that_repeats_too_much_is_neither_written_nor_read() {
    let mut writer = TrainWriter::like(&with_attributes(28_000), DataKind::Binary, 0);
    let taken = (0..4_096).filter(|number| writer.push(&number.to_string(), b"")).count();
    assert!((500..=600).contains(&taken), "16 MiB in pieces of 28 KB: {taken}");
    let train = writer.finish().expect("it has events");
    assert!(EventTrain::decode(train.encoded().clone()).is_ok());

    // One more than a writer takes.
    let mut bytes = train.encoded().to_vec();
    bytes[4..8].copy_from_slice(&(taken as u32 + 1).to_be_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, b'x']);
    assert!(matches!(EventTrain::decode(Bytes::from(bytes)), Err(DecodeError::TooLong)));

    // What events usually share leaves room for as many as a train may have.
    let mut writer = TrainWriter::like(&with_attributes(0), DataKind::Binary, 0);
    assert!((0..4_096).all(|number| writer.push(&number.to_string(), b"")));
}

/// A burst that is cut into pieces would otherwise hold the room of the whole in each.
#[test]
fn a_train_holds_no_room_that_it_does_not_need() {
    let like = event("1", "t", DataKind::Json, b"{}");
    let mut writer = TrainWriter::like(&like, DataKind::Json, 128 << 10);
    assert!(writer.push("1", b"{}"));
    let bytes = writer.finish().expect("it has an event").encoded().clone();
    let length = bytes.len();
    let room = bytes.try_into_mut().expect("nobody else has it").capacity();
    assert!(room <= 2 * length, "{room} bytes for {length}");
}
