//! The log of decisions: it can be read without the bridge, and whatever is done to its files is found.
//!
//! `fixtures/audit-v1` is a log as the first version of the format wrote it. It was pruned twice; the hashes are
//! computed here once more, from what `audit export` prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;
use meshbridge_integration::{Output, meshbridge, repository};
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
const SEGMENTS: [&str; 3] =
    ["audit-0000000000000003.log", "audit-0000000000000004.log", "audit-0000000000000005.log"];
const HEADER_BYTES: usize = 104;

fn audit(command: &str, directory: &Path, more: &[&str]) -> Result<Output> {
    let directory = directory.display().to_string();
    meshbridge(&[&["audit", command, &directory], more].concat(), SOON)
}

/// A copy of the log, in a data directory.
fn log() -> Result<(TempDir, PathBuf)> {
    let data = tempfile::tempdir()?;
    let log = data.path().join("audit");
    fs::create_dir(&log)?;
    for name in SEGMENTS {
        fs::copy(repository().join("integration/tests/fixtures/audit-v1").join(name), log.join(name))?;
    }
    Ok((data, log))
}

fn lines(output: &Output) -> Result<Vec<Value>> {
    output.stdout.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

fn report(directory: &Path, more: &[&str]) -> Result<(i32, Value)> {
    let output = audit("verify", directory, &[&["--output", "json"], more].concat())?;
    Ok((output.code, serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?))
}

#[test]
fn a_log_of_the_first_version_is_intact_and_so_is_its_copy_in_a_data_directory() -> Result<()> {
    let (data, log) = log()?;
    for directory in [data.path(), &log] {
        let (code, report) = report(directory, &[])?;
        ensure!(code == 0 && report["intact"] == true && report["segments"] == 3, "{report}");
        let table = audit("verify", directory, &[])?;
        ensure!(table.code == 0 && table.stdout.ends_with("intact\n"), "{table:?}");
    }
    Ok(())
}

#[test]
fn anybody_can_recompute_the_chain_from_an_export() -> Result<()> {
    let (_data, log) = log()?;
    let output = audit("export", &log, &[])?;
    ensure!(output.code == 0, "{output:?}");
    let mut before: Option<(u64, String)> = None;
    for (records, line) in output.stdout.lines().enumerate() {
        let parsed: Value = serde_json::from_str(line)?;
        let hash = parsed["hash"].as_str().context("a hash")?.to_owned();
        let seq = parsed["seq"].as_u64().context("a number")?;
        if parsed["kind"] == "checkpoint" {
            ensure!(before == Some((seq, hash)), "the last line is the end of the chain: {line}");
            ensure!(records > 10, "{records} records");
            return Ok(());
        }
        if let Some((last, last_hash)) = before {
            ensure!(seq == last + 1, "{seq} after {last}");
            let body = line.replacen(&format!("{{\"seq\":{seq},\"hash\":\"{hash}\","), "{", 1);
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(b"meshbridge/v1 audit record\0");
            context.update(&bytes_of(&last_hash)?);
            context.update(&seq.to_be_bytes());
            context.update(body.as_bytes());
            ensure!(context.finish().as_ref() == bytes_of(&hash)?, "the hash of {line}");
        }
        before = Some((seq, hash));
    }
    anyhow::bail!("no checkpoint ends {}", output.stdout)
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    Ok(pairs.collect::<Result<_, _>>()?)
}

#[test]
fn an_export_can_be_narrowed_by_time_rule_and_outcome() -> Result<()> {
    let (_data, log) = log()?;
    let selected = |more: &[&str]| -> Result<Vec<Value>> {
        let output = audit("export", &log, more)?;
        ensure!(output.code == 0, "{output:?}");
        let mut lines = lines(&output)?;
        ensure!(lines.pop().is_some_and(|last| last["kind"] == "checkpoint"), "{output:?}");
        Ok(lines)
    };
    let ids = |records: &[Value]| -> Vec<String> {
        records.iter().filter_map(|record| Some(record["event"]["id"].as_str()?.to_owned())).collect()
    };
    let all = ids(&selected(&[])?);
    let every_third = |from: usize| all.iter().skip(from).step_by(3).cloned().collect::<Vec<_>>();
    ensure!(all.len() == 9 && all[0] == "order-9", "{all:?}");
    ensure!(ids(&selected(&["--outcome", "reject"])?) == every_third(0));
    ensure!(ids(&selected(&["--outcome", "quarantine", "--output", "json"])?) == every_third(1));
    ensure!(ids(&selected(&["--rule", "cn-migration"])?) == every_third(2));
    ensure!(ids(&selected(&["--rule", "default-deny@federation"])?).len() == 6, "alone, and beside another");
    ensure!(ids(&selected(&["--rule", "default-deny@federation", "--outcome", "reject"])?) == every_third(0));
    ensure!(ids(&selected(&["--since", "2026-01-01T00:15:00Z"])?) == all[6..]);
    ensure!(ids(&selected(&["--since", "2026-01-01T01:15:00+01:00"])?) == all[6..]);
    ensure!(selected(&["--rule", "no/such-rule"])?.is_empty());
    Ok(())
}

#[test]
fn a_changed_byte_is_named_with_its_segment_and_place() -> Result<()> {
    let (_data, log) = log()?;
    for (name, at) in
        [(SEGMENTS[0], 3), (SEGMENTS[0], 50), (SEGMENTS[1], 111), (SEGMENTS[1], 500), (SEGMENTS[2], 900)]
    {
        let path = log.join(name);
        let original = fs::read(&path)?;
        let mut changed = original.clone();
        changed[at] ^= 1;
        fs::write(&path, changed)?;
        let (code, report) = report(&log, &[])?;
        let broken = &report["broken"][0];
        ensure!(code == 1 && report["intact"] == false, "byte {at} of {name}: {report}");
        ensure!(
            name.contains(broken["segment"].as_str().context("a segment")?),
            "byte {at} of {name}: {report}"
        );
        let place = broken["offset"].as_u64().context("an offset")? as usize;
        ensure!(place <= at && (at < HEADER_BYTES) == (place == 0), "byte {at} of {name}: {report}");
        let table = audit("verify", &log, &[])?;
        ensure!(table.code == 1 && table.stdout.contains("broken: segment"), "{table:?}");
        let export = audit("export", &log, &[])?;
        ensure!(export.code == 1 && export.stderr.contains("broken: segment"), "{export:?}");
        fs::write(&path, original)?;
    }
    ensure!(report(&log, &[])?.0 == 0);
    Ok(())
}

#[test]
fn a_segment_that_was_taken_away_is_missed() -> Result<()> {
    for name in &SEGMENTS[..2] {
        let (_data, log) = log()?;
        fs::remove_file(log.join(name))?;
        let (code, report) = report(&log, &[])?;
        ensure!(code == 1, "{name} is gone: {report}");
    }
    Ok(())
}

/// What is cut off at the end is missed only by those who kept a checkpoint.
#[test]
fn a_log_without_its_newest_records_does_not_meet_its_checkpoint() -> Result<()> {
    let (_data, log) = log()?;
    let (_, whole) = report(&log, &[])?;
    let checkpoint = whole["checkpoint"].as_str().context("a checkpoint")?;
    ensure!(report(&log, &["--checkpoint", checkpoint])?.0 == 0);
    let (number, hash) = checkpoint.split_once(':').context("NUMBER:HASH")?;
    let other = format!("{number}:{}", hash.chars().rev().collect::<String>());
    ensure!(report(&log, &["--checkpoint", &other])?.0 == 1, "another hash at the same number");
    let older = format!("1:{hash}");
    ensure!(report(&log, &["--checkpoint", &older])?.0 == 1, "it was pruned, so nobody can tell");

    fs::remove_file(log.join(SEGMENTS[2]))?;
    let (code, cut) = report(&log, &["--checkpoint", checkpoint])?;
    ensure!(code == 1 && cut["checkpointUnmet"].is_string(), "{cut}");
    Ok(())
}

#[test]
fn what_is_no_log_is_unreadable_and_not_broken() -> Result<()> {
    let empty = tempfile::tempdir()?;
    for directory in [empty.path(), Path::new("/nonexistent")] {
        for command in ["verify", "export"] {
            let output = audit(command, directory, &[])?;
            ensure!(output.code == 3 && output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
        }
    }
    let (_data, log) = log()?;
    for (command, more) in [
        ("verify", ["--checkpoint", "seven"]),
        ("export", ["--since", "yesterday"]),
        ("export", ["--outcome", "perhaps"]),
    ] {
        let output = audit(command, &log, &more)?;
        ensure!(output.code == 2, "{more:?}: {output:?}");
    }
    Ok(())
}
