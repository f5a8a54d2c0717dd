//! `meshbridge policy watch`: verdicts of rules that have no effect yet, live from the admin port of a bridge.

use std::io::Write as _;
use std::time::Duration;

use anyhow::anyhow;
use meshbridge_topic::TopicFilter;
use serde_json::Value;

use super::super::{block_on, stop_signal};
use super::live::{Admin, Lines, seconds};
use super::{Failure, Format, Outcome, parse_duration};
use crate::admin::WatchParameters;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A rule in `mode: warn` or `mode: shadow` stops nothing and edits nothing. Here you see what it would have done, before you\nenforce it: a line for each of its verdicts, and again and again how many there were. Values of events are never shown.\n\nWith --rule also verdicts of a rule that is enforced are shown. Counts are exact; where verdicts come faster than they\ncan be printed, lines are left out, and how many is said. Destinations that a bridge judges together count once.\nExit code 0 when the time is over, 1 where the bridge refuses or stops before, 5 where it cannot be reached.\n\nExamples:\n  meshbridge policy watch --for 10m\n  meshbridge policy watch --topic 'payments.**' --rule eu-payments/no-cards --output json"
)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    admin: Admin,
    /// Only events on topics that this filter matches; repeatable
    #[arg(long, value_name = "FILTER")]
    topic: Vec<TopicFilter>,
    /// Only this rule, as POLICY/RULE, whatever its mode is
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// End after this time, as 30s, 5m or 1h; without it on Ctrl-C, or after a day
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// How often the counts are printed
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    every: Duration,
    /// json prints one object a line: `kind` is `verdict` or `summary`, and the last summary has `end`
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let wish = WatchParameters {
        topics: arguments.topic.iter().map(ToString::to_string).collect(),
        rule: arguments.rule.clone(),
        seconds: arguments.time.map(seconds),
        every_seconds: Some(seconds(arguments.every)),
    };
    block_on(async {
        let mut lines = arguments.admin.ask("/v1/policy/watch", &wish).await?;
        let mut last = None;
        tokio::select! {
            outcome = follow(&mut lines, arguments.output, &mut last) => outcome,
            () = stop_signal() => {
                if let (Format::Text, Some(summary)) = (arguments.output, &last) {
                    print(&format!("so far, {}", summary_text(summary)))?;
                }
                Ok(())
            }
        }
    })?
}

async fn follow(lines: &mut Lines, output: Format, last: &mut Option<Value>) -> Outcome {
    while let Some(line) = lines.next().await? {
        let value: Value = serde_json::from_str(&line).map_err(|problem| {
            Failure::Unreachable(anyhow!(problem).context("the bridge does not speak JSON"))
        })?;
        let text = match output {
            Format::Json => format!("{line}\n"),
            Format::Text if value["kind"] == "verdict" => verdict_text(&value),
            Format::Text => summary_text(&value),
        };
        print(&text)?;
        match value["end"].as_str() {
            Some("time") => return Ok(()),
            Some(why) => {
                eprintln!("the bridge ended it: {why}");
                return Err(Failure::No);
            }
            None if value["kind"] == "summary" => *last = Some(value),
            None => {}
        }
    }
    Err(Failure::Unreachable(anyhow!("the bridge closed the stream")))
}

fn print(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|problem| Failure::Fault(problem.into()))
}

fn verdict_text(verdict: &Value) -> String {
    let text = |name: &str| verdict[name].as_str().unwrap_or("-");
    let time = text("time").get(11..23).unwrap_or("-");
    format!(
        "{time}  {:7}  {}  {} {} -> {}  {}  {} {}  {}\n",
        text("mode"),
        text("rule"),
        text("context"),
        text("from"),
        text("to"),
        text("topic"),
        text("source"),
        text("id"),
        text("verdict"),
    )
}

fn summary_text(summary: &Value) -> String {
    let number = |name: &str| summary[name].as_u64().unwrap_or(0);
    let judged = number("judged");
    let mut text =
        format!("after {:.0} s: {judged} decisions", summary["seconds"].as_f64().unwrap_or_default());
    if number("missed") > 0 {
        text.push_str(&format!(", {} verdicts not shown because they came too fast", number("missed")));
    }
    text.push('\n');
    for rule in summary["rules"].as_array().into_iter().flatten() {
        let count = rule["count"].as_u64().unwrap_or(0);
        let share = 100.0 * count as f64 / judged.max(1) as f64;
        text.push_str(&format!(
            "  {:7}  {:>8}  {:>8.2}/s  {share:>5.1} %  {}\n",
            rule["mode"].as_str().unwrap_or("-"),
            count,
            rule["perSecond"].as_f64().unwrap_or_default(),
            rule["rule"].as_str().unwrap_or("-"),
        ));
    }
    if number("otherRules") > 0 {
        text.push_str(&format!("  {} of further rules\n", number("otherRules")));
    }
    text
}
