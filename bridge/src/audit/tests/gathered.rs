//! Decisions that differ in their events' ids only share a record, and none is lost by it.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::audit::gather::{EVENTS_MAX, KINDS_MAX, MARK_BYTES, WINDOW_BYTES, hash_of_id};

const MASKS: Rule<'_> =
    Rule { rule: "eu-payments/mask-cards", layer: "region/eu", place: Some(("20-region-eu.yaml", 31)) };

/// An id that is itself personal data.
const PRIVATE: &str = "ana-novak";

/// An event with this id that went on with its card masked.
fn edited(id: &str) -> Record<'_> {
    Record {
        edited: true,
        editors: &[MASKS],
        protected: "/data/card payment.card mask:0:4,/subject - redact",
        ..permit(id)
    }
}

/// Decisions that a record is about.
fn count(entry: &Value) -> u64 {
    entry["events"]["count"].as_u64().unwrap_or(1)
}

fn decisions(entries: &[Value]) -> Vec<&Value> {
    entries.iter().filter(|entry| entry["kind"] == "decision").collect()
}

fn total(entries: &[Value]) -> u64 {
    decisions(entries).into_iter().map(count).sum()
}

/// How many records are about an event.
fn records_of(entries: &[Value], id: &str) -> usize {
    let sought = EventSought::new(id);
    decisions(entries).into_iter().filter(|entry| sought.is_in(entry)).count()
}

#[test]
fn events_of_one_kind_share_a_record_that_says_which_they_are_and_who_edited_them() {
    let directory = temporary();
    let log = open(directory.path(), options());
    for (id, time) in [("a", 3), ("b", 1), ("c", 2)] {
        assert_eq!(log.record(&Record { time_unix_ms: time, cost: 10, ..edited(id) }), Recorded::Kept);
    }
    log.close();
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty(), "{report:?}");
    let hashes: Vec<_> = ["a", "b", "c"].iter().map(|id| hash_of_id(id)).collect();
    let marks: Vec<u8> = hashes.iter().flat_map(|hash| hash[..MARK_BYTES].to_owned()).collect();
    let parts: Vec<&[u8]> = hashes.iter().map(|hash| hash.as_slice()).collect();
    let expected = json!({
        "kind": "decision",
        "time": "1970-01-01T00:00:00.001Z",
        "until": "1970-01-01T00:00:00.003Z",
        "event": {"source": "/shop", "type": "order.created"},
        "events": {
            "count": 3,
            "first": "a",
            "last": "c",
            "marks": BASE64_URL_SAFE_NO_PAD.encode(marks),
            "sha256": format::hex(&format::sha256(&parts)),
        },
        "topic": "orders.eu.created",
        "context": "egress",
        "from": "eu-1",
        "to": "us-1",
        "verdict": "forward",
        "edited": true,
        "editedBy": [{"rule": MASKS.rule, "layer": MASKS.layer, "file": "20-region-eu.yaml", "line": 31}],
        "findings": [
            {"class": "payment.card", "path": "/data/card", "protection": "mask:0:4"},
            {"path": "/subject", "protection": "redact"},
        ],
        "generation": "ab".repeat(32),
        "cost": 30,
    });
    assert_eq!(entries[1], expected);
    assert_eq!(["a", "b", "c", "d"].map(|id| records_of(&entries, id)), [1, 1, 1, 0]);
}

