//! What is kept, what is left out, and in which form.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::audit::format::BODY_BYTES_MAX;

#[test]
fn a_decision_is_kept_with_all_that_it_rests_on() {
    let directory = temporary();
    let log = open(directory.path(), options());
    let also = [Rule { rule: "default-deny@federation", layer: "federation", place: None }];
    let findings = [Finding {
        class: "payment.card",
        path: "$.data.card",
        confidence: "high",
        protection: Some("mask"),
    }];
    let record = Record {
        also_by: &also,
        findings: &findings,
        warned: &["a/w"],
        shadowed: &["a/s"],
        waived: &["cn-migration"],
        principal: Some("spiffe://acme/svc"),
        ..denial("7")
    };
    assert_eq!(log.record(&record), Recorded::Kept);
    log.close();
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty(), "{report:?}");
    assert_eq!(kinds(&entries), ["started", "stopped"]);
    let expected = serde_json::json!({
        "kind": "decision",
        "time": "2026-01-01T00:00:00.250Z",
        "event": {"id": "7", "source": "/shop", "type": "order.created"},
        "topic": "orders.eu.created",
        "context": "egress",
        "from": "eu-1",
        "to": "us-1",
        "verdict": "reject",
        "by": {"rule": "eu-payments/no-cards", "layer": "region/eu", "file": "20-region-eu.yaml", "line": 14},
        "alsoBy": [{"rule": "default-deny@federation", "layer": "federation"}],
        "findings": [
            {"class": "payment.card", "path": "$.data.card", "confidence": "high", "protection": "mask"}
        ],
        "warned": ["a/w"],
        "shadowed": ["a/s"],
        "waived": ["cn-migration"],
        "generation": "ab".repeat(32),
        "cost": 12,
        "principal": "spiffe://acme/svc",
    });
    assert_eq!(entries[1], expected);
}

#[test]
fn a_restart_continues_the_chain_and_says_how_the_last_run_ended() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 5);
    let before = walked(directory.path()).0.last;
    fill(directory.path(), options(), 5, 5);
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty(), "{report:?}");
    assert_eq!(ids(&entries), numbered(0..10));
    assert_eq!(report.last.seq, before.seq + 7);
    let clean: Vec<_> =
        entries.iter().filter(|e| e["kind"] == "started").map(|e| e["clean"].clone()).collect();
    assert_eq!(clean, [true, true]);
}

#[test]
fn a_second_writer_is_refused() {
    let directory = temporary();
    let log = open(directory.path(), options());
    let second = AuditLog::open(directory.path(), options(), Redact::new(|_| None));
    assert!(matches!(second, Err(OpenAuditError::InUse(_))));
    drop(log);
    open(directory.path(), options()).close();
}

#[test]
fn what_is_itself_personal_data_is_redacted_wherever_it_comes_from_outside() {
    let directory = temporary();
    let class_of = |text: &str| text.contains("ada").then(|| "contact.email".to_owned());
    let log = AuditLog::open(directory.path(), options(), Redact::new(class_of)).expect("opens");
    let findings = [Finding { class: "name", path: "$.data.ada", confidence: "low", protection: None }];
    let record = Record {
        event: Some(EventName { id: "ada@example.com", source: "/ada", kind: "for.ada" }),
        topic: "mail.ada",
        findings: &findings,
        ..denial("")
    };
    assert_eq!(log.record(&record), Recorded::Kept);
    log.close();
    for path in segments(directory.path()) {
        let bytes = fs::read(path).expect("can be read");
        assert!(!bytes.windows(3).any(|window| window == b"ada"));
    }
    let entry = &walked(directory.path()).1[1];
    for shown in
        [&entry["event"]["id"], &entry["event"]["source"], &entry["topic"], &entry["findings"][0]["path"]]
    {
        assert_eq!(shown, "[redacted:contact.email]");
    }
}

