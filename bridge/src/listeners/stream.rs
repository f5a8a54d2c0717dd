//! The byte stream of one connection, and the clock of its request heads.
//!
//! hyper has one time for "waits for a request" and "reads its head"; a client may wait for [`limit::IDLE_MAX`], but
//! once it has begun a head it must end it within [`limit::HEADER_READ_MAX`]. So the stream notes when bytes come
//! while no request is open, and the connection looks at the clock. The preface of h2 counts as a head; after it, pings
//! decide whether the client is still there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until};

use super::limits as limit;
use super::places::Place;
use crate::identity::wall_reaches;
use crate::pipeline::Flushed;

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first bytes of the connection: `matched` of them are those of the preface of h2.
    Opening { since: Instant, matched: usize },
    /// A request head has begun.
    Head { since: Instant },
    /// A request is being answered.
    Answering,
    /// Between requests.
    Idle,
    /// h2 from here on.
    Framed,
}

/// Where a connection is in its requests.
#[derive(Debug)]
pub(super) struct HeadClock {
    phase: Mutex<Phase>,
    flushed: Flushed,
}

impl HeadClock {
    pub(super) fn start(now: Instant) -> HeadClock {
        let phase = Mutex::new(Phase::Opening { since: now, matched: 0 });
        HeadClock { phase, flushed: Flushed::default() }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts how often everything written was handed to the kernel.
    pub(super) fn flushed(&self) -> &Flushed {
        &self.flushed
    }

    fn on_bytes(&self, bytes: &[u8], now: Instant) {
        let mut phase = self.phase();
        match *phase {
            Phase::Opening { since, matched } => {
                let wanted = H2_PREFACE.get(matched..).unwrap_or_default();
                let compared = wanted.len().min(bytes.len());
                *phase = if wanted.get(..compared) != bytes.get(..compared) {
                    Phase::Head { since }
                } else if compared == wanted.len() {
                    Phase::Framed
                } else {
                    Phase::Opening { since, matched: matched + compared }
                };
            }
            Phase::Idle => *phase = Phase::Head { since: now },
            Phase::Head { .. } | Phase::Answering | Phase::Framed => {}
        }
    }

    /// A head is complete. The connection is idle again when the result is dropped, with the answer's body.
    pub(super) fn on_request(self: &Arc<Self>) -> Answering {
        let mut phase = self.phase();
        if *phase != Phase::Framed {
            *phase = Phase::Answering;
        }
        Answering(Arc::clone(self))
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::Opening { since, .. } | Phase::Head { since } => Some(since + limit::HEADER_READ_MAX),
            Phase::Answering | Phase::Idle | Phase::Framed => None,
        }
    }

    /// Returns when a head took too long. Looks only now and then: a head that begins between two looks cannot be
    /// overdue before the second one.
    pub(super) async fn overdue(&self) {
        loop {
            let now = Instant::now();
            match self.deadline() {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => sleep_until(deadline).await,
                None => sleep(limit::HEADER_READ_MAX).await,
            }
        }
    }
}

/// Held by an answer until it is sent.
#[derive(Debug)]
pub(super) struct Answering(Arc<HeadClock>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut phase = self.0.phase();
        if *phase == Phase::Answering {
            *phase = Phase::Idle;
        }
    }
}

/// A stream that tells the clock of its bytes, and ends with the certificate of its client.
pub(super) struct Stream<S> {
    inner: S,
    clock: Arc<HeadClock>,
    /// Held for its Drop: an upgraded stream outlives its connection, and keeps the place.
    _place: Arc<Place>,
    /// RELIABILITY G2: a certificate is judged for as long as it is relied upon.
    ends: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ended: bool,
}

impl<S> Stream<S> {
    pub(super) fn new(inner: S, clock: Arc<HeadClock>, place: Arc<Place>, ends: Option<SystemTime>) -> Self {
        let ends = ends.map(|end| Box::pin(wall_reaches(end)) as Pin<Box<dyn Future<Output = ()> + Send>>);
        Stream { inner, clock, _place: place, ends, ended: false }
    }

    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.ends.as_mut().is_some_and(|ends| ends.as_mut().poll(context).is_ready()) {
            self.ends = None;
            self.ended = true;
        }
        if self.ended {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client's certificate has ended"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.clock.on_bytes(bytes, Instant::now());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        if let Poll::Ready(Ok(())) = polled {
            self.clock.flushed.count();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