/// What `record_all` writes is what so many calls of `record` would, over several windows and beside ids that are told
/// of nobody.
#[test]
fn many_at_once_are_recorded_as_one_by_one() {
    let many: Vec<String> =
        (0..EVENTS_MAX + 7).map(|n| if n == 5 { PRIVATE.to_owned() } else { format!("id-{n}") }).collect();
    let logs = [true, false].map(|at_once| {
        let directory = temporary();
        let class_of = |text: &str| (text == PRIVATE).then(|| "person.name".to_owned());
        let log = AuditLog::open(directory.path(), options(), Redact::new(class_of)).expect("opens");
        assert_eq!(log.record(&Record { cost: 3, ..edited("first") }), Recorded::Kept);
        if at_once {
            let mut ids = Ids::default();
            many.iter().for_each(|id| ids.push(id));
            log.record_all(&Record { cost: 3 * many.len() as u64, ..edited("any") }, &ids);
        } else {
            many.iter()
                .for_each(|id| assert_eq!(log.record(&Record { cost: 3, ..edited(id) }), Recorded::Kept));
        }
        log.close();
        let (report, entries) = walked(directory.path());
        assert!(report.broken.is_empty(), "{report:?}");
        let mut all: Vec<Value> = decisions(&entries).into_iter().cloned().collect();
        // Those that are not gathered stand where they were recorded.
        all.sort_by_key(|entry| std::cmp::Reverse(count(entry)));
        all
    });
    assert_eq!(total(&logs[0]), u64::from(EVENTS_MAX) + 8);
    assert_eq!(logs[0].len(), 3);
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn one_event_alone_has_a_record_as_ever() {
    let directory = temporary();
    let log = open(directory.path(), options());
    assert_eq!(log.record(&edited("alone")), Recorded::Kept);
    log.close();
    let (_, entries) = walked(directory.path());
    assert_eq!(ids(&entries), ["alone"]);
    assert!(entries[1]["events"].is_null() && entries[1]["until"].is_null(), "{}", entries[1]);
    assert_eq!(records_of(&entries, "alone"), 1);
}

#[test]
fn an_event_whose_id_is_too_long_to_be_shown_is_found_by_it() {
    let directory = temporary();
    let log = open(directory.path(), options());
    let [denied, went_on, other] = ["d", "e", "f"].map(|letter| letter.repeat(1_100));
    assert_eq!(log.record(&denial(&denied)), Recorded::Kept);
    assert_eq!(log.record(&edited(&went_on)), Recorded::Kept);
    log.close();
    let (_, entries) = walked(directory.path());
    assert_eq!([&denied, &went_on, &other].map(|id| records_of(&entries, id)), [1, 1, 0]);
    // And by what the record shows of it.
    assert_eq!(ids(&entries).iter().map(|shown| records_of(&entries, shown)).collect::<Vec<_>>(), [1, 1]);
}

/// Four workers, several kinds and denials between them; the log is closed and opened again on the way.
#[test]
fn every_edited_event_is_counted_once_and_every_denial_stands_alone() {
    const ROUNDS: usize = 3;
    const EVENTS: usize = 2_000;
    let directory = temporary();
    let options = Options { segment_bytes: 64 << 10, ..options() };
    let topics = ["orders.a", "orders.b", "orders.c"];
    for round in 0..ROUNDS {
        let log = open(directory.path(), options);
        thread::scope(|scope| {
            for worker in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..EVENTS {
                        let id = format!("{round}-{worker}-{number}");
                        let topic = topics[number % topics.len()];
                        assert_eq!(log.record(&Record { topic, ..edited(&id) }), Recorded::Kept);
                        if number % 100 == 0 {
                            assert_eq!(log.record(&denial(&format!("denied-{id}"))), Recorded::Kept);
                        }
                    }
                });
            }
        });
        assert!(log.flush(PATIENCE));
        assert_eq!(total(&walked(directory.path()).1), ((round + 1) * 4 * (EVENTS + EVENTS / 100)) as u64);
        log.close();
        let gathered = log.figures().gathered;
        assert!(gathered > 0 && gathered <= (4 * EVENTS) as u64, "{gathered}");
    }
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty() && report.lost == 0, "{report:?}");
    let denials = decisions(&entries).into_iter().filter(|entry| entry["verdict"] == "reject");
    assert_eq!(denials.clone().count(), ROUNDS * 4 * EVENTS / 100);
    assert!(denials.into_iter().all(|entry| count(entry) == 1 && entry["event"]["id"].is_string()));
    let records = decisions(&entries).len();
    assert!(records < ROUNDS * 4 * EVENTS / 20, "{records} records");
    assert!(decisions(&entries).into_iter().all(|entry| count(entry) <= u64::from(EVENTS_MAX)));
    for id in ["0-0-0", "1-3-1999", "2-2-777"] {
        assert_eq!(records_of(&entries, id), 1, "{id}");
    }
    assert_eq!(records_of(&entries, "3-0-0"), 0);
}

