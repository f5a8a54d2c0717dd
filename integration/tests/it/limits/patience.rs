//! Nobody is waited for longer than the limits say. All in one test, so that the waiting is done once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Prepared, SERVER_TLS, Setup};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{answer, check, h2, say, with_headers};

/// What a busy machine may add to a time.
const LATE: Duration = Duration::from_secs(2);
/// Between the bytes of those that send slowly.
const TRICKLE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_waited_for_longer_than_the_limits_say() -> Result<()> {
    let open = Prepared::new()?.start(Setup::default()).await?;
    let prepared = Prepared::new()?;
    let tokens = json!({"tokens": [{"token": "a-token-nobody-shows", "principal": "nobody"}]});
    std::fs::write(prepared.path().join("tokens.yaml"), tokens.to_string())?;
    let tls = format!("{SERVER_TLS}, tokens: tokens.yaml");
    let closed = prepared.start(Setup { http: &tls, grpc: &tls, ..Setup::default() }).await?;

    let secs = Duration::from_secs;
    let hello = [0x16, 3, 1, 2, 0, 1];
    let half = b"GET /nothing HTTP/1.1\r\nhost: loc";
    tokio::try_join!(
        ends_after(secs(5), "a client that says nothing", say(&open.http, b"")),
        ends_after(secs(5), "a gRPC client that says nothing", say(&open.grpc, b"")),
        ends_after(secs(5), "half a preface of h2", say(&open.grpc, b"PRI * HTTP/2.0\r\n")),
        ends_after(secs(5), "half a head", say(&open.http, half)),
        trickling_head(&open.http),
        second_head(&open.http),
        idle_client(&open.http),
        ends_after(secs(5), "a handshake that does not begin", say(&closed.http, b"")),
        ends_after(secs(5), "a handshake that does not go on", say(&closed.grpc, &hello)),
        slow_body(&open.http, 1, secs(5)),
        // Eight times the rate that is asked for, and too little for its length.
        slow_body(&open.http, 2 << 10, secs(30)),
        steady_body(&open.http),
        h2::endless_call(&open.grpc, secs(30), LATE),
    )?;
    Ok(())
}

/// The server ends the connection after this time; not before, and not much later.
async fn ends_after(
    time: Duration,
    who: &str,
    stream: impl Future<Output = Result<TcpStream>>,
) -> Result<()> {
    let mut stream = stream.await?;
    let from = Instant::now();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(time + LATE, stream.read_to_end(&mut rest)).await;
    let took = from.elapsed();
    drop(end.with_context(|| format!("{who} is still waited for after {took:?}"))?);
    in_time(who, took, time)
}

fn in_time(who: &str, took: Duration, time: Duration) -> Result<()> {
    // The server's clock began a little before ours.
    let early = took + Duration::from_millis(500) < time;
    ensure!(!early && took < time + LATE, "{who} was waited for {took:?}, not {time:?}");
    Ok(())
}

/// Bytes that come do not put the end off.
async fn trickling_head(address: &str) -> Result<()> {
    let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let from = Instant::now();
    let mut rest = Vec::new();
    tokio::select! {
        _ = reader.read_to_end(&mut rest) => {}
        () = async {
            // The head of a request, for ever; the first failure is the end of the connection.
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(TRICKLE).await;
            }
        } => {}
    }
    in_time("a head that trickles", from.elapsed(), Duration::from_secs(5))
}

/// The time of a head begins anew with each request, at its first byte.
async fn second_head(address: &str) -> Result<()> {
    let mut stream = say(address, with_headers(1).as_bytes()).await?;
    check(&answer(&mut stream).await?, 404, "not_found")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stream.write_all(b"GET /no").await?;
    ends_after(Duration::from_secs(5), "a second head", async { Ok(stream) }).await
}

/// Between requests a client may take longer than for a head.
async fn idle_client(address: &str) -> Result<()> {
    let mut stream = say(address, with_headers(1).as_bytes()).await?;
    check(&answer(&mut stream).await?, 404, "not_found")?;
    tokio::time::sleep(Duration::from_secs(9)).await;
    stream.write_all(with_headers(1).as_bytes()).await?;
    check(&answer(&mut stream).await.context("after a pause of 9 s")?, 404, "not_found")
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/topics/orders.slow HTTP/1.1\r\nhost: localhost\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
         ce-source: /s\r\nce-type: t\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// A body that comes in parts of so many bytes ends the request after this time.
async fn slow_body(address: &str, part: usize, time: Duration) -> Result<()> {
    let (mut reader, mut writer) = say(address, head(1 << 20).as_bytes()).await?.into_split();
    let from = Instant::now();
    let sending = async {
        while writer.write_all(&vec![b'x'; part]).await.is_ok() {
            tokio::time::sleep(TRICKLE).await;
        }
        // The answer decides; the rest of it may be on its way still.
        std::future::pending::<()>().await;
    };
    let answering = async {
        let mut answer = Vec::new();
        while !answer.ends_with(b"}}") && reader.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::select! {
        () = sending => unreachable!("it goes on for ever"),
        answer = tokio::time::timeout(time + LATE, answering) => answer.context("it is waited for still")?,
    };
    check(&answer, 408, "too_slow")?;
    in_time(&format!("a body in parts of {part}"), from.elapsed(), time)
}

/// Slow, and faster than the limit: taken, although it takes longer than the seconds without a demand.
async fn steady_body(address: &str) -> Result<()> {
    let parts = 32;
    let part = vec![b'x'; 512];
    let mut stream = say(address, head(parts * part.len()).as_bytes()).await?;
    for _ in 0..parts {
        stream.write_all(&part).await?;
        tokio::time::sleep(TRICKLE).await;
    }
    check(&answer(&mut stream).await?, 202, "key")
}
