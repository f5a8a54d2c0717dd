//! From files to a program, or everything that is wrong with them.

mod links;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use time::OffsetDateTime;

use crate::SourceFile;
use crate::delivery;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::documents::{self, Kind, classification, invariant, waiver};
use crate::federation::Federation;
use crate::lower::{self, Lowering};
use crate::program::{Documents, Program};
use crate::schema::Schemas;
use crate::shape::check;
use crate::yaml::{Node, documents as yaml_documents};

/// Rules of all layers.
const RULES_MAX: usize = 100_000;
/// Entries of all Delivery documents, of all Classification documents, and other documents.
const ENTRIES_MAX: usize = 10_000;

/// Policies that can be judged by.
#[derive(Debug)]
pub struct Compiled {
    pub program: Program,
    pub warnings: Diagnostics,
}

/// Compiles all policies of a bridge. Files that end in `.json` are schemas, all others YAML documents. `now` tells
/// which waivers are over or last too long; nobody's clock is asked where it is not given.
pub fn compile(
    files: &[SourceFile],
    federation: &Federation,
    now: Option<OffsetDateTime>,
) -> Result<Compiled, Diagnostics> {
    let mut problems = Diagnostics::default();
    let (documents, lost) = lower_all(files, federation, &mut problems);
    bounded(&documents, &mut problems);
    reach::check(&documents, lost, federation, now, &mut problems);
    links::check(&documents.rules, federation, &mut problems);
    problems.sort();
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Compiled { program: Program::new(documents, federation.clone()), warnings: problems })
}

fn is_schema(file: &SourceFile) -> bool {
    file.name.ends_with(".json")
}

/// What there is to read that could not be read: nothing is said of it that its own problems may be the reason for.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    /// A rule of any layer.
    rules: bool,
    /// Maybe one of the layer federation.
    outermost: bool,
}

fn lower_all(files: &[SourceFile], federation: &Federation, problems: &mut Diagnostics) -> (Documents, Lost) {
    let mut lost = Lost::default();
    let schemas = Schemas::new(files.iter().filter(|file| is_schema(file)));
    let mut all = Documents { other_files: schemas.canonical(), ..Documents::default() };
    let mut names: HashMap<(Kind, String), Span> = HashMap::new();
    for file in files.iter().filter(|file| is_schema(file)) {
        not_read(file, problems);
    }
    for file in files.iter().filter(|file| !is_schema(file)) {
        let errors = problems.errors();
        let documents = yaml_documents(file, problems);
        if documents.is_empty() && problems.errors() == errors {
            problems.push(nothing_in(file));
        }
        if problems.errors() > errors {
            lost = Lost { rules: true, outermost: true };
        }
        for document in documents {
            // Documents of these kinds may lie beside policies; they are somebody else's to read.
            if matches!(document.get("kind").and_then(Node::text), Some("Federation" | "Bridge")) {
                continue;
            }
            let kind = Kind::nearest(document.get("kind").and_then(Node::text));
            check(&document, kind.shape(), problems);
            unique(&document, kind, &mut names, problems);
            // Also where the shape is wrong: what can be read of it may have further problems.
            let mut lowering = Lowering { federation, schemas: &schemas, problems };
            match kind {
                Kind::Policy => {
                    let rules = lower::policy(&document, &mut lowering);
                    if rules.len() < lower::rules_of(&document).len() {
                        lost.rules = true;
                        lost.outermost |= lower::may_be_outermost(&document);
                    }
                    all.rules.extend(rules);
                }
                Kind::Classification => {
                    all.classifications.extend(classification::lower(&document, federation, problems));
                }
                Kind::Delivery => all.delivery.extend(delivery::lower(&document, federation, problems)),
                Kind::Invariant => all.invariants.extend(invariant::lower(&document, &mut lowering)),
                Kind::Waiver => all.waivers.extend(waiver::lower(&document, &mut lowering)),
                // Tests are read by those who run them.
                Kind::PolicyTest => {}
            }
        }
    }
    (all, lost)
}

