//! Publishers that never give an event up: HTTP and gRPC, at every level of acknowledgement, the same id until the bridge says yes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use meshbridge_integration::grpc::io::cloudevents::v1::{CloudEvent, cloud_event::Data};
use meshbridge_integration::grpc::meshbridge::v1::PublishRequest;
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::judge::Place;
use meshbridge_integration::{Node, SharedLedger, http};
use serde::Deserialize;
use serde_json::json;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// How long an answer may wait for `replicated` or `delivered`.
const PATIENCE_SECONDS: u32 = 3;
/// Longer than any fault of a storm lasts.
const TAKEN_WITHIN: Duration = Duration::from_secs(90);

/// How one publisher works.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) name: String,
    pub(super) topics: Vec<String>,
    pub(super) level: &'static str,
    pub(super) grpc: bool,
    /// Every event is a lane of its own choice, instead of one after the other.
    pub(super) scattered: bool,
    pub(super) every: Duration,
    pub(super) bytes: usize,
}

/// Figures of all publishers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) events: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) duplicates: AtomicU64,
    /// Answers that said `replicated` or `delivered`, as was asked.
    pub(super) reached: AtomicU64,
}

/// A subscription whose client alone can say that an event is dealt with: it must have had what is called delivered.
#[derive(Clone, Debug)]
pub(super) struct Firm {
    pub(super) place: Place,
    pub(super) bridge: String,
    /// `None` wants all of them.
    pub(super) topics: Option<Vec<String>>,
}

/// What all publishers share.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) counts: Counts,
    pub(super) firm: Vec<Firm>,
    pub(super) stop: AtomicBool,
}

/// Where accepted ids go: the ledger of everyone, or the list of a group.
#[derive(Clone, Debug)]
pub(super) enum Books {
    Ledger(SharedLedger),
    Group(Arc<Mutex<BTreeSet<String>>>),
}

#[derive(Debug)]
struct Taken {
    key: String,
    destinations: Vec<String>,
    duplicate: bool,
    level: Option<String>,
    missing: Vec<String>,
    outcomes: usize,
}

enum Attempt {
    Taken(Taken),
    Again(String),
    Refused(String),
}

#[derive(Deserialize)]
struct HttpReply {
    key: String,
    destinations: Vec<String>,
    #[serde(default)]
    duplicate: bool,
    ack: Option<HttpAck>,
}

#[derive(Deserialize)]
struct HttpAck {
    level: String,
    missing: Vec<String>,
    outcomes: Vec<serde_json::Value>,
}

/// Publishes until `stop`, sees the last event through.
pub(super) async fn publish(node: Node, manner: Manner, books: Books, office: Arc<Office>) -> Result<()> {
    let counts = &office.counts;
    let endpoint = Endpoint::from_shared(node.grpc.clone())?.connect_timeout(Duration::from_secs(2));
    let mut grpc = BridgeClient::new(endpoint.connect_lazy());
    let mut number = 0;
    while !office.stop.load(Ordering::Relaxed) {
        let id = format!("{}-{number}", manner.name);
        let topic = &manner.topics[number % manner.topics.len()];
        number += 1;
        if let Books::Ledger(ledger) = &books {
            ledger.with(|ledger| ledger.submitted(&id, topic));
        }
        let deadline = Instant::now() + TAKEN_WITHIN;
        let mut backoff = BACKOFF_MIN;
        let taken = loop {
            let attempt = if manner.grpc {
                over_grpc(&mut grpc, &manner, topic, &id).await
            } else {
                over_http(&node, &manner, topic, &id).await
            };
            let why = match attempt {
                Attempt::Taken(taken) => break taken,
                Attempt::Again(why) => why,
                Attempt::Refused(why) => bail!("{id} is refused: {why}"),
            };
            ensure!(Instant::now() < deadline, "{id} was not taken within {TAKEN_WITHIN:?}: {why}");
            counts.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        };
        counts.events.fetch_add(1, Ordering::Relaxed);
        counts.duplicates.fetch_add(u64::from(taken.duplicate), Ordering::Relaxed);
        let is_reached = taken.level.as_deref() == Some(manner.level) && manner.level != "stored";
        counts.reached.fetch_add(u64::from(is_reached), Ordering::Relaxed);
        ensure!(!is_reached || taken.missing.is_empty(), "{id}: reached, and yet {:?}", taken);
        if is_reached
            && manner.level == "delivered"
            && taken.outcomes == 0
            && let Books::Ledger(ledger) = &books
        {
            check_delivered(ledger, &office.firm, topic, &id, &taken)?;
        }
        match &books {
            Books::Ledger(ledger) => ledger.with(|ledger| {
                ledger.accepted(&taken.key, &id, taken.destinations.iter().map(String::as_str), []);
            }),
            Books::Group(ids) => {
                ids.lock().expect("not poisoned").insert(id);
            }
        }
        tokio::time::sleep(manner.every).await;
    }
    Ok(())
}

