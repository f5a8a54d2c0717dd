//! Streams to subscribers: server-sent events and WebSocket.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use meshbridge_integration::{Draft, Federation, http};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_something_at_once() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let url = format!("{}/v1/stream?filter=orders.**", federation.zone("dmz").http);
    let response = http().get(url).send().await?;
    ensure!(response.status() == 200, "{response:?}");
    let kind = response.headers()["content-type"].to_str()?;
    ensure!(kind.starts_with("text/event-stream"), "{kind}");
    let first = tokio::time::timeout(Duration::from_secs(5), response.bytes_stream().next()).await?;
    let first = first.context("the stream goes on")??;
    ensure!(first.starts_with(b":"), "a comment comes first, not {first:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_has_the_key_its_publisher_was_told() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let subscriber = federation.zone("cloud-us").subscribe(&["orders.eu.*", "payments.**"]).await?;
    federation.knows("cloud-us-1", "orders.eu.*").await?;
    let event = Draft::new(json!({"n": 1}));
    let reply = federation.zone("internal").publisher().publish("orders.eu.created", &event).await?;
    let received = subscriber.wait_for(&event.id).await?;
    ensure!(received.key == reply.key, "{} for {}", received.key, reply.key);
    ensure!(received.topic == "orders.eu.created", "{received:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_brings_the_same_events() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let dmz = federation.zone("dmz");
    let url = format!("{}/v1/ws?filter=orders.**", dmz.http.replace("http://", "ws://"));
    let (mut socket, _) = connect_async(url).await?;
    federation.knows("dmz-1", "orders.**").await?;
    let event = Draft::new(json!({"n": 1}));
    federation.zone("internal").publisher().publish("orders.eu.created", &event).await?;
    let text = loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await?;
        if let Message::Text(text) = message.context("the socket is open")?? {
            break text;
        }
    };
    let received: Value = serde_json::from_str(&text)?;
    ensure!(
        text.contains(&event.id) && text.contains("\"meshbridgetopic\":\"orders.eu.created\""),
        "{received}"
    );
    drop(socket);
    federation.forgets("dmz-1", "orders.**").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_from_another_page_is_refused() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let url = format!("{}/v1/ws?filter=orders.**", federation.zone("dmz").http);
    let response = http()
        .get(url)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", "https://evil.example.com")
        .send()
        .await?;
    ensure!(response.status() == 403, "{response:?}");
    Ok(())
}
