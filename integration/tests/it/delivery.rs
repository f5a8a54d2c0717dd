//! What publishers, subscribers and operators see of durable delivery while nothing is broken, and after a restart.

mod again;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, Options, eventually, http, meshbridge, repository};
use reqwest::StatusCode;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(20);
const COMMAND_WITHIN: Duration = Duration::from_secs(20);

async fn up() -> Result<Federation> {
    Federation::up(
        &repository().join("topology-examples/three-zones"),
        Options { restart: true, ..Options::default() },
    )
    .await
}

async fn publish(node: &Node, event: &Draft, query: &str) -> Result<Value> {
    let url = format!("{}/v1/topics/orders.eu.created{query}", node.http);
    let request = http().post(url).header("content-type", "application/cloudevents+json");
    let reply = request.body(event.structured().to_string()).send().await?;
    ensure!(reply.status() == StatusCode::ACCEPTED, "{}: {}", reply.status(), reply.text().await?);
    Ok(reply.json().await?)
}

pub(crate) async fn make(node: &Node, name: &str, filter: &str) -> Result<StatusCode> {
    let body = json!({"name": name, "filters": [filter]}).to_string();
    Ok(http().post(format!("{}/v1/subscriptions", node.http)).body(body).send().await?.status())
}

/// The next event of a named stream, with the `id:` of its message.
pub(crate) async fn next(stream: &mut reqwest::Response, rest: &mut String) -> Result<(String, Value)> {
    next_within(stream, rest, WITHIN).await
}

/// The same, where it may lawfully take longer.
pub(crate) async fn next_within(
    stream: &mut reqwest::Response,
    rest: &mut String,
    within: Duration,
) -> Result<(String, Value)> {
    let read = async {
        loop {
            if let Some(end) = rest.find("\n\n") {
                let block: String = rest.drain(..end + 2).collect();
                let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some(id), Some(data)) = (line("id:"), line("data:")) {
                    return Ok((id.to_owned(), serde_json::from_str(data)?));
                }
                continue;
            }
            let chunk = stream.chunk().await?.context("the stream has ended")?;
            rest.push_str(std::str::from_utf8(&chunk)?);
        }
    };
    tokio::time::timeout(within, read).await.context("no event came")?
}

pub(crate) async fn open(node: &Node, query: &str) -> Result<reqwest::Response> {
    let reply = http().get(format!("{}/v1/stream?{query}", node.http)).send().await?;
    ensure!(reply.status() == StatusCode::OK, "{}: {}", reply.status(), reply.text().await?);
    Ok(reply)
}

