//! `meshbridge policy`

mod detect;

use std::path::{Path, PathBuf};

use meshbridge_policy::{Diagnostics, Severity};

use super::{Failure, Outcome, Output};
use crate::config::read_federation;
use crate::policy_store::read_sources;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print every problem in the policies of a directory; exit code 1 where there are errors
    Check(CheckArguments),
    /// Print what the detectors of personal data and secrets find in recorded events, a line for each
    Detect(detect::Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Directory with federation.yaml, or with policies whose federation.yaml is there or one level up
    directory: PathBuf,
    /// The federation document, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    /// Exit with 1 for warnings too
    #[arg(long, value_name = "WHAT", value_parser = ["warnings"])]
    deny: Option<String>,
    /// json prints one object a line
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Check(arguments) => check(arguments),
        Command::Detect(arguments) => detect::run(arguments),
    }
}

fn check(arguments: &CheckArguments) -> Outcome {
    let directory = &arguments.directory;
    let beside = directory.join("federation.yaml");
    let file = match &arguments.federation {
        Some(file) => file.clone(),
        None if beside.exists() => beside.clone(),
        None => directory.join("..").join("federation.yaml"),
    };
    let problems = match read_federation(&file) {
        Err(crate::config::ConfigProblem::Invalid(problems)) => problems,
        Err(problem) => return Err(problem.into()),
        Ok(federation) => {
            let base = file.parent().unwrap_or(Path::new("."));
            let directories = if beside.exists() && !federation.policies().is_empty() {
                federation.policies().iter().map(|dir| base.join(dir)).collect()
            } else {
                vec![directory.clone()]
            };
            let sources = read_sources(&directories).map_err(|problem| Failure::Input(problem.into()))?;
            match meshbridge_policy::compile(&sources, &federation, Some(std::time::SystemTime::now().into())) {
                Ok(compiled) => {
                    eprintln!("{} rules in {} files", compiled.program.len(), sources.len());
                    compiled.warnings
                }
                Err(problems) => problems,
            }
        }
    };
    print(&problems, arguments.output);
    let failed = problems.has_errors() || arguments.deny.is_some() && !problems.is_empty();
    if failed { Err(Failure::No) } else { Ok(()) }
}

fn print(problems: &Diagnostics, output: Output) {
    match output {
        Output::Json => {
            for problem in problems.iter() {
                println!("{}", serde_json::to_string(problem).unwrap_or_default());
            }
        }
        Output::Table => {
            if !problems.is_empty() {
                println!("{problems}");
            }
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            eprintln!("{errors} errors, {} warnings", problems.len() - errors);
        }
    }
}
