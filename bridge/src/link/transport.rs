//! What carries a session: a connection with a control stream and data streams, whichever protocol is below.
//!
//! Enums and not trait objects: a stream is asked once for each batch, never for each event, and a branch is all that
//! choosing costs. Outside of this file and the transports' own, nobody knows which one it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn::VarInt;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};

use super::tcp::{self, Bundle, Tls};
use crate::chunks::write_chunks;

/// Data streams in each direction. Fewer than the lanes of a run; a lane always uses the same one.
pub(crate) const DATA_STREAMS: usize = 4;
/// How long the last words to a peer may take.
const FAREWELL_MAX: Duration = Duration::from_millis(250);

/// The protocol below a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Quic,
    Tcp,
}

impl Transport {
    pub(crate) const ALL: [Transport; 2] = [Transport::Quic, Transport::Tcp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Quic => "quic",
            Transport::Tcp => "tcp",
        }
    }
}

/// Which of them a peer is dialled over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TransportChoice {
    /// QUIC, and TCP where QUIC does not get through.
    #[default]
    Auto,
    Only(Transport),
}

impl TransportChoice {
    /// As the configuration names them.
    pub(crate) const NAMES: [&'static str; 3] = ["auto", "quic", "tcp"];

    pub(crate) fn parse(text: &str) -> Option<TransportChoice> {
        match text {
            "auto" => Some(TransportChoice::Auto),
            "quic" => Some(TransportChoice::Only(Transport::Quic)),
            "tcp" => Some(TransportChoice::Only(Transport::Tcp)),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            TransportChoice::Auto => "auto",
            TransportChoice::Only(transport) => transport.name(),
        }
    }
}

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
    Tcp(Arc<Bundle>),
}

/// The sending end of a stream.
#[derive(Debug)]
pub(super) enum SendStream {
    Quic(quinn::SendStream),
    TcpControl {
        stream: WriteHalf<Box<Tls>>,
        /// A message was begun and not finished: what follows would be read as the rest of it.
        is_torn: bool,
    },
    TcpData(Box<Tls>),
}

/// The receiving end of a stream.
#[derive(Debug)]
pub(super) enum RecvStream {
    Quic(quinn::RecvStream),
    TcpControl(ReadHalf<Box<Tls>>),
    TcpData(Box<Tls>),
}

impl Connection {
    /// Begins the control stream; the peer sees it with the first bytes.
    pub(super) async fn open_control(&self) -> io::Result<(SendStream, RecvStream)> {
        match self {
            Connection::Quic(connection) => {
                let (send, recv) = connection.open_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Connection::Tcp(bundle) => Ok(halves(bundle.open_control().await?)),
        }
    }

    /// The control stream, once the peer who dialled has begun it.
    pub(super) async fn accept_control(&self) -> io::Result<(SendStream, RecvStream)> {
        match self {
            Connection::Quic(connection) => {
                let (send, recv) = connection.accept_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Connection::Tcp(bundle) => Ok(halves(bundle.accept_control().await?)),
        }
    }

    /// The data stream of this number, to the peer.
    pub(super) async fn open_data(&self, number: usize) -> io::Result<SendStream> {
        match self {
            Connection::Quic(connection) => Ok(SendStream::Quic(connection.open_uni().await?)),
            Connection::Tcp(bundle) => Ok(SendStream::TcpData(bundle.open_data(number).await?)),
        }
    }

    /// The next data stream from the peer. Cancel-safe.
    pub(super) async fn accept_data(&self) -> io::Result<RecvStream> {
        match self {
            Connection::Quic(connection) => Ok(RecvStream::Quic(connection.accept_uni().await?)),
            Connection::Tcp(bundle) => Ok(RecvStream::TcpData(bundle.accept_data().await?)),
        }
    }

    /// Ends all streams at once. The first reason counts.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        match self {
            Connection::Quic(connection) => {
                connection.close(VarInt::from_u32(u32::from(code as u8)), reason.as_bytes());
            }
            Connection::Tcp(bundle) => bundle.close(code, reason),
        }
    }

    /// Waits until the connection has ended; gives the reason.
    pub(super) async fn closed(&self) -> String {
        match self {
            Connection::Quic(connection) => describe_close(&connection.closed().await),
            Connection::Tcp(bundle) => bundle.closed().await,
        }
    }

    /// What the transport itself has to do for a session that lives. Ends when that fails; gives the reason.
    pub(super) async fn drive(&self) -> String {
        match self {
            Connection::Quic(_) => std::future::pending().await,
            Connection::Tcp(bundle) => bundle.drive().await,
        }
    }

    /// Closes a connection that never became a session.
    pub(super) async fn refuse(&self, code: CloseCode, reason: &str) {
        self.close(code, reason);
        if let Connection::Tcp(bundle) = self {
            bundle.refuse().await;
        }
    }

    pub(super) fn transport(&self) -> Transport {
        match self {
            Connection::Quic(_) => Transport::Quic,
            Connection::Tcp(_) => Transport::Tcp,
        }
    }

    pub(super) fn remote(&self) -> SocketAddr {
        match self {
            Connection::Quic(connection) => connection.remote_address(),
            Connection::Tcp(bundle) => bundle.remote(),
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
            Connection::Tcp(bundle) => bundle.peer_chain().to_vec(),
        }
    }

    /// Over TCP it is what connecting took, and only who dialled knows.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        match self {
            Connection::Quic(connection) => Some(connection.rtt()),
            Connection::Tcp(bundle) => bundle.round_trip(),
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
            SendStream::TcpControl { stream, is_torn } => {
                *is_torn = true;
                stream.write_all(bytes).await?;
                stream.flush().await?;
                *is_torn = false;
                Ok(())
            }
            SendStream::TcpData(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Writes all of them, one after the other, without copying where the transport allows it.
    pub(super) async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> io::Result<()> {
        match self {
            SendStream::Quic(stream) => Ok(stream.write_all_chunks(chunks).await?),
            SendStream::TcpControl { stream, .. } => write_chunks(stream, chunks).await,
            // TLS fills its records across the borders of chunks.
            SendStream::TcpData(stream) => write_chunks(stream, chunks).await,
        }
    }

    /// Tells the peer why the session has ended, where closing the connection does not. Takes a moment at most.
    pub(super) async fn farewell(self, connection: &Connection) {
        if let (SendStream::TcpControl { mut stream, is_torn: false }, Connection::Tcp(bundle)) =
            (self, connection)
        {
            let said = async {
                stream.write_all(&bundle.farewell()).await?;
                stream.shutdown().await
            };
            let _ = tokio::time::timeout(FAREWELL_MAX, said).await;
        }
    }
}

impl RecvStream {
    /// The length of the next message; an error once the peer has ended the session.
    pub(super) async fn read_length(&mut self) -> io::Result<usize> {
        let length = self.read_u32().await?;
        if length == tcp::FAREWELL && matches!(self, RecvStream::TcpControl(_)) {
            return Err(tcp::read_farewell(self).await);
        }
        Ok(length as usize)
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
            RecvStream::TcpControl(stream) => Pin::new(stream).poll_read(cx, buffer),
            RecvStream::TcpData(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

fn halves((send, recv): (WriteHalf<Box<Tls>>, ReadHalf<Box<Tls>>)) -> (SendStream, RecvStream) {
    (SendStream::TcpControl { stream: send, is_torn: false }, RecvStream::TcpControl(recv))
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
