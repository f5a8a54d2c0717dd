//! The gRPC interface: `meshbridge.v1.Bridge`, health and reflection (`proto/meshbridge/v1/bridge.proto`).

mod convert;
mod subscribe;

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::middleware::{Next, from_fn};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::ListenerSettings;
use super::limits as limit;
use super::publish::{Refused, RefusedKind, publication, wish};
use crate::pipeline::{Accepted, Pipeline, Principal, Publication, Wish};
use meshbridge_event::limits::BATCH_EVENTS_MAX;
use meshbridge_topic::Topic;

#[allow(clippy::all, dead_code, missing_debug_implementations)]
pub(super) mod api {
    pub mod io {
        pub mod cloudevents {
            pub mod v1 {
                tonic::include_proto!("io.cloudevents.v1");
            }
        }
    }
    pub mod meshbridge {
        pub mod v1 {
            tonic::include_proto!("meshbridge.v1");
        }
    }
}

use api::meshbridge::v1::bridge_server::{Bridge, BridgeServer};
use api::meshbridge::v1::{
    Ack, Denied, Ended, Held, LeftOut, PublishBatchReply, PublishBatchRequest, PublishReply, PublishRequest,
    SubscribeRequest,
};

const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The service of one listener.
#[derive(Clone, Debug)]
struct Service {
    pipeline: Pipeline,
    event_bytes_max: usize,
    stop: CancellationToken,
}

