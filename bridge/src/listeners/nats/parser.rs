//! What a NATS client sends, read where it lies. Shapes follow the client protocol of NATS: a control line of words that
//! ends in CR LF, for publications followed by as many bytes as it says and another CR LF.

use std::str::from_utf8;

/// A control line is no longer than this.
pub(super) const LINE_BYTES_MAX: usize = 4_096;
/// A CONNECT may be longer: it holds JSON with tokens.
const CONNECT_BYTES_MAX: usize = 64 << 10;

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Connect(&'a [u8]),
    Publish(Publish<'a>),
    Subscribe {
        subject: &'a str,
        group: Option<&'a str>,
        sid: u64,
    },
    /// After `max` messages, or at once.
    Unsubscribe {
        sid: u64,
        max: Option<u64>,
    },
    Ping,
    Pong,
    /// What servers say; a client has nothing to gain by it, and it harms nobody.
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) subject: &'a str,
    pub(super) reply: Option<&'a str>,
    /// With the line that names the version and the empty one at the end; empty where there are none.
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// A client that does not speak the protocol; the text is what it is told before the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("Unknown Protocol Operation")]
    Unknown,
    #[error("Parser Error")]
    Arguments,
    #[error("Maximum Control Line Exceeded")]
    Line,
    #[error("Maximum Payload Violation")]
    Payload,
    #[error("Invalid Subscription ID: this server takes numbers")]
    Sid,
}

/// What the bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A command, and how many bytes it took.
    Whole(Command<'a>, usize),
    /// It does not end here; at least so many bytes are needed.
    Part(usize),
}

/// Reads the first command of `bytes`. Never panics, whatever they are.
pub(super) fn parse(bytes: &[u8], payload_max: usize) -> Result<Parsed<'_>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return unfinished_line(bytes);
    };
    let line = bytes.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let after = end + 1;
    let (word, rest) = split_word(line);
    let whole = |command| Ok(Parsed::Whole(command, after));
    if line.len() > LINE_BYTES_MAX && !is(word, b"CONNECT") {
        return Err(Malformed::Line);
    }
    match word.first().map(u8::to_ascii_uppercase) {
        Some(b'P') if is(word, b"PUB") => publication(bytes, after, rest, false, payload_max),
        Some(b'H') if is(word, b"HPUB") => publication(bytes, after, rest, true, payload_max),
        Some(b'S') if is(word, b"SUB") => whole(subscription(rest)?),
        Some(b'U') if is(word, b"UNSUB") => whole(end_of_subscription(rest)?),
        Some(b'P') if is(word, b"PING") => whole(Command::Ping),
        Some(b'P') if is(word, b"PONG") => whole(Command::Pong),
        Some(b'C') if is(word, b"CONNECT") => whole(Command::Connect(rest)),
        Some(b'I' | b'+' | b'-') if [&b"INFO"[..], b"+OK", b"-ERR"].iter().any(|known| is(word, known)) => {
            whole(Command::Ignored)
        }
        _ => Err(Malformed::Unknown),
    }
}

fn unfinished_line(bytes: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let is_connect = bytes.get(..7).is_some_and(|word| is(word, b"CONNECT"));
    let max = if is_connect { CONNECT_BYTES_MAX } else { LINE_BYTES_MAX };
    if bytes.len() > max {
        return Err(Malformed::Line);
    }
    // Something else than the protocol is told at once, not after 4 KiB of it.
    let known: [&[u8]; 10] =
        [b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"PONG", b"CONNECT", b"INFO", b"+OK", b"-ERR"];
    let (word, _) = split_word(bytes.strip_suffix(b"\r").unwrap_or(bytes));
    let begins = |known: &&[u8]| known.get(..word.len()).is_some_and(|start| is(word, start));
    if !known.iter().any(begins) {
        return Err(Malformed::Unknown);
    }
    Ok(Parsed::Part(bytes.len() + 1))
}

fn is(word: &[u8], known: &[u8]) -> bool {
    word.eq_ignore_ascii_case(known)
}

/// The first word, and what follows the white space behind it.
fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_ascii_start())
}

/// At most five words; `None` where there are more.
fn words(mut rest: &[u8]) -> Option<([&[u8]; 5], usize)> {
    let mut found: [&[u8]; 5] = [&[]; 5];
    let mut count = 0;
    while !rest.is_empty() {
        let (word, behind) = split_word(rest);
        *found.get_mut(count)? = word;
        count += 1;
        rest = behind;
    }
    Some((found, count))
}

fn publication<'a>(
    bytes: &'a [u8],
    after: usize,
    rest: &'a [u8],
    has_headers: bool,
    payload_max: usize,
) -> Result<Parsed<'a>, Malformed> {
    let (found, count) = words(rest).ok_or(Malformed::Arguments)?;
    let (subject, reply, sizes) = match (count, has_headers) {
        (2, false) => (found[0], None, [None, Some(found[1])]),
        (3, false) => (found[0], Some(found[1]), [None, Some(found[2])]),
        (3, true) => (found[0], None, [Some(found[1]), Some(found[2])]),
        (4, true) => (found[0], Some(found[1]), [Some(found[2]), Some(found[3])]),
        _ => return Err(Malformed::Arguments),
    };
    let size = |word: Option<&[u8]>| word.map_or(Some(0), number);
    let (headers, total) = (size(sizes[0]), size(sizes[1]));
    let (Some(headers), Some(total)) = (headers, total) else { return Err(Malformed::Arguments) };
    let total = usize::try_from(total).map_err(|_| Malformed::Payload)?;
    if total > payload_max {
        return Err(Malformed::Payload);
    }
    let headers = usize::try_from(headers).ok().filter(|headers| *headers <= total);
    let headers = headers.ok_or(Malformed::Arguments)?;
    let end = after + total;
    let Some(closing) = bytes.get(end..end + 2) else { return Ok(Parsed::Part(end + 2)) };
    if closing != b"\r\n" {
        return Err(Malformed::Arguments);
    }
    let text = |word: &'a [u8]| from_utf8(word).map_err(|_| Malformed::Arguments);
    let publish = Publish {
        subject: text(subject)?,
        reply: reply.map(text).transpose()?,
        headers: bytes.get(after..after + headers).unwrap_or_default(),
        payload: bytes.get(after + headers..end).unwrap_or_default(),
    };
    Ok(Parsed::Whole(Command::Publish(publish), end + 2))
}

