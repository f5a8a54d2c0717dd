//! The limits of the listeners, read back through what they do. `limits/patience.rs` has those of time, `limits/h2.rs` those of h2 and gRPC.

mod h2;
mod patience;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use meshbridge_integration::{Draft, Setup, Single, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Writes something to a fresh connection. A server that refuses early may close before it has all of it.
async fn say(address: &str, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    drop(stream.write_all(bytes).await);
    Ok(stream)
}

/// One answer: its head and the body that its length announces.
async fn answer(stream: &mut TcpStream) -> Result<String> {
    let mut read = Vec::new();
    let whole = async {
        loop {
            let text = String::from_utf8_lossy(&read);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(Ok(0), str::parse)? {
                    return Ok(text.into_owned());
                }
            }
            // One byte at a time: what follows belongs to the next answer.
            let mut next = [0];
            if stream.read(&mut next).await? == 0 {
                bail!("the connection ended after {text:?}");
            }
            read.extend(next);
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, whole).await.context("no answer in time")?
}

async fn ask(address: &str, request: &str) -> Result<String> {
    answer(&mut say(address, request.as_bytes()).await?).await
}

/// Whether the server ends the connection; one that resets it does so too.
async fn ends(stream: &mut TcpStream, within: Duration) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(within, stream.read_to_end(&mut rest)).await.is_ok()
}

#[track_caller]
fn check(answer: &str, status: u16, says: &str) -> Result<()> {
    ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(says), "{answer}");
    Ok(())
}

