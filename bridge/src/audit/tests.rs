//! The promises of the decision log, on real files.

mod crash;
mod full;
mod gathered;
mod records;
mod tamper;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::format::segment_name;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Small segments, every permit, nothing that waits for a clock.
pub(super) fn options() -> Options {
    Options {
        segment_bytes: 4 << 10,
        segments_max: 64,
        sync_every: Duration::from_millis(5),
        permits_per_sample: 1,
        is_required: false,
    }
}

pub(super) fn open(directory: &Path, options: Options) -> AuditLog {
    AuditLog::open(directory, options, Redact::new(|_| None)).expect("the log opens")
}

/// A denial of an event with this id.
pub(super) fn denial(id: &str) -> Record<'_> {
    const RULE: Rule<'_> =
        Rule { rule: "eu-payments/no-cards", layer: "region/eu", place: Some(("20-region-eu.yaml", 14)) };
    Record {
        time_unix_ms: 1_767_225_600_250,
        event: Some(EventName { id, source: "/shop", kind: "order.created" }),
        topic: "orders.eu.created",
        context: "egress",
        from: "eu-1",
        to: "us-1",
        verdict: Verdict::Reject,
        edited: false,
        by: Some(RULE),
        also_by: &[],
        editors: &[],
        protected: "",
        findings: &[],
        warned: &[],
        shadowed: &[],
        waived: &[],
        generation: [0xab; 32],
        cost: 12,
        principal: None,
        ruling: None,
    }
}

pub(super) fn permit(id: &str) -> Record<'_> {
    Record { verdict: Verdict::Forward, by: None, ..denial(id) }
}

/// A log of `count` denials, closed; they are numbered from `from`.
fn fill(directory: &Path, options: Options, from: usize, count: usize) {
    let log = open(directory, options);
    for number in from..from + count {
        assert_eq!(log.record(&denial(&number.to_string())), Recorded::Kept);
    }
    log.close();
}

pub(super) fn temporary() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn walked(directory: &Path) -> (Report, Vec<Value>) {
    let mut entries = Vec::new();
    let report = walk(directory, &mut |entry| {
        entries.push(serde_json::from_slice(entry.body).expect("bodies are JSON"));
        Ok(())
    });
    (report.expect("the log can be read"), entries)
}

fn is_intact(directory: &Path) -> bool {
    walked(directory).0.broken.is_empty()
}

/// The ids of the decisions in the chain, in order.
fn ids(entries: &[Value]) -> Vec<String> {
    let decisions = entries.iter().filter(|entry| entry["kind"] == "decision");
    decisions.map(|entry| entry["event"]["id"].as_str().expect("an id").to_owned()).collect()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn kinds(entries: &[Value]) -> Vec<&str> {
    entries.iter().filter_map(|entry| entry["kind"].as_str()).filter(|kind| *kind != "decision").collect()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let numbers = segment_numbers(directory).expect("the directory can be read");
    numbers.into_iter().map(|number| directory.join(segment_name(number))).collect()
}

fn copy_of(directory: &Path) -> TempDir {
    let copy = temporary();
    for path in segments(directory) {
        fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("can be copied");
    }
    copy
}

/// Where each record of a segment ends; the first place is the end of the header.
fn boundaries(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).expect("can be read");
    let mut at = format::HEADER_BYTES;
    let mut found = vec![at];
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        at += length as usize + format::FRAME_BYTES;
        found.push(at);
    }
    assert_eq!(at, bytes.len(), "a closed segment ends with a record");
    found
}
