//! What a rule makes a dead letter is kept by its origin until a person ends it (POLICY §3).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{
    Draft, Federation, Node, Options, eventually, http, meshbridge, repository, signal,
};
use serde_json::{Value, json};

use crate::delivery::{next, settle};
use crate::reload::policies;

const WITHIN: Duration = Duration::from_secs(30);
const FAR: &str = "cloud-us-1";
const TOPIC: &str = "payments.settled.daily";
const RULE: &str = "acme-baseline/settlements-are-traceable";

/// The rule speaks of other topics from now on, at both ends.
async fn permit(federation: &Federation, zones: &[&str]) -> Result<()> {
    for zone in zones {
        let node = federation.zone(zone);
        let before = node.admin().json("/v1/policy").await?["digest"].clone();
        let file = policies(&node)?.join("10-federation.yaml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.replace("payments.settled.**", "payments.unsettled.**"))?;
        signal(node.pid, "HUP")?;
        eventually("other policies", WITHIN, || async {
            let now = node.admin().json("/v1/policy").await?;
            ensure!(now["digest"] != before || text.contains("payments.unsettled.**"), "{now}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn letters(node: &Node, count: usize) -> Result<Vec<Value>> {
    eventually(&format!("{count} dead letters"), WITHIN, || async {
        let all = node.admin().json("/v1/dlq").await?;
        ensure!(all["total"] == count, "{all}");
        Ok(all["entries"].as_array().context("entries")?.clone())
    })
    .await
}

fn replay(node: &Node) -> Result<String> {
    Ok(meshbridge(&["dlq", "replay", "--all", "--admin", &node.admin], WITHIN)?.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_rule_stopped_outlives_its_bridge_and_goes_when_the_rule_is_gone() -> Result<()> {
    let example = repository().join("topology-examples/three-zones");
    let federation = Federation::up(&example, Options { restart: true, ..Options::default() }).await?;
    let far = federation.zone("cloud-us");
    let made = json!({"name": "ledger", "filters": ["payments.**"]}).to_string();
    let made = http().post(format!("{}/v1/subscriptions", far.http)).body(made).send().await?;
    ensure!(made.status() == 201, "{}", made.text().await?);
    federation.knows(FAR, "payments.**").await?;
    let node = federation.zone("internal");
    let event = Draft::new(json!({"secret": "payload"}));
    let reply = node.publisher().publish(TOPIC, &event).await?;
    ensure!(reply.destinations.is_empty() && reply.denied.len() == 1, "{reply:?}");
    let letter = letters(&node, 1).await?.remove(0);
    ensure!(letter["reason"] == RULE && letter["destination"] == FAR, "{letter}");
    ensure!(letter["eventId"] == event.id.as_str() && letter["inDoubt"] == false, "{letter}");
    ensure!(!letter.to_string().contains("payload"), "a dead letter shows no data: {letter}");

    federation.kill("internal-1")?;
    eventually("the bridge is back", WITHIN, || async {
        let again = federation.zone("internal");
        ensure!(again.pid != node.pid && again.admin().text("/readyz").await?.0 == 200, "not yet");
        Ok(())
    })
    .await?;
    let node = federation.zone("internal");
    ensure!(letters(&node, 1).await?[0]["key"] == letter["key"], "it is the same one");
    federation.knows(FAR, "payments.**").await?;

    // The rule is still there: it becomes a dead letter again, under a new key.
    let done = replay(&node)?;
    ensure!(done.contains("\"done\":1"), "{done}");
    eventually("it was judged again", WITHIN, || async {
        let again = letters(&node, 1).await?;
        ensure!(again[0]["key"] != letter["key"] && again[0]["reason"] == RULE, "{again:?}");
        Ok(())
    })
    .await?;
    permit(&federation, &["internal", "cloud-us"]).await?;
    let stream = format!("{}/v1/stream?subscription=ledger&ack=manual", far.http);
    let mut stream = http().get(stream).send().await?;
    let former = letters(&node, 1).await?[0]["key"].clone();
    let done = replay(&node)?;
    ensure!(done.contains("\"done\":1"), "{done}");
    let (token, came) = next(&mut stream, &mut String::new()).await?;
    // D5: a new key, the same id, and what it was before.
    ensure!(came["meshbridgereplay"] == former, "{came}, not {former}");
    ensure!(came["id"] == event.id.as_str() && came["data"] == event.data, "{came}");
    settle(&far, "ledger", "ack", &token).await?;
    letters(&node, 0).await?;
    eventually("the account", WITHIN, || async {
        let answer = node.admin().json("/v1/delivery").await?;
        let one = &answer["destinations"][0];
        ensure!(one["deadLettered"] == 2 && one["delivered"] == 1 && answer["balanced"] == true, "{answer}");
        Ok(())
    })
    .await
}

/// Only the zone that receives it has the rule: its bridge says so, and the origin keeps the event.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_receiving_zone_stopped_is_kept_by_its_origin() -> Result<()> {
    let example = repository().join("topology-examples/three-zones");
    let federation = Federation::up(&example, Options { restart: true, ..Options::default() }).await?;
    let (node, far) = (federation.zone("internal"), federation.zone("cloud-us"));
    permit(&federation, &["internal"]).await?;
    let made = json!({"name": "ledger", "filters": ["payments.**"]}).to_string();
    let made = http().post(format!("{}/v1/subscriptions", far.http)).body(made).send().await?;
    ensure!(made.status() == 201, "{}", made.text().await?);
    federation.knows(FAR, "payments.**").await?;
    let traced = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let mut taken = Vec::new();
    for number in 0..20 {
        let event = Draft::new(json!({"number": number}));
        let event = traced
            .iter()
            .filter(|_| number % 2 == 1)
            .fold(event, |event, (name, value)| event.with(name, value));
        let reply = node.publisher().publish(TOPIC, &event).await?;
        ensure!(reply.destinations == [FAR] && reply.denied.is_empty(), "{reply:?}");
        taken.push(event);
    }
    let stream = format!("{}/v1/stream?subscription=ledger&ack=manual", far.http);
    let (mut stream, mut buffer) = (http().get(stream).send().await?, String::new());
    for event in taken.iter().filter(|event| !event.attributes.is_empty()) {
        let (token, came) = next(&mut stream, &mut buffer).await?;
        ensure!(came["id"] == event.id.as_str(), "{came} is not {}", event.id);
        settle(&far, "ledger", "ack", &token).await?;
    }
    for letter in letters(&node, 10).await? {
        ensure!(
            letter["reason"] == RULE && letter["destination"] == FAR && letter["inDoubt"] == false,
            "{letter}"
        );
    }

    federation.kill("internal-1")?;
    eventually("the bridge is back", WITHIN, || async {
        let again = federation.zone("internal");
        ensure!(again.pid != node.pid && again.admin().text("/readyz").await?.0 == 200, "not yet");
        Ok(())
    })
    .await?;
    let node = federation.zone("internal");
    letters(&node, 10).await?;
    permit(&federation, &["cloud-us"]).await?;
    federation.knows(FAR, "payments.**").await?;
    let done = replay(&node)?;
    ensure!(done.contains("\"done\":10"), "{done}");
    let mut came: Vec<String> = Vec::new();
    for _ in 0..10 {
        let (token, event) = next(&mut stream, &mut buffer).await?;
        came.push(event["id"].as_str().context("an id")?.to_owned());
        settle(&far, "ledger", "ack", &token).await?;
    }
    let mut wanted: Vec<&str> =
        taken.iter().filter(|event| event.attributes.is_empty()).map(|event| event.id.as_str()).collect();
    came.sort();
    wanted.sort_unstable();
    ensure!(came == wanted, "{came:?}");
    letters(&node, 0).await?;
    eventually("the account", WITHIN, || async {
        let answer = node.admin().json("/v1/delivery").await?;
        let one = &answer["destinations"][0];
        ensure!(
            one["deadLettered"] == 10 && one["delivered"] == 20 && answer["balanced"] == true,
            "{answer}"
        );
        Ok(())
    })
    .await
}
