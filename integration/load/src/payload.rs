//! What an event carries: a JSON object of an exact size with its sequence number, its time, and three fields that a policy can redact.
//!
//! ```text
//! {"seq":"0000000000000000","at":"0000000000000000","name":"…","mail":"…","phone":"…","pad":"xxx…"}
//!         ^8              ^24     ^32              ^48
//! ```
//!
//! The numbers stand first and have a fixed width, so that they keep their place when a bridge edits what comes after them, and so
//! that a prepared event is made a new one by writing over 32 bytes.

/// Where the sequence number begins, in bytes.
pub(crate) const SEQUENCE_AT: usize = 8;
/// Where the time begins, in bytes.
pub(crate) const TIME_AT: usize = 32;
/// Digits of a number.
pub(crate) const DIGITS: usize = 16;
/// A probe says only that the path is there; it is no part of the sequence.
pub(crate) const PROBE: u64 = u64::MAX;

const HEAD: &str = r#"{"seq":"0000000000000000","at":"0000000000000000","name":"Kim Example","mail":"kim@example.org","phone":"5550100","pad":""#;
const TAIL: &str = r#""}"#;

/// The smallest event there is, in bytes.
pub(crate) const BYTES_MIN: usize = HEAD.len() + TAIL.len();

/// An event of exactly `bytes` bytes, or of [`BYTES_MIN`] where that is more.
pub(crate) fn template(bytes: usize) -> Vec<u8> {
    let padding = bytes.saturating_sub(BYTES_MIN);
    let mut payload = Vec::with_capacity(BYTES_MIN + padding);
    payload.extend_from_slice(HEAD.as_bytes());
    payload.resize(HEAD.len() + padding, b'x');
    payload.extend_from_slice(TAIL.as_bytes());
    payload
}

/// Writes `number` over the first [`DIGITS`] bytes of `place`, in hexadecimal.
pub(crate) fn write_number(place: &mut [u8], number: u64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in number.to_be_bytes().into_iter().zip(place.chunks_exact_mut(2)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

/// The number at the start of `place`; `None` where there is none.
pub(crate) fn read_number(place: &[u8]) -> Option<u64> {
    let digits = place.get(..DIGITS)?;
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// Sequence number and time of an event that arrived.
pub(crate) fn stamps(payload: &[u8]) -> Option<(u64, u64)> {
    Some((read_number(payload.get(SEQUENCE_AT..)?)?, read_number(payload.get(TIME_AT..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_exactly_the_size_that_was_asked_for_and_is_json() {
        for bytes in [128, 1_024, 16_384] {
            let payload = template(bytes);
            assert_eq!(payload.len(), bytes);
            let value: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
            assert_eq!(value["mail"], "kim@example.org");
        }
        assert_eq!(template(1).len(), BYTES_MIN);
    }

    #[test]
    fn stamps_are_read_as_they_were_written() {
        let mut payload = template(128);
        for number in [0, 1, 0xfedc_ba98_7654_3210, PROBE] {
            write_number(&mut payload[SEQUENCE_AT..], number);
            write_number(&mut payload[TIME_AT..], number ^ 5);
            assert_eq!(stamps(&payload), Some((number, number ^ 5)));
            serde_json::from_slice::<serde_json::Value>(&payload).expect("still JSON");
        }
    }

    #[test]
    fn what_has_no_stamps_is_no_event() {
        assert_eq!(stamps(b""), None);
        assert_eq!(stamps(br#"{"seq":"00000000000000zz","at":"0000000000000000"}"#), None);
        assert_eq!(stamps(&template(128)[..40]), None);
    }
}
