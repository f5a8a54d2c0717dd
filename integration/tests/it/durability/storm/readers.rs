//! Subscribers that the harness has no others for: gRPC with tokens and WebSocket, both with memory, both coming back.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use meshbridge_integration::grpc::meshbridge::v1::SubscribeRequest;
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::judge::{Delivery, Place, Topics};
use meshbridge_integration::{Consumer, Node, Reading, SharedLedger};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::Endpoint;

const AGAIN: Duration = Duration::from_millis(150);
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// A stream says something every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const CREDIT: u32 = 256;

/// How a subscriber reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LastEventId,
    Manual,
    Grpc,
    WebSocket,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::LastEventId, Kind::Manual, Kind::Grpc, Kind::WebSocket];

    /// Its client alone can end an event.
    pub(super) fn is_firm(self) -> bool {
        matches!(self, Kind::Manual | Kind::Grpc)
    }
}

/// One subscription of a storm.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) place: Place,
    consumer: Option<Consumer>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What a reader is for.
#[derive(Clone, Debug)]
struct Reader {
    node: Node,
    name: String,
    filter: String,
    place: Place,
    ledger: SharedLedger,
}

impl Subscriber {
    /// Subscribes; returns once the bridge has taken the subscription.
    pub(super) async fn start(
        kind: Kind,
        node: &Node,
        name: &str,
        filter: &str,
        topics: &Topics,
        ledger: &SharedLedger,
    ) -> Result<Subscriber> {
        if let Kind::LastEventId | Kind::Manual = kind {
            let reading = if kind == Kind::Manual { Reading::Manual } else { Reading::LastEventId };
            let consumer = Consumer::start(node, name, filter, topics, reading, ledger).await?;
            return Ok(Subscriber { place: consumer.place(), consumer: Some(consumer), task: None });
        }
        let place = ledger.with(|ledger| ledger.subscribed(&node.bridge, name, topics));
        let (name, filter) = (name.to_owned(), filter.to_owned());
        let reader = Reader { node: node.clone(), name, filter, place, ledger: ledger.clone() };
        let (opened, first) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut opened = Some(opened);
            loop {
                // However it ends, it comes back: its bridge may have been killed.
                let _ = match kind {
                    Kind::Grpc => reader.over_grpc(&mut opened).await,
                    _ => reader.over_web_socket(&mut opened).await,
                };
                tokio::time::sleep(AGAIN).await;
            }
        });
        let subscriber = Subscriber { place, consumer: None, task: Some(task) };
        tokio::time::timeout(OPEN_WITHIN, first).await.context("the subscription is not taken")??;
        Ok(subscriber)
    }

    pub(super) fn established(&self, ledger: &SharedLedger) {
        ledger.with(|ledger| ledger.established(self.place));
    }

    pub(super) fn told(&self) -> String {
        match &self.consumer {
            Some(consumer) => format!("{:?}", consumer.read()),
            None => "reads by itself".to_owned(),
        }
    }
}

impl Reader {
    fn take(&self, key: &str, id: &str, count: u32) {
        let at = self.ledger.now();
        let delivery = Delivery { key, id, count, is_out_of_order: false, at };
        self.ledger.with(|ledger| ledger.delivered(self.place, delivery));
    }

    async fn over_grpc(&self, opened: &mut Option<oneshot::Sender<()>>) -> Result<()> {
        let endpoint = Endpoint::from_shared(self.node.grpc.clone())?.connect_timeout(OPEN_WITHIN);
        let mut client = BridgeClient::new(endpoint.connect().await?);
        let (requests, queued) = mpsc::channel(16);
        let first = SubscribeRequest {
            filters: vec![self.filter.clone()],
            subscription: self.name.clone(),
            credit: CREDIT,
            ..Default::default()
        };
        requests.send(first).await?;
        let call = client.subscribe(ReceiverStream::new(queued));
        let mut replies = tokio::time::timeout(OPEN_WITHIN, call).await??.into_inner();
        if let Some(opened) = opened.take() {
            let _ = opened.send(());
        }
        loop {
            let reply = tokio::time::timeout(SILENCE_MAX, replies.message()).await;
            // Silence is no error here: it sends nothing while there is nothing.
            let Ok(reply) = reply else { bail!("silence") };
            let Some(reply) = reply? else { return Ok(()) };
            let event = reply.event.context("a reply has an event")?;
            self.take(&reply.key, &event.id, reply.delivery);
            let done = SubscribeRequest { credit: 1, acks: vec![reply.token], ..Default::default() };
            requests.send(done).await?;
        }
    }

    async fn over_web_socket(&self, opened: &mut Option<oneshot::Sender<()>>) -> Result<()> {
        let base = self.node.http.replace("http://", "ws://");
        let url = format!("{base}/v1/ws?filter={}&subscription={}", self.filter, self.name);
        let (mut socket, _) = tokio::time::timeout(OPEN_WITHIN, connect_async(url)).await??;
        if let Some(opened) = opened.take() {
            let _ = opened.send(());
        }
        loop {
            let message = tokio::time::timeout(SILENCE_MAX, socket.next()).await.context("silence")?;
            let Some(message) = message else { return Ok(()) };
            let Message::Text(text) = message? else { continue };
            let event: Value = serde_json::from_str(&text)?;
            let text = |name: &str| event[name].as_str().with_context(|| format!("no `{name}`: {event}"));
            let count = event["meshbridgedelivery"].as_u64().unwrap_or(1);
            ensure!(count > 0, "{event}");
            self.take(text("meshbridgekey")?, text("id")?, u32::try_from(count)?);
        }
    }
}
