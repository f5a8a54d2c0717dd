//! A member of a consumer group: it acknowledges what it is offered, and comes back after a disconnect until it leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::sse::{Decoder, Message};
use crate::{Node, http};

const AGAIN: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// One offer to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who got it.
    pub member: String,
    pub key: String,
    /// 1 for the first time, as the bridge says.
    pub count: u32,
    pub partition: Option<String>,
    /// The bridge took the acknowledgement.
    pub acknowledged: bool,
    /// It was sent, and the answer has not come, or never will: it may have become durable all the same.
    pub unanswered: bool,
}

/// What the members of a group got, by the event's id.
#[derive(Clone, Debug, Default)]
pub struct Offers(Arc<Mutex<BTreeMap<String, Vec<Offer>>>>);

impl Offers {
    pub fn snapshot(&self) -> BTreeMap<String, Vec<Offer>> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// Events that some member has acknowledged, or may have.
    pub fn acknowledged(&self) -> usize {
        let done = |offers: &&Vec<Offer>| offers.iter().any(|offer| offer.acknowledged || offer.unanswered);
        self.snapshot().values().filter(done).count()
    }

    /// Offers to one member.
    pub fn of(&self, member: &str) -> usize {
        self.snapshot().values().flatten().filter(|offer| offer.member == member).count()
    }

    /// Each of these was acknowledged, by one member only; and whatever was offered again said so.
    pub fn check(&self, ids: &[String]) -> Result<()> {
        let all = self.snapshot();
        for id in ids {
            let offers = all.get(id).with_context(|| format!("{id} was never offered"))?;
            let done = offers.iter().filter(|offer| offer.acknowledged).count();
            let perhaps = offers.iter().any(|offer| offer.unanswered);
            ensure!(done == 1 || done == 0 && perhaps, "{id} was acknowledged {done} times: {offers:#?}");
            for (at, offer) in offers.iter().enumerate().skip(1) {
                ensure!(offer.count > 1, "offer {at} of {id} is not marked as a repetition: {offers:#?}");
            }
        }
        Ok(())
    }
}

/// A member at work.
#[derive(Debug)]
pub struct Member {
    task: JoinHandle<()>,
}

impl Member {
    /// Joins `group` at this bridge. `query` goes with the request, as in `&strategy=sticky`; `pause` is how long each
    /// event takes it.
    pub async fn join(
        node: &Node,
        name: &str,
        group: &str,
        query: &str,
        pause: Duration,
        offers: &Offers,
    ) -> Result<Member> {
        let url = format!("{}/v1/stream?group={group}&ack=manual&{query}", node.http);
        let first = open(&url).await?;
        let worker = Worker {
            url,
            acks: format!("{}/v1/subscriptions/{group}/ack", node.http),
            name: name.to_owned(),
            pause,
            offers: offers.clone(),
        };
        Ok(Member { task: tokio::spawn(worker.run(first)) })
    }

    /// Goes away in the middle of whatever it does.
    pub fn leave(self) {}
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    url: String,
    acks: String,
    name: String,
    pause: Duration,
    offers: Offers,
}

impl Worker {
    async fn run(self, mut response: reqwest::Response) {
        loop {
            // However it ends, the member comes back: its bridge may have been killed.
            let _ = self.read(response).await;
            response = loop {
                tokio::time::sleep(AGAIN).await;
                if let Ok(response) = open(&self.url).await {
                    break response;
                }
            };
        }
    }

    async fn read(&self, response: reqwest::Response) -> Result<()> {
        let mut chunks = response.bytes_stream();
        let mut decoder = Decoder::default();
        loop {
            let chunk = tokio::time::timeout(SILENCE_MAX, chunks.next()).await.context("silence")?;
            let Some(chunk) = chunk else { return Ok(()) };
            for message in decoder.push(&chunk?)? {
                if message.data.is_some() {
                    self.take(message).await?;
                }
            }
        }
    }

    async fn acknowledge(&self, tokens: &Value) -> Result<Value> {
        let answer = http().post(&self.acks).timeout(ANSWER_WITHIN).json(tokens).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn take(&self, message: Message) -> Result<()> {
        let token = message.id.context("every offer has a token")?;
        let event: Value = serde_json::from_str(message.data.as_deref().unwrap_or_default())?;
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let id = text("id").context("every event has an id")?;
        let offer = Offer {
            member: self.name.clone(),
            key: text("meshbridgekey").context("every offer says its key")?,
            count: u32::try_from(event["meshbridgedelivery"].as_u64().context("a count")?)?,
            partition: text("partitionkey"),
            acknowledged: false,
            unanswered: false,
        };
        let at = {
            let mut offers = self.offers.0.lock().expect("not poisoned");
            let offers = offers.entry(id.clone()).or_default();
            offers.push(offer);
            offers.len() - 1
        };
        tokio::time::sleep(self.pause).await;
        // A member that leaves before the answer has acknowledged all the same, perhaps.
        self.note(&id, at, |offer| offer.unanswered = true);
        let done = self.acknowledge(&json!({"tokens": [token]})).await?;
        self.note(&id, at, |offer| {
            offer.unanswered = false;
            offer.acknowledged = done["settled"] == 1;
        });
        Ok(())
    }

    fn note(&self, id: &str, at: usize, what: impl FnOnce(&mut Offer)) {
        let mut offers = self.offers.0.lock().expect("not poisoned");
        if let Some(offer) = offers.get_mut(id).and_then(|offers| offers.get_mut(at)) {
            what(offer);
        }
    }
}

async fn open(url: &str) -> Result<reqwest::Response> {
    let response =
        tokio::time::timeout(ANSWER_WITHIN, http().get(url).send()).await.context("no answer")??;
    let status = response.status();
    ensure!(status.is_success(), "status {status}: {}", response.text().await.unwrap_or_default());
    Ok(response)
}
