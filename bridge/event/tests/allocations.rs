//! Reading an event allocates nothing, and a train as much for a thousand events as for ten. In a binary of its own,
//! because what counts is the allocator of all of it.

use std::hint::black_box;

use bytes::Bytes;
use meshbridge_event::{AttributeValue, DataKind, Event, EventBuilder, EventTrain, TrainWriter};

fn event() -> Event {
    EventBuilder::new("018f-77", "/eu-1/shop", "com.example.order.created")
        .attribute("purpose", AttributeValue::String("contract"))
        .data_json(Bytes::from_static(b"{\"order\":4711}"))
        .build()
        .expect("a valid event")
}

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn an_event_is_read_without_an_allocation() {
    let bytes = event().encoded().clone();
    let count = allocations(|| {
        let event = Event::decode(black_box(bytes)).expect("it was written");
        assert_eq!(event.id(), "018f-77");
        assert_eq!(event.attributes().count(), 4);
        assert!(!event.data_bytes().is_empty());
    });
    assert_eq!(count, 0);
    // The counter counts: an event that is made has a buffer.
    assert!(allocations(|| drop(black_box(event()))) > 0);
}

#[test]
fn a_train_is_written_into_one_buffer_and_read_without_an_allocation() {
    let event = event();
    for length in [10, 1_000] {
        let mut train = None;
        let write = allocations(|| {
            let mut writer = TrainWriter::like(&event, DataKind::Json, 64 << 10);
            (0..length)
                .for_each(|_| assert!(writer.push(black_box("018f-78"), b"{\"order\":1}"), "there is room"));
            train = writer.finish();
        });
        let bytes = train.expect("it has events").encoded().clone();
        let read = allocations(|| {
            let train = EventTrain::decode(black_box(bytes)).expect("it was written");
            assert_eq!(train.items().filter(|item| item.id == "018f-78").count(), length);
            assert_eq!(train.attributes().count(), 3);
        });
        assert!(write <= 4, "{write} allocations to write {length} events");
        assert_eq!(read, 0, "to read {length} events");
    }
}
