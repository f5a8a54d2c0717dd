//! What goes into a [`super::Core`] and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshbridge_routing::{BridgeId, EventKey, Run};
use smallvec::SmallVec;

use crate::message::Message;
use crate::record::{Choices, Record};
use crate::state::Effect;

/// Bounds and times.
#[derive(Clone, Debug)]
pub struct Config {
    /// In flight to one destination at most (D4).
    pub window_bytes: u64,
    pub window_events: usize,
    /// Without progress for so long, what is in flight is sent again; doubles up to `resend_max`.
    pub resend_min: Duration,
    pub resend_max: Duration,
    /// A receipt waits so long for more to say, or for [`Config::receipt_events`] events.
    pub receipt_delay: Duration,
    pub receipt_events: u32,
    /// An event whose predecessor does not come is offered out of order after this (P5).
    pub order_hold: Duration,
    /// Holes kept in one lane; a frame that would make one more is not taken.
    pub holes_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            window_bytes: 16 << 20,
            window_events: 65_536,
            resend_min: Duration::from_millis(500),
            resend_max: Duration::from_secs(30),
            receipt_delay: Duration::from_millis(10),
            receipt_events: 256,
            order_hold: Duration::from_secs(60),
            holes_max: 65_536,
        }
    }
}

/// An event as its publisher's bridge admits it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Hash of (principal, source, id): its retries are the same event (P4). The upper 40 bits are of the principal alone.
    pub producer: u128,
    pub lane: u8,
    pub topic: Box<str>,
    pub payload: Bytes,
    /// Milliseconds since 1970; 0 for none.
    pub expires: u64,
    pub retain_delivered: bool,
    /// Other bridges.
    pub destinations: SmallVec<[BridgeId; 4]>,
    /// Durable subscriptions here.
    pub groups: SmallVec<[u32; 4]>,
    /// Somebody here wants it, durable or not.
    pub local: bool,
    /// Of consumer groups.
    pub choices: Option<Box<Choices>>,
    /// The authenticated name of who published it.
    pub publisher: Option<Arc<str>>,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub key: EventKey,
    /// Of a new event.
    pub body: Option<u64>,
}

impl Admitted {
    /// The producer has said this before.
    pub fn is_duplicate(&self) -> bool {
        self.body.is_none()
    }
}

/// Counts the batches handed to the log.
pub type Ticket = u64;

/// Records to be appended as one batch. The event's bytes follow the record that has a body.
#[derive(Clone, Debug)]
pub struct Append {
    pub ticket: Ticket,
    pub records: Vec<(Record, Bytes)>,
}

/// What the outside is to do. In this order.
#[derive(Clone, Debug)]
pub enum Action {
    Append(Append),
    /// The event to these destinations, with `prev` of each. Where it has a key of another run by now, this is void.
    Send {
        body: u64,
        run: Run,
        to: SmallVec<[(BridgeId, u64); 4]>,
    },
    Message {
        to: BridgeId,
        message: Message,
    },
    /// May be offered to the subscriptions here. `out_of_order`: its predecessor did not come in time.
    Ready {
        body: u64,
        out_of_order: bool,
    },
    Effect(Effect),
    Alarm(Alarm),
    /// Numbers of this run were used twice: another one is to be begun by [`super::Core::begin_run`].
    BeginRun,
}

/// What people should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A destination has lost events that it had stored, with its disk or a part of it.
    EgressLost { destination: BridgeId, events: u64 },
    /// A destination knows numbers of ours that we do not: our disk is an old copy, or lied.
    OriginBehind { destination: BridgeId, run: Run, lane: u8, upto: u64 },
    /// A destination has closed a run of ours that we do not know, and remembers no more of it than its name.
    UnknownRun { destination: BridgeId, run: Run },
    /// The other bridge has another disk than before.
    OtherDisk { bridge: BridgeId },
}
