//! `meshbridge policy drift`: what a running bridge has found in events that the Classification does not declare.

use serde_json::Value;

use super::super::client::{AdminArguments, fetch, show};
use super::{Outcome, answer};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Proofs rest on what the Classification says that topics hold. A running bridge looks through one of every 64 events that\nare published at it, for every class, and keeps what is declared nowhere: neither at that place nor by `mayHold`. Only\nwhat is sure counts, and values are never shown. The list begins anew when other policies come into force.\n\nExit code 0 when nothing was found, 1 when there are findings: then the proofs that rest on the declaration of these\ntopics say nothing. 5 where the bridge cannot be reached.\n\nExamples:\n  meshbridge policy drift\n  meshbridge policy drift --admin http://127.0.0.1:9091 --output json"
)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    admin: AdminArguments,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let found = fetch(&arguments.admin, "/v1/policy/drift")?;
    show(&arguments.admin, &found, "findings", &["class", "topic", "path", "samples", "first", "last"])?;
    let count = found["findings"].as_array().map_or(0, Vec::len);
    let number = |name: &str| found[name].as_u64().unwrap_or(0);
    let (samples, further) = (number("samples"), number("further"));
    eprintln!("{samples} events looked through, {count} findings, {further} more that were not told apart");
    answer(count == 0 && found["findings"] != Value::Null)
}