/// P0125: a document in a file that is taken for a schema.
fn not_read(file: &SourceFile, problems: &mut Diagnostics) {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&file.text) else { return };
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str);
    let is_document = text("apiVersion").is_some_and(|version| version.starts_with("meshbridge/"))
        || (value.get("spec").is_some() && Kind::ALL.iter().any(|kind| text("kind") == Some(kind.name())));
    if is_document {
        let line = file.text.lines().next().unwrap_or_default();
        let place = Span {
            file: file.name.as_str().into(),
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1 + line.chars().count().max(1),
            source: line.into(),
        };
        let message = "this document is not read: a file that ends in .json is a schema";
        let help = "rename the file so that it ends in .yaml; YAML has all of JSON";
        problems.push(Diagnostic::warning("P0125", &place, message).help(help));
    }
}

/// P0125: names of files that look like those of documents or schemas, and are not.
pub fn misnamed(names: &[String]) -> Diagnostics {
    const READ: [&str; 3] = ["yaml", "yml", "json"];
    let mut problems = Diagnostics::default();
    for name in names {
        let Some((_, ending)) = name.rsplit_once('.').filter(|(_, ending)| !READ.contains(ending)) else {
            continue;
        };
        let lower = ending.to_ascii_lowercase();
        let Some(near) = READ.into_iter().find(|read| strsim::damerau_levenshtein(read, &lower) <= 1) else {
            continue;
        };
        let place = Span {
            file: name.as_str().into(),
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 2,
            source: "".into(),
        };
        let message = format!("this file is not read: its name ends in .{ending}");
        let help = format!("let it end in .{near}, or move it to where no policies are");
        problems.push(Diagnostic::warning("P0125", &place, message).help(help));
    }
    problems
}

/// A file that was cut off before it was written would otherwise be rules that are gone (RELIABILITY G7).
fn nothing_in(file: &SourceFile) -> Diagnostic {
    let place = Span {
        file: file.name.as_str().into(),
        line: 1,
        column: 1,
        end_line: 1,
        end_column: 2,
        source: file.text.lines().next().unwrap_or_default().into(),
    };
    Diagnostic::error("P0101", &place, "the file has no document in it")
        .help("remove the file, or write its documents; what a reload finds empty it does not take")
}

fn unique(
    document: &Node,
    kind: Kind,
    names: &mut HashMap<(Kind, String), Span>,
    problems: &mut Diagnostics,
) {
    let Some(node) = document.get("metadata").and_then(|metadata| metadata.get("name")) else { return };
    let Some(text) = node.text() else { return };
    if let Some(first) = names.insert((kind, text.to_owned()), node.span.clone()) {
        let message = format!("{} `{text}` occurs twice", documents::described(kind));
        problems.push(Diagnostic::error("P0111", &node.span, message).related(&first, "first here"));
    }
}

fn bounded(documents: &Documents, problems: &mut Diagnostics) {
    let mut limit = |count: usize, most: usize, what: &str, place: Option<&Span>| {
        if let Some(place) = place.filter(|_| count > most) {
            let problem = Diagnostic::error("P0107", place, format!("there are more than {most} {what}"));
            problems.push(problem.help("say it of families of topics, with fewer entries"));
        }
    };
    let classified = documents.classifications.iter().flat_map(|one| &one.topics);
    limit(documents.rules.len(), RULES_MAX, "rules", documents.rules.last().map(|rule| &rule.span));
    let delivery = &documents.delivery;
    limit(delivery.len(), ENTRIES_MAX, "delivery entries", delivery.last().map(|entry| &entry.span));
    let count = classified.clone().count();
    limit(count, ENTRIES_MAX, "classified topics", classified.last().map(|topic| &topic.span));
    let waivers = &documents.waivers;
    limit(waivers.len(), ENTRIES_MAX, "waivers", waivers.last().map(|waiver| &waiver.span));
    let invariants = &documents.invariants;
    limit(invariants.len(), ENTRIES_MAX, "invariants", invariants.last().map(|one| &one.span));
}
