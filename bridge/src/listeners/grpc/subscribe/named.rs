//! A subscription with memory over gRPC: acknowledged by token, read on by the next stream.

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::super::super::publish::Refused;
use super::super::api::meshbridge::v1::{SubscribeReply, SubscribeRequest};
use super::super::convert::to_proto;
use super::super::status;
use super::{CREDIT_MAX, REPLIES_QUEUED, Replies, parse};
use crate::pipeline::{
    Acks, Kind, LEASES_MAX, Leased, NamedConnection, NamedEnd, NamedRefused, Pipeline, Principal, Reader,
    Strategy, WEIGHT_MAX, Wished,
};

pub(super) async fn start(
    pipeline: &Pipeline,
    principal: &Principal,
    first: SubscribeRequest,
    requests: Streaming<SubscribeRequest>,
    stop: CancellationToken,
) -> Result<Replies, Status> {
    let filters = if first.filters.is_empty() { Vec::new() } else { parse(&first.filters)? };
    let group = !first.group.is_empty();
    if group && !first.subscription.is_empty() {
        return Err(Status::invalid_argument("name a `subscription` or a `group`, not both"));
    }
    let strategy = first.strategy.parse::<Strategy>().or_else(|()| {
        let known = Strategy::NAMES.join(", ");
        let default = first.strategy.is_empty().then(Strategy::default);
        default.ok_or_else(|| Status::invalid_argument(format!("`strategy` is one of {known}")))
    })?;
    if first.weight > WEIGHT_MAX {
        return Err(Status::invalid_argument(format!("`weight` is at most {WEIGHT_MAX}")));
    }
    let reader = Reader {
        name: if group { &first.group } else { &first.subscription },
        filters,
        kind: if group { Kind::Group(strategy) } else { Kind::Single },
        weight: first.weight.max(1),
        settings: Wished::default(),
        acks: Acks::Manual,
        last_seen: None,
    };
    let connected = pipeline.connect_named(principal, reader).await;
    let mut connection = connected.map_err(|refused| refusal(&refused))?;
    if !group {
        connection.set_credit(LEASES_MAX);
    }
    let (replies, queued) = mpsc::channel(REPLIES_QUEUED);
    let client = Client {
        pipeline: pipeline.clone(),
        principal: principal.clone(),
        credit: u64::from(first.credit).min(CREDIT_MAX),
    };
    tokio::spawn(async move {
        let end = tokio::select! {
            end = client.run(connection, requests, &replies) => end,
            () = stop.cancelled() => Err(Status::unavailable("the bridge is stopping")),
        };
        if let Err(status) = end {
            let _ = replies.send(Err(status)).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(queued)))
}

fn refusal(refused: &NamedRefused) -> Status {
    let message = refused.to_string();
    match refused {
        NamedRefused::Name | NamedRefused::GroupName | NamedRefused::Settings(_) => {
            Status::invalid_argument(message)
        }
        NamedRefused::OtherFilters(_) | NamedRefused::IsGroup(_) | NamedRefused::IsNoGroup(_) => {
            Status::already_exists(message)
        }
        NamedRefused::Pushed(_) | NamedRefused::Webhook(_) => Status::failed_precondition(message),
        NamedRefused::Unknown(_) => Status::not_found(message),
        NamedRefused::TooMany | NamedRefused::InterestFull(_) => Status::resource_exhausted(message),
        NamedRefused::Denied(denied) => status(&Refused::from(&**denied)),
        NamedRefused::Draining => Status::unavailable(message),
    }
}

struct Client {
    pipeline: Pipeline,
    principal: Principal,
    credit: u64,
}

impl Client {
    async fn run(
        mut self,
        mut connection: NamedConnection,
        mut requests: Streaming<SubscribeRequest>,
        replies: &mpsc::Sender<Result<SubscribeReply, Status>>,
    ) -> Result<(), Status> {
        let name = connection.name().to_owned();
        loop {
            tokio::select! {
                request = requests.next() => match request {
                    Some(request) => self.on_request(&name, request?).await?,
                    None => return Ok(()),
                },
                received = connection.recv(), if self.credit > 0 => {
                    let leased = received.map_err(|end| match end {
                        NamedEnd::TakenOver => Status::aborted(end.to_string()),
                        NamedEnd::Deleted => Status::not_found(end.to_string()),
                        NamedEnd::Stopping => Status::unavailable(end.to_string()),
                    })?;
                    self.credit -= 1;
                    if replies.send(Ok(reply(&leased))).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn on_request(&mut self, name: &str, request: SubscribeRequest) -> Result<(), Status> {
        if !request.filters.is_empty() || !request.subscription.is_empty() || !request.group.is_empty() {
            return Err(Status::invalid_argument(
                "`filters`, `subscription` and `group` belong in the first message",
            ));
        }
        if !request.acks.is_empty() {
            let done = self.pipeline.acknowledge(&self.principal, name, &request.acks).await;
            done.map_err(|refused| refusal(&refused))?;
        }
        if !request.nacks.is_empty() {
            let done = self.pipeline.give_back(&self.principal, name, &request.nacks);
            done.map_err(|refused| refusal(&refused))?;
        }
        self.credit = self.credit.saturating_add(u64::from(request.credit));
        if self.credit > CREDIT_MAX {
            return Err(Status::resource_exhausted(format!("credit is at most {CREDIT_MAX}")));
        }
        Ok(())
    }
}

fn reply(leased: &Leased) -> SubscribeReply {
    let delivery = &leased.delivery;
    SubscribeReply {
        key: delivery.key.to_string(),
        topic: delivery.topic.as_str().to_owned(),
        event: Some(to_proto(&delivery.event)),
        token: leased.token.to_string(),
        delivery: leased.count,
    }
}
