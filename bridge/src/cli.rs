//! The command line. stdout is data, stderr everything else.

mod audit;
mod bench;
mod cert;
mod client;
mod config;
mod demo;
mod dlq;
mod federation;
mod kept;
mod peers;
mod policy;
mod quarantine;
mod run;
mod spool;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// A bridge between network zones that carries events only where somebody wants them, under policies of both sides.
#[derive(Debug, Parser)]
#[command(
    name = "meshbridge",
    version,
    after_long_help = "Exit codes:\n  0  done, or the answer is yes\n  1  the answer is no: a policy has errors, something expected did not happen\n  2  the command line is wrong\n  3  a file cannot be read or has errors in it\n  4  a fault of meshbridge itself, or of the machine\n  5  the bridge cannot be reached\n  6  the spool of a running bridge cannot be written any more\n\nExamples:\n  meshbridge demo                              three zones, live, for twenty seconds\n  meshbridge up topology-examples/three-zones  a federation on this machine\n  meshbridge policy check policies             every problem in a directory of policies\n\nLogging goes to stderr; MESHBRIDGE_LOG sets it, for example MESHBRIDGE_LOG=debug or info,meshbridge::link=debug."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one bridge until SIGINT or SIGTERM
    Run(run::Arguments),
    /// Run every bridge of a federation on this machine, each as its own process
    Up(up::Arguments),
    /// Show a federation of three zones at work, with embedded configuration and events
    Demo(demo::Arguments),
    /// Publish an event
    Pub(client::PubArguments),
    /// Print events as they come, one JSON object a line
    Sub(client::SubArguments),
    /// Show the links of a bridge; drain and remove others as its destinations
    Peers(peers::PeersArguments),
    /// Show the way from a bridge to every other one
    Routes(client::AdminArguments),
    /// Show who wants which topics, as a bridge knows it
    Interest(client::AdminArguments),
    /// Show the accounts of a bridge: what it sent where, and how it ended; exit code 1 where one does not balance
    Delivery(client::AdminArguments),
    /// Show where one event is and how it ended
    Trace(client::TraceArguments),
    /// Work with dead letters: look at them, export them, replay or purge them
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Work with quarantined events: look at what rules hold until a person decides, release it, refuse it
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Look into a spool without changing it
    #[command(subcommand)]
    Spool(spool::Command),
    /// Check and read the log of decisions
    #[command(subcommand)]
    Audit(audit::Command),
    /// Measure what a link carries on this machine, over each transport
    Bench(bench::Arguments),
    /// Make certificates for development
    #[command(subcommand)]
    Cert(cert::Command),
    /// Work with policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Work with configuration files
    #[command(subcommand)]
    Config(config::Command),
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// How a command ended, beside success.
#[derive(Debug)]
enum Failure {
    /// The answer is no.
    No,
    /// Arguments that do not belong together in a way that their parser cannot know.
    Usage(clap::Error),
    Input(anyhow::Error),
    Fault(anyhow::Error),
    Unreachable(anyhow::Error),
}

impl From<crate::config::ConfigProblem> for Failure {
    fn from(problem: crate::config::ConfigProblem) -> Failure {
        Failure::Input(problem.into())
    }
}

type Outcome = Result<(), Failure>;

/// As a shell says of a command that SIGPIPE has ended.
const EXIT_NO_READER: i32 = 141;

/// Who reads what a command prints may have enough and close the pipe, as `head` does: that is no fault of the command.
fn end_without_a_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            #[expect(
                clippy::disallowed_methods,
                reason = "nothing is left to be said, and nobody to hear it"
            )]
            std::process::exit(EXIT_NO_READER);
        }
        usual(panic);
    }));
}

pub(crate) fn main() -> ExitCode {
    end_without_a_reader();
    let arguments = Arguments::parse();
    #[cfg(feature = "fail-points")]
    crate::fail_points::arm();
    let default = if matches!(arguments.command, Command::Run(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("MESHBRIDGE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let plain =
        std::env::var_os("NO_COLOR").is_some() || !std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(!plain).init();
    // Libraries that look for a provider of the process find the same one that is passed explicitly elsewhere.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Up(arguments) => up::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Pub(arguments) => client::publish(&arguments),
        Command::Sub(arguments) => client::subscribe(&arguments),
        Command::Peers(arguments) => peers::run(&arguments),
        Command::Routes(arguments) => client::routes(&arguments),
        Command::Interest(arguments) => client::interest(&arguments),
        Command::Delivery(arguments) => client::delivery(&arguments),
        Command::Trace(arguments) => client::trace(&arguments),
        Command::Dlq(command) => dlq::run(&command),
        Command::Quarantine(command) => quarantine::run(&command),
        Command::Spool(command) => spool::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Cert(command) => cert::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Config(command) => config::run(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No) => ExitCode::from(1),
        Err(Failure::Usage(problem)) => {
            eprint!("{}", problem.render());
            ExitCode::from(2)
        }
        Err(Failure::Input(problem)) => report(&problem, 3),
        Err(Failure::Fault(problem)) => report(&problem, 4),
        Err(Failure::Unreachable(problem)) => report(&problem, 5),
    }
}

fn report(problem: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {problem:#}");
    ExitCode::from(code)
}

/// Runs an async command to its end.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|problem| Failure::Fault(problem.into()))?;
    let done = runtime.block_on(work);
    // Threads that wait for stdin or a resolver do not keep a finished command alive.
    runtime.shutdown_background();
    Ok(done)
}

/// Resolves when the process is told to stop.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            _ => return std::future::pending().await,
        };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A file or directory the user named, with the directory's default file appended.
fn federation_file(path: &std::path::Path) -> PathBuf {
    if path.is_dir() { path.join("federation.yaml") } else { path.to_owned() }
}
