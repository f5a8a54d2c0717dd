//! `meshbridge policy check`: every problem of all files at once.

use std::path::PathBuf;

use clap::ValueEnum;
use meshbridge_policy::{Diagnostic, Severity, compile, testing};
use time::OffsetDateTime;

use super::sources::{self, NoSources, Sources, together};
use super::{Outcome, answer, print_json, sarif};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  meshbridge policy check policies\n  meshbridge policy check policies --deny warnings --output sarif > policies.sarif\n\nEach problem has a code; `meshbridge policy explain P0203` prints what one means and what to do about it.\nSchemas (.json) that policies name, and tests (.test.yaml), are checked with them."
)]
pub(in crate::cli) struct Arguments {
    /// Directories with federation.yaml, or with policies whose federation.yaml is there or one level up
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The federation document, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    /// Exit with 1 for warnings too
    #[arg(long, value_name = "WHAT", value_parser = ["warnings"])]
    deny: Option<String>,
    /// json prints one object a line, sarif one log of version 2.1.0
    #[arg(long, value_enum, default_value_t = Report::Text)]
    output: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Report {
    /// With the line of the file, for people
    Text,
    /// One object a line
    Json,
    /// For code hosts that show problems beside a change
    Sarif,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let problems = match sources::read(&arguments.directories, arguments.federation.as_deref()) {
        Ok(sources) => check(&sources),
        Err(NoSources::Federation(problems)) => together(vec![problems]),
        Err(NoSources::Failed(failure)) => return Err(failure),
    };
    print(&problems, arguments.output)?;
    let errors = errors(&problems);
    answer(errors == 0 && (arguments.deny.is_none() || problems.is_empty()))
}

/// The problems of all files, those of tests included.
fn check(sources: &Sources) -> Vec<Diagnostic> {
    let mut all = vec![sources.not_read()];
    let tests = || sources.tests().map(|file| (file, testing::suites(file, &sources.federation)));
    match compile(&sources.files, &sources.federation, Some(OffsetDateTime::now_utc())) {
        Ok(compiled) => {
            eprintln!("{} rules in {} files", compiled.program.len(), sources.files.len());
            all.push(compiled.warnings);
            all.push(compiled.program.findings());
            all.push(compiled.program.unproved());
            for (file, suites) in tests() {
                let of_these = suites.into_iter().flatten().filter(|suite| sources.are_of(file, suite));
                all.extend(of_these.map(|suite| suite.unknown_names(&compiled.program)));
            }
        }
        Err(problems) => all.push(problems),
    }
    all.extend(tests().filter_map(|(_, suites)| suites.err()));
    note_revision(sources);
    together(all)
}

/// A plain directory has revision 0, and a federation that asks for more does not run by it.
pub(super) fn note_revision(sources: &Sources) {
    let least = sources.federation.min_revision();
    if least > 0 {
        eprintln!("note: minRevision is {least}, so bridges take these policies from signed bundles only");
    }
}

pub(super) fn errors(problems: &[Diagnostic]) -> usize {
    problems.iter().filter(|problem| problem.severity == Severity::Error).count()
}

pub(super) fn print(problems: &[Diagnostic], output: Report) -> Outcome {
    match output {
        Report::Json => problems.iter().try_for_each(print_json),
        Report::Sarif => print_json(&sarif::log(problems)),
        Report::Text => {
            for (at, problem) in problems.iter().enumerate() {
                if at > 0 {
                    println!();
                }
                print!("{problem}");
            }
            let errors = errors(problems);
            eprintln!("{errors} errors, {} warnings", problems.len() - errors);
            Ok(())
        }
    }
}
