//! The subscriber and the publisher of the ledger against a bridge of straw, which does just what a durable one is to do, and breaks off where a test wants it.

use std::net::SocketAddr;
use std::path::PathBuf;

use meshbridge_ledger::{Demands, Totals, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{Pace, Producer, eventually};

/// Head and body of each request that came, in order.
type Requests = Arc<Mutex<Vec<String>>>;

/// Answers the n-th request with the n-th text and closes the connection; stays silent when there is none left.
async fn straw(answers: Vec<String>) -> Result<(Node, Requests)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let node = node(listener.local_addr()?);
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answers.next();
            drop(serve(stream, answer, &seen).await);
        }
    });
    Ok((node, requests))
}

async fn serve(mut stream: TcpStream, answer: Option<String>, seen: &Requests) -> Result<()> {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let length = stream.read(&mut chunk).await?;
        request.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let expected = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length == 0 || body.len() >= expected.map_or(Ok(0), str::parse)? {
            break;
        }
    }
    seen.lock().expect("not poisoned").push(String::from_utf8_lossy(&request).into_owned());
    match answer {
        Some(answer) => stream.write_all(answer.as_bytes()).await?,
        None => std::future::pending().await,
    }
    Ok(())
}

fn node(address: SocketAddr) -> Node {
    let http = format!("http://{address}");
    Node {
        bridge: "east-1".to_owned(),
        zone: "east".to_owned(),
        grpc: String::new(),
        nats: String::new(),
        admin: String::new(),
        peer: String::new(),
        pid: 0,
        config: PathBuf::new(),
        http,
    }
}

fn key(seq: u32) -> String {
    format!("west-1:1-00000000000000aa:3:{seq}")
}

