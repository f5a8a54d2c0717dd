//! A bridge that is killed and comes back learns the routes again and serves its subscribers again.

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, Options, eventually, repository};
use serde_json::json;
use std::time::Duration;

const BACK_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_carrier_carries_again() -> Result<()> {
    let federation = up().await?;
    let subscriber = federation.zone("cloud-us").subscribe(&["orders.**"]).await?;
    federation.knows("cloud-us-1", "orders.**").await?;
    let back = kill_and_wait(&federation, "dmz-1").await?;
    eventually("the route over the restarted bridge", BACK_WITHIN, || async {
        let route = federation.zone("internal").admin().route_to("cloud-us-1").await?;
        ensure!(route.reachable, "{route:?}");
        Ok(())
    })
    .await
    .with_context(|| federation.log())?;
    // Its own view is of its new life: links to it are new ones, and what is sent over them arrives.
    eventually("both links of the restarted bridge", BACK_WITHIN, || async {
        let peers = back.admin().peers().await?;
        ensure!(peers.len() == 2 && peers.iter().all(|peer| peer.state == "up"), "{peers:?}");
        for id in ["internal-1", "cloud-us-1"] {
            ensure!(back.admin().route_to(id).await?.reachable, "no route to {id}");
        }
        Ok(())
    })
    .await
    .with_context(|| federation.log())?;
    let event = Draft::new(json!({}));
    let reply = federation.zone("internal").publisher().publish("orders.eu.created", &event).await?;
    ensure!(reply.destinations == ["cloud-us-1"], "{reply:?}");
    subscriber.wait_for(&event.id).await.with_context(|| federation.log())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_destination_serves_its_subscribers_again() -> Result<()> {
    let federation = up().await?;
    let before = federation.zone("cloud-us").subscribe(&["orders.**"]).await?;
    federation.knows("cloud-us-1", "orders.**").await?;
    let back = kill_and_wait(&federation, "cloud-us-1").await?;
    eventually("the old stream ends", BACK_WITHIN, || async {
        ensure!(before.has_ended(), "it is still open");
        Ok(())
    })
    .await?;
    let again = back.subscribe(&["orders.**", "payments.**"]).await?;
    federation.knows("cloud-us-1", "payments.**").await?;
    let event = Draft::new(json!({}));
    federation.zone("internal").publisher().publish("payments.made", &event).await?;
    again.wait_for(&event.id).await.with_context(|| federation.log())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_origin_publishes_under_a_higher_epoch() -> Result<()> {
    let federation = up().await?;
    let subscriber = federation.zone("dmz").subscribe(&["orders.**"]).await?;
    federation.knows("dmz-1", "orders.**").await?;
    let event = Draft::new(json!({}));
    let first = federation.zone("internal").publisher().publish("orders.eu.created", &event).await?;
    subscriber.wait_for(&event.id).await?;
    let back = kill_and_wait(&federation, "internal-1").await?;
    federation.knows("dmz-1", "orders.**").await?;
    let event = Draft::new(json!({}));
    let second = back.publisher().publish("orders.eu.created", &event).await?;
    subscriber.wait_for(&event.id).await.with_context(|| federation.log())?;
    ensure!(epoch(&second.key)? > epoch(&first.key)?, "{} after {}", second.key, first.key);
    Ok(())
}

async fn up() -> Result<Federation> {
    Federation::up(
        &repository().join("topology-examples/three-zones"),
        Options { restart: true, ..Options::default() },
    )
    .await
}

/// Kills the bridge; the one that takes its place has the same ports and another pid.
async fn kill_and_wait(federation: &Federation, id: &str) -> Result<Node> {
    let before = federation.bridge(id);
    federation.kill(id)?;
    let after = eventually(&format!("{id} is started again"), BACK_WITHIN, || async {
        let now = federation.bridge(id);
        ensure!(now.pid != before.pid, "still {}", before.pid);
        let (status, body) = now.admin().text("/readyz").await?;
        ensure!(status == 200, "{body}");
        Ok(now)
    })
    .await
    .with_context(|| federation.log())?;
    ensure!(
        (&after.http, &after.grpc, &after.admin, &after.peer)
            == (&before.http, &before.grpc, &before.admin, &before.peer),
        "{after:?} in place of {before:?}"
    );
    Ok(after)
}

/// The epoch in a key, `origin:epoch-nonce:lane:sequence`.
fn epoch(key: &str) -> Result<u64> {
    let run = key.split(':').nth(1).with_context(|| key.to_owned())?;
    Ok(run.split('-').next().unwrap_or_default().parse()?)
}
