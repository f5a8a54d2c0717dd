//! A bridge that leaves: drained first, then removed, as its neighbours' operators and publishers see it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, Options, eventually, http, meshbridge, repository};
use reqwest::StatusCode;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(30);
const FAR: &str = "cloud-us-1";

async fn up(restart: bool) -> Result<Federation> {
    let federation = Federation::up(
        &repository().join("topology-examples/three-zones"),
        Options { restart, ..Options::default() },
    )
    .await?;
    let far = federation.bridge(FAR);
    let body = json!({"name": "billing", "filters": ["orders.**"]}).to_string();
    let made = http().post(format!("{}/v1/subscriptions", far.http)).body(body).send().await?;
    ensure!(made.status() == StatusCode::CREATED, "{}", made.text().await?);
    federation.knows(FAR, "orders.**").await?;
    Ok(federation)
}

async fn publish(node: &Node) -> Result<Value> {
    let event = Draft::new(json!({"orderId": 1}));
    let request = http().post(format!("{}/v1/topics/orders.eu.created", node.http));
    let request = request.header("content-type", "application/cloudevents+json");
    let reply = request.body(event.structured().to_string()).send().await?;
    ensure!(reply.status() == StatusCode::ACCEPTED, "{}", reply.text().await?);
    Ok(reply.json().await?)
}

async fn account(node: &Node) -> Result<Value> {
    let answer = node.admin().json("/v1/delivery").await?;
    let all = answer["destinations"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["destination"] == FAR).with_context(|| answer.to_string())
}

