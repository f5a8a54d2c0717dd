//! What was found, as JSON for machines and as tables for the README.

mod markdown;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::compare::{Cell, Findings, Round};
use crate::disk::Sync;
use crate::run::{Latency, Measured};
use crate::shapes::{Question, Shape};
use crate::sink::Ceiling;
use crate::statistics::{Summary, ratio};

/// Version of the JSON: rises when a field changes its meaning or goes.
const SCHEMA: u32 = 1;
/// A thread that uses this much of a core has no room for more.
const BUSY_THREAD: f64 = 0.9;
/// Beyond this part of what the generator can do alone, it is what is measured.
const NEAR_CEILING: f64 = 0.7;
/// All cores are busy: what generator and servers use of them they take from each other.
const BUSY_MACHINE: f64 = 0.92;

/// Findings with their medians.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    findings: &'a Findings,
    commit: &'a str,
    date: String,
    rows: Vec<Row<'a>>,
}

/// One system and one shape, over all rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(flatten)]
    cell: &'a Cell,
    title: String,
    median: Option<Medians>,
    /// Meshbridge against each other system with the same shape: above 1 it is the faster one.
    ratios: BTreeMap<&'a str, f64>,
    /// Where the figure is one of the generator's, or of the machine's, and why.
    limits: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Medians {
    events_per_second: Summary,
    acknowledged_per_second: Summary,
    server_cpu_seconds_per_million: Option<Summary>,
    server_cores: Summary,
    generator_cores: Summary,
    idle_mib: Option<[Summary; 2]>,
    loaded_mib: Option<[Summary; 2]>,
    latency: Option<Quantiles>,
    lost: u64,
    repeated: u64,
    late: u64,
    refused: u64,
    unedited: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    p50: Summary,
    p99: Summary,
    p999: Summary,
}

impl Medians {
    fn of(cell: &Cell) -> Option<Medians> {
        let rounds = &cell.rounds;
        let of = |part: fn(&Measured) -> f64| Summary::of(rounds.iter().map(|round| part(&round.measured)));
        let sum = |part: fn(&Measured) -> u64| rounds.iter().map(|round| part(&round.measured)).sum();
        let quantile = |part: fn(&Latency) -> f64| {
            Summary::of(rounds.iter().filter_map(|round| round.measured.latency.as_ref().map(part)))
        };
        let mib = |part: fn(&Round) -> &[u64]| -> Option<[Summary; 2]> {
            let of = |at: usize| {
                let bytes = rounds.iter().filter_map(|round| part(round).get(at));
                Summary::of(bytes.map(|bytes| *bytes as f64 / 1_048_576.0))
            };
            Some([of(0)?, of(1)?])
        };
        let quantiles = || {
            Some(Quantiles {
                p50: quantile(|latency| latency.p50)?,
                p99: quantile(|latency| latency.p99)?,
                p999: quantile(|latency| latency.p999)?,
            })
        };
        Some(Medians {
            events_per_second: of(|one| one.events_per_second)?,
            acknowledged_per_second: of(|one| one.acknowledged_per_second)?,
            server_cpu_seconds_per_million: of(|one| one.server_cpu_seconds_per_million),
            server_cores: of(|one| one.server_cores)?,
            generator_cores: of(|one| one.generator_cores)?,
            idle_mib: mib(|round| &round.idle_bytes),
            loaded_mib: mib(|round| &round.measured.resident_bytes),
            latency: quantiles(),
            lost: sum(|one| one.lost),
            repeated: sum(|one| one.repeated),
            late: sum(|one| one.late),
            refused: sum(|one| one.refused),
            unedited: sum(|one| one.unedited),
        })
    }

    fn is_clean(&self) -> bool {
        self.lost + self.repeated + self.refused + self.unedited == 0
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(findings: &'a Findings, commit: &'a str) -> Result<Report<'a>> {
        let date = OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?;
        let medians: Vec<Option<Medians>> = findings.cells.iter().map(Medians::of).collect();
        let rows = findings.cells.iter().zip(&medians).map(|(cell, median)| {
            let rivals = findings.cells.iter().zip(&medians).filter(|(rival, _)| {
                cell.system.starts_with("meshbridge")
                    && !rival.system.starts_with("meshbridge")
                    && is_comparable(&cell.shape, &rival.shape)
            });
            let ratios = rivals.filter_map(|(rival, theirs)| {
                let (ours, theirs) = (median.as_ref()?, theirs.as_ref()?);
                Some((rival.system, advantage(ours, theirs)?))
            });
            Row {
                cell,
                title: cell.shape.title(),
                median: *median,
                ratios: ratios.collect(),
                limits: median.map(|median| limits(cell, &median, findings)).unwrap_or_default(),
            }
        });
        Ok(Report { findings, commit, date, rows: rows.collect() })
    }

