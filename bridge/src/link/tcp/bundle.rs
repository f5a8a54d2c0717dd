//! The connections of one session, seen as one: control first, data connections as they come.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::preface::{COMMIT, Preface, SLOTS, Token, farewell};
use super::registry::Registry;
use super::{HANDSHAKE_MAX, Tls, connect};
use crate::link::transport::{CloseCode, DATA_STREAMS};

/// How long the other side may take to open the data connections.
const DATA_WITHIN: Duration = Duration::from_secs(5);
/// How long a peer may take to read why it is refused.
const REFUSE_WITHIN: Duration = Duration::from_millis(250);
const TOKEN_LABEL: &[u8] = b"EXPORTER-meshbridge-data-connections";

/// Who opens the data connections.
#[derive(Debug)]
pub(super) enum Side {
    Dialled {
        connector: Dialler,
        round_trip: Duration,
    },
    /// The registry forgets the session with this.
    Accepted(Arc<Registry>),
}

/// How the data connections are made: as the control connection was.
pub(super) struct Dialler(pub(super) TlsConnector);

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialler")
    }
}

type Waiting = oneshot::Receiver<Box<Tls>>;

/// The TCP connections of a session.
#[derive(Debug)]
pub(crate) struct Bundle {
    remote: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    token: Token,
    side: Side,
    /// Until the session takes it.
    control: Mutex<Option<Box<Tls>>>,
    /// A slot is filled once.
    open: Mutex<[Option<oneshot::Sender<Box<Tls>>>; SLOTS]>,
    outgoing: Mutex<[Option<Waiting>; DATA_STREAMS]>,
    /// One reader at a time: the session's acceptor.
    incoming: tokio::sync::Mutex<FuturesUnordered<Waiting>>,
    closing: CancellationToken,
    reason: OnceLock<(CloseCode, String)>,
}

impl Bundle {
    pub(super) fn new(remote: SocketAddr, control: Tls, side: Side) -> io::Result<Bundle> {
        let chain = chain_of(&control);
        let token = exported(&control).map_err(io::Error::other)?;
        let mut outgoing: [Option<Waiting>; DATA_STREAMS] = Default::default();
        let mut open: [Option<oneshot::Sender<Box<Tls>>>; SLOTS] = Default::default();
        let incoming = FuturesUnordered::new();
        let from_here = match side {
            Side::Dialled { .. } => 0..DATA_STREAMS,
            Side::Accepted(_) => DATA_STREAMS..SLOTS,
        };
        for (slot, place) in open.iter_mut().enumerate() {
            let (filled, waiting) = oneshot::channel();
            *place = Some(filled);
            if from_here.contains(&slot) {
                outgoing[slot % DATA_STREAMS] = Some(waiting);
            } else {
                incoming.push(waiting);
            }
        }
        Ok(Bundle {
            remote,
            chain,
            token,
            side,
            control: Mutex::new(Some(Box::new(control))),
            open: Mutex::new(open),
            outgoing: Mutex::new(outgoing),
            incoming: tokio::sync::Mutex::new(incoming),
            closing: CancellationToken::new(),
            reason: OnceLock::new(),
        })
    }

    pub(in crate::link) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(in crate::link) fn peer_chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// What connecting took, where we did.
    pub(in crate::link) fn round_trip(&self) -> Option<Duration> {
        match self.side {
            Side::Dialled { round_trip, .. } => Some(round_trip),
            Side::Accepted(_) => None,
        }
    }

