//! Black-box tests of Meshbridge: what they are built from. Nothing here knows the code of the bridge; everything goes through the binary, its ports and its
//! files, so the suite would survive a rewrite.
//!
//! Start with [`Federation`], which runs `meshbridge up` on a directory; then [`Publisher`], [`Subscriber`] and the [`Ledger`] that judges what arrived.
//! Waiting is always [`eventually`], with a deadline and the reason of the last failed attempt.

mod admin;
mod binary;
mod eventually;
mod federation;
pub mod grpc;
mod ledger;
mod process;
mod publisher;
mod relay;
mod single;
mod skip;
mod subscriber;
mod tls;

pub use admin::{Admin, Peer, Route};
pub use binary::{binary, repository};
pub use eventually::{eventually, throughout};
pub use federation::{Federation, Node, Options};
pub use ledger::{Ledger, Verdict};
pub use process::{Output, StandAlone, is_alive, meshbridge, meshbridge_with_input, signal, stand_alone};
pub use publisher::{Answer, BATCH, Draft, Publisher, Reply, STRUCTURED, http};
pub use relay::{QUEUE_BYTES_MAX, Relay, Traffic as Packets, Way, Weather};
pub use single::{MUTUAL_TLS, Prepared, SERVER_TLS, Setup, Single, issue};
pub use skip::skip;
pub use subscriber::{Received, Subscriber};
pub use tls::{Shown, chain, grpc_over_tls, https, tls_client, tls_connect};
