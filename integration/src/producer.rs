//! A publisher that never gives an event up: the same (source, id) again and again until the bridge says yes, as RELIABILITY P4 allows it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;

use crate::publisher::{self, Denied};
use crate::{Draft, Node, Publisher, SharedLedger};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An event that nobody takes for this long means that the bridge does not come back.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// How long every second event may wait.
const LIFE: Duration = Duration::from_secs(3_600);
/// What each event carries, if nothing else is asked for (RELIABILITY §7).
pub const PAYLOAD_BYTES: usize = 1_024;

/// What to publish, and how fast.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The topic of every event.
    pub topic: String,
    /// Between an answer and the next event.
    pub every: Duration,
    /// What each event carries.
    pub bytes: usize,
}

/// How a publisher fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Events the bridge took.
    pub events: u64,
    /// Attempts that brought no answer, or were put off.
    pub retries: u64,
    /// Answers that said the event was there already.
    pub duplicates: u64,
}

/// A publisher at work.
#[derive(Debug)]
pub struct Producer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Published>>,
}

#[derive(Deserialize)]
struct Taken {
    key: String,
    destinations: Vec<String>,
    #[serde(default)]
    denied: Vec<Denied>,
    #[serde(default)]
    duplicate: bool,
}

impl Producer {
    /// Publishes at this bridge until it is stopped. The name is in the ids and the source, so it must be unique in its ledger.
    pub fn start(node: &Node, name: &str, pace: Pace, ledger: &SharedLedger) -> Producer {
        let stop = Arc::new(AtomicBool::new(false));
        let publisher = Publisher::over(publisher::keeping_connections(), &node.http);
        let (name, ledger, stopped) = (name.to_owned(), ledger.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut published = Published::default();
            while !stopped.load(Ordering::Relaxed) {
                let id = format!("{name}-{}", published.events);
                one(&publisher, &name, &id, &pace, &ledger, &mut published).await?;
                tokio::time::sleep(pace.every).await;
            }
            Ok(published)
        });
        Producer { stop, task }
    }

    /// Publishes no further event, sees the last one through, and says how it went.
    pub async fn stop(mut self) -> Result<Published> {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.task).await?
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn one(
    publisher: &Publisher,
    name: &str,
    id: &str,
    pace: &Pace,
    ledger: &SharedLedger,
    published: &mut Published,
) -> Result<()> {
    let topic = &pace.topic;
    let mut event = Draft::new(json!({"payload": "x".repeat(pace.bytes)}));
    id.clone_into(&mut event.id);
    event.source = format!("/tests/{name}");
    // Some have a life, whose end no test may see.
    if published.events % 2 == 1 {
        let end = OffsetDateTime::now_utc() + LIFE;
        event.attributes.push(("expirytime".to_owned(), end.format(&Rfc3339)?));
    }
    let body = event.structured().to_string().into_bytes();
    let path = format!("/v1/topics/{topic}");
    ledger.with(|ledger| ledger.submitted(id, topic));
    let deadline = Instant::now() + TAKEN_WITHIN;
    let mut backoff = BACKOFF_MIN;
    loop {
        let attempt = publisher.post(&path, &[publisher::STRUCTURED], body.clone());
        let why = match tokio::time::timeout(ANSWER_WITHIN, attempt).await {
            Ok(Ok(answer)) => match answer.status {
                200..=299 => {
                    let taken: Taken =
                        serde_json::from_str(&answer.text).with_context(|| answer.text.clone())?;
                    let destinations = taken.destinations.iter().map(String::as_str);
                    let denied = taken.denied.iter().map(|denied| denied.destination.as_str());
                    ledger.with(|ledger| ledger.accepted(&taken.key, id, destinations, denied));
                    published.events += 1;
                    published.duplicates += u64::from(taken.duplicate);
                    return Ok(());
                }
                // Full, or starting or stopping.
                429 | 500..=599 => format!("status {}: {}", answer.status, answer.text),
                status => bail!("{id} is refused with {status}: {}", answer.text),
            },
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {ANSWER_WITHIN:?}"),
        };
        if Instant::now() >= deadline {
            bail!("{id} was not taken within {TAKEN_WITHIN:?}: {why}");
        }
        published.retries += 1;
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