/// A stream with these offers, (sequence, delivery count, token), that ends.
fn stream(offers: &[(u32, u32, Option<&str>)]) -> String {
    let mut text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n".to_owned();
    for (seq, count, token) in offers {
        let mut event = json!({"id": format!("e{seq}"), "meshbridgetopic": "orders"});
        if *count > 1 {
            event["meshbridgedelivery"] = json!(count);
        }
        if token.is_some() {
            event["meshbridgekey"] = json!(key(*seq));
        }
        let id = token.map_or_else(|| key(*seq), str::to_owned);
        text.push_str(&format!("id: {id}\ndata: {event}\n\n"));
    }
    text
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn subscribe(answers: Vec<String>, reading: Reading) -> Result<(SharedLedger, Consumer, Requests)> {
    let (node, requests) = straw(answers).await?;
    let ledger = SharedLedger::default();
    let consumer = Consumer::start(&node, "mine", "orders.**", &Topics::All, reading, &ledger).await?;
    ledger.with(|ledger| {
        for seq in 1..=3 {
            ledger.submitted(&format!("e{seq}"), "orders");
            ledger.accepted(&key(seq), &format!("e{seq}"), ["east-1"], []);
        }
    });
    Ok((ledger, consumer, requests))
}

async fn seen(requests: &Requests, count: usize) -> Result<Vec<String>> {
    eventually("the requests come", Duration::from_secs(5), || async {
        let seen = requests.lock().expect("not poisoned").clone();
        ensure!(seen.len() >= count, "{seen:?}");
        Ok(seen)
    })
    .await
}

async fn offered(ledger: &SharedLedger, count: u64) -> Result<Totals> {
    eventually("the offers are entered", Duration::from_secs(5), || async {
        let totals = ledger.with(|ledger| ledger.totals());
        ensure!(totals.offered >= count, "{totals:?}");
        Ok(totals)
    })
    .await
}

#[tokio::test]
async fn a_reader_comes_back_with_the_last_id_and_what_was_before_it_must_not_come_again() -> Result<()> {
    let first = stream(&[(1, 1, None), (2, 1, None)]);
    let (ledger, _consumer, requests) =
        subscribe(vec![first, stream(&[(2, 2, None), (3, 1, None)])], Reading::LastEventId).await?;
    let totals = offered(&ledger, 4).await?;
    let seen = seen(&requests, 2).await?;
    ensure!(seen[0].starts_with("GET /v1/stream?filter=orders.**&subscription=mine HTTP"), "{}", seen[0]);
    ensure!(!seen[0].contains("last-event-id"), "{}", seen[0]);
    ensure!(seen[1].contains(&format!("last-event-id: {}", key(2))), "{}", seen[1]);
    ensure!(totals.acknowledged == 2 && totals.retried == 1, "{totals:?}");
    let report = ledger.with(|ledger| ledger.judge(&Demands::default()));
    ensure!(report.findings.keys().eq([&Verdict::Repeated]), "{report}");
    ensure!(report.count(Verdict::Repeated) == 1, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_manual_reader_acknowledges_by_token_and_what_was_not_taken_may_come_again() -> Result<()> {
    let answers = vec![
        stream(&[(1, 1, Some("t1")), (2, 1, Some("t2"))]),
        answer("503 Service Unavailable", ""),
        stream(&[(1, 2, Some("t3")), (2, 2, Some("t4")), (3, 1, Some("t5"))]),
        // Its process is not the one that gave the second token.
        answer("200 OK", r#"{"settled":2,"stale":["t4"]}"#),
        stream(&[(2, 3, Some("t6"))]),
        answer("200 OK", r#"{"settled":1,"stale":[]}"#),
    ];
    let (ledger, consumer, requests) = subscribe(answers, Reading::Manual).await?;
    let seen = seen(&requests, 6).await?;
    ensure!(seen[0].contains("&subscription=mine&ack=manual "), "{}", seen[0]);
    ensure!(seen[1].starts_with("POST /v1/subscriptions/mine/ack HTTP"), "{}", seen[1]);
    ensure!(seen[1].ends_with(r#"{"tokens":["t1","t2"]}"#), "{}", seen[1]);
    ensure!(!seen[2].contains("last-event-id"), "{}", seen[2]);
    ensure!(seen[3].ends_with(r#"{"tokens":["t3","t4","t5"]}"#), "{}", seen[3]);
    let demands = Demands { events: 3, deliveries: 6, ..Demands::default() };
    let totals = ledger.settle(Duration::from_secs(5), &demands).await?;
    ensure!(totals.acknowledged == 3 && totals.retried == 3, "{totals:?}");
    let read = consumer.read();
    ensure!(read.acknowledged == 3 && read.unanswered == 2, "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_live_reader_stays_away() -> Result<()> {
    let answers = vec![stream(&[(1, 1, None)]), stream(&[(2, 1, None)])];
    let (ledger, consumer, _) = subscribe(answers, Reading::Live).await?;
    offered(&ledger, 1).await?;
    eventually("the reader stops", Duration::from_secs(5), || async {
        ensure!(consumer.read().problem.is_some(), "it reads");
        Ok(())
    })
    .await?;
    ensure!(
        consumer.read().connections == 1 && ledger.with(|ledger| ledger.outstanding()) == 2,
        "it came back"
    );
    Ok(())
}

#[tokio::test]
async fn a_publisher_repeats_one_id_until_it_is_taken() -> Result<()> {
    let taken = |seq: u32, more: &str| {
        let body = format!(r#"{{"key":"{}","destinations":["east-1"],"denied":[]{more}}}"#, key(seq));
        answer("202 Accepted", &body)
    };
    let answers = vec![
        String::new(),
        answer("503 Service Unavailable", "starting"),
        "HTTP/1.1 202 Accepted\r\ncontent-length: 99\r\n\r\n{".to_owned(),
        taken(1, r#","duplicate":true"#),
    ];
    let (node, requests) = straw(answers).await?;
    let ledger = SharedLedger::default();
    let pace = Pace { topic: "orders".to_owned(), every: Duration::from_secs(60), bytes: 16 };
    let producer = Producer::start(&node, "west", pace, &ledger);
    let seen = seen(&requests, 4).await?;
    for request in &seen {
        ensure!(request.starts_with("POST /v1/topics/orders HTTP"), "{request}");
        ensure!(request.contains(r#""id":"west-0""#) && request.contains("/tests/west"), "{request}");
    }
    eventually("it is accepted", Duration::from_secs(5), || async {
        let totals = ledger.with(|ledger| ledger.totals());
        ensure!((totals.submitted, totals.accepted) == (1, 1), "{totals:?}");
        Ok(())
    })
    .await?;
    drop(producer);
    Ok(())
}
