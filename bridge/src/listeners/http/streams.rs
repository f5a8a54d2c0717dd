//! Live streams: server-sent events and WebSocket.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use meshbridge_event::json::write_structured;
use meshbridge_topic::TopicFilter;
use percent_encoding::percent_decode_str;

use super::super::limits as limit;
use super::super::publish::Refused;
use super::{Shared, problem};
use crate::pipeline::{Delivery, Principal, SubscribeRefused, Subscription, SubscriptionEnd};

/// The attribute added at delivery.
const TOPIC: &str = "meshbridgetopic";
const KEY: &str = "meshbridgekey";

pub(super) async fn server_sent_events(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Response {
    let subscription = match subscribe(&shared, &principal, query.as_deref(), limit::SSE_QUEUE_BYTES).await {
        Ok(subscription) => subscription,
        Err(response) => return response,
    };
    // The comment goes out with the headers: a client knows at once that its interest is registered.
    let first = SseEvent::default().comment("subscribed");
    let events = stream::unfold((Some(first), Some(subscription)), |(first, subscription)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(first), (None, subscription)));
        }
        let mut subscription = subscription?;
        let event = tokio::select! {
            received = subscription.recv() => match received {
                Ok(delivery) => message(&delivery),
                // The last message says why; then the stream ends.
                Err(end) => {
                    let last = SseEvent::default().event("end").data(end.to_string());
                    return Some((Ok(last), (None, None)));
                }
            },
            () = tokio::time::sleep(limit::COMMENT_EVERY) => SseEvent::default().comment("alive"),
        };
        Some((Ok(event), (None, Some(subscription))))
    });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

fn message(delivery: &Delivery) -> SseEvent {
    let text = structured(delivery, &[(TOPIC, delivery.topic.as_str())]);
    // JSON data may hold raw line breaks between its tokens; each line becomes a data line and the client joins them.
    let mut event = SseEvent::default().id(delivery.key.to_string());
    event = event.data(text.replace('\r', " "));
    event
}

fn structured(delivery: &Delivery, extra: &[(&str, &str)]) -> String {
    let mut out = Vec::with_capacity(delivery.event.encoded().len() + 128);
    write_structured(&delivery.event, extra, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

pub(super) async fn web_socket(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let allowed = origin.to_str().is_ok_and(|origin| shared.origins.iter().any(|known| known == origin));
        if !allowed {
            let refused = Refused::invalid("web pages of this origin may not connect");
            return problem(StatusCode::FORBIDDEN, &refused);
        }
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let refused = Refused::invalid(format!("this path speaks WebSocket: {rejection}"));
            return problem(StatusCode::UPGRADE_REQUIRED, &refused);
        }
    };
    match subscribe(&shared, &principal, query.as_deref(), limit::STREAM_QUEUE_BYTES).await {
        Ok(subscription) => upgrade
            .max_message_size(limit::WEBSOCKET_MESSAGE_BYTES)
            .max_frame_size(limit::WEBSOCKET_MESSAGE_BYTES)
            .on_upgrade(move |socket| run_socket(socket, subscription)),
        Err(response) => response,
    }
}

async fn run_socket(mut socket: WebSocket, mut subscription: Subscription) {
    let mut ping = tokio::time::interval(limit::COMMENT_EVERY);
    ping.reset();
    loop {
        let sent = tokio::select! {
            received = subscription.recv() => match received {
                Ok(delivery) => {
                    let key = delivery.key.to_string();
                    let extra = [(TOPIC, delivery.topic.as_str()), (KEY, key.as_str())];
                    socket.send(Message::Text(structured(&delivery, &extra).into())).await
                }
                Err(end) => {
                    let code = match end {
                        SubscriptionEnd::Overflow => close_code::POLICY,
                        SubscriptionEnd::Draining => close_code::AWAY,
                    };
                    let frame = CloseFrame { code, reason: end.to_string().into() };
                    let _ = socket.send(Message::Close(Some(frame))).await;
                    return;
                }
            },
            incoming = socket.recv() => match incoming {
                // Clients have nothing to say here; pings are answered by the library.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => Ok(()),
            },
            _ = ping.tick() => socket.send(Message::Ping(Vec::new().into())).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn subscribe(
    shared: &Shared,
    principal: &Principal,
    query: Option<&str>,
    queue_bytes: usize,
) -> Result<Subscription, Response> {
    let filters =
        filters(query.unwrap_or_default()).map_err(|refused| problem(StatusCode::BAD_REQUEST, &refused))?;
    if shared.stop.is_cancelled() {
        return Err(unavailable("the bridge is stopping"));
    }
    shared.pipeline.subscribe(principal, filters, queue_bytes).await.map_err(|refused| match refused {
        SubscribeRefused::InterestFull(message) => {
            problem(StatusCode::TOO_MANY_REQUESTS, &Refused::invalid(message))
        }
        SubscribeRefused::Draining => unavailable("the bridge is stopping"),
    })
}

fn unavailable(message: &str) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, &Refused::invalid(message))
}

fn filters(query: &str) -> Result<Vec<TopicFilter>, Refused> {
    let mut filters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "filter" {
            let shown: String = name.chars().take(64).collect();
            return Err(Refused::invalid(format!("unknown parameter `{shown}`, only `filter` is known")));
        }
        let text = percent_decode_str(value).decode_utf8();
        let text = text.map_err(|_| Refused::invalid("parameter `filter` is not UTF-8"))?;
        let filter = TopicFilter::parse(&text).map_err(|problem| Refused {
            attribute: Some("filter".to_owned()),
            offset: Some(problem.offset),
            ..Refused::invalid(format!("parameter `filter` is no topic filter: {problem}"))
        })?;
        if filters.len() == limit::FILTERS_PER_CLIENT {
            let message = format!("a client has at most {} filters", limit::FILTERS_PER_CLIENT);
            return Err(Refused::invalid(message));
        }
        filters.push(filter);
    }
    if filters.is_empty() {
        return Err(Refused::invalid("give at least one `filter`, such as ?filter=orders.**"));
    }
    Ok(filters)
}
