//! Black-box tests of Meshbridge: what they are built from. Nothing here knows the code of the bridge; everything goes through the binary, its ports and its
//! files, so the suite would survive a rewrite.
//!
//! Start with [`Federation`], which runs `meshbridge up` on a directory; then [`Publisher`], [`Subscriber`] and the [`Ledger`] that tells the [`judge`] what arrived.
//! To break things, run a [`Mesh`] and strike it by [`Schedule`], with [`Producer`]s and [`Consumer`]s that enter all they do in one [`SharedLedger`].
//! Waiting is always [`eventually`], with a deadline and the reason of the last failed attempt.

mod admin;
mod binary;
mod consumer;
mod eventually;
mod faults;
mod federation;
mod files;
pub mod grpc;
mod hostile;
mod ledger;
mod member;
mod mesh;
mod ports;
mod process;
mod producer;
mod publisher;
mod relay;
mod shared_ledger;
mod signer;
mod single;
mod skip;
mod sse;
mod subscriber;
mod tls;

pub use admin::{Admin, Peer, Route};
pub use binary::{binary, failing_binary, repository};
pub use consumer::{Consumer, Read, Reading};
pub use eventually::{eventually, throughout};
pub use faults::{Fault, Schedule, Step};
pub use federation::{Federation, Node, Options};
pub use files::copy_tree;
pub use hostile::{HostilePeer, hostile_tcp};
pub use ledger::Ledger;
pub use member::{Member, Offer, Offers};
pub use mesh::{Image, Mesh, Plan, Rigging, faketime};
pub use meshbridge_ledger as judge;
pub use process::{Output, StandAlone, is_alive, meshbridge, meshbridge_with_input, signal, stand_alone};
pub use producer::{PAYLOAD_BYTES, Pace, Producer, Published};
pub use publisher::{Answer, BATCH, Draft, Publisher, Reply, STRUCTURED, http};
pub use relay::{QUEUE_BYTES_MAX, Relay, Traffic as Packets, Way, Weather};
pub use shared_ledger::SharedLedger;
pub use signer::{Bundle, Signer};
pub use single::{MUTUAL_TLS, Prepared, SERVER_TLS, Setup, Single, issue};
pub use skip::skip;
pub use subscriber::{Received, Subscriber};
pub use tls::{Shown, chain, grpc_over_tls, https, tls_client, tls_connect};
