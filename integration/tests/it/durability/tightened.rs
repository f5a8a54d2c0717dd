//! M35, M37: a rule that was tightened while events wait decides about them, at their origin and at their destination; one that is loosened later
//! brings nothing back.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::books::close;
use crate::delivery::{make, next, open};

const WITHIN: Duration = Duration::from_secs(20);
pub(super) const SECRET: &str = "orders.secret.created";
pub(super) const OPEN: &str = "orders.open.created";
pub(super) const EVENTS: usize = 20;

/// Denies one topic and masks a field of the other.
const TIGHTENED: &str = "
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: tightened, layer: federation}
spec:
  rules:
    - {name: no-secrets, match: {topics: [\"orders.secret.**\"]}, deny: {}}
    - {name: no-names, match: {topics: [\"orders.open.**\"]}, protect: [{fields: [\"$.data.name\"], as: drop}], onError: reject}
";

async fn generation(node: &Node) -> Result<u64> {
    node.admin().json("/v1/policy").await?["generation"].as_u64().context("a generation")
}

/// Writes the rules, or takes them away, and waits until they are in force.
pub(super) async fn rule(node: &Node, tightened: bool) -> Result<u64> {
    let before = generation(node).await?;
    let file = node.config.with_file_name("policies").join("90-tightened.yaml");
    if tightened {
        fs::write(&file, TIGHTENED)?;
    } else {
        fs::remove_file(&file)?;
    }
    eventually("the rules are in force", WITHIN, || async {
        let state = node.admin().json("/v1/policy").await?;
        ensure!(state["generation"].as_u64() > Some(before), "{state}");
        Ok(())
    })
    .await?;
    generation(node).await
}

/// Publishes by turns to both topics; gives id and key of each.
pub(super) async fn publish(node: &Node) -> Result<Vec<(String, String)>> {
    let mut published = Vec::new();
    for number in 0..EVENTS {
        let event = Draft::new(json!({"number": number, "name": "Ada Example"}));
        let topic = if number % 2 == 0 { SECRET } else { OPEN };
        let reply = node.publisher().publish(topic, &event).await?;
        ensure!(reply.denied.is_empty() && reply.destinations.len() == 1, "{reply:?}");
        published.push((event.id, reply.key));
    }
    Ok(published)
}

pub(super) async fn account(node: &Node) -> Result<Value> {
    let answer = node.admin().json("/v1/delivery").await?;
    answer["destinations"].as_array().and_then(|all| all.first()).cloned().with_context(|| answer.to_string())
}

/// The record of the secret ones names the rule, and their bytes are gone.
async fn denied(node: &Node, published: &[(String, String)]) -> Result<()> {
    for (_, key) in published.iter().step_by(2) {
        let event = node.admin().json(&format!("/v1/events/{key}")).await?;
        let pair = &event["destinations"][0];
        ensure!(pair["state"] == "denied" && pair["why"] == "tightened/no-secrets", "{event}");
        ensure!(event["kept"] == false, "{event}");
    }
    Ok(())
}

/// The decisions that stopped events name the generation that made them, one for each event.
pub(super) fn decided(mesh: &Mesh, zone: &str, context: &str, (by, events): (u64, usize)) -> Result<()> {
    let log = mesh.log(zone);
    let lines = log.lines().filter(|line| line.contains("Policy stopped an event"));
    let lines: Vec<&str> = lines.filter(|line| line.contains(&format!("context=\"{context}\""))).collect();
    ensure!(lines.len() == events, "{} decisions: {log}", lines.len());
    ensure!(lines.iter().all(|line| line.contains(&format!("generation={by} "))), "{by}: {lines:#?}");
    Ok(())
}

/// Reads what is allowed, and that it is protected; then nothing else comes before a last event.
async fn read(mesh: &Mesh, published: &[(String, String)]) -> Result<()> {
    let east = mesh.zone("east");
    let (mut stream, mut rest) = (open(&east, "subscription=all").await?, String::new());
    for (id, _) in published.iter().skip(1).step_by(2) {
        let (_, event) = next(&mut stream, &mut rest).await.with_context(|| mesh.story())?;
        let data = &event["data"];
        ensure!(event["id"] == *id && data.get("name").is_none() && data["number"].is_number(), "{event}");
    }
    mesh.connected().await?;
    let last = Draft::new(json!({}));
    mesh.zone("west").publisher().publish(OPEN, &last).await?;
    let (_, event) = next(&mut stream, &mut rest).await?;
    ensure!(event["id"] == last.id, "what has ended has come after all: {event}");
    Ok(())
}

/// M35
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_and_not_sent_is_judged_by_the_rules_of_today() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), super::seed()).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", "orders.**").await? == StatusCode::CREATED, "no subscription");
    mesh.knows("east", "orders.**").await?;
    mesh.kill("east")?;
    let published = publish(&west).await?;
    let tightened = rule(&west, true).await?;
    mesh.restart("east").await?;
    eventually("the others are stored", WITHIN, || async {
        let account = account(&west).await?;
        ensure!(account["denied"] == EVENTS / 2 && account["unsettled"] == 0, "{account}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    decided(&mesh, "west", "egress", (tightened, EVENTS / 2))?;
    // Loosened later: what has ended has ended, also for the next process.
    rule(&west, false).await?;
    // The account is told a moment before the record.
    eventually("the records say why", WITHIN, || denied(&west, &published)).await?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    read(&mesh, &published).await?;
    close(&mesh).await?;
    Ok(())
}

/// M37
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_and_not_delivered_is_judged_by_the_rules_of_today() -> Result<()> {
    for restarts in [false, true] {
        let mesh = Mesh::start(&Plan::new(&[("west", "east")]), super::seed()).await?;
        let (west, east) = (mesh.zone("west"), mesh.zone("east"));
        ensure!(make(&east, "all", "orders.**").await? == StatusCode::CREATED, "no subscription");
        mesh.knows("east", "orders.**").await?;
        let published = publish(&west).await?;
        eventually("all are stored", WITHIN, || async {
            let account = account(&west).await?;
            ensure!(account["pending"] == EVENTS && account["unsettled"] == 0, "{account}");
            Ok(())
        })
        .await?;
        let mut tightened = rule(&east, true).await?;
        if restarts {
            // Whoever judged them at their arrival is forgotten.
            mesh.kill("east")?;
            mesh.restart("east").await?;
            tightened = generation(&east).await?;
        }
        read(&mesh, &published).await?;
        eventually("every event has ended", WITHIN, || async {
            let account = account(&west).await?;
            ensure!(account["denied"] == EVENTS / 2 && account["balanced"] == true, "{account}");
            ensure!(account["unsettled"] == 0, "{account}");
            Ok(())
        })
        .await
        .with_context(|| mesh.story())?;
        // The account is told a moment before the record.
        eventually("the records say why", WITHIN, || denied(&west, &published)).await?;
        decided(&mesh, "east", "ingress", (tightened, EVENTS / 2))?;
        close(&mesh).await?;
    }
    Ok(())
}
