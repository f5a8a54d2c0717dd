//! The command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tempfile::TempDir;

use crate::compare::{Task, compare};
use crate::connection::Interrupt;
use crate::failover;
use crate::interest;
use crate::report;
use crate::shapes::Effort;
use crate::systems::Programs;

const ROUNDS: usize = 5;
const SUBSCRIPTIONS: [usize; 2] = [100_000, 1_000_000];

/// Load, and the comparison of Meshbridge with other brokers. `./integration/bench` installs what it needs and runs it.
#[derive(Debug, clap::Parser)]
#[command(name = "meshbridge-load", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run all systems through all shapes of traffic, in interleaved rounds, and print medians
    Compare(CompareArguments),
    /// Make many subscriptions at one end: time until they are live at the other, memory at both
    Interest(InterestArguments),
    /// Strike the bridge between two others, of which there are two: how long nothing arrives, what is lost
    Failover(FailoverArguments),
    /// Spin for nothing; `compare` runs it at idle priority to keep processors awake
    #[command(hide = true)]
    Spin,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArguments {
    /// One short round of four shapes
    #[arg(long)]
    quick: bool,
    /// Rounds of the full mode; 5 by default
    #[arg(long, conflicts_with = "quick", value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: Option<u8>,
    /// No run begins after so many minutes; what is left is listed as skipped
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=1440))]
    minutes: u16,
    /// Only systems whose id begins so; can be given more than once
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Only shapes whose title has this text, such as `1 KiB 1→1` or `durable`
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,
    /// Keep processors awake in every run, not only in those that compare latency both ways
    #[arg(long)]
    keep_awake: bool,
    /// Publishers and subscribers speak TLS to the servers too, and show certificates
    #[arg(long)]
    client_tls: bool,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InterestArguments {
    /// How many; can be given more than once. 100,000 and 1,000,000 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    subscriptions: Vec<u32>,
    /// A run that takes longer is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=3600))]
    within: u16,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FailoverArguments {
    /// Rounds of all strikes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// What every comparison is told.
#[derive(Debug, clap::Args)]
pub(crate) struct PlaceArguments {
    /// Directory for servers' files, on the disk that is to be measured
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The bridge
    #[arg(long, value_name = "FILE")]
    meshbridge: Option<PathBuf>,
    /// nats-server as the distribution has it
    #[arg(long, value_name = "FILE")]
    nats: Option<PathBuf>,
    /// A newer nats-server
    #[arg(long, value_name = "FILE")]
    nats_current: Option<PathBuf>,
    /// mosquitto
    #[arg(long, value_name = "FILE")]
    mosquitto: Option<PathBuf>,
    /// What the results are of, such as a commit
    #[arg(long, value_name = "TEXT", default_value = "")]
    commit: String,
}

impl PlaceArguments {
    /// A directory that is gone when this is dropped.
    fn scratch(&self) -> Result<TempDir> {
        let base = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("meshbridge-bench-").tempdir_in(&base);
        made.with_context(|| format!("a directory in `{}`", base.display()))
    }

    fn programs(&self) -> Result<Programs> {
        let absolute = |path: &Option<PathBuf>| -> Result<Option<PathBuf>> {
            let checked = path.as_ref().map(|path| {
                fs::canonicalize(path).with_context(|| format!("no program `{}`", path.display()))
            });
            checked.transpose()
        };
        Ok(Programs {
            meshbridge: absolute(&self.meshbridge)?,
            nats: absolute(&self.nats)?,
            nats_current: absolute(&self.nats_current)?,
            mosquitto: absolute(&self.mosquitto)?,
        })
    }
}

fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
}

impl FailoverArguments {
    /// Exit code 1 where a strike came to no figure, or a durable event was lost or came twice.
    pub(crate) fn work(&self, interrupt: &Interrupt) -> Result<ExitCode> {
        let directory = self.place.scratch()?;
        let task = failover::Task {
            programs: self.place.programs()?,
            rounds: usize::from(self.rounds),
            directory: directory.path().to_owned(),
        };
        let findings = failover::failover(&task, interrupt)?;
        write_json(self.json.as_deref(), &findings)?;
        print!("{}", findings.markdown());
        Ok(ExitCode::from(u8::from(!findings.is_clean())))
    }
}

impl InterestArguments {
    /// Exit code 1 where a system came to no figure.
    pub(crate) fn work(&self, interrupt: &Interrupt) -> Result<ExitCode> {
        let directory = self.place.scratch()?;
        let subscriptions = match self.subscriptions.as_slice() {
            [] => SUBSCRIPTIONS.to_vec(),
            given => given.iter().map(|count| *count as usize).collect(),
        };
        let task = interest::Task {
            programs: self.place.programs()?,
            subscriptions,
            directory: directory.path().to_owned(),
            within: Duration::from_secs(u64::from(self.within)),
        };
        let findings = interest::interest(&task, interrupt)?;
        write_json(self.json.as_deref(), &findings)?;
        print!("{}", findings.markdown());
        let is_whole =
            !findings.outcomes.is_empty() && findings.outcomes.iter().all(|one| one.problem.is_none());
        Ok(ExitCode::from(u8::from(!is_whole)))
    }
}

impl CompareArguments {
    /// Exit code 1 where nothing could be measured, or something lost, doubled or leaked events.
    pub(crate) fn work(&self, interrupt: &Interrupt) -> Result<ExitCode> {
        let directory = self.place.scratch()?;
        let mut effort =
            if self.quick { Effort::quick() } else { Effort::full(self.rounds.map_or(ROUNDS, usize::from)) };
        if let Some(text) = &self.shape {
            effort.shapes.retain(|shape| shape.title().contains(text.as_str()));
        }
        let task = Task {
            programs: self.place.programs()?,
            effort,
            only: self.only.clone(),
            directory: directory.path().to_owned(),
            within: Duration::from_secs(u64::from(self.minutes) * 60),
            keep_awake: self.keep_awake,
            client_tls: self.client_tls,
        };
        let findings = compare(task, interrupt)?;
        let report = report::Report::new(&findings, &self.place.commit)?;
        write_json(self.json.as_deref(), &report.json())?;
        print!("{}", report.markdown());
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