    /// Gives a data connection to the session it names. A second one for the same slot is refused, and so is one with
    /// another certificate than the control connection's: what is revoked or ends with that one ends with all.
    pub(super) fn attach(&self, slot: usize, mut stream: Tls) -> Result<(), &'static str> {
        if chain_of(&stream).first() != self.chain.first() {
            return Err("the data connection has another certificate than its session");
        }
        let from_here = matches!(self.side, Side::Dialled { .. }) == (slot < DATA_STREAMS);
        if !from_here {
            stream.get_mut().0.widen();
        }
        let place = lock(&self.open).get_mut(slot).and_then(Option::take);
        let place = place.ok_or("the data connection is there already")?;
        place.send(Box::new(stream)).map_err(|_| "the session has ended")
    }

    pub(in crate::link) async fn open_control(
        &self,
    ) -> io::Result<(WriteHalf<Box<Tls>>, ReadHalf<Box<Tls>>)> {
        let mut control = self.take_control()?;
        control.write_u8(COMMIT).await?;
        control.flush().await?;
        let (read, write) = tokio::io::split(control);
        Ok((write, read))
    }

    pub(in crate::link) async fn accept_control(
        &self,
    ) -> io::Result<(WriteHalf<Box<Tls>>, ReadHalf<Box<Tls>>)> {
        let mut control = self.take_control()?;
        match control.read_u8().await? {
            COMMIT => {}
            _ => return Err(io::Error::other("the peer did not take the session")),
        }
        let (read, write) = tokio::io::split(control);
        Ok((write, read))
    }

    fn take_control(&self) -> io::Result<Box<Tls>> {
        lock(&self.control).take().ok_or_else(|| io::Error::other("the control stream is open already"))
    }

    pub(in crate::link) async fn open_data(&self, number: usize) -> io::Result<Box<Tls>> {
        let waiting = lock(&self.outgoing).get_mut(number).and_then(Option::take);
        let waiting = waiting.ok_or_else(|| io::Error::other("the data stream is open already"))?;
        waiting.await.map_err(|_| io::ErrorKind::NotConnected.into())
    }

    pub(in crate::link) async fn accept_data(&self) -> io::Result<Box<Tls>> {
        match self.incoming.lock().await.next().await {
            Some(stream) => stream.map_err(|_| io::ErrorKind::NotConnected.into()),
            None => std::future::pending().await,
        }
    }

    /// Opens the data connections, or sees to it that they come. Ends when they do not; gives the reason.
    pub(in crate::link) async fn drive(&self) -> String {
        let reason = match &self.side {
            Side::Dialled { connector, .. } => {
                let all = try_join_all((0..SLOTS).map(|slot| self.dial(connector, slot)));
                match tokio::time::timeout(HANDSHAKE_MAX, all).await {
                    Ok(Ok(_)) => None,
                    Ok(Err(problem)) => Some(format!("a data connection cannot be opened: {problem}")),
                    Err(_) => Some("the data connections took too long".to_owned()),
                }
            }
            Side::Accepted(_) => {
                tokio::time::sleep(DATA_WITHIN).await;
                let missing = lock(&self.open).iter().any(Option::is_some);
                missing.then(|| "the peer did not open its data connections".to_owned())
            }
        };
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    async fn dial(&self, connector: &Dialler, slot: usize) -> io::Result<()> {
        let (mut stream, _) = connect(self.remote, &connector.0).await?;
        stream.write_all(&Preface::Data { token: self.token.clone(), slot }.encode()).await?;
        stream.flush().await?;
        self.attach(slot, stream).map_err(io::Error::other)
    }

    /// The first reason counts.
    pub(in crate::link) fn close(&self, code: CloseCode, reason: &str) {
        let _ = self.reason.set((code, reason.to_owned()));
        self.closing.cancel();
    }

    pub(in crate::link) async fn closed(&self) -> String {
        self.closing.cancelled().await;
        self.reason.get().map_or_else(String::new, |(_, reason)| reason.clone())
    }

    /// The last words on the control stream.
    pub(in crate::link) fn farewell(&self) -> Vec<u8> {
        match self.reason.get() {
            Some((code, reason)) => farewell(*code, reason),
            None => farewell(CloseCode::Stopping, ""),
        }
    }

    /// Says why there is no session. For a connection whose control stream nobody has taken.
    pub(in crate::link) async fn refuse(&self) {
        let Ok(mut control) = self.take_control() else { return };
        let said = async {
            control.write_all(&self.farewell()).await?;
            control.shutdown().await
        };
        let _ = tokio::time::timeout(REFUSE_WITHIN, said).await;
    }

    /// Answers the peer that it may have a session. Before anybody else has the connection.
    pub(super) async fn welcome(&self, words: u32) -> io::Result<()> {
        let mut control = self.take_control()?;
        control.write_u32(words).await?;
        control.flush().await?;
        *lock(&self.control) = Some(control);
        Ok(())
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Side::Accepted(registry) = &self.side {
            registry.forget(&self.token);
        }
    }
}

fn chain_of(stream: &Tls) -> Vec<CertificateDer<'static>> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    certificates.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

fn exported(stream: &Tls) -> Result<Token, rustls::Error> {
    let exported = match stream {
        Tls::Client(stream) => stream.get_ref().1.export_keying_material([0; 32], TOKEN_LABEL, None),
        Tls::Server(stream) => stream.get_ref().1.export_keying_material([0; 32], TOKEN_LABEL, None),
    };
    exported.map(Token)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
