//! `meshbridge policy prove`: what is proved for all events at once, and how it is told where it fails.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use meshbridge_integration::{Output, meshbridge, repository};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

fn prove(directory: &Path, extra: &[&str]) -> Result<Output> {
    let place = directory.display().to_string();
    meshbridge(&[&["policy", "prove", place.as_str()], extra].concat(), SOON)
}

fn redacted(output: &Output, directory: &Path) -> String {
    output.stdout.replace(&format!("{}/", directory.display()), "")
}

fn acme() -> std::path::PathBuf {
    repository().join("policy/gallery/acme")
}

/// Three zones; cards are masked where they leave the EU, and whole inside of it.
fn small(directory: &Path, rules: &str, invariants: &str) -> Result<()> {
    fs::write(
        directory.join("federation.yaml"),
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: small}\nspec:\n  zones:\n    eu-1: {region: eu, jurisdiction: EU}\n    eu-2: {region: eu, jurisdiction: EU}\n    us-1: {region: us, jurisdiction: US}\n  bridges: [{id: a, zone: eu-1}, {id: b, zone: eu-2}, {id: c, zone: us-1}]\n",
    )?;
    fs::write(
        directory.join("rules.yaml"),
        format!(
            "apiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: data, layer: federation}}\nspec: {{topics: [{{match: \"orders.**\", fields: {{\"$.data.card\": payment.card}}}}]}}\n---\napiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: base, layer: federation}}\nspec:\n  rules:\n    - {{name: open, match: {{topics: [\"orders.**\"]}}, permit: {{}}}}\n{rules}"
        ),
    )?;
    if !invariants.is_empty() {
        fs::write(directory.join("invariants.yaml"), invariants)?;
    }
    Ok(())
}

fn invariant(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: meshbridge/v1\nkind: Invariant\nmetadata: {{name: {name}, layer: federation}}\nspec: {{never: {{classes: [payment.card], discloses: [value], match: {{from: {{zones: [eu-1]}}, to: {{zones: [us-1]}}}}}}{more}}}\n"
    )
}

const HIDDEN: &str = "    - {name: cards, match: {topics: [\"orders.**\"], from: {zones: [eu-1]}, to: {zones: [us-1]}}, protect: [{classes: [payment.card], as: redact}]}\n";

#[test]
fn what_holds_is_proved_with_what_it_rests_on() -> Result<()> {
    let output = prove(&acme(), &[])?;
    ensure!(output.code == 0, "{output:?}");
    insta::assert_snapshot!("prove_proved", redacted(&output, &acme()));
    let told: Value = serde_json::from_str(&prove(&acme(), &["--output", "json"])?.stdout)?;
    ensure!(told["name"] == "no-raw-gov-id-abroad" && told["mustHold"] == true, "{told}");
    ensure!(
        told["proof"]["answer"] == "proved" && told["proof"]["restsOn"][0]["basis"].is_string(),
        "{told}"
    );
    let asked = prove(&acme(), &["--class", "payment.iban", "--from", "eu-1", "--to", "us-1"])?;
    ensure!(asked.code == 0 && asked.stdout.contains("\nproved\n"), "{asked:?}");
    Ok(())
}

#[test]
fn what_fails_is_told_by_a_way_its_rules_and_how_certain_it_is() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let weak = "    - {name: vip, match: {topics: [\"orders.vip\"], from: {zones: [eu-1]}, to: {zones: [us-1]}, event: {tier: gold}}, protect: [{classes: [payment.card], as: redact}]}\n    - {name: rest, match: {topics: [\"orders.**\"], at: [egress, transit]}, except: {topics: [\"orders.vip\"]}, deny: {}}\n";
    small(directory.path(), weak, &(invariant("cards", "") + &invariant("only-told", ", onUnproven: warn")))?;
    let output = prove(directory.path(), &[])?;
    ensure!(output.code == 1 && output.stderr.contains("0 of 2 invariants proved"), "{output:?}");
    insta::assert_snapshot!("prove_depends", redacted(&output, directory.path()));
    small(directory.path(), "", "")?;
    let question = ["--class", "payment.card", "--from", "eu-1", "--to", "us-1"];
    let output = prove(directory.path(), &question)?;
    ensure!(output.code == 1, "{output:?}");
    insta::assert_snapshot!("prove_certain", redacted(&output, directory.path()));
    let output = prove(directory.path(), &[&question[..], &["--output", "json"]].concat())?;
    ensure!(output.code == 1, "{output:?}");
    insta::assert_snapshot!("prove_certain_json", redacted(&output, directory.path()));
    Ok(())
}

#[test]
fn what_only_zones_that_publish_again_break_says_both() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rules =
        HIDDEN.to_owned() + "    - {name: not-through, match: {topics: [\"**\"], at: transit}, deny: {}}\n";
    small(directory.path(), &rules, &invariant("cards", ""))?;
    let output = prove(directory.path(), &[])?;
    ensure!(output.code == 1 && output.stdout.contains("the mesh itself is proved"), "{output:?}");
    insta::assert_snapshot!("prove_relay", redacted(&output, directory.path()));
    let told: Value = serde_json::from_str(&prove(directory.path(), &["--output", "json"])?.stdout)?;
    let refuted = &told["proof"];
    ensure!(refuted["relayOnly"] == true && refuted["meshRestsOn"].is_array(), "{told}");
    ensure!(refuted["counterexample"]["steps"].as_array().context("steps")?.len() == 2, "{told}");
    Ok(())
}

#[test]
fn an_invariant_that_only_warns_is_no_failure() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), "", &invariant("only-told", ", onUnproven: warn"))?;
    let output = prove(directory.path(), &[])?;
    ensure!(output.code == 0 && output.stderr.contains("only-told is not proved"), "{output:?}");
    Ok(())
}

#[test]
fn nothing_to_prove_is_not_proved() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), "", "")?;
    let output = prove(directory.path(), &[])?;
    ensure!(output.code == 1 && output.stdout.is_empty(), "{output:?}");
    ensure!(output.stderr.contains("nothing was proved"), "{output:?}");
    Ok(())
}

#[test]
fn a_misspelled_question_names_what_was_meant() -> Result<()> {
    let output = prove(&acme(), &["--class", "payment.crad"])?;
    ensure!(output.code == 2 && output.stderr.contains("payment.card"), "{output:?}");
    let output = prove(&acme(), &["--to", "us1"])?;
    ensure!(output.code == 2 && output.stderr.contains("us-1"), "{output:?}");
    ensure!(prove(Path::new("/nowhere"), &[])?.code == 3);
    let directory = tempfile::tempdir()?;
    small(directory.path(), "    - {name: bad, match: {topics: [\"x\"]}, permits: {}}\n", "")?;
    ensure!(prove(directory.path(), &["--to", "us-1"])?.code == 1, "policies with errors prove nothing");
    Ok(())
}
