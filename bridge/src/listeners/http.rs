//! The HTTP interface.
//!
//! | request | |
//! |---|---|
//! | `POST /v1/topics/{topic}` | publish; binary, structured or batched mode |
//! | `POST /v1/topics` | the same, the topic is the event's `type` |
//! | | an event that a rule of the zone stops is answered 403, 413, 422 or 429 with the `rule`; one that it only keeps back is answered 202, with this bridge itself under `denied` or `held` |
//! | `?ack=none\|stored\|replicated\|delivered` on both, `&timeout=` seconds | when the answer comes |
//! | `GET /v1/stream?filter=…` | server-sent events until the client leaves |
//! | `&subscription=NAME` | a subscription with memory: made on first use, read on by the next connection |
//! | `&ack=manual` | its events are acknowledged by the token that came as `id:` |
//! | `GET /v1/ws?filter=…` | the same over WebSocket, an event a text message |
//! | `/v1/subscriptions`, `/v1/subscriptions/{name}`, `…/ack`, `…/nack` | subscriptions with memory |
//!
//! Delivered events carry more attributes: `meshbridgetopic`; where no field of the protocol has it, `meshbridgekey`;
//! and from a subscription with memory `meshbridgedelivery`, which counts the deliveries of this event. Nobody can
//! publish an event that has one of these.
//!
//! Two liberties of HTTP/1 are hyper's and stay: where a request has both `Transfer-Encoding` and `Content-Length`, the
//! former counts and the latter is removed; and a bare line feed ends a line of the head. A proxy in front of a listener
//! must see these the same way, or refuse such requests.

mod body;
mod streams;
mod subscriptions;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use meshbridge_event::limits::BATCH_EVENTS_MAX;
use meshbridge_event::{http as binary, json};
use meshbridge_topic::Topic;
use tokio_util::sync::CancellationToken;

use super::ListenerSettings;
use super::publish::{Refused, RefusedKind, publication, reply, wish};
use crate::pipeline::{Pipeline, Principal, Publication, Wish};

const WEB_SOCKET: &str = "/v1/ws";

#[derive(Clone, Debug)]
struct Shared {
    pipeline: Pipeline,
    event_bytes_max: usize,
    batch_bytes_max: usize,
    origins: Arc<[String]>,
    stop: CancellationToken,
}

pub(super) fn router(pipeline: Pipeline, settings: &ListenerSettings, stop: CancellationToken) -> Router {
    let shared = Shared {
        pipeline,
        event_bytes_max: settings.event_bytes_max,
        batch_bytes_max: settings.batch_bytes_max,
        origins: settings.origins.clone().into(),
        stop,
    };
    Router::new()
        .route("/v1/topics", post(publish_by_type))
        .route("/v1/topics/{topic}", post(publish_to_topic))
        .route("/v1/stream", get(streams::server_sent_events))
        .route("/v1/subscriptions", get(subscriptions::list).post(subscriptions::make))
        .route("/v1/subscriptions/{name}", get(subscriptions::show).delete(subscriptions::delete))
        .route("/v1/subscriptions/{name}/ack", post(subscriptions::acknowledge))
        .route("/v1/subscriptions/{name}/nack", post(subscriptions::give_back))
        .route(WEB_SOCKET, get(streams::web_socket))
        .fallback(|| async {
            problem(StatusCode::NOT_FOUND, &Refused::invalid("there is nothing at this path"))
        })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, &Refused::invalid("this method is not for this path"))
        })
        .layer(from_fn(refuse_web_sockets))
        // The handlers read bodies themselves, within their own limits.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

/// A client that asks for a WebSocket at another path is told where it is. Any other upgrade, such as to h2c, is left out,
/// as HTTP permits: the answer comes in the protocol of the request.
async fn refuse_web_sockets(request: Request, next: Next) -> Response {
    let mut protocols = request
        .headers()
        .get_all(header::UPGRADE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let wanted = protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"));
    if wanted && request.uri().path() != WEB_SOCKET {
        let refused = Refused::invalid(format!("only {WEB_SOCKET} speaks WebSocket"));
        return problem(StatusCode::BAD_REQUEST, &refused);
    }
    next.run(request).await
}

async fn publish_by_type(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let call = Call { principal: &principal, query: query.as_deref(), headers: &headers };
    respond(publish(&shared, call, None, body).await)
}

async fn publish_to_topic(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    Path(topic): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // The path was decoded once, by the router.
    let call = Call { principal: &principal, query: query.as_deref(), headers: &headers };
    let outcome = match Topic::parse(&topic) {
        Ok(topic) => publish(&shared, call, Some(&topic), body).await,
        Err(error) => {
            let refused = Refused::invalid(format!("this is no topic: {error}"));
            Err(Refusal::Bad(Refused { offset: Some(error.offset), ..refused }))
        }
    };
    respond(outcome)
}

enum Refusal {
    Bad(Refused),
    MediaType(String),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        Refusal::Bad(refused)
    }
}

fn respond(outcome: Result<serde_json::Value, Refusal>) -> Response {
    match outcome {
        Ok(reply) => (StatusCode::ACCEPTED, Json(reply)).into_response(),
        Err(Refusal::MediaType(message)) => {
            problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, &Refused::invalid(message))
        }
        Err(Refusal::Bad(refused)) => {
            let status = match refused.kind {
                RefusedKind::Invalid => StatusCode::BAD_REQUEST,
                RefusedKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                RefusedKind::TooSlow => StatusCode::REQUEST_TIMEOUT,
                RefusedKind::Quota { .. } => StatusCode::TOO_MANY_REQUESTS,
                RefusedKind::Forbidden => StatusCode::FORBIDDEN,
                RefusedKind::Form => StatusCode::UNPROCESSABLE_ENTITY,
                RefusedKind::Busy { .. } | RefusedKind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut response = problem(status, &refused);
            if let RefusedKind::Busy { retry_after_secs } | RefusedKind::Quota { retry_after_secs } =
                refused.kind
            {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_secs));
            }
            response
        }
    }
}

