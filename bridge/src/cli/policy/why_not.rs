//! `meshbridge policy why-not`: what would have to be different for an event to pass.

use std::path::PathBuf;

use meshbridge_policy::testing::TestKeys;
use meshbridge_policy::why_not::why_not;

use super::explain::Way;
use super::{Format, Outcome, answer, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Tells the smallest changes of the event, and of the policies, with which it passes; those of the policies with the layer that\nmay make them. Every one was made and judged again by the engine that bridges judge with; what does not help is not told.\nSingle changes are looked for first, then two together, then further changes of the event one after the other. Values come\nfrom the rules: replace them by what is true of your event.\n\nA rule with an `except` of its own is tried without the rule; write what is to be excepted beside what it has.\nRates are not asked, as in `explain`.\n\nExit code 0 if the event passes already, or a change was found that makes it pass; 1 if none was found.\n\nExamples:\n  meshbridge policy why-not --policies policies --from eu-1 --to us-1 --topic kyc.person.v1 event.json\n  meshbridge policy why-not --from eu-1 --to eu-1 --at publish --topic orders.new.v1 --output json -"
)]
pub(in crate::cli) struct Arguments {
    /// An event as JSON, `-` for stdin
    #[arg(value_name = "EVENT")]
    event: PathBuf,
    #[command(flatten)]
    way: Way,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let (program, case) = arguments.way.load("an event is judged", &arguments.event)?;
    let told = why_not(&program, &case, &TestKeys::of(program.federation()));
    match arguments.output {
        Format::Text => print!("{told}"),
        Format::Json => print_json(&told)?,
    }
    answer(told.passes() || told.is_answered())
}
