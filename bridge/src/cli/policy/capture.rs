//! `meshbridge policy capture`: events as a running bridge judges them, in a file that `replay` reads.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use meshbridge_policy::capture::{End, Reader};
use meshbridge_topic::TopicFilter;
use serde_json::json;

use super::super::block_on;
use super::live::{Admin, Lines, seconds};
use super::{Failure, Format, Outcome, parse_duration, print_json};
use crate::admin::CaptureParameters;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Recorded is what the bridge judges when events leave its zone and when they enter it. By default an event is recorded as\nits destination gets it, protections made, with the places where it was edited; of an event that its destination is not\nto have, only id, source, type, topic and sizes. With --sealed the events themselves are recorded, under the key with\n`use: store` of the bridge's zone: a bridge without one refuses. A replay of a sealed capture is exact, one of a protected\ncapture says what it cannot know.\n\nThe file is made new, for its owner only; an old one is never written over. What the bridge judged faster than it could\nbe written is left out, and the last line says how many events that were.\nExit code 0 when enough was recorded, 1 where the bridge refuses or stops before, 5 where it cannot be reached.\n\nExamples:\n  meshbridge policy capture --topic 'payments.**' --events 1000 --for 10m -o payments.capture\n  meshbridge policy capture --for 1h --sealed -o all.capture\n  meshbridge policy replay --capture all.capture --keys keys --old policies new-policies"
)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    admin: Admin,
    /// Only events on topics that this filter matches; repeatable
    #[arg(long, value_name = "FILTER")]
    topic: Vec<TopicFilter>,
    /// End after this many events; an event counts for each zone it goes to
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    events: u64,
    /// End after this time, as 30s, 5m or 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    time: Duration,
    /// The file to make
    #[arg(short, long = "out", value_name = "FILE")]
    out: PathBuf,
    /// Record the events themselves, sealed under the bridge's `store` key
    #[arg(long)]
    sealed: bool,
    /// How to print what was recorded
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let wish = CaptureParameters {
        topics: arguments.topic.iter().map(ToString::to_string).collect(),
        events: Some(arguments.events),
        seconds: Some(seconds(arguments.time)),
        sealed: arguments.sealed,
    };
    block_on(async {
        let shown = arguments.out.display();
        if arguments.out.exists() {
            return Err(Failure::Input(anyhow!("`{shown}` is there already")));
        }
        let mut lines = arguments.admin.ask("/v1/policy/capture", &wish).await?;
        eprintln!("recording");
        let file = make(&arguments.out)?;
        let end = copy(&mut lines, file, true).await?;
        match arguments.output {
            Format::Text => println!("{} events in {shown}, {} missed", end.events, end.missed),
            Format::Json => print_json(&json!({"file": shown.to_string(), "end": end}))?,
        }
        if matches!(end.why.as_str(), "events" | "time") {
            return Ok(());
        }
        eprintln!("the bridge ended it: {}", end.why);
        Err(Failure::No)
    })?
}

/// A new file, for its owner only.
pub(in crate::cli) fn make(path: &Path) -> Result<BufWriter<std::fs::File>, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot make `{}`", path.display())).map_err(Failure::Input)?;
    Ok(BufWriter::new(file))
}

/// Copies line by line, so that what is in the file is whole even where the bridge goes away.
pub(in crate::cli) async fn copy(
    lines: &mut Lines,
    mut file: BufWriter<std::fs::File>,
    is_capture: bool,
) -> Result<End, Failure> {
    let unwritable =
        |problem: std::io::Error| Failure::Fault(anyhow!(problem).context("cannot write the capture"));
    let gone = |what: &str| Failure::Unreachable(anyhow!("{what}"));
    let mut line = lines.next().await?.ok_or_else(|| gone("the bridge closed the stream"))?;
    if is_capture {
        Reader::begin(&line).map_err(|problem| gone(&format!("the bridge sent no capture: {problem}")))?;
    }
    loop {
        file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(unwritable)?;
        if let Some(end) = End::parse(&line) {
            file.flush().map_err(unwritable)?;
            file.get_ref().sync_all().map_err(unwritable)?;
            return Ok(end);
        }
        line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => {
                file.flush().map_err(unwritable)?;
                return Err(gone(
                    "the bridge closed the stream; what is in the file is whole but has no end",
                ));
            }
            Err(failure) => {
                file.flush().map_err(unwritable)?;
                return Err(failure);
            }
        };
    }
}
