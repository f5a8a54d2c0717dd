//! The two client protocols the generator speaks, behind one face: frames to send, prepared once and stamped again and again, and what arrives.
//!
//! Everything here is a function of bytes; [`crate::connection`] moves them.

pub(crate) mod batch;
pub(crate) mod mqtt;
pub(crate) mod nats;

use std::ops::Range;

/// Largest event and largest line that is taken from a server; beyond it the server does not speak the protocol.
const ARRIVAL_BYTES_MAX: usize = 1 << 20;

/// What a server has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// An event of a subscription: where its payload is, and the packet to acknowledge, 0 for none.
    Event { payload: Range<usize>, packet: u16 },
    /// The server has taken one published event.
    Taken,
    /// The server has answered a request other than a publication.
    Answered,
    /// The server will not do what it was asked, in its words.
    Refused(String),
    /// The server wants to know whether we live; the answer is [`Protocol::pong`].
    Ping,
    /// Nothing that concerns the generator.
    Nothing,
}

/// The server does not speak the protocol; retrying helps nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the server sent a {protocol} message that cannot be read: {what}")]
    Malformed { protocol: &'static str, what: &'static str },
    #[error("the server sent a {protocol} message of {bytes} bytes, more than this program takes")]
    TooLarge { protocol: &'static str, bytes: usize },
}

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Nats,
    /// MQTT 3.1.1 with this quality of service, 0 or 1.
    Mqtt {
        qos: u8,
    },
}

/// How a published event is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    /// Dot-separated tokens.
    pub(crate) topic: &'a str,
    /// Size of the payload.
    pub(crate) bytes: usize,
    /// CloudEvents attributes in headers, as policies ask for.
    pub(crate) attributes: bool,
    /// Every event asks to be acknowledged.
    pub(crate) acknowledged: bool,
}

/// One event as it goes over the wire, and the places that differ between events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) payload_at: usize,
    /// Further places of the sequence number in hexadecimal: an id, a reply subject.
    pub(crate) numbers_at: Vec<usize>,
    /// Place of the two bytes of a packet identifier.
    pub(crate) packet_at: Option<usize>,
}

impl Protocol {
    /// What opens a connection; the server's answer is [`Arrival::Answered`].
    pub(crate) fn hello(self, client: &str) -> Vec<u8> {
        match self {
            Protocol::Nats => nats::hello(client),
            Protocol::Mqtt { .. } => mqtt::connect(client),
        }
    }

    /// Subscribes to a topic; the server's answer is [`Arrival::Answered`].
    pub(crate) fn subscribe(self, topic: &str, number: u16) -> Vec<u8> {
        match self {
            Protocol::Nats => nats::subscribe(topic, number),
            Protocol::Mqtt { qos } => mqtt::subscribe(topic, number, qos),
        }
    }

    /// Lets the answers to publications come to this connection; nothing where that needs no word.
    pub(crate) fn expect_answers(self) -> Vec<u8> {
        match self {
            Protocol::Nats => nats::expect_answers(),
            Protocol::Mqtt { .. } => Vec::new(),
        }
    }

    /// One event, ready to be stamped.
    pub(crate) fn frame(self, form: Form<'_>) -> Frame {
        match self {
            Protocol::Nats => nats::frame(form),
            Protocol::Mqtt { qos } => mqtt::frame(form, qos),
        }
    }

    /// The first thing in `bytes`, and how long it is; `None` until all of it is there.
    pub(crate) fn next(self, bytes: &[u8]) -> Result<Option<(Arrival, usize)>, WireError> {
        match self {
            Protocol::Nats => nats::next(bytes),
            Protocol::Mqtt { .. } => mqtt::next(bytes),
        }
    }

    /// The answer to a ping.
    pub(crate) fn pong(self) -> &'static [u8] {
        match self {
            Protocol::Nats => b"PONG\r\n",
            // A broker never pings.
            Protocol::Mqtt { .. } => b"",
        }
    }

    /// The acknowledgement of a packet that was received, into `out`.
    pub(crate) fn acknowledge(self, packet: u16, out: &mut Vec<u8>) {
        if packet != 0 {
            out.extend_from_slice(&mqtt::puback(packet));
        }
    }
}
