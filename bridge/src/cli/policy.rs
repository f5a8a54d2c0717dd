//! `meshbridge policy`: what people do with policies before a bridge judges by them. One file for each subcommand.
//!
//! Exit codes: 0 yes or done; 1 the answer is no; 2 the command line is wrong; 3 something given cannot be read; 4 a fault
//! of our own. What is asked for goes to stdout, everything else to stderr.

mod bundles;
pub(super) mod capture;
mod check;
mod decrypt;
mod detect;
mod diff;
mod drift;
mod explain;
mod keygen;
pub(super) mod live;
mod prove;
mod replay;
mod sarif;
mod sign;
mod sources;
mod test;
mod verify;
mod watch;
mod why_not;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use meshbridge_event::Event;
use meshbridge_event::json::parse_structured;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Failure, Outcome};

/// The largest event that is read; a bridge takes smaller ones.
const EVENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print every problem in the policies of directories; exit code 1 where there are errors
    Check(check::Arguments),
    /// Run the tests of policies, and find what they do not test
    Test(test::Arguments),
    /// Tell why an event passes or does not, or what a diagnostic code means
    Explain(explain::Arguments),
    /// Tell the smallest changes of an event, or of the policies, with which it would pass
    WhyNot(why_not::Arguments),
    /// Prove the invariants of policies, or ask whether personal data can be seen where they must not be
    Prove(prove::Arguments),
    /// Compare two editions of policies: what passes, what is seen and what is checked in one and not in the other
    Diff(diff::Arguments),
    /// Make a key that signs bundles, or one for data
    Keygen(keygen::Arguments),
    /// Check and test the policies of a layer, and sign them as a bundle
    Sign(sign::Arguments),
    /// Check the signature, the layer and the digests of a bundle, and print its manifest
    Verify(verify::Arguments),
    /// Show which signed bundles a running bridge holds and judges by, and what is wrong with them
    Bundles(bundles::Arguments),
    /// Print what the detectors of personal data and secrets find in recorded events, a line for each
    Detect(detect::Arguments),
    /// Put the sealed values back into an event, or print a sealed capture, with the keys that sealed them
    Decrypt(decrypt::Arguments),
    /// See live what rules in warn and shadow would do at a running bridge, with rates per rule
    Watch(watch::Arguments),
    /// List what a running bridge has found in events that the Classification does not declare; exit code 1 where there is any
    Drift(drift::Arguments),
    /// Record events as a running bridge judges them, as their destinations see them or sealed
    Capture(capture::Arguments),
    /// Tell which recorded events would fare otherwise under other policies; exit code 1 where more would pass
    Replay(replay::Arguments),
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::WhyNot(arguments) => why_not::run(arguments),
        Command::Prove(arguments) => prove::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Keygen(arguments) => keygen::run(arguments),
        Command::Sign(arguments) => sign::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Bundles(arguments) => bundles::run(arguments),
        Command::Detect(arguments) => detect::run(arguments),
        Command::Decrypt(arguments) => decrypt::run(arguments),
        Command::Watch(arguments) => watch::run(arguments),
        Command::Drift(arguments) => drift::run(arguments),
        Command::Capture(arguments) => capture::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
    }
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it like 2026-01-31T12:00:00Z".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = meshbridge_policy::parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "write it like 30s, 5m or 1h".to_owned())
}

/// A name of the federation document: it becomes part of file names and of protected values.
fn parse_name(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err("use 1 to 63 characters out of a-z, 0-9 and -".to_owned())
}

/// An event in the JSON format of CloudEvents, from a file or, for `-`, from stdin.
fn read_event(path: &Path) -> Result<Event, Failure> {
    let shown = path.display();
    if path == Path::new("-") {
        return read_event_from(std::io::stdin().lock(), "-");
    }
    let file = std::fs::File::open(path).with_context(|| format!("cannot read `{shown}`"));
    read_event_from(file.map_err(Failure::Input)?, &shown.to_string())
}

fn read_event_from(input: impl std::io::Read, shown: &str) -> Result<Event, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(EVENT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read `{shown}`")).map_err(Failure::Input)?;
    if bytes.len() as u64 > EVENT_BYTES_MAX {
        return Err(Failure::Input(anyhow!("`{shown}` has more than {EVENT_BYTES_MAX} bytes")));
    }
    parse_structured(&bytes).map_err(|problem| Failure::Input(anyhow!("`{shown}` is no event: {problem}")))
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    let line = serde_json::to_string(value).map_err(|problem| Failure::Fault(problem.into()))?;
    println!("{line}");
    Ok(())
}

/// The answer is yes, or no.
fn answer(yes: bool) -> Outcome {
    if yes { Ok(()) } else { Err(Failure::No) }
}
