//! `meshbridge quarantine`: what rules hold at a bridge until a person decides.

use serde_json::{Value, json};

use super::client::{AdminArguments, escaped, fetch, post, show};
use super::{Outcome, Output, kept};
use crate::admin::ExportParameters;

/// Works with quarantined events: held at their origin by a rule, pending for a destination until a person decides.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what is held, oldest first: by which rule of which layer, for whom, until when; never its data
    List(ListArguments),
    /// Show one of them, with its event after the protections of its destination
    ///
    /// What the rule found stands there as its class. Where the destination is not to have the event in any form, or a
    /// protection cannot be made, there is no event to see.
    Show(kept::ShowArguments),
    /// Write them to a file: as `show` shows them, a JSON object a line, or the events themselves, sealed
    #[command(
        after_long_help = "Exit code 0 when all were written, 1 where the bridge refuses or some were not there, 5 where it cannot be reached.\n\nExamples:\n  meshbridge quarantine export --all -o held.jsonl\n  meshbridge quarantine export --rule baseline/no-credentials --sealed -o held.capture\n  meshbridge policy decrypt --keys keys held.capture"
    )]
    Export(ExportArguments),
    /// Judge held events again without the rule that holds them
    ///
    /// Every other rule still speaks: one may deny the event, or hold it again. A release is a waiver of the rule for
    /// this event and destination, so it takes a principal of the rule's layer: `admin.releasers` in the bridge's
    /// configuration says who that is, and `list` shows the layer. Bridges on the way and the destination judge for
    /// themselves: what the same rule says in transit or on arrival is not released here.
    ///
    /// All of the given events are released or none; who, which rule and why are on record in the decision log.
    #[command(
        after_long_help = "Examples:\n  meshbridge quarantine list\n  meshbridge quarantine release 1f@us-1 --reason 'checked with legal, OPS-12' --token-file officer.token\n  meshbridge quarantine release --rule baseline/no-credentials --reason 'test data, OPS-13'"
    )]
    Release(RulingArguments),
    /// End held events: their publishers hear `denied`, by the rule that held them, with the reason
    ///
    /// Takes no special right, for it only tightens. The reason is shown to the publisher, and to the destination where
    /// an earlier copy may have been sent there.
    Refuse(RulingArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Only what this rule holds, as POLICY/RULE
    #[arg(long)]
    rule: Option<String>,
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
    /// Ids as `quarantine list` shows them
    #[arg(required_unless_present_any = ["rule", "all"])]
    ids: Vec<String>,
    /// Everything that this rule holds, as POLICY/RULE
    #[arg(long, conflicts_with = "ids")]
    rule: Option<String>,
    /// Everything that is listed
    #[arg(long, conflicts_with_all = ["ids", "rule"])]
    all: bool,
    #[command(flatten)]
    to: kept::ExportTo,
}

#[derive(Debug, clap::Args)]
pub(super) struct RulingArguments {
    /// Ids as `quarantine list` shows them
    #[arg(required_unless_present = "rule")]
    ids: Vec<String>,
    /// Everything that this rule holds, as POLICY/RULE
    #[arg(long, conflicts_with = "ids")]
    rule: Option<String>,
    /// Why; at most 256 bytes, kept in the decision log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    admin: AdminArguments,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => kept::show("/v1/quarantine", arguments),
        Command::Export(arguments) => {
            let ExportArguments { ids, rule, all, to } = arguments;
            let (ids, rule, all) = (ids.clone(), rule.clone(), *all);
            kept::export("/v1/quarantine", ExportParameters { ids, rule, all, ..Default::default() }, to)
        }
        Command::Release(arguments) => rule(arguments, "release", "released"),
        Command::Refuse(arguments) => rule(arguments, "refuse", "refused"),
    }
}

fn list(arguments: &ListArguments) -> Outcome {
    let mut path = format!("/v1/quarantine?limit={}", arguments.limit);
    for (name, value) in [("rule", &arguments.rule), ("after", &arguments.after)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    let answer = fetch(&arguments.admin, &path)?;
    let columns = ["id", "rule", "layer", "topic", "eventId", "since", "until"];
    show(&arguments.admin, &answer, "entries", &columns)?;
    if let Some(unlisted) = answer["unlisted"].as_u64().filter(|unlisted| *unlisted > 0) {
        eprintln!("{unlisted} more are held and not listed: the list is full");
    }
    Ok(())
}

fn rule(arguments: &RulingArguments, what: &str, done: &str) -> Outcome {
    let mut body = json!({"reason": arguments.reason});
    match &arguments.rule {
        Some(rule) => body["rule"] = rule.as_str().into(),
        None => body["ids"] = arguments.ids.iter().map(String::as_str).collect::<Vec<_>>().into(),
    }
    let answer: Value = post(&arguments.admin, &format!("/v1/quarantine/{what}"), &body)?;
    match arguments.admin.output {
        Output::Json => println!("{answer:#}"),
        Output::Table => println!("{done}: {}", answer["done"]),
    }
    Ok(())
}