#[test]
fn a_permit_that_is_not_chosen_is_not_even_looked_at() {
    let directory = temporary();
    let looked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looked);
    let redact = Redact::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    });
    let none = Options { permits_per_sample: 0, ..options() };
    let log = AuditLog::open(directory.path(), none, redact).expect("opens");
    for number in 0..1_000 {
        assert_eq!(log.record(&permit(&number.to_string())), Recorded::NotSampled);
    }
    assert_eq!(looked.load(Ordering::Relaxed), 0);
    assert_eq!(log.figures().unsampled, 1_000);
    for touched in [Record { waived: &["w"], ..permit("a") }, Record { warned: &["r"], ..permit("b") }] {
        assert_eq!(log.record(&touched), Recorded::Kept);
    }
    for verdict in [Verdict::Reject, Verdict::DeadLetter, Verdict::Quarantine, Verdict::Hold] {
        assert_eq!(log.record(&Record { verdict, ..permit("c") }), Recorded::Kept);
    }
    let ruling = Ruling { what: "release", key: "a:1-0:0:1", destination: "b", reason: Some("checked") };
    assert_eq!(log.record(&Record { ruling: Some(ruling), ..permit("d") }), Recorded::Kept);
    log.close();
    let entries = walked(directory.path()).1;
    // What went on was gathered meanwhile.
    assert_eq!(ids(&entries), ["c", "c", "c", "c", "d", "a", "b"]);
    let told = entries.iter().find(|entry| entry["event"]["id"] == "d").expect("kept");
    let expected = json!({"what": "release", "key": "a:1-0:0:1", "destination": "b", "reason": "checked"});
    assert_eq!(told["ruling"], expected);
}

#[test]
fn an_event_is_sampled_in_each_context_or_in_none() {
    let directory = temporary();
    let log = open(directory.path(), Options { permits_per_sample: 8, ..options() });
    let mut kept = 0;
    for number in 0..4_000 {
        let id = number.to_string();
        let first = log.record(&permit(&id));
        assert_eq!(log.record(&Record { context: "ingress", ..permit(&id) }), first, "event {id}");
        kept += usize::from(first == Recorded::Kept);
    }
    // 500 are expected; eight standard deviations either way.
    assert!((330..670).contains(&kept), "{kept} of 4,000 were kept");
}

#[test]
fn texts_and_lists_from_outside_are_bounded_and_say_so() {
    let long = "\u{1}é".repeat(100_000);
    let rules = [Rule { rule: &long, layer: &long, place: Some((&long, u32::MAX)) }; 100];
    let findings = [Finding { class: &long, path: &long, confidence: &long, protection: Some(&long) }; 100];
    let names = [&*long; 100];
    let record = Record {
        time_unix_ms: u64::MAX,
        event: Some(EventName { id: &long, source: &long, kind: &long }),
        topic: &long,
        context: &long,
        from: &long,
        to: &long,
        by: Some(rules[0]),
        also_by: &rules,
        findings: &findings,
        warned: &names,
        shadowed: &names,
        waived: &names,
        principal: Some(&long),
        ruling: Some(Ruling { what: &long, key: &long, destination: &long, reason: Some(&long) }),
        ..denial("")
    };
    let body = record.encode(&Redact::new(|_| None));
    assert!(body.len() <= BODY_BYTES_MAX, "{} bytes", body.len());
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["omitted"], 5 * 84);
    assert!(body["event"]["id"].as_str().expect("an id").ends_with(" bytes more]"));
}

#[test]
fn old_segments_go_and_the_chain_says_where_it_begins() {
    let directory = temporary();
    let small = Options { segments_max: 3, ..options() };
    fill(directory.path(), small, 0, 100);
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty(), "{report:?}");
    assert!(report.first > 1 && report.segments <= 3, "{report:?}");
    let ids = ids(&entries);
    assert_eq!(ids, numbered(100 - ids.len()..100), "what is left is the newest, without a gap");
    let has_own = |entry: &Value| entry.get("seq").is_some() || entry.get("hash").is_some();
    assert!(!entries.iter().any(has_own), "an export puts these in front of every record");
    fill(directory.path(), small, 100, 3);
    assert!(is_intact(directory.path()), "a restart knows the beginning");
}

#[test]
fn a_checkpoint_survives_its_text() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 3);
    let last = walked(directory.path()).0.last;
    assert_eq!(last.to_string().parse(), Ok(last));
    for text in ["", "7", "7:", "x:00", "7:zz", &last.to_string()[1..], &(last.to_string() + "0")] {
        let parsed: Result<Checkpoint, _> = text.parse();
        assert!(parsed.is_err(), "{text}");
    }
}

#[test]
fn the_figures_name_the_durable_end_of_the_chain() {
    let directory = temporary();
    let log = open(directory.path(), options());
    assert_eq!(log.record(&denial("1")), Recorded::Kept);
    assert!(log.flush(PATIENCE));
    let figures = log.figures();
    assert_eq!(figures.durable, walked(directory.path()).0.last);
    assert_eq!((figures.durable.seq, figures.written, figures.segments), (2, 2, 1));
    assert_eq!(figures.state, State::Running);
}
