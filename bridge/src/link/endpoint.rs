//! The one address of a bridge for its peers: QUIC, and TCP on the port of the same number.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::quic::{EndpointProblem, QuicEndpoint};
use super::tcp::{BindProblem, Bundle, TcpEndpoint};
use super::transport::Connection;
use crate::identity::Credentials;

/// Ports tried where the system chooses one that is then taken for the other protocol.
const PORTS_TRIED: usize = 16;

/// Where a bridge listens for its peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerListen {
    pub(crate) address: SocketAddr,
    /// Also for TCP.
    pub(crate) tcp: bool,
}

/// Where all links of a bridge begin, dialled and accepted.
#[derive(Clone, Debug)]
pub(crate) struct PeerEndpoint {
    quic: QuicEndpoint,
    tcp: Arc<TcpEndpoint>,
}

/// A connection that somebody began.
#[derive(Debug)]
pub(super) enum Incoming {
    Quic(Box<quinn::Incoming>),
    Tcp(TcpStream, SocketAddr),
}

impl PeerEndpoint {
    /// Must be called inside a runtime.
    pub(crate) fn bind(
        listen: PeerListen,
        credentials: &Credentials,
        reset_seed: &[u8; 32],
    ) -> Result<PeerEndpoint, EndpointProblem> {
        let tries = if listen.address.port() == 0 { PORTS_TRIED } else { 1 };
        let mut tried = PeerEndpoint::bind_once(listen, credentials, reset_seed);
        for _ in 1..tries {
            if !matches!(tried, Err(EndpointProblem::Bind { .. })) {
                break;
            }
            tried = PeerEndpoint::bind_once(listen, credentials, reset_seed);
        }
        tried
    }

    fn bind_once(
        listen: PeerListen,
        credentials: &Credentials,
        reset_seed: &[u8; 32],
    ) -> Result<PeerEndpoint, EndpointProblem> {
        let quic = QuicEndpoint::bind(listen.address, credentials, reset_seed)?;
        let problem = |source| EndpointProblem::Bind { address: listen.address, source };
        let address = quic.local_addr().map_err(problem)?;
        let tcp = TcpEndpoint::bind(listen.tcp.then_some(address), credentials).map_err(|why| match why {
            BindProblem::Listen(source) => EndpointProblem::Bind { address, source },
            BindProblem::Tls(source) => EndpointProblem::Tls(source),
        })?;
        Ok(PeerEndpoint { quic, tcp: Arc::new(tcp) })
    }

    /// New credentials for handshakes to come; live connections stay (RELIABILITY G3).
    pub(crate) fn renew(&self, credentials: &Credentials) -> Result<(), EndpointProblem> {
        self.quic.renew(credentials)?;
        Ok(self.tcp.renew(credentials)?)
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.quic.local_addr()
    }

    pub(super) fn quic(&self) -> &QuicEndpoint {
        &self.quic
    }

    pub(super) fn tcp(&self) -> &TcpEndpoint {
        &self.tcp
    }

    /// The next connection somebody began; `None` once the endpoint is closed. Cancel-safe.
    pub(super) async fn accept(&self) -> Option<Incoming> {
        tokio::select! {
            incoming = self.quic.accept() => incoming.map(|incoming| Incoming::Quic(Box::new(incoming))),
            (stream, remote) = self.tcp.accept() => Some(Incoming::Tcp(stream, remote)),
        }
    }

    /// Closes every QUIC connection and waits until the peers have heard of it, two seconds at most. Sessions over TCP
    /// say goodbye themselves.
    pub(crate) async fn close(&self, reason: &str) {
        self.quic.close(reason).await;
    }
}

impl From<Bundle> for Connection {
    fn from(bundle: Bundle) -> Connection {
        Connection::Tcp(Arc::new(bundle))
    }
}
