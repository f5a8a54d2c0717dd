//! `meshbridge-load`: a load generator that speaks NATS and MQTT, and the comparison of Meshbridge with other brokers that is made with it.
//!
//! It depends on none of the bridge's crates: it knows binaries, ports and protocols. Start with [`compare`], which runs every system through every
//! [`shapes::Shape`] by [`run`]; [`traffic`] has the threads, [`wire`] the protocols, [`systems`] how servers are started. stdout is data, stderr everything else.

mod args;
mod certificates;
mod compare;
mod connection;
mod disk;
mod failover;
mod host;
mod interest;
mod payload;
mod process;
mod report;
mod run;
mod sequences;
mod shapes;
mod sink;
mod statistics;
mod systems;
mod traffic;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser as _;
use hdrhistogram::Histogram;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use args::{Arguments, Command};
use connection::Interrupt;

/// One minute in nanoseconds: what takes longer counts as that.
const HISTOGRAM_MAX: u64 = 60_000_000_000;

/// Times in nanoseconds, to three digits; never allocates when it records.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HISTOGRAM_MAX, 3).expect("valid bounds")
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("{problem:#}");
            ExitCode::from(3)
        }
    }
}

fn work(arguments: &Arguments) -> Result<ExitCode> {
    let interrupt = Interrupt::default();
    if !matches!(arguments.command, Command::Spin) {
        // Guards end what was started, so a signal only says that it is time.
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0)).context("signals")?;
        }
    }
    match &arguments.command {
        Command::Compare(arguments) => arguments.work(&interrupt),
        Command::Failover(arguments) => arguments.work(&interrupt),
        Command::Interest(arguments) => arguments.work(&interrupt),
        Command::Spin => {
            process::spin();
            Ok(ExitCode::SUCCESS)
        }
    }
}
