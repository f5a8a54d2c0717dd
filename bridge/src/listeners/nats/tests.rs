//! Publications by the short way, into trains, against the long way, one event each; and what a client is sent of them.

mod allocations;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use meshbridge_event::{Event, EventTrain};
use meshbridge_routing::{BridgeId, EventKey, Run};
use meshbridge_topic::{Topic, TopicFilter};
use proptest::prelude::*;

use super::batch::{Taken, Trains};
use super::message::{self, Defaults};
use super::outgoing::Outgoing;
use super::parser::{Command, Parsed, Publish, parse};
use super::subject;
use super::subscriptions::{Subscribed, Subscriptions};
use crate::chunks::Chunks;
use crate::pipeline::{Delivery, Entry, Queued, Tagged, TrainDelivery};

const SOURCE: &str = "/nats/dmz/shop";

/// One publication, as its parts.
#[derive(Clone, Debug)]
struct Sent {
    subject: &'static str,
    headers: String,
    payload: Vec<u8>,
}

impl Sent {
    fn publish(&self) -> Publish<'_> {
        let headers = self.headers.as_bytes();
        Publish { subject: self.subject, reply: None, headers, payload: &self.payload }
    }

    fn event(&self, id: &str) -> Option<Event> {
        let defaults = Defaults { id, source: SOURCE, reply: None };
        message::event(self.headers.as_bytes(), Bytes::from(self.payload.clone()), &defaults).ok()
    }
}

