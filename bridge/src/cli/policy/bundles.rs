//! `meshbridge policy bundles`: which signed bundles a running bridge has, and what is wrong with them.

use serde_json::Value;

use super::super::client::{AdminArguments, fetch, show};
use super::{Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A bundle is distributed by putting its file into the directory `policy.bundles` of one bridge, whichever: from there it goes over\nthe links, and comes into force at every bridge that it speaks for. Layers that are not `own` are held to be passed on.\n\nExit code 1 where there is an alarm, or where a bridge runs by other bundles than the newest for its zone.\n\nExample:\n  meshbridge policy bundles --admin http://127.0.0.1:9090"
)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    admin: AdminArguments,
}

const COLUMNS: [&str; 7] = ["layer", "own", "active", "held", "state", "expires", "digest"];

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let answer = fetch(&arguments.admin, "/v1/policy/bundles")?;
    show(&arguments.admin, &answer, "bundles", &COLUMNS)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alarms = answer["alarms"].as_array().map(Vec::as_slice).unwrap_or_default();
    for alarm in alarms {
        eprintln!("alarm: {} {}: {}", text(&alarm["kind"]), text(&alarm["about"]), text(&alarm["what"]));
    }
    let drifting = answer["drift"]["bridges"].as_array().map(Vec::as_slice).unwrap_or_default();
    for bridge in drifting {
        eprintln!("{} does not run by the newest bundles", text(bridge));
    }
    if answer["recovering"] == true {
        eprintln!("this bridge has no record of what it had, and asks its neighbours");
    }
    if alarms.is_empty() && drifting.is_empty() { Ok(()) } else { Err(Failure::No) }
}
