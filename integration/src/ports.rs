//! Ports for bridges that are killed and started again: fixed for the life of a test, and out of the range from which the system picks ports for clients, so
//! that nobody takes one while its bridge is down.

use std::net::{TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

const FIRST: u32 = 11_000;
/// Linux picks from 32,768 on.
const COUNT: u32 = 21_000;

/// A port that is free for UDP and TCP, and that this process has not given out before.
pub(crate) fn reserve() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin far apart.
    let offset = process::id().wrapping_mul(499) % COUNT;
    for _ in 0..COUNT {
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port).expect("below 32,768");
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port below 32,768")
}
