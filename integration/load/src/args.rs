//! The command line.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::compare::{Task, compare};
use crate::connection::Interrupt;
use crate::report;
use crate::shapes::Effort;
use crate::systems::Programs;

const ROUNDS: usize = 5;

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
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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

impl CompareArguments {
    /// Exit code 1 where nothing could be measured, or something lost, doubled or leaked events.
    pub(crate) fn work(&self, interrupt: &Interrupt) -> Result<ExitCode> {
        let base = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let directory = tempfile::Builder::new()
            .prefix("meshbridge-bench-")
            .tempdir_in(&base)
            .with_context(|| format!("a directory in `{}`", base.display()))?;
        let mut effort =
            if self.quick { Effort::quick() } else { Effort::full(self.rounds.map_or(ROUNDS, usize::from)) };
        if let Some(text) = &self.shape {
            effort.shapes.retain(|shape| shape.title().contains(text.as_str()));
        }
        let absolute = |path: &Option<PathBuf>| -> Result<Option<PathBuf>> {
            let checked = path.as_ref().map(|path| {
                fs::canonicalize(path).with_context(|| format!("no program `{}`", path.display()))
            });
            checked.transpose()
        };
        let task = Task {
            programs: Programs {
                meshbridge: absolute(&self.meshbridge)?,
                nats: absolute(&self.nats)?,
                nats_current: absolute(&self.nats_current)?,
                mosquitto: absolute(&self.mosquitto)?,
            },
            effort,
            only: self.only.clone(),
            directory: directory.path().to_owned(),
            within: Duration::from_secs(u64::from(self.minutes) * 60),
            keep_awake: self.keep_awake,
        };
        let findings = compare(task, interrupt)?;
        let report = report::Report::new(&findings, &self.commit)?;
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report.json())?;
            fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        print!("{}", report.markdown());
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