fn headers() -> impl Strategy<Value = String> {
    let id = prop_oneof![
        Just("o-1".to_owned()),
        "[a-z0-9]{1,12}",
        Just("caf%C3%A9".to_owned()),
        Just("\"quoted\"".to_owned()),
        Just("two words".to_owned()),
        // An id with a percent sign of its own.
        Just("a%2541".to_owned()),
    ];
    let shape = prop::sample::select(vec![0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8]);
    (shape, id).prop_map(|(shape, id)| match shape {
        0 => String::new(),
        1 => format!("NATS/1.0\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s\r\nce-type: t\r\n\r\n"),
        2 => format!(
            "NATS/1.0\r\nce-specversion: 1.0\r\nce-source: /s\r\nce-type: t\r\nce-id: {id}\r\ncontent-type: application/json\r\n\r\n"
        ),
        3 => format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n"),
        4 => "NATS/1.0\r\nUnit: 100 g\r\n\r\n".to_owned(),
        5 => format!("NATS/1.0\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s\r\nce-type: t\r\nce-note: {id}\r\n\r\n"),
        7 => "NATS/1.0\r\ncontent-type: application/cloudevents+json\r\n\r\n".to_owned(),
        // No attribute, for there is no version.
        8 => format!("NATS/1.0\r\nce-id: {id}\r\nNats-Msg-Id: named\r\n\r\n"),
        // No id where one must be.
        _ => "NATS/1.0\r\nce-specversion: 1.0\r\nce-source: /s\r\nce-type: t\r\n\r\n".to_owned(),
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        Just(b"{\"n\": 1}".to_vec()),
        Just(b"{\"n\": 1".to_vec()),
        Just(b"text".to_vec()),
        Just(Vec::new()),
        Just(br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","dataclassification":"public","data":{}}"#.to_vec()),
        Just(br#"{"specversion":"1.0","id":"2","source":"/x","type":"u","dataclassification":"secret"}"#.to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    (prop::sample::select(vec!["a.b", "a.b", "a.c"]), headers(), payload)
        .prop_map(|(subject, headers, payload)| Sent { subject, headers, payload })
}

/// As a session does it for class best-effort.
fn by_trains(all: &[Sent]) -> Vec<(Topic, EventTrain)> {
    let mut trains = Trains::new();
    let mut published = Vec::new();
    for one in all {
        let publish = one.publish();
        match trains.take(&publish) {
            Taken::Yes => continue,
            Taken::Full => published.extend(trains.finish()),
            Taken::Other => {}
        }
        let id = trains.next_id();
        let Some(event) = one.event(&id) else { continue };
        published.extend(trains.finish());
        let topic = subject::topic(one.subject).expect("a subject");
        assert!(trains.begin(&publish, &topic, &event), "{one:?}");
    }
    published.extend(trains.finish());
    published
}

proptest! {
    #[test]
    fn trains_hold_the_events_that_each_publication_makes(all in prop::collection::vec(sent(), 1..60)) {
        let published = by_trains(&all);
        let got: Vec<(String, Event)> = published
            .iter()
            .flat_map(|(topic, train)| train.events().map(|event| (topic.to_string(), event)))
            .collect();
        // What has no id of its own gets one that nobody else has.
        let expected: Vec<(&str, Event)> =
            all.iter().filter_map(|one| Some((one.subject, one.event("?")?))).collect();
        prop_assert_eq!(got.len(), expected.len());
        let mut given = std::collections::BTreeSet::new();
        for ((topic, got), (subject, expected)) in got.iter().zip(&expected) {
            prop_assert_eq!(topic, subject);
            if expected.id() == "?" {
                prop_assert!(given.insert(got.id().to_owned()), "an id was given twice");
            } else {
                prop_assert_eq!(got.id(), expected.id());
            }
            let others = |event: &Event| -> Vec<(String, String)> {
                let all = event.attributes().filter(|(name, _)| *name != "id");
                all.map(|(name, value)| (name.to_owned(), value.to_text().into_owned())).collect()
            };
            prop_assert_eq!(others(got), others(expected));
            prop_assert_eq!(got.data_bytes(), expected.data_bytes());
            prop_assert_eq!(got.data_kind(), expected.data_kind());
        }
    }

    #[test]
    fn what_a_client_is_sent_makes_the_same_events_again(all in prop::collection::vec(sent(), 1..30), whole in any::<bool>()) {
        let published = by_trains(&all);
        let key = |seq| EventKey {
            origin: BridgeId::parse("a").expect("an id"),
            run: Run { epoch: 1, nonce: 2 },
            lane: 0,
            seq,
        };
        let mut entries = VecDeque::new();
        for (topic, train) in &published {
            let delivery = TrainDelivery { key: key(1), topic: topic.clone(), train: train.clone() };
            let tags = [7].into_iter().collect();
            if whole {
                entries.push_back(Entry { what: Queued::Train(Arc::new(delivery)), tags });
            } else {
                let singles: Vec<Arc<Delivery>> = delivery.deliveries().collect();
                entries.extend(singles.into_iter().map(|one| Entry { what: Queued::One(one), tags: [7].into_iter().collect() }));
            }
        }
        let mut table = subscribed(None);
        let mut out = Chunks::default();
        let mut written = VecDeque::new();
        Outgoing::new(true).write(&mut entries, &mut written, &mut table, &mut out, usize::MAX, &mut Vec::new());
        let events: Vec<Event> = published.iter().flat_map(|(_, train)| train.events().collect::<Vec<_>>()).collect();
        let out = out.concat();
        let mut rest = &out[..];
        for event in &events {
            let (headers, payload, used) = read(rest);
            rest = &rest[used..];
            prop_assert_eq!(payload, event.data_bytes());
            let again = Sent { subject: "a.b", headers: String::from_utf8(headers.to_vec()).expect("text"), payload: payload.to_vec() };
            let again = again.event("?").expect("what is sent can be read");
            if again.id() != "?" {
                prop_assert_eq!(again.id(), event.id());
            }
            prop_assert_eq!(again.source(), event.source());
            prop_assert_eq!(again.ty(), event.ty());
            prop_assert_eq!(again.attribute("note"), event.attribute("note"));
            prop_assert_eq!(again.attribute(message::HEADERS), event.attribute(message::HEADERS));
            prop_assert_eq!(again.data_kind(), event.data_kind());
        }
        prop_assert!(rest.is_empty());
    }
}

fn subscribed(max: Option<u64>) -> Subscriptions {
    let filter = TopicFilter::parse("**").expect("a filter");
    let tagged = Tagged { tag: 7, filter, group: None, is_private: false };
    let mut subscribed = Subscribed::new(&tagged);
    subscribed.end_after(max);
    let mut table = Subscriptions::default();
    table.insert(7, subscribed);
    table
}

/// Headers and payload of the first message, and how long it is. A message has the shape of a publication.
fn read(bytes: &[u8]) -> (&[u8], &[u8], usize) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    let line = std::str::from_utf8(&bytes[..end]).expect("text");
    let words: Vec<&str> = line.split(' ').collect();
    let number = |word: &str| word.parse::<usize>().expect("a number");
    let (headers, total) = match words.as_slice() {
        ["MSG", _, "7", total] => (0, number(total)),
        ["HMSG", _, "7", headers, total] => (number(headers), number(total)),
        other => panic!("{other:?}"),
    };
    let start = end + 2;
    assert_eq!(&bytes[start + total..start + total + 2], b"\r\n");
    (&bytes[start..start + headers], &bytes[start + headers..start + total], start + total + 2)
}

#[test]
fn a_subscription_with_a_maximum_gets_so_many_of_a_train_and_ends() {
    let all: Vec<Sent> =
        (0..10).map(|_| Sent { subject: "a.b", headers: String::new(), payload: b"x".to_vec() }).collect();
    let (topic, train) = by_trains(&all).remove(0);
    let origin = BridgeId::parse("a").expect("an id");
    let key = EventKey { origin, run: Run { epoch: 1, nonce: 2 }, lane: 0, seq: 1 };
    let delivery = Arc::new(TrainDelivery { key, topic, train });
    let mut entries: VecDeque<Entry> =
        [Entry { what: Queued::Train(delivery), tags: [7].into_iter().collect() }].into();
    let (mut table, mut out, mut ended) = (subscribed(Some(3)), Chunks::default(), Vec::new());
    Outgoing::new(true).write(
        &mut entries,
        &mut VecDeque::new(),
        &mut table,
        &mut out,
        usize::MAX,
        &mut ended,
    );
    assert_eq!(String::from_utf8(out.concat()).expect("text").matches("MSG a.b 7 1\r\nx\r\n").count(), 3);
    assert!(table.len() == 0 && ended.len() == 1, "it has ended");
}

#[test]
fn headers_of_a_message_survive_whatever_they_hold() {
    let block = "NATS/1.0\r\nUnit: 100 g & more = less\r\nunit: 2\r\nX-Ümlaut: ä%20\r\n\r\n";
    let sent = Sent { subject: "a.b", headers: block.to_owned(), payload: Vec::new() };
    let event = sent.event("1").expect("an event");
    let mut out = String::new();
    assert_eq!(message::write_headers(event.attributes(), &mut out), message::Headers::Written);
    assert_eq!(format!("NATS/1.0\r\n{out}\r\n"), block);
}

#[test]
fn commands_in_one_buffer_are_read_one_after_the_other() {
    let text = b"CONNECT {}\r\nPUB a 1\r\nx\r\nPING\r\n";
    let mut at = 0;
    let mut count = 0;
    while let Ok(Parsed::Whole(command, used)) = parse(&text[at..], 10) {
        assert!(count < 3, "{command:?}");
        assert_eq!(matches!(command, Command::Publish(_)), count == 1);
        at += used;
        count += 1;
    }
    assert_eq!((count, at), (3, text.len()));
}

#[test]
fn an_id_that_no_train_can_hold_is_left_to_go_by_itself() {
    let id = "i".repeat(300);
    let headers =
        format!("NATS/1.0\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s\r\nce-type: t\r\n\r\n");
    let sent = Sent { subject: "a.b", headers, payload: b"x".to_vec() };
    let event = sent.event("?").expect("an event");
    assert_eq!(event.id(), id);
    let mut trains = Trains::new();
    assert!(!trains.begin(&sent.publish(), &subject::topic("a.b").expect("a subject"), &event));
    assert_eq!(trains.take(&sent.publish()), Taken::Other);
    assert!(trains.finish().is_none());
}
