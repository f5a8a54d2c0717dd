//! `meshbridge up`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::federation::LocalFederation;
use super::{Failure, Outcome, block_on, federation_file, stop_signal};
use crate::link::TransportChoice;

/// Runs every bridge of DIR/federation.yaml as its own process, on free loopback ports with development certificates.
///
/// Prints one JSON line per bridge when it is ready (bridge, zone, http, grpc, nats, admin, peer, pid, config), then
/// {"ready":true} once all links are up. Stops them all on SIGINT or SIGTERM. DIR is not written to: each bridge works
/// on a rendered copy, whose `policies` directory is the one to edit for a reload.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Directory with federation.yaml and its policies
    directory: PathBuf,
    /// Where the bridges' directories go; a temporary directory by default
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Start a bridge that died again, on the same ports and data, after a second
    #[arg(long)]
    restart: bool,
    /// What carries the links between the bridges
    #[arg(long, value_name = "TRANSPORT", default_value = "auto", value_parser = transport)]
    transport: TransportChoice,
}

fn transport(text: &str) -> Result<TransportChoice, String> {
    TransportChoice::parse(text).ok_or_else(|| format!("use one of {}", TransportChoice::NAMES.join(", ")))
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let file = federation_file(&arguments.directory);
    crate::config::read_federation(&file)?;
    let temporary = tempfile::Builder::new().prefix("meshbridge-").tempdir();
    let temporary = temporary.map_err(|problem| Failure::Fault(problem.into()))?;
    let data = arguments.data_dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    block_on(async { work(&file, &data, arguments).await })?.map_err(Failure::Input)
}

async fn work(file: &std::path::Path, data: &std::path::Path, arguments: &Arguments) -> anyhow::Result<()> {
    // One for the whole life: a signal that comes between two waits must not be missed.
    let stopped = stop_signal();
    tokio::pin!(stopped);
    let mut federation = tokio::select! {
        started = LocalFederation::start(file, data, arguments.transport) => started?,
        () = &mut stopped => return Ok(()),
    };
    for line in federation.lines() {
        print(&serde_json::to_value(line)?);
    }
    let linked = tokio::select! {
        linked = federation.wait_links() => linked,
        () = &mut stopped => {
            federation.stop().await;
            return Ok(());
        }
    };
    if let Err(problem) = linked {
        federation.stop().await;
        return Err(problem);
    }
    print(&serde_json::json!({"ready": true}));
    loop {
        let (at, how) = tokio::select! {
            death = federation.next_death() => death,
            () = &mut stopped => break,
        };
        eprintln!("{how}");
        if arguments.restart {
            tokio::time::sleep(Duration::from_secs(1)).await;
            match federation.restart(at).await {
                Ok(line) => print(&serde_json::to_value(line)?),
                Err(problem) => eprintln!("{problem:#}"),
            }
        }
    }
    federation.stop().await;
    Ok(())
}

/// A line for a program that reads us: written whole and at once.
fn print(line: &serde_json::Value) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
