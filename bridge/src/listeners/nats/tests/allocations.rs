//! From the bytes of publishers to a train, and from a train to the bytes of a subscriber: as many allocations for a
//! thousand events as for a hundred.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use meshbridge_event::EventTrain;
use meshbridge_routing::{BridgeId, EventKey, Run};
use meshbridge_topic::Topic;

use super::super::batch::{Taken, Trains};
use super::super::outgoing::Outgoing;
use super::super::parser::{Command, Parsed, parse};
use super::{Sent, subscribed};
use crate::chunks::Chunks;
use crate::pipeline::{Entry, Queued, TrainDelivery};

/// What a publisher sends of `count` events that a train can hold, with ids of their own or without headers.
fn stream(count: usize, with_ids: bool) -> String {
    let mut text = String::new();
    for at in 0..count {
        let payload = "x".repeat(64);
        if with_ids {
            let headers = format!(
                "NATS/1.0\r\nce-specversion: 1.0\r\nce-id: o-{at}\r\nce-source: /s\r\nce-type: t\r\n\r\n"
            );
            let (head, all) = (headers.len(), headers.len() + payload.len());
            write!(text, "HPUB a.b {head} {all}\r\n{headers}{payload}\r\n").expect("memory takes it");
        } else {
            write!(text, "PUB a.b {}\r\n{payload}\r\n", payload.len()).expect("memory takes it");
        }
    }
    text
}

/// A connection that has begun a train.
fn begun(with_ids: bool) -> (Trains, Topic) {
    let text = stream(1, with_ids);
    let Ok(Parsed::Whole(Command::Publish(publish), _)) = parse(text.as_bytes(), 1 << 20) else {
        panic!("a publication");
    };
    let sent = Sent {
        subject: "a.b",
        headers: String::from_utf8(publish.headers.to_vec()).expect("text"),
        payload: publish.payload.to_vec(),
    };
    let (mut trains, topic) = (Trains::new(), Topic::parse("a.b").expect("a topic"));
    let event = sent.event(&trains.next_id()).expect("an event");
    assert!(trains.begin(&publish, &topic, &event));
    (trains, topic)
}

/// Reads publications as a session does, into one train.
fn take(trains: &mut Trains, mut bytes: &[u8]) -> EventTrain {
    while !bytes.is_empty() {
        let Ok(Parsed::Whole(Command::Publish(publish), used)) = parse(bytes, 1 << 20) else {
            panic!("a publication");
        };
        assert_eq!(trains.take(&publish), Taken::Yes);
        bytes = &bytes[used..];
    }
    trains.finish().expect("it has events").1
}

#[test]
fn publications_are_read_into_a_train_without_an_allocation_for_each() {
    for with_ids in [false, true] {
        for count in [100, 1_000] {
            let text = stream(count, with_ids);
            let (mut trains, _) = begun(with_ids);
            let mut train = None;
            let info = allocation_counter::measure(|| {
                train = Some(take(&mut trains, black_box(text.as_bytes())));
            });
            assert_eq!(train.map(|train| train.len()), Some(count + 1));
            // The buffer doubles as it grows, and there is one for the next train.
            assert!(info.count_total <= 16, "{} allocations to read {count} events", info.count_total);
        }
    }
}

#[test]
fn a_train_is_handed_to_its_subscribers_without_an_allocation_for_each_event() {
    for count in [100, 1_000] {
        let (mut trains, topic) = begun(true);
        let train = take(&mut trains, stream(count, true).as_bytes());
        let origin = BridgeId::parse("a").expect("an id");
        let key = EventKey { origin, run: Run { epoch: 1, nonce: 2 }, lane: 0, seq: 1 };
        let delivery = Arc::new(TrainDelivery { key, topic, train });
        let mut out = Chunks::default();
        let info = allocation_counter::measure(|| {
            // Four connections, which share the train.
            for _ in 0..4 {
                let what = Queued::Train(Arc::clone(&delivery));
                let mut entries: VecDeque<Entry> = [Entry { what, tags: [7].into_iter().collect() }].into();
                let (mut written, mut table) = (VecDeque::new(), subscribed(None));
                let mut outgoing = Outgoing::new(true);
                outgoing.write(&mut entries, &mut written, &mut table, &mut out, usize::MAX, &mut Vec::new());
            }
        });
        assert!(out.len() > 4 * count * 64);
        assert!(info.count_total <= 64, "{} allocations to hand out {count} events", info.count_total);
    }
}
