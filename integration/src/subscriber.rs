//! Subscribing over server-sent events.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::sse::{Decoder, Message};
use crate::{eventually, http};

/// One delivery.
#[derive(Clone, Debug)]
pub struct Received {
    /// The event key, from the `id:` line.
    pub key: String,
    /// The topic, from the extension `meshbridgetopic`.
    pub topic: String,
    /// The event in the JSON format.
    pub event: Value,
    /// When it came.
    pub at: Instant,
}

impl Received {
    /// The CloudEvents id.
    pub fn id(&self) -> &str {
        self.event["id"].as_str().unwrap_or_default()
    }
}

/// An open stream and everything that came over it.
#[derive(Debug)]
pub struct Subscriber {
    zone: String,
    received: Arc<Mutex<Vec<Received>>>,
    problem: Arc<Mutex<Option<String>>>,
    reader: JoinHandle<()>,
}

impl Subscriber {
    pub(crate) async fn open(zone: &str, base: &str, filters: &[&str]) -> Result<Subscriber> {
        let query: Vec<String> = filters.iter().map(|filter| format!("filter={filter}")).collect();
        Subscriber::of(zone, base, &query.join("&")).await
    }

    /// The same with whatever the query asks for.
    pub(crate) async fn of(zone: &str, base: &str, query: &str) -> Result<Subscriber> {
        let response = http().get(format!("{base}/v1/stream?{query}")).send().await?;
        ensure!(response.status().is_success(), "status {} for {query}", response.status());
        let received = Arc::new(Mutex::new(Vec::new()));
        let problem = Arc::new(Mutex::new(None));
        let (into, complain) = (Arc::clone(&received), Arc::clone(&problem));
        let reader = tokio::spawn(async move {
            if let Err(error) = read(response, &into).await {
                *complain.lock().expect("not poisoned") = Some(format!("{error:#}"));
            }
        });
        Ok(Subscriber { zone: zone.to_owned(), received, problem, reader })
    }

    /// The zone it is in.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Everything so far, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    /// Whether the stream has ended, by itself or with an error.
    pub fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits for the event with this CloudEvents id.
    pub async fn wait_for(&self, id: &str) -> Result<Received> {
        self.wait_for_within(id, Duration::from_secs(15)).await
    }

    /// Like [`Subscriber::wait_for`], with a deadline of one's own.
    pub async fn wait_for_within(&self, id: &str, within: Duration) -> Result<Received> {
        eventually(&format!("zone {} receives {id}", self.zone), within, || async {
            let received = self.received();
            received.iter().find(|one| one.id() == id).cloned().with_context(|| {
                let problem = self.problem.lock().expect("not poisoned").clone();
                format!("{} events so far, none with this id; stream problem: {problem:?}", received.len())
            })
        })
        .await
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(response: reqwest::Response, received: &Mutex<Vec<Received>>) -> Result<()> {
    let mut chunks = response.bytes_stream();
    let mut decoder = Decoder::default();
    while let Some(chunk) = chunks.next().await {
        for message in decoder.push(&chunk?)? {
            if let Some(one) = parse(message)? {
                received.lock().expect("not poisoned").push(one);
            }
        }
    }
    Ok(())
}

/// One message of the stream; `None` for a comment.
fn parse(message: Message) -> Result<Option<Received>> {
    let Some(data) = message.data else { return Ok(None) };
    let event: Value = serde_json::from_str(&data).context("the data of a message is one event in JSON")?;
    let key = message.id.context("every message has the event key as id")?;
    let topic = event["meshbridgetopic"].as_str().context("every event says its topic")?.to_owned();
    Ok(Some(Received { key, topic, event, at: Instant::now() }))
}
