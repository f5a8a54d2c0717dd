//! The NATS client protocol, as published at docs.nats.io: lines that end in CR LF, and payloads whose length the line before them says.
//!
//! ```text
//! C: CONNECT {…}          S: INFO {…}                       S: PING            C: PONG
//! C: SUB subject sid      C: PUB subject [reply] bytes      S: MSG subject sid [reply] bytes
//! C: HPUB subject [reply] header-bytes bytes                S: HMSG subject sid [reply] header-bytes bytes
//! ```

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{ARRIVAL_BYTES_MAX, Arrival, Form, Frame, WireError};
use crate::payload::{DIGITS, template};

/// Longest line of a server; INFO of a large cluster is the longest there is.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Words of a line that mean something.
const WORDS_MAX: usize = 6;
const ZEROES: &str = "0000000000000000";
/// Subjects on which publications are answered. A subject of one connection is enough: connections have accounts of their own in none of the systems here.
const ANSWERS: &str = "_INBOX.meshbridge-load";

pub(crate) fn hello(client: &str) -> Vec<u8> {
    let options = serde_json::json!({
        "verbose": false, "pedantic": false, "name": client, "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
        "protocol": 1, "echo": true, "headers": true,
    });
    format!("CONNECT {options}\r\nPING\r\n").into_bytes()
}

pub(crate) fn subscribe(topic: &str, number: u16) -> Vec<u8> {
    format!("SUB {topic} {number}\r\nPING\r\n").into_bytes()
}

/// Many subscriptions in one piece, without asking for an answer.
pub(crate) fn subscribe_quietly(topic: &str, number: u64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(out, "SUB {topic} {number}\r\n").expect("a vector takes everything");
}

/// Subscribes to the answers to publications of all runs of this process.
pub(crate) fn expect_answers() -> Vec<u8> {
    format!("SUB {ANSWERS}.{}.* 0\r\nPING\r\n", std::process::id()).into_bytes()
}

/// A request to the server itself; its answer is [`Arrival::Taken`] or [`Arrival::Refused`].
pub(crate) fn request(subject: &str, body: &str) -> Vec<u8> {
    format!("PUB {subject} {ANSWERS}.{}.request {}\r\n{body}\r\n", std::process::id(), body.len())
        .into_bytes()
}

/// Another one each time, also in another process: ids of one frame are not those of another.
fn nonce() -> u64 {
    static FRAMES: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).wrapping_add(FRAMES.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn frame(form: Form<'_>) -> Frame {
    let payload = template(form.bytes);
    let mut numbers_at = Vec::new();
    let mut line = String::from(if form.attributes { "HPUB " } else { "PUB " });
    line.push_str(form.topic);
    if form.acknowledged {
        write!(line, " {ANSWERS}.{}.", std::process::id()).expect("a string takes everything");
        numbers_at.push(line.len());
        line.push_str(ZEROES);
    }
    let mut headers = String::new();
    if form.attributes {
        headers.push_str("NATS/1.0\r\nce-specversion: 1.0\r\nce-type: bench.order.created\r\nce-source: /bench/load\r\nce-subject: order\r\n");
        headers.push_str(
            "ce-traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ncontent-type: application/json\r\nce-id: ",
        );
        write!(headers, "{:x}-", nonce()).expect("a string takes everything");
        let id_at = headers.len();
        headers.push_str(ZEROES);
        headers.push_str("\r\n\r\n");
        write!(line, " {}", headers.len()).expect("a string takes everything");
        write!(line, " {}\r\n", headers.len() + payload.len()).expect("a string takes everything");
        numbers_at.push(line.len() + id_at);
    } else {
        write!(line, " {}\r\n", payload.len()).expect("a string takes everything");
    }
    let mut bytes = line.into_bytes();
    bytes.extend_from_slice(headers.as_bytes());
    let payload_at = bytes.len();
    bytes.extend_from_slice(&payload);
    bytes.extend_from_slice(b"\r\n");
    debug_assert!(numbers_at.iter().all(|at| bytes[*at..*at + DIGITS] == *ZEROES.as_bytes()));
    Frame { bytes, payload_at, numbers_at, packet_at: None }
}

/// One MSG as a server sends it, for measuring what a subscriber of ours can take.
pub(crate) fn delivery(topic: &str, bytes: usize) -> Frame {
    let payload = template(bytes);
    let mut frame = format!("MSG {topic} 1 {}\r\n", payload.len()).into_bytes();
    let payload_at = frame.len();
    frame.extend_from_slice(&payload);
    frame.extend_from_slice(b"\r\n");
    Frame { bytes: frame, payload_at, ..Frame::default() }
}

const fn malformed(what: &'static str) -> WireError {
    WireError::Malformed { protocol: "NATS", what }
}

pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Arrival, usize)>, WireError> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        if bytes.len() > LINE_BYTES_MAX {
            return Err(WireError::TooLarge { protocol: "NATS", bytes: bytes.len() });
        }
        return Ok(None);
    };
    let after = end + 1;
    let line = bytes[..end].strip_suffix(b"\r").ok_or(malformed("a line without CR"))?;
    match line {
        [b'M', b'S', b'G', b' ', rest @ ..] => message(bytes, rest, after, false),
        [b'H', b'M', b'S', b'G', b' ', rest @ ..] => message(bytes, rest, after, true),
        b"PING" => Ok(Some((Arrival::Ping, after))),
        b"PONG" => Ok(Some((Arrival::Answered, after))),
        [b'-', b'E', b'R', b'R', reason @ ..] => {
            let reason = String::from_utf8_lossy(reason).trim().to_owned();
            Ok(Some((Arrival::Refused(reason), after)))
        }
        [b'+', b'O', b'K', ..] | [b'I', b'N', b'F', b'O', ..] => Ok(Some((Arrival::Nothing, after))),
        _ => Err(malformed("an operation that the protocol does not have")),
    }
}

