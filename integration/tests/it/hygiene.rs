//! Rules about the repository itself, held by machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{meshbridge, repository};
use serde_json::Value;

const LINES_MAX: usize = 500;

/// Crates that mean input, output, a clock or a runtime. None may be below the pure crates.
const IMPURE: &[&str] = &[
    "async-io",
    "async-std",
    "axum",
    "clap",
    "hickory-resolver",
    "hyper",
    "mio",
    "notify",
    "polling",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "reqwest",
    "rustix",
    "rustls",
    "signal-hook-registry",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-util",
    "tonic",
    "tracing-subscriber",
    "tungstenite",
];
const PURE: &[&str] = &[
    "meshbridge-topic",
    "meshbridge-routing",
    "meshbridge-event",
    "meshbridge-cel",
    "meshbridge-detect",
    "meshbridge-policy",
    "meshbridge-bundle",
    "meshbridge-delivery",
    "meshbridge-ledger",
];

#[test]
fn pure_crates_depend_on_nothing_that_does_io() -> Result<()> {
    for package in PURE {
        let tree = cargo(&[
            "tree",
            "--locked",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])?;
        let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        ensure!(names.contains(package), "{package} is not in its own tree:\n{tree}");
        let impure: Vec<&&str> = IMPURE.iter().filter(|name| names.contains(**name)).collect();
        ensure!(impure.is_empty(), "{package} depends on {impure:?}");
    }
    Ok(())
}

#[test]
fn dependencies_between_our_crates_point_one_way() -> Result<()> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?)?;
    let mut ours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let dependencies =
            package["dependencies"].as_array().into_iter().flatten().filter(|one| one["kind"].is_null());
        let names =
            dependencies.filter_map(|one| one["name"].as_str()).filter(|name| name.starts_with("meshbridge"));
        ours.insert(package["name"].as_str().context("name")?, names.collect());
    }
    let allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::from([
        (
            "meshbridge",
            BTreeSet::from([
                "meshbridge-bundle",
                "meshbridge-detect",
                "meshbridge-event",
                "meshbridge-policy",
                "meshbridge-delivery",
                "meshbridge-routing",
                "meshbridge-spool",
                "meshbridge-topic",
            ]),
        ),
        ("meshbridge-bundle", BTreeSet::new()),
        ("meshbridge-cel", BTreeSet::new()),
        ("meshbridge-delivery", BTreeSet::from(["meshbridge-routing"])),
        ("meshbridge-detect", BTreeSet::new()),
        ("meshbridge-event", BTreeSet::new()),
        ("meshbridge-integration", BTreeSet::from(["meshbridge-ledger"])),
        ("meshbridge-ledger", BTreeSet::new()),
        ("meshbridge-load", BTreeSet::new()),
        (
            "meshbridge-policy",
            BTreeSet::from(["meshbridge-cel", "meshbridge-detect", "meshbridge-event", "meshbridge-topic"]),
        ),
        ("meshbridge-routing", BTreeSet::from(["meshbridge-topic"])),
        ("meshbridge-spool", BTreeSet::new()),
        ("meshbridge-topic", BTreeSet::new()),
    ]);
    for (package, dependencies) in &ours {
        let may = allowed
            .get(package)
            .with_context(|| format!("{package} is new: say here what it may depend on"))?;
        ensure!(dependencies.is_subset(may), "{package} depends on {dependencies:?}, allowed are {may:?}");
    }
    Ok(())
}

#[test]
fn the_top_level_has_what_belongs_there_and_nothing_else() -> Result<()> {
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "bridge",
        "clippy.toml",
        "deny.toml",
        "deploy",
        "integration",
        "policy",
        "routing",
        "rustfmt.toml",
        "topology-examples",
    ];
    for file in tracked()? {
        let top = file.split('/').next().unwrap_or_default();
        ensure!(top.starts_with('.') || allowed.contains(&top), "{top} does not belong at the top level");
    }
    Ok(())
}

#[test]
fn source_files_stay_small() -> Result<()> {
    let mut long = Vec::new();
    for file in tracked()?.into_iter().filter(|file| file.ends_with(".rs") && !is_test(file)) {
        let text = fs::read_to_string(repository().join(&file)).with_context(|| file.clone())?;
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > LINES_MAX {
            long.push(format!("{file}: {lines} lines"));
        }
    }
    ensure!(long.is_empty(), "over {LINES_MAX} lines without tests: {long:#?}");
    Ok(())
}

