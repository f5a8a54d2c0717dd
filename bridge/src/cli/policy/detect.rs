//! `meshbridge policy detect`: what the detectors find in recorded events, one line of output for each of input.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{ClassSet, Confidence, Finding, Scanner};
use serde::Serialize;

use super::super::{Failure, Outcome};
use super::Format;

/// A longer line is read over and reported, so that one without an end does not fill the memory.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Events, one a line: JSON, or else text; `-` reads stdin
    file: PathBuf,
    /// Leave out what is less sure
    #[arg(long, value_name = "LEVEL", default_value = "medium", value_parser = confidence)]
    confidence: Confidence,
    /// Look only for these, as `payment` or `gov-id.us.ssn`; several with commas between them
    #[arg(long, value_name = "CLASSES", default_value = "*", value_parser = classes)]
    classes: ClassSet,
    /// An object for each line of input, or a line of text for each finding
    #[arg(long, value_enum, default_value_t = Format::Json)]
    output: Format,
}

fn confidence(text: &str) -> Result<Confidence, String> {
    [Confidence::Low, Confidence::Medium, Confidence::High]
        .into_iter()
        .find(|confidence| confidence.name() == text)
        .ok_or_else(|| "expected low, medium or high".to_owned())
}

fn classes(text: &str) -> Result<ClassSet, String> {
    let mut all = ClassSet::EMPTY;
    for name in text.split(',') {
        let family = ClassSet::of(name.trim());
        if family.is_empty() {
            return Err(format!("`{name}` names no class and no family of classes"));
        }
        all = all.union(family);
    }
    Ok(all)
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let input: Box<dyn BufRead> = if arguments.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&arguments.file)
            .with_context(|| format!("opening {}", arguments.file.display()))
            .map_err(Failure::Input)?;
        Box::new(BufReader::with_capacity(64 * 1024, file))
    };
    let output = BufWriter::new(io::stdout().lock());
    let mut detector = Detector::new(arguments.classes, arguments.confidence, arguments.output);
    match detector.lines(input, output, LINE_BYTES_MAX) {
        Ok(0) => Ok(()),
        Ok(unread) => Err(Failure::Input(anyhow::anyhow!("{unread} lines could not be read to their end"))),
        Err(Stopped::Input(problem)) => Err(Failure::Input(
            anyhow::Error::new(problem).context(format!("reading {}", arguments.file.display())),
        )),
        // Whoever read the output has seen enough.
        Err(Stopped::Output(problem)) if problem.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stopped::Output(problem)) => Err(Failure::Fault(anyhow::Error::new(problem).context("writing"))),
    }
}