fn subscription(rest: &[u8]) -> Result<Command<'_>, Malformed> {
    let (found, count) = words(rest).ok_or(Malformed::Arguments)?;
    let (subject, group, sid) = match count {
        2 => (found[0], None, found[1]),
        3 => (found[0], Some(found[1]), found[2]),
        _ => return Err(Malformed::Arguments),
    };
    let text = |word| from_utf8(word).map_err(|_| Malformed::Arguments);
    let sid = number(sid).ok_or(Malformed::Sid)?;
    Ok(Command::Subscribe { subject: text(subject)?, group: group.map(text).transpose()?, sid })
}

fn end_of_subscription(rest: &[u8]) -> Result<Command<'_>, Malformed> {
    let (found, count) = words(rest).ok_or(Malformed::Arguments)?;
    let sid = number(found[0]).ok_or(Malformed::Sid)?;
    let max = match count {
        1 => None,
        2 => Some(number(found[1]).ok_or(Malformed::Arguments)?).filter(|max| *max > 0),
        _ => return Err(Malformed::Arguments),
    };
    Ok(Command::Unsubscribe { sid, max })
}

/// At most 18 digits.
fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 18 {
        return None;
    }
    word.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn commands_are_read_as_clients_write_them() {
        let whole = |text: &'static str| match parse(text.as_bytes(), MAX) {
            Ok(Parsed::Whole(command, used)) => (command, used),
            other => panic!("{text}: {other:?}"),
        };
        let plain = Publish { subject: "a.b", reply: None, headers: b"", payload: b"hello" };
        let text = "PUB a.b 5\r\nhello\r\n";
        assert_eq!(whole(text), (Command::Publish(plain), text.len()));
        let text = "pub a.b _INBOX.1  5\r\nhello\r\nPING\r\n";
        assert_eq!(whole(text), (Command::Publish(Publish { reply: Some("_INBOX.1"), ..plain }), 28));
        let text = "HPUB a.b 12 17\r\nNATS/1.0\r\n\r\nhello\r\n";
        let headed = Publish { headers: b"NATS/1.0\r\n\r\n", ..plain };
        assert_eq!(whole(text), (Command::Publish(headed), text.len()));
        let empty = Publish { payload: b"", ..plain };
        assert_eq!(whole("PUB a.b 0\r\n\r\n"), (Command::Publish(empty), 13));
        let subscribe = Command::Subscribe { subject: "a.*", group: Some("q"), sid: 7 };
        assert_eq!(whole("SUB a.* q 7\r\n"), (subscribe, 13));
        assert_eq!(whole("UNSUB 7 3\r\n"), (Command::Unsubscribe { sid: 7, max: Some(3) }, 11));
        assert_eq!(whole("UNSUB 7\r\n"), (Command::Unsubscribe { sid: 7, max: None }, 9));
        assert_eq!(whole("PING\r\n"), (Command::Ping, 6));
        assert_eq!(whole("CONNECT {}\r\n"), (Command::Connect(b"{}"), 12));
    }

    #[test]
    fn what_is_no_command_is_told_apart() {
        let fails = |text: &str| match parse(text.as_bytes(), 100) {
            Err(malformed) => malformed,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(fails("GET / HTTP/1.1\r\n"), Malformed::Unknown);
        assert_eq!(fails("GET / HT"), Malformed::Unknown, "before the line ends");
        assert_eq!(fails("PUB a 101\r\n"), Malformed::Payload);
        assert_eq!(fails("PUB a 99999999999999999999\r\n"), Malformed::Arguments);
        assert_eq!(fails("PUB a\r\n"), Malformed::Arguments);
        assert_eq!(fails("PUB a b c 1\r\n"), Malformed::Arguments);
        assert_eq!(fails("PUB a 2\r\nabc\r\n"), Malformed::Arguments);
        assert_eq!(fails("HPUB a 9 5\r\n"), Malformed::Arguments);
        assert_eq!(fails("SUB a x\r\n"), Malformed::Sid);
        assert_eq!(fails(&format!("SUB {} 1\r\n", "a".repeat(5_000))), Malformed::Line);
        assert_eq!(fails(&format!("SUB {}", "a".repeat(5_000))), Malformed::Line);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, 64);
        }

        #[test]
        fn a_cut_command_asks_for_more_and_then_is_whole(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0..1_000_usize,
        ) {
            let mut text = format!("PUB orders.eu {}\r\n", payload.len()).into_bytes();
            text.extend_from_slice(&payload);
            text.extend_from_slice(b"\r\n");
            let cut = cut % text.len();
            match parse(&text[..cut], MAX) {
                Ok(Parsed::Part(needed)) => prop_assert!(needed > cut && needed <= text.len()),
                other => prop_assert!(false, "{other:?}"),
            }
            match parse(&text, MAX) {
                Ok(Parsed::Whole(Command::Publish(publish), used)) => {
                    prop_assert_eq!(publish.payload, &payload[..]);
                    prop_assert_eq!(used, text.len());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
