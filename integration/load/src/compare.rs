//! The comparison: every system runs every shape, in rounds, side by side; each run has servers of its own.
//!
//! A round goes through the shapes, and each shape through all systems, beginning with another one each round: what the machine does meanwhile meets all alike.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::certificates;
use crate::connection::Interrupt;
use crate::disk::{self, Sync};
use crate::host::{Machine, resident_bytes};
use crate::process::KeptAwake;
use crate::run::{Measured, Plan, run};
use crate::shapes::{Effort, Policies, Question, Shape};
use crate::sink::{Ceiling, ceiling};
use crate::systems::{DURABLE_TOPIC, FAST_TOPIC, Needs, Place, Programs, Skipped, System, find};
use crate::wire::Form;

/// What redaction is to take out of an event.
const PERSONAL: &str = "kim@example.org";
const DISK_TIME: Duration = Duration::from_millis(500);
const SMALL_SYNC_BYTES: usize = 4_096;

/// One system and one shape.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) system: &'static str,
    pub(crate) shape: Shape,
    pub(crate) rounds: Vec<Round>,
    /// Rounds that came to nothing, and why.
    pub(crate) failed: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Round {
    /// Resident memory of each server before its first client, in bytes.
    #[serde(rename = "idleBytes")]
    pub(crate) idle_bytes: Vec<u64>,
    #[serde(flatten)]
    pub(crate) measured: Measured,
}

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) machine: Machine,
    pub(crate) effort: Effort,
    pub(crate) systems: Vec<System>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) ceilings: Vec<Ceiling>,
    /// By the bytes of a write: what the disk did in each round, beside the durable runs.
    pub(crate) disk: BTreeMap<usize, Vec<Sync>>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) took: Duration,
}

/// What to compare, and how long it may take.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) programs: Programs,
    pub(crate) effort: Effort,
    pub(crate) only: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) within: Duration,
    /// Processors are kept awake in all runs, not only in those that ask for it.
    pub(crate) keep_awake: bool,
    /// Clients speak TLS to the servers, and show certificates.
    pub(crate) client_tls: bool,
}

/// Compares. A run that fails is part of the findings; an error is what keeps everything from being measured.
pub(crate) fn compare(task: Task, interrupt: &Interrupt) -> Result<Findings> {
    let begin = Instant::now();
    let machine = Machine::of_this();
    let (mut systems, skipped) = find(&task.programs);
    let is_asked_for =
        |id: &str| task.only.is_empty() || task.only.iter().any(|only| id.starts_with(only.as_str()));
    systems.retain(|system| is_asked_for(system.id));
    for one in &skipped {
        eprintln!("SKIPPED {}: {}", one.what, one.why);
    }
    let certificates = task.directory.join("certificates");
    certificates::write(&certificates)?;
    let mut findings = Findings {
        machine,
        systems,
        skipped,
        ceilings: ceilings(&task.effort, interrupt)?,
        disk: BTreeMap::new(),
        cells: Vec::new(),
        took: Duration::ZERO,
        effort: task.effort,
    };
    findings.lay_out();
    let mut comparison = Comparison {
        findings,
        directory: task.directory,
        certificates,
        deadline: begin + task.within,
        keep_awake: task.keep_awake,
        client_tls: task.client_tls,
        interrupt,
        runs: 0,
    };
    comparison.all_rounds()?;
    let mut findings = comparison.findings;
    findings.took = begin.elapsed();
    Ok(findings)
}

fn ceilings(effort: &Effort, interrupt: &Interrupt) -> Result<Vec<Ceiling>> {
    let mut sizes: Vec<usize> = effort.shapes.iter().map(|shape| shape.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    eprintln!("The generator alone: {sizes:?} bytes");
    sizes.into_iter().map(|bytes| ceiling(bytes, effort.measure / 2, interrupt)).collect()
}

impl Findings {
    /// One cell for each system and shape that it can run; what it cannot run is listed as skipped.
    fn lay_out(&mut self) {
        for system in &self.systems {
            let mut lacks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for shape in &self.effort.shapes {
                match system.lacks(needs(shape)) {
                    Some(why) => lacks.entry(why).or_default().push(shape.title()),
                    None => self.cells.push(Cell {
                        system: system.id,
                        shape: *shape,
                        rounds: Vec::new(),
                        failed: Vec::new(),
                    }),
                }
            }
            for (why, shapes) in lacks {
                let what = format!("{}: {}", system.title, shapes.join("; "));
                self.skipped.push(Skipped { what, why: why.to_owned() });
            }
        }
    }
}

fn needs(shape: &Shape) -> Needs {
    Needs { durable: shape.is_durable(), attributes: shape.attributes, policies: shape.policies }
}

struct Comparison<'a> {
    findings: Findings,
    directory: PathBuf,
    certificates: PathBuf,
    deadline: Instant,
    keep_awake: bool,
    client_tls: bool,
    interrupt: &'a Interrupt,
    runs: usize,
}

