//! The task that takes handshakes which peers began.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::endpoint::Incoming;
use super::session::{Admission, SessionContext};
use super::tcp::Arrived;
use super::transport::Connection;
use super::{CloseCode, Direction};

/// A whole handshake, and how many run at once (RELIABILITY §5).
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
const HANDSHAKES_MAX: usize = 256;
/// Above this many unvalidated handshakes a stranger must first show that its address is its own.
const UNVALIDATED_MAX: usize = 64;
/// TCP connections that are not ready yet. One more, and the oldest of them goes: an honest one takes milliseconds.
const TCP_HANDSHAKES_MAX: usize = 256;
/// Sessions at once; replacing one takes a place for a moment.
const SESSIONS_MAX: usize = 128;
/// Handshakes a second from one address, and how many may come at once.
const RATE_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
const BURST_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(20).expect("twenty is not zero");
/// The same over TCP, where a session is nine connections.
const TCP_RATE_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(90).expect("ninety is not zero");
const TCP_BURST_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(180).expect("it is not zero");

type Rate = DefaultKeyedRateLimiter<[u8; 8]>;

/// Accepts peers until `stop`; ends when its sessions have ended.
pub(crate) async fn accept_peers(context: SessionContext, stop: CancellationToken) {
    let mut door = Door {
        quic_rate: RateLimiter::keyed(Quota::per_second(RATE_PER_ADDRESS).allow_burst(BURST_PER_ADDRESS)),
        tcp_rate: RateLimiter::keyed(
            Quota::per_second(TCP_RATE_PER_ADDRESS).allow_burst(TCP_BURST_PER_ADDRESS),
        ),
        quic: JoinSet::new(),
        tcp: JoinSet::new(),
        oldest: VecDeque::new(),
        seen: 0,
    };
    let mut sessions: JoinSet<()> = JoinSet::new();
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => break,
            incoming = context.endpoint.accept() => {
                match incoming {
                    Some(Incoming::Quic(incoming)) => door.on_quic(&context, *incoming),
                    Some(Incoming::Tcp(stream, remote)) => door.on_tcp(&context, stream, remote),
                    None => break,
                }
                continue;
            }
            Some(done) = door.quic.join_next() => done,
            Some(done) = door.tcp.join_next() => done,
            Some(_) = sessions.join_next() => continue,
        };
        let Ok(Some(admission)) = done else { continue };
        if sessions.len() >= SESSIONS_MAX {
            admission.refuse(CloseCode::Refused, "too many sessions").await;
            continue;
        }
        let (context, stop) = (context.clone(), stop.clone());
        sessions.spawn(async move { admission.run(context, stop).await });
    }
    drop(door);
    while sessions.join_next().await.is_some() {}
}

/// Handshakes that are under way, and who may begin another one.
struct Door {
    quic_rate: Rate,
    tcp_rate: Rate,
    quic: JoinSet<Option<Admission>>,
    tcp: JoinSet<Option<Admission>>,
    /// Those of `tcp`, oldest first, with some that have ended.
    oldest: VecDeque<AbortHandle>,
    seen: u64,
}

impl Door {
    fn on_quic(&mut self, context: &SessionContext, incoming: quinn::Incoming) {
        let remote = incoming.remote_address();
        self.tidy();
        if self.quic.len() >= HANDSHAKES_MAX || !may_begin(&self.quic_rate, remote) {
            incoming.refuse();
        } else if self.quic.len() >= UNVALIDATED_MAX
            && incoming.may_retry()
            && !incoming.remote_address_validated()
        {
            let _ = incoming.retry();
        } else {
            let context = context.clone();
            self.quic.spawn(async move { handshake_quic(&context, incoming).await });
        }
    }

    /// A connection that may not go on is closed by dropping it.
    fn on_tcp(&mut self, context: &SessionContext, stream: TcpStream, remote: SocketAddr) {
        self.tidy();
        if !may_begin(&self.tcp_rate, remote) {
            return;
        }
        if self.oldest.len() >= TCP_HANDSHAKES_MAX {
            self.oldest.retain(|handshake| !handshake.is_finished());
        }
        if self.oldest.len() >= TCP_HANDSHAKES_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            debug!("Unfinished connection of a peer dropped for a newer one");
            oldest.abort();
        }
        let context = context.clone();
        let handshake = self.tcp.spawn(async move { handshake_tcp(&context, stream, remote).await });
        self.oldest.push_back(handshake);
    }

    fn tidy(&mut self) {
        self.seen += 1;
        if self.seen.is_multiple_of(1_024) {
            self.quic_rate.retain_recent();
            self.tcp_rate.retain_recent();
        }
    }
}

/// Every bridge of a development federation has the same loopback address.
fn may_begin(rate: &Rate, remote: SocketAddr) -> bool {
    remote.ip().is_loopback() || rate.check_key(&source(remote.ip())).is_ok()
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

async fn handshake_quic(context: &SessionContext, incoming: quinn::Incoming) -> Option<Admission> {
    let remote = incoming.remote_address();
    match tokio::time::timeout(HANDSHAKE_MAX, incoming).await {
        Ok(Ok(connection)) => admit(context, Connection::Quic(connection), remote).await,
        Ok(Err(problem)) => {
            warn!(%remote, %problem, "Peer refused, its handshake failed");
            None
        }
        Err(_) => {
            debug!(%remote, "Handshake of a peer took too long");
            None
        }
    }
}

/// One limit of time for everything until the peer is welcome, or the connection part of a session.
async fn handshake_tcp(context: &SessionContext, stream: TcpStream, remote: SocketAddr) -> Option<Admission> {
    let tcp = context.endpoint.tcp();
    let whole = async {
        let Arrived::Peer(bundle) = tcp.handshake(stream, remote).await? else { return Ok(None) };
        let admission = admit(context, Connection::Tcp(Arc::clone(&bundle)), remote).await;
        if admission.is_some() {
            tcp.welcome(&bundle).await?;
        }
        Ok::<_, std::io::Error>(admission)
    };
    match tokio::time::timeout(HANDSHAKE_MAX, whole).await {
        Ok(Ok(admission)) => admission,
        Ok(Err(problem)) => {
            warn!(%remote, %problem, "Peer refused, its handshake failed");
            None
        }
        Err(_) => {
            debug!(%remote, "Handshake of a peer took too long");
            None
        }
    }
}

async fn admit(context: &SessionContext, connection: Connection, remote: SocketAddr) -> Option<Admission> {
    match Admission::check(context, connection, Direction::Accepted, None) {
        Ok(admission) => Some(admission),
        Err((connection, refused)) => {
            warn!(%remote, %refused, "Peer refused");
            connection.refuse(CloseCode::Refused, &refused.to_string()).await;
            None
        }
    }
}
