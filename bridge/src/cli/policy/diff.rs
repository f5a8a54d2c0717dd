//! `meshbridge policy diff`: what a change of policies lets through, shows and checks.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use meshbridge_policy::diff::ChangeKind;
use meshbridge_policy::{Program, compile};
use time::OffsetDateTime;

use super::sources::{self, NoSources};
use super::{Failure, Outcome, answer, explain, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Every topic there can be and every pair of zones is compared, with no event at hand:\n\n  newly allowed    passes in NEW and not in OLD: published, sent, carried, arrives, delivered, subscribed, learned\n  weaker           a protection discloses more than it did\n  changed checks   require, validate, structure, forbid, limit and met obligations: tighter, looser, or either\n  kept otherwise   what is kept of a stopped event, for a person to release or to be sent again\n  newly blocked, stronger   the same the other way round\n\nAn entry is `certain` if both editions judged its example as it says, `depends on` with the rule where only a condition makes\nthe difference, and `possible` if no event was found that shows it. The same change between many zones is one entry.\nLines of OLD begin with -, those of NEW with +.\n\nExit code 1 if something is newly allowed or weaker, a check lets more through, more is kept, or the two cannot be compared.\n\nExamples:\n  meshbridge policy diff policies.main policies\n  meshbridge policy diff policies.main policies --output markdown > review.md"
)]
pub(in crate::cli) struct Arguments {
    /// The old policies: a directory with federation.yaml, or one below it
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new policies
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The federation document of both, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    /// json prints one object with all changes, markdown a page for a review
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a review
    Markdown,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let federation = arguments.federation.as_deref();
    let old = load(&arguments.old, federation)?;
    let new = load(&arguments.new, federation)?;
    let diff = old.diff(&new);
    match arguments.output {
        Form::Text => print!("{diff}"),
        Form::Json => print_json(&diff)?,
        Form::Markdown => print!("{}", diff.markdown()),
    }
    let counts = ChangeKind::ALL.map(|kind| format!("{} {}", diff.count(kind), kind.title()));
    eprintln!("{}", counts.join(", "));
    answer(diff.is_no_looser())
}

/// Policies with errors are no edition: they are printed, and the answer is no.
fn load(directory: &Path, federation: Option<&Path>) -> Result<Program, Failure> {
    let problems = match sources::read(&[directory.to_owned()], federation) {
        Ok(sources) => match compile(&sources.files, &sources.federation, Some(OffsetDateTime::now_utc())) {
            Ok(compiled) => return Ok(compiled.program),
            Err(problems) => problems,
        },
        Err(NoSources::Federation(problems)) => problems,
        Err(NoSources::Failed(failure)) => return Err(failure),
    };
    Err(explain::refused(vec![problems]))
}
