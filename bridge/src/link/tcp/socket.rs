//! A TCP socket below TLS: its options, and a buffer in front of its reads.
//!
//! rustls reads 4 KiB at a time, which as system calls would cost more than the cipher. Here it reads from memory that
//! one system call filled.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Read at once for control messages and handshakes.
const NARROW_BYTES: usize = 8 << 10;
/// Read at once from a connection that brings data.
const WIDE_BYTES: usize = 128 << 10;
/// Written and not yet sent: what the kernel holds beyond that would not come back when the link is lost.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 1 << 20;
/// The backstop, as the idle timeout of QUIC: the hellos notice a silent peer after two seconds.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// A peer's host that vanished while nothing was sent, which hellos make rare.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A connected socket.
#[derive(Debug)]
pub(in crate::link) struct Socket {
    tcp: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Socket {
    /// Sets the options of a fresh connection. Buffer sizes are left to the kernel, which adapts them to the path.
    pub(super) fn new(tcp: TcpStream) -> io::Result<Socket> {
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEP_ALIVE))?;
        #[cfg(target_os = "linux")]
        {
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
            socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        }
        Ok(Socket { tcp, buffer: vec![0; NARROW_BYTES], start: 0, end: 0 })
    }

    /// From now on this connection brings data.
    pub(super) fn widen(&mut self) {
        self.buffer.resize(WIDE_BYTES, 0);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            let mut read = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut read))?;
            (this.start, this.end) = (0, read.filled().len());
        }
        let held = this.buffer.get(this.start..this.end).unwrap_or_default();
        let taken = held.len().min(out.remaining());
        out.put_slice(held.get(..taken).unwrap_or_default());
        this.start += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
