//! Sealed captures in clear: what `capture`, `dlq export` and `quarantine export` have sealed.

use std::io::BufRead;

use anyhow::anyhow;
use meshbridge_event::json::write_structured;
use meshbridge_policy::MapKeyRing;
use meshbridge_policy::capture::{CaptureError, Line, Reader, View};
use serde_json::{Value, json};

use super::super::replay::{read_line, unreadable};
use super::super::{Failure, Format, Outcome, print_json};

/// How every capture begins; no event does.
const BEGINNING: &[u8] = b"{\"format\":\"meshbridge-capture\"";

pub(super) fn is_capture(input: &mut impl BufRead) -> std::io::Result<bool> {
    Ok(input.fill_buf()?.starts_with(BEGINNING))
}

/// Prints the events, one a line.
pub(super) fn print(mut input: impl BufRead, shown: &str, ring: &MapKeyRing, output: Format) -> Outcome {
    let first = read_line(&mut input, shown, 1)?.unwrap_or_default();
    let reader = Reader::begin(&first).map_err(|problem| unreadable(shown, 1, problem))?;
    if reader.header().view != View::Sealed {
        return Err(Failure::Input(anyhow!("`{shown}` is not sealed: what is in it can be read as it is")));
    }
    let (mut opened, mut number, mut has_end) = (0_u64, 1, false);
    while let Some(line) = read_line(&mut input, shown, number + 1)? {
        number += 1;
        let entry = match reader.line(&line, ring) {
            Ok(Line::Entry(entry)) => entry,
            Ok(Line::End(_)) => {
                has_end = true;
                break;
            }
            Err(problem @ (CaptureError::NoKey(_) | CaptureError::DoesNotOpen(_))) => {
                eprintln!("`{shown}`, line {number}: {problem}");
                return Err(Failure::No);
            }
            Err(problem) => return Err(unreadable(shown, number, problem)),
        };
        let Some(event) = entry.whole() else { continue };
        let mut text = Vec::new();
        write_structured(event, &[], &mut text);
        // Line ends between the parts of JSON mean nothing, and a line is an event.
        text.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        let text = String::from_utf8(text).map_err(|problem| Failure::Fault(problem.into()))?;
        match output {
            Format::Text => println!("{text}"),
            Format::Json => {
                let event: Value =
                    serde_json::from_str(&text).map_err(|problem| Failure::Fault(problem.into()))?;
                let topic = entry.topic.as_ref().map(ToString::to_string);
                print_json(&json!({
                    "number": entry.number, "topic": topic, "from": entry.from, "to": entry.to,
                    "verdict": entry.verdict, "by": entry.by, "event": event,
                }))?;
            }
        }
        opened += 1;
    }
    eprintln!("{opened} events opened");
    if !has_end {
        eprintln!("`{shown}` has no end: more may have been captured");
    }
    Ok(())
}