/// A message whose line, without its first word, is `line`, and whose body begins at `body_at`.
fn message(
    bytes: &[u8],
    line: &[u8],
    body_at: usize,
    headers: bool,
) -> Result<Option<(Arrival, usize)>, WireError> {
    let mut words = [&b""[..]; WORDS_MAX];
    let mut count = 0;
    for word in line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        *words.get_mut(count).ok_or(malformed("a message line with too many words"))? = word;
        count += 1;
    }
    let lengths = if headers { 2 } else { 1 };
    if count != 2 + lengths && count != 3 + lengths {
        return Err(malformed("a message line with a wrong number of words"));
    }
    let total = number(words[count - 1])?;
    let head = if headers { number(words[count - 2])? } else { 0 };
    if head > total {
        return Err(malformed("headers that are longer than their message"));
    }
    if total > ARRIVAL_BYTES_MAX {
        return Err(WireError::TooLarge { protocol: "NATS", bytes: total });
    }
    let end = body_at + total + 2;
    let Some(terminator) = bytes.get(end - 2..end) else { return Ok(None) };
    if terminator != b"\r\n" {
        return Err(malformed("a message that is longer than it says"));
    }
    let payload = body_at + head..body_at + total;
    let arrival = if words[0].starts_with(ANSWERS.as_bytes()) {
        answer(&bytes[body_at..body_at + head], &bytes[payload])
    } else {
        Arrival::Event { payload, packet: 0 }
    };
    Ok(Some((arrival, end)))
}

/// An answer is a JSON object, with `error` where the publication was refused; or a bare status in the headers.
fn answer(headers: &[u8], body: &[u8]) -> Arrival {
    if memchr::memmem::find(body, b"\"error\"").is_some() {
        return Arrival::Refused(String::from_utf8_lossy(body).into_owned());
    }
    match headers.strip_prefix(b"NATS/1.0 ") {
        Some(status) => {
            let line = status.split(|byte| *byte == b'\r').next().unwrap_or_default();
            Arrival::Refused(format!("status {}", String::from_utf8_lossy(line)))
        }
        None => Arrival::Taken,
    }
}

