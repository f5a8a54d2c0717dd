//! `meshbridge spool verify|export`: read only, also while the bridge runs, also what `run` refuses; and `acknowledge`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use meshbridge_delivery::Record;
use meshbridge_event::Event;
use meshbridge_event::json::write_structured;
use meshbridge_spool::vfs::RealVfs;
use meshbridge_spool::{
    ExportOptions, Exported, Hole, Record as Raw, RecordPlace, Report, SegmentReport, Verdict, export, verify,
};

use super::{Failure, Outcome, Output};
use crate::journal::DamageList;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check every file: layout, chain, codes, what is missing; exit code 1 where something durable is lost
    Verify(VerifyArguments),
    /// Print every record as a line of JSON, events with their data
    Export(ExportArguments),
    /// Say that you know of what was found damaged: prints the list, and health is green again
    Acknowledge(AcknowledgeArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct AcknowledgeArguments {
    /// The data directory of a bridge, which may be running
    directory: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// The spool, or the data directory of a bridge
    directory: PathBuf,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    /// The spool, or the data directory of a bridge
    directory: PathBuf,
    /// Go on behind damage, and say what is lost
    #[arg(long)]
    salvage: bool,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Verify(arguments) => run_verify(arguments),
        Command::Export(arguments) => run_export(arguments),
        Command::Acknowledge(arguments) => run_acknowledge(arguments),
    }
}

fn run_acknowledge(arguments: &AcknowledgeArguments) -> Outcome {
    let directory = &arguments.directory;
    if !directory.join("spool").is_dir() {
        let problem =
            anyhow!("`{}` is no data directory of a bridge: it has no `spool`", directory.display());
        return Err(Failure::Input(problem));
    }
    let done = DamageList::of(directory).acknowledge();
    match done.map_err(|problem| Failure::Input(anyhow!(problem).context("cannot put the list away")))? {
        Some((lines, kept)) => println!("{lines}acknowledged; kept as {}", kept.display()),
        None => println!("nothing was found damaged, or all of it is acknowledged"),
    }
    Ok(())
}

fn open(directory: &Path) -> Result<RealVfs, Failure> {
    let inside = directory.join("spool");
    let directory = if inside.is_dir() { inside } else { directory.to_owned() };
    RealVfs::read_only(&directory).map_err(|problem| {
        Failure::Input(anyhow!(problem).context(format!("cannot read `{}`", directory.display())))
    })
}

fn run_verify(arguments: &VerifyArguments) -> Outcome {
    let report = verify(&open(&arguments.directory)?).map_err(|problem| Failure::Input(problem.into()))?;
    match arguments.output {
        Output::Json => println!("{:#}", json(&report)),
        Output::Table => table(&report),
    }
    match report.verdict {
        Verdict::Sound | Verdict::TornTail => Ok(()),
        Verdict::Damaged | Verdict::Refused(_) => Err(Failure::No),
    }
}

fn table(report: &Report) {
    println!(
        "{:<18} {:<12} {:>10} {:>8} {:>8}  {:<20} HOLES",
        "SEGMENT", "STATE", "USED", "BATCHES", "RECORDS", "NUMBERS"
    );
    for segment in &report.segments {
        let SegmentReport { segment: id, state, used_bytes, batches, records, numbers, holes, .. } = segment;
        let numbers = numbers.map_or_else(|| "-".to_owned(), |(first, last)| format!("{first}..{last}"));
        let holes: Vec<String> =
            holes.iter().map(|Hole { from, to, kind }| format!("{kind:?} at {from}..{to}")).collect();
        let state = format!("{state:?}").to_lowercase();
        println!(
            "{id:016x}   {state:<12} {used_bytes:>10} {batches:>8} {records:>8}  {numbers:<20} {}",
            holes.join(", ")
        );
    }
    println!();
    for (first, last) in &report.gaps {
        println!("lost: records {first} to {last}");
    }
    if let Some(from) = report.end_in_doubt {
        println!("in doubt: records from {from} on");
    }
    if let Some(from) = report.torn {
        println!("torn, never acknowledged: records from {from} on");
    }
    if !report.missing.is_empty() {
        println!(
            "missing files: {}",
            report.missing.iter().map(|id| format!("seg-{id:016x}")).collect::<Vec<_>>().join(" ")
        );
    }
    println!("records to {}, durable to {}", report.last, report.vouched);
    println!("{}", verdict(report));
}