#[test]
fn commands_in_the_documentation_exist() -> Result<()> {
    let mut commands: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in tracked()?.into_iter().filter(|file| file.ends_with(".md")) {
        let text = fs::read_to_string(repository().join(&file))?;
        commands.extend(text.split("meshbridge ").skip(1).filter_map(command_of));
    }
    ensure!(commands.len() >= 8, "only {commands:?} were found");
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = meshbridge(&arguments, Duration::from_secs(10))?;
        ensure!(
            output.code == 0,
            "the documentation shows `meshbridge {}`: {}",
            command.join(" "),
            output.stderr
        );
    }
    Ok(())
}

/// The command at the start of what follows `meshbridge`; `None` where that is prose or an option.
fn command_of(rest: &str) -> Option<Vec<String>> {
    const ALONE: &[&str] = &["run", "up", "demo", "pub", "sub", "peers", "routes"];
    const WITH_SECOND: &[&str] = &["policy", "config", "cert"];
    let mut words = rest.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
    let first = words.next()?;
    let second = words.next().filter(|word| !word.is_empty());
    match second {
        Some(second) if WITH_SECOND.contains(&first) => Some(vec![first.to_owned(), second.to_owned()]),
        _ => ALONE.contains(&first).then(|| vec![first.to_owned()]),
    }
}

#[test]
fn metric_names_in_the_documentation_are_those_of_the_code() -> Result<()> {
    let code = metric_names(&fs::read_to_string(repository().join("bridge/src/metrics.rs"))?, '"');
    let readme = metric_names(&fs::read_to_string(repository().join("README.md"))?, '`');
    ensure!(!code.is_empty(), "the code names no metrics");
    let unknown: Vec<_> = readme.difference(&code).collect();
    ensure!(unknown.is_empty(), "README.md names metrics that do not exist: {unknown:?}");
    let missing: Vec<_> = code.difference(&readme).collect();
    ensure!(missing.is_empty(), "README.md does not list {missing:?}");
    Ok(())
}

fn metric_names(text: &str, quote: char) -> BTreeSet<String> {
    let words = text.split(quote).map(|word| word.split('{').next().unwrap_or_default());
    words
        .filter(|word| word.starts_with("meshbridge_") && word.len() > "meshbridge_".len())
        .filter(|word| {
            word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_' || letter.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_example_explains_itself() -> Result<()> {
    for entry in fs::read_dir(repository().join("topology-examples"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name in UTF-8")?.to_owned();
        let readme = fs::read_to_string(path.join("README.md")).with_context(|| name.clone())?;
        ensure!(
            readme.contains(&format!("meshbridge up topology-examples/{name}")),
            "{name} does not say how to run it"
        );
        ensure!(
            path.join("federation.yaml").is_file() && path.join("policies").is_dir(),
            "{name} is incomplete"
        );
    }
    Ok(())
}

#[test]
fn every_fault_names_the_tests_that_cover_it() -> Result<()> {
    let text = fs::read_to_string(repository().join("integration/FAULTS.md"))?;
    let rows: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter(|(name, _)| name.starts_with(['M', 'T']))
        .collect();
    let matrix = (1..=41).map(|number| format!("M{number}"));
    let table = (1..=30).chain(55..=57).map(|number| format!("T{number}"));
    let mut tests = 0;
    for name in matrix.chain(table) {
        let row = rows.get(name.as_str()).with_context(|| format!("{name} has no row"))?;
        let named: Vec<(&str, &str)> = row.split('`').filter_map(|part| part.split_once("::")).collect();
        ensure!(!named.is_empty() || row.contains("not covered"), "{name} names no test: {row}");
        for (file, function) in named {
            let code =
                fs::read_to_string(repository().join(file)).with_context(|| format!("{name}: {file}"))?;
            ensure!(code.contains(&format!("fn {function}(")), "{name}: {file} has no {function}");
            tests += 1;
        }
    }
    ensure!(tests > 60, "only {tests} tests were found");
    Ok(())
}

#[test]
fn no_test_is_ignored() -> Result<()> {
    for file in tracked()?.into_iter().filter(|file| file.ends_with(".rs")) {
        let text = fs::read_to_string(repository().join(&file))?;
        let found = text.lines().any(|line| line.trim_start().starts_with("#[ignore"));
        ensure!(!found, "{file} ignores a test");
    }
    Ok(())
}

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// The files of the repository; those on disk where there is no git (an unpacked archive).
fn tracked() -> Result<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "--cached"]).current_dir(repository()).output();
    if let Ok(output) = output
        && output.status.success()
    {
        let files = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect::<Vec<_>>();
        return Ok(files.into_iter().filter(|file| repository().join(file).is_file()).collect());
    }
    let mut files = Vec::new();
    walk(repository(), &mut files)?;
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let relative = path.strip_prefix(repository())?.display().to_string();
        if path.is_file() {
            files.push(relative);
        } else if path.is_dir() && relative != "target" && !relative.starts_with('.') {
            walk(&path, files)?;
        }
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(arguments).current_dir(repository()).output()?;
    ensure!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
