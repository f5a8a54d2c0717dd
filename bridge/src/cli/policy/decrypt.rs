//! `meshbridge policy decrypt`: sealed values back in clear, for whoever holds the keys. Bridges never do this.

mod captured;

use std::fs::File;
use std::io::{BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use meshbridge_bundle::DataKey;
use meshbridge_event::json::write_structured;
use meshbridge_policy::{DecryptReport, MapKeyRing, decrypt};
use serde_json::{Value, json};

use super::{Failure, Format, Outcome, answer, parse_name, print_json, read_event_from};

/// Bytes of a key file: 32 bytes in base64, and some white space.
const FILE_BYTES_MAX: u64 = 256;
/// Keys that are read from a directory.
const KEYS_MAX: usize = 4_096;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "The keys are files NAME.VERSION, as `meshbridge policy keygen` makes them. The event goes to stdout, what became of it to\nstderr; exit code 1 where a sealed value stays sealed. Of a sealed capture the events are printed, one a line, as they were\nsealed: by `policy capture --sealed`, `dlq export --sealed` or `quarantine export --sealed`.\n\nExamples:\n  meshbridge policy decrypt --keys keys event.json\n  meshbridge policy decrypt --keys keys letters.capture"
)]
pub(in crate::cli) struct Arguments {
    /// An event as JSON, or a sealed capture; `-` for stdin
    event: PathBuf,
    /// Directory with the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// text prints the event as JSON, json an object with the event and what became of it, or where it was captured
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let ring = read_keys(&arguments.keys).map_err(Failure::Input)?;
    let shown = arguments.event.display().to_string();
    let input: Box<dyn Read> = match arguments.event == Path::new("-") {
        true => Box::new(stdin()),
        false => {
            let file = File::open(&arguments.event).with_context(|| format!("cannot read `{shown}`"));
            Box::new(file.map_err(Failure::Input)?)
        }
    };
    let mut input = BufReader::new(input);
    let is_capture = captured::is_capture(&mut input).with_context(|| format!("cannot read `{shown}`"));
    if is_capture.map_err(Failure::Input)? {
        return captured::print(input, &shown, &ring, arguments.output);
    }
    let event = read_event_from(input, &shown)?;
    let (event, report) = decrypt(&event, &ring).map_err(|problem| {
        Failure::Input(anyhow!("in clear this is more than an event may be: {problem}"))
    })?;
    let mut text = Vec::new();
    write_structured(&event, &[], &mut text);
    let text = String::from_utf8(text).map_err(|problem| Failure::Fault(problem.into()))?;
    match arguments.output {
        Format::Text => {
            println!("{text}");
            tell(&report);
        }
        Format::Json => {
            let event: Value =
                serde_json::from_str(&text).map_err(|problem| Failure::Fault(problem.into()))?;
            let missing: Vec<String> = missing(&report).collect();
            print_json(&json!({
                "event": event, "opened": report.opened, "failed": report.failed, "missing": missing,
            }))?;
        }
    }
    answer(report.failed == 0 && report.missing.is_empty())
}

fn missing(report: &DecryptReport) -> impl Iterator<Item = String> + '_ {
    report.missing.iter().map(|(name, version)| format!("{name}.{version}"))
}

fn tell(report: &DecryptReport) {
    eprintln!("{} values opened", report.opened);
    for key in missing(report) {
        eprintln!("no key {key}: what it sealed stays sealed");
    }
    if report.failed > 0 {
        eprintln!(
            "{} values do not open: altered, moved from another event, or sealed under another secret of that name",
            report.failed
        );
    }
}

/// Every file whose name is that of a key; others may lie beside them.
pub(super) fn read_keys(directory: &Path) -> anyhow::Result<MapKeyRing> {
    let mut ring = MapKeyRing::new();
    let mut count = 0;
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read `{}`", directory.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read `{}`", directory.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some((name, version)) = key_of(&name) else { continue };
        let shown = path.display();
        count += 1;
        if count > KEYS_MAX {
            return Err(anyhow!("`{}` holds more than {KEYS_MAX} keys", directory.display()));
        }
        let size = std::fs::metadata(&path).with_context(|| format!("cannot read `{shown}`"))?.len();
        if size > FILE_BYTES_MAX {
            return Err(anyhow!("`{shown}` is no key file: {size} bytes"));
        }
        let text = std::fs::read_to_string(&path).map(zeroize::Zeroizing::new);
        let text = text.with_context(|| format!("cannot read `{shown}`"))?;
        let key = DataKey::from_text(&text).with_context(|| format!("`{shown}` is no key file"))?;
        ring.insert(&name, version, *key.expose());
    }
    if count == 0 {
        return Err(anyhow!("no key in `{}`: they are files NAME.VERSION", directory.display()));
    }
    Ok(ring)
}

fn key_of(file: &str) -> Option<(String, u32)> {
    let (name, version) = file.rsplit_once('.')?;
    let is_number = !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit());
    let version = version.parse().ok().filter(|_| is_number)?;
    Some((parse_name(name).ok()?, version))
}
