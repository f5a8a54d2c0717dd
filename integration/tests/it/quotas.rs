//! How much may wait for one destination, how much one producer may keep, and how many dead letters there may be: what
//! is heard at the limit.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::{
    Draft, Federation, Node, Options, eventually, http, meshbridge, repository, signal,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::delivery::{next, open, settle};

const WITHIN: Duration = Duration::from_secs(30);
const FAR: &str = "cloud-us-1";

/// The example, in which `internal-1` has this section `delivery`.
async fn up(delivery: &str) -> Result<Federation> {
    let federation = Federation::up(
        &repository().join("topology-examples/three-zones"),
        Options { restart: true, ..Options::default() },
    )
    .await?;
    let node = federation.bridge("internal-1");
    let config = fs::read_to_string(&node.config)?;
    fs::write(&node.config, format!("{}\n  delivery: {{{delivery}}}\n", config.trim_end()))?;
    federation.kill("internal-1")?;
    eventually("the bridge is back", WITHIN, || async {
        let again = federation.bridge("internal-1");
        ensure!(again.pid != node.pid, "not started again");
        ensure!(again.admin().text("/readyz").await?.0 == 200, "not ready");
        Ok(())
    })
    .await?;
    Ok(federation)
}

async fn subscribe(federation: &Federation, bridge: &str) -> Result<()> {
    let body = json!({"name": "billing", "filters": ["orders.**"]}).to_string();
    let url = format!("{}/v1/subscriptions", federation.bridge(bridge).http);
    let made = http().post(url).body(body).send().await?;
    ensure!(made.status() == StatusCode::CREATED, "{}", made.text().await?);
    federation.knows(bridge, "orders.**").await
}

