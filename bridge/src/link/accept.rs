//! The task that takes handshakes which peers began.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{Quota, RateLimiter};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::session::{Admission, SessionContext};
use super::transport::Connection;
use super::{CloseCode, Direction};

/// A whole handshake, and how many run at once (RELIABILITY §5).
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
const HANDSHAKES_MAX: usize = 256;
/// Above this many unvalidated handshakes a stranger must first show that its address is its own.
const UNVALIDATED_MAX: usize = 64;
/// Sessions at once; replacing one takes a place for a moment.
const SESSIONS_MAX: usize = 128;
/// Handshakes a second from one address, and how many may come at once.
const RATE_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
const BURST_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(20).expect("twenty is not zero");

/// Accepts peers until `stop`; ends when its sessions have ended.
pub(crate) async fn accept_peers(context: SessionContext, stop: CancellationToken) {
    let rate = RateLimiter::keyed(Quota::per_second(RATE_PER_ADDRESS).allow_burst(BURST_PER_ADDRESS));
    let mut handshakes: JoinSet<Option<Admission>> = JoinSet::new();
    let mut sessions: JoinSet<()> = JoinSet::new();
    let mut seen: u64 = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            incoming = context.endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                let ip = incoming.remote_address().ip();
                seen += 1;
                if seen.is_multiple_of(1_024) {
                    rate.retain_recent();
                }
                // Every bridge of a development federation has the same loopback address.
                if handshakes.len() >= HANDSHAKES_MAX || (!ip.is_loopback() && rate.check_key(&source(ip)).is_err()) {
                    incoming.refuse();
                } else if handshakes.len() >= UNVALIDATED_MAX && incoming.may_retry() && !incoming.remote_address_validated() {
                    let _ = incoming.retry();
                } else {
                    let context = context.clone();
                    handshakes.spawn(async move { handshake(&context, incoming).await });
                }
            }
            Some(done) = handshakes.join_next() => {
                let Ok(Some(admission)) = done else { continue };
                if sessions.len() >= SESSIONS_MAX {
                    admission.refuse("too many sessions");
                    continue;
                }
                let (context, stop) = (context.clone(), stop.clone());
                sessions.spawn(async move { admission.run(context, stop).await });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
    handshakes.abort_all();
    while sessions.join_next().await.is_some() {}
}

/// An IPv4 address, or the /64 of an IPv6 one.
fn source(ip: std::net::IpAddr) -> [u8; 8] {
    match ip {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [0, 0, 0, 0, a, b, c, d]
        }
        std::net::IpAddr::V6(v6) => {
            let mut prefix = [0; 8];
            prefix.copy_from_slice(&v6.octets()[..8]);
            prefix
        }
    }
}

async fn handshake(context: &SessionContext, incoming: quinn::Incoming) -> Option<Admission> {
    let remote = incoming.remote_address();
    let connection = match tokio::time::timeout(HANDSHAKE_MAX, incoming).await {
        Ok(Ok(connection)) => Connection::Quic(connection),
        Ok(Err(problem)) => {
            warn!(%remote, %problem, "Peer refused, its handshake failed");
            return None;
        }
        Err(_) => {
            debug!(%remote, "Handshake of a peer took too long");
            return None;
        }
    };
    match Admission::check(context, connection, Direction::Accepted, None) {
        Ok(admission) => Some(admission),
        Err((connection, refused)) => {
            warn!(%remote, %refused, "Peer refused");
            connection.close(CloseCode::Refused, &refused.to_string());
            None
        }
    }
}
