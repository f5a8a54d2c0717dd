//! A diamond of four bridges, of which the one that carries the events is struck: how long nothing arrives, and what is lost.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::Value;

use crate::connection::Interrupt;
use crate::host::Machine;
use crate::run::named;
use crate::sequences::Verdict;
use crate::statistics::Summary;
use crate::systems::{
    DURABLE_TOPIC, Diamond, FAST_TOPIC, Kind, Place, Programs, Skipped, System, Transport, find,
    start_diamond,
};
use crate::traffic::{Pace, Publisher, Shared, Subscriber};
use crate::wire::Form;

const EVENTS_PER_SECOND: u64 = 1_000;
const EVENT_BYTES: usize = 1_024;
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// Longer than any bridge should need to find the other path.
const WATCHED: Duration = Duration::from_secs(8);
/// Events that waited for a retransmission come after this.
const DRAINED_WITHIN: Duration = Duration::from_secs(30);
const STRIKES: [(&str, Signal); 3] =
    [("SIGTERM", Signal::TERM), ("SIGKILL", Signal::KILL), ("SIGSTOP", Signal::STOP)];

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) programs: Programs,
    pub(crate) rounds: usize,
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) system: String,
    pub(crate) strike: &'static str,
    pub(crate) class: &'static str,
    /// Longest time without an event at B, in milliseconds; events come each millisecond.
    pub(crate) gap_millis: Option<Summary>,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    pub(crate) machine: Machine,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Strikes every link kind of Meshbridge in each way, in both delivery classes.
pub(crate) fn failover(task: &Task, interrupt: &Interrupt) -> Result<Findings> {
    let machine = Machine::of_this();
    let (systems, mut skipped) = find(&task.programs);
    let others = systems.iter().filter(|system| !matches!(system.kind, Kind::Meshbridge { .. }));
    skipped.extend(others.map(|system| Skipped {
        what: system.title.clone(),
        why: "its links may not form cycles, so there is no second path to take".to_owned(),
    }));
    let mut outcomes: BTreeMap<(usize, usize, usize), Outcome> = BTreeMap::new();
    let mut gaps: BTreeMap<(usize, usize, usize), Vec<f64>> = BTreeMap::new();
    for round in 0..task.rounds {
        for (at, system) in systems.iter().enumerate() {
            let Kind::Meshbridge { transport } = system.kind else { continue };
            for (how, (strike, signal)) in STRIKES.into_iter().enumerate() {
                for (class_at, (class, topic)) in
                    [("best-effort", FAST_TOPIC), ("durable", DURABLE_TOPIC)].into_iter().enumerate()
                {
                    interrupt.check()?;
                    let directory = task.directory.join(format!("{}-{strike}-{class}-{round}", system.id));
                    let place = Place {
                        directory: &directory,
                        certificates: &directory,
                        client_tls: false,
                        interrupt,
                    };
                    let struck = strike_one(system, transport, topic, signal, place);
                    interrupt.check()?;
                    let key = (at, how, class_at);
                    let outcome = outcomes.entry(key).or_insert_with(|| Outcome {
                        system: system.title.clone(),
                        strike,
                        class,
                        gap_millis: None,
                        lost: 0,
                        repeated: 0,
                        problems: Vec::new(),
                    });
                    match struck {
                        Ok((gap, verdict)) => {
                            eprintln!("{}, {class}, {strike}: {gap:.0} ms, {verdict:?}", system.title);
                            outcome.lost += verdict.lost;
                            outcome.repeated += verdict.repeated;
                            gaps.entry(key).or_default().push(gap);
                        }
                        Err(problem) => {
                            eprintln!("{}, {class}, {strike}: {problem:#}", system.title);
                            outcome.problems.push(format!("{problem:#}"));
                        }
                    }
                    let _ = std::fs::remove_dir_all(&directory);
                }
            }
        }
    }
    for (key, outcome) in &mut outcomes {
        outcome.gap_millis = gaps.get(key).and_then(|gaps| Summary::of(gaps.iter().copied()));
    }
    Ok(Findings { machine, outcomes: outcomes.into_values().collect(), skipped })
}

