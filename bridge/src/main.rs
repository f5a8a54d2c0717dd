//! The `meshbridge` command: arguments, logging, exit codes. The work is elsewhere.

mod admin;
mod app;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "nothing decides by generations yet"))]
mod audit;
mod bundles;
mod chunks;
mod cli;
mod config;
mod data_directory;
mod data_keys;
mod drift;
#[cfg(feature = "fail-points")]
mod fail_points;
mod identity;
mod journal;
mod learners;
mod link;
mod listeners;
mod metrics;
mod observers;
mod pipeline;
mod policy_store;
mod router_task;
mod sealing;
mod webhook;

use std::process::ExitCode;

/// Gives memory back: a checkpoint of a large backlog needs some for a moment, on whatever thread it is made.
/// Tests count allocations instead.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
