//! MQTT 3.1.1 (OASIS, 2014), as far as a publisher and a subscriber of quality of service 0 and 1 need it.
//!
//! ```text
//! fixed header: type and flags (1 byte), remaining length (1 to 4 bytes, seven bits each, low ones first)
//! PUBLISH:      topic (2-byte length, text), packet identifier (2 bytes, QoS 1 only), payload
//! ```

use super::{ARRIVAL_BYTES_MAX, Arrival, Form, Frame, WireError};
use crate::payload::template;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
/// With the flags that the standard demands.
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xd0;
/// The connection is kept without pings: every run is shorter than this, in seconds.
const KEEP_ALIVE_SECS: u16 = 3_600;
const CLEAN_SESSION: u8 = 0x02;

pub(crate) fn connect(client: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.extend_from_slice(&[4, CLEAN_SESSION]);
    body.extend_from_slice(&KEEP_ALIVE_SECS.to_be_bytes());
    text(&mut body, client);
    packet(CONNECT, &body)
}

pub(crate) fn subscribe(topic: &str, number: u16, qos: u8) -> Vec<u8> {
    let mut body = number.max(1).to_be_bytes().to_vec();
    text(&mut body, &topic.replace('.', "/"));
    body.push(qos);
    packet(SUBSCRIBE, &body)
}

pub(crate) fn puback(packet: u16) -> [u8; 4] {
    let [high, low] = packet.to_be_bytes();
    [PUBACK, 2, high, low]
}

pub(crate) fn frame(form: Form<'_>, qos: u8) -> Frame {
    let mut body = Vec::new();
    text(&mut body, &form.topic.replace('.', "/"));
    let packet_in_body = (qos > 0).then(|| {
        body.extend_from_slice(&[0, 1]);
        body.len() - 2
    });
    let payload_in_body = body.len();
    body.extend_from_slice(&template(form.bytes));
    let bytes = packet(PUBLISH | qos << 1, &body);
    let head = bytes.len() - body.len();
    Frame {
        bytes,
        payload_at: head + payload_in_body,
        numbers_at: Vec::new(),
        packet_at: packet_in_body.map(|at| head + at),
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("topics and names of this program are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left & 0x7f).expect("seven bits");
        left >>= 7;
        out.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

const fn malformed(what: &'static str) -> WireError {
    WireError::Malformed { protocol: "MQTT", what }
}

pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Arrival, usize)>, WireError> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, digits)) = remaining_length(rest)? else { return Ok(None) };
    if length > ARRIVAL_BYTES_MAX {
        return Err(WireError::TooLarge { protocol: "MQTT", bytes: length });
    }
    let head = 1 + digits;
    let end = head + length;
    let Some(body) = bytes.get(head..end) else { return Ok(None) };
    let arrival = match kind & 0xf0 {
        PUBLISH => publication(*kind, body, head)?,
        PUBACK => Arrival::Taken,
        CONNACK => match body {
            [_, 0] => Arrival::Answered,
            [_, code] => Arrival::Refused(format!("the broker refused the connection with code {code}")),
            _ => return Err(malformed("a CONNACK of a wrong length")),
        },
        SUBACK => match body {
            [_, _, code] if *code < 0x80 => Arrival::Answered,
            [_, _, _] => Arrival::Refused("the broker refused the subscription".to_owned()),
            _ => return Err(malformed("a SUBACK of a wrong length")),
        },
        PINGRESP => Arrival::Nothing,
        _ => return Err(malformed("a packet that a broker does not send")),
    };
    Ok(Some((arrival, end)))
}

/// The payload of a PUBLISH, by its place in the packet whose head has `head` bytes.
fn publication(kind: u8, body: &[u8], head: usize) -> Result<Arrival, WireError> {
    let [high, low, rest @ ..] = body else { return Err(malformed("a PUBLISH without topic")) };
    let topic = usize::from(u16::from_be_bytes([*high, *low]));
    let rest = rest.get(topic..).ok_or(malformed("a topic that is longer than its packet"))?;
    let mut payload_at = 2 + topic;
    let mut packet = 0;
    if kind & 0x06 != 0 {
        let [high, low, ..] = rest else { return Err(malformed("a PUBLISH without packet identifier")) };
        packet = u16::from_be_bytes([*high, *low]);
        payload_at += 2;
    }
    Ok(Arrival::Event { payload: head + payload_at..head + body.len(), packet })
}

/// The length and how many bytes it takes.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((length, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(malformed("a length of more than four bytes")) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::stamps;

    #[test]
    fn what_is_published_is_what_is_read() {
        for (bytes, qos) in [(128, 0), (128, 1), (1_024, 0), (16_384, 1), (300_000, 1)] {
            let form = Form { topic: "bench.fast.e", bytes, attributes: false, acknowledged: qos > 0 };
            let frame = frame(form, qos);
            let Ok(Some((Arrival::Event { payload, packet }, length))) = next(&frame.bytes) else {
                panic!("{bytes} bytes at QoS {qos} are not read")
            };
            assert_eq!((payload.start, payload.len(), length), (frame.payload_at, bytes, frame.bytes.len()));
            assert_eq!(packet, u16::from(qos));
            assert_eq!(stamps(&frame.bytes[payload]), Some((0, 0)));
            assert_eq!(frame.packet_at.is_some(), qos > 0);
            for cut in [0, 1, 2, length - 1] {
                assert_eq!(next(&frame.bytes[..cut]), Ok(None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn answers_of_a_broker_are_understood() {
        assert_eq!(next(&[0x20, 2, 0, 0]), Ok(Some((Arrival::Answered, 4))));
        assert!(matches!(next(&[0x20, 2, 0, 5]), Ok(Some((Arrival::Refused(_), 4)))));
        assert_eq!(next(&[0x90, 3, 0, 1, 1]), Ok(Some((Arrival::Answered, 5))));
        assert!(matches!(next(&[0x90, 3, 0, 1, 0x80]), Ok(Some((Arrival::Refused(_), 5)))));
        assert_eq!(next(&puback(7)), Ok(Some((Arrival::Taken, 4))));
        assert_eq!(next(&[0xd0, 0]), Ok(Some((Arrival::Nothing, 2))));
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        assert!(next(&[0x30, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(next(&[0x30, 0xff, 0xff, 0xff, 0x7f]).is_err(), "larger than is taken");
        assert!(next(&[0x30, 1, 0]).is_err());
        assert!(next(&[0x30, 2, 0, 9]).is_err());
        assert!(next(&[0x32, 3, 0, 1, b'a']).is_err());
        assert!(next(&[0xf0, 0]).is_err());
    }

    #[test]
    fn topics_are_written_with_slashes() {
        assert_eq!(
            subscribe("a.b", 1, 0),
            [0x82, 8, 0, 1, 0, 3, b'a', b'/', b'b', 0],
            "SUBSCRIBE, 8 bytes, packet 1, topic of 3, QoS 0"
        );
    }

    proptest! {
        #[test]
        fn bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some((arrival, length))) = next(&bytes) {
                prop_assert!(length <= bytes.len());
                if let Arrival::Event { payload, .. } = arrival {
                    prop_assert!(payload.end <= length && payload.start <= payload.end);
                }
            }
        }
    }
}
