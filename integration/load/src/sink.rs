//! The generator alone: what its publisher can write when somebody only reads and forgets, and what its subscriber can read when somebody only writes. No
//! server can be measured beyond this.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::connection::{Interrupt, Target};
use crate::host::cpu_of_self;
use crate::run::named;
use crate::traffic::{Pace, Publisher, Shared, Subscriber};
use crate::wire::batch::Batch;
use crate::wire::{Form, Protocol, nats};

const TOPIC: &str = "bench.sink";

/// What the generator can do by itself.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ceiling {
    pub(crate) bytes: usize,
    /// Events in a second that the publisher writes to a peer that discards them.
    pub(crate) published_per_second: f64,
    /// Events in a second that one subscriber reads and checks.
    pub(crate) received_per_second: f64,
    /// Processor time of the publishing and of one subscribing thread for an event.
    pub(crate) publisher_nanos: f64,
    pub(crate) subscriber_nanos: f64,
}

impl Ceiling {
    /// The most events in a second that the generator could see, with a core for each of its threads.
    pub(crate) fn events_per_second(&self) -> f64 {
        self.published_per_second.min(self.received_per_second)
    }
}

/// Measures both ends for events of this size.
pub(crate) fn ceiling(bytes: usize, time: Duration, interrupt: &Interrupt) -> Result<Ceiling> {
    let (published_per_second, publisher_nanos) =
        published(bytes, time, interrupt).context("publisher alone")?;
    let (received_per_second, subscriber_nanos) =
        received(bytes, time, interrupt).context("subscriber alone")?;
    Ok(Ceiling { bytes, published_per_second, received_per_second, publisher_nanos, subscriber_nanos })
}

fn listen() -> Result<(TcpListener, Target)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, Target { address, protocol: Protocol::Nats, tls: None }))
}

/// Answers what a client says at first: one PONG for each PING.
fn greet(mut peer: &TcpStream, pings: usize) -> Result<()> {
    peer.write_all(b"INFO {\"headers\":true}\r\n")?;
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    while memchr::memmem::find_iter(&read, b"PING\r\n").count() < pings {
        let length = peer.read(&mut buffer)?;
        anyhow::ensure!(length > 0, "the generator closed its connection");
        let before = memchr::memmem::find_iter(&read, b"PING\r\n").count();
        read.extend_from_slice(&buffer[..length]);
        for _ in before..memchr::memmem::find_iter(&read, b"PING\r\n").count() {
            peer.write_all(b"PONG\r\n")?;
        }
    }
    Ok(())
}

fn published(bytes: usize, time: Duration, interrupt: &Interrupt) -> Result<(f64, f64)> {
    let (listener, target) = listen()?;
    let shared = Shared::new(0);
    let form = Form { topic: TOPIC, bytes, attributes: false, acknowledged: false };
    let pace = Pace::Window { events: u64::MAX / 4, unacknowledged: u64::MAX / 4, write_bytes: 128 << 10 };
    let publisher = Publisher { target, form, pace };
    thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            let (mut peer, _) = listener.accept()?;
            greet(&peer, 1)?;
            let mut buffer = vec![0; 1 << 20];
            while peer.read(&mut buffer)? > 0 {}
            Ok(())
        });
        let (publisher, shared) = (&publisher, &shared);
        let publishing = named(scope, "publisher", move || publisher.work(shared));
        shared.run();
        let measured = rate(shared, "publisher", time, interrupt, Shared::sent);
        shared.finish();
        publishing.join().ok().context("the publisher panicked")??;
        measured
    })
}

fn received(bytes: usize, time: Duration, interrupt: &Interrupt) -> Result<(f64, f64)> {
    let (listener, target) = listen()?;
    let shared = Shared::new(1);
    let subscriber = Subscriber { target, topic: TOPIC, lane: 0, forbidden: None };
    thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            let (mut peer, _) = listener.accept()?;
            greet(&peer, 2)?;
            let mut batch = Batch::new(nats::delivery(TOPIC, bytes), 128 << 10);
            let count = batch.capacity();
            // Ends with the connection.
            for first in (0u64..).step_by(count) {
                peer.write_all(batch.stamp(first, count, 0))?;
            }
            Ok(())
        });
        let (subscriber, shared) = (&subscriber, &shared);
        let subscribing = named(scope, "subscriber", move || subscriber.work(shared));
        let measured = rate(shared, "subscriber", time, interrupt, Shared::slowest);
        shared.abandon();
        subscribing.join().ok().context("the subscriber panicked")??;
        measured
    })
}

/// How long an end may have nothing to show.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Events in a second, and nanoseconds of processor time of the thread of this name for each.
fn rate(
    shared: &Shared,
    thread: &str,
    time: Duration,
    interrupt: &Interrupt,
    count: fn(&Shared) -> u64,
) -> Result<(f64, f64)> {
    interrupt.sleep(time / 4)?;
    let (begin, before, cpu) = (Instant::now(), count(shared), cpu_of_self()?);
    interrupt.sleep(time)?;
    // On a busy machine the other end may not have had its turn yet.
    while count(shared) == before && begin.elapsed() < IDLE_MAX {
        interrupt.sleep(time)?;
    }
    let events = (count(shared) - before) as f64;
    let nanos = cpu_of_self()?.busiest_since(&cpu, thread) * 1e9 / events;
    Ok((events / begin.elapsed().as_secs_f64(), nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_move_events_by_themselves() {
        let ceiling = ceiling(128, Duration::from_millis(40), &Interrupt::default()).expect("loopback");
        assert!(ceiling.published_per_second > 0.0 && ceiling.received_per_second > 0.0, "{ceiling:?}");
    }
}
