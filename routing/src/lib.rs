//! Link state, interest and forwarding of the mesh, without sockets, clock, files or global randomness.
//!
//! ```text
//!            handle_link_up / handle_message / handle_timeout / subscribe
//!                                   │
//!   ┌───────────────────────────────▼──────────────────────────────────┐
//!   │ Router   peers ── flooding ──┬── link states ── paths ──┐        │
//!   │          (hello, acks)       └── interest sets ─────────┤        │
//!   └───────────┬─────────────────────┬───────────────────────┼────────┘
//!         poll_transmit           poll_event            forwarding()
//!                                                     Arc<Forwarding>: topic → destinations → links
//! ```
//!
//! One task owns a [`Router`]. After any `handle_*` or `subscribe` it drains [`Router::poll_event`] **first**, then
//! [`Router::poll_transmit`], then re-arms its timer from [`Router::poll_timeout`]. The order matters once: on
//! [`RouterEvent::EpochRaised`] the new epoch must be on disk before anything of the new run leaves.
//!
//! The data path never touches the router: it holds the immutable [`Forwarding`] and the codec in [`wire::data`].
//! `PROTOCOL.md` numbers the rules (R1, R2, …) that code and tests cite. Start reading at `router.rs`.

#![deny(clippy::iter_over_hash_type)]

mod audience;
mod damping;
mod demand;
mod flood;
mod forwarding;
mod graph;
mod id;
mod interest;
mod keyring;
mod limits;
mod lthash;
mod only_way;
mod own_audiences;
mod own_interest;
mod paths;
mod peer;
mod rng;
mod router;
mod sets;
mod topology;
mod want;
pub mod wire;

pub use audience::{Audience, Learners};
pub use forwarding::{Forwarding, GroupMatch, Split, SplitHop};
pub use id::{BridgeId, EventKey, InvalidId, LANES, LinkId, Run, ZoneName, lane_of};
pub use interest::KeptInterest;
pub use keyring::{Keyring, Refusal, Signature, Verified};
pub use limits::Limits;
pub use router::{
    InterestFull, InterestView, Members, ProtocolViolation, RouteView, Router, RouterConfig, RouterEvent,
    Transmit,
};
pub use sets::{BridgeIndex, CarrierSet, DENIED_LINKS_MAX, DeniedLinks, DestinationSet, Passage};
pub use topology::{LinkState, ListedLink};
pub use want::{GROUP_NAME_BYTES_MAX, GroupInterest, GroupName, Want};