pub(crate) async fn settle(node: &Node, name: &str, how: &str, token: &str) -> Result<Value> {
    let body = json!({"tokens": [token]}).to_string();
    let reply = http().post(format!("{}/v1/subscriptions/{name}/{how}", node.http)).body(body).send().await?;
    ensure!(reply.status() == StatusCode::OK, "{}: {}", reply.status(), reply.text().await?);
    Ok(reply.json().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_with_the_first_key_also_after_a_crash() -> Result<()> {
    let federation = up().await?;
    let node = federation.bridge("internal-1");
    let event = Draft::new(json!({"orderId": 1}));
    let first = publish(&node, &event, "").await?;
    ensure!(first.get("duplicate").is_none(), "{first}");
    let again = publish(&node, &event, "").await?;
    ensure!(again["key"] == first["key"] && again["duplicate"] == true, "{first} then {again}");
    federation.kill("internal-1")?;
    let after = eventually("the answer after the crash", WITHIN, || async {
        publish(&federation.bridge("internal-1"), &event, "").await
    })
    .await?;
    ensure!(after["key"] == first["key"] && after["duplicate"] == true, "{first} then {after}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_hears_what_it_asked_to_hear() -> Result<()> {
    let federation = up().await?;
    let (origin, far) = (federation.bridge("internal-1"), federation.bridge("cloud-us-1"));
    ensure!(make(&far, "billing", "orders.**").await? == StatusCode::CREATED, "not made");
    federation.knows("cloud-us-1", "orders.**").await?;
    let replicated = publish(&origin, &Draft::new(json!({})), "?ack=replicated").await?;
    ensure!(
        replicated["ack"]["level"] == "replicated" && replicated["ack"]["missing"] == json!([]),
        "{replicated}"
    );
    let waits = publish(&origin, &Draft::new(json!({})), "?ack=delivered&timeout=0.3").await?;
    ensure!(
        waits["ack"]["level"] == "replicated" && waits["ack"]["missing"] == json!(["cloud-us-1"]),
        "{waits}"
    );
    let mut stream = open(&far, "subscription=billing").await?;
    let delivered = publish(&origin, &Draft::new(json!({})), "?ack=delivered").await?;
    ensure!(delivered["ack"]["level"] == "delivered", "{delivered}");
    ensure!(delivered["ack"]["outcomes"][0]["outcome"] == "delivered", "{delivered}");
    let mut rest = String::new();
    for _ in 0..3 {
        next(&mut stream, &mut rest).await?;
    }
    let answer: Value = eventually("the account is closed", WITHIN, || async {
        let answer: Value = http().get(format!("{}/v1/delivery", origin.admin)).send().await?.json().await?;
        let account = &answer["destinations"][0];
        ensure!(account["sent"] == 3 && account["delivered"] == 3 && account["pending"] == 0, "{answer}");
        Ok(answer)
    })
    .await?;
    ensure!(answer["balanced"] == true, "{answer}");
    let key = delivered["key"].as_str().context("a key")?;
    let trace: Value = http().get(format!("{}/v1/events/{key}", origin.admin)).send().await?.json().await?;
    ensure!(trace["destinations"][0]["state"] == "delivered" && trace["kept"] == false, "{trace}");
    let shown = meshbridge(&["delivery", "--admin", &origin.admin], COMMAND_WITHIN)?;
    ensure!(shown.code == 0 && shown.stdout.contains("cloud-us-1"), "{}", shown.stdout);
    let spool = origin.config.parent().context("a directory")?.join("data");
    let verified = meshbridge(&["spool", "verify", &spool.to_string_lossy()], COMMAND_WITHIN)?;
    ensure!(verified.code == 0 && verified.stdout.contains("sound"), "{}", verified.stdout);
    let exported = meshbridge(&["spool", "export", &spool.to_string_lossy()], COMMAND_WITHIN)?;
    ensure!(exported.stdout.contains("Accepted"), "{}", exported.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_with_memory_keeps_what_is_not_acknowledged() -> Result<()> {
    let federation = up().await?;
    let node = federation.bridge("internal-1");
    ensure!(make(&node, "billing", "orders.**").await? == StatusCode::CREATED, "not made");
    ensure!(make(&node, "billing", "orders.eu.*").await? == StatusCode::CONFLICT, "other filters were taken");
    let (one, two) = (Draft::new(json!({"n": 1})), Draft::new(json!({"n": 2})));
    publish(&node, &one, "").await?;
    publish(&node, &two, "").await?;
    let manual = "subscription=billing&ack=manual";
    let (mut first, mut rest) = (open(&node, manual).await?, String::new());
    let (token, event) = next(&mut first, &mut rest).await?;
    ensure!(event["id"] == one.id.as_str() && event["meshbridgedelivery"] == 1, "{event}");
    ensure!(settle(&node, "billing", "ack", &token).await?["settled"] == 1, "not settled");
    ensure!(settle(&node, "billing", "ack", &token).await?["stale"] == json!([token]), "settled twice");
    let (refused, event) = next(&mut first, &mut rest).await?;
    ensure!(event["id"] == two.id.as_str(), "{event}");
    settle(&node, "billing", "nack", &refused).await?;
    let (held, event) = next(&mut first, &mut rest).await?;
    ensure!(event["id"] == two.id.as_str() && event["meshbridgedelivery"] == 2, "{event}");
    // Another connection takes over, and gets what the first one held.
    let (mut second, mut other) = (open(&node, manual).await?, String::new());
    let (_, event) = next(&mut second, &mut other).await?;
    ensure!(event["id"] == two.id.as_str() && event["meshbridgedelivery"] == 3, "{event}");
    ensure!(settle(&node, "billing", "ack", &held).await?["settled"] == 0, "an old token settled something");
    drop((first, second));
    // So does a later life of the bridge, of which nobody knows how much of it was seen.
    federation.kill("internal-1")?;
    let (token, event) = eventually("the event after the crash", WITHIN, || async {
        let (mut again, mut rest) = (open(&federation.bridge("internal-1"), manual).await?, String::new());
        next(&mut again, &mut rest).await
    })
    .await?;
    ensure!(event["id"] == two.id.as_str() && event["meshbridgedelivery"].as_u64() > Some(3), "{event}");
    let node = federation.bridge("internal-1");
    let _ = settle(&node, "billing", "ack", &token).await?;
    let gone = http().delete(format!("{}/v1/subscriptions/billing", node.http)).send().await?;
    ensure!(gone.status() == StatusCode::NO_CONTENT, "{}", gone.status());
    let shown = http().get(format!("{}/v1/subscriptions/billing", node.http)).send().await?;
    ensure!(shown.status() == StatusCode::NOT_FOUND, "{}", shown.status());
    Ok(())
}
