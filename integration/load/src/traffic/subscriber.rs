//! A thread that subscribes, judges what arrives, and tells the publisher how far it is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::{STALL_AFTER, Shared};
use crate::connection::{Connection, Target};
use crate::histogram;
use crate::payload::{PROBE, stamps};
use crate::sequences::{Sequences, Verdict};
use crate::wire::Arrival;

/// Events between two words to the publisher: a read brings more than it should wait for.
const ADVANCE_EVERY: u32 = 256;

#[derive(Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) target: Target,
    pub(crate) topic: &'a str,
    pub(crate) lane: usize,
    /// Text that must not be in an event: what policies were to take out.
    pub(crate) forbidden: Option<&'a str>,
}

/// What a subscriber says at its end.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) verdict: Verdict,
    /// Events that had what policies were to take out, among those that were looked at.
    pub(crate) unedited: u64,
    /// Nanoseconds from the write of an event to its reading, while measuring.
    pub(crate) latency: Histogram<u64>,
    /// Longest time without a new event while measuring, in nanoseconds.
    pub(crate) longest_gap: u64,
}

impl Subscriber<'_> {
    /// Subscribes, and reads until everything has come or the run is given up.
    pub(crate) fn work(&self, shared: &Shared) -> Result<Received> {
        let worked = self.try_work(shared);
        if worked.is_err() {
            shared.abandon();
        }
        shared.lanes[self.lane].is_done.store(true, Ordering::Release);
        worked.with_context(|| format!("subscriber {}", self.lane))
    }

    fn try_work(&self, shared: &Shared) -> Result<Received> {
        let lane = &shared.lanes[self.lane];
        let client = format!("meshbridge-load-subscriber-{}", self.lane);
        let mut connection = Connection::open(&self.target, &client)?;
        connection.ask(&self.target.protocol.subscribe(self.topic, 1))?;
        let mut sequences = Sequences::default();
        let mut latency = histogram();
        let mut replies = Vec::new();
        let mut unedited = 0;
        let (mut longest_gap, mut last_event) = (0, None);
        while !shared.is_abandoned() && !sequences.is_complete(shared.end.load(Ordering::Acquire)) {
            if connection.fill()? == 0 {
                if let Some(last) = last_event.filter(|_| shared.is_measuring.load(Ordering::Relaxed)) {
                    longest_gap = longest_gap.max(shared.now().saturating_sub(last));
                }
                connection.wait(false, Duration::from_millis(20))?;
                continue;
            }
            let now = shared.now();
            let measuring = shared.is_measuring.load(Ordering::Relaxed);
            let before = sequences.next();
            let mut unspoken = 0;
            while let Some((arrival, bytes)) = connection.next()? {
                match arrival {
                    Arrival::Event { payload, packet } => {
                        self.target.protocol.acknowledge(packet, &mut replies);
                        let payload = &bytes[payload];
                        let (sequence, sent) =
                            stamps(payload).context("an event arrived without its number")?;
                        if sequence == PROBE {
                            lane.is_live.store(true, Ordering::Release);
                            continue;
                        }
                        if measuring {
                            latency.saturating_record(now.saturating_sub(sent));
                        }
                        sequences.enter(sequence);
                        if unspoken == 0 {
                            // One in so many is looked at: enough to see a policy that does not act.
                            unedited += u64::from(self.is_unedited(payload));
                        }
                        unspoken += 1;
                        if unspoken == ADVANCE_EVERY {
                            unspoken = 0;
                            shared.advance(self.lane, sequences.next());
                        }
                    }
                    Arrival::Ping => replies.extend_from_slice(self.target.protocol.pong()),
                    Arrival::Refused(reason) => anyhow::bail!("refused: {reason}"),
                    Arrival::Taken | Arrival::Answered | Arrival::Nothing => {}
                }
            }
            if sequences.next() > before {
                if let Some(last) = last_event.filter(|_| measuring) {
                    longest_gap = longest_gap.max(now.saturating_sub(last));
                }
                last_event = Some(now);
            }
            if unspoken > 0 {
                shared.advance(self.lane, sequences.next());
            }
            if !replies.is_empty() {
                connection.send_all(&replies, Instant::now() + STALL_AFTER)?;
                replies.clear();
            }
        }
        Ok(Received { verdict: sequences.verdict(shared.sent()), unedited, latency, longest_gap })
    }

    fn is_unedited(&self, payload: &[u8]) -> bool {
        // The fields that policies edit stand before the padding.
        let head = &payload[..payload.len().min(256)];
        self.forbidden.is_some_and(|text| memchr::memmem::find(head, text.as_bytes()).is_some())
    }
}
