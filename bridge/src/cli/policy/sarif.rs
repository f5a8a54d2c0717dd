//! Diagnostics as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change.

use std::collections::BTreeSet;

use meshbridge_policy::codes::{self, Page};
use meshbridge_policy::{Diagnostic, Severity, Span};
use serde_json::{Value, json};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One run with all diagnostics.
pub(super) fn log(problems: &[Diagnostic]) -> Value {
    let codes: BTreeSet<&str> = problems.iter().map(|problem| problem.code).collect();
    let rules: Vec<Value> = codes.iter().map(|code| rule(code, codes::page(code))).collect();
    let position = |code: &str| codes.iter().position(|known| *known == code);
    let results: Vec<Value> =
        problems.iter().map(|problem| result(problem, position(problem.code))).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "meshbridge policy check", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            // Columns count characters, as those of editors do.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &str, page: Option<&Page>) -> Value {
    match page {
        None => json!({"id": code}),
        Some(page) => json!({
            "id": code,
            "shortDescription": {"text": page.title},
            "fullDescription": {"text": page.meaning},
            "help": {"text": format!("Cause: {}\n\nWhat to do: {}", page.cause, page.remedy)},
        }),
    }
}

fn result(problem: &Diagnostic, rule: Option<usize>) -> Value {
    let mut text = problem.message.clone();
    if let Some(label) = &problem.label {
        text.push_str(": ");
        text.push_str(label);
    }
    let mut result = json!({
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": {"text": text},
        "locations": [{"physicalLocation": place(&problem.span)}],
    });
    if !problem.related.is_empty() {
        let related = problem.related.iter().enumerate().map(|(at, label)| {
            json!({"id": at + 1, "physicalLocation": place(&label.span), "message": {"text": label.label}})
        });
        result["relatedLocations"] = related.collect();
    }
    if let Some(example) = &problem.example {
        result["properties"] = json!({"example": example});
    }
    // A fix in SARIF is a change of text; a help says in words what to change, so it is the description of one that
    // leaves the text as it is.
    if let Some(help) = &problem.help {
        let same = json!({"deletedRegion": insertion(&problem.span), "insertedContent": {"text": ""}});
        let change = json!({"artifactLocation": {"uri": uri(&problem.span)}, "replacements": [same]});
        result["fixes"] = json!([{"description": {"text": help}, "artifactChanges": [change]}]);
    }
    result
}

fn place(span: &Span) -> Value {
    json!({
        "artifactLocation": {"uri": uri(span)},
        "region": {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        },
    })
}

/// The empty region before the span.
fn insertion(span: &Span) -> Value {
    json!({"startLine": span.line, "startColumn": span.column, "endLine": span.line, "endColumn": span.column})
}

/// A path as a URI reference: relative where the path is.
fn uri(span: &Span) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');
    let path = percent_encoding::utf8_percent_encode(&span.file, KEPT).to_string();
    if path.starts_with('/') { format!("file://{path}") } else { path }
}
