//! Who published an event is known for as long as the event is: rules that ask for it are asked again when it is sent, by
//! whichever process does that (RELIABILITY P9, M35; POLICY §2, `publisher`).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Member, Mesh, Node, Offers, Plan, eventually, http, signal};
use serde_json::{Value, json};

use crate::delivery::{make, next, open, settle};

const WITHIN: Duration = Duration::from_secs(30);
const FAR: &str = "east-1";

/// Nothing leaves the west but what a client of it has published.
const CLIENTS: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: clients, layer: zone/west}
spec:
  rules:
    - {name: known, match: {at: egress, topics: ["**"], publisher: ["anonymous"]}, permit: {}}
"#;
/// Later nothing of theirs does.
const NOBODY: &str =
    "    - {name: gone, match: {at: egress, topics: [\"**\"], publisher: [\"anonymous\"]}, deny: {}}\n";

async fn mesh(seed: u64) -> Result<Mesh> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), seed).await?;
    mesh.kill("west")?;
    fs::write(mesh.zone("west").config.with_file_name("policies").join("clients.yaml"), CLIENTS)?;
    mesh.restart("west").await?;
    mesh.connected().await?;
    Ok(mesh)
}

async fn publish(node: &Node, number: usize) -> Result<(String, Value)> {
    let draft = Draft::new(json!({"number": number}));
    let request = http().post(format!("{}/v1/topics/orders.jobs.created", node.http));
    let request = request.header("content-type", "application/cloudevents+json");
    let reply = request.body(draft.structured().to_string()).send().await?;
    ensure!(reply.status() == 202, "{}: {}", reply.status(), reply.text().await?);
    let reply: Value = reply.json().await?;
    ensure!(reply["denied"] == json!([]), "{reply}");
    Ok((draft.id, reply))
}

/// Until the account of the west with the far bridge says so.
async fn account(mesh: &Mesh, expected: Value) -> Result<()> {
    let node = mesh.zone("west");
    eventually(&format!("the account {expected}"), WITHIN, || async {
        let answer = node.admin().json("/v1/delivery").await?;
        let all = answer["destinations"].as_array().context("destinations")?;
        let one = all.iter().find(|one| one["destination"] == FAR).context("the far one")?;
        let says = expected.as_object().is_some_and(|all| all.iter().all(|(key, value)| one[key] == *value));
        ensure!(says && answer["balanced"] == true, "{answer}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_permitted_for_its_publisher_goes_after_a_crash_of_both_ends() -> Result<()> {
    let mesh = mesh(21).await?;
    ensure!(make(&mesh.zone("east"), "box", "orders.**").await? == 201);
    mesh.knows("east", "orders.**").await?;
    mesh.kill("east")?;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(publish(&mesh.zone("west"), number).await?.0);
    }
    mesh.kill("west")?;
    mesh.restart("west").await?;
    mesh.restart("east").await?;
    mesh.connected().await?;
    let east = mesh.zone("east");
    let mut stream = open(&east, "subscription=box&ack=manual").await?;
    let (mut rest, mut seen) = (String::new(), Vec::new());
    while seen.len() < ids.len() {
        let next = next(&mut stream, &mut rest).await;
        let (token, event) = next.with_context(|| format!("{seen:?} of {ids:?}; {}", mesh.story()))?;
        settle(&east, "box", "ack", &token).await?;
        seen.push(event["id"].as_str().context("an id")?.to_owned());
    }
    seen.sort();
    ids.sort();
    ensure!(seen == ids, "{seen:?} are not {ids:?}");
    account(&mesh, json!({"sent": 10, "delivered": 10, "denied": 0, "deadLettered": 0})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_against_its_publisher_stops_what_waits_after_a_crash() -> Result<()> {
    let mesh = mesh(22).await?;
    ensure!(make(&mesh.zone("east"), "box", "orders.**").await? == 201);
    mesh.knows("east", "orders.**").await?;
    mesh.kill("east")?;
    let (_, reply) = publish(&mesh.zone("west"), 1).await?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    let west = mesh.zone("west");
    let before = west.admin().json("/v1/policy").await?["digest"].clone();
    let file = west.config.with_file_name("policies").join("clients.yaml");
    fs::write(file, CLIENTS.to_owned() + NOBODY)?;
    signal(west.pid, "HUP")?;
    eventually("the new rule", WITHIN, || async {
        let now = west.admin().json("/v1/policy").await?;
        ensure!(now["digest"] != before, "{now}");
        Ok(())
    })
    .await?;
    mesh.restart("east").await?;
    account(&mesh, json!({"sent": 1, "denied": 1, "delivered": 0, "deadLettered": 0})).await?;
    let key = reply["key"].as_str().context("a key")?.replace('/', "%2F");
    // It is counted before it is remembered.
    eventually("how it ended is remembered", WITHIN, || async {
        let trace = west.admin().json(&format!("/v1/events/{key}")).await?;
        ensure!(trace.to_string().contains("clients/gone"), "{trace}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_group_elsewhere_gets_what_its_publisher_may_send() -> Result<()> {
    let mesh = mesh(23).await?;
    let offers = Offers::default();
    let filter = "filter=orders.jobs.**";
    let far = Member::join(&mesh.zone("east"), "east", "workers", filter, Duration::ZERO, &offers).await?;
    crate::groups::knows(&mesh, "west", FAR, true).await?;
    let mut ids = vec![publish(&mesh.zone("west"), 1).await?.0];
    // Without a member it waits, over a crash, and is chosen for anew.
    far.leave();
    crate::groups::knows(&mesh, "west", FAR, false).await?;
    ids.push(publish(&mesh.zone("west"), 2).await?.0);
    mesh.kill("west")?;
    mesh.restart("west").await?;
    let again = Member::join(&mesh.zone("east"), "again", "workers", filter, Duration::ZERO, &offers).await?;
    eventually("both have been acknowledged", WITHIN, || async {
        let done = offers.acknowledged();
        ensure!(done == ids.len(), "{done} of {}", ids.len());
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    offers.check(&ids).with_context(|| mesh.story())?;
    drop(again);
    account(&mesh, json!({"denied": 0, "deadLettered": 0, "pending": 0})).await
}
