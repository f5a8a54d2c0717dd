//! Which transport a peer with `transport: auto` is dialled over: QUIC, TCP where QUIC does not get through, and QUIC
//! again once it does.
//!
//! QUIC goes first, and alone for half a second. Then TCP is dialled beside it. A peer that is only just starting
//! answers on whichever comes first, so TCP does not win by being first: with it established the peer is known to be
//! there, and a *fresh* QUIC handshake gets a second. No answer to that means that UDP is blocked.
//!
//! A link that fell back stays on TCP, and is dialled over TCP at once when it breaks. Beside the session QUIC is tried
//! now and then, and two good trials in a row move the link: the new session replaces the old one, as any newer one
//! does. Should QUIC break again within minutes, the next trials are twice as far apart, up to an hour: a path that
//! comes and goes moves the link ever more seldom.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meshbridge_routing::BridgeId;
use rand::RngExt;
use tokio::time::timeout;
use tracing::{info, warn};

use super::dial::{AttemptFailed, over};
use super::session::SessionContext;
use super::transport::{Connection, Transport, TransportChoice};

/// QUIC's head start. Long enough for a handshake over any path on Earth.
const QUIC_ALONE: Duration = Duration::from_millis(500);
/// What QUIC gets once TCP has shown that the peer answers: a handshake, with one packet lost.
const QUIC_GRACE: Duration = Duration::from_millis(1_500);
/// Trials in a row that must succeed before a link goes back to QUIC.
pub(super) const TRIALS_GOOD: u32 = 2;
/// A link that went back and held this long did so rightly.
const STEADY: Duration = Duration::from_secs(300);
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// What a dialler remembers of the ways to a peer.
#[derive(Debug)]
pub(super) struct Fallback {
    is_blocked: bool,
    /// Between two trials of QUIC.
    wait: Duration,
    wait_min: Duration,
    /// When the link last went back to QUIC, and has not ended since.
    returned: Option<Instant>,
}

impl Fallback {
    pub(super) fn new(wait_min: Duration) -> Fallback {
        Fallback { is_blocked: false, wait: wait_min, wait_min, returned: None }
    }

    /// QUIC does not get through, as far as we know.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// The peer answered over `transport`.
    pub(super) fn on_connected(&mut self, peer: &BridgeId, transport: Transport, chosen: TransportChoice) {
        if chosen != TransportChoice::Auto {
            return;
        }
        let is_blocked = transport == Transport::Tcp;
        if is_blocked && !self.is_blocked {
            warn!(%peer, "QUIC does not get through to a peer, its link falls back to TCP");
        }
        self.is_blocked = is_blocked;
    }

    /// TCP does not get through either, so nothing is known.
    pub(super) fn forget(&mut self) {
        self.is_blocked = false;
    }

    pub(super) fn on_return(&mut self, peer: &BridgeId, now: Instant) {
        info!(%peer, "Link went back from TCP to QUIC");
        self.is_blocked = false;
        self.returned = Some(now);
    }

    /// The session of the link has ended.
    pub(super) fn on_end(&mut self, now: Instant) {
        if let Some(returned) = self.returned.take() {
            let held = now.duration_since(returned) >= STEADY;
            self.wait = if held { self.wait_min } else { (self.wait * 2).min(WAIT_MAX) };
        }
    }

    /// Until the next trial of QUIC. Drawn, so that the links of a hub do not try together.
    pub(super) fn wait(&self) -> Duration {
        self.wait.mul_f64(rand::rng().random_range(0.8..=1.0))
    }
}

/// A handshake over QUIC if that is possible, else over TCP.
pub(super) async fn race(context: &SessionContext, remote: SocketAddr) -> Result<Connection, AttemptFailed> {
    let quic = over(context, Transport::Quic, remote);
    tokio::pin!(quic);
    let tcp = over(context, Transport::Tcp, remote);
    tokio::pin!(tcp);
    match timeout(QUIC_ALONE, &mut quic).await {
        Ok(Ok(connection)) => return Ok(connection),
        // What QUIC said is the better answer: TCP may be switched off.
        Ok(Err(problem)) => return tcp.await.map_err(|_| problem),
        Err(_) => {}
    }
    let answered = tokio::select! {
        quic = &mut quic => match quic {
            Ok(connection) => return Ok(connection),
            Err(problem) => return tcp.await.map_err(|_| problem),
        },
        tcp = &mut tcp => match tcp {
            Ok(connection) => connection,
            Err(_) => return quic.await,
        },
    };
    let fresh = over(context, Transport::Quic, remote);
    let either = async {
        tokio::select! {
            Ok(connection) = quic => connection,
            Ok(connection) = fresh => connection,
            else => std::future::pending().await,
        }
    };
    // A TCP connection that is not taken is dropped before it becomes a session.
    Ok(timeout(QUIC_GRACE, either).await.unwrap_or(answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_comes_and_goes_is_tried_ever_more_seldom() {
        let peer = BridgeId::parse("west-1").expect("a name");
        let (first, mut now) = (Duration::from_secs(30), Instant::now());
        let mut fallback = Fallback::new(first);
        for time in 0..12 {
            fallback.on_connected(&peer, Transport::Tcp, TransportChoice::Auto);
            assert!(fallback.is_blocked());
            assert_eq!(fallback.wait, WAIT_MAX.min(first * (1 << time)));
            assert!(fallback.wait() <= fallback.wait && fallback.wait() >= fallback.wait.mul_f64(0.8));
            fallback.on_return(&peer, now);
            now += STEADY / 2;
            fallback.on_end(now);
        }
        fallback.on_connected(&peer, Transport::Tcp, TransportChoice::Auto);
        fallback.on_return(&peer, now);
        fallback.on_end(now + STEADY);
        assert_eq!(fallback.wait, first, "a return that held is forgiven");
    }

    #[test]
    fn only_a_peer_that_could_have_answered_over_quic_teaches_anything() {
        let peer = BridgeId::parse("west-1").expect("a name");
        let mut fallback = Fallback::new(Duration::from_secs(30));
        fallback.on_connected(&peer, Transport::Tcp, TransportChoice::Only(Transport::Tcp));
        assert!(!fallback.is_blocked());
        fallback.on_connected(&peer, Transport::Tcp, TransportChoice::Auto);
        fallback.on_end(Instant::now());
        assert!(fallback.is_blocked(), "the end of a session over TCP changes nothing");
        assert_eq!(fallback.wait, Duration::from_secs(30));
        fallback.on_connected(&peer, Transport::Quic, TransportChoice::Auto);
        assert!(!fallback.is_blocked());
    }
}