/// `delivered` was said: everybody who acknowledges by token has had it.
fn check_delivered(ledger: &SharedLedger, firm: &[Firm], topic: &str, id: &str, taken: &Taken) -> Result<()> {
    for one in firm.iter().filter(|one| taken.destinations.contains(&one.bridge)) {
        let wanted = one.topics.as_ref().is_none_or(|topics| topics.iter().any(|wanted| wanted == topic));
        let has = ledger.with(|ledger| ledger.has_been_offered(one.place, id));
        ensure!(has || !wanted, "{id} is called delivered, and {one:?} has not seen it: {taken:?}");
    }
    Ok(())
}

async fn over_http(node: &Node, manner: &Manner, topic: &str, id: &str) -> Attempt {
    let mut event = json!({"specversion": "1.0", "id": id, "source": format!("/tests/{}", manner.name),
        "type": "example.happened", "datacontenttype": "application/json",
        "data": {"payload": "x".repeat(manner.bytes)}});
    if manner.scattered {
        event["partitionkey"] = json!(id);
    }
    let url = format!("{}/v1/topics/{topic}?ack={}&timeout={PATIENCE_SECONDS}", node.http, manner.level);
    let request = http().post(url).timeout(ANSWER_WITHIN);
    let request = request.header("content-type", "application/cloudevents+json").body(event.to_string());
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(problem) => return Attempt::Again(format!("{problem:#}")),
    };
    let status = answer.status().as_u16();
    let text = match answer.text().await {
        Ok(text) => text,
        Err(problem) => return Attempt::Again(format!("{problem:#}")),
    };
    match status {
        200..=299 => match serde_json::from_str::<HttpReply>(&text) {
            Ok(HttpReply { key, destinations, duplicate, ack }) => {
                let (level, missing, outcomes) = ack.map_or((None, Vec::new(), 0), |ack| {
                    (
                        Some(ack.level),
                        ack.missing,
                        odd(ack.outcomes.iter().map(|one| one["outcome"].as_str().unwrap_or_default())),
                    )
                });
                Attempt::Taken(Taken { key, destinations, duplicate, level, missing, outcomes })
            }
            Err(problem) => Attempt::Refused(format!("{problem}: {text}")),
        },
        429 | 500..=599 => Attempt::Again(format!("status {status}: {text}")),
        _ => Attempt::Refused(format!("status {status}: {text}")),
    }
}

/// Ends that are no delivery.
fn odd<'a>(outcomes: impl Iterator<Item = &'a str>) -> usize {
    outcomes.filter(|outcome| *outcome != "delivered").count()
}

async fn over_grpc(client: &mut BridgeClient<Channel>, manner: &Manner, topic: &str, id: &str) -> Attempt {
    let event = CloudEvent {
        id: id.to_owned(),
        source: format!("/tests/{}", manner.name),
        spec_version: "1.0".to_owned(),
        r#type: "example.happened".to_owned(),
        attributes: Default::default(),
        data: Some(Data::TextData("x".repeat(manner.bytes))),
    };
    let request = PublishRequest {
        topic: topic.to_owned(),
        event: Some(event),
        ack: manner.level.to_owned(),
        timeout_seconds: PATIENCE_SECONDS,
    };
    match tokio::time::timeout(ANSWER_WITHIN, client.publish(request)).await {
        Err(_) => Attempt::Again("no answer".to_owned()),
        Ok(Ok(reply)) => {
            let reply = reply.into_inner();
            let (level, missing, outcomes) = reply.ack.map_or((None, Vec::new(), 0), |ack| {
                let outcomes = odd(ack.outcomes.iter().map(|one| one.outcome.as_str()));
                (Some(ack.level), ack.missing, outcomes)
            });
            let (key, destinations, duplicate) = (reply.key, reply.destinations, reply.duplicate);
            Attempt::Taken(Taken { key, destinations, duplicate, level, missing, outcomes })
        }
        Ok(Err(status)) => match status.code() {
            Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => {
                Attempt::Refused(status.to_string())
            }
            _ => Attempt::Again(status.to_string()),
        },
    }
}

/// What all have done, in words.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let figure = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} events, {} retries, {} answered as duplicates, {} answers replicated or delivered",
            figure(&self.events),
            figure(&self.retries),
            figure(&self.duplicates),
            figure(&self.reached)
        )
    }
}

/// A step up for callers that name what failed.
pub(super) async fn finished(task: tokio::task::JoinHandle<Result<()>>, name: &str) -> Result<()> {
    task.await?.with_context(|| format!("publisher {name}"))
}
