//! The thread that publishes: as fast as its window allows, or at a steady rate.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use super::{STALL_AFTER, Shared};
use crate::connection::{Connection, Target};
use crate::histogram;
use crate::payload::PROBE;
use crate::wire::batch::Batch;
use crate::wire::{Arrival, Form};

const PROBE_EVERY: Duration = Duration::from_millis(10);

/// How fast events are published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as the window of so many unreceived (and, with acknowledgements, so many unacknowledged) events allows, so many bytes in a write.
    Window { events: u64, unacknowledged: u64, write_bytes: usize },
    /// So many events in a second, each on its own.
    Rate { events_per_second: u64 },
}

#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    pub(crate) target: Target,
    pub(crate) form: Form<'a>,
    pub(crate) pace: Pace,
}

/// What a publisher says at its end.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) events: u64,
    pub(crate) refused: u64,
    /// One of the refusals, in the words of the server.
    pub(crate) refusal: Option<String>,
    /// How late events were sent, against an even rate, in nanoseconds; of the generator, not of the server.
    pub(crate) lateness: Histogram<u64>,
}

struct Work<'a> {
    shared: &'a Shared,
    connection: Connection,
    batch: Batch,
    acknowledged: bool,
    refused: u64,
    refusal: Option<String>,
}

impl Publisher<'_> {
    /// Probes until told to run, publishes until told to end, and returns when all is sent and, where that is asked for, acknowledged.
    pub(crate) fn work(&self, shared: &Shared) -> Result<Published> {
        let worked = self.try_work(shared);
        if worked.is_err() {
            shared.abandon();
        }
        worked.context("publisher")
    }

    fn try_work(&self, shared: &Shared) -> Result<Published> {
        shared.publisher.set(std::thread::current()).ok().context("one publisher for each run")?;
        let mut connection = Connection::open(&self.target, "meshbridge-load-publisher")?;
        let answers = self.target.protocol.expect_answers();
        if self.form.acknowledged && !answers.is_empty() {
            connection.ask(&answers)?;
        }
        let write_bytes = match self.pace {
            Pace::Window { write_bytes, .. } => write_bytes,
            Pace::Rate { .. } => 0,
        };
        let batch = || Batch::new(self.target.protocol.frame(self.form), write_bytes);
        let acknowledged = self.form.acknowledged;
        let mut work = Work { shared, connection, batch: batch(), acknowledged, refused: 0, refusal: None };
        work.probe(batch)?;
        let lateness = match self.pace {
            Pace::Window { events, unacknowledged, .. } => {
                work.publish_in_window(events, if acknowledged { unacknowledged } else { u64::MAX / 4 })?;
                histogram()
            }
            Pace::Rate { events_per_second } => work.publish_at_rate(events_per_second)?,
        };
        let events = shared.sent();
        work.wait_for_acknowledgements(events)?;
        shared.end.store(events, Ordering::Release);
        Ok(Published { events, refused: work.refused, refusal: work.refusal, lateness })
    }
}