/// One line of output.
#[derive(Debug, Serialize)]
struct Report {
    line: u64,
    findings: Vec<Found>,
    /// Why the line may hold more than the findings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A finding by bytes of its line, the end exclusive.
#[derive(Debug, Serialize)]
struct Found {
    class: &'static str,
    path: String,
    start: u32,
    end: u32,
    confidence: &'static str,
}

/// A line for each finding, and for what could not be read; nothing for a line of input without either.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { line, findings, error } = self;
        for Found { class, path, start, end, confidence } in findings {
            writeln!(f, "{line}: {class} at {path}, bytes {start} to {end}, {confidence}")?;
        }
        match error {
            Some(error) => writeln!(f, "{line}: not read to its end: {error}"),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
enum Stopped {
    Input(io::Error),
    Output(io::Error),
}

struct Detector {
    wanted: ClassSet,
    least: Confidence,
    format: Format,
    scanner: Scanner,
    buffer: TapeBuffer,
    found: Vec<Finding>,
}

impl Detector {
    fn new(wanted: ClassSet, least: Confidence, format: Format) -> Detector {
        Detector {
            wanted,
            least,
            format,
            scanner: Scanner::new(),
            buffer: TapeBuffer::new(),
            found: Vec::new(),
        }
    }

    /// Reports line by line to the end; how many lines have an error.
    fn lines(
        &mut self,
        mut input: impl BufRead,
        mut output: impl Write,
        line_bytes_max: usize,
    ) -> Result<u64, Stopped> {
        let mut bytes = Vec::new();
        let mut unread = 0;
        for line in 1.. {
            bytes.clear();
            let limit = line_bytes_max as u64 + 1;
            let read = input.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(Stopped::Input)?;
            if read == 0 {
                break;
            }
            let report = if bytes.pop_if(|byte| *byte == b'\n').is_none() && read > line_bytes_max {
                input.skip_until(b'\n').map_err(Stopped::Input)?;
                let error = Some(format!("longer than {line_bytes_max} bytes"));
                Report { line, findings: Vec::new(), error }
            } else {
                self.line(line, &bytes)
            };
            unread += u64::from(report.error.is_some());
            match self.format {
                Format::Json => {
                    serde_json::to_writer(&mut output, &report)
                        .map_err(|problem| Stopped::Output(problem.into()))?;
                    output.write_all(b"\n").map_err(Stopped::Output)?;
                }
                Format::Text => write!(output, "{report}").map_err(Stopped::Output)?,
            }
        }
        output.flush().map_err(Stopped::Output)?;
        Ok(unread)
    }

    fn line(&mut self, line: u64, bytes: &[u8]) -> Report {
        let (text, mut error) = match str::from_utf8(bytes) {
            Ok(text) => (std::borrow::Cow::Borrowed(text), None),
            Err(problem) => (readable(bytes), Some(format!("not UTF-8 at byte {}", problem.valid_up_to()))),
        };
        self.found.clear();
        let (tape, outcome) = match self.buffer.parse(&text) {
            Ok(tape) => {
                let outcome = self.scanner.scan_json(&tape, &self.wanted, self.least, &mut self.found);
                (Some(tape), outcome)
            }
            Err(problem) => {
                // What was meant as JSON is scanned as text, which is less than reading it.
                let is_json = is_meant_as_json(&text);
                error = error.or_else(|| is_json.then(|| format!("no JSON that can be read: {problem}")));
                let plain = if is_json { without_escapes(&text) } else { text };
                (None, self.scanner.scan_text(&plain, &self.wanted, self.least, &mut self.found))
            }
        };
        error = error.or(outcome.err().map(|problem| problem.to_string()));
        let mut paths = tape.as_ref().map(|tape| tape.paths());
        let findings = self
            .found
            .iter()
            .map(|finding| Found {
                class: finding.class.name(),
                path: match (&mut paths, finding.node) {
                    (Some(paths), Some(node)) => paths.path(node),
                    _ => "$".to_owned(),
                },
                start: finding.range.start,
                end: finding.range.end,
                confidence: finding.confidence.name(),
            })
            .collect();
        Report { line, findings, error }
    }
}

/// The text with one `?` for each byte that is not part of UTF-8, so that every other byte keeps its place.
fn readable(bytes: &[u8]) -> std::borrow::Cow<'static, str> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text.into()
}

/// An object or an array with something in it, and no line of a log that begins with a bracket.
fn is_meant_as_json(text: &str) -> bool {
    let text = text.trim_start();
    let rest = text.strip_prefix('{').or_else(|| text.strip_prefix('['));
    rest.is_some_and(|rest| rest.trim_start().starts_with(['"', '{', '[']))
}

/// Blanks in place of escapes, so that what they stand between is not taken for one word; every byte keeps its place.
fn without_escapes(text: &str) -> std::borrow::Cow<'static, str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let bytes =
            if escape.as_bytes().get(1).is_some_and(|byte| b"nrtbf\"/\\".contains(byte)) { 2 } else { 1 };
        out.extend(std::iter::repeat_n(' ', bytes));
        rest = escape.get(bytes..).unwrap_or_default();
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(input: &[u8], line_bytes_max: usize) -> (String, u64) {
        detect_as(Format::Json, input, line_bytes_max)
    }

    fn detect_as(format: Format, input: &[u8], line_bytes_max: usize) -> (String, u64) {
        let mut output = Vec::new();
        let mut detector = Detector::new(ClassSet::ALL, Confidence::Medium, format);
        let unread = detector.lines(input, &mut output, line_bytes_max).expect("memory does not fail");
        (String::from_utf8(output).expect("JSON"), unread)
    }

