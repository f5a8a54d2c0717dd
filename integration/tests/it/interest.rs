//! Interest drives forwarding: what nobody wants crosses no link.

use anyhow::{Result, ensure};
use meshbridge_integration::{Draft, Federation};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_nobody_wants_crosses_no_link() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let elsewhere = federation.zone("cloud-us").subscribe(&["payments.**"]).await?;
    federation.knows("cloud-us-1", "payments.**").await?;
    let before = traffic(&federation).await?;
    let publisher = federation.zone("internal").publisher();
    for _ in 0..50 {
        let reply = publisher.publish("orders.eu.created", &Draft::new(json!({}))).await?;
        ensure!(reply.destinations.is_empty() && reply.denied.is_empty(), "{reply:?}");
    }
    // One event that somebody wants, behind the others on the same links: when it is there, they would have been.
    let wanted = Draft::new(json!({}));
    let same = traffic(&federation).await?;
    ensure!(same == before, "data crossed a link: {before:?} became {same:?}");
    publisher.publish("payments.made", &wanted).await?;
    elsewhere.wait_for(&wanted.id).await?;
    let after = traffic(&federation).await?;
    let events: u64 = after.iter().map(|(_, _, events)| events).sum::<u64>()
        - before.iter().map(|(_, _, events)| events).sum::<u64>();
    // Two links, each counted by both its ends.
    ensure!(events == 4, "{events} event crossings for one event over two links");
    ensure!(elsewhere.received().len() == 1, "{:?}", elsewhere.received());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_interest_stops_forwarding() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let subscriber = federation.zone("cloud-us").subscribe(&["orders.eu.*"]).await?;
    federation.knows("cloud-us-1", "orders.eu.*").await?;
    let publisher = federation.zone("internal").publisher();
    let event = Draft::new(json!({}));
    let reply = publisher.publish("orders.eu.created", &event).await?;
    ensure!(reply.destinations == ["cloud-us-1"], "{reply:?}");
    subscriber.wait_for(&event.id).await?;
    drop(subscriber);
    federation.forgets("cloud-us-1", "orders.eu.*").await?;
    let before = traffic(&federation).await?;
    let reply = publisher.publish("orders.eu.created", &Draft::new(json!({}))).await?;
    ensure!(reply.destinations.is_empty(), "{reply:?}");
    ensure!(traffic(&federation).await? == before, "data crossed a link after the interest was withdrawn");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_subscribers_leaving_withdraws_nothing() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let dmz = federation.zone("dmz");
    let (first, second) = (dmz.subscribe(&["orders.**"]).await?, dmz.subscribe(&["orders.**"]).await?);
    federation.knows("dmz-1", "orders.**").await?;
    drop(first);
    let publisher = federation.zone("internal").publisher();
    for _ in 0..20 {
        let event = Draft::new(json!({}));
        publisher.publish("orders.eu.created", &event).await?;
        second.wait_for(&event.id).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_ones_own_zone_needs_no_link() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let subscriber = internal.subscribe(&["anything.at.all", "anything.*.all"]).await?;
    let before = traffic(&federation).await?;
    let event = Draft::new(json!({}));
    let reply = internal.publisher().publish("anything.at.all", &event).await?;
    ensure!(reply.destinations == ["internal-1"], "{reply:?}");
    subscriber.wait_for(&event.id).await?;
    ensure!(subscriber.received().len() == 1, "one subscriber receives an event once, whatever its filters");
    ensure!(traffic(&federation).await? == before, "a local event crossed a link");
    Ok(())
}

/// Data bytes and events over the links of every bridge.
async fn traffic(federation: &Federation) -> Result<Vec<(String, u64, u64)>> {
    let mut all = Vec::new();
    for node in federation.bridges() {
        let (bytes, events) = node.admin().data_traffic().await?;
        all.push((node.bridge, bytes, events));
    }
    Ok(all)
}
