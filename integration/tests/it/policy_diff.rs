//! `meshbridge policy diff`: what a change of policies lets through, shows and checks, over the real binary.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use meshbridge_integration::{Output, meshbridge, repository};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

fn diff(old: &Path, new: &Path, extra: &[&str]) -> Result<Output> {
    let (old, new) = (old.display().to_string(), new.display().to_string());
    meshbridge(&[&["policy", "diff", old.as_str(), new.as_str()], extra].concat(), SOON)
}

/// The gallery's policies twice, the second with some texts replaced.
fn editions(directory: &Path, file: &str, changes: &[(&str, &str)]) -> Result<()> {
    let from = repository().join("policy/gallery/acme");
    for edition in ["old", "new"] {
        let to = directory.join(edition);
        fs::create_dir_all(to.join("schemas"))?;
        for below in ["", "schemas"] {
            for entry in fs::read_dir(from.join(below))? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), to.join(below).join(entry.file_name()))?;
                }
            }
        }
    }
    let path = directory.join("new").join(file);
    let mut text = fs::read_to_string(&path)?;
    for (was, is) in changes {
        ensure!(text.contains(was), "{file} has no {was}");
        text = text.replace(was, is);
    }
    Ok(fs::write(path, text)?)
}

#[test]
fn the_same_policies_do_not_differ() -> Result<()> {
    let directory = tempfile::tempdir()?;
    editions(directory.path(), "10-federation-baseline.yaml", &[])?;
    let output = diff(&directory.path().join("old"), &directory.path().join("new"), &[])?;
    ensure!(output.code == 0 && output.stdout.starts_with("no difference"), "{output:?}");
    Ok(())
}

#[test]
fn what_is_newly_allowed_weaker_or_checked_less_is_told_with_both_lines() -> Result<()> {
    let directory = tempfile::tempdir()?;
    editions(
        directory.path(),
        "10-federation-baseline.yaml",
        &[
            ("\"catalog.**\", \"legacy.erp.**\"", "\"catalog.**\", \"legacy.**\""),
            ("eventBytes: 262144", "eventBytes: 524288"),
        ],
    )?;
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let path = new.join("20-region-eu.yaml");
    let rules = fs::read_to_string(&path)?;
    let rules = rules.replace("as: mask, keep: {last: 4}", "as: hash").replace("> 10000.0", "> 20000.0");
    fs::write(&path, rules)?;
    let redacted = |output: &Output| output.stdout.replace(&format!("{}/", directory.path().display()), "");
    let output = diff(&old, &new, &[])?;
    ensure!(output.code == 1, "{output:?}");
    insta::assert_snapshot!("diff_text", redacted(&output));
    insta::assert_snapshot!("diff_markdown", redacted(&diff(&old, &new, &["--output", "markdown"])?));
    let output = diff(&old, &new, &["--output", "json"])?;
    ensure!(output.code == 1, "{output:?}");
    let told: Value = serde_json::from_str(&output.stdout)?;
    insta::assert_snapshot!("diff_json", redacted(&output));
    let changes = told["changes"].as_array().context("changes")?;
    let allowed = changes.iter().find(|one| one["kind"] == "newlyAllowed" && one["certain"] == true);
    let allowed = allowed.context("something is certain")?;
    ensure!(
        allowed["example"]["judged"] == true && allowed["dependsOn"] == Value::Array(Vec::new()),
        "{allowed}"
    );
    // The other way round nothing is looser but the form, of which neither shows no more than the other.
    let back: Value = serde_json::from_str(&diff(&new, &old, &["--output", "json"])?.stdout)?;
    let kinds = back["changes"].as_array().context("changes")?;
    ensure!(kinds.iter().any(|one| one["kind"] == "newlyBlocked"), "{back}");
    Ok(())
}

#[test]
fn tightening_is_a_yes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    editions(
        directory.path(),
        "10-federation-baseline.yaml",
        &[("\"catalog.**\", \"legacy.erp.**\"", "\"catalog.**\"")],
    )?;
    // The waiver is about what is not permitted any more, which is no error.
    let output = diff(&directory.path().join("old"), &directory.path().join("new"), &[])?;
    ensure!(output.code == 0 && output.stdout.contains("newly blocked"), "{output:?}");
    Ok(())
}

#[test]
fn what_is_no_edition_is_no_answer() -> Result<()> {
    let directory = tempfile::tempdir()?;
    editions(directory.path(), "10-federation-baseline.yaml", &[("permit: {}", "permits: {}")])?;
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let output = diff(&old, &new, &[])?;
    ensure!(output.code == 1 && output.stderr.contains("the policies have errors"), "{output:?}");
    ensure!(diff(&old, Path::new("/nowhere"), &[])?.code == 3);
    ensure!(meshbridge(&["policy", "diff", "only-one"], SOON)?.code == 2);
    Ok(())
}
