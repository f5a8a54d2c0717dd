//! Where two paths lead to a zone, the death of a bridge on one leaves the other.

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Subscriber, eventually};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn diamond_survives_the_bridge_on_its_active_path() -> Result<()> {
    check("diamond", "floor-1", "datacentre-1", "production").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ring_survives_the_bridge_on_its_active_path() -> Result<()> {
    check("ring", "amsterdam-1", "milan-1", "status").await
}

async fn check(example: &str, from: &str, to: &str, domain: &str) -> Result<()> {
    let federation = Federation::example(example).await?;
    let filter = format!("{domain}.**");
    let subscriber = federation.bridge(to).subscribe(&[&filter]).await?;
    federation.knows(to, &filter).await?;
    let topic = format!("{domain}.measured");
    deliver(&federation, from, &topic, &subscriber).await?;

    let path = federation.bridge(from).admin().route_to(to).await?.path;
    let middle =
        path.iter().find(|id| *id != from && *id != to).context("the path has a bridge in between")?.clone();
    federation.kill(&middle)?;
    let other = eventually("another path", Duration::from_secs(10), || async {
        let route = federation.bridge(from).admin().route_to(to).await?;
        ensure!(route.reachable && !route.path.contains(&middle), "{route:?}");
        Ok(route.path)
    })
    .await
    .with_context(|| federation.log())?;
    ensure!(other != path, "{other:?}");
    for _ in 0..20 {
        deliver(&federation, from, &topic, &subscriber).await?;
    }
    let mut ids: Vec<String> = subscriber.received().iter().map(|one| one.id().to_owned()).collect();
    ids.sort();
    let count = ids.len();
    ids.dedup();
    ensure!(ids.len() == count, "an event arrived twice");
    Ok(())
}

async fn deliver(federation: &Federation, from: &str, topic: &str, subscriber: &Subscriber) -> Result<()> {
    let event = Draft::new(json!({"step": 1}));
    let reply = federation.bridge(from).publisher().publish(topic, &event).await?;
    ensure!(reply.destinations.len() == 1, "{reply:?}");
    subscriber.wait_for(&event.id).await.with_context(|| federation.log())?;
    Ok(())
}
