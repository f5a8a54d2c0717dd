//! `meshbridge policy watch`.

use std::fs;

use anyhow::{Result, ensure};
use meshbridge_integration::{Draft, Prepared, Publisher, Setup, Single, http, meshbridge};
use serde_json::json;

use super::{Running, SOON};

const RULES: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: trial, layer: federation}
spec:
  rules:
    - {name: no-cards, match: {at: publish, topics: ["orders.**"]}, forbid: {classes: [payment.card]}, mode: warn}
    - {name: no-large, match: {at: publish, topics: ["orders.**"], event: {subject: large}}, deny: {}, mode: shadow}
    - {name: closed, match: {at: publish, topics: ["closed.**"]}, deny: {}}
"#;
const CARD: &str = "4111 1111 1111 1111";

async fn bridge() -> Result<Single> {
    let prepared = Prepared::new()?;
    fs::write(prepared.path().join("policies/trial.yaml"), RULES)?;
    prepared.start(Setup::default()).await
}

fn publisher(bridge: &Single) -> Publisher {
    Publisher::over(http().clone(), &format!("http://{}", bridge.http))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_on_trial_would_do_is_shown_live_and_counted() -> Result<()> {
    let bridge = bridge().await?;
    let admin = bridge.admin().base().to_owned();
    let arguments = ["watch", "--admin", &admin, "--output", "json", "--every", "1s", "--for", "6s"];
    let mut all = Running::start(&arguments)?;
    let mut closed = Running::start(&[&arguments[..], &["--rule", "trial/closed"]].concat())?;
    let mut elsewhere = Running::start(&[&arguments[..], &["--topic", "hr.**"]].concat())?;
    for running in [&mut all, &mut closed, &mut elsewhere] {
        // The bridge knows of a watcher before it says anything to it.
        let first = running.next()?.unwrap_or_default();
        ensure!(first["kind"] == "summary" && first["judged"] == 0, "{first}");
    }
    let publisher = publisher(&bridge);
    for number in 0..5 {
        let event = Draft::new(json!({"text": format!("paid with {CARD}"), "number": number}));
        publisher.publish("orders.new", &event.with("subject", "large")).await?;
        publisher.publish("orders.new", &Draft::new(json!({"text": "clean"}))).await?;
        let answer = publisher.publish("closed.door", &Draft::new(json!({}))).await;
        ensure!(answer.is_err(), "closed is closed");
    }
    let (mut verdicts, mut last) = (Vec::new(), json!(null));
    while let Some(line) = all.next()? {
        ensure!(!line.to_string().contains("4111"), "a value is shown: {line}");
        if line["kind"] == "verdict" { verdicts.push(line) } else { last = line }
    }
    ensure!(verdicts.len() == 10, "{verdicts:?}");
    for (rule, mode) in [("trial/no-cards", "warn"), ("trial/no-large", "shadow")] {
        let of_rule = verdicts.iter().filter(|line| line["rule"] == rule);
        let right = of_rule.filter(|line| {
            (&line["mode"], &line["context"], &line["verdict"])
                == (&json!(mode), &json!("publish"), &json!("forward"))
        });
        ensure!(right.count() == 5, "{rule}: {verdicts:?}");
        let counts = last["rules"].as_array().into_iter().flatten();
        let mut counts = counts.filter(|count| count["rule"] == rule && count["mode"] == mode);
        let count = counts.next().cloned().unwrap_or_default();
        ensure!(count["count"] == 5 && count["perSecond"].as_f64() > Some(0.0), "{last}");
    }
    ensure!(last["end"] == "time" && last["judged"] == 15 && last["missed"] == 0, "{last}");
    ensure!(all.end().await?.0 == 0);

    let mut enforced = 0;
    while let Some(line) = closed.next()? {
        if line["kind"] == "verdict" {
            ensure!(line["rule"] == "trial/closed" && line["mode"] == "enforce", "{line}");
            ensure!(line["verdict"] == "reject", "{line}");
            enforced += 1;
        }
    }
    ensure!(enforced == 5 && closed.end().await?.0 == 0);
    while let Some(line) = elsewhere.next()? {
        ensure!(line["kind"] == "summary" && line["judged"] == 0, "{line}");
    }
    ensure!(elsewhere.end().await?.0 == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_for_people_ends_with_the_rates() -> Result<()> {
    let bridge = bridge().await?;
    let admin = bridge.admin().base().to_owned();
    let output = meshbridge(&["policy", "watch", "--admin", &admin, "--for", "1s"], SOON)?;
    ensure!(output.code == 0 && output.stdout.starts_with("after 1 s: 0 decisions"), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_stops_says_so_and_places_are_bounded() -> Result<()> {
    let bridge = bridge().await?;
    let admin = bridge.admin().base().to_owned();
    let arguments = ["watch", "--admin", &admin, "--output", "json", "--every", "1s"];
    let mut watchers = (0..8).map(|_| Running::start(&arguments)).collect::<Result<Vec<_>>>()?;
    for watcher in &mut watchers {
        ensure!(watcher.next()?.is_some());
    }
    let refused = meshbridge(&["policy", "watch", "--admin", &admin, "--for", "1s"], SOON)?;
    ensure!(refused.code == 1 && refused.stderr.contains("8 of them are at work"), "{refused:?}");
    bridge.terminate()?;
    for mut watcher in watchers {
        let mut last = json!(null);
        while let Some(line) = watcher.next()? {
            last = line;
        }
        ensure!(last["end"] == "stopping", "{last}");
        let (code, said) = watcher.end().await?;
        ensure!(code == 1 && said.contains("stopping"), "{code}: {said}");
    }
    let gone = meshbridge(&["policy", "watch", "--admin", "127.0.0.1:1"], SOON)?;
    ensure!(gone.code == 5, "{gone:?}");
    for wrong in [["--topic", "a..b"], ["--for", "soon"]] {
        let output =
            meshbridge(&[&["policy", "watch", "--admin", "127.0.0.1:1"], &wrong[..]].concat(), SOON)?;
        ensure!(output.code == 2, "{output:?}");
    }
    Ok(())
}
