//! Interest drives forwarding: what nobody wants crosses no link.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, Options, eventually, repository, signal};
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

/// Of all that the DMZ wants, the cloud may not learn of returns, by a rule, nor of hr, which nothing permits to it.
const NARROW: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: discreet, layer: federation}
spec:
  rules:
    - {name: returns-are-ours, match: {at: interest, topics: ["orders.returned.**"], from: {zones: [cloud-us]}}, deny: {}}
"#;

/// The text of all that a bridge says of what is wanted.
async fn told(node: &Node) -> Result<String> {
    Ok(node.admin().json("/v1/interest").await?.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_learn_a_filter_never_hears_of_it_while_events_flow() -> Result<()> {
    let federation = narrow().await?;
    let (dmz, internal, cloud) =
        (federation.zone("dmz"), federation.zone("internal"), federation.zone("cloud-us"));
    let filters = ["orders.returned.**", "hr.**", "payments.**"];
    let subscriber = dmz.subscribe(&filters).await?;
    for filter in filters {
        federation.knows("dmz-1", filter).await?;
    }
    let of = |filter: &'static str| {
        let admin = dmz.admin();
        async move { admin.audience_of("dmz-1", filter).await }
    };
    ensure!(of("payments.**").await?.is_none(), "everyone learns of payments");
    for filter in &filters[..2] {
        let audience = of(filter).await?;
        ensure!(audience == Some(vec!["dmz".into(), "internal".into()]), "{filter}: {audience:?}");
    }
    let (sent, elsewhere) = (Draft::new(json!({})), Draft::new(json!({})));
    let reply = internal.publisher().publish("orders.returned.eu", &sent).await?;
    ensure!(reply.destinations == ["dmz-1"], "{reply:?}");
    subscriber.wait_for(&sent.id).await?;
    // The last one it was told, over the link over which it would have been told the others, long after them.
    ensure!(cloud.admin().interest_of("dmz-1").await? == ["payments.**"], "{}", told(&cloud).await?);
    let reply = cloud.publisher().publish("orders.returned.us", &elsewhere).await?;
    ensure!(reply.destinations.is_empty() && reply.denied.is_empty(), "{reply:?}");
    let told = told(&cloud).await?;
    for secret in ["returned", "hr.**"] {
        ensure!(!told.contains(secret), "the cloud knows of `{secret}`: {told}");
    }
    ensure!(subscriber.received().len() == 1, "{:?}", subscriber.received());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_interest_from_those_who_may_not_learn_it_any_more_and_from_nobody_else() -> Result<()>
{
    let federation = Federation::example("three-zones").await?;
    let (dmz, internal, cloud) =
        (federation.zone("dmz"), federation.zone("internal"), federation.zone("cloud-us"));
    let subscriber = dmz.subscribe(&["orders.returned.**"]).await?;
    federation.knows("dmz-1", "orders.returned.**").await?;
    let rule = dmz.config.with_file_name("policies").join("95-discreet.yaml");
    for narrowed in [true, false] {
        if narrowed {
            fs::write(&rule, NARROW)?;
        } else {
            fs::remove_file(&rule)?;
        }
        signal(dmz.pid, "HUP")?;
        let (admin, publisher) = (cloud.admin(), internal.publisher());
        eventually("the cloud learns and forgets", Duration::from_secs(15), || async {
            // Whoever keeps it has it all the while.
            let event = Draft::new(json!({}));
            let reply = publisher.publish("orders.returned.eu", &event).await?;
            if reply.destinations != ["dmz-1"] {
                return Ok(Err(format!("interest blinked: {reply:?}")));
            }
            ensure!(admin.interest_of("dmz-1").await?.is_empty() == narrowed, "narrowed: {narrowed}");
            Ok(Ok(()))
        })
        .await?
        .map_err(anyhow::Error::msg)?;
    }
    ensure!(!subscriber.has_ended(), "a reload ends no stream");
    Ok(())
}

/// The example with the rule at every bridge from the start.
async fn narrow() -> Result<Federation> {
    let scratch = tempfile::tempdir()?;
    let example = repository().join("topology-examples/three-zones");
    fs::create_dir_all(scratch.path().join("policies"))?;
    fs::copy(example.join("federation.yaml"), scratch.path().join("federation.yaml"))?;
    for file in fs::read_dir(example.join("policies"))? {
        let file = file?;
        fs::copy(file.path(), scratch.path().join("policies").join(file.file_name()))?;
    }
    fs::write(scratch.path().join("policies/95-discreet.yaml"), NARROW)?;
    Federation::up(scratch.path(), Options::default()).await
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
