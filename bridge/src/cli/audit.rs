//! `meshbridge audit verify|export`: read only, also while the bridge runs.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Failure, Outcome, Output};
use crate::audit::{Broken, Checkpoint, Entry, EventSought, Report, WalkError, directory_of, walk};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check that nothing in the log was changed, removed or cut; exit code 1 where something was
    Verify(VerifyArguments),
    /// Print the records as lines of JSON, the last line being the checkpoint to keep elsewhere
    Export(ExportArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// The log, or the data directory of a bridge
    directory: PathBuf,
    /// What was the end of the chain before, as NUMBER:HASH; without it a log that lost its newest records looks intact
    #[arg(long, value_name = "NUMBER:HASH")]
    checkpoint: Option<Checkpoint>,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Lines {
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    /// The log, or the data directory of a bridge
    directory: PathBuf,
    /// Only records from this time on, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<OffsetDateTime>,
    /// Only decisions in which this rule had a part, as POLICY/RULE
    #[arg(long)]
    rule: Option<String>,
    /// Only decisions that ended so: forward, reject, dead-letter, quarantine or hold
    #[arg(long, value_parser = ["forward", "reject", "dead-letter", "quarantine", "hold"])]
    outcome: Option<String>,
    /// Only decisions about the event with this id, alone or as one of several in a record
    #[arg(long, value_name = "ID", value_parser = parse_event)]
    event: Option<EventSought>,
    #[arg(long, value_enum, default_value_t = Lines::Json)]
    output: Lines,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Verify(arguments) => verify(arguments),
        Command::Export(arguments) => export(arguments),
    }
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it like 2026-01-31T12:00:00Z".to_owned())
}

fn parse_event(id: &str) -> Result<EventSought, std::convert::Infallible> {
    Ok(EventSought::new(id))
}

fn unreadable(directory: &std::path::Path, problem: WalkError) -> Failure {
    Failure::Input(anyhow!(problem).context(format!("cannot read `{}`", directory.display())))
}

fn verify(arguments: &VerifyArguments) -> Outcome {
    let directory = directory_of(&arguments.directory);
    let mut met = None;
    let report = walk(&directory, &mut |entry: Entry<'_>| {
        if arguments.checkpoint.is_some_and(|wanted| wanted.seq == entry.place.seq) {
            met = Some(entry.place);
        }
        Ok(())
    });
    let report = report.map_err(|problem| unreadable(&directory, problem))?;
    let complaint = arguments.checkpoint.and_then(|wanted| unmet(wanted, met, &report));
    match arguments.output {
        Output::Json => println!("{:#}", report_json(&report, complaint.as_deref())),
        Output::Table => table(&report, complaint.as_deref()),
    }
    if report.broken.is_empty() && complaint.is_none() { Ok(()) } else { Err(Failure::No) }
}

/// What is wrong with the chain in the light of a checkpoint.
fn unmet(wanted: Checkpoint, met: Option<Checkpoint>, report: &Report) -> Option<String> {
    match met {
        Some(met) if met == wanted => None,
        Some(met) => Some(format!("record {} is another one than that of the checkpoint: {met}", wanted.seq)),
        None if wanted.seq < report.first => Some(format!(
            "the checkpoint is older than what is kept: the chain begins with record {}",
            report.first
        )),
        None => Some(format!("the chain ends with record {}, before the checkpoint", report.last.seq)),
    }
}

fn broken_text(Broken { segment, offset, after, what }: &Broken) -> String {
    format!("broken: segment {segment:016x}, byte {offset}, after record {after}: {what}")
}

fn table(report: &Report, complaint: Option<&str>) {
    println!("chain       {}", report.chain.as_deref().unwrap_or("-"));
    println!("segments    {}", report.segments);
    println!("records     {} to {}", report.first, report.last.seq);
    println!("checkpoint  {}", report.last);
    if report.lost > 0 {
        println!("not kept    {} decisions, because the queue was full", report.lost);
    }
    if report.unclean_starts > 0 {
        println!("starts      {} after an end that was not orderly", report.unclean_starts);
    }
    if report.torn_bytes > 0 {
        println!("last write  {} bytes, cut short or under way", report.torn_bytes);
    }
    report.broken.iter().for_each(|broken| println!("{}", broken_text(broken)));
    if let Some(complaint) = complaint {
        println!("broken: {complaint}");
    }
    if report.broken.is_empty() && complaint.is_none() {
        println!("intact");
    }
}

