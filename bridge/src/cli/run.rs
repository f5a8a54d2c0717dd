//! `meshbridge run`

use std::path::PathBuf;

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::{Failure, Outcome, block_on, stop_signal};
use crate::config::Node;

/// Runs one bridge until SIGINT or SIGTERM. SIGHUP reads policies, certificates and the deny-list again; policies are
/// also read again when their files change. A set with an error in it changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The node's configuration, `kind: Bridge`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Start although files of the spool are missing; what they held is lost
    #[arg(long)]
    accept_missing: bool,
    /// Stop when stdin ends: for a parent that must not leave the bridge behind
    #[arg(long)]
    stop_with_stdin: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let node = Node::load(&arguments.config)?;
    let stop = CancellationToken::new();
    let (stdin, accept_missing) = (arguments.stop_with_stdin, arguments.accept_missing);
    block_on(async {
        let signalled = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop_signal() => {}
                () = end_of_stdin(), if stdin => {}
            }
            signalled.cancel();
        });
        crate::app::run(node, accept_missing, stop).await
    })?
    .map_err(Failure::Input)
}

async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while !matches!(stdin.read(&mut buffer).await, Ok(0) | Err(_)) {}
}