fn peers(node: &Node, arguments: &[&str]) -> Result<meshbridge_integration::Output> {
    meshbridge(&[&["peers"], arguments, &["--admin", &node.admin]].concat(), WITHIN)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_bridge_gets_what_is_pending_and_nothing_new_also_after_a_restart() -> Result<()> {
    let federation = up(true).await?;
    let node = federation.bridge("internal-1");
    let before = publish(&node).await?;
    ensure!(before["destinations"] == json!([FAR]), "{before}");
    // Nobody reads `billing`, so the event stays pending and the command gives up.
    let waits = peers(&node, &["drain", FAR, "--timeout", "1"])?;
    ensure!(waits.code == 1 && waits.stderr.contains("1 pending"), "{waits:?}");
    let left_out = json!([{"destination": FAR, "reason": "destination-draining"}]);
    let reply = publish(&node).await?;
    ensure!(reply["destinations"] == json!([]) && reply["leftOut"] == left_out, "{reply}");
    let metrics = node.admin().metrics().await?;
    let counted = metrics.get("meshbridge_destinations_left_out_total{reason=\"destination-draining\"}");
    ensure!(counted == Some(&1.0), "{counted:?}");
    federation.kill("internal-1")?;
    let reply = eventually("a publication after the crash", WITHIN, || async {
        let reply = publish(&federation.bridge("internal-1")).await?;
        // Until the links are up again, the remembered interest is what counts.
        ensure!(reply["leftOut"] == left_out, "{reply}");
        Ok(reply)
    })
    .await?;
    ensure!(reply["destinations"] == json!([]), "{reply}");
    let far = federation.bridge(FAR);
    let stream = http().get(format!("{}/v1/stream?subscription=billing", far.http)).send().await?;
    ensure!(stream.status() == StatusCode::OK, "{}", stream.status());
    let node = federation.bridge("internal-1");
    let done = peers(&node, &["drain", FAR, "--timeout", "20", "--output", "json"])?;
    ensure!(done.code == 0, "{done:?}");
    let view: Value = serde_json::from_str(&done.stdout)?;
    ensure!(view["standing"] == "draining" && view["pending"] == 0, "{view}");
    ensure!(view["leftOut"].as_u64() >= Some(2), "{view}");
    ensure!(peers(&node, &["drain", FAR, "--undo"])?.code == 0, "not undone");
    let reply = publish(&node).await?;
    ensure!(reply["destinations"] == json!([FAR]) && reply.get("leftOut").is_none(), "{reply}");
    let account = account(&node).await?;
    ensure!(account["sent"] == 2 && account["balanced"] == true, "{account}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_with_a_removed_bridge_ends_and_is_kept_until_it_is_purged() -> Result<()> {
    let federation = up(false).await?;
    let node = federation.bridge("internal-1");
    federation.kill(FAR)?;
    eventually("the loss is seen", WITHIN, || async {
        ensure!(!node.admin().route_to(FAR).await?.reachable, "still reachable");
        Ok(())
    })
    .await?;
    for _ in 0..3 {
        let reply = publish(&node).await?;
        ensure!(reply["destinations"] == json!([FAR]), "absence proves nothing: {reply}");
    }
    let refused = peers(&node, &["remove", FAR])?;
    ensure!(refused.code == 1 && refused.stderr.contains("meshbridge peers drain"), "{refused:?}");
    let unknown = peers(&node, &["remove", "nobody-1", "--yes"])?;
    ensure!(unknown.code == 1 && unknown.stderr.contains("nobody-1"), "{unknown:?}");
    let removed = peers(&node, &["remove", FAR, "--yes", "--output", "json"])?;
    ensure!(removed.code == 0, "{removed:?}");
    let removed: Value = serde_json::from_str(&removed.stdout)?;
    ensure!(removed == json!({"ended": 3, "inDoubt": 0, "stored": 0, "kept": 3}), "{removed}");
    let account = account(&node).await?;
    ensure!(account["deadLettered"] == 3 && account["pending"] == 0, "{account}");
    ensure!(account["standing"] == "removed" && account["balanced"] == true, "{account}");
    // Its interest has ended here, though a neighbour still tells it.
    let reply = publish(&node).await?;
    ensure!(reply["destinations"] == json!([]) && reply.get("leftOut").is_none(), "{reply}");
    let letters = node.admin().json("/v1/dlq").await?;
    ensure!(letters["total"] == 3, "{letters}");
    let letter = &letters["entries"][0];
    ensure!(letter["reason"] == "destination-removed" && letter["destination"] == FAR, "{letter}");
    ensure!(letter["topic"] == "orders.eu.created" && letter["inDoubt"] == false, "{letter}");
    // As long as it is removed, there is nobody to replay to.
    let replay = meshbridge(&["dlq", "replay", "--all", "--admin", &node.admin], WITHIN)?;
    ensure!(replay.stdout.contains("\"done\":0"), "{replay:?}");
    let first = letter["id"].as_str().context("an id")?;
    let purge = meshbridge(&["dlq", "purge", first, "--admin", &node.admin], WITHIN)?;
    ensure!(purge.stdout.contains("\"done\":1"), "{purge:?}");
    let left = node.admin().json("/v1/dlq").await?;
    ensure!(left["total"] == 2, "{left}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_bridge_that_is_started_again_begins_afresh() -> Result<()> {
    let federation = up(true).await?;
    let node = federation.bridge("internal-1");
    publish(&node).await?;
    eventually("it is stored there", WITHIN, || async {
        let account = account(&node).await?;
        ensure!(account["unsettled"] == 0 && account["pending"] == 1, "{account}");
        Ok(())
    })
    .await?;
    let removed = peers(&node, &["remove", FAR, "--yes", "--output", "json"])?;
    let removed: Value = serde_json::from_str(&removed.stdout).with_context(|| format!("{removed:?}"))?;
    ensure!(removed == json!({"ended": 1, "inDoubt": 0, "stored": 1, "kept": 0}), "{removed}");
    ensure!(publish(&node).await?["destinations"] == json!([]), "a removed bridge is a destination");
    // What it delivers now comes too late to change the account.
    let far = federation.bridge(FAR);
    let stream = http().get(format!("{}/v1/stream?subscription=billing", far.http)).send().await?;
    ensure!(stream.status() == StatusCode::OK, "{}", stream.status());
    eventually("the late outcome is counted", WITHIN, || async {
        let metrics = node.admin().metrics().await?;
        let counted = metrics.get("meshbridge_late_news_total{kind=\"outcome\"}");
        ensure!(counted == Some(&1.0), "{counted:?}");
        Ok(())
    })
    .await?;
    let before = account(&node).await?;
    ensure!(before["deadLettered"] == 1 && before["delivered"] == 0, "{before}");
    drop(stream);
    federation.kill(FAR)?;
    eventually("its interest counts again", WITHIN, || async {
        let reply = publish(&node).await?;
        ensure!(reply["destinations"] == json!([FAR]), "{reply}");
        Ok(())
    })
    .await?;
    let account = account(&node).await?;
    ensure!(account["standing"] == "member" && account["balanced"] == true, "{account}");
    Ok(())
}
