//! What a client may ask of a subscription with memory, and what it sees of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::{Federation, Node, Options, eventually, http, repository};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(20);

async fn make(node: &Node, name: &str, settings: Value) -> Result<(u16, Value)> {
    let mut body = json!({"name": name, "filters": ["orders.**"]});
    for (key, value) in settings.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let reply = http().post(format!("{}/v1/subscriptions", node.http)).body(body.to_string()).send().await?;
    Ok((reply.status().as_u16(), reply.json().await?))
}

async fn show(node: &Node, name: &str) -> Result<Value> {
    Ok(http().get(format!("{}/v1/subscriptions/{name}", node.http)).send().await?.json().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_kept_shown_and_not_changed_by_the_way() -> Result<()> {
    let federation = Federation::up(
        &repository().join("topology-examples/three-zones"),
        Options { restart: true, ..Options::default() },
    )
    .await?;
    let node = federation.bridge("internal-1");
    let wished = json!({"lease": 5, "maxAttempts": 3, "backoffMax": 2.5, "onRetry": "block"});
    let expected =
        json!({"lease": 5.0, "maxAttempts": 3, "backoffMin": 1.0, "backoffMax": 2.5, "onRetry": "block"});
    let (status, made) = make(&node, "erp", wished.clone()).await?;
    ensure!(status == 201 && made["settings"] == expected, "{status}: {made}");
    for (refused, why) in [
        (json!({"lease": 0.1}), "`lease`"),
        (json!({"maxAttempts": 0}), "`maxAttempts`"),
        (json!({"backoffMin": 9, "backoffMax": 2}), "`backoffMin`"),
        (json!({"onRetry": "stop"}), "onRetry"),
    ] {
        let (status, answer) = make(&node, "other", refused.clone()).await?;
        ensure!(status == 400, "{refused}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        ensure!(message.contains(why) || why == "onRetry", "{refused}: {answer}");
    }
    ensure!(make(&node, "erp", wished).await?.0 == 201, "the same again is no conflict");
    let (status, answer) = make(&node, "erp", json!({"lease": 6})).await?;
    ensure!(status == 409, "{status}: {answer}");
    let stream = http().get(format!("{}/v1/stream?subscription=erp&lease=7", node.http)).send().await?;
    ensure!(stream.status() == 409, "{}", stream.status());
    federation.kill("internal-1")?;
    eventually("the settings after a crash, and who knows of them", WITHIN, || async {
        let shown = show(&federation.bridge("internal-1"), "erp").await?;
        ensure!(shown["settings"] == expected, "{shown}");
        ensure!(shown["interestKnownTo"] == json!({"dmz-1": true}), "{shown}");
        Ok(())
    })
    .await
}
