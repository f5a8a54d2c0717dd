//! The comparison runs end to end against what is installed, and its results have what scripts look for.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{binary, repository, skip};
use serde_json::Value;

#[test]
fn a_quick_comparison_measures_every_system_that_is_there() -> Result<()> {
    let Some(nats) = installed("nats-server") else {
        skip("the comparison with other brokers", "nats-server is not installed");
        return Ok(());
    };
    let load = binary().with_file_name("meshbridge-load");
    if !load.is_file() {
        skip("the comparison with other brokers", "meshbridge-load is not built");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("compare.json");
    let mut command = Command::new(load);
    command.args(["compare", "--quick", "--commit", "c0ffee", "--json"]).arg(&file);
    command
        .arg("--directory")
        .arg(directory.path())
        .arg("--nats")
        .arg(nats)
        .arg("--meshbridge")
        .arg(binary());
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let results: Value =
        serde_json::from_str(&fs::read_to_string(&file).with_context(|| said.clone())?).context("JSON")?;
    for pointer in [
        "/schema",
        "/date",
        "/commit",
        "/machine/processor",
        "/machine/kernel",
        "/generatorAlone/0/publishedPerSecond",
        "/results/0/rounds/0/idleBytes",
    ] {
        ensure!(results.pointer(pointer).is_some(), "{pointer} is not in {results:#}");
    }
    let rows = results["results"].as_array().context("rows")?;
    let throughput =
        rows.iter().find(|row| row["system"] == "nats" && row["shape"]["question"] == "throughput");
    let median = &throughput.context("nats-server was to be measured")?["median"];
    ensure!(median["eventsPerSecond"]["median"].as_f64() > Some(0.0), "{median:#}\n{said}");
    ensure!(median["lost"] == 0 && median["repeated"] == 0, "{median:#}\n{said}");
    ensure!(median["idleMib"][0]["median"].as_f64() > Some(1.0), "{median:#}");
    let latency = rows.iter().find(|row| row["system"] == "nats" && row["shape"]["question"] == "latency");
    let quantiles = &latency.context("its latency was to be measured")?["median"]["latency"];
    let quantile = |name: &str| quantiles[name]["median"].as_f64().with_context(|| format!("{quantiles}"));
    ensure!(quantile("p50")? <= quantile("p99")? && quantile("p99")? <= quantile("p999")?, "{quantiles}");
    // What this binary of ours cannot do yet, or what is not installed, is said and not left out in silence.
    let skipped = results["skipped"].as_array().context("what was skipped")?;
    for (system, word) in [("meshbridge-quic", "Meshbridge"), ("mosquitto-qos0", "mosquitto")] {
        let measured = rows.iter().any(|row| row["system"] == system);
        let said = skipped.iter().any(|one| one["what"].as_str().is_some_and(|what| what.contains(word)));
        ensure!(measured || said, "{system} is neither measured nor skipped");
    }
    let tables = String::from_utf8(output.stdout)?;
    ensure!(tables.contains("| system |") && tables.contains("c0ffee"), "{tables}");
    ensure!(fs::read_dir(directory.path())?.count() == 1, "files are left behind");
    Ok(())
}

#[test]
fn the_script_says_what_it_does() -> Result<()> {
    let output = Command::new(repository().join("integration/bench")).arg("--help").output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}");
    for word in ["compare", "interest", "failover", "--quick", "NATS_SERVER_CURRENT", "Zenoh"] {
        ensure!(text.contains(word), "{word} is not in {text}");
    }
    let refused = Command::new(repository().join("integration/bench")).arg("compote").output()?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    Ok(())
}

/// Brokers live in sbin, which is on no ordinary user's path.
fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|directory| directory.join(program)).find(|path| path.is_file())
}