    #[test]
    fn each_line_of_input_has_one_of_output() {
        let input = concat!(
            r#"{"data":{"customer":{"email":"li@example.com","odd key":["\u0034111 1111 1111 1111"]}}}"#,
            "\n\nwrite to li@example.com\n",
            r#"{"nested":"{\"iban\":\"DE89370400440532013000\"}"}"#,
            "\r\n{\"4111111111111111\": true}\n{\"orderId\":\"ORD-2026-1\"}",
        );
        let (output, unread) = detect(input.as_bytes(), 1000);
        insta::assert_snapshot!(output, @r#"
        {"line":1,"findings":[{"class":"contact.email","path":"$.data.customer.email","start":30,"end":44,"confidence":"high"},{"class":"payment.card","path":"$.data.customer['odd key'][0]","start":58,"end":82,"confidence":"high"}]}
        {"line":2,"findings":[]}
        {"line":3,"findings":[{"class":"contact.email","path":"$","start":9,"end":23,"confidence":"high"}]}
        {"line":4,"findings":[{"class":"payment.iban","path":"$.nested","start":23,"end":45,"confidence":"high"}]}
        {"line":5,"findings":[{"class":"payment.card","path":"$['4111111111111111']","start":2,"end":18,"confidence":"medium"}]}
        {"line":6,"findings":[]}
        "#);
        assert_eq!(unread, 0);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_the_rest_goes_on() {
        let long = "x".repeat(64);
        let input = [b"a \xff li@example.com\n".as_slice(), long.as_bytes(), b"\nli@example.com\n"].concat();
        let (output, unread) = detect(&input, 40);
        insta::assert_snapshot!(output, @r#"
        {"line":1,"findings":[{"class":"contact.email","path":"$","start":4,"end":18,"confidence":"high"}],"error":"not UTF-8 at byte 2"}
        {"line":2,"findings":[],"error":"longer than 40 bytes"}
        {"line":3,"findings":[{"class":"contact.email","path":"$","start":0,"end":14,"confidence":"high"}]}
        "#);
        assert_eq!(unread, 2);
    }

    #[test]
    fn as_text_each_finding_has_a_line() {
        let input = b"{\"a\":\"li@example.com\",\"b\":\"4111111111111111\"}\nnothing\n\xff li@example.com\n";
        let (output, unread) = detect_as(Format::Text, input, 1000);
        insta::assert_snapshot!(output, @"
        1: contact.email at $.a, bytes 6 to 20, high
        1: payment.card at $.b, bytes 27 to 43, medium
        3: contact.email at $, bytes 2 to 16, high
        3: not read to its end: not UTF-8 at byte 0
        ");
        assert_eq!(unread, 1);
    }

    #[test]
    fn json_that_cannot_be_read_is_named_and_scanned_as_text() {
        let cut = r#"{"a":"one\n4111 1111 1111 1111", "b":"trunc"#;
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let (output, unread) = detect(format!("{cut}\n{deep}\n[info] up\n").as_bytes(), 1000);
        let lines: Vec<serde_json::Value> =
            output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[0]["findings"][0]["class"], "payment.card", "{output}");
        let place = &lines[0]["findings"][0];
        let range = |name: &str| place[name].as_u64().expect("a number") as usize;
        assert_eq!(cut.get(range("start")..range("end")), Some("4111 1111 1111 1111"));
        assert!(lines[0]["error"].is_string() && lines[1]["error"].is_string(), "{output}");
        assert!(lines[2].get("error").is_none(), "a line of a log is no JSON");
        assert_eq!(unread, 2);
    }

    #[test]
    fn classes_are_families_or_an_error() {
        assert_eq!(classes("payment.card, contact.email").expect("classes").len(), 2);
        assert_eq!(classes("*").expect("all"), ClassSet::ALL);
        assert!(classes("payment.kard").is_err() && classes("").is_err() && confidence("sure").is_err());
    }
}