pub(super) async fn router(
    pipeline: Pipeline,
    settings: &ListenerSettings,
    stop: CancellationToken,
) -> Router {
    let ended = stop.clone();
    let service = Service { pipeline, event_bytes_max: settings.event_bytes_max, stop };
    let bridge = BridgeServer::new(service)
        .max_decoding_message_size(limit::GRPC_MESSAGE_BYTES.max(settings.batch_bytes_max))
        .max_encoding_message_size(limit::GRPC_MESSAGE_BYTES.max(settings.batch_bytes_max));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<BridgeServer<Service>>().await;
    tokio::spawn(async move {
        ended.cancelled().await;
        reporter.set_not_serving::<BridgeServer<Service>>().await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let compiled = "the descriptors were compiled with this program";
    tonic::service::Routes::new(bridge)
        .add_service(health)
        .add_service(reflection().build_v1().expect(compiled))
        // What grpcurl and others of before 2024 ask for.
        .add_service(reflection().build_v1alpha().expect(compiled))
        .prepare()
        .into_axum_router()
        .layer(from_fn(unary_in_time))
}

/// Calls with one request and one reply.
const UNARY: [&str; 3] =
    ["/meshbridge.v1.Bridge/Publish", "/meshbridge.v1.Bridge/PublishBatch", "/grpc.health.v1.Health/Check"];

/// Around the whole call: a request that never ends has not reached its method yet.
async fn unary_in_time(request: axum::extract::Request, next: Next) -> axum::response::Response {
    if !UNARY.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match tokio::time::timeout(limit::GRPC_UNARY_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("the call took longer than {} seconds", limit::GRPC_UNARY_MAX.as_secs());
            Status::deadline_exceeded(message).into_http()
        }
    }
}

fn principal<T>(request: &Request<T>) -> Principal {
    request.extensions().get::<Principal>().cloned().unwrap_or_else(Principal::anonymous)
}

/// The domain of reasons in error details (AIP-193).
const DOMAIN: &str = "meshbridge";

fn status(refused: &Refused) -> Status {
    let mut message = refused.message.clone();
    if let Some(index) = refused.index {
        message = format!("request {index}: {message}");
    }
    let (code, reason) = match refused.kind {
        RefusedKind::Invalid => (Code::InvalidArgument, "INVALID"),
        RefusedKind::Form => (Code::InvalidArgument, "POLICY_FORM"),
        RefusedKind::Forbidden => (Code::PermissionDenied, "POLICY_FORBIDDEN"),
        RefusedKind::TooLarge => (Code::ResourceExhausted, "TOO_LARGE"),
        RefusedKind::Busy { .. } => (Code::ResourceExhausted, "BUSY"),
        RefusedKind::Quota { .. } => (Code::ResourceExhausted, "TOO_MANY"),
        RefusedKind::TooSlow => (Code::DeadlineExceeded, "TOO_SLOW"),
        RefusedKind::Stopping => (Code::Unavailable, "STOPPING"),
    };
    let mut details = ErrorDetails::new();
    if let Some(rule) = &refused.rule {
        let mut facts = HashMap::from([("rule".to_owned(), rule.id.clone())]);
        facts.extend(refused.index.map(|index| ("index".to_owned(), index.to_string())));
        facts.extend(rule.help.clone().map(|help| ("help".to_owned(), help)));
        details.set_error_info(reason, DOMAIN, facts);
    }
    if let RefusedKind::Busy { retry_after_secs } | RefusedKind::Quota { retry_after_secs } = refused.kind {
        details.set_retry_info(Some(Duration::from_secs(retry_after_secs)));
    }
    Status::with_error_details(code, message, details)
}

fn reply(accepted: &Accepted) -> PublishReply {
    PublishReply {
        key: accepted.key.to_string(),
        destinations: accepted.destinations.iter().map(ToString::to_string).collect(),
        denied: accepted
            .denied
            .iter()
            .map(|denied| Denied {
                destination: denied.destination.to_string(),
                by: denied.by.clone(),
                disposition: denied.disposition.clone(),
            })
            .collect(),
        duplicate: accepted.duplicate,
        expired: accepted.expired,
        held: accepted
            .held
            .iter()
            .map(|held| Held { destination: held.destination.to_string(), by: held.by.clone() })
            .collect(),
        left_out: accepted
            .left_out
            .iter()
            .map(|(bridge, reason)| LeftOut {
                destination: bridge.to_string(),
                reason: reason.name().to_owned(),
            })
            .collect(),
        ack: accepted.reached.as_ref().map(|reached| Ack {
            level: reached.level.name().to_owned(),
            missing: reached.missing.iter().map(ToString::to_string).collect(),
            outcomes: reached
                .outcomes
                .iter()
                .map(|(destination, outcome)| Ended {
                    destination: destination.to_string(),
                    outcome: outcome.name().to_owned(),
                    why: outcome.why().unwrap_or_default().to_owned(),
                })
                .collect(),
        }),
    }
}

fn wished(ack: &str, timeout_seconds: u32) -> Result<Wish, Status> {
    let timeout = if timeout_seconds == 0 { String::new() } else { timeout_seconds.to_string() };
    wish(ack, &timeout).map_err(|refused| status(&refused))
}

impl Service {
    fn publication(&self, request: PublishRequest) -> Result<Publication, Refused> {
        let topic = match request.topic.as_str() {
            "" => None,
            text => {
                let parsed = Topic::parse(text);
                Some(parsed.map_err(|problem| Refused::invalid(format!("`topic` is no topic: {problem}")))?)
            }
        };
        let event = request.event.ok_or_else(|| Refused::invalid("`event` is missing"))?;
        publication(topic.as_ref(), convert::from_proto(event)?, self.event_bytes_max)
    }

    async fn take(
        &self,
        principal: &Principal,
        batch: Vec<Publication>,
        wish: Wish,
    ) -> Result<Vec<PublishReply>, Refused> {
        let accepted = self.pipeline.publish(principal, batch, wish).await?;
        Ok(accepted.iter().map(reply).collect())
    }
}

#[tonic::async_trait]
impl Bridge for Service {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishReply>, Status> {
        let principal = principal(&request);
        let request = request.into_inner();
        let wish = wished(&request.ack, request.timeout_seconds)?;
        let publication = self.publication(request).map_err(|refused| status(&refused))?;
        let replies = self.take(&principal, vec![publication], wish).await;
        let replies = replies.map_err(|refused| status(&Refused { index: None, ..refused }))?;
        Ok(Response::new(replies.into_iter().next().unwrap_or_default()))
    }

    async fn publish_batch(
        &self,
        request: Request<PublishBatchRequest>,
    ) -> Result<Response<PublishBatchReply>, Status> {
        let principal = principal(&request);
        let request = request.into_inner();
        let wish = wished(&request.ack, request.timeout_seconds)?;
        let requests = request.requests;
        if requests.len() > BATCH_EVENTS_MAX {
            return Err(Status::resource_exhausted(format!("a batch has at most {BATCH_EVENTS_MAX} events")));
        }
        let batch: Result<Vec<Publication>, Refused> = requests
            .into_iter()
            .enumerate()
            .map(|(index, request)| {
                self.publication(request).map_err(|refused| Refused { index: Some(index), ..refused })
            })
            .collect();
        let batch = batch.map_err(|refused| status(&refused))?;
        let replies = self.take(&principal, batch, wish).await.map_err(|refused| status(&refused))?;
        Ok(Response::new(PublishBatchReply { replies }))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<PublishBatchReply>, Status> {
        let principal = principal(&request);
        let mut requests = request.into_inner();
        let mut replies = Vec::new();
        while let Some(request) = requests.next().await {
            let taken = replies.len();
            let refused = |refused: Refused| status(&Refused { index: Some(taken), ..refused });
            if taken == BATCH_EVENTS_MAX {
                let message =
                    format!("a stream has at most {BATCH_EVENTS_MAX} events, all of them were taken");
                return Err(Status::resource_exhausted(message));
            }
            let request = request?;
            let wish = wished(&request.ack, request.timeout_seconds)?;
            let publication = self.publication(request).map_err(refused)?;
            replies.extend(self.take(&principal, vec![publication], wish).await.map_err(refused)?);
        }
        Ok(Response::new(PublishBatchReply { replies }))
    }

    type SubscribeStream = subscribe::Replies;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let principal = principal(&request);
        subscribe::start(&self.pipeline, &principal, request.into_inner(), self.stop.clone())
            .await
            .map(Response::new)
    }
}
