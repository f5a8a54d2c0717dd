//! What a rule keeps back when it is published is kept by its bridge, as far as it may be (POLICY §3, `publish`): a dead
//! letter that can be published again, or held for a person; over every crash, and never where nobody may store it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, eventually, http, meshbridge};
use serde_json::{Value, json};

use crate::delivery::make;
use crate::letters::letters;
use crate::quarantine::{held, mark, policies, publish, read_until, ruled, until_held};

const WITHIN: Duration = Duration::from_secs(30);
const HERE: &str = "west-1";

const DOOR: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: door, layer: zone/west}
spec:
  rules:
    - {name: traced, match: {at: publish, topics: ["orders.traced", "orders.both"]}, require: {attributes: {traceparent: {}}}}
    - {name: looked-at, match: {at: publish, topics: ["orders.looked"]}, deny: {}, onViolation: quarantine}
    - {name: no-names, match: {at: publish, topics: ["orders.both", "orders.named"]}, protect: [{fields: ["$.data.name"], as: drop}]}
"#;

/// `west` and `east`, where `west` has these rules for what is published there.
async fn mesh(seed: u64) -> Result<Mesh> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), seed).await?;
    mesh.kill("west")?;
    let config = mesh.zone("west").config;
    fs::write(policies(&config).join("door.yaml"), DOOR)?;
    let text = fs::read_to_string(&config)?;
    let admin = text.lines().find(|line| line.starts_with("  admin: ")).context("the section admin")?;
    let may = admin.trim_end_matches('}').to_owned() + ", releasers: {anonymous: [zone/west]}}";
    fs::write(&config, text.replace(admin, &may))?;
    again(&mesh).await?;
    ensure!(make(&mesh.zone("east"), "box", "orders.**").await? == 201);
    mesh.knows("east", "orders.**").await?;
    Ok(mesh)
}

async fn again(mesh: &Mesh) -> Result<()> {
    mesh.restart("west").await?;
    mesh.connected().await
}

fn replayed(node: &Node) -> Result<u64> {
    let output = meshbridge(&["dlq", "replay", "--all", "--admin", &node.admin], WITHIN)?;
    let said: Value = serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())?;
    said["done"].as_u64().context("how many")
}