fn verdict(report: &Report) -> String {
    match &report.verdict {
        Verdict::Sound => "sound".to_owned(),
        Verdict::TornTail => "sound; the last write was cut short, or is under way".to_owned(),
        Verdict::Damaged => {
            "damaged: something that was durable cannot be read; `run` starts and says what is lost"
                .to_owned()
        }
        Verdict::Refused(problem) => format!("`run` refuses to start: {problem}"),
    }
}

fn json(report: &Report) -> serde_json::Value {
    let segments: Vec<_> = report
        .segments
        .iter()
        .map(|segment| {
            let holes: Vec<_> = segment
                .holes
                .iter()
                .map(|hole| serde_json::json!({"from": hole.from, "to": hole.to, "kind": format!("{:?}", hole.kind).to_lowercase()}))
                .collect();
            serde_json::json!({
                "segment": format!("{:016x}", segment.segment),
                "state": format!("{:?}", segment.state).to_lowercase(),
                "usedBytes": segment.used_bytes,
                "segmentBytes": segment.segment_bytes,
                "batches": segment.batches,
                "records": segment.records,
                "numbers": segment.numbers,
                "holes": holes,
            })
        })
        .collect();
    serde_json::json!({
        "verdict": verdict(report),
        "wouldStart": report.would_start,
        "spool": report.spool.map(|id| id.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "runs": report.runs.iter().map(|run| format!("{}-{:016x}", run.epoch, run.nonce)).collect::<Vec<_>>(),
        "segments": segments,
        "missing": report.missing.iter().map(|id| format!("{id:016x}")).collect::<Vec<_>>(),
        "lost": report.gaps,
        "inDoubtFrom": report.end_in_doubt,
        "tornFrom": report.torn,
        "checkpoint": report.checkpoint,
        "durableTo": report.vouched,
        "last": report.last,
    })
}

fn run_export(arguments: &ExportArguments) -> Outcome {
    let vfs = open(&arguments.directory)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let done = export(&vfs, ExportOptions { salvage: arguments.salvage }, &mut |item| {
        let line = match item {
            Exported::Record { at, record } => line(&at, &record),
            Exported::Lost(range) => serde_json::json!({"lost": range.to_string()}),
        };
        writeln!(out, "{line}")
    });
    let done =
        done.and_then(|done| out.flush().map(|()| done).map_err(meshbridge_spool::ExportError::Receiver));
    match done {
        Ok(done) => {
            eprintln!(
                "{} records, {} rescued, {} ranges lost",
                done.records, done.salvaged, done.lost_ranges
            );
            if done.lost_ranges == 0 { Ok(()) } else { Err(Failure::No) }
        }
        Err(meshbridge_spool::ExportError::Receiver(problem))
            if problem.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            Ok(())
        }
        Err(problem @ meshbridge_spool::ExportError::Damaged(_)) => {
            Err(Failure::Input(anyhow!(problem).context("stopped; --salvage goes on behind the damage")))
        }
        Err(problem) => Err(Failure::Input(problem.into())),
    }
}

fn line(at: &RecordPlace, record: &Raw<'_>) -> serde_json::Value {
    let (kind, bytes) = match record {
        Raw::State(bytes) => ("record", *bytes),
        Raw::Body { bytes, .. } => ("event", *bytes),
        Raw::Moved { bytes, .. } => ("moved-event", *bytes),
        Raw::CheckpointPart(_) => ("checkpoint-part", &[][..]),
    };
    let mut line = serde_json::json!({
        "number": at.lsn, "segment": format!("{:016x}", at.segment), "offset": at.offset, "kind": kind,
    });
    if let Ok((record, payload)) = Record::decode(bytes)
        && kind != "checkpoint-part"
    {
        line["record"] = format!("{record:?}").into();
        if let Ok(event) = Event::decode(bytes::Bytes::copy_from_slice(payload))
            && !payload.is_empty()
        {
            let mut text = Vec::new();
            write_structured(&event, &[], &mut text);
            line["event"] = serde_json::from_slice(&text).unwrap_or_default();
        }
    }
    line
}