/// The gap in milliseconds, and what became of the events.
fn strike_one(
    system: &System,
    transport: Transport,
    topic: &str,
    signal: Signal,
    place: Place<'_>,
) -> Result<(f64, Verdict)> {
    let diamond = start_diamond(&system.program, transport, place)?;
    let shared = Shared::new(1);
    let form = Form { topic, bytes: EVENT_BYTES, attributes: false, acknowledged: false };
    let pace = Pace::Rate { events_per_second: EVENTS_PER_SECOND };
    let publisher = Publisher { target: diamond.publish_at.clone(), form, pace };
    let subscriber = Subscriber { target: diamond.subscribe_at.clone(), topic, lane: 0, forbidden: None };
    let interrupt = place.interrupt;
    std::thread::scope(|scope| {
        let shared = &shared;
        let subscribing = named(scope, "subscriber", move || subscriber.work(shared));
        let publishing = named(scope, "publisher", move || publisher.work(shared));
        let struck = watch(&diamond, shared, signal, interrupt);
        if struck.is_err() {
            shared.abandon();
        }
        let published = publishing.join().ok().context("the publisher panicked")?;
        let deadline = Instant::now() + DRAINED_WITHIN;
        while published.is_ok() && !shared.is_done() && Instant::now() < deadline && !interrupt.is_raised() {
            std::thread::sleep(Duration::from_millis(5));
        }
        shared.abandon();
        let received = subscribing.join().ok().context("the subscriber panicked")??;
        published?;
        struck?;
        Ok((received.longest_gap as f64 / 1e6, received.verdict))
    })
}

fn watch(diamond: &Diamond, shared: &Shared, signal: Signal, interrupt: &Interrupt) -> Result<()> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    while !shared.is_live() {
        interrupt.check()?;
        ensure!(!shared.is_done(), "the subscriber has ended");
        ensure!(Instant::now() < deadline, "no event had come through after {SETTLED_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Both paths are there, and the choice between them is made.
    interrupt.sleep(Duration::from_secs(3))?;
    shared.run();
    interrupt.sleep(Duration::from_secs(1))?;
    let carrier = carrier_to_b(diamond.admin)?;
    let struck = diamond.carriers.get(&carrier).with_context(|| format!("`{carrier}` is not between"))?;
    shared.measure(true);
    struck.signal(signal);
    interrupt.sleep(WATCHED)?;
    shared.measure(false);
    shared.finish();
    Ok(())
}

/// The bridge by which A reaches B now, as A's admin port tells.
fn carrier_to_b(admin: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET /v1/routes HTTP/1.0\r\nhost: {admin}\r\n\r\n")?;
    let mut text = String::new();
    stream.take(1 << 20).read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("the admin port answered without a body")?;
    let routes: Value = serde_json::from_str(body).context("the admin port's routes")?;
    carrier_in(&routes)
}

fn carrier_in(routes: &Value) -> Result<String> {
    let all = routes.as_array().or_else(|| routes["routes"].as_array()).context("routes are a list")?;
    let Some(path) =
        all.iter().find(|route| route["bridge"] == "b-1").and_then(|route| route["path"].as_array())
    else {
        bail!("no route to b-1 in {routes}")
    };
    let carrier = path.iter().filter_map(Value::as_str).find(|id| !["a-1", "b-1"].contains(id));
    carrier.map(str::to_owned).with_context(|| format!("the path to b-1 has no bridge in between: {routes}"))
}

impl Findings {
    /// Whether every strike has a figure, and no durable event was lost or came twice.
    pub(crate) fn is_clean(&self) -> bool {
        let is_clean = |one: &Outcome| {
            one.problems.is_empty() && (one.class != "durable" || one.lost + one.repeated == 0)
        };
        !self.outcomes.is_empty() && self.outcomes.iter().all(is_clean)
    }

    /// A table for a README.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from(
            "| system | class | strike | longest gap, ms | lost | twice |\n|---|---|---|---|---|---|\n",
        );
        for one in &self.outcomes {
            let gap = one
                .gap_millis
                .map_or("–".to_owned(), |gap| format!("{:.0} ({:.0}–{:.0})", gap.median, gap.min, gap.max));
            let Outcome { system, class, strike, lost, repeated, .. } = one;
            out.push_str(&format!("| {system} | {class} | {strike} | {gap} | {lost} | {repeated} |\n"));
        }
        for one in &self.outcomes {
            for problem in &one.problems {
                out.push_str(&format!(
                    "\n- {}, {}, {}: {}\n",
                    one.system,
                    one.class,
                    one.strike,
                    problem.replace('\n', " ")
                ));
            }
        }
        for one in &self.skipped {
            out.push_str(&format!("\nNot compared: {}: {}\n", one.what, one.why));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_carrier_is_the_bridge_between() {
        let routes = json!([
            {"bridge": "x-1", "path": ["a-1", "x-1"]},
            {"bridge": "b-1", "path": ["a-1", "y-1", "b-1"]},
        ]);
        assert_eq!(carrier_in(&routes).expect("a route"), "y-1");
        assert_eq!(carrier_in(&json!({ "routes": routes })).expect("a route"), "y-1");
        assert!(carrier_in(&json!([])).is_err());
        assert!(carrier_in(&json!([{"bridge": "b-1", "path": ["a-1", "b-1"]}])).is_err());
    }
}
