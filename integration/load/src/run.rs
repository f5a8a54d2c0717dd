//! One measured run: connect, probe until the path is there, warm up, measure, stop, and wait until everything has come.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::connection::{Interrupt, Target};
use crate::host::{Cpu, cpu_of, cpu_of_self, resident_bytes};
use crate::sequences::Verdict;
use crate::traffic::{Pace, Published, Publisher, Received, Shared, Subscriber};
use crate::wire::Form;

const LIVE_WITHIN: Duration = Duration::from_secs(15);
/// What has not come by then does not come: servers here are on loopback.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) publish_at: Target,
    pub(crate) subscribe_at: Target,
    pub(crate) form: Form<'a>,
    pub(crate) subscribers: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
    /// Count all events from the first to the last answer, not those of the measured time: for servers that answer in bursts.
    pub(crate) whole: bool,
    /// Processes of the system under test.
    pub(crate) servers: Vec<u32>,
    pub(crate) forbidden: Option<&'a str>,
}

/// What one run came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    /// Events in a second that every subscriber received, while it was measured.
    pub(crate) events_per_second: f64,
    /// Publications in a second that the server acknowledged; 0 where none were asked for.
    pub(crate) acknowledged_per_second: f64,
    /// Processor seconds of all servers for a million published events.
    pub(crate) server_cpu_seconds_per_million: f64,
    /// Resident memory of each server at the end of the measured time, in bytes.
    pub(crate) resident_bytes: Vec<u64>,
    /// Cores that the servers kept busy.
    pub(crate) server_cores: f64,
    /// Cores that this program kept busy, and its busiest thread alone.
    pub(crate) generator_cores: f64,
    pub(crate) generator_busiest_thread: f64,
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) late: u64,
    pub(crate) refused: u64,
    /// Why publications were refused, in the words of the server, where any were.
    pub(crate) refusal: Option<String>,
    /// Events that still had what a policy was to take out, among those that were looked at.
    pub(crate) unedited: u64,
    pub(crate) latency: Option<Latency>,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) events: u64,
    /// How late the generator itself sent its events, against an even rate.
    pub(crate) lateness_p50: f64,
    pub(crate) lateness_p99: f64,
}

struct Snapshot {
    at: Instant,
    received: u64,
    acknowledged: u64,
    servers: f64,
    own: Cpu,
}

impl Snapshot {
    fn take(shared: &Shared, servers: &[u32]) -> Result<Snapshot> {
        Ok(Snapshot {
            at: Instant::now(),
            received: shared.slowest(),
            acknowledged: shared.acknowledged(),
            servers: cpu_of(servers)?,
            own: cpu_of_self()?,
        })
    }
}

/// Runs the plan. Losing events is a result, not an error; not getting anywhere is an error.
pub(crate) fn run(plan: &Plan<'_>, interrupt: &Interrupt) -> Result<Measured> {
    let shared = Shared::new(plan.subscribers);
    thread::scope(|scope| {
        let subscribers: Vec<_> = (0..plan.subscribers)
            .map(|lane| {
                let subscriber = Subscriber {
                    target: plan.subscribe_at.clone(),
                    topic: plan.form.topic,
                    lane,
                    forbidden: plan.forbidden,
                };
                let shared = &shared;
                named(scope, "subscriber", move || subscriber.work(shared))
            })
            .collect();
        let publisher = Publisher { target: plan.publish_at.clone(), form: plan.form, pace: plan.pace };
        let publishing = named(scope, "publisher", {
            let shared = &shared;
            move || publisher.work(shared)
        });
        let observed = observe(plan, &shared, interrupt);
        if observed.is_err() {
            shared.abandon();
        }
        while !publishing.is_finished() {
            if interrupt.is_raised() {
                shared.abandon();
            }
            thread::sleep(Duration::from_millis(1));
        }
        let published = joined(publishing.join());
        // The end is known now; who has not everything by then has lost something.
        let deadline = Instant::now() + DRAINED_WITHIN;
        while published.is_ok() && !shared.is_done() && Instant::now() < deadline && !interrupt.is_raised() {
            thread::sleep(Duration::from_millis(1));
        }
        let at_the_end = Snapshot::take(&shared, &plan.servers);
        shared.abandon();
        let received: Result<Vec<Received>> =
            subscribers.into_iter().map(|subscriber| joined(subscriber.join())).collect();
        // Threads know why they ended; the observer only that they did.
        let (published, received) = match (published, received) {
            (Ok(published), Ok(received)) => (published, received),
            (Err(problem), _) | (_, Err(problem)) => return Err(problem),
        };
        let (before, after, resident) = observed?;
        let after = if plan.whole { at_the_end? } else { after };
        Ok(evaluate(plan, &before, &after, resident, &published, received))
    })
}

