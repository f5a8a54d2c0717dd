//! Subscriptions pushed to a receiver of ours on the loopback, which the configuration allows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Setup, Single, eventually, http};
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

const WITHIN: Duration = Duration::from_secs(20);

/// Heads of the requests that came, and how many deliveries are still refused.
#[derive(Debug, Default)]
struct Receiver {
    heads: Vec<String>,
    refuse: usize,
}

async fn receiver(state: Arc<Mutex<Receiver>>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://127.0.0.1:{}/in", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&state)));
        }
    });
    Ok(url)
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<Receiver>>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(stream.read_buf(&mut bytes).await? > 0, "closed");
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        while bytes.len() < end + length.unwrap_or(0) {
            ensure!(stream.read_buf(&mut bytes).await? > 0, "closed");
        }
        bytes.drain(..end + length.unwrap_or(0));
        let mut state = state.lock().await;
        let consent = head.starts_with("options");
        let answer = if !consent && state.refuse > 0 {
            state.refuse -= 1;
            "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nwebhook-allowed-origin: *\r\ncontent-length: 0\r\n\r\n"
        };
        state.heads.push(head);
        drop(state);
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn make(bridge: &Single, url: &str) -> Result<StatusCode> {
    let body = json!({"name": "push", "filters": ["orders.**"], "push": {"url": url}}).to_string();
    Ok(http().post(format!("http://{}/v1/subscriptions", bridge.http)).body(body).send().await?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_pushed_to_a_receiver_that_consented_again_until_it_takes_them() -> Result<()> {
    let state = Arc::new(Mutex::new(Receiver { refuse: 1, ..Receiver::default() }));
    let url = receiver(Arc::clone(&state)).await?;
    let webhooks = "allow: [127.0.0.0/8], httpHosts: [127.0.0.1]";
    let bridge = Single::start(Setup { webhooks, ..Setup::default() }).await?;
    ensure!(make(&bridge, &url).await? == StatusCode::CREATED, "not made");
    ensure!(state.lock().await.heads[0].starts_with("options"), "nobody was asked");
    let event = Draft::new(json!({"n": 1}));
    let post = http().post(format!("http://{}/v1/topics/orders.a", bridge.http));
    let post = post.header("content-type", "application/cloudevents+json");
    ensure!(
        post.body(event.structured().to_string()).send().await?.status() == StatusCode::ACCEPTED,
        "refused"
    );
    eventually("the second attempt", WITHIN, || async {
        let state = state.lock().await;
        let posts: Vec<&String> = state.heads.iter().filter(|head| head.starts_with("post")).collect();
        ensure!(posts.len() == 2, "{posts:?}");
        let id = format!("ce-id: {}", event.id.to_lowercase());
        ensure!(posts.iter().all(|head| head.contains(&id)), "{posts:?}");
        ensure!(posts[1].contains("meshbridge-delivery-count: 2"), "{posts:?}");
        Ok(())
    })
    .await
    .context("the webhook")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_private_address_that_nobody_allowed() -> Result<()> {
    let state = Arc::new(Mutex::new(Receiver::default()));
    let url = receiver(Arc::clone(&state)).await?;
    let bridge = Single::start(Setup::default()).await?;
    for url in [url.as_str(), &url.replace("http://", "https://"), "https://169.254.169.254/latest"] {
        let status = make(&bridge, url).await?;
        ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "{url}: {status}");
    }
    ensure!(state.lock().await.heads.is_empty(), "something was sent");
    Ok(())
}
