//! A faulty wire, in user space, for UDP and on the port of the same number for TCP (`streams.rs`): it stands between two bridges, which dial it instead of each other, and loses, repeats, delays, reorders, throttles
//! or cuts what goes over it, each direction by itself, from a seed, and changed while it runs.
//!
//! ```text
//! dialler ⇄ front socket ─ Line (forward)  ─▶ back socket ⇄ callee
//!                        ◀─ Line (backward) ─
//! ```
//!
//! One task moves the packets; it ends when the relay is dropped. The dialler is whoever spoke last to the front, as a bridge that is started again keeps its
//! port. A direction holds at most [`QUEUE_BYTES_MAX`]; beyond it packets are dropped and counted, as a router would.

mod line;
mod streams;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use line::Line;
pub use line::{QUEUE_BYTES_MAX, Traffic, Weather};
use streams::Streams;

/// The largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
const PORTS_TRIED: u32 = 16;
/// With nothing queued the task sleeps until a packet comes.
const IDLE: Duration = Duration::from_secs(3_600);

/// A way over a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the bridge that dials.
    Forward,
    /// To the bridge that dials.
    Backward,
}

impl Way {
    /// Both of them.
    pub const BOTH: [Way; 2] = [Way::Forward, Way::Backward];
}

/// A wire with faults; it is gone when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    lines: Arc<Lines>,
    streams: Arc<Streams>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Lines {
    both: [Mutex<Line>; 2],
    /// Rung when the weather changes: what was due may be due no longer.
    changed: Notify,
}

impl Lines {
    fn line(&self, way: Way) -> MutexGuard<'_, Line> {
        self.both[way as usize].lock().expect("nothing panics while it holds the lock")
    }
}

impl Relay {
    /// A relay to `callee` on a free port, faultless at first.
    pub async fn start(callee: SocketAddr, seed: u64) -> Result<Relay> {
        let (front, listener) = both_fronts().await?;
        let back = UdpSocket::bind("127.0.0.1:0").await.context("a port for the relay")?;
        // Not connected: a connected socket reports a dead bridge as an error of the next packet.
        let address = front.local_addr()?;
        let both = [Line::new(seed), Line::new(!seed)].map(Mutex::new);
        let lines = Arc::new(Lines { both, changed: Notify::new() });
        let streams = Arc::new(Streams::new());
        let tasks = [
            tokio::spawn(carry(front, back, callee, Arc::clone(&lines))),
            tokio::spawn(streams::carry(listener, callee, Arc::clone(&streams))),
        ];
        Ok(Relay { address, lines, streams, tasks })
    }

    /// What to dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather of one way.
    pub fn set(&self, way: Way, weather: Weather) {
        self.set_udp(way, weather);
        self.streams.set(way, weather);
    }

    /// Changes the weather of one way for UDP alone: a firewall that lets nothing of it through is one that is cut.
    pub fn set_udp(&self, way: Way, weather: Weather) {
        self.lines.line(way).set(weather);
        self.lines.changed.notify_one();
    }

    /// Resets all TCP connections that live.
    pub fn reset(&self) {
        self.streams.reset();
    }

    /// Ends one direction of all TCP connections that live; the other goes on.
    pub fn half_close(&self, way: Way) {
        self.streams.end(way);
    }

    /// TCP connections so far.
    pub fn connections(&self) -> u64 {
        self.streams.connections()
    }

    /// Changes the weather of both ways.
    pub fn set_both(&self, weather: Weather) {
        Way::BOTH.into_iter().for_each(|way| self.set(way, weather));
    }

    /// Makes the wire faultless.
    pub fn heal(&self) {
        self.set_both(Weather::default());
    }

    /// What has become of the packets of one way, and of the chunks of its streams.
    pub fn traffic(&self, way: Way) -> Traffic {
        let (packets, chunks) = (self.lines.line(way).traffic(), self.streams.traffic(way));
        Traffic { carried: packets.carried + chunks.carried, cut: packets.cut + chunks.cut, ..packets }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A number that is free for both protocols.
async fn both_fronts() -> Result<(UdpSocket, TcpListener)> {
    let mut tried = 0;
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.context("a port for the relay")?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(problem) if tried >= PORTS_TRIED => return Err(problem).context("a port for the relay"),
            Err(_) => tried += 1,
        }
    }
}

async fn carry(front: UdpSocket, back: UdpSocket, callee: SocketAddr, lines: Arc<Lines>) {
    let mut dialler = None;
    let (mut from_dialler, mut from_callee) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        let now = Instant::now();
        let due = Way::BOTH.into_iter().filter_map(|way| lines.line(way).due()).min().unwrap_or(now + IDLE);
        // Errors of sockets are those of wires: what cannot be sent is lost, and a dead callee's refusal says nothing new.
        tokio::select! {
            received = front.recv_from(&mut from_dialler) => if let Ok((length, sender)) = received {
                dialler = Some(sender);
                lines.line(Way::Forward).put(&from_dialler[..length], Instant::now());
            },
            received = back.recv_from(&mut from_callee) => if let Ok((length, sender)) = received
                && sender == callee
            {
                lines.line(Way::Backward).put(&from_callee[..length], Instant::now());
            },
            () = tokio::time::sleep_until(due.into()) => {}
            () = lines.changed.notified() => {}
        }
        let now = Instant::now();
        for way in Way::BOTH {
            loop {
                // The lock is given back before the packet is sent.
                let Some(packet) = lines.line(way).take(now) else { break };
                match (way, dialler) {
                    (Way::Forward, _) => drop(back.send_to(&packet, callee).await),
                    (Way::Backward, Some(dialler)) => drop(front.send_to(&packet, dialler).await),
                    (Way::Backward, None) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
