//! `meshbridge policy test`: what was expected and what came, and what no case has shown.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use meshbridge_policy::testing::{self, CaseResult, Outcome as Tested, ProofResult, Suite};
use meshbridge_policy::{Diagnostic, Program, SourceFile, compile};
use serde_json::{Value, json};

use super::check::{self, Report};
use super::sources::{self, NoSources, Sources, together};
use super::{Failure, Format, Outcome, answer, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A test says where its policies are (`policies`, `federation`); without these they are beside it. Its keys, time and\nrandomness are fixed, so it prints the same everywhere.\n\nA mutant is the policies with one rule weakened: deleted, in shadow, without its exception, disclosing more, limiting less.\nOne that survives shows a rule that could be lost without any test failing.\n\nExamples:\n  meshbridge policy test                          every *.test.yaml below this directory\n  meshbridge policy test payments.test.yaml --no-mutants"
)]
pub(in crate::cli) struct Arguments {
    /// Tests, or directories in which every *.test.yaml is one
    #[arg(value_name = "FILE", default_value = ".")]
    places: Vec<PathBuf>,
    /// Do not look for weakened rules that no case notices; the coverage of mutants is not judged then
    #[arg(long)]
    no_mutants: bool,
    /// json prints one object for each test document
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let files = test_files(&arguments.places)?;
    let mut all_good = true;
    for file in &files {
        all_good &= run_file(file, !arguments.no_mutants, arguments.output)?;
    }
    answer(all_good)
}