/// A request for nothing with `count` headers in all.
fn with_headers(count: usize) -> String {
    let rest: String = (1..count).map(|at| format!("x-{at}: y\r\n")).collect();
    format!("GET /nothing HTTP/1.1\r\nhost: localhost\r\n{rest}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_at_most_100_headers_and_64_kib() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    check(&ask(&bridge.http, &with_headers(100)).await?, 404, "not_found")?;
    check(&ask(&bridge.http, &with_headers(101)).await?, 431, "")?;
    let large = |bytes: usize| {
        let filling = "y".repeat(bytes);
        format!("GET /nothing HTTP/1.1\r\nhost: localhost\r\nx-large: {filling}\r\n\r\n")
    };
    check(&ask(&bridge.http, &large(32 << 10)).await?, 404, "not_found")?;
    check(&ask(&bridge.http, &large(64 << 10)).await?, 431, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_configured_limit_is_refused_before_it_is_sent() -> Result<()> {
    let limits = "eventBytes: 2048, batchBytes: 4096";
    let bridge = Single::start(Setup { limits, ..Setup::default() }).await?;
    let head = |content_type: &str, rest: &str| {
        format!(
            "POST /v1/topics/orders.a HTTP/1.1\r\nhost: localhost\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
                 ce-source: /s\r\nce-type: t\r\ncontent-type: {content_type}\r\n{rest}\r\n"
        )
    };
    // Nothing follows these heads: the answer comes all the same.
    let text = "text/plain";
    check(&ask(&bridge.http, &head(text, "content-length: 2049\r\n")).await?, 413, "too_large")?;
    let batch = "application/cloudevents-batch+json";
    check(&ask(&bridge.http, &head(batch, "content-length: 4097\r\n")).await?, 413, "too_large")?;
    // Who does not say how much it is, is stopped where it is too much.
    let chunk = format!("800\r\n{}\r\n", "x".repeat(0x800));
    let chunked = head(text, "transfer-encoding: chunked\r\n");
    check(&ask(&bridge.http, &format!("{chunked}{chunk}1\r\nx\r\n")).await?, 413, "too_large")?;
    let small = format!("{}{}", head(text, "content-length: 1024\r\n"), "x".repeat(1024));
    check(&ask(&bridge.http, &small).await?, 202, "key")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_thousandth_request() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let requests = with_headers(1).repeat(1_001);
    let mut stream = TcpStream::connect(&bridge.http).await?;
    let (mut reader, mut writer) = stream.split();
    let mut answers = String::new();
    let (read, _) = tokio::join!(
        tokio::time::timeout(2 * ANSWER_WITHIN, async {
            let mut buffer = Vec::new();
            // The request that comes too late may turn the end into a reset.
            while reader.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {}
            answers = String::from_utf8_lossy(&buffer).into_owned();
        }),
        writer.write_all(requests.as_bytes())
    );
    read.context("the connection stayed open")?;
    let heads: Vec<&str> = answers.split("HTTP/1.1 404").skip(1).collect();
    ensure!(heads.len() == 1_000, "{} answers", heads.len());
    let closing = |head: &&str| head.contains("connection: close");
    ensure!(heads.iter().position(closing) == Some(999), "first at {:?}", heads.iter().position(closing));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_path_becomes_a_websocket() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let upgrade = |method: &str, path: &str, to: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: {to}\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let filter = "filter=orders.**";
    for path in [format!("/v1/stream?{filter}"), "/v1/topics/orders.a".to_owned(), "/nothing".to_owned()] {
        let method = if path.contains("topics") { "POST" } else { "GET" };
        let answer = ask(&bridge.http, &upgrade(method, &path, "WebSocket")).await?;
        check(&answer, 400, "only /v1/ws speaks WebSocket")?;
    }
    let ws = format!("/v1/ws?{filter}");
    check(&ask(&bridge.http, &upgrade("GET", &ws, "websocket")).await?, 101, "")?;
    check(&ask(&bridge.http, &upgrade("GET", &ws, "h2c")).await?, 426, "WebSocket")?;
    // Who asks for h2c gets its answer, and goes on, in HTTP/1.
    let mut stream = say(&bridge.http, upgrade("GET", "/nothing", "h2c").as_bytes()).await?;
    check(&answer(&mut stream).await?, 404, "not_found")?;
    stream.write_all(with_headers(1).as_bytes()).await?;
    check(&answer(&mut stream).await?, 404, "not_found")?;
    let tunnel = "CONNECT internal.example:443 HTTP/1.1\r\nhost: internal.example:443\r\n\r\n";
    let refused = ask(&bridge.http, tunnel).await?;
    ensure!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_both_lengths_are_given_the_chunks_count() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let event = Draft::new(json!({"n": 1})).structured().to_string();
    // By its length the body would end after 3 bytes, and the rest would be another request.
    let request = format!(
        "POST /v1/topics/orders.a HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n0\r\n\r\n",
        event.len()
    );
    let mut stream = say(&bridge.http, request.as_bytes()).await?;
    check(&answer(&mut stream).await?, 202, "key")?;
    drop(stream.write_all(with_headers(1).as_bytes()).await);
    // The connection ends or goes on, but nothing of the body is answered.
    if let Ok(next) = answer(&mut stream).await {
        check(&next, 404, "not_found")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_message_over_1_mib_ends_the_socket() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let url = format!("ws://{}/v1/ws?filter=orders.**", bridge.http);
    let (mut socket, _) = connect_async(url).await?;
    socket.send(Message::Text("x".repeat(1 << 20).into())).await?;
    socket.send(Message::Ping(Vec::new().into())).await?;
    let pong = tokio::time::timeout(ANSWER_WITHIN, socket.next()).await?.context("it ended")??;
    ensure!(matches!(pong, Message::Pong(_)), "a message of 1 MiB is too large: {pong:?}");
    drop(socket.send(Message::Text("x".repeat((1 << 20) + 1).into())).await);
    let end = async {
        loop {
            match socket.next().await {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, end).await.context("a message over 1 MiB was taken")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_and_a_websocket_is_one() -> Result<()> {
    let bridge = Single::start(Setup { limits: "connections: 2", ..Setup::default() }).await?;
    let url = format!("ws://{}/v1/ws?filter=orders.**", bridge.http);
    let (socket, _) = connect_async(url).await?;
    let mut second = TcpStream::connect(&bridge.http).await?;
    second.write_all(with_headers(1).as_bytes()).await?;
    check(&answer(&mut second).await?, 404, "not_found")?;
    let mut third = TcpStream::connect(&bridge.http).await?;
    ensure!(ends(&mut third, ANSWER_WITHIN / 4).await, "a third connection is held");
    drop(socket);
    eventually("the place of the socket is free", ANSWER_WITHIN, || async {
        check(&ask(&bridge.http, &with_headers(1)).await?, 404, "not_found")
    })
    .await
}
