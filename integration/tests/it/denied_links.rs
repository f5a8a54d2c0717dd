//! `links` in a `deny`: a link is closed to some topics and open to the others, whoever holds the rule.
//!
//! ```text
//!        west ═══════ east      direct, and denied to orders.secret and orders.fast-secret
//!           ╲         ╱
//!            middle
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, Rigging, Subscriber, Weather, eventually};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(30);

/// A way round one link.
fn triangle() -> Plan {
    Plan::new(&[("west", "east"), ("west", "middle"), ("middle", "east")])
}

/// A rule of a layer about a link, and how topics are delivered.
fn documents(layer: &str, link: &str) -> Vec<u8> {
    format!(
        "apiVersion: meshbridge/v1
kind: Policy
metadata: {{name: links-of-{}, layer: {layer}}}
spec:
  rules:
    - {{name: not-direct, match: {{topics: [\"orders.secret\", \"orders.fast-secret\"], links: [{link}]}}, deny: {{}}}}
",
        layer.replace('/', "-")
    )
    .into_bytes()
}

const FAST: &str = "apiVersion: meshbridge/v1
kind: Delivery
metadata: {name: fast, layer: federation}
spec: {topics: [{match: orders.fast, class: best-effort}, {match: orders.fast-secret, class: best-effort}]}
";

/// A mesh in which these zones hold a rule, and all know which topics are best-effort.
async fn mesh(plan: &Plan, holders: &[(&str, &str, &str)]) -> Result<Mesh> {
    let fast = |zone: &String| (zone.clone(), "policies/fast.yaml".into(), FAST.as_bytes().to_vec());
    let mut files: Vec<_> = plan.zones().iter().map(fast).collect();
    for (zone, layer, link) in holders {
        files.push(((*zone).to_owned(), "policies/links.yaml".into(), documents(layer, link)));
    }
    Mesh::start_rigged(plan, 1, &Rigging { files, ..Rigging::default() }).await
}

async fn publish(node: &Node, topic: &str) -> Result<String> {
    let event = Draft::new(json!({"step": 1}));
    let reply = node.publisher().publish(topic, &event).await?;
    ensure!(reply.destinations.len() == 1 && reply.denied.is_empty(), "{topic}: {reply:?}");
    Ok(event.id)
}

/// Events that a bridge has sent over its link to another one.
async fn sent(mesh: &Mesh, from: &str, to: &str) -> Result<u64> {
    Ok(mesh.zone(from).admin().peer(&format!("{to}-1")).await?.sent.events)
}

/// Publishes at west, reads in the east, and tells over how many events the two links of west grew: east, middle.
async fn cross(mesh: &Mesh, reader: &Subscriber, topic: &str) -> Result<(u64, u64)> {
    let before = (sent(mesh, "west", "east").await?, sent(mesh, "west", "middle").await?);
    let id = publish(&mesh.zone("west"), topic).await?;
    reader.wait_for_within(&id, WITHIN).await.with_context(|| mesh.story())?;
    let after = (sent(mesh, "west", "east").await?, sent(mesh, "west", "middle").await?);
    Ok((after.0 - before.0, after.1 - before.1))
}

async fn pending(mesh: &Mesh, zone: &str) -> Result<u64> {
    let delivery = mesh.zone(zone).admin().json("/v1/delivery").await?;
    let destinations = delivery["destinations"].as_array().with_context(|| delivery.to_string())?;
    Ok(destinations.iter().filter_map(|one| one["pending"].as_u64()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_link_carries_the_other_topics_and_these_take_the_long_way_or_wait() -> Result<()> {
    let every = ["west", "middle", "east"].map(|zone| (zone, "federation", "east/west"));
    let mesh = mesh(&triangle(), &every).await?;
    let reader = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    for topic in ["orders.plain", "orders.fast"] {
        ensure!(cross(&mesh, &reader, topic).await? == (1, 0), "{topic} goes straight");
    }
    for topic in ["orders.secret", "orders.fast-secret"] {
        ensure!(cross(&mesh, &reader, topic).await? == (0, 1), "{topic} goes round");
    }

    mesh.relay("west", "middle").set_both(Weather::cut());
    let west = mesh.zone("west").admin();
    eventually("west has lost middle", WITHIN, || async {
        let path = west.route_to("middle-1").await?.path;
        ensure!(path.iter().any(|bridge| bridge == "east-1"), "{path:?}");
        Ok(())
    })
    .await?;
    let before = sent(&mesh, "west", "east").await?;
    let waits = publish(&mesh.zone("west"), "orders.secret").await?;
    publish(&mesh.zone("west"), "orders.fast-secret").await?;
    ensure!(cross(&mesh, &reader, "orders.plain").await?.0 == 1, "the link is there");
    // Longer than a frame waits for a way, so it was dropped and sent again meanwhile.
    tokio::time::sleep(Duration::from_secs(7)).await;
    ensure!(pending(&mesh, "west").await? == 1, "it is pending: {}", mesh.story());
    let came = reader.received();
    ensure!(came.iter().all(|one| one.id() != waits), "it crossed the denied link: {}", mesh.story());
    ensure!(sent(&mesh, "west", "east").await? == before + 1, "only the plain one crossed it");

    mesh.relay("west", "middle").heal();
    // Of class best-effort what was published a moment before the way is back goes it, too.
    let last = eventually("the way is back", WITHIN, || async {
        let id = publish(&mesh.zone("west"), "orders.fast-secret").await?;
        let path = west.route_to("middle-1").await?.path;
        ensure!(path.len() == 2, "{path:?}");
        Ok(id)
    })
    .await?;
    reader.wait_for_within(&waits, WITHIN).await.with_context(|| mesh.story())?;
    reader.wait_for_within(&last, WITHIN).await.with_context(|| mesh.story())?;
    ensure!(sent(&mesh, "west", "east").await? == before + 1, "nothing more crossed it: {}", mesh.story());
    eventually("it is settled", WITHIN, || async {
        ensure!(pending(&mesh, "west").await? == 0, "pending");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_refuses_a_link_that_only_its_own_rules_deny_and_gets_it_by_another() -> Result<()> {
    let mesh = mesh(&triangle(), &[("east", "zone/east", "east/west")]).await?;
    let reader = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    ensure!(cross(&mesh, &reader, "orders.plain").await? == (1, 0), "the others go straight");
    let (direct, round) = cross(&mesh, &reader, "orders.secret").await?;
    ensure!(direct >= 1 && round == 1, "refused once, then sent round: {direct} {round}");
    hears_of_it(&mesh).await?;
    ensure!(cross(&mesh, &reader, "orders.secret").await? == (0, 1), "the hint counts for the next one too");
    let log = mesh.log("east");
    ensure!(log.contains("links-of-zone-east/not-direct"), "the rule is named: {}", mesh.story());

    // Without memory the first is lost, and the hint serves those that follow.
    let first = publish(&mesh.zone("west"), "orders.fast-secret").await?;
    eventually("it goes round", WITHIN, || async {
        let id = publish(&mesh.zone("west"), "orders.fast-secret").await?;
        reader.wait_for_within(&id, Duration::from_secs(2)).await?;
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    ensure!(reader.received().iter().all(|one| one.id() != first), "refused is not delivered");
    ensure!(cross(&mesh, &reader, "orders.fast-secret").await? == (0, 1), "it goes round now");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_on_the_way_sends_nothing_over_a_link_that_its_own_rules_deny() -> Result<()> {
    // Both ways cost the same, and north comes before south.
    let mesh = mesh(&Plan::diamond(), &[("north", "zone/north", "east/north")]).await?;
    let reader = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    let id = publish(&mesh.zone("west"), "orders.plain").await?;
    reader.wait_for_within(&id, WITHIN).await.with_context(|| mesh.story())?;
    let before = sent(&mesh, "north", "east").await?;
    ensure!(before == 1, "over north: {}", mesh.story());
    let id = publish(&mesh.zone("west"), "orders.secret").await?;
    reader.wait_for_within(&id, WITHIN).await.with_context(|| mesh.story())?;
    ensure!(sent(&mesh, "north", "east").await? == before, "north sent it: {}", mesh.story());
    ensure!(sent(&mesh, "south", "east").await? == 1, "south did: {}", mesh.story());
    hears_of_it(&mesh).await
}

/// West was told of a denied link.
async fn hears_of_it(mesh: &Mesh) -> Result<()> {
    let metrics = mesh.zone("west").admin().metrics().await?;
    let heard = metrics.get("meshbridge_notices_total{kind=\"denied-link\"}").copied().unwrap_or_default();
    ensure!(heard >= 1.0, "{heard} notices: {}", mesh.story());
    Ok(())
}
