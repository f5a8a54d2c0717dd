//! The ready-made policies are living documents: they compile without a warning, their invariants are proved, and their
//! tests pass.

use std::fs;
use std::path::Path;

use meshbridge_policy::testing::{self, Outcome};
use meshbridge_policy::{Federation, Program, SourceFile, compile};
use time::macros::datetime;

fn sources(directory: &Path) -> Vec<SourceFile> {
    let mut found = Vec::new();
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "json") {
            let text = fs::read_to_string(&path).expect("text");
            found.push(SourceFile { name: path.display().to_string(), text });
        }
    }
    found
}

fn load(directory: &Path) -> (Program, Vec<SourceFile>) {
    let text = fs::read_to_string(directory.join("federation.yaml")).expect("a federation");
    let file = SourceFile { name: "federation.yaml".to_owned(), text };
    let federation = Federation::parse(&file).unwrap_or_else(|problems| panic!("{problems}"));
    let files = sources(directory);
    let now = datetime!(2026-11-20 10:00 UTC);
    let compiled = compile(&files, &federation, Some(now)).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(compiled.warnings.is_empty(), "{}", compiled.warnings);
    for found in [compiled.program.findings(), compiled.program.unproved()] {
        assert!(found.is_empty(), "{}: {found}", directory.display());
    }
    (compiled.program, files)
}

fn outcome(directory: &Path) -> Vec<(String, testing::Coverage, Outcome)> {
    let (program, files) = load(directory);
    let mut all = Vec::new();
    for file in files.iter().filter(|file| file.name.ends_with(".test.yaml")) {
        let suites =
            testing::suites(file, program.federation()).unwrap_or_else(|problems| panic!("{problems}"));
        for suite in suites {
            let outcome = testing::run(&suite, &program, true);
            all.push((suite.name.clone(), suite.coverage, outcome));
        }
    }
    all
}

/// The federations that are shown and loaded elsewhere in this repository, with what is right to say of them.
#[test]
fn other_examples_are_told_of_nothing_new() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut directories: Vec<_> = fs::read_dir(root.join("topology-examples"))
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    directories.push(root.join("integration/load/federation"));
    assert!(directories.len() > 5);
    for directory in directories {
        let text = fs::read_to_string(directory.join("federation.yaml")).expect("a federation");
        let file = SourceFile { name: "federation.yaml".to_owned(), text };
        let federation = Federation::parse(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let places = federation.policies().iter().map(|below| directory.join(below));
        let files: Vec<SourceFile> = places.flat_map(|place| sources(&place)).collect();
        let now = datetime!(2026-11-20 10:00 UTC);
        let compiled =
            compile(&files, &federation, Some(now)).unwrap_or_else(|problems| panic!("{problems}"));
        let all = [compiled.warnings, compiled.program.findings(), compiled.program.unproved()];
        for problem in all.iter().flat_map(|one| one.iter()) {
            // three-zones shows a hash, and what is to be known of it.
            assert_eq!(problem.code, "P0405", "{}: {problem}", directory.display());
        }
    }
}

#[test]
fn every_example_loads_and_passes_its_tests() {
    let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("gallery");
    let mut tested = 0;
    for entry in fs::read_dir(gallery).expect("the gallery") {
        let directory = entry.expect("an entry").path();
        for (name, coverage, outcome) in outcome(&directory) {
            let bad: Vec<String> = outcome
                .cases
                .iter()
                .filter(|case| !case.is_good())
                .map(|case| format!("{}: {:?} {:?}", case.origin.name, case.mismatches, case.error))
                .collect();
            assert!(bad.is_empty(), "{name}: {bad:#?}");
            let (rules, mutants) = (outcome.rule_coverage(), outcome.mutant_coverage());
            assert!(
                rules >= coverage.rules.unwrap_or(0.0),
                "{name}: never decisive {:?}",
                outcome.never_decisive
            );
            assert!(mutants >= coverage.mutants.unwrap_or(0.0), "{name}: survivors {:#?}", outcome.survivors);
            tested += 1;
        }
    }
    assert!(tested > 0);
}
