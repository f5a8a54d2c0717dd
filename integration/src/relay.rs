//! A faulty wire for UDP, in user space: it stands between two bridges, which dial it instead of each other, and loses, repeats, delays, reorders, throttles
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

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use line::Line;
pub use line::{QUEUE_BYTES_MAX, Traffic, Weather};

/// The largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
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
    task: JoinHandle<()>,
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
        let front = UdpSocket::bind("127.0.0.1:0").await.context("a port for the relay")?;
        let back = UdpSocket::bind("127.0.0.1:0").await.context("a port for the relay")?;
        // Not connected: a connected socket reports a dead bridge as an error of the next packet.
        let address = front.local_addr()?;
        let both = [Line::new(seed), Line::new(!seed)].map(Mutex::new);
        let lines = Arc::new(Lines { both, changed: Notify::new() });
        let task = tokio::spawn(carry(front, back, callee, Arc::clone(&lines)));
        Ok(Relay { address, lines, task })
    }

    /// What to dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather of one way.
    pub fn set(&self, way: Way, weather: Weather) {
        self.lines.line(way).set(weather);
        self.lines.changed.notify_one();
    }

    /// Changes the weather of both ways.
    pub fn set_both(&self, weather: Weather) {
        Way::BOTH.into_iter().for_each(|way| self.set(way, weather));
    }

    /// Makes the wire faultless.
    pub fn heal(&self) {
        self.set_both(Weather::default());
    }

    /// What has become of the packets of one way.
    pub fn traffic(&self, way: Way) -> Traffic {
        self.lines.line(way).traffic()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
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
