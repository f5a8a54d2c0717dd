//! `meshbridge policy replay`: what would become of recorded events under other policies.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use meshbridge_policy::capture::{CaptureError, End, Entry, LINE_BYTES_MAX, Line, Reader};
use meshbridge_policy::replay::{Outcome as Fate, Replay, Side, Summary};
use meshbridge_policy::{MapKeyRing, Program, compile};
use serde_json::json;

use super::check::{self, Report};
use super::decrypt::read_keys;
use super::sources::{self, NoSources, together};
use super::{Failure, Format, Outcome, answer, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Each event of the capture is judged by DIR and compared with what OLD says, or, without --old, with the verdict on record.\nKinds of change: newly allowed, weaker (it shows more than it did, or what cannot be compared), newly blocked, stronger,\nother rule. A sealed capture needs the key that sealed it, and the answer is exact. Of a protected capture, what depends\non something that was edited is unknown, and counted as such; with --old being the policies that were in force, rules that\nboth have are known to do what they did, so less is unknown.\n\nRates are taken to have room and keys to be there. Values of events are never shown.\nExit code 1 where some event would pass that did not or show more than it did, 0 otherwise, also where some are unknown.\n\nExamples:\n  meshbridge policy replay --capture payments.capture new-policies\n  meshbridge policy replay --capture all.capture --keys keys --old policies new-policies --output json"
)]
pub(in crate::cli) struct Arguments {
    /// Directory with the policies to try
    #[arg(value_name = "DIR")]
    new: PathBuf,
    /// The capture, as `meshbridge policy capture` made it; - for stdin
    #[arg(long, value_name = "FILE")]
    capture: PathBuf,
    /// Directory with the policies to compare with; the verdicts on record without it
    #[arg(long, value_name = "DIR")]
    old: Option<PathBuf>,
    /// Directory with the key of a sealed capture
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// The federation document of DIR, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    /// json prints an object for each event that fares otherwise or is unknown, and a summary at the end
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let ring = match &arguments.keys {
        Some(directory) => read_keys(directory).map_err(Failure::Input)?,
        None => MapKeyRing::new(),
    };
    let mut capture = Capture::open(&arguments.capture)?;
    let new = program(&arguments.new, arguments.federation.as_deref())?;
    let old = match &arguments.old {
        // The same federation stands for both, unless the old ones bring their own.
        Some(directory) => Some(program(directory, arguments.federation.as_deref())?),
        None => None,
    };
    let recorded = &capture.reader.header().federation;
    if *recorded != new.federation().name() {
        eprintln!(
            "the capture is of the federation {recorded}, and the policies are of {}",
            new.federation().name()
        );
    }
    let mut replay = Replay::new(old.as_ref(), &new);
    let mut summary = Summary::default();
    while let Some(entry) = capture.next(&ring)? {
        let fate = replay.judge(&entry);
        tell(&entry, &fate, arguments.output)?;
        summary.add(&fate);
    }
    match &capture.end {
        Some(end) if end.missed > 0 => {
            eprintln!("the bridge judged {} further events that are not in the capture", end.missed)
        }
        Some(_) => {}
        None => eprintln!("the capture has no end: it was cut, or the bridge went away"),
    }
    match arguments.output {
        Format::Text => print!("{summary}"),
        Format::Json => print_json(&json!({"summary": summary.counts}))?,
    }
    answer(!summary.passes_more())
}

fn program(directory: &Path, federation: Option<&Path>) -> Result<Program, Failure> {
    let refuse = |problems| {
        check::print(&together(vec![problems]), Report::Text)?;
        Err(Failure::Input(anyhow!("the policies in `{}` have errors", directory.display())))
    };
    let sources = match sources::read(&[directory.to_owned()], federation) {
        Ok(sources) => sources,
        Err(NoSources::Federation(problems)) => return refuse(problems),
        Err(NoSources::Failed(failure)) => return Err(failure),
    };
    // Waivers that have ended since are judged by the time of each event.
    match compile(&sources.files, &sources.federation, None) {
        Ok(compiled) => Ok(compiled.program),
        Err(problems) => refuse(problems),
    }
}