async fn account(mesh: &Mesh, destination: &str, expected: Value) -> Result<()> {
    let node = mesh.zone("west");
    eventually(&format!("the account of {destination} is {expected}"), WITHIN, || async {
        let answer = node.admin().json("/v1/delivery").await?;
        let all = answer["destinations"].as_array().context("destinations")?;
        let one = all.iter().find(|one| one["destination"] == destination).context("no account")?;
        let fits = expected.as_object().is_some_and(|all| all.iter().all(|(key, value)| one[key] == *value));
        ensure!(fits && answer["balanced"] == true, "{answer}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

fn spool_has(node: &Node, text: &str) -> Result<bool> {
    let mut found = false;
    for file in fs::read_dir(node.config.with_file_name("data").join("spool"))? {
        let bytes = fs::read(file?.path()).unwrap_or_default();
        found |= bytes.windows(text.len()).any(|window| window == text.as_bytes());
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_publication_outlives_its_bridge_and_is_published_when_the_rule_is_gone()
-> Result<()> {
    let mesh = mesh(31).await?;
    let event = Draft::new(json!({"n": 1}));
    let west = mesh.zone("west");
    let reply = publish(&west, "orders.traced", &event, "").await?;
    let denied = json!([{"destination": HERE, "by": "door/traced", "disposition": "dead-letter"}]);
    ensure!(reply["denied"] == denied && reply["destinations"] == json!([]), "{reply}");
    let retry = publish(&west, "orders.traced", &event, "").await?;
    ensure!(retry["key"] == reply["key"] && retry["duplicate"] == true, "a retry is the same event: {retry}");
    mesh.kill("west")?;
    again(&mesh).await?;
    let west = mesh.zone("west");
    let letter = letters(&west, 1).await?.remove(0);
    ensure!(letter["key"] == reply["key"] && letter["destination"] == HERE, "{letter}");
    ensure!(letter["reason"] == "door/traced" && letter["inDoubt"] == false, "{letter}");
    ensure!(replayed(&west)? == 0, "the rule is still there");
    letters(&west, 1).await?;
    account(&mesh, HERE, json!({"sent": 1, "deadLettered": 1, "pending": 0})).await?;

    let before = west.admin().json("/v1/policy").await?["digest"].clone();
    fs::remove_file(policies(&west.config).join("door.yaml"))?;
    eventually("other policies", WITHIN, || async {
        let now = west.admin().json("/v1/policy").await?;
        ensure!(now["digest"] != before, "{now}");
        Ok(())
    })
    .await?;
    ensure!(replayed(&west)? == 1 && replayed(&west)? == 0, "once");
    let last = mark(&mesh).await?;
    let seen = read_until(&mesh, &last).await?;
    ensure!(seen == [event.id, last], "{seen:?}");
    letters(&west, 0).await?;
    account(&mesh, "east-1", json!({"sent": 2, "delivered": 2})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_quarantined_at_publication_waits_over_a_crash_for_a_person() -> Result<()> {
    let mesh = mesh(32).await?;
    let (good, bad) = (Draft::new(json!({"n": 1})), Draft::new(json!({"n": 2})));
    let west = mesh.zone("west");
    for event in [&good, &bad] {
        let reply = publish(&west, "orders.looked", event, "?ack=delivered&timeout=1").await?;
        ensure!(reply["held"] == json!([{"destination": HERE, "by": "door/looked-at"}]), "{reply}");
        ensure!(reply["denied"] == json!([]) && reply["ack"]["level"] == "stored", "{reply}");
    }
    until_held(&mesh, &good.id).await?;
    mesh.kill("west")?;
    again(&mesh).await?;
    let west = mesh.zone("west");
    let (entry, other) = (until_held(&mesh, &good.id).await?, until_held(&mesh, &bad.id).await?);
    ensure!(entry["rule"] == "door/looked-at" && entry["destination"] == HERE, "{entry}");
    account(&mesh, HERE, json!({"sent": 2, "pending": 2})).await?;
    ruled(&west, "release", &entry, "asked the shop")?;
    ruled(&west, "refuse", &other, "asked the shop")?;
    account(&mesh, HERE, json!({"sent": 1, "denied": 1, "pending": 0})).await?;
    account(&mesh, "east-1", json!({"sent": 1})).await?;
    let last = mark(&mesh).await?;
    let seen = read_until(&mesh, &last).await?;
    ensure!(seen == [good.id, last], "it comes once: {seen:?}");
    ensure!(held(&west)?.is_empty());
    account(&mesh, "east-1", json!({"sent": 2, "delivered": 2})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_stored_edited_only_is_kept_edited_or_not_at_all() -> Result<()> {
    let mesh = mesh(33).await?;
    let west = mesh.zone("west");
    let edited = Draft::new(json!({"name": "Ada Example", "total": "twelve-and-a-half"}));
    publish(&west, "orders.both", &edited, "").await?;
    ensure!(letters(&west, 1).await?[0]["reason"] == "door/traced");
    ensure!(spool_has(&west, "twelve-and-a-half")? && !spool_has(&west, "Ada Example")?);
    // No name can be dropped from what nobody can read.
    let request = http().post(format!("{}/v1/topics/orders.named", west.http));
    let request = request.header("ce-specversion", "1.0").header("ce-type", "t").header("ce-source", "/s");
    let request = request.header("ce-id", "opaque").header("content-type", "application/octet-stream");
    let reply = request.body("neither-read-nor-kept").send().await?;
    ensure!(reply.status() == 202, "{}", reply.text().await?);
    let reply: Value = reply.json().await?;
    ensure!(reply["denied"][0]["by"] == "door/no-names", "{reply}");
    let last = mark(&mesh).await?;
    ensure!(read_until(&mesh, &last).await? == [last]);
    ensure!(!spool_has(&west, "neither-read-nor-kept")?, "what could not be protected is in the spool");
    letters(&west, 1).await.map(drop)
}
