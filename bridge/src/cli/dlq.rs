//! `meshbridge dlq`: dead letters.

use anyhow::anyhow;

use super::client::{AdminArguments, escaped, fetch, post, show};
use super::{Failure, Outcome, kept};
use crate::admin::ExportParameters;

/// Dead letters: of subscriptions with memory, and events of this bridge that a rule stopped or whose destination is gone.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show them, oldest first; never their data
    List(ListArguments),
    /// Show one of them, with its event after the protections of its destination
    ///
    /// Where the destination is not to have the event in any form, or a protection cannot be made, there is no event to
    /// see.
    Show(kept::ShowArguments),
    /// Write them to a file: as `show` shows them, a JSON object a line, or the events themselves, sealed
    #[command(
        after_long_help = "Exit code 0 when all were written, 1 where the bridge refuses or some were not there, 5 where it cannot be reached.\n\nExamples:\n  meshbridge dlq export --all -o letters.jsonl\n  meshbridge dlq export 1f@us-1 --sealed -o letter.capture\n  meshbridge policy decrypt --keys keys letter.capture"
    )]
    Export(ExportArguments),
    /// Offer them to their subscriptions again, or send them to their destinations; rules judge the original again
    Replay(EndArguments),
    /// Remove them for good
    Purge(EndArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Only those of subscriptions of this name
    #[arg(long)]
    subscription: Option<String>,
    /// Show what follows this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    admin: AdminArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    /// Ids as `dlq list` shows them
    #[arg(required_unless_present_any = ["subscription", "all"])]
    ids: Vec<String>,
    /// All of subscriptions of this name
    #[arg(long, conflicts_with = "ids")]
    subscription: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "subscription"])]
    all: bool,
    #[command(flatten)]
    to: kept::ExportTo,
}

#[derive(Debug, clap::Args)]
pub(super) struct EndArguments {
    /// Ids as `dlq list` shows them
    ids: Vec<String>,
    /// All of subscriptions of this name
    #[arg(long, conflicts_with = "ids")]
    subscription: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "subscription"])]
    all: bool,
    #[command(flatten)]
    admin: AdminArguments,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::List(arguments) => {
            let mut path = format!("/v1/dlq?limit={}", arguments.limit);
            let parameters = [("subscription", &arguments.subscription), ("after", &arguments.after)];
            for (name, value) in parameters {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", escaped(value)));
                }
            }
            let answer = fetch(&arguments.admin, &path)?;
            show(
                &arguments.admin,
                &answer,
                "entries",
                &["id", "subscription", "reason", "key", "topic", "eventId"],
            )
        }
        Command::Show(arguments) => kept::show("/v1/dlq", arguments),
        Command::Export(arguments) => {
            let ExportArguments { ids, subscription, all, to } = arguments;
            let (ids, subscription, all) = (ids.clone(), subscription.clone(), *all);
            kept::export("/v1/dlq", ExportParameters { ids, subscription, all, ..Default::default() }, to)
        }
        Command::Replay(arguments) => end_dead_letters(arguments, "replay"),
        Command::Purge(arguments) => end_dead_letters(arguments, "purge"),
    }
}

fn end_dead_letters(arguments: &EndArguments, what: &str) -> Outcome {
    if arguments.ids.is_empty() && arguments.subscription.is_none() && !arguments.all {
        return Err(Failure::Input(anyhow!("name ids, --subscription or --all")));
    }
    let body = serde_json::json!({
        "ids": arguments.ids, "subscription": arguments.subscription, "all": arguments.all,
    });
    let answer = post(&arguments.admin, &format!("/v1/dlq/{what}"), &body)?;
    println!("{answer}");
    Ok(())
}
