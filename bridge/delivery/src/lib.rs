//! End-to-end delivery between an origin and its destinations, without a runtime, a socket or a file.
//!
//! A [`Core`] is one bridge in both roles. It is told what clients publish, what links bring, what the log has made
//! durable and what time it is, and answers with [`Action`]s. What must survive is a [`Record`] in the log and a fold
//! over records, [`State`]. The rules (D1, D2, …) are those of the reliability specification; start reading at
//! `core.rs`.

#![deny(clippy::iter_over_hash_type)]

mod bugs;
mod clock;
mod codec;
mod core;
mod intervals;
pub mod message;
pub mod record;
pub mod state;

#[cfg(feature = "seeded-bugs")]
pub use bugs::{Bug, seed_bug};

pub use crate::core::{
    Action, Admitted, Alarm, Append, Arrival, Arrived, Choice, Config, Core, LateNews, Logged, NewEvent,
    Removal, Ticket, Whereabouts,
};
pub use clock::{ClockDoubt, Reading, STEP_MAX, WallClock};
pub use codec::DecodeError;
pub use intervals::IntervalSet;
pub use message::Message;
pub use record::membership::{LeftOut, MembershipRecord, Standing};
pub use record::{Choices, DeadLetterEnd, Ending, GroupEnd, Outcome, Record, Turn};
pub use state::{Effect, State};
