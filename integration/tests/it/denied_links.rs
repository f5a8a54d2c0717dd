//! `links` in a `deny`: a link is closed to some topics and open to the others, whoever holds the rule.
//!
//! ```text
//!        west ═══════ east      direct, and denied to orders.secret and orders.fast-secret
//!           ╲         ╱
//!            middle
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt as _;
use meshbridge_integration::{Draft, Mesh, Node, Plan, Rigging, Subscriber, Weather, eventually, meshbridge};
use serde_json::{Value, json};

use crate::quarantine::percent;

const WITHIN: Duration = Duration::from_secs(30);

/// A way round one link.
fn triangle() -> Plan {
    Plan::new(&[("west", "east"), ("west", "middle"), ("middle", "east")])
}

/// A rule of a layer about a link; by what it asks of the event, where it asks anything.
fn rule(layer: &str, link: &str, asks: &str) -> Vec<u8> {
    format!(
        "apiVersion: meshbridge/v1
kind: Policy
metadata: {{name: links-of-{}, layer: {layer}}}
spec:
  rules:
    - {{name: not-direct, match: {{topics: [\"orders.secret\", \"orders.fast-secret\"], links: [{link}]{asks}}}, deny: {{}}}}
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
    mesh_asking(plan, holders, "").await
}

async fn mesh_asking(plan: &Plan, holders: &[(&str, &str, &str)], asks: &str) -> Result<Mesh> {
    let fast = |zone: &String| (zone.clone(), "policies/fast.yaml".into(), FAST.as_bytes().to_vec());
    let mut files: Vec<_> = plan.zones().iter().map(fast).collect();
    for (zone, layer, link) in holders {
        files.push(((*zone).to_owned(), "policies/links.yaml".into(), rule(layer, link, asks)));
    }
    let mesh = Mesh::start_rigged(plan, 1, &Rigging { files, ..Rigging::default() }).await?;
    // A way to each other is not yet the shortest one.
    for (from, to, _) in mesh.relays() {
        let admin = mesh.zone(from).admin();
        eventually("every link carries", WITHIN, || async {
            let path = admin.route_to(&format!("{to}-1")).await?.path;
            ensure!(path.len() == 2, "{path:?}");
            Ok(())
        })
        .await
        .with_context(|| mesh.story())?;
    }
    Ok(mesh)
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

/// Publishes at west, reads in the east, and tells whether it went over the links of west to the east and to the middle. What
/// is not answered at once is sent again, so how often says nothing.
async fn cross(mesh: &Mesh, reader: &Subscriber, topic: &str) -> Result<(bool, bool)> {
    let before = (sent(mesh, "west", "east").await?, sent(mesh, "west", "middle").await?);
    let id = publish(&mesh.zone("west"), topic).await?;
    reader.wait_for_within(&id, WITHIN).await.with_context(|| mesh.story())?;
    let after = (sent(mesh, "west", "east").await?, sent(mesh, "west", "middle").await?);
    Ok((after.0 > before.0, after.1 > before.1))
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
        ensure!(cross(&mesh, &reader, topic).await? == (true, false), "{topic} goes straight");
    }
    for topic in ["orders.secret", "orders.fast-secret"] {
        ensure!(cross(&mesh, &reader, topic).await? == (false, true), "{topic} goes round");
    }

    mesh.relay("west", "middle").set_both(Weather::cut());
    let west = mesh.zone("west").admin();
    eventually("west has lost middle", WITHIN, || async {
        let path = west.route_to("middle-1").await?.path;
        ensure!(path.iter().any(|bridge| bridge == "east-1"), "{path:?}");
        Ok(())
    })
    .await?;
    let event = Draft::new(json!({"step": 1}));
    let waiting = mesh.zone("west").publisher().publish("orders.secret", &event).await?;
    let waits = event.id;
    publish(&mesh.zone("west"), "orders.fast-secret").await?;
    ensure!(cross(&mesh, &reader, "orders.plain").await?.0, "the link is there");
    settled(&mesh, 1).await?;
    let before = sent(&mesh, "west", "east").await?;
    // Longer than a frame waits for a way, so it was dropped and sent again meanwhile.
    tokio::time::sleep(Duration::from_secs(7)).await;
    ensure!(pending(&mesh, "west").await? == 1, "it is pending: {}", mesh.story());
    let trace = west.json(&format!("/v1/events/{}", percent(&waiting.key))).await?;
    let why = json!([{"destination": "east-1", "state": "pending", "why": "no-lawful-path"}]);
    ensure!(trace["destinations"] == why, "{trace}");
    let came = reader.received();
    ensure!(came.iter().all(|one| one.id() != waits), "it crossed the denied link: {}", mesh.story());
    ensure!(sent(&mesh, "west", "east").await? == before, "nothing crossed it: {}", mesh.story());

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
    ensure!(sent(&mesh, "west", "east").await? == before, "nothing crossed it: {}", mesh.story());
    settled(&mesh, 0).await
}

/// The refusal is in the decision log of the bridge.
async fn recorded(mesh: &Mesh, zone: &str, context: &str, rule: &str) -> Result<()> {
    let data = mesh.path().join(zone).join("data").display().to_string();
    eventually("it is in the decision log", WITHIN, || async {
        let log = meshbridge(&["audit", "export", &data], WITHIN)?.stdout;
        let line = log.lines().find(|line| line.contains(rule)).with_context(|| log.clone())?;
        let record: Value = serde_json::from_str(line)?;
        ensure!(record["context"] == context && record["verdict"] == "reject", "{record}");
        ensure!(record["from"] == "west" && record["to"] == "east", "{record}");
        Ok(())
    })
    .await
}

/// All that west sends is answered but so many.
async fn settled(mesh: &Mesh, but: u64) -> Result<()> {
    eventually("it is settled", WITHIN, || async {
        let pending = pending(mesh, "west").await?;
        ensure!(pending == but, "{pending} are pending");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_refuses_a_link_that_only_its_own_rules_deny_and_gets_it_by_another() -> Result<()> {
    let mesh = mesh(&triangle(), &[("east", "zone/east", "east/west")]).await?;
    let reader = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    ensure!(cross(&mesh, &reader, "orders.plain").await? == (true, false), "the others go straight");
    ensure!(cross(&mesh, &reader, "orders.secret").await? == (true, true), "refused, then sent round");
    hears_of_it(&mesh).await?;
    settled(&mesh, 0).await?;
    ensure!(
        cross(&mesh, &reader, "orders.secret").await? == (false, true),
        "the hint is for the next one too"
    );
    let log = mesh.log("east");
    ensure!(log.contains("links-of-zone-east/not-direct"), "the rule is named: {}", mesh.story());

    recorded(&mesh, "east", "ingress", "links-of-zone-east/not-direct").await?;

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
    ensure!(cross(&mesh, &reader, "orders.fast-secret").await? == (false, true), "it goes round now");
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
    settled(&mesh, 0).await?;
    let before = sent(&mesh, "north", "east").await?;
    ensure!(before > 0, "over north: {}", mesh.story());
    let id = publish(&mesh.zone("west"), "orders.secret").await?;
    reader.wait_for_within(&id, WITHIN).await.with_context(|| mesh.story())?;
    ensure!(sent(&mesh, "north", "east").await? == before, "north sent it: {}", mesh.story());
    ensure!(sent(&mesh, "south", "east").await? > 0, "south did: {}", mesh.story());
    hears_of_it(&mesh).await?;
    recorded(&mesh, "north", "transit", "links-of-zone-north/not-direct").await
}

/// West was told of a denied link.
async fn hears_of_it(mesh: &Mesh) -> Result<()> {
    let metrics = mesh.zone("west").admin().metrics().await?;
    let heard = metrics.get("meshbridge_notices_total{kind=\"denied-link\"}").copied().unwrap_or_default();
    ensure!(heard >= 1.0, "{heard} notices: {}", mesh.story());
    Ok(())
}

/// What differs between events of one train.
const ODD: &str = ", when: 'event.data.?n.orValue(0) % 2 == 1'";
const BURST: usize = 2_000;

/// Publishes numbers in one go with a client of NATS, which makes trains of them, and gives what comes in the east until
/// the last of `expected` is there.
async fn burst(mesh: &Mesh, expected: impl Fn(usize) -> bool) -> Result<Vec<usize>> {
    let topic = "orders.fast-secret";
    let reading = async_nats::connect(mesh.zone("east").nats).await?;
    let mut subscriber = reading.subscribe(topic).await?;
    reading.flush().await?;
    mesh.knows("east", topic).await?;
    let writing = async_nats::connect(mesh.zone("west").nats).await?;
    for number in 0..BURST {
        writing.publish(topic, format!("{{\"n\": {number}}}").into()).await?;
    }
    writing.flush().await?;
    let wanted = (0..BURST).filter(|number| expected(*number)).count();
    let mut came = Vec::new();
    while came.len() < wanted {
        let message = tokio::time::timeout(WITHIN, subscriber.next()).await;
        let message = message.with_context(|| format!("{} of {wanted}: {}", came.len(), mesh.story()))?;
        let event: Value = serde_json::from_slice(&message.context("the subscription ended")?.payload)?;
        came.push(event["n"].as_u64().and_then(|number| usize::try_from(number).ok()).context("a number")?);
    }
    Ok(came)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_train_goes_round_as_a_whole_where_no_rule_tells_its_events_apart() -> Result<()> {
    let every = ["west", "middle", "east"].map(|zone| (zone, "federation", "east/west"));
    let mesh = mesh(&triangle(), &every).await?;
    let came = burst(&mesh, |_| true).await?;
    ensure!(came.iter().copied().eq(0..BURST), "in order and once");
    let (direct, round) = (sent(&mesh, "west", "east").await?, sent(&mesh, "west", "middle").await?);
    ensure!((direct, round) == (0, BURST as u64), "{direct} {round}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_train_part_where_a_link_is_denied_to_some_of_them() -> Result<()> {
    let every = ["west", "middle", "east"].map(|zone| (zone, "federation", "east/west"));
    let mesh = mesh_asking(&triangle(), &every, ODD).await?;
    let mut came = burst(&mesh, |_| true).await?;
    came.sort_unstable();
    ensure!(came.iter().copied().eq(0..BURST), "each once");
    let (direct, round) = (sent(&mesh, "west", "east").await?, sent(&mesh, "west", "middle").await?);
    ensure!((direct, round) == (BURST as u64 / 2, BURST as u64 / 2), "{direct} {round}");
    Ok(())
}

/// West knows nothing of the rule, and has no other way.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_takes_a_train_apart_to_refuse_some_of_its_events() -> Result<()> {
    let plan = Plan::new(&[("west", "east")]);
    let mesh = mesh_asking(&plan, &[("east", "zone/east", "east/west")], ODD).await?;
    let came = burst(&mesh, |number| number % 2 == 0).await?;
    ensure!(came.iter().all(|number| number % 2 == 0), "{came:?}");
    ensure!(sent(&mesh, "west", "east").await? == BURST as u64, "all were sent");
    hears_of_it(&mesh).await
}