impl Comparison<'_> {
    fn all_rounds(&mut self) -> Result<()> {
        let rounds = self.findings.effort.rounds;
        let shapes = self.findings.effort.shapes.clone();
        for round in 0..rounds {
            for shape in &shapes {
                if Instant::now() > self.deadline {
                    let what = format!("from round {} of {rounds}, {}, on", round + 1, shape.title());
                    eprintln!("SKIPPED {what}: the time is over");
                    let why = "the time for the comparison was over".to_owned();
                    self.findings.skipped.push(Skipped { what, why });
                    return Ok(());
                }
                eprintln!("Round {} of {rounds}: {}", round + 1, shape.title());
                if shape.is_durable() {
                    self.measure_disk(shape)?;
                }
                let mut cells: Vec<usize> = (0..self.findings.cells.len())
                    .filter(|at| self.findings.cells[*at].shape == *shape)
                    .collect();
                let shift = if cells.is_empty() { 0 } else { round % cells.len() };
                cells.rotate_left(shift);
                for at in cells {
                    self.measure(at)?;
                }
            }
        }
        Ok(())
    }

    fn measure_disk(&mut self, shape: &Shape) -> Result<()> {
        for bytes in [SMALL_SYNC_BYTES, shape.unacknowledged_bytes()] {
            let sync = disk::sync(&self.directory, bytes, DISK_TIME, self.interrupt)?;
            self.findings.disk.entry(bytes).or_default().push(sync);
        }
        Ok(())
    }

    /// One run; it fails only when the whole comparison is to end.
    fn measure(&mut self, at: usize) -> Result<()> {
        self.interrupt.check()?;
        self.runs += 1;
        let cell = &self.findings.cells[at];
        let (id, shape) = (cell.system, cell.shape);
        let directory = self.directory.join(format!("{}-{id}", self.runs));
        let found =
            self.findings.systems.iter().find(|system| system.id == id).expect("cells are made of systems");
        let outcome = self.one_run(found, &shape, &directory);
        self.interrupt.check()?;
        let cell = &mut self.findings.cells[at];
        match outcome {
            Ok(round) => {
                eprintln!("  {id:<16} {}", in_short(&round.measured));
                cell.rounds.push(round);
            }
            Err(problem) => {
                eprintln!("  {id:<16} failed: {problem:#}");
                cell.failed.push(format!("{problem:#}"));
            }
        }
        // What a run leaves would fill the disk over a night; a directory that cannot be removed is found by whoever looks for space.
        let _ = fs::remove_dir_all(&directory);
        Ok(())
    }

    fn one_run(&self, system: &System, shape: &Shape, directory: &Path) -> Result<Round> {
        let place = Place {
            directory,
            certificates: &self.certificates,
            client_tls: self.client_tls,
            interrupt: self.interrupt,
        };
        let pair = system.start(needs(shape), place)?;
        self.interrupt.sleep(Duration::from_millis(200))?;
        let pids = pair.pids();
        let idle_bytes = pids.iter().map(|pid| resident_bytes(*pid)).collect::<Result<_>>()?;
        let awake = self.keep_awake || shape.question == Question::LatencyAwake;
        // Held for its Drop.
        let _awake = awake.then(|| KeptAwake::start(directory)).transpose()?;
        let mqtt_acknowledges = system.id == "mosquitto-qos1";
        let topic = if shape.is_durable() { DURABLE_TOPIC } else { FAST_TOPIC };
        let form = Form {
            topic,
            bytes: shape.bytes,
            attributes: shape.attributes,
            acknowledged: shape.is_durable() || mqtt_acknowledges,
        };
        let is_latency = matches!(shape.question, Question::Latency | Question::LatencyAwake);
        let plan = Plan {
            publish_at: pair.publish_at.clone(),
            subscribe_at: pair.subscribe_at.clone(),
            form,
            subscribers: shape.subscribers,
            pace: shape.pace(),
            warm_up: self.findings.effort.warm_up,
            measure: self.findings.effort.measure * if is_latency { 2 } else { 1 },
            whole: shape.is_durable(),
            servers: pids,
            forbidden: (shape.policies == Policies::Redaction).then_some(PERSONAL),
        };
        let measured = run(&plan, self.interrupt).map_err(|problem| {
            let log = pair.log();
            problem.context(format!("the servers said: {log}"))
        })?;
        Ok(Round { idle_bytes, measured })
    }
}

fn in_short(measured: &Measured) -> String {
    let wrong = [
        ("lost", measured.lost),
        ("twice", measured.repeated),
        ("late", measured.late),
        ("refused", measured.refused),
        ("unedited", measured.unedited),
    ];
    let wrong: String = wrong
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!(", {count} {what}"))
        .collect();
    match &measured.latency {
        Some(latency) => format!(
            "p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs{wrong}",
            latency.p50, latency.p99, latency.p999
        ),
        None => format!(
            "{:.1} thousand/s, {:.2} CPU-s per million, generator {:.2} cores{wrong}",
            measured.events_per_second / 1e3,
            measured.server_cpu_seconds_per_million,
            measured.generator_cores
        ),
    }
}
