use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_client_that_says_nothing_is_overdue() {
    let start = Instant::now();
    let clock = HeadClock::start(start);
    assert_eq!(clock.deadline(), Some(start + limit::HEADER_READ_MAX));
}

#[test]
fn bytes_that_trickle_do_not_put_the_end_off() {
    let start = Instant::now();
    let clock = HeadClock::start(start);
    clock.on_bytes(b"GET / HT", start + SECOND);
    clock.on_bytes(b"TP/1.1\r\n", start + 4 * SECOND);
    assert_eq!(clock.deadline(), Some(start + limit::HEADER_READ_MAX));
}

#[test]
fn only_the_whole_preface_is_h2() {
    let start = Instant::now();
    for at in 1..H2_PREFACE.len() {
        let clock = Arc::new(HeadClock::start(start));
        clock.on_bytes(&H2_PREFACE[..at], start);
        assert_eq!(clock.deadline(), Some(start + limit::HEADER_READ_MAX), "after {at} bytes");
        clock.on_bytes(&[&H2_PREFACE[at..], &[0, 0, 0, 4]].concat(), start + SECOND);
        assert_eq!(clock.deadline(), None, "{at} bytes before the others");
        drop(clock.on_request());
        clock.on_bytes(b"frames", start + SECOND);
        assert_eq!(clock.deadline(), None, "h2 has no heads to wait for");
    }
    let other = HeadClock::start(start);
    other.on_bytes(b"PRI * HTTP/2.0\r\n\r\nNO\r\n\r\n and more", start);
    assert_eq!(other.deadline(), Some(start + limit::HEADER_READ_MAX));
}

#[test]
fn time_between_requests_and_while_answering_does_not_count() {
    let start = Instant::now();
    let clock = Arc::new(HeadClock::start(start));
    clock.on_bytes(b"GET / HTTP/1.1\r\n\r\n", start);
    let answering = clock.on_request();
    clock.on_bytes(b"the next request, early", start + SECOND);
    assert_eq!(clock.deadline(), None, "while the first request is answered");
    drop(answering);
    assert_eq!(clock.deadline(), None, "between requests");
    clock.on_bytes(b"G", start + 9 * SECOND);
    assert_eq!(clock.deadline(), Some(start + 9 * SECOND + limit::HEADER_READ_MAX));
}