#[test]
fn no_record_is_about_decisions_of_two_policies_or_on_both_sides_of_a_change() {
    let directory = temporary();
    let log = open(directory.path(), options());
    let generations = [[1; 32], [2; 32], [1; 32]];
    for (at, generation) in generations.iter().enumerate() {
        log.note_policies(at as u64, generation, Vec::new());
        for number in 0..10 {
            log.record(&Record { generation: *generation, ..edited(&format!("{at}-{number}")) });
            // A worker may still be asking the policies of before.
            log.record(&Record { generation: [9; 32], ..edited(&format!("late-{at}-{number}")) });
        }
    }
    log.close();
    let (_, entries) = walked(directory.path());
    let mut change = None;
    let mut counts: BTreeMap<(u64, String), u64> = BTreeMap::new();
    for entry in &entries {
        match entry["kind"].as_str() {
            Some("policies") => change = entry["generation"].as_u64(),
            Some("decision") => {
                let generation = entry["generation"].as_str().expect("a digest").to_owned();
                *counts.entry((change.expect("a note comes first"), generation)).or_default() += count(entry);
                let at = entry["events"]["first"].as_str().expect("an id");
                let late = at.strip_prefix("late-").unwrap_or(at);
                assert!(late.starts_with(&change.expect("noted").to_string()), "{entry} after {change:?}");
            }
            _ => {}
        }
    }
    let expected = generations.iter().enumerate().flat_map(|(at, generation)| {
        [*generation, [9; 32]].map(|digest| ((at as u64, format::hex(&digest)), 10))
    });
    assert_eq!(counts, expected.collect());
}

#[test]
fn whatever_differs_beside_the_id_has_a_record_of_its_own() {
    let other = [Rule { rule: "eu-payments/other", ..MASKS }];
    let elsewhere = [Rule { place: Some(("20-region-eu.yaml", 32)), ..MASKS }];
    let name = EventName { id: "x", source: "/shop", kind: "order.created" };
    let base = edited("x");
    let kinds = [
        base,
        Record { topic: "orders.eu.closed", ..base },
        Record { context: "ingress", ..base },
        Record { from: "eu-2", ..base },
        Record { to: "us-2", ..base },
        Record { edited: false, warned: &["a/w"], ..base },
        Record { editors: &other, ..base },
        Record { editors: &elsewhere, ..base },
        Record { editors: &[], ..base },
        Record { protected: "/data/card payment.card redact", ..base },
        Record { warned: &["a/w"], ..base },
        Record { shadowed: &["a/w"], ..base },
        Record { waived: &["a/w"], ..base },
        Record { generation: [1; 32], ..base },
        Record { principal: Some("shop"), ..base },
        Record { event: Some(EventName { source: "/till", ..name }), ..base },
        Record { event: Some(EventName { kind: "order.closed", ..name }), ..base },
    ];
    let directory = temporary();
    let log = open(directory.path(), options());
    for _ in 0..2 {
        kinds.iter().for_each(|kind| assert_eq!(log.record(kind), Recorded::Kept));
    }
    log.close();
    let (_, entries) = walked(directory.path());
    let records = decisions(&entries);
    assert_eq!((records.len(), total(&entries)), (kinds.len(), 2 * kinds.len() as u64));
    let texts: BTreeSet<String> = records.iter().map(|record| record.to_string()).collect();
    assert_eq!(texts.len(), kinds.len());
}

#[test]
fn more_kinds_than_are_gathered_lose_nothing() {
    let directory = temporary();
    let log = open(directory.path(), Options { segment_bytes: 1 << 20, ..options() });
    let topics: Vec<String> = (0..3 * KINDS_MAX).map(|number| format!("orders.{number}")).collect();
    for round in 0..5 {
        for topic in &topics {
            assert_eq!(log.record(&Record { topic, ..edited(&format!("{topic}-{round}")) }), Recorded::Kept);
        }
    }
    log.close();
    let (_, entries) = walked(directory.path());
    assert_eq!(total(&entries), 5 * topics.len() as u64);
    assert_eq!(records_of(&entries, "orders.7-3"), 1);
}

#[test]
fn nothing_is_kept_that_an_id_which_is_personal_data_could_be_guessed_from() {
    let directory = temporary();
    let class_of = |text: &str| text.contains('@').then(|| "contact.email".to_owned());
    let log = AuditLog::open(directory.path(), options(), Redact::new(class_of)).expect("opens");
    let id = "ada@example.com";
    for event in [id, "1", id, "2"] {
        assert_eq!(log.record(&edited(event)), Recorded::Kept);
    }
    log.close();
    let (_, entries) = walked(directory.path());
    assert_eq!(total(&entries), 4);
    assert_eq!(records_of(&entries, id), 0, "{entries:?}");
    let shown = decisions(&entries).into_iter().filter(|entry| entry["event"]["id"].is_string());
    assert!(shown.clone().all(|entry| entry["event"]["id"] == "[redacted:contact.email]"));
    assert_eq!(shown.count(), 2);
}

