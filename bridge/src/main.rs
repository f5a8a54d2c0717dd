//! The `meshbridge` command: arguments, logging, exit codes. The work is elsewhere.

mod admin;
mod app;
mod cli;
mod config;
mod identity;
mod link;
mod listeners;
mod metrics;
mod pipeline;
mod policy_store;
mod router_task;
mod run_file;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
