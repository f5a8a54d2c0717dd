use bytes::Bytes;
use meshbridge_event::EventBuilder;
use meshbridge_routing::{BridgeId, EventKey, Run};

use super::*;

fn delivery(topic: &str, seq: u64, data: usize) -> Arc<Delivery> {
    let event = EventBuilder::new(&format!("e-{seq}"), "/test", "t")
        .data_binary(Bytes::from(vec![0; data]))
        .build()
        .expect("valid event");
    let key = EventKey {
        origin: BridgeId::parse("a").expect("valid id"),
        run: Run { epoch: 1, nonce: 2 },
        lane: 0,
        seq,
    };
    Arc::new(Delivery { body: Some(seq), key, topic: Topic::parse(topic).expect("valid topic"), event })
}

/// As the driver does it.
fn deliver(subscriptions: &Subscriptions, all: &[Arc<Delivery>]) -> Offered {
    all.iter().map(|one| subscriptions.deliver(one)).fold(Offered::default(), |sum, one| Offered {
        delivered: sum.delivered + one.delivered,
        overflowed: sum.overflowed + one.overflowed,
        withheld: sum.withheld + one.withheld,
        pressed: sum.pressed || one.pressed,
    })
}

fn filters(all: &[&str]) -> Vec<TopicFilter> {
    all.iter().map(|f| TopicFilter::parse(f).expect("valid filter")).collect()
}

#[tokio::test]
async fn overlapping_filters_of_one_subscriber_deliver_an_event_once() {
    let subscriptions = Subscriptions::default();
    let mut reader = subscriptions
        .insert(&Principal::anonymous(), &filters(&["a.**", "a.b"]), 1 << 20, &Arc::default())
        .expect("open");
    let all = [delivery("a.b", 1, 8), delivery("c", 2, 8), delivery("a.c", 3, 8)];
    let offered = deliver(&subscriptions, &all);
    assert_eq!(offered, Offered { delivered: 2, ..Offered::default() });
    assert_eq!(reader.recv().await.map(|d| d.key.seq), Ok(1));
    assert_eq!(reader.recv().await.map(|d| d.key.seq), Ok(3));
}

#[test]
fn replies_come_to_who_asks_and_to_nobody_else() {
    let subscriptions = Subscriptions::default();
    let anonymous = Principal::anonymous();
    let streams = ["_INBOX.**", "_INBOX.x.1", "**"].map(|one| {
        subscriptions.insert(&anonymous, &filters(&[one]), 1 << 20, &Arc::default()).expect("open")
    });
    let reply = delivery("_INBOX.x.1", 1, 8);
    assert_eq!(deliver(&subscriptions, std::slice::from_ref(&reply)), Offered::default());
    let (id, _queue) = subscriptions.attach(&anonymous, 1 << 20).expect("open");
    let own = filters(&["_INBOX.x.*"]);
    subscriptions.hold(id, own.iter().map(|filter| (1, filter, None))).expect("room");
    assert_eq!(deliver(&subscriptions, &[reply]).delivered, 1);
    subscriptions.release(id, own.iter().map(|filter| (1, filter, None)));
    for (stream, one) in streams.iter().zip(["_INBOX.**", "_INBOX.x.1", "**"]) {
        subscriptions.remove(stream, &filters(&[one]));
    }
    assert_eq!(subscriptions.read().held, Held::default());
}

#[tokio::test]
async fn each_principal_gets_its_own_form_or_nothing() {
    let subscriptions = Subscriptions::default();
    let principal = |name: &str| Principal(Arc::from(name));
    let held = filters(&["a"]);
    let open =
        |name: &str| subscriptions.insert(&principal(name), &held, 1 << 20, &Arc::default()).expect("open");
    let (mut one, mut other) = (open("one"), open("other"));
    let offered = subscriptions.deliver_forms(&Topic::parse("a").expect("topic"), |principal| {
        (*principal.0 == *"one").then(|| delivery("a", 7, 1))
    });
    assert_eq!(offered, Offered { delivered: 1, withheld: 1, ..Offered::default() });
    subscriptions.drain();
    assert_eq!(one.recv().await.map(|delivery| delivery.key.seq), Ok(7));
    assert_eq!(other.recv().await.err(), Some(SubscriptionEnd::Draining));
}