/// A thread by whose name its processor time is found.
pub(crate) fn named<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn_scoped(scope, work).expect("this machine has room for a thread")
}

fn joined<T>(result: thread::Result<Result<T>>) -> Result<T> {
    result.unwrap_or_else(|_| bail!("a thread of the generator panicked"))
}

fn observe(
    plan: &Plan<'_>,
    shared: &Shared,
    interrupt: &Interrupt,
) -> Result<(Snapshot, Snapshot, Vec<u64>)> {
    let deadline = Instant::now() + LIVE_WITHIN;
    while !shared.is_live() {
        interrupt.check()?;
        ensure!(!shared.is_done(), "the subscribers have ended");
        ensure!(Instant::now() < deadline, "no event had come through after {LIVE_WITHIN:?}");
        thread::sleep(Duration::from_millis(2));
    }
    // Probes that are still under way are to arrive before what counts.
    interrupt.sleep(Duration::from_millis(50))?;
    shared.run();
    while !shared.has_begun() {
        interrupt.check()?;
        ensure!(!shared.is_done(), "the subscribers have ended");
        thread::sleep(Duration::from_millis(1));
    }
    if !plan.whole {
        interrupt.sleep(plan.warm_up)?;
    }
    shared.measure(true);
    let before = Snapshot::take(shared, &plan.servers).context("before measuring")?;
    interrupt.sleep(plan.measure)?;
    let after = Snapshot::take(shared, &plan.servers).context("after measuring")?;
    shared.measure(false);
    let resident = plan.servers.iter().map(|pid| resident_bytes(*pid)).collect::<Result<_>>()?;
    shared.finish();
    Ok((before, after, resident))
}

fn evaluate(
    plan: &Plan<'_>,
    before: &Snapshot,
    after: &Snapshot,
    resident_bytes: Vec<u64>,
    published: &Published,
    received: Vec<Received>,
) -> Measured {
    let seconds = (after.at - before.at).as_secs_f64();
    let events = (after.received - before.received) as f64;
    let acknowledged = (after.acknowledged - before.acknowledged) as f64;
    let servers = after.servers - before.servers;
    let sum = |part: fn(&Verdict) -> u64| received.iter().map(|one| part(&one.verdict)).sum();
    let measured = Measured {
        events_per_second: events / seconds,
        acknowledged_per_second: acknowledged / seconds,
        server_cpu_seconds_per_million: servers / events * 1e6,
        resident_bytes,
        server_cores: servers / seconds,
        generator_cores: (after.own.total - before.own.total) / seconds,
        generator_busiest_thread: after.own.busiest_since(&before.own, "") / seconds,
        events: published.events,
        lost: sum(|verdict| verdict.lost),
        repeated: sum(|verdict| verdict.repeated),
        late: sum(|verdict| verdict.late),
        refused: published.refused,
        refusal: published.refusal.clone(),
        unedited: received.iter().map(|one| one.unedited).sum(),
        latency: None,
    };
    match plan.pace {
        Pace::Window { .. } => measured,
        Pace::Rate { .. } => Measured { latency: latency(&received, published), ..measured },
    }
}

fn latency(received: &[Received], published: &Published) -> Option<Latency> {
    let mut all = received.first()?.latency.clone();
    for one in &received[1..] {
        all.add(&one.latency).ok()?;
    }
    let micros = |nanos: u64| nanos as f64 / 1e3;
    Some(Latency {
        p50: micros(all.value_at_quantile(0.5)),
        p99: micros(all.value_at_quantile(0.99)),
        p999: micros(all.value_at_quantile(0.999)),
        max: micros(all.max()),
        events: all.len(),
        lateness_p50: micros(published.lateness.value_at_quantile(0.5)),
        lateness_p99: micros(published.lateness.value_at_quantile(0.99)),
    })
}

#[cfg(test)]
mod tests;
