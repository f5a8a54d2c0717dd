//! `meshbridge peers`: the links of a bridge, and other bridges as its destinations.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{AdminArguments, escaped, fetch, peers as links, post};
use super::{Failure, Outcome, Output};

/// How often a drained bridge is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Shows the links of a bridge, drains and removes others as its destinations.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct PeersArguments {
    #[command(subcommand)]
    command: Option<PeersCommand>,
    #[command(flatten)]
    admin: AdminArguments,
}

#[derive(Debug, clap::Subcommand)]
enum PeersCommand {
    /// Send a bridge nothing new, and wait until everything that is pending has ended there
    ///
    /// Publications name the bridge as left out, with the reason destination-draining. It stays so over restarts,
    /// until --undo or `peers remove`. Other bridges are not told: do it at each one that publishes.
    Drain(DrainArguments),
    /// End everything that is pending with a bridge, as dead letters, and forget what it wants
    ///
    /// What had not been stored there is kept: `meshbridge dlq list`, `replay`, `purge`. What the bridge sent before is
    /// delivered all the same. A removed bridge that is started again, and is in the federation document, begins afresh.
    Remove(RemoveArguments),
}

#[derive(Debug, clap::Args)]
struct DrainArguments {
    /// The bridge to be drained
    bridge: String,
    /// Send it new events again
    #[arg(long)]
    undo: bool,
    /// Give up waiting after this many seconds, with exit code 1; draining goes on
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    admin: AdminArguments,
}

#[derive(Debug, clap::Args)]
struct RemoveArguments {
    /// The bridge to be removed
    bridge: String,
    /// Also where something is pending and the bridge was not drained
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArguments,
}

pub(super) fn run(arguments: &PeersArguments) -> Outcome {
    match &arguments.command {
        None => links(&arguments.admin),
        Some(PeersCommand::Drain(arguments)) => drain(arguments),
        Some(PeersCommand::Remove(arguments)) => {
            let path = format!("/v1/peers/{}/remove", escaped(&arguments.bridge));
            let answer = post(&arguments.admin, &path, &json!({"yes": arguments.yes}))?;
            print(&arguments.admin, &answer, &["ended", "kept", "stored", "inDoubt"]);
            Ok(())
        }
    }
}

const COLUMNS: [&str; 5] = ["standing", "pending", "unsettled", "stored", "inDoubt"];

fn drain(arguments: &DrainArguments) -> Outcome {
    let path = format!("/v1/peers/{}", escaped(&arguments.bridge));
    let asked = json!({"undo": arguments.undo});
    let mut answer = post(&arguments.admin, &format!("{path}/drain"), &asked)?;
    let deadline = arguments.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut shown = None;
    loop {
        let pending = answer["pending"].as_u64().unwrap_or(0);
        if arguments.undo || pending == 0 {
            break;
        }
        if shown != Some(pending) {
            eprintln!(
                "{pending} pending at {}: {} not stored there, {} stored",
                arguments.bridge, answer["unsettled"], answer["stored"]
            );
            shown = Some(pending);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            print(&arguments.admin, &answer, &COLUMNS);
            return Err(Failure::No);
        }
        std::thread::sleep(LOOK_EVERY);
        answer = fetch(&arguments.admin, &path)?;
        if answer["standing"] != "draining" {
            eprintln!("{} is not being drained any more", arguments.bridge);
            return Err(Failure::No);
        }
    }
    print(&arguments.admin, &answer, &COLUMNS);
    Ok(())
}

fn print(arguments: &AdminArguments, answer: &Value, columns: &[&str]) {
    if arguments.output == Output::Json {
        println!("{answer:#}");
        return;
    }
    for column in columns {
        let value = answer[*column].as_str().map_or_else(|| answer[*column].to_string(), str::to_owned);
        println!("{column:10} {value}");
    }
}