#[tokio::test]
async fn a_full_queue_ends_only_its_own_subscription_and_says_so() {
    let subscriptions = Subscriptions::default();
    let mut slow = subscriptions
        .insert(&Principal::anonymous(), &filters(&["**"]), 2_000, &Arc::default())
        .expect("open");
    let mut fast = subscriptions
        .insert(&Principal::anonymous(), &filters(&["**"]), 1 << 20, &Arc::default())
        .expect("open");
    let all: Vec<_> = (1..=10).map(|seq| delivery("a", seq, 300)).collect();
    let offered = deliver(&subscriptions, &all);
    assert!(offered.overflowed >= 1);
    let mut got = 0;
    let end = loop {
        match slow.recv().await {
            Ok(_) => got += 1,
            Err(end) => break end,
        }
    };
    assert!(got < 10);
    assert_eq!(end, SubscriptionEnd::Overflow);
    for seq in 1..=10 {
        assert_eq!(fast.recv().await.map(|d| d.key.seq), Ok(seq));
    }
}

#[tokio::test]
async fn a_removed_subscriber_gets_nothing_and_leaves_no_filter_behind() {
    let subscriptions = Subscriptions::default();
    let held = filters(&["a.*", "**"]);
    let reader =
        subscriptions.insert(&Principal::anonymous(), &held, 1 << 20, &Arc::default()).expect("open");
    assert!(subscriptions.wants(&Topic::parse("a.b").expect("topic")));
    subscriptions.remove(&reader, &held);
    assert!(!subscriptions.wants(&Topic::parse("a.b").expect("topic")));
    assert_eq!(subscriptions.deliver(&delivery("a.b", 1, 1)), Offered::default());
}

#[tokio::test]
async fn an_event_is_taken_when_the_next_one_is_asked_for_and_what_is_left_was_not() {
    let subscriptions = Subscriptions::default();
    let finished: Arc<Finished> = Arc::default();
    let held = filters(&["**"]);
    let mut reader = subscriptions.insert(&Principal::anonymous(), &held, 1 << 20, &finished).expect("open");
    deliver(&subscriptions, &[delivery("a", 1, 1), delivery("a", 2, 1), delivery("a", 3, 1)]);
    assert!(reader.recv().await.is_ok());
    assert_eq!(finished.take(), []);
    assert!(reader.recv().await.is_ok());
    assert_eq!(finished.take(), [(1, true)]);
    subscriptions.remove(&reader, &held);
    drop(reader);
    assert_eq!(finished.take(), [(2, false), (3, false)]);
}

#[tokio::test]
async fn draining_ends_readers_after_what_was_queued() {
    let subscriptions = Subscriptions::default();
    let mut reader = subscriptions
        .insert(&Principal::anonymous(), &filters(&["**"]), 1 << 20, &Arc::default())
        .expect("open");
    subscriptions.deliver(&delivery("a", 1, 1));
    subscriptions.drain();
    assert!(reader.recv().await.is_ok());
    assert_eq!(reader.recv().await.err(), Some(SubscriptionEnd::Draining));
    let refused = subscriptions.insert(&Principal::anonymous(), &filters(&["a"]), 1, &Arc::default()).err();
    assert!(matches!(refused, Some(SubscribeRefused::Draining)), "{refused:?}");
}

fn with_room_for(all: usize, private: usize) -> Subscriptions {
    let subscriptions = Subscriptions::default();
    subscriptions.write().held_max = Held { all, private };
    subscriptions
}