fn number(word: &[u8]) -> Result<usize, WireError> {
    // Nine digits are more than any length here, and fit.
    if word.is_empty() || word.len() > 9 {
        return Err(malformed("a length that is no number"));
    }
    word.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Ok(number * 10 + usize::from(digit - b'0')),
        _ => Err(malformed("a length that is no number")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::{read_number, stamps};

    fn event(payload: std::ops::Range<usize>) -> Arrival {
        Arrival::Event { payload, packet: 0 }
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Option<(Arrival, usize)>, &str>) {
        let found = next(bytes).map_err(|problem| match problem {
            WireError::Malformed { what, .. } => what,
            WireError::TooLarge { .. } => "too large",
        });
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn every_message_of_a_server_is_understood() {
        check(b"INFO {\"a\":1}\r\n", Ok(Some((Arrival::Nothing, 14))));
        check(b"+OK\r\n", Ok(Some((Arrival::Nothing, 5))));
        check(b"PING\r\nPONG\r\n", Ok(Some((Arrival::Ping, 6))));
        check(b"PONG\r\n", Ok(Some((Arrival::Answered, 6))));
        check(b"MSG a.b 1 3\r\nxyz\r\nMSG", Ok(Some((event(13..16), 18))));
        check(b"MSG a.b 1 reply.to 3\r\nxyz\r\n", Ok(Some((event(22..25), 27))));
        check(b"MSG a.b 1 0\r\n\r\n", Ok(Some((event(13..13), 15))));
        check(b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", Ok(Some((event(28..30), 32))));
        let reason = "'Permissions Violation'".to_owned();
        check(b"-ERR 'Permissions Violation'\r\n", Ok(Some((Arrival::Refused(reason), 30))));
    }

    #[test]
    fn an_answer_to_a_publication_is_told_from_an_event() {
        let line = |body: &str| format!("MSG {ANSWERS}.1.2 0 {}\r\n{body}\r\n", body.len()).into_bytes();
        let taken = line(r#"{"stream":"S","seq":4}"#);
        check(&taken, Ok(Some((Arrival::Taken, taken.len()))));
        let body = r#"{"error":{"code":503}}"#;
        let refused = line(body);
        check(&refused, Ok(Some((Arrival::Refused(body.to_owned()), refused.len()))));
        let nobody = format!("HMSG {ANSWERS}.1.2 0 16 16\r\nNATS/1.0 503\r\n\r\n\r\n").into_bytes();
        check(&nobody, Ok(Some((Arrival::Refused("status 503".to_owned()), nobody.len()))));
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        check(b"HELO\r\n", Err("an operation that the protocol does not have"));
        check(b"PING\n", Err("a line without CR"));
        check(b"MSG a 1\r\n", Err("a message line with a wrong number of words"));
        check(b"MSG a 1 r e 3\r\n", Err("a message line with a wrong number of words"));
        check(b"MSG a 1 3x\r\n", Err("a length that is no number"));
        check(b"MSG a 1 9999999999\r\n", Err("a length that is no number"));
        check(b"MSG a 1 999999999\r\n", Err("too large"));
        check(b"MSG a 1 2\r\nxyz\r\n", Err("a message that is longer than it says"));
        check(b"HMSG a 1 5 4\r\n", Err("headers that are longer than their message"));
        check(&vec![b'x'; LINE_BYTES_MAX + 1], Err("too large"));
    }

    #[test]
    fn a_frame_says_its_own_lengths() {
        for (attributes, acknowledged) in [(false, false), (false, true), (true, false), (true, true)] {
            let form = Form { topic: "bench.fast.e", bytes: 128, attributes, acknowledged };
            let frame = frame(form);
            let text = String::from_utf8(frame.bytes.clone()).expect("all ASCII");
            let (line, body) = text.split_once("\r\n").expect("a line");
            let total: usize = line.rsplit(' ').next().expect("a length").parse().expect("a number");
            assert_eq!(body.len(), total + 2, "{line}");
            assert_eq!(stamps(&frame.bytes[frame.payload_at..]), Some((0, 0)));
            assert_eq!(frame.numbers_at.len(), usize::from(attributes) + usize::from(acknowledged));
            for at in &frame.numbers_at {
                assert_eq!(read_number(&frame.bytes[*at..]), Some(0), "{line}");
            }
            // What a server makes of it is what a subscriber of ours reads.
            if attributes {
                let lengths = line.rsplitn(3, ' ').take(2).collect::<Vec<_>>();
                let sent = format!("HMSG t 1 {} {}\r\n{body}", lengths[1], lengths[0]);
                let Ok(Some((Arrival::Event { payload, .. }, _))) = next(sent.as_bytes()) else {
                    panic!("{sent}")
                };
                assert_eq!(payload.len(), 128);
                assert_eq!(stamps(&sent.as_bytes()[payload]), Some((0, 0)));
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), line in "(H?MSG|PING|INFO|-ERR) ?[a-z0-9. ]{0,30}(\r\n)?[a-z\r\n]{0,20}") {
            let _ = next(&bytes);
            if let Ok(Some((arrival, length))) = next(line.as_bytes()) {
                prop_assert!(length <= line.len());
                if let Arrival::Event { payload, .. } = arrival {
                    prop_assert!(payload.end <= length);
                }
            }
        }

        #[test]
        fn a_message_in_two_pieces_is_read_when_the_second_has_come(cut in 0usize..40) {
            let whole = b"MSG bench.fast.e 1 7\r\npayload\r\n";
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(next(&whole[..cut]), Ok(None));
            prop_assert_eq!(next(whole), Ok(Some((Arrival::Event { payload: 22..29, packet: 0 }, whole.len()))));
        }
    }
}