fn report_json(report: &Report, complaint: Option<&str>) -> Value {
    let broken: Vec<Value> = report
        .broken
        .iter()
        .map(|Broken { segment, offset, after, what }| {
            json!({"segment": format!("{segment:016x}"), "offset": offset, "after": after, "what": what})
        })
        .collect();
    json!({
        "intact": report.broken.is_empty() && complaint.is_none(),
        "chain": report.chain,
        "segments": report.segments,
        "first": report.first,
        "last": report.last.seq,
        "checkpoint": report.last.to_string(),
        "notKept": report.lost,
        "uncleanStarts": report.unclean_starts,
        "tornBytes": report.torn_bytes,
        "broken": broken,
        "checkpointUnmet": complaint,
    })
}

fn export(arguments: &ExportArguments) -> Outcome {
    let Lines::Json = arguments.output;
    let directory = directory_of(&arguments.directory);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut printed = 0_u64;
    let report = walk(&directory, &mut |entry: Entry<'_>| {
        if arguments.selects(entry.body) {
            printed += 1;
            write_line(&entry, &mut out)?;
        }
        Ok(())
    });
    let report = match report {
        Err(WalkError::Io(problem)) if problem.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        report => report.map_err(|problem| unreadable(&directory, problem))?,
    };
    let (seq, hash) = (report.last.seq, report.last.to_string());
    let hash = hash.split_once(':').map_or("", |(_, hash)| hash);
    let last = json!({"kind": "checkpoint", "seq": seq, "hash": hash});
    match writeln!(out, "{last}").and_then(|()| out.flush()) {
        Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        written => written.map_err(|problem| Failure::Fault(problem.into()))?,
    }
    eprintln!("{printed} records, checkpoint {}", report.last);
    report.broken.iter().for_each(|broken| eprintln!("{}", broken_text(broken)));
    if report.broken.is_empty() { Ok(()) } else { Err(Failure::No) }
}

/// The record as it is in the chain, with its number and hash in front.
fn write_line(entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
    let place = entry.place.to_string();
    let (seq, hash) = place.split_once(':').unwrap_or_default();
    write!(out, "{{\"seq\":{seq},\"hash\":\"{hash}\"")?;
    // The walk has seen that it is an object on one line; an empty one has nothing to be separated from.
    let rest = entry.body.strip_prefix(b"{").unwrap_or(entry.body);
    if rest.trim_ascii_start() != b"}" {
        out.write_all(b",")?;
    }
    out.write_all(rest)?;
    out.write_all(b"\n")
}

impl ExportArguments {
    fn selects(&self, body: &[u8]) -> bool {
        if self.since.is_none() && self.rule.is_none() && self.outcome.is_none() && self.event.is_none() {
            return true;
        }
        let Ok(record) = serde_json::from_slice::<Value>(body) else { return false };
        // Of several events the last may be new enough.
        let time = record["until"].as_str().or(record["time"].as_str());
        let time = time.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.outcome.as_ref().is_none_or(|outcome| record["verdict"] == outcome.as_str())
            && self.event.as_ref().is_none_or(|event| event.is_in(&record))
            && self.rule.as_ref().is_none_or(|rule| has_part(&record, rule))
    }
}

fn has_part(record: &Value, rule: &str) -> bool {
    let listed = |key: &str| record[key].as_array().into_iter().flatten();
    record["by"]["rule"] == rule
        || ["alsoBy", "editedBy"].into_iter().flat_map(listed).any(|also| also["rule"] == rule)
        || ["warned", "shadowed", "waived"].into_iter().flat_map(listed).any(|name| name == rule)
}