#[track_caller]
fn check_hold(subscriptions: &Subscriptions, queue: u64, held: &[(u64, &str, Option<&str>)], has_room: bool) {
    let held: Vec<_> =
        held.iter().map(|(tag, text, group)| (*tag, filters(&[text]).remove(0), *group)).collect();
    let taken = subscriptions.hold(queue, held.iter().map(|(tag, filter, group)| (*tag, filter, *group)));
    match taken {
        Ok(()) => assert!(has_room),
        Err(refused) => {
            assert!(!has_room);
            // What clients of NATS understand.
            assert_eq!(refused.to_string(), "maximum subscriptions exceeded");
        }
    }
}

#[test]
fn what_all_connections_hold_together_is_bounded_and_room_comes_back() {
    let subscriptions = with_room_for(4, 2);
    check_hold(&subscriptions, 1, &[(1, "a", None), (2, "b", Some("workers"))], true);
    check_hold(&subscriptions, 2, &[(1, "b", Some("workers")), (2, "c", None), (3, "d", None)], false);
    assert!(!subscriptions.wants(&Topic::parse("c").expect("topic")), "all or nothing");
    check_hold(&subscriptions, 2, &[(1, "b", Some("workers")), (2, "c", None)], true);
    check_hold(&subscriptions, 3, &[(1, "e", None)], false);
    let (b, c) = (filters(&["b"]), filters(&["c"]));
    // Taken away twice, it makes room once.
    for _ in 0..2 {
        subscriptions.release(2, [(1, &b[0], Some("workers"))].into_iter());
    }
    check_hold(&subscriptions, 3, &[(1, "e", None), (2, "f", None)], false);
    subscriptions.release(2, [(2, &c[0], None)].into_iter());
    check_hold(&subscriptions, 3, &[(1, "e", None), (2, "f", None)], true);
}

#[test]
fn places_for_replies_have_a_bound_of_their_own() {
    let subscriptions = with_room_for(100, 2);
    check_hold(&subscriptions, 1, &[(1, "_INBOX.x.*", None), (2, "a", None)], true);
    check_hold(&subscriptions, 2, &[(1, "_INBOX.y.*", None), (2, "_INBOX.z.*", None)], false);
    check_hold(&subscriptions, 2, &[(1, "_INBOX.y.*", None)], true);
    check_hold(&subscriptions, 2, &[(2, "_INBOX.z.*", None)], false);
    check_hold(&subscriptions, 2, &[(2, "b", None)], true);
}

#[test]
fn a_subscription_that_does_not_fit_leaves_no_queue() {
    let subscriptions = with_room_for(1, 1);
    let refused = subscriptions.insert(&Principal::anonymous(), &filters(&["a", "b"]), 1, &Arc::default());
    assert!(matches!(refused.err(), Some(SubscribeRefused::InterestFull(_))));
    assert_eq!(subscriptions.len(), 0);
}

#[tokio::test]
async fn what_a_reader_took_counts_until_it_is_finished() {
    let subscriptions = Subscriptions::default();
    let (id, queue) = subscriptions.attach(&Principal::anonymous(), 4_000).expect("open");
    let filter = filters(&["**"]).remove(0);
    subscriptions.hold(id, [(1, &filter, None)].into_iter()).expect("room");
    let mut entries = VecDeque::new();
    let mut seq = 0;
    // Far more than the bound in all, for each is finished before the next one comes.
    for _ in 0..50 {
        seq += 1;
        assert_eq!(subscriptions.deliver(&delivery("a", seq, 500)).delivered, 1);
        queue.take_all(&mut entries).await.expect("an event");
        queue.on_finished(&entries);
        entries.clear();
    }
    let mut taken = Vec::new();
    while subscriptions.deliver(&delivery("a", seq, 500)).delivered == 1 {
        seq += 1;
        queue.take_all(&mut entries).await.expect("an event");
        taken.extend(entries.drain(..));
        assert!(taken.len() < 8, "more is with the reader than the queue may hold");
    }
    assert!(taken.len() > 2, "{} fit", taken.len());
}
