//! QUIC under a link: endpoint settings, dialling, accepting, streams. quinn's types stop at this file's neighbours
//! in `link/`; limits are those of RELIABILITY §5.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use super::transport::{CloseCode, Connection};
use crate::identity::{Credentials, QUIC_ALPN, peer_client_config, peer_server_config};

const MIB: u32 = 1 << 20;

/// What is granted to a peer and taken by ourselves; read back by a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransportLimits {
    pub(crate) receive_window_bytes: u32,
    pub(crate) stream_receive_window_bytes: u32,
    pub(crate) send_window_bytes: u64,
    /// Streams of one kind a peer may open: control is one, data are
    /// [`DATA_STREAMS`](super::transport::DATA_STREAMS), the rest is room.
    pub(crate) streams_max: u32,
    /// The backstop; the hellos of the control stream notice a silent peer after two seconds.
    pub(crate) idle: Duration,
    pub(crate) handshakes_max: usize,
    pub(crate) handshake_buffer_bytes: u64,
}

pub(crate) const LIMITS: TransportLimits = TransportLimits {
    receive_window_bytes: 16 * MIB,
    stream_receive_window_bytes: 4 * MIB,
    send_window_bytes: 16 * MIB as u64,
    streams_max: 32,
    idle: Duration::from_secs(10),
    handshakes_max: 1_024,
    handshake_buffer_bytes: 8 * MIB as u64,
};

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .receive_window(VarInt::from_u32(LIMITS.receive_window_bytes))
        .stream_receive_window(VarInt::from_u32(LIMITS.stream_receive_window_bytes))
        .send_window(LIMITS.send_window_bytes)
        .max_concurrent_bidi_streams(VarInt::from_u32(LIMITS.streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(LIMITS.streams_max))
        .max_idle_timeout(Some(IdleTimeout::try_from(LIMITS.idle).expect("ten seconds fit")))
        .datagram_receive_buffer_size(None)
        // The hellos keep a link alive; a keep-alive below them would hide a stuck peer.
        .keep_alive_interval(None);
    Arc::new(transport)
}

fn server_config(credentials: &Credentials) -> Result<ServerConfig, EndpointProblem> {
    let tls = peer_server_config(credentials, QUIC_ALPN)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| EndpointProblem::Suites)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(transport())
        .migration(false)
        .max_incoming(LIMITS.handshakes_max)
        .incoming_buffer_size_total(LIMITS.handshake_buffer_bytes);
    Ok(config)
}

fn client_config(credentials: &Credentials) -> Result<ClientConfig, EndpointProblem> {
    let tls = peer_client_config(credentials, QUIC_ALPN)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|_| EndpointProblem::Suites)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    Ok(config)
}

/// A bridge that was killed and is back answers packets of its former life with a stateless reset (RFC 9000, section
/// 10.3), so that its peers know at once and not after two seconds. For that the keys of resets and of connection ids
/// must be those of the former life.
fn endpoint_config(seed: &[u8; 32]) -> EndpointConfig {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, seed);
    let mut config = EndpointConfig::new(Arc::new(key));
    let id_key = u64::from_be_bytes(*seed.first_chunk().expect("a seed has 32 bytes"));
    config.cid_generator(move || Box::new(quinn_proto::HashedConnectionIdGenerator::from_key(id_key)));
    config
}

/// Why the peering endpoint could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointProblem {
    /// The address is taken, or not of this machine.
    #[error("cannot listen for peers on {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// The certificates do not make a TLS configuration.
    #[error("the bridge's certificates do not make a TLS configuration")]
    Tls(#[from] rustls::Error),
    /// Our provider lacks the suite that QUIC needs for its first packets.
    #[error("the TLS provider lacks AES-128-GCM, which QUIC needs")]
    Suites,
}

/// The socket all QUIC links of a bridge use, dialled and accepted.
#[derive(Clone, Debug)]
pub(super) struct QuicEndpoint {
    endpoint: Endpoint,
}

impl QuicEndpoint {
    /// Must be called inside a runtime.
    pub(super) fn bind(
        address: SocketAddr,
        credentials: &Credentials,
        reset_seed: &[u8; 32],
    ) -> Result<QuicEndpoint, EndpointProblem> {
        let bind = |source| EndpointProblem::Bind { address, source };
        let socket = std::net::UdpSocket::bind(address).map_err(bind)?;
        let runtime = quinn::default_runtime().expect("called inside a tokio runtime");
        let endpoint =
            Endpoint::new(endpoint_config(reset_seed), Some(server_config(credentials)?), socket, runtime)
                .map_err(bind)?;
        Ok(QuicEndpoint { endpoint })
    }

    /// New credentials for handshakes to come; live connections stay (RELIABILITY G3).
    pub(super) fn renew(&self, credentials: &Credentials) -> Result<(), EndpointProblem> {
        self.endpoint.set_server_config(Some(server_config(credentials)?));
        Ok(())
    }

    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// A handshake with whoever answers at `address`; the caller checks who that was.
    pub(super) async fn dial(
        &self,
        address: SocketAddr,
        credentials: &Credentials,
    ) -> Result<Connection, DialProblem> {
        let config = client_config(credentials)?;
        // The name is not verified: a bridge's identity is the URI in its certificate.
        Ok(Connection::Quic(self.endpoint.connect_with(config, address, "meshbridge")?.await?))
    }

    /// The next handshake somebody began; `None` once the endpoint is closed.
    pub(super) async fn accept(&self) -> Option<quinn::Incoming> {
        self.endpoint.accept().await
    }

    /// Closes every connection and waits until the peers have heard of it, two seconds at most.
    pub(super) async fn close(&self, reason: &str) {
        self.endpoint.close(VarInt::from_u32(u32::from(CloseCode::Stopping as u8)), reason.as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(2), self.endpoint.wait_idle()).await;
    }
}

/// Why dialling gave no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialProblem {
    /// Our own side is not able to.
    #[error("the bridge cannot dial")]
    Endpoint(#[from] EndpointProblem),
    /// The address cannot be dialled.
    #[error("the address cannot be dialled")]
    Address(#[from] quinn::ConnectError),
    /// Nobody answered, or the handshake failed.
    #[error("the handshake failed: {0}")]
    Handshake(#[from] quinn::ConnectionError),
    /// Nobody answered over TCP, or the peer said why not.
    #[error("no connection over TCP: {0}")]
    Tcp(#[from] std::io::Error),
}