fn test_files(places: &[PathBuf]) -> Result<Vec<SourceFile>, Failure> {
    let mut tests = Vec::new();
    for place in places {
        let place = sources::plain(place);
        let found = sources::files(std::slice::from_ref(&place)).map_err(|problem| match problem {
            NoSources::Failed(failure) => failure,
            NoSources::Federation(problems) => Failure::Input(anyhow!("{problems}")),
        })?;
        // A file that is named is a test whatever its name is.
        tests.extend(
            found.into_iter().filter(|file| place.is_file() || sources::is_test(Path::new(&file.name))),
        );
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    tests.dedup_by(|a, b| a.name == b.name);
    if tests.is_empty() {
        return Err(Failure::Input(anyhow!("there is no *{} here", sources::TEST_SUFFIX)));
    }
    Ok(tests)
}

/// Runs every test document of a file; whether all of it is as expected.
fn run_file(file: &SourceFile, with_mutants: bool, output: Format) -> Result<bool, Failure> {
    let directory = Path::new(&file.name).parent().unwrap_or(Path::new("."));
    let mut places = testing::places(file);
    if places.is_empty() {
        // Nothing in it can be read as a test; reading it as one says why.
        places.push((None, Vec::new()));
    }
    let mut is_good = true;
    for (at, (federation, policies)) in places.iter().enumerate() {
        let read = load(directory, federation.as_deref(), policies).and_then(|sources| {
            check::note_revision(&sources);
            let suites = testing::suites(file, &sources.federation).map_err(NoSources::Federation)?;
            let compiled =
                compile(&sources.files, &sources.federation, None).map_err(NoSources::Federation)?;
            Ok((suites, compiled.program))
        });
        let (suites, program) = match read {
            Ok(read) => read,
            Err(NoSources::Failed(failure)) => return Err(failure),
            Err(NoSources::Federation(problems)) => {
                print_problems(&together(vec![problems]), output)?;
                return Ok(false);
            }
        };
        let Some(suite) = suites.get(at) else {
            return Err(Failure::Input(anyhow!("`{}` holds no document of the kind PolicyTest", file.name)));
        };
        is_good &= run_suite(suite, &program, file, with_mutants, output)?;
    }
    Ok(is_good)
}

fn print_problems(problems: &[Diagnostic], output: Format) -> Outcome {
    let report = match output {
        Format::Text => Report::Text,
        Format::Json => Report::Json,
    };
    check::print(problems, report)
}

/// The policies of a test, relative to its directory.
fn load(directory: &Path, federation: Option<&str>, policies: &[String]) -> Result<Sources, NoSources> {
    let policies: Vec<PathBuf> = match policies {
        [] => vec![sources::plain(directory)],
        named => named.iter().map(|below| sources::plain(&directory.join(below))).collect(),
    };
    let named = federation.map(|file| sources::plain(&directory.join(file)));
    let document = named.or_else(|| sources::find_federation(&policies));
    let document = document.or_else(|| sources::find_federation(&[sources::plain(directory)]));
    let document = document.ok_or_else(|| {
        let missing =
            anyhow!("no federation.yaml near `{}`; name it with `spec.federation`", directory.display());
        NoSources::Failed(Failure::Input(missing))
    })?;
    let federation = crate::config::read_federation(&document)?;
    Ok(Sources { federation, files: sources::files(&policies)?, places: policies })
}

/// Runs and prints a suite without mutants or with them; whether it is as it should be.
pub(super) fn run_suite(
    suite: &Suite,
    program: &Program,
    file: &SourceFile,
    with_mutants: bool,
    output: Format,
) -> Result<bool, Failure> {
    let outcome = testing::run(suite, program, with_mutants);
    let is_good = outcome.is_good(suite.coverage);
    match output {
        Format::Json => print_json(&as_json(suite, &outcome, file, with_mutants, is_good))?,
        Format::Text => as_text(suite, &outcome, file, with_mutants),
    }
    Ok(is_good)
}

fn as_text(suite: &Suite, outcome: &Tested, file: &SourceFile, with_mutants: bool) {
    println!("{} ({})", suite.name, file.name);
    for case in &outcome.cases {
        case_text(case);
    }
    for ProofResult { origin, expected, came, note } in &outcome.proofs {
        let is_good = expected == came;
        println!("  {}  proof {}", if is_good { "pass" } else { "FAIL" }, origin.name);
        if !is_good {
            println!("        at {}:{}", origin.span.file, origin.span.line);
            println!(
                "        - {expected}\n        + {came}{}",
                note.iter().map(|note| format!(": {note}")).collect::<String>()
            );
        }
    }
    for rule in &outcome.never_decisive {
        println!("  never decisive: {rule}");
    }
    for survivor in &outcome.survivors {
        println!("  survived: {} {}, {}:{}", survivor.rule, survivor.change, survivor.file, survivor.line);
    }
    let good = outcome.cases.iter().filter(|case| case.is_good()).count();
    let proved = outcome.proofs.iter().filter(|proof| proof.is_good()).count();
    println!("  {good} of {} cases, {proved} of {} proofs", outcome.cases.len(), outcome.proofs.len());
    let decisive = outcome.rules - outcome.never_decisive.len();
    share_text(
        "rules decide something",
        decisive,
        outcome.rules,
        outcome.rule_coverage(),
        suite.coverage.rules,
    );
    if with_mutants {
        let noticed = outcome.mutants - outcome.survivors.len();
        share_text(
            "mutants are noticed",
            noticed,
            outcome.mutants,
            outcome.mutant_coverage(),
            suite.coverage.mutants,
        );
    }
}

fn case_text(case: &CaseResult) {
    println!("  {}  {}", if case.is_good() { "pass" } else { "FAIL" }, case.origin.name);
    if case.is_good() {
        return;
    }
    println!("        at {}:{}", case.origin.span.file, case.origin.span.line);
    if let Some(error) = &case.error {
        println!("        error: {error}");
    }
    for mismatch in &case.mismatches {
        println!("        {}", mismatch.what);
        println!("        - {}\n        + {}", mismatch.expected, mismatch.came);
    }
}

fn share_text(what: &str, part: usize, all: usize, share: f64, least: Option<f64>) {
    let judged = match least {
        Some(least) if share < least => format!(", FAIL: at least {:.0} % are asked for", least * 100.0),
        Some(least) => format!(", at least {:.0} % are asked for", least * 100.0),
        None => String::new(),
    };
    println!("  {part} of {all} {what} ({:.0} %){judged}", share * 100.0);
}

fn as_json(suite: &Suite, outcome: &Tested, file: &SourceFile, with_mutants: bool, is_good: bool) -> Value {
    let case = |case: &CaseResult| {
        json!({
            "name": case.origin.name,
            "line": case.origin.span.line,
            "ok": case.is_good(),
            "error": case.error,
            "mismatches": case.mismatches,
        })
    };
    let proof = |proof: &ProofResult| {
        json!({
            "name": proof.origin.name,
            "line": proof.origin.span.line,
            "ok": proof.is_good(),
            "expected": proof.expected,
            "came": proof.came,
            "note": proof.note,
        })
    };
    let mutants = with_mutants.then(|| {
        json!({
            "all": outcome.mutants,
            "survivors": outcome.survivors,
            "share": outcome.mutant_coverage(),
            "atLeast": suite.coverage.mutants,
        })
    });
    json!({
        "suite": suite.name,
        "file": file.name,
        "ok": is_good,
        "cases": outcome.cases.iter().map(case).collect::<Vec<_>>(),
        "proofs": outcome.proofs.iter().map(proof).collect::<Vec<_>>(),
        "rules": {
            "all": outcome.rules,
            "neverDecisive": outcome.never_decisive,
            "share": outcome.rule_coverage(),
            "atLeast": suite.coverage.rules,
        },
        "mutants": mutants,
    })
}
