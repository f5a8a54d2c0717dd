//! Two ends alone: what a sender does about what the network did not carry.

mod behind;
mod ends;
mod held;
mod hole;
mod outcomes;
mod patience;

use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{Config, Core, NewEvent, State};
use meshbridge_routing::{BridgeId, Run};
use smallvec::SmallVec;

const STEP: Duration = Duration::from_millis(10);

fn id(name: &str) -> BridgeId {
    BridgeId::parse(name).expect("valid id")
}

fn end(name: &str, spool: u128, now: Instant) -> Core {
    let run = Run { epoch: 1, nonce: spool as u64 };
    Core::recover(State::new(id(name)), Config::default(), spool, run, 7, now)
}

fn event(number: u64) -> NewEvent {
    NewEvent {
        producer: u128::from(number),
        lane: 3,
        topic: "orders".into(),
        payload: Bytes::from_static(b"event"),
        expires: 0,
        retain_delivered: false,
        destinations: SmallVec::from_iter([id("far")]),
        groups: SmallVec::new(),
        local: false,
        choices: None,
        publisher: None,
    }
}