/// Who calls, and what stands in the head of the request.
#[derive(Clone, Copy)]
struct Call<'r> {
    principal: &'r Principal,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
}

impl Call<'_> {
    fn wish(&self) -> Result<Wish, Refused> {
        let (mut ack, mut timeout) = (String::new(), String::new());
        for (name, value) in streams::parameters(self.query)? {
            match name.as_str() {
                "ack" => ack = value,
                "timeout" => timeout = value,
                _ => return Err(streams::unknown_parameter(&name, "ack and timeout")),
            }
        }
        wish(&ack, &timeout)
    }
}

async fn publish(
    shared: &Shared,
    call: Call<'_>,
    topic: Option<&Topic>,
    body: Body,
) -> Result<serde_json::Value, Refusal> {
    let Call { principal, headers, .. } = call;
    let wish = call.wish()?;
    let content_type = match headers.get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| Refused::invalid("the header content-type is not text"))?;
            Some(text)
        }
    };
    let essence =
        content_type.and_then(|t| t.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let names = headers.keys().map(|name| name.as_str());
    let one = |event| publication(topic, event, shared.event_bytes_max);
    if essence == "application/cloudevents-batch+json" {
        let body = body::read(body, shared.batch_bytes_max).await?;
        let events = json::parse_batch(&body).map_err(batch_refused)?;
        let publications: Result<Vec<Publication>, Refused> = events
            .into_iter()
            .enumerate()
            .map(|(index, event)| one(event).map_err(|refused| Refused { index: Some(index), ..refused }))
            .collect();
        let accepted =
            shared.pipeline.publish(principal, publications?, wish).await.map_err(Refused::from)?;
        return Ok(accepted.iter().map(reply).collect());
    }
    let event = if essence == "application/cloudevents+json" {
        // The JSON form of an event is longer than its encoding: base64, escapes, member names.
        let body = body::read(body, shared.event_bytes_max * 3 / 2 + (64 << 10)).await?;
        json::parse_structured(&body).map_err(Refused::of_event)?
    } else if essence.starts_with("application/cloudevents") {
        let message = format!(
            "`{essence}` is not supported, use application/cloudevents+json or cloudevents-batch+json"
        );
        return Err(Refusal::MediaType(message));
    } else if binary::is_binary_mode(names) {
        let body = body::read(body, shared.event_bytes_max).await?;
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        binary::parse_binary(pairs, content_type, body).map_err(Refused::of_event)?
    } else {
        let message = "this is no CloudEvent: send the header ce-specversion (binary mode), or content-type application/cloudevents+json";
        return Err(Refusal::MediaType(message.to_owned()));
    };
    let accepted = shared.pipeline.publish(principal, vec![one(event)?], wish).await;
    let accepted = accepted.map_err(|refused| Refused { index: None, ..Refused::from(refused) })?;
    Ok(accepted.first().map(reply).unwrap_or_default())
}

fn batch_refused(problem: json::BatchError) -> Refused {
    match problem {
        json::BatchError::NotAnArray(problem) => Refused::of_event(problem),
        json::BatchError::TooMany => {
            Refused::too_large(format!("a batch has at most {BATCH_EVENTS_MAX} events"))
        }
        json::BatchError::Member { index, problem } => {
            Refused { index: Some(index), ..Refused::of_event(problem) }
        }
    }
}

fn problem(status: StatusCode, refused: &Refused) -> Response {
    let code = match (status, refused.kind) {
        (StatusCode::NOT_FOUND, _) => "not_found",
        (StatusCode::METHOD_NOT_ALLOWED, _) => "method_not_allowed",
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, _) => "unsupported_media_type",
        (StatusCode::UNAUTHORIZED, _) => "unauthorised",
        (StatusCode::CONFLICT, _) => "conflict",
        (StatusCode::TOO_MANY_REQUESTS, _) => "too_many",
        (_, RefusedKind::Invalid) => "invalid",
        (_, RefusedKind::TooLarge) => "too_large",
        (_, RefusedKind::TooSlow) => "too_slow",
        (_, RefusedKind::Busy { .. }) => "busy",
        (_, RefusedKind::Quota { .. }) => "too_many",
        (_, RefusedKind::Forbidden) => "forbidden",
        (_, RefusedKind::Form) => "unprocessable",
        (_, RefusedKind::Stopping) => "stopping",
    };
    let mut error = serde_json::json!({"code": code, "message": refused.message});
    if let Some(attribute) = &refused.attribute {
        error["attribute"] = attribute.as_str().into();
    }
    if let Some(offset) = refused.offset {
        error["offset"] = offset.into();
    }
    if let Some(rule) = &refused.rule {
        error["rule"] = rule.id.as_str().into();
        if let Some(help) = &rule.help {
            error["help"] = help.as_str().into();
        }
    }
    if let Some(index) = refused.index {
        error["index"] = index.into();
    }
    (status, Json(serde_json::json!({"error": error}))).into_response()
}

/// Its client has as many connections as it may have.
pub(super) fn too_many(message: &str) -> Response {
    problem(StatusCode::TOO_MANY_REQUESTS, &Refused::invalid(message))
}

pub(super) fn unauthorised(message: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, &Refused::invalid(message));
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
