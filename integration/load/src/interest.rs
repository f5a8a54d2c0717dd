//! Many subscriptions: how long until the other end knows of all of them, and what they cost in memory at both. Before
//! them single ones: how long from a subscription to the first event.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::certificates;
use crate::connection::{Connection, Interrupt};
use crate::host::{Machine, resident_bytes};
use crate::payload::{BYTES_MIN, stamps};
use crate::shapes::Policies;
use crate::systems::{Kind, Needs, Pair, Place, Programs, Skipped, find};
use crate::wire::batch::Batch;
use crate::wire::{Arrival, Form, Protocol, nats};

/// Subscriptions that are tried from the other end, spread over all of them; the last one is among them.
const SAMPLES: usize = 64;
const PROBE_EVERY: Duration = Duration::from_millis(5);
const SUBSCRIBE_BYTES: usize = 256 << 10;
/// Subscriptions of which the first event is timed, one after the other.
const FIRST_EVENTS: usize = 200;
/// Between them, so that none is told along with the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// An event is published so often until one comes.
const FIRST_EVERY: Duration = Duration::from_micros(100);

/// What is to be found out, and with what.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) programs: Programs,
    pub(crate) subscriptions: Vec<usize>,
    pub(crate) directory: PathBuf,
    /// A run that takes longer is given up.
    pub(crate) within: Duration,
}

/// One system and one number of subscriptions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) system: String,
    pub(crate) subscriptions: usize,
    pub(crate) measured: Option<Live>,
    /// Why there is no figure, where there is none.
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Live {
    /// Until B has taken all of them.
    pub(crate) taken_seconds: f64,
    /// Until an event published at A reaches every one that is tried.
    pub(crate) live_seconds: f64,
    /// From a subscription at B to the first of the events published at A all the time, p50 and p99, in milliseconds.
    pub(crate) first_event_ms: [f64; 2],
    /// Resident memory that A and B have more than before, in MiB.
    pub(crate) grown_mib: [f64; 2],
}

#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    pub(crate) machine: Machine,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Tries all systems whose servers tell each other of subscriptions; a mosquitto bridge forwards what its file says.
pub(crate) fn interest(task: &Task, interrupt: &Interrupt) -> Result<Findings> {
    let machine = Machine::of_this();
    let (mut systems, skipped) = find(&task.programs);
    systems.retain(|system| !matches!(system.kind, Kind::Mosquitto { .. }));
    let certificates = task.directory.join("certificates");
    certificates::write(&certificates)?;
    let mut outcomes = Vec::new();
    for subscriptions in task.subscriptions.iter().copied() {
        for system in &systems {
            interrupt.check()?;
            let directory = task.directory.join(format!("{}-{subscriptions}", system.id));
            let place =
                Place { directory: &directory, certificates: &certificates, client_tls: false, interrupt };
            let needs = Needs { durable: false, attributes: false, policies: Policies::Off };
            let deadline = Instant::now() + task.within;
            let measured = system.start(needs, place).and_then(|pair| {
                interrupt.sleep(Duration::from_millis(500))?;
                measure(&pair, subscriptions, deadline, interrupt)
            });
            interrupt.check()?;
            let title = system.title.clone();
            let (measured, problem) = match measured {
                Ok(live) => (Some(live), None),
                Err(problem) => (None, Some(format!("{problem:#}"))),
            };
            eprintln!("{title}, {subscriptions}: {measured:?} {}", problem.as_deref().unwrap_or_default());
            outcomes.push(Outcome { system: title, subscriptions, measured, problem });
        }
    }
    Ok(Findings { machine, outcomes, skipped })
}

fn topic(number: usize) -> String {
    // Four levels, as people build them: nothing here is one prefix with a million children.
    format!("bench.fast.{}.{}.{number}", number % 97, number % 1_009)
}

fn measure(pair: &Pair, subscriptions: usize, deadline: Instant, interrupt: &Interrupt) -> Result<Live> {
    let pids = pair.pids();
    let resident = || -> Result<[f64; 2]> {
        let mib = |pid: u32| resident_bytes(pid).map(|bytes| bytes as f64 / 1_048_576.0);
        Ok([mib(pids[0])?, mib(pids[1])?])
    };
    let mut subscriber = Connection::open(&pair.subscribe_at, "meshbridge-load-subscriber")?;
    let mut publisher = Connection::open(&pair.publish_at, "meshbridge-load-publisher")?;
    let first_event_ms = first_events(&mut subscriber, &mut publisher, deadline, interrupt)?;
    let before = resident()?;
    let begin = Instant::now();
    let mut out = Vec::with_capacity(SUBSCRIBE_BYTES + 128);
    for number in 0..subscriptions {
        nats::subscribe_quietly(&topic(number), number as u64 + 1, &mut out);
        if out.len() >= SUBSCRIBE_BYTES || number + 1 == subscriptions {
            interrupt.check()?;
            subscriber.send_all(&out, deadline)?;
            out.clear();
        }
    }
    subscriber.ask_within(b"PING\r\n", deadline)?;
    let taken_seconds = begin.elapsed().as_secs_f64();
    let mut samples = samples(subscriptions);
    while samples.iter().any(|(_, is_live)| !is_live) {
        interrupt.check()?;
        if Instant::now() > deadline {
            let missing = samples.iter().filter(|(_, is_live)| !is_live).count();
            bail!("{missing} of {} subscriptions that were tried are not live", samples.len());
        }
        let probed = Instant::now();
        for (index, (number, _)) in samples.iter().enumerate().filter(|(_, (_, is_live))| !is_live) {
            let form =
                Form { topic: &topic(*number), bytes: BYTES_MIN, attributes: false, acknowledged: false };
            let mut batch = Batch::new(Protocol::Nats.frame(form), 0);
            publisher.send_all(batch.stamp(index as u64, 1, 0), deadline)?;
        }
        answer_pings(&mut publisher, deadline)?;
        while probed.elapsed() < PROBE_EVERY {
            if subscriber.fill()? == 0 {
                subscriber.wait(false, PROBE_EVERY)?;
            }
            while let Some((arrival, bytes)) = subscriber.next()? {
                if let Arrival::Refused(reason) = &arrival {
                    bail!("refused: {reason}");
                }
                let Arrival::Event { payload, .. } = arrival else { continue };
                let index = stamps(&bytes[payload]).and_then(|(index, _)| usize::try_from(index).ok());
                if let Some((_, is_live)) = index.and_then(|index| samples.get_mut(index)) {
                    *is_live = true;
                }
            }
        }
    }
    let live_seconds = begin.elapsed().as_secs_f64();
    let after = resident()?;
    Ok(Live {
        taken_seconds,
        live_seconds,
        first_event_ms,
        grown_mib: [after[0] - before[0], after[1] - before[1]],
    })
}

