//! What `meshbridge dlq` and `meshbridge quarantine` have in common: one entry with its view, and all of them in a file.

use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::Value;

use super::client::{AdminArguments, escaped, fetch};
use super::policy::capture::{copy, make};
use super::policy::live::Admin;
use super::{Failure, Outcome, Output, block_on};
use crate::admin::ExportParameters;

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// As `list` shows it
    id: String,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Where an export goes, and what of the events is in it.
#[derive(Debug, clap::Args)]
pub(super) struct ExportTo {
    /// The file to make, for its owner only; an old one is never written over
    #[arg(short, long = "out", value_name = "FILE")]
    out: PathBuf,
    /// The events themselves, sealed under the `store` key of the bridge's zone: a capture, which `meshbridge policy
    /// decrypt` opens and `meshbridge policy replay` judges again, for who holds the key
    #[arg(long)]
    sealed: bool,
    #[command(flatten)]
    admin: Admin,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Prints an entry of `/v1/dlq` or `/v1/quarantine`, and the view of its event.
pub(super) fn show(path: &str, arguments: &ShowArguments) -> Outcome {
    let answer = fetch(&arguments.admin, &format!("{path}/{}", escaped(&arguments.id)))?;
    if arguments.admin.output == Output::Json {
        println!("{answer:#}");
        return Ok(());
    }
    let fields = answer["entry"].as_object().into_iter().flatten();
    for (name, value) in fields.chain([(&"sizeBytes".to_owned(), &answer["sizeBytes"])]) {
        match value {
            Value::Null => {}
            Value::String(text) => println!("{name:12} {text}"),
            other => println!("{name:12} {other}"),
        }
    }
    match answer.get("event") {
        Some(event) => println!("{:12} {event:#}", "event"),
        None => println!(
            "{:12} - not to be shown: its destination may not have it, or it cannot be protected",
            "event"
        ),
    }
    Ok(())
}

/// Writes what the bridge has under `path` to a new file.
pub(super) fn export(path: &str, which: ExportParameters, to: &ExportTo) -> Outcome {
    let wish = ExportParameters { sealed: to.sealed, ..which };
    block_on(async {
        let shown = to.out.display();
        if to.out.exists() {
            return Err(Failure::Input(anyhow!("`{shown}` is there already")));
        }
        let mut lines = to.admin.ask(&format!("{path}/export"), &wish).await?;
        let end = copy(&mut lines, make(&to.out)?, to.sealed).await?;
        match to.output {
            Output::Table => println!("{} in {shown}, {} missed", end.events, end.missed),
            Output::Json => println!("{:#}", serde_json::json!({"file": shown.to_string(), "end": end})),
        }
        if end.missed == 0 { Ok(()) } else { Err(Failure::No) }
    })?
}