impl Work<'_> {
    /// Sends events that do not count until somebody says that they arrive.
    fn probe(&mut self, batch: impl Fn() -> Batch) -> Result<()> {
        let mut probes = 0;
        while !self.shared.is_running.load(Ordering::Acquire) {
            if self.is_over() {
                return Ok(());
            }
            // Of its own: to a server that knows a retry when it sees one, the same id again is the same event.
            self.batch = batch();
            self.send(PROBE, 1)?;
            probes += 1;
            std::thread::park_timeout(PROBE_EVERY);
            self.read()?;
        }
        // An answer to a probe must not be taken for one to an event.
        self.wait_for_acknowledgements(probes)?;
        self.shared.acknowledged.store(0, Ordering::Release);
        (self.refused, self.refusal) = (0, None);
        self.shared.has_begun.store(true, Ordering::Release);
        Ok(())
    }

    fn publish_in_window(&mut self, window: u64, unacknowledged: u64) -> Result<()> {
        let mut sent = 0;
        let mut moved = (Instant::now(), 0);
        while !self.is_over() {
            let received = self.shared.slowest();
            let answered = self.shared.acknowledged() + self.refused;
            let limit = (received.min(sent) + window).min(answered + unacknowledged);
            let room = limit.saturating_sub(sent);
            // A write of a few events costs what a full one does, so it waits for a part of the window.
            let enough = (self.batch.capacity() as u64).min(window / 4).min(unacknowledged / 4).max(1);
            if room >= enough {
                let count = room.min(self.batch.capacity() as u64);
                self.send(sent, usize::try_from(count).unwrap_or(usize::MAX))?;
                sent += count;
                self.shared.sent.store(sent, Ordering::Release);
                self.read()?;
                continue;
            }
            let progress = received.min(sent) + answered;
            if progress != moved.1 {
                moved = (Instant::now(), progress);
            } else if moved.0.elapsed() > STALL_AFTER {
                bail!("nothing moves: {sent} sent, {received} received, {answered} acknowledged");
            }
            if answered + unacknowledged < sent + enough {
                self.connection.wait(false, Duration::from_millis(1))?;
            } else {
                self.shared.wait_for((sent + enough).saturating_sub(window));
            }
            self.read()?;
        }
        Ok(())
    }

    fn publish_at_rate(&mut self, rate: u64) -> Result<Histogram<u64>> {
        let mut lateness = histogram();
        let begin = self.shared.now();
        let mut sent = 0;
        while !self.is_over() {
            let due = begin
                + u64::try_from(u128::from(sent) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX);
            let now = self.shared.now();
            if now < due {
                std::thread::sleep(Duration::from_nanos(due - now));
                continue;
            }
            if self.shared.is_measuring.load(Ordering::Relaxed) {
                lateness.saturating_record(now - due);
            }
            self.send(sent, 1)?;
            sent += 1;
            self.shared.sent.store(sent, Ordering::Release);
            if sent.is_multiple_of(64) {
                self.read()?;
            }
        }
        Ok(lateness)
    }

    /// Writes a batch to its end, taking answers meanwhile.
    fn send(&mut self, first: u64, count: usize) -> Result<()> {
        let mut written = 0;
        let mut moved = Instant::now();
        // The time is that of the write; a batch has one for all.
        let length = self.batch.stamp(first, count, self.shared.now()).len();
        loop {
            let taken = self.connection.write_some(&self.batch.bytes(length)[written..])?;
            written += taken;
            if written == length && self.connection.is_flushed() {
                return Ok(());
            }
            if taken > 0 {
                moved = Instant::now();
                continue;
            }
            if moved.elapsed() > STALL_AFTER {
                bail!("the server has taken no bytes for {STALL_AFTER:?}");
            }
            if self.shared.is_abandoned() {
                bail!("given up");
            }
            self.connection.wait(true, Duration::from_millis(50))?;
            self.read()?;
        }
    }

    /// Takes what the server has sent; whether that was anything.
    fn read(&mut self) -> Result<bool> {
        if self.connection.fill()? == 0 {
            return Ok(false);
        }
        let mut taken = 0;
        let mut pinged = false;
        while let Some((arrival, _)) = self.connection.next()? {
            match arrival {
                Arrival::Taken => taken += 1,
                Arrival::Refused(reason) => {
                    self.refused += 1;
                    self.refusal = Some(reason);
                }
                Arrival::Ping => pinged = true,
                Arrival::Event { .. } | Arrival::Answered | Arrival::Nothing => {}
            }
        }
        self.shared.acknowledged.fetch_add(taken, Ordering::AcqRel);
        if pinged {
            let pong = self.connection.protocol().pong();
            self.connection.send_all(pong, Instant::now() + STALL_AFTER)?;
        }
        Ok(true)
    }

    fn wait_for_acknowledgements(&mut self, events: u64) -> Result<()> {
        let mut moved = Instant::now();
        while self.acknowledged && self.shared.acknowledged() + self.refused < events {
            if moved.elapsed() > STALL_AFTER || self.shared.is_abandoned() {
                let answered = self.shared.acknowledged() + self.refused;
                bail!("{answered} of {events} publications were answered");
            }
            self.connection.wait(false, Duration::from_millis(20))?;
            if self.read()? {
                moved = Instant::now();
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }
}
