//! What carries a session: a connection with a control stream and data streams, whichever protocol is below.
//!
//! Enums and not trait objects: a stream is asked once for each batch, never for each event, and a branch is all that
//! choosing costs. Outside of this file and the transports' own, nobody knows which one it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn::VarInt;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// Data streams in each direction. Fewer than the lanes of a run; a lane always uses the same one.
pub(crate) const DATA_STREAMS: usize = 4;

/// What a bridge tells its peer when it closes a connection (`routing/PROTOCOL.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseCode {
    Stopping = 0,
    /// The certificate is fine, the bridge is not: unknown, denied, or of another zone than documented.
    Refused = 1,
    /// A newer session with the same bridge took over.
    Replaced = 2,
    /// The peer broke a rule of the protocol.
    Protocol = 3,
    /// No hello for two seconds, or a control stream that is not read.
    Silent = 4,
    /// The certificate ended, or was put on the deny-list.
    Identity = 5,
}

/// An authenticated connection with a peer. Clones are the same connection.
#[derive(Clone, Debug)]
pub(crate) enum Connection {
    Quic(quinn::Connection),
}

/// The sending end of a stream.
#[derive(Debug)]
pub(super) enum SendStream {
    Quic(quinn::SendStream),
}

/// The receiving end of a stream.
#[derive(Debug)]
pub(super) enum RecvStream {
    Quic(quinn::RecvStream),
}

impl Connection {
    /// Begins the control stream; the peer sees it with the first bytes.
    pub(super) async fn open_control(&self) -> io::Result<(SendStream, RecvStream)> {
        match self {
            Connection::Quic(connection) => {
                let (send, recv) = connection.open_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
        }
    }

    /// The control stream, once the peer who dialled has begun it.
    pub(super) async fn accept_control(&self) -> io::Result<(SendStream, RecvStream)> {
        match self {
            Connection::Quic(connection) => {
                let (send, recv) = connection.accept_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
        }
    }

    /// The data stream of this number, to the peer.
    pub(super) async fn open_data(&self, _number: usize) -> io::Result<SendStream> {
        match self {
            Connection::Quic(connection) => Ok(SendStream::Quic(connection.open_uni().await?)),
        }
    }

    /// The next data stream from the peer. Cancel-safe.
    pub(super) async fn accept_data(&self) -> io::Result<RecvStream> {
        match self {
            Connection::Quic(connection) => Ok(RecvStream::Quic(connection.accept_uni().await?)),
        }
    }

    /// Ends all streams at once. The first reason counts.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        match self {
            Connection::Quic(connection) => {
                connection.close(VarInt::from_u32(u32::from(code as u8)), reason.as_bytes());
            }
        }
    }

    /// Waits until the connection has ended; gives the reason.
    pub(super) async fn closed(&self) -> String {
        match self {
            Connection::Quic(connection) => describe_close(&connection.closed().await),
        }
    }

    pub(super) fn remote(&self) -> SocketAddr {
        match self {
            Connection::Quic(connection) => connection.remote_address(),
        }
    }

    /// The chain the peer presented in the handshake, leaf first.
    pub(super) fn peer_chain(&self) -> Vec<CertificateDer<'static>> {
        match self {
            Connection::Quic(connection) => connection
                .peer_identity()
                .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
                .map(|chain| *chain)
                .unwrap_or_default(),
        }
    }

    /// `None` where the transport does not measure it.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        match self {
            Connection::Quic(connection) => Some(connection.rtt()),
        }
    }
}

impl SendStream {
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            SendStream::Quic(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Writes all of them, one after the other, without copying where the transport allows it.
    pub(super) async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> io::Result<()> {
        match self {
            SendStream::Quic(stream) => Ok(stream.write_all_chunks(chunks).await?),
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            RecvStream::Quic(stream) => AsyncRead::poll_read(Pin::new(stream), cx, buffer),
        }
    }
}

fn describe_close(problem: &quinn::ConnectionError) -> String {
    match problem {
        quinn::ConnectionError::ApplicationClosed(close) => closed_by_peer(&close.reason),
        other => other.to_string(),
    }
}

/// The words of a stranger: cut before they are shown.
pub(super) fn closed_by_peer(reason: &[u8]) -> String {
    format!("closed by the peer: {}", String::from_utf8_lossy(reason).chars().take(256).collect::<String>())
}
