//! The bidirectional stream of a subscriber: credit in, events out.

mod named;

use std::collections::VecDeque;
use std::pin::Pin;

use meshbridge_topic::TopicFilter;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::super::limits as limit;
use super::super::publish::Refused;
use super::api::meshbridge::v1::{SubscribeReply, SubscribeRequest};
use super::convert::to_proto;
use super::status;
use crate::pipeline::{Pipeline, Principal, SubscribeRefused, Subscription};

pub(super) type Replies = Pin<Box<dyn Stream<Item = Result<SubscribeReply, Status>> + Send>>;

/// Credit a client may have open, and with it the events it may hold unacknowledged.
const CREDIT_MAX: u64 = 65_536;
/// Replies between the subscription and the connection; its windows are the real buffer.
const REPLIES_QUEUED: usize = 16;

pub(super) async fn start(
    pipeline: &Pipeline,
    principal: &Principal,
    mut requests: Streaming<SubscribeRequest>,
    stop: CancellationToken,
) -> Result<Replies, Status> {
    let first = requests
        .next()
        .await
        .ok_or_else(|| Status::invalid_argument("the first message must name filters"))??;
    if !first.subscription.is_empty() || !first.group.is_empty() {
        return named::start(pipeline, principal, first, requests, stop).await;
    }
    let filters = parse(&first.filters)?;
    let subscribed = pipeline.subscribe(principal, filters, limit::STREAM_QUEUE_BYTES).await;
    let subscription = subscribed.map_err(|refused| match refused {
        SubscribeRefused::InterestFull(message) => Status::resource_exhausted(message),
        SubscribeRefused::Denied(denied) => status(&Refused::from(&*denied)),
        SubscribeRefused::Draining => Status::unavailable("the bridge is stopping"),
    })?;
    let (replies, queued) = mpsc::channel(REPLIES_QUEUED);
    let client = Client { credit: u64::from(first.credit).min(CREDIT_MAX), outstanding: VecDeque::new() };
    tokio::spawn(async move {
        let end = tokio::select! {
            end = client.run(subscription, requests, &replies) => end,
            () = stop.cancelled() => Err(Status::unavailable("the bridge is stopping")),
        };
        if let Err(status) = end {
            let _ = replies.send(Err(status)).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(queued)))
}

fn parse(filters: &[String]) -> Result<Vec<TopicFilter>, Status> {
    if filters.is_empty() || filters.len() > limit::FILTERS_PER_CLIENT {
        let message = format!("the first message must name 1 to {} filters", limit::FILTERS_PER_CLIENT);
        return Err(Status::invalid_argument(message));
    }
    filters
        .iter()
        .map(|text| {
            TopicFilter::parse(text).map_err(|problem| {
                Status::invalid_argument(format!("`filters` has no topic filter: {problem}"))
            })
        })
        .collect()
}

struct Client {
    credit: u64,
    /// Keys that were sent and not acknowledged, oldest first; at most the credit given out.
    outstanding: VecDeque<String>,
}

impl Client {
    async fn run(
        mut self,
        mut subscription: Subscription,
        mut requests: Streaming<SubscribeRequest>,
        replies: &mpsc::Sender<Result<SubscribeReply, Status>>,
    ) -> Result<(), Status> {
        loop {
            tokio::select! {
                request = requests.next() => match request {
                    Some(request) => self.on_request(request?)?,
                    None => return Ok(()),
                },
                // At credit 0 events wait in the subscription's queue, which is bounded.
                received = subscription.recv(), if self.credit > 0 => {
                    let delivery = received.map_err(|end| Status::resource_exhausted(end.to_string()))?;
                    self.credit -= 1;
                    let key = delivery.key.to_string();
                    self.outstanding.push_back(key.clone());
                    let event = Some(to_proto(&delivery.event));
                    let topic = delivery.topic.as_str().to_owned();
                    let reply = SubscribeReply { key, topic, event, token: String::new(), delivery: 0 };
                    if replies.send(Ok(reply)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn on_request(&mut self, request: SubscribeRequest) -> Result<(), Status> {
        if !request.filters.is_empty() {
            return Err(Status::invalid_argument("`filters` belongs in the first message"));
        }
        for key in &request.acks {
            let at = self.outstanding.iter().position(|sent| sent == key);
            let at = at.ok_or_else(|| {
                let shown: String = key.chars().take(120).collect();
                Status::invalid_argument(format!(
                    "`acks`: `{shown}` was not sent, or was acknowledged before"
                ))
            })?;
            self.outstanding.remove(at);
        }
        let credit = self.credit + u64::from(request.credit);
        if credit + self.outstanding.len() as u64 > CREDIT_MAX {
            let message = format!("credit and unacknowledged events together are at most {CREDIT_MAX}");
            return Err(Status::resource_exhausted(message));
        }
        self.credit = credit;
        Ok(())
    }
}
