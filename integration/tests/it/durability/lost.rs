//! T10, M21: the disk of an origin is lost. What a publisher was told to be replicated arrives; of what was only stored, what no destination had is gone;
//! the others hear of the new disk at the first exchange.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, Weather, eventually, http};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::books::close;
use crate::delivery::{make, next, open};

const WITHIN: Duration = Duration::from_secs(20);
const TOPIC: &str = "orders.flow.created";
const EVENTS: usize = 25;

async fn publish(node: &Node, level: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..EVENTS {
        let event = Draft::new(json!({}));
        let url = format!("{}/v1/topics/{TOPIC}?ack={level}", node.http);
        let request = http().post(url).header("content-type", "application/cloudevents+json");
        let reply = request.body(event.structured().to_string()).send().await?;
        let (status, text) = (reply.status(), reply.text().await?);
        ensure!(status == StatusCode::ACCEPTED || status == StatusCode::OK, "{status}: {text}");
        let reply: Value = serde_json::from_str(&text)?;
        ensure!(level == "stored" || reply["ack"]["level"] == level, "asked for {level}: {reply}");
        ids.push(event.id);
    }
    Ok(ids)
}

async fn other_disks(node: &Node) -> Result<f64> {
    let metrics = node.admin().metrics().await?;
    Ok(metrics.get("meshbridge_alarms_total{kind=\"other_disk\"}").copied().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_without_its_disk_has_lost_only_what_nobody_had_stored() -> Result<()> {
    let mesh = Mesh::start(&Plan::chain(), super::seed()).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", TOPIC).await? == StatusCode::CREATED, "no subscription");
    mesh.knows("east", TOPIC).await?;
    let replicated = publish(&west, "replicated").await.with_context(|| mesh.story())?;
    // Nobody reads yet, so all of them wait at their destination. These wait at their origin:
    mesh.relay("west", "middle").set_both(Weather::cut());
    eventually("the cut is seen", WITHIN, || async {
        ensure!(!west.admin().route_to("east-1").await?.reachable, "reachable");
        Ok(())
    })
    .await?;
    let stored = publish(&west, "stored").await?;
    ensure!(other_disks(&east).await? == 0.0, "an alarm without a cause");
    mesh.kill("west")?;
    mesh.wipe("west")?;
    mesh.relay("west", "middle").heal();
    mesh.restart("west").await?;
    mesh.connected().await?;
    mesh.knows("east", TOPIC).await?;
    eventually("the other disk is noticed", WITHIN, || async {
        ensure!(other_disks(&east).await? == 1.0, "no alarm");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    let later = publish(&mesh.zone("west"), "replicated").await.with_context(|| mesh.story())?;

    let (mut stream, mut rest) = (open(&east, "subscription=all").await?, String::new());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    while later.iter().any(|id| !seen.contains_key(id)) {
        let (_, event) = next(&mut stream, &mut rest).await.with_context(|| mesh.story())?;
        *seen.entry(event["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    ensure!(replicated.iter().all(|id| seen.contains_key(id)), "a replicated event is lost: {seen:?}");
    ensure!(seen.values().all(|copies| *copies == 1), "an event came twice: {seen:?}");
    // The disk is gone for good, so whoever sees one of these has it from elsewhere.
    ensure!(stored.iter().all(|id| !seen.contains_key(id)), "an event survived its only disk: {seen:?}");
    eventually("the accounts are closed", WITHIN, || async {
        let answer = mesh.zone("west").admin().json("/v1/delivery").await?;
        let account = &answer["destinations"][0];
        ensure!(account["delivered"] == EVENTS && account["balanced"] == true, "{account}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    close(&mesh).await?;
    Ok(())
}
