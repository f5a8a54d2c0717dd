//! What cannot be written is waited for, and what cannot wait is counted.

use std::time::Instant;

use super::*;
use crate::audit::segment::faults::set_full;

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Every record that was handed in is in the chain or in its notes of losses, and the figures agree with both.
#[test]
fn a_full_disk_loses_nothing_until_the_queue_is_full_and_then_counts() {
    let directory = temporary();
    let large = Options { segment_bytes: 16 << 20, ..options() };
    let log = open(directory.path(), large);
    assert!(log.has_room());
    set_full(directory.path(), true);
    let mut kept = Vec::new();
    assert_eq!(log.record(&denial("first")), Recorded::Kept);
    kept.push("first".to_owned());
    eventually("the disk is noticed to be full", || log.figures().state == State::DiskFull);
    assert!(!log.has_room(), "a pipeline that asks stops here");
    assert_eq!(log.record(&permit("p")), Recorded::Lost, "a permit gives way at once");

    let mut number = 0;
    let mut lost = 0;
    while lost < 100 {
        let id = number.to_string();
        match log.record(&denial(&id)) {
            Recorded::Kept => kept.push(id),
            Recorded::Lost => lost += 1,
            Recorded::NotSampled => panic!("a denial is never sampled"),
        }
        number += 1;
    }
    let figures = log.figures();
    assert_eq!((figures.lost_permits, figures.lost_others), (1, 100));
    assert!(figures.queued_bytes <= QUEUE_BYTES_MAX, "{} bytes", figures.queued_bytes);

    set_full(directory.path(), false);
    assert!(log.flush(PATIENCE), "what waited is written");
    assert_eq!(log.figures().state, State::Running);
    assert!(log.has_room());
    log.close();
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty(), "half a write was taken back: {report:?}");
    assert_eq!(report.lost, 101);
    assert_eq!(ids(&entries), kept);
}

#[test]
fn permits_leave_half_of_the_queue_to_what_must_be_kept() {
    let queue = Queue::default();
    let body = || vec![b'x'; 100_000];
    let mut permits = 0;
    while queue.push(body(), false) {
        permits += 1;
    }
    let mut others = 0;
    while queue.push(body(), true) {
        others += 1;
    }
    assert!(!queue.has_room());
    assert!(permits > 30 && others > 30, "{permits} permits, {others} others");
    assert!(queue.figures().queued_bytes <= QUEUE_BYTES_MAX);
    assert_eq!((queue.figures().lost_permits, queue.figures().lost_others), (1, 1));
}

#[test]
fn a_disk_that_is_full_when_a_segment_ends_only_delays() {
    let directory = temporary();
    let log = open(directory.path(), options());
    for number in 0..40 {
        set_full(directory.path(), number % 10 == 5);
        assert_eq!(log.record(&denial(&number.to_string())), Recorded::Kept);
    }
    set_full(directory.path(), false);
    assert!(log.flush(PATIENCE));
    log.close();
    let (report, entries) = walked(directory.path());
    assert!(report.broken.is_empty() && report.segments > 1, "{report:?}");
    assert_eq!(ids(&entries), numbered(0..40));
}

#[test]
fn a_log_that_is_to_end_does_not_wait_for_a_full_disk() {
    let directory = temporary();
    let log = open(directory.path(), options());
    set_full(directory.path(), true);
    assert_eq!(log.record(&denial("1")), Recorded::Kept);
    log.close();
    set_full(directory.path(), false);
    fill(directory.path(), options(), 2, 1);
    let (report, _) = walked(directory.path());
    assert!(report.broken.is_empty(), "{report:?}");
    assert_eq!(report.unclean_starts, 1, "the chain shows that something is missing");
}

#[test]
fn a_log_whose_disk_fails_takes_nothing_more_and_says_so() {
    let queue = Queue::default();
    queue.set_state(State::Failed);
    queue.set_running();
    assert_eq!(queue.state(), State::Failed);
    assert!(!queue.has_room() && !queue.push(Vec::new(), true));
    assert_eq!(queue.figures().lost_others, 1);
    assert!(queue.flush(PATIENCE), "nothing was taken in, so nothing is missing");
}

#[test]
fn a_log_is_not_opened_on_a_full_disk_and_does_not_wait_for_it_either() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 2);
    set_full(directory.path(), true);
    let opening = directory.path().to_owned();
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let opened = AuditLog::open(&opening, options(), Redact::new(|_| None));
        let _ = done.send(matches!(opened, Err(OpenAuditError::Unusable { .. })));
    });
    let is_refused = outcome.recv_timeout(Duration::from_secs(5));
    set_full(directory.path(), false);
    assert_eq!(is_refused, Ok(true));
    fill(directory.path(), options(), 2, 1);
    assert!(is_intact(directory.path()));
    assert_eq!(ids(&walked(directory.path()).1), numbered(0..3));
}

#[test]
fn only_a_required_log_that_has_no_room_holds_publications_up() {
    for is_required in [false, true] {
        let directory = temporary();
        let log = open(directory.path(), Options { is_required, ..options() });
        assert!(log.admits());
        // A log that has ended takes nothing more, as one whose disk failed.
        log.close();
        assert_eq!(log.admits(), !is_required);
    }
}
