//! A subscriber of the ledger: it enters what it is offered and what it has acknowledged, and comes back after a disconnect where its subscription is durable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use meshbridge_ledger::{Delivery, Place, Topics};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::sse::{Decoder, Message};
use crate::{Node, SharedLedger, http};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// A stream says something every few seconds; one that does not is as good as closed.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Events acknowledged by one request: one request for each would be slower than they come.
const TOGETHER_MAX: usize = 256;
/// Read and not acknowledged.
const QUEUED_MAX: usize = 1_024;

/// How a subscriber reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No name, no acknowledgement; the end of the stream is a failure.
    Live,
    /// A durable subscription; what came before the last id is acknowledged by coming back with it.
    LastEventId,
    /// A durable subscription; every offer is acknowledged by its token.
    Manual,
}

/// How a subscriber fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Streams opened.
    pub connections: u64,
    /// Acknowledgements the bridge took.
    pub acknowledged: u64,
    /// Acknowledgements without a positive answer.
    pub unanswered: u64,
    /// Why the stream is not read now.
    pub problem: Option<String>,
}

/// A subscriber at work.
#[derive(Debug)]
pub struct Consumer {
    place: Place,
    ledger: SharedLedger,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    connections: AtomicU64,
    acknowledged: AtomicU64,
    unanswered: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl State {
    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().expect("not poisoned") = problem;
    }
}

/// What the reading task needs.
struct Reader {
    base: String,
    name: String,
    filter: String,
    reading: Reading,
    place: Place,
    ledger: SharedLedger,
    state: Arc<State>,
    /// The last `id:` that came.
    last_id: Option<String>,
    /// Events since the last reconnect, which coming back with their id acknowledges.
    unsettled: Vec<String>,
}

/// The token of an offer, or else its key, and the event's id.
type Offered = (String, String);

/// Acknowledges by token, beside the reading.
struct Acknowledger {
    url: String,
    place: Place,
    ledger: SharedLedger,
    state: Arc<State>,
}

impl Consumer {
    /// Subscribes at this bridge; returns once it has taken the subscription. `topics` says what of the published topics the filter matches.
    pub async fn start(
        node: &Node,
        name: &str,
        filter: &str,
        topics: &Topics,
        reading: Reading,
        ledger: &SharedLedger,
    ) -> Result<Consumer> {
        let state = Arc::new(State::default());
        let query = query(filter, name, reading);
        let response = open(&node.http, &query, None).await?;
        let place = ledger.with(|ledger| ledger.subscribed(&node.bridge, name, topics));
        let mut reader = Reader {
            base: node.http.clone(),
            name: name.to_owned(),
            filter: filter.to_owned(),
            reading,
            place,
            ledger: ledger.clone(),
            state: Arc::clone(&state),
            last_id: None,
            unsettled: Vec::new(),
        };
        let task = tokio::spawn(async move { reader.run(response).await });
        Ok(Consumer { place, ledger: ledger.clone(), state, task })
    }

    /// Its interest is known everywhere: from now on every event must name its destination.
    pub fn established(&self) {
        self.ledger.with(|ledger| ledger.established(self.place));
    }