/// Nobody closes or flushes the log: what a process leaves behind that is killed some time later is on the disk.
#[test]
fn what_is_gathered_comes_to_the_disk_by_itself() {
    let directory = temporary();
    let log = open(directory.path(), options());
    for number in 0..50 {
        assert_eq!(log.record(&edited(&number.to_string())), Recorded::Kept);
    }
    let begun = Instant::now();
    let durable = || log.figures().durable.seq;
    while durable() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", log.figures());
        thread::sleep(Duration::from_millis(1));
    }
    let left = copy_of(directory.path());
    fill(left.path(), options(), 100, 1);
    let (report, entries) = walked(left.path());
    assert!(report.broken.is_empty(), "{report:?}");
    assert_eq!(total(&entries), 51);
}

#[test]
fn a_full_queue_loses_counted_events_and_not_windows() {
    let directory = temporary();
    let log = open(directory.path(), options());
    assert!(log.flush(PATIENCE));
    log.close();
    for number in 0..10 {
        assert_eq!(log.record(&edited(&number.to_string())), Recorded::Lost);
    }
    assert_eq!(log.figures().lost_others, 10);
    assert_eq!(total(&walked(directory.path()).1), 0);
}

#[test]
fn what_a_full_disk_holds_up_is_kept_or_counted() {
    let directory = temporary();
    let log = open(directory.path(), Options { segment_bytes: 16 << 20, ..options() });
    segment::faults::set_full(directory.path(), true);
    // More than the queue holds, and what may be on its way to the disk.
    let long = "x".repeat(4_000);
    let kinds: Vec<String> = (0..6_000).map(|number| format!("orders.{number}.{long}")).collect();
    let (mut kept, mut lost) = (0, 0);
    for topic in &kinds {
        for id in ["1", "2"] {
            match log.record(&Record { topic, ..edited(id) }) {
                Recorded::Kept => kept += 1,
                _ => lost += 1,
            }
        }
    }
    assert!(lost > 0 && kept > 0, "{kept} kept, {lost} lost");
    segment::faults::set_full(directory.path(), false);
    assert!(log.flush(PATIENCE));
    log.close();
    let (report, entries) = walked(directory.path());
    assert_eq!((total(&entries), report.lost), (kept, lost));
}

#[test]
fn many_kinds_of_one_event_each_wait_for_a_full_disk_without_a_loss() {
    const KINDS: usize = 2_000;
    let directory = temporary();
    let log = open(directory.path(), Options { segment_bytes: 16 << 20, ..options() });
    segment::faults::set_full(directory.path(), true);
    for number in 0..KINDS {
        // About 300 bytes in all.
        let topic = format!("orders.{number}.{}", "x".repeat(200));
        assert_eq!(log.record(&Record { topic: &topic, ..edited("1") }), Recorded::Kept, "kind {number}");
    }
    assert_eq!(log.record(&denial("denied")), Recorded::Kept, "gathered decisions leave room for denials");
    assert_eq!(log.figures().lost_others, 0);
    segment::faults::set_full(directory.path(), false);
    assert!(log.flush(PATIENCE));
    log.close();
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty() && report.lost == 0, "{report:?}");
    assert_eq!(total(&entries), KINDS as u64 + 1);
}

#[test]
fn a_closed_window_has_the_room_that_it_needs() {
    let queue = Queue::default();
    let closed = |topic: &str| {
        let record = Record { topic, ..edited("1") };
        let event = record.event.expect("it is about an event");
        assert_eq!(queue.gather(1, &record, &event, [(event.id, hash_of_id(event.id))]), 0);
        assert_eq!(queue.figures().queued_bytes, WINDOW_BYTES, "while it is open");
        queue.close_windows();
        let bytes = queue.figures().queued_bytes;
        assert_eq!(queue.take(None).bodies.len(), 1);
        assert_eq!(queue.figures().queued_bytes, 0);
        bytes
    };
    let (short, long) = (closed("orders.eu.created"), closed(&"x".repeat(2 * WINDOW_BYTES)));
    assert!((200..WINDOW_BYTES / 4).contains(&short), "{short} bytes");
    assert!(long > 2 * WINDOW_BYTES, "{long} bytes");
}