/// p50 and p99 in milliseconds.
fn first_events(
    subscriber: &mut Connection,
    publisher: &mut Connection,
    deadline: Instant,
    interrupt: &Interrupt,
) -> Result<[f64; 2]> {
    let mut times = Vec::with_capacity(FIRST_EVENTS);
    for number in 0..FIRST_EVENTS {
        interrupt.sleep(FIRST_PAUSE)?;
        let topic = format!("bench.fast.first.{number}");
        let form = Form { topic: &topic, bytes: BYTES_MIN, attributes: false, acknowledged: false };
        let mut out = Vec::new();
        // Behind those of `measure`.
        nats::subscribe_quietly(&topic, u64::from(u32::MAX) + number as u64, &mut out);
        let begin = Instant::now();
        subscriber.send_all(&out, deadline)?;
        while !has_come(subscriber, number)? {
            if Instant::now() > deadline {
                bail!("no event comes for {topic}");
            }
            let probed = Instant::now();
            let mut batch = Batch::new(Protocol::Nats.frame(form), 0);
            publisher.send_all(batch.stamp(number as u64, 1, 0), deadline)?;
            answer_pings(publisher, deadline)?;
            while probed.elapsed() < FIRST_EVERY && subscriber.fill()? == 0 {}
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    Ok([at(0.5), at(0.99)])
}

/// Whether an event of this number is among those that have come. Further ones of an earlier number may be.
fn has_come(subscriber: &mut Connection, number: usize) -> Result<bool> {
    subscriber.fill()?;
    let mut has_come = false;
    while let Some((arrival, bytes)) = subscriber.next()? {
        match &arrival {
            Arrival::Refused(reason) => bail!("refused: {reason}"),
            Arrival::Event { payload, .. } => {
                has_come |= stamps(&bytes[payload.clone()]).is_some_and(|(index, _)| index == number as u64);
            }
            _ => {}
        }
    }
    Ok(has_come)
}

fn answer_pings(connection: &mut Connection, deadline: Instant) -> Result<()> {
    connection.fill()?;
    let mut pings = 0;
    while let Some((arrival, _)) = connection.next()? {
        match arrival {
            Arrival::Ping => pings += 1,
            Arrival::Refused(reason) => bail!("refused: {reason}"),
            _ => {}
        }
    }
    (0..pings).try_for_each(|_| connection.send_all(Protocol::Nats.pong(), deadline))
}

/// Numbers of subscriptions that are tried, spread evenly, and whether an event has come for them.
fn samples(subscriptions: usize) -> Vec<(usize, bool)> {
    let count = SAMPLES.min(subscriptions);
    (1..=count).map(|part| (subscriptions * part / count - 1, false)).collect()
}

impl Findings {
    /// A table for a README.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from(
            "| system | subscriptions at B | taken by B, s | live at A, s | memory A / B, MiB | first event, ms, p50 / p99 |\n|---|---|---|---|---|---|\n",
        );
        for Outcome { system, subscriptions, measured, problem } in &self.outcomes {
            let figures = match measured {
                Some(live) => format!(
                    "{:.2} | {:.2} | +{:.0} / +{:.0} | {:.2} / {:.2}",
                    live.taken_seconds,
                    live.live_seconds,
                    live.grown_mib[0],
                    live.grown_mib[1],
                    live.first_event_ms[0],
                    live.first_event_ms[1]
                ),
                None => {
                    format!("– | – | – | {}", problem.as_deref().unwrap_or("not measured").replace('\n', " "))
                }
            };
            out.push_str(&format!("| {system} | {subscriptions} | {figures} |\n"));
        }
        for one in &self.skipped {
            out.push_str(&format!("\nNot compared: {}: {}\n", one.what, one.why));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_subscription_is_always_tried() {
        for subscriptions in [1, 63, 64, 1_000, 1_000_000] {
            let samples = samples(subscriptions);
            assert_eq!(samples.last(), Some(&(subscriptions - 1, false)));
            assert!(samples.is_sorted() && samples.len() <= SAMPLES);
        }
    }

    #[test]
    fn subscriptions_are_distinct() {
        let topics: std::collections::BTreeSet<String> = (0..5_000).map(topic).collect();
        assert_eq!(topics.len(), 5_000);
    }
}