    /// Whether something was measured, and all that was came whole, once, and edited as it should be.
    pub(crate) fn is_clean(&self) -> bool {
        let mut medians = self.rows.iter().filter_map(|row| row.median).peekable();
        medians.peek().is_some()
            && medians.all(|median| median.is_clean())
            && self.rows.iter().all(|row| row.cell.failed.is_empty())
    }

    /// Everything, rounds and all.
    pub(crate) fn json(&self) -> Value {
        let Findings { machine, effort, systems, skipped, ceilings, disk, took, .. } = self.findings;
        let disk: Vec<Value> = disk.iter().filter_map(|(bytes, syncs)| disk_figure(*bytes, syncs)).collect();
        json!({
            "schema": SCHEMA,
            "date": self.date,
            "commit": self.commit,
            "machine": machine,
            "effort": effort,
            "tookSeconds": took.as_secs(),
            "systems": systems,
            "skipped": skipped,
            "generatorAlone": ceilings,
            "disk": disk,
            "results": self.rows,
        })
    }
}

fn disk_figure(bytes: usize, syncs: &[Sync]) -> Option<Value> {
    let p50 = Summary::of(syncs.iter().map(|sync| sync.p50_micros))?;
    let rate = Summary::of(syncs.iter().map(|sync| sync.syncs_per_second))?;
    Some(json!({ "bytes": bytes, "fdatasyncP50Micros": p50, "syncsPerSecond": rate, "rounds": syncs }))
}

/// Whether two shapes carry the same events; policies are what Meshbridge has on top.
fn is_comparable(ours: &Shape, theirs: &Shape) -> bool {
    // Others run with headers only where that is a shape of its own.
    let same_bytes =
        ours.attributes == theirs.attributes || ours.question != Question::Throughput || ours.subscribers > 1;
    (ours.question, ours.bytes, ours.subscribers) == (theirs.question, theirs.bytes, theirs.subscribers)
        && same_bytes
}

/// How much better: throughput by theirs, or their latency by ours.
fn advantage(ours: &Medians, theirs: &Medians) -> Option<f64> {
    match (&ours.latency, &theirs.latency) {
        (Some(ours), Some(theirs)) => ratio(theirs.p50.median, ours.p50.median),
        (None, None) => ratio(ours.events_per_second.median, theirs.events_per_second.median),
        _ => None,
    }
}

/// Why a figure may not be the server's own.
fn limits(cell: &Cell, median: &Medians, findings: &Findings) -> Vec<String> {
    let mut limits = Vec::new();
    if median.latency.is_some() {
        return limits;
    }
    let thread = Summary::of(cell.rounds.iter().map(|round| round.measured.generator_busiest_thread));
    if let Some(thread) = thread.filter(|thread| thread.median >= BUSY_THREAD) {
        limits.push(format!("the generator's busiest thread used {:.0} % of a core", thread.median * 100.0));
    }
    let ceiling = findings.ceilings.iter().find(|ceiling| ceiling.bytes == cell.shape.bytes);
    let part = ceiling
        .and_then(|ceiling: &Ceiling| ratio(median.events_per_second.median, ceiling.events_per_second()));
    if let Some(part) = part.filter(|part| *part >= NEAR_CEILING) {
        limits.push(format!("{:.0} % of what the generator does alone", part * 100.0));
    }
    let used = median.generator_cores.median + median.server_cores.median;
    let cores = findings.machine.cores as f64;
    if used >= BUSY_MACHINE * cores {
        let share = median.generator_cores.median / used * 100.0;
        limits.push(format!("all {cores:.0} cores were busy, {share:.0} % of that was the generator"));
    }
    limits
}

#[cfg(test)]
mod tests;
