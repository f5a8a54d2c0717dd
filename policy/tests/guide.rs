//! The guide is true: its documents, taken in the order in which a reader meets them, compile without a warning after
//! each step, and its tests pass from the step that brings them to the last.

use meshbridge_policy::testing;
use meshbridge_policy::{
    Class, Federation, Program, Shape, SourceFile, classification_shape, compile, delivery_shape,
    federation_shape, invariant_shape, policy_shape, policy_test_shape, waiver_shape,
};
use time::OffsetDateTime;
use time::macros::datetime;

const GUIDE: &str = include_str!("../README.md");
const NOW: OffsetDateTime = datetime!(2026-11-20 10:00 UTC);

/// A fenced block that is a whole document.
struct Block {
    file: SourceFile,
    /// The code with which it is refused, where the guide says so.
    refused: Option<&'static str>,
}

/// The blocks that begin with `apiVersion`, named by their lines in the guide.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = GUIDE.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let Some(said) = kind.strip_prefix("yaml") else { continue };
        if !text.first().is_some_and(|line| line.starts_with("apiVersion")) {
            continue;
        }
        let text = text.join("\n") + "\n";
        let refused = said.trim().strip_prefix("refused ");
        assert!(said.is_empty() || refused.is_some(), "line {}: {said}", at + 1);
        blocks
            .push(Block { file: SourceFile { name: format!("guide-line-{}.yaml", at + 2), text }, refused });
    }
    blocks
}

fn is_a(file: &SourceFile, kind: &str) -> bool {
    file.text.lines().any(|line| line == format!("kind: {kind}"))
}

/// The federation of the guide, and its other blocks in their order.
fn federation_and_others() -> (Federation, Vec<Block>) {
    let (federations, others): (Vec<Block>, Vec<Block>) =
        blocks().into_iter().partition(|block| is_a(&block.file, "Federation"));
    let [federation] = federations.as_slice() else { panic!("{} federations", federations.len()) };
    let federation = Federation::parse(&federation.file).unwrap_or_else(|problems| panic!("{problems}"));
    (federation, others)
}

fn program(files: &[SourceFile], federation: &Federation) -> Program {
    let compiled = compile(files, federation, Some(NOW)).unwrap_or_else(|problems| panic!("{problems}"));
    for found in [compiled.warnings, compiled.program.findings(), compiled.program.unproved()] {
        assert!(found.is_empty(), "{found}");
    }
    compiled.program
}

fn assert_tests_pass(files: &[SourceFile], program: &Program) {
    for file in files {
        let suites =
            testing::suites(file, program.federation()).unwrap_or_else(|problems| panic!("{problems}"));
        for suite in suites {
            let outcome = testing::run(&suite, program, suite.coverage.mutants.is_some());
            for case in &outcome.cases {
                let (place, name) = (&file.name, &case.origin.name);
                assert!(case.is_good(), "{place}, {name}: {:#?} {:?}", case.mismatches, case.error);
            }
            let rules = outcome.rule_coverage();
            assert!(
                rules >= suite.coverage.rules.unwrap_or(0.0),
                "never decisive: {:?}",
                outcome.never_decisive
            );
            let mutants = outcome.mutant_coverage();
            assert!(mutants >= suite.coverage.mutants.unwrap_or(0.0), "survivors: {:#?}", outcome.survivors);
        }
    }
}

#[test]
fn each_step_of_the_guide_works() {
    let (federation, others) = federation_and_others();
    let mut files = Vec::new();
    for block in others.into_iter().filter(|block| block.refused.is_none()) {
        files.push(block.file);
        let program = program(&files, &federation);
        assert_tests_pass(&files, &program);
    }
    for kind in ["Policy", "Classification", "Delivery", "Invariant", "Waiver", "PolicyTest"] {
        assert!(files.iter().any(|file| is_a(file, kind)), "the guide shows no {kind}");
    }
}

#[test]
fn what_the_guide_calls_refused_is_refused() {
    let (federation, others) = federation_and_others();
    let mut files = Vec::new();
    let mut refused = 0;
    for Block { file, refused: code } in others {
        files.push(file);
        let Some(code) = code else { continue };
        let Err(problems) = compile(&files, &federation, Some(NOW)) else { panic!("this compiles: {code}") };
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code], "{problems}");
        let headline = format!("error[{code}]: {}", problems.iter().next().expect("one").message);
        assert!(GUIDE.contains(&headline), "the guide does not print: {headline}");
        files.pop();
        refused += 1;
    }
    assert!(refused > 0);
}

/// Adds the keys and words of a form.
fn words(shape: &'static Shape, found: &mut Vec<&'static str>) {
    match shape {
        Shape::Map(keys) => {
            for key in *keys {
                found.push(key.name);
                words(key.shape, found);
            }
        }
        Shape::List { of, .. } | Shape::OneOrMany(of) | Shape::Dict(of) => words(of, found),
        Shape::OneOf(values) => found.extend(*values),
        _ => {}
    }
}

/// Whether the text has the word between characters that no word has.
fn has_word(text: &str, word: &str) -> bool {
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(belongs) && !text[at + word.len()..].starts_with(|c| belongs(c) || c == '.')
    })
}

#[test]
fn the_reference_has_every_key_every_value_and_every_class() {
    let (_, reference) = GUIDE.split_once("# Reference\n").expect("a second part");
    let code: Vec<&str> = reference.split('`').skip(1).step_by(2).collect();
    let code = code.join(" ");
    let kinds = [
        ("Federation", federation_shape()),
        ("Policy", policy_shape()),
        ("Classification", classification_shape()),
        ("Delivery", delivery_shape()),
        ("Invariant", invariant_shape()),
        ("Waiver", waiver_shape()),
        ("PolicyTest", policy_test_shape()),
    ];
    for (kind, shape) in kinds {
        assert!(reference.contains(&format!("### {kind}\n")), "no section of {kind}");
        let mut found = Vec::new();
        words(shape, &mut found);
        found.retain(|word| !["kind", "spec", kind].contains(word) && !has_word(&code, word));
        assert!(found.is_empty(), "{kind}: the reference does not name {found:?}");
    }
    let missing: Vec<&str> = Class::all().map(Class::name).filter(|name| !has_word(&code, name)).collect();
    assert!(missing.is_empty(), "no detector is listed for {missing:?}");
    assert!(GUIDE.contains(&format!("{} classes", Class::all().len())), "the number of classes");
}