/// One line for an event that fares otherwise; in text the unknown ones are only counted.
fn tell(entry: &Entry, fate: &Fate, output: Format) -> Outcome {
    let about = json!({
        "n": entry.number, "context": entry.context.name(), "from": entry.from, "to": entry.to,
        "topic": entry.topic_shown, "id": entry.id(),
    });
    let (text, more) = match fate {
        Fate::Same => return Ok(()),
        Fate::Unknown(why) => (None, json!({"kind": "unknown", "why": why.to_string()})),
        Fate::Changed { kind, old, new, rules } => {
            let side = |side: &Side| match &side.by {
                Some(by) => format!("{} by {by}", side.verdict),
                None => side.verdict.to_owned(),
            };
            let text = format!("{:13}  {} -> {}", kind.name(), side(old), side(new));
            (Some(text), json!({"kind": kind, "old": old, "new": new, "rules": rules}))
        }
    };
    match (output, text) {
        (Format::Text, None) => Ok(()),
        (Format::Text, Some(text)) => {
            let Entry { number, from, to, topic_shown, .. } = entry;
            println!(
                "#{number}  {} {from} -> {to}  {topic_shown}  {}  {text}",
                entry.context.name(),
                entry.id()
            );
            Ok(())
        }
        (Format::Json, _) => {
            let (mut line, more) = (about, more);
            if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
                line.extend(more.clone());
            }
            print_json(&line)
        }
    }
}

struct Capture {
    shown: String,
    input: BufReader<Box<dyn std::io::Read>>,
    reader: Reader,
    line: u64,
    end: Option<End>,
}

impl Capture {
    fn open(path: &Path) -> Result<Capture, Failure> {
        let shown = path.display().to_string();
        let input: Box<dyn std::io::Read> = match path == Path::new("-") {
            true => Box::new(std::io::stdin()),
            false => {
                let file = File::open(path).with_context(|| format!("cannot read `{shown}`"));
                Box::new(file.map_err(Failure::Input)?)
            }
        };
        let mut input = BufReader::new(input);
        let first = read_line(&mut input, &shown, 1)?.unwrap_or_default();
        let reader = Reader::begin(&first).map_err(|problem| unreadable(&shown, 1, problem))?;
        Ok(Capture { shown, input, reader, line: 1, end: None })
    }

    fn next(&mut self, ring: &MapKeyRing) -> Result<Option<Entry>, Failure> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.line += 1;
        let Some(line) = read_line(&mut self.input, &self.shown, self.line)? else { return Ok(None) };
        match self.reader.line(&line, ring).map_err(|problem| unreadable(&self.shown, self.line, problem))? {
            Line::Entry(entry) => Ok(Some(*entry)),
            Line::End(end) => {
                self.end = Some(end);
                Ok(None)
            }
        }
    }
}

pub(super) fn unreadable(shown: &str, line: u64, problem: CaptureError) -> Failure {
    let help = match problem {
        CaptureError::NoKey(_) => "; name the directory of its file with --keys",
        _ => "",
    };
    Failure::Input(anyhow!("`{shown}`, line {line}: {problem}{help}"))
}

/// The next line, without its end; `None` where there is no more.
pub(super) fn read_line(
    input: &mut impl BufRead,
    shown: &str,
    number: u64,
) -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    let read = input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
    let read = read.with_context(|| format!("cannot read `{shown}`")).map_err(Failure::Input)?;
    if read == 0 {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(Failure::Input(anyhow!("`{shown}`, line {number}: longer than any line of a capture")));
    }
    let text = String::from_utf8(line);
    let text = text.map_err(|_| Failure::Input(anyhow!("`{shown}`, line {number}: this is no text")))?;
    Ok(Some(text.trim_end().to_owned()))
}
