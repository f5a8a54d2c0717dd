//! The command line: data on stdout, everything else on stderr, exit codes as documented.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Federation, Output, binary, meshbridge, meshbridge_with_input, repository};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn run(arguments: &[&str]) -> Result<Output> {
    meshbridge(arguments, SOON)
}

#[test]
fn help_is_there_for_every_command() -> Result<()> {
    let commands = [
        &["run"][..],
        &["up"],
        &["demo"],
        &["pub"],
        &["sub"],
        &["peers"],
        &["routes"],
        &["cert", "init"],
        &["cert", "issue"],
        &["policy", "check"],
        &["policy", "test"],
        &["policy", "explain"],
        &["policy", "keygen"],
        &["policy", "sign"],
        &["policy", "verify"],
        &["policy", "decrypt"],
        &["config", "schema"],
        &["config", "render"],
    ];
    let top = run(&["--help"])?;
    ensure!(top.code == 0, "{top:?}");
    for command in commands {
        ensure!(top.stdout.contains(command[0]), "`{}` is not in the help", command[0]);
        let help = run(&[command, &["--help"]].concat())?;
        ensure!(help.code == 0 && help.stdout.contains("Usage"), "{command:?}: {help:?}");
    }
    Ok(())
}

/// `meshbridge config schema | head`
#[test]
fn a_reader_that_has_enough_is_no_fault() -> Result<()> {
    let mut command = std::process::Command::new(binary());
    command.args(["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    drop(child.stdout.take());
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(said.is_empty() && ended.status.code() == Some(141), "{:?}: {said}", ended.status);
    Ok(())
}

#[test]
fn wrong_usage_is_2_and_unreadable_input_is_3() -> Result<()> {
    for (arguments, code) in [
        (&["no-such-command"][..], 2),
        (&["run"], 2),
        (&["policy", "check"], 2),
        (&["policy", "check", "/nonexistent"], 3),
        (&["policy", "test", "/nonexistent"], 3),
        (&["policy", "verify", "/nonexistent", "--root", "no key"], 2),
        (&["policy", "decrypt", "--keys", "/nonexistent", "-"], 3),
        (&["run", "--config", "/nonexistent/bridge.yaml"], 3),
        (&["up", "/nonexistent"], 3),
    ] {
        let output = run(arguments)?;
        ensure!(
            output.code == code,
            "{arguments:?} ends with {}, expected {code}: {}",
            output.code,
            output.stderr
        );
        ensure!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    Ok(())
}

#[test]
fn policy_check_is_0_for_every_example() -> Result<()> {
    for entry in fs::read_dir(repository().join("topology-examples"))? {
        let path = entry?.path();
        let output = run(&["policy", "check", &path.display().to_string()])?;
        ensure!(output.code == 0, "{}: {output:?}", path.display());
    }
    Ok(())
}

#[test]
fn policy_check_reports_every_problem_at_once_with_its_place() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let federation = repository().join("topology-examples/three-zones/federation.yaml");
    fs::copy(federation, directory.path().join("federation.yaml"))?;
    fs::create_dir(directory.path().join("policies"))?;
    fs::write(
        directory.path().join("policies/bad.yaml"),
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: bad, layer: federation}\nspec:\n  rules:\n    \
         - {name: one, match: {topics: [\"orders..x\"]}, permit: {}}\n    \
         - {name: two, match: {topics: [\"a\"], from: {zones: [nowhere]}}, deny: {}}\n    \
         - {name: three, match: {topics: [\"a\"]}, residency: {alow: {zones: [dmz]}}}\n",
    )?;
    let path = directory.path().display().to_string();
    let output = run(&["policy", "check", &path])?;
    ensure!(output.code == 1, "{output:?}");
    let shown = format!("{}{}", output.stdout, output.stderr);
    for place in ["bad.yaml:6:", "bad.yaml:7:", "bad.yaml:8:", "nowhere", "residency"] {
        ensure!(shown.contains(place), "no {place} in:\n{shown}");
    }
    let output = run(&["policy", "check", "--output", "json", &path])?;
    ensure!(output.code == 1, "{output:?}");
    let lines: Vec<Value> = output.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(lines.len() >= 3 && lines.iter().all(|line| line["code"].is_string()), "{}", output.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pub_and_sub_bring_an_event_across() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let (dmz, internal) = (federation.zone("dmz"), federation.zone("internal"));
    let http = dmz.http.clone();
    let subscriber = tokio::task::spawn_blocking(move || {
        meshbridge(&["sub", "--url", &http, "--count", "1", "orders.cli.*"], SOON)
    });
    federation.knows("dmz-1", "orders.cli.*").await?;
    let url = internal.http.clone();
    let published = tokio::task::spawn_blocking(move || {
        meshbridge_with_input(&["pub", "--url", &url, "orders.cli.one", "--data", "{\"n\":1}"], "", SOON)
    })
    .await??;
    ensure!(published.code == 0, "{published:?}");
    let reply: Value = serde_json::from_str(&published.stdout).with_context(|| published.stdout.clone())?;
    ensure!(reply["destinations"] == json!(["dmz-1"]), "{reply}");
    let received = subscriber.await??;
    ensure!(received.code == 0, "{received:?}");
    let event: Value = serde_json::from_str(&received.stdout).with_context(|| received.stdout.clone())?;
    ensure!(event["data"] == json!({"n": 1}) && event["meshbridgetopic"] == "orders.cli.one", "{event}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_and_routes_show_the_federation() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let admin = federation.zone("internal").admin;
    for (command, expected) in [("peers", "dmz-1"), ("routes", "cloud-us-1")] {
        let table = run(&[command, "--admin", &admin])?;
        ensure!(table.code == 0 && table.stdout.contains(expected), "{command}: {table:?}");
        let as_json = run(&[command, "--admin", &admin, "--output", "json"])?;
        ensure!(serde_json::from_str::<Value>(&as_json.stdout).is_ok(), "{command}: {as_json:?}");
    }
    let nobody = run(&["peers", "--admin", "http://127.0.0.1:1"])?;
    ensure!(nobody.code == 5, "nobody answers: {nobody:?}");
    Ok(())
}

#[test]
fn schemas_are_json_schema() -> Result<()> {
    let output = run(&["config", "schema"])?;
    ensure!(output.code == 0, "{output:?}");
    for kind in ["Bridge", "Federation", "Policy", "Delivery"] {
        ensure!(output.stdout.contains(kind), "no schema of {kind}");
    }
    Ok(())
}

#[test]
fn a_rendered_node_has_what_its_host_needs() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("host");
    let federation = repository().join("topology-examples/three-zones/federation.yaml").display().to_string();
    let output =
        run(&["config", "render", &federation, "--bridge", "dmz-1", "--out", &out.display().to_string()])?;
    ensure!(output.code == 0, "{output:?}");
    for file in ["bridge.yaml", "federation.yaml", "policies/10-federation.yaml"] {
        ensure!(out.join(file).is_file(), "no {file}: {output:?}");
    }
    let refused =
        run(&["config", "render", &federation, "--bridge", "nobody-1", "--out", &out.display().to_string()])?;
    ensure!(refused.code != 0 && refused.stderr.contains("nobody-1"), "{refused:?}");
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = fs::read_to_string(repository().join("topology-examples/diamond/federation.yaml"))?;
    fs::write(directory.path().join("federation.yaml"), text.replace("  bridges:", "  bridge:"))?;
    let output = run(&["up", &directory.path().display().to_string()])?;
    ensure!(output.code == 3 && output.stderr.contains("bridges"), "{output:?}");
    Ok(())
}
