//! A connection to a server over plain TCP or TLS, driven by one thread: nothing here blocks except [`Connection::wait`], which has a deadline.
//!
//! Reading and writing are both possible at any time, so a server that stops reading until its answers are taken cannot lock us up.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::wire::{Arrival, Protocol};

/// What is read in one call, and the largest message with room to spare.
const INBOX_BYTES: usize = 512 << 10;
/// Longest introduction of a server.
const LINE_BYTES_MAX: usize = 64 << 10;
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Where to connect and what to speak.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

pub(crate) struct Connection {
    protocol: Protocol,
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    inbox: Vec<u8>,
    /// What has been read and not yet taken is `inbox[start..end]`.
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects and says hello; returns when the server has answered.
    pub(crate) fn open(target: &Target, client: &str) -> Result<Connection> {
        let socket = TcpStream::connect_timeout(&target.address, OPEN_WITHIN)
            .with_context(|| format!("cannot connect to {}", target.address))?;
        socket.set_nodelay(true)?;
        if target.tls.is_some() && target.protocol == Protocol::Nats {
            skip_line(&socket).context("the server does not say who it is")?;
        }
        socket.set_nonblocking(true)?;
        let tls = match &target.tls {
            None => None,
            Some(config) => {
                let name = ServerName::from(target.address.ip());
                Some(Box::new(ClientConnection::new(Arc::clone(config), name)?))
            }
        };
        let protocol = target.protocol;
        let mut connection =
            Connection { protocol, socket, tls, inbox: vec![0; INBOX_BYTES], start: 0, end: 0 };
        connection.ask(&protocol.hello(client)).context("the server does not take the connection")?;
        Ok(connection)
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sends a request and waits until the server has answered it.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.ask_within(request, Instant::now() + OPEN_WITHIN)
    }

    /// The same, for requests that a server may think about.
    pub(crate) fn ask_within(&mut self, request: &[u8], deadline: Instant) -> Result<()> {
        self.send_all(request, deadline)?;
        loop {
            match self.next()?.map(|(arrival, _)| arrival) {
                Some(Arrival::Answered | Arrival::Taken) => return Ok(()),
                Some(Arrival::Refused(reason)) => bail!("refused: {reason}"),
                Some(Arrival::Ping) => self.send_all(self.protocol.pong(), deadline)?,
                Some(_) => {}
                None if Instant::now() > deadline => bail!("no answer in time"),
                None if self.fill()? == 0 => self.wait(false, Duration::from_millis(50))?,
                None => {}
            }
        }
    }

    /// Writes everything; for small messages, whose answers have room in the inbox.
    pub(crate) fn send_all(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<()> {
        loop {
            let is_handshaking = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
            if is_handshaking {
                self.fill()?;
            }
            bytes = &bytes[self.write_some(bytes)?..];
            if bytes.is_empty() && self.is_flushed() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the server takes no bytes");
            }
            // A handshake goes on when the server has spoken; there is always room for our side of it.
            self.wait(!is_handshaking, Duration::from_millis(50))?;
        }
    }

    /// Writes what the socket takes now; with TLS some of it may stay in the session until the next call.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            if bytes.is_empty() {
                return Ok(0);
            }
            return none_if_blocked(self.socket.write(bytes));
        };
        let taken = tls.writer().write(bytes)?;
        while tls.wants_write() && none_if_blocked(tls.write_tls(&mut self.socket))? > 0 {}
        Ok(taken)
    }

    /// Whether all that was taken for writing has gone to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.wants_write() && !tls.is_handshaking())
    }

    /// Reads what is there now, as far as there is room; 0 where nothing is. The end of the connection is an error.
    pub(crate) fn fill(&mut self) -> Result<usize> {
        self.inbox.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = &mut self.inbox[self.end..];
        let Some(tls) = &mut self.tls else {
            let read = match self.socket.read(room) {
                Ok(0) if !room.is_empty() => bail!("the server has closed the connection"),
                read => none_if_blocked(read)?,
            };
            self.end += read;
            return Ok(read);
        };
        // A session takes no more from the socket while it has something for us.
        let waiting = none_if_blocked(tls.reader().read(room))?;
        if waiting > 0 {
            self.end += waiting;
            return Ok(waiting);
        }
        match tls.read_tls(&mut self.socket) {
            Ok(0) => bail!("the server has closed the connection"),
            read => none_if_blocked(read)?,
        };
        tls.process_new_packets().context("TLS")?;
        while tls.wants_write() && none_if_blocked(tls.write_tls(&mut self.socket))? > 0 {}
        let read = none_if_blocked(tls.reader().read(room))?;
        self.end += read;
        Ok(read)
    }

    /// The next thing that has arrived, and its bytes; `None` until more is read.
    pub(crate) fn next(&mut self) -> Result<Option<(Arrival, &[u8])>> {
        let unread = &self.inbox[self.start..self.end];
        let Some((arrival, length)) = self.protocol.next(unread)? else { return Ok(None) };
        self.start += length;
        Ok(Some((arrival, &self.inbox[self.start - length..self.start])))
    }

    /// Blocks until there is something to read, or room to write where that is asked for, or time is over.
    pub(crate) fn wait(&self, or_room: bool, within: Duration) -> io::Result<()> {
        let room = if or_room { PollFlags::OUT } else { PollFlags::empty() };
        let timeout = Timespec::try_from(within).unwrap_or_default();
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN | room)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(problem) => Err(problem.into()),
        }
    }
}

/// A NATS server introduces itself in the clear before both sides change to TLS.
fn skip_line(mut socket: &TcpStream) -> Result<()> {
    socket.set_read_timeout(Some(OPEN_WITHIN))?;
    let mut byte = [0];
    for _ in 0..LINE_BYTES_MAX {
        // Byte by byte: what follows the line is not ours to read yet.
        socket.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(());
        }
    }
    bail!("its first line has no end")
}

fn none_if_blocked(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(problem) if matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(0)
        }
        other => other,
    }
}

/// Whether the whole program is to end: set by SIGINT and SIGTERM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(pub(crate) Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error where the program is to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_raised() { bail!("interrupted") } else { Ok(()) }
    }

    /// Sleeps, and wakes early where the program is to end.
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.check()?;
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        self.check()
    }
}