async fn publish(node: &Node) -> Result<(StatusCode, bool, Value)> {
    let event = Draft::new(json!({"orderId": 1}));
    let request = http().post(format!("{}/v1/topics/orders.eu.created", node.http));
    let request = request.header("content-type", "application/cloudevents+json");
    let reply = request.body(event.structured().to_string()).send().await?;
    let retry = reply.headers().contains_key("retry-after");
    Ok((reply.status(), retry, reply.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_keeps_too_much_is_told_which_quota_and_when_to_try_again() -> Result<()> {
    let federation = up("producerEvents: 2").await?;
    subscribe(&federation, "internal-1").await?;
    let node = federation.bridge("internal-1");
    for _ in 0..2 {
        let (status, _, reply) = publish(&node).await?;
        ensure!(status == StatusCode::ACCEPTED, "{reply}");
    }
    let (status, retry, reply) = publish(&node).await?;
    ensure!(status == StatusCode::TOO_MANY_REQUESTS && retry, "{status}: {reply}");
    let message = reply["error"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("`delivery.producerEvents` is 2"), "{reply}");
    // The share is counted from the log: another process of the bridge knows it.
    federation.kill("internal-1")?;
    let status = eventually("an answer after the crash", WITHIN, || async {
        Ok(publish(&federation.bridge("internal-1")).await?.0)
    })
    .await?;
    ensure!(status == StatusCode::TOO_MANY_REQUESTS, "{status}");
    // What is acknowledged is kept no more.
    let node = federation.bridge("internal-1");
    let stream = http().get(format!("{}/v1/stream?subscription=billing", node.http)).send().await?;
    eventually("room again", WITHIN, || async {
        let (status, _, reply) = publish(&node).await?;
        ensure!(status == StatusCode::ACCEPTED, "{reply}");
        Ok(())
    })
    .await?;
    drop(stream);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_destination_refuses_and_leaves_the_set_when_it_has_been_away_for_long() -> Result<()> {
    let federation = up("destinationEvents: 2, absenceSecs: 8").await?;
    subscribe(&federation, FAR).await?;
    let (node, far) = (federation.bridge("internal-1"), federation.bridge(FAR));
    signal(far.pid, "STOP")?;
    eventually("the loss is seen", WITHIN, || async {
        ensure!(!node.admin().route_to(FAR).await?.reachable, "still reachable");
        Ok(())
    })
    .await?;
    for _ in 0..2 {
        let (status, _, reply) = publish(&node).await?;
        ensure!(status == StatusCode::ACCEPTED && reply["destinations"] == json!([FAR]), "{reply}");
    }
    let (status, retry, reply) = publish(&node).await?;
    ensure!(status == StatusCode::SERVICE_UNAVAILABLE && retry, "{status}: {reply}");
    let message = reply["error"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains(FAR) && message.contains("`delivery.destinationEvents` is 2"), "{reply}");
    let reply = eventually("one that is away does not stop all producers for ever", WITHIN, || async {
        let (status, _, reply) = publish(&node).await?;
        ensure!(status == StatusCode::ACCEPTED, "{reply}");
        Ok(reply)
    })
    .await?;
    let left_out = json!([{"destination": FAR, "reason": "destination-full"}]);
    ensure!(reply["destinations"] == json!([]) && reply["leftOut"] == left_out, "{reply}");
    signal(far.pid, "CONT")?;
    eventually("it is a destination again", WITHIN, || async {
        let (_, _, reply) = publish(&node).await?;
        ensure!(reply["destinations"] == json!([FAR]), "{reply}");
        Ok(())
    })
    .await?;
    let answer = node.admin().json("/v1/delivery").await?;
    ensure!(answer["balanced"] == true, "{answer}");
    ensure!(answer["destinations"][0]["leftOut"].as_u64() >= Some(1), "{answer}");
    Ok(())
}

/// D14: nothing is dropped where dead letters have no room. The second event that nobody can deal with waits, and the
/// third behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_pauses_while_there_is_no_room_for_its_dead_letters() -> Result<()> {
    let federation = up("deadLetterEvents: 1").await?;
    let node = federation.bridge("internal-1");
    let wished = json!({
        "name": "billing", "filters": ["orders.**"], "maxAttempts": 1, "backoffMin": 0.1, "backoffMax": 0.1
    });
    let url = format!("{}/v1/subscriptions", node.http);
    let made = http().post(&url).body(wished.to_string()).send().await?;
    ensure!(made.status() == StatusCode::CREATED, "{}", made.text().await?);
    for _ in 0..3 {
        publish(&node).await?;
    }
    let (mut stream, mut rest) = (open(&node, "subscription=billing&ack=manual").await?, String::new());
    // The first becomes a dead letter, the others find no room.
    for _ in 0..3 {
        let (token, _) = next(&mut stream, &mut rest).await?;
        settle(&node, "billing", "nack", &token).await?;
    }
    publish(&node).await?;
    let status =
        async || -> Result<Value> { Ok(http().get(format!("{url}/billing")).send().await?.json().await?) };
    eventually("it is paused, and what came since waits", WITHIN, || async {
        let status = status().await?;
        ensure!(status["paused"] == true && status["deadLetters"] == 1, "{status}");
        let held = ["waiting", "delayed"].iter().filter_map(|name| status[name].as_u64()).sum::<u64>();
        ensure!(status["leased"] == 0 && held == 3, "{status}");
        ensure!(
            node.admin().metrics().await?["meshbridge_dead_letters"] == 1.0,
            "the store holds what it may"
        );
        Ok(())
    })
    .await?;
    let purged = meshbridge(&["dlq", "purge", "--all", "--admin", &node.admin], WITHIN)?;
    ensure!(purged.code == 0, "{}", purged.stderr);
    for _ in 0..3 {
        let (token, _) = next(&mut stream, &mut rest).await?;
        ensure!(settle(&node, "billing", "ack", &token).await?["settled"] == 1, "not settled");
    }
    let status = status().await?;
    ensure!(status["paused"] == false && status["deadLetters"] == 0 && status["waiting"] == 0, "{status}");
    let answer = node.admin().json("/v1/delivery").await?;
    ensure!(answer["balanced"] == true, "{answer}");
    Ok(())
}