    /// Where its offers are entered.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How it fares.
    pub fn read(&self) -> Read {
        let State { connections, acknowledged, unanswered, problem } = &*self.state;
        Read {
            connections: connections.load(Ordering::Relaxed),
            acknowledged: acknowledged.load(Ordering::Relaxed),
            unanswered: unanswered.load(Ordering::Relaxed),
            problem: problem.lock().expect("not poisoned").clone(),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    async fn run(&mut self, mut response: reqwest::Response) {
        loop {
            self.state.connections.fetch_add(1, Ordering::Relaxed);
            self.state.set_problem(None);
            let end = self.read(response).await.err();
            let end = end.map_or_else(|| "the stream ended".to_owned(), |error| format!("{error:#}"));
            self.state.set_problem(Some(end));
            if self.reading == Reading::Live {
                return;
            }
            response = self.reopen().await;
        }
    }

    /// Tries until the bridge is back.
    async fn reopen(&mut self) -> reqwest::Response {
        let query = query(&self.filter, &self.name, self.reading);
        let mut backoff = BACKOFF_MIN;
        loop {
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            let last_id = self.last_id.as_deref().filter(|_| self.reading == Reading::LastEventId);
            match open(&self.base, &query, last_id).await {
                Ok(response) => {
                    let settled = std::mem::take(&mut self.unsettled);
                    if last_id.is_some() {
                        let place = self.place;
                        self.ledger
                            .with(|ledger| settled.iter().for_each(|id| ledger.acknowledged(place, id)));
                    }
                    return response;
                }
                Err(error) => self.state.set_problem(Some(format!("not opened again: {error:#}"))),
            }
        }
    }

    async fn read(&mut self, response: reqwest::Response) -> Result<()> {
        let (taken, queue) = mpsc::channel(QUEUED_MAX);
        let acknowledging = self.acknowledger().run(queue);
        // What was read from a stream that ended is acknowledged all the same.
        let (end, ()) = tokio::join!(self.read_stream(response, taken), acknowledging);
        end
    }

    async fn read_stream(&mut self, response: reqwest::Response, taken: mpsc::Sender<Offered>) -> Result<()> {
        let mut chunks = response.bytes_stream();
        let mut decoder = Decoder::default();
        loop {
            let chunk = tokio::time::timeout(SILENCE_MAX, chunks.next()).await.context("silence")?;
            let Some(chunk) = chunk else { return Ok(()) };
            for message in decoder.push(&chunk?)? {
                ensure!(message.event.is_none(), "{message:?}");
                if message.data.is_some() {
                    let offered = self.take(message)?;
                    if self.reading == Reading::Manual {
                        taken.send(offered).await?;
                    }
                }
            }
        }
    }

    fn acknowledger(&self) -> Acknowledger {
        Acknowledger {
            url: format!("{}/v1/subscriptions/{}/ack", self.base, self.name),
            place: self.place,
            ledger: self.ledger.clone(),
            state: Arc::clone(&self.state),
        }
    }

    /// Enters one offer; its token, or else its key, and the event's id.
    fn take(&mut self, message: Message) -> Result<Offered> {
        let sse_id = message.id.context("every event has an `id:`")?;
        let event: Value = serde_json::from_str(message.data.as_deref().unwrap_or_default())?;
        let id = event["id"].as_str().context("every event has an id")?.to_owned();
        let key = match self.reading {
            Reading::Manual => event["meshbridgekey"].as_str().context("every offer says its key")?,
            Reading::Live | Reading::LastEventId => sse_id.as_str(),
        };
        let count = match &event["meshbridgedelivery"] {
            Value::Null => 1,
            count => count.as_u64().and_then(|count| u32::try_from(count).ok()).context("a count")?,
        };
        let at = self.ledger.now();
        let delivery = Delivery { key, id: &id, count, is_out_of_order: false, at };
        self.ledger.with(|ledger| ledger.delivered(self.place, delivery));
        self.last_id = Some(sse_id.clone());
        if self.reading == Reading::LastEventId {
            self.unsettled.push(id.clone());
        }
        Ok((sse_id, id))
    }
}

impl Acknowledger {
    async fn run(self, mut queue: mpsc::Receiver<Offered>) {
        let mut taken = Vec::new();
        while queue.recv_many(&mut taken, TOGETHER_MAX).await > 0 {
            self.acknowledge(&taken).await;
            taken.clear();
        }
    }

    async fn acknowledge(&self, taken: &[Offered]) {
        let tokens: Vec<&str> = taken.iter().map(|(token, _)| token.as_str()).collect();
        let sent =
            http().post(&self.url).timeout(OPEN_WITHIN).json(&json!({ "tokens": tokens })).send().await;
        let count = taken.len() as u64;
        let Some(stale) = answered(sent).await else {
            // It may have become durable all the same; then nothing comes again, which is as well.
            self.state.unanswered.fetch_add(count, Ordering::Relaxed);
            return;
        };
        // A token of the process before is no acknowledgement: its event comes again, and may.
        let settled = || taken.iter().filter(|(token, _)| !stale.contains(token));
        let place = self.place;
        self.ledger.with(|ledger| settled().for_each(|(_, id)| ledger.acknowledged(place, id)));
        self.state.acknowledged.fetch_add(settled().count() as u64, Ordering::Relaxed);
    }
}

/// The tokens that settled nothing; `None` where the bridge did not say.
async fn answered(sent: reqwest::Result<reqwest::Response>) -> Option<Vec<String>> {
    let answer = sent.ok()?.error_for_status().ok()?;
    let answer: Value = answer.json().await.ok()?;
    let stale = answer["stale"].as_array()?.iter();
    Some(stale.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn query(filter: &str, name: &str, reading: Reading) -> String {
    match reading {
        Reading::Live => format!("filter={filter}"),
        Reading::LastEventId => format!("filter={filter}&subscription={name}"),
        Reading::Manual => format!("filter={filter}&subscription={name}&ack=manual"),
    }
}

async fn open(base: &str, query: &str, last_id: Option<&str>) -> Result<reqwest::Response> {
    let mut request = http().get(format!("{base}/v1/stream?{query}"));
    if let Some(last_id) = last_id {
        request = request.header("last-event-id", last_id);
    }
    let response = tokio::time::timeout(OPEN_WITHIN, request.send()).await.context("no answer")??;
    let status = response.status();
    ensure!(status.is_success(), "status {status}: {}", response.text().await.unwrap_or_default());
    Ok(response)
}

#[cfg(test)]
mod tests;
