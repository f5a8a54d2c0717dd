//! The routing core of a bridge: who is connected to whom, who wants what, and where a frame goes next.
//!
//! Pure: no socket, no clock, no file, no random source of its own. Time, messages and links come in through
//! `handle_*` calls; what is to be sent and what happened comes out of `poll_*`. After any call, drain
//! [`Router::poll_transmit`] and [`Router::poll_event`], then wait until [`Router::poll_timeout`].
//!
//! ```text
//!   link up/down, control messages, time, subscriptions
//!                      │
//!                ┌─────▼──────┐      records      ┌──────────┐
//!                │   Router   ├──────────────────►│ Topology │──┐
//!                │            │      versions     ├──────────┤  ├─► Forwarding (immutable, for the data path)
//!                │            ├──────────────────►│ Interest │──┘
//!                └─────┬──────┘                   └──────────┘
//!                      ▼
//!            control messages, events
//! ```
//!
//! Start at [`Router`], then [`topology`](Forwarding) and `interest`; `PROTOCOL.md` beside this crate numbers the
//! rules (R1, R2, …) that code and tests cite.

mod forwarding;
mod ids;
mod interest;
mod keyring;
mod lthash;
mod peer;
mod router;
mod sets;
mod topology;
pub mod wire;

pub use forwarding::{Forwarding, Split};
pub use ids::{BridgeId, BridgeIndex, EventKey, InvalidId, LANES, LinkId, Run, ZoneName, lane_of};
pub use interest::InterestFull;
pub use keyring::{Keyring, Refusal, Signature, Verified};
pub use router::{
    InterestView, Limits, Members, ProtocolViolation, RouteView, Router, RouterConfig, RouterEvent, Transmit,
};
pub use sets::{CarrierSet, DestinationSet};
