//! What is kept in memory only may be lost with a link or a bridge; then it is counted where it should have come.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, Rigging, Weather, eventually};
use serde_json::json;

const TOPIC: &str = "orders.fast";
const WITHIN: Duration = Duration::from_secs(30);
const CLASS: &str = "apiVersion: meshbridge/v1
kind: Delivery
metadata: {name: fast, layer: federation}
spec: {topics: [{match: orders.fast, class: best-effort}]}
";

async fn publish(node: &Node) -> Result<String> {
    // All in one lane, so that each has to do with the one before.
    let event = Draft::new(json!({"step": 1})).with("partitionkey", "one");
    let reply = node.publisher().publish(TOPIC, &event).await?;
    ensure!(reply.destinations == ["middle-1"], "{reply:?}");
    Ok(event.id)
}

async fn gaps(node: &Node) -> Result<f64> {
    let metrics = node.admin().metrics().await?;
    metrics.get("meshbridge_best_effort_gaps").copied().context("no such metric")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_link_takes_along_is_missed_at_its_destination() -> Result<()> {
    let plan = Plan::chain();
    let files = plan
        .zones()
        .iter()
        .map(|zone| (zone.clone(), "policies/fast.yaml".into(), CLASS.as_bytes().to_vec()))
        .collect();
    let mesh = Mesh::start_rigged(&plan, 1, &Rigging { files, ..Rigging::default() }).await?;
    let (west, middle) = (mesh.zone("west"), mesh.zone("middle"));
    let reader = middle.subscribe(&["orders.**"]).await?;
    mesh.knows("middle", "orders.**").await?;
    for _ in 0..20 {
        let id = publish(&west).await?;
        reader.wait_for_within(&id, WITHIN).await.with_context(|| mesh.story())?;
    }
    ensure!(gaps(&middle).await? == 0.0, "everything has come: {}", mesh.story());

    // The session takes them, and nothing carries them.
    mesh.relay("west", "middle").set_both(Weather::cut());
    let mut lost = Vec::new();
    for _ in 0..20 {
        lost.push(publish(&west).await?);
    }
    let admin = west.admin();
    eventually("the cut is seen", WITHIN, || async {
        ensure!(!admin.route_to("middle-1").await?.reachable, "reachable");
        Ok(())
    })
    .await?;
    mesh.relay("west", "middle").heal();
    mesh.connected().await?;
    let last = publish(&west).await?;
    reader.wait_for_within(&last, WITHIN).await.with_context(|| mesh.story())?;
    let came = reader.received();
    let missing = lost.iter().filter(|id| came.iter().all(|one| one.id() != **id)).count();
    ensure!(missing > 0, "the cut took nothing along, so this shows nothing: {}", mesh.story());
    let counted = gaps(&middle).await?;
    ensure!(counted >= 1.0, "{missing} are missing, and {counted} gaps are counted: {}", mesh.story());
    Ok(())
}
