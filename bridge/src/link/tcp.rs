//! TCP and TLS under a link, where UDP does not get through, or the path is short and its processors are dear.
//!
//! ```text
//!  who dials                                           who accepts
//!  ── TLS ── "control" ──────────────────────────────►  checks the certificate, registers the token
//!  ◄─────────────────────────────────────── welcome ──
//!  ── commit, control messages ─────────────────────►
//!  ── TLS ── "data", token, slot 0…3 ────────────────►  frames, from here on, this way only
//!  ── TLS ── "data", token, slot 4…7 ────────────────►  frames, from here on, the other way only
//! ```
//!
//! A session is several connections and not one with frames of streams inside. Each lane's stream has flow control and
//! loss recovery of its own, as under QUIC, so a receiver that is behind on one does not stop the others; a hello never
//! waits behind megabytes of events; and TLS of several connections runs on several cores. A data connection carries
//! one direction: its owner needs no lock around the TLS state. The price is eight more handshakes for a session that
//! lives for hours, and they run beside the exchange of routes.
//!
//! A data connection names its session by a secret of that session's TLS keys, has to show the same certificate, and
//! each slot is taken once: nobody can put a stream into the session of another. A killed process closes its
//! connections, so its peers know at once. `socket.rs` has the options of the sockets.

mod bundle;
mod preface;
mod registry;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(crate) use bundle::Bundle;
pub(super) use preface::{FAREWELL, read_farewell};

use crate::identity::{Credentials, TCP_ALPN, peer_client_config, peer_server_config};
use bundle::{Dialler, Side};
use preface::{Preface, WELCOME};
use registry::Registry;
use socket::Socket;

pub(super) type Tls = tokio_rustls::TlsStream<Socket>;

/// Connections that have arrived and nobody has taken yet.
const BACKLOG: u32 = 1_024;
/// One connection, until it is ready for use.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// After an error of accepting, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Encrypted at once and given to the kernel in one call.
const RECORDS_BYTES: usize = 256 << 10;

/// Where TCP connections of links begin and end.
#[derive(Debug)]
pub(super) struct TcpEndpoint {
    listener: Option<TcpListener>,
    server: ArcSwap<ServerConfig>,
    registry: Arc<Registry>,
}

/// What an accepted connection turned out to be.
#[derive(Debug)]
pub(super) enum Arrived {
    /// A peer that wants a session.
    Peer(Arc<Bundle>),
    /// Part of a session that lives.
    Data,
}

impl TcpEndpoint {
    /// Listens on `address`, or only dials.
    pub(super) fn bind(
        address: Option<SocketAddr>,
        credentials: &Credentials,
    ) -> Result<TcpEndpoint, BindProblem> {
        let server = server_config(credentials)?;
        let listener = address.map(listen).transpose()?;
        Ok(TcpEndpoint { listener, server: ArcSwap::from_pointee(server), registry: Arc::default() })
    }

    /// New credentials for handshakes to come.
    pub(super) fn renew(&self, credentials: &Credentials) -> Result<(), rustls::Error> {
        self.server.store(Arc::new(server_config(credentials)?));
        Ok(())
    }

    /// The next connection. Cancel-safe. Waits for ever where nobody listens.
    pub(super) async fn accept(&self) -> (TcpStream, SocketAddr) {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(problem) => {
                    tracing::debug!(%problem, "A connection of a peer cannot be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// The handshake of a connection, and what it is for. The caller bounds the time.
    pub(super) async fn handshake(&self, stream: TcpStream, remote: SocketAddr) -> io::Result<Arrived> {
        let acceptor = TlsAcceptor::from(self.server.load_full());
        let mut stream = acceptor.accept(Socket::new(stream)?).await?;
        stream.get_mut().1.set_buffer_limit(Some(RECORDS_BYTES));
        let mut stream = Tls::Server(stream);
        match Preface::read(&mut stream).await? {
            Preface::Control => {
                let side = Side::Accepted(Arc::clone(&self.registry));
                Ok(Arrived::Peer(Arc::new(Bundle::new(remote, stream, side)?)))
            }
            Preface::Data { token, slot } => {
                self.registry.attach(&token, slot, stream).map_err(io::Error::other)?;
                Ok(Arrived::Data)
            }
        }
    }

    /// Tells an accepted peer that it may have a session. From now on its data connections find it.
    pub(super) async fn welcome(&self, bundle: &Arc<Bundle>) -> io::Result<()> {
        self.registry.register(bundle);
        bundle.welcome(WELCOME).await
    }

    /// Connects to whoever answers at `address`; the caller checks who that was, and bounds the time.
    pub(super) async fn dial(&self, address: SocketAddr, credentials: &Credentials) -> io::Result<Bundle> {
        let config = peer_client_config(credentials, TCP_ALPN).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        let (mut stream, round_trip) = connect(address, &connector).await?;
        stream.write_all(&Preface::Control.encode()).await?;
        stream.flush().await?;
        // The peer has looked at our certificate when it answers: with TLS 1.3 the handshake does not say.
        match stream.read_u32().await? {
            WELCOME => {}
            FAREWELL => return Err(read_farewell(&mut stream).await),
            _ => return Err(io::Error::other("the peer answered with something else than a welcome")),
        }
        let side = Side::Dialled { connector: Dialler(connector), round_trip };
        Bundle::new(address, stream, side)
    }
}

/// Also says how long the connection took, which is about a round trip.
async fn connect(address: SocketAddr, connector: &TlsConnector) -> io::Result<(Tls, Duration)> {
    let began = Instant::now();
    let stream = TcpStream::connect(address).await?;
    let round_trip = began.elapsed();
    // The name is not verified: a bridge's identity is the URI in its certificate.
    let name = ServerName::try_from("meshbridge").expect("a DNS name");
    let mut stream = connector.connect(name, Socket::new(stream)?).await?;
    stream.get_mut().1.set_buffer_limit(Some(RECORDS_BYTES));
    Ok((Tls::Client(stream), round_trip))
}

fn server_config(credentials: &Credentials) -> Result<ServerConfig, rustls::Error> {
    peer_server_config(credentials, TCP_ALPN)
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindProblem {
    #[error(transparent)]
    Listen(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A bridge that is started again finds connections of its former life in its place.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests;
