//! Live streams: server-sent events and WebSocket.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use meshbridge_event::json::{Added, write_structured};
use meshbridge_topic::TopicFilter;
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::super::limits as limit;
use super::super::publish::Refused;
use super::{Shared, problem};
use crate::pipeline::{
    Acks, Delivery, Flushed, Kind, LEASES_MAX, NamedConnection, NamedEnd, NamedRefused, OnRetry, Principal,
    Reader, Strategy, SubscribeRefused, Subscription, SubscriptionEnd, WEIGHT_MAX, Wished,
};

/// Attributes added at delivery.
const TOPIC: &str = "meshbridgetopic";
const KEY: &str = "meshbridgekey";
const COUNT: &str = "meshbridgedelivery";

/// What a stream reads.
enum Source {
    Live(Subscription),
    /// With memory; `true` where events are acknowledged by token.
    Named(NamedConnection, bool),
}

/// An event on its way to a client.
struct Item {
    delivery: Arc<Delivery>,
    token: Option<String>,
    count: Option<u32>,
}

/// Why there are no more.
enum End {
    Live(SubscriptionEnd),
    Named(NamedEnd),
}

impl End {
    fn text(&self) -> String {
        match self {
            End::Live(end) => end.to_string(),
            End::Named(end) => end.to_string(),
        }
    }
}

impl Source {
    async fn recv(&mut self) -> Result<Item, End> {
        match self {
            Source::Live(subscription) => {
                let delivery = subscription.recv().await.map_err(End::Live)?;
                Ok(Item { delivery, token: None, count: None })
            }
            Source::Named(connection, manual) => {
                let leased = connection.recv().await.map_err(End::Named)?;
                let token = manual.then(|| leased.token.to_string());
                Ok(Item { delivery: leased.delivery, token, count: Some(leased.count) })
            }
        }
    }
}

impl Item {
    /// The event in JSON; `with_key` where the protocol has no field for it.
    fn structured(&self, with_key: bool) -> String {
        let key = self.delivery.key.to_string();
        let mut added: SmallVec<[(&str, Added<'_>); 3]> = SmallVec::new();
        added.push((TOPIC, Added::Text(self.delivery.topic.as_str())));
        if with_key {
            added.push((KEY, Added::Text(&key)));
        }
        if let Some(count) = self.count {
            added.push((COUNT, Added::Integer(count)));
        }
        let mut out = Vec::with_capacity(self.delivery.event.encoded().len() + 128);
        write_structured(&self.delivery.event, &added, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    fn message(&self) -> SseEvent {
        let text = self.structured(self.token.is_some());
        let id = self.token.clone().unwrap_or_else(|| self.delivery.key.to_string());
        // JSON data may hold raw line breaks between its tokens; each line becomes a data line and the client joins
        // them.
        SseEvent::default().id(id).data(text.replace('\r', " "))
    }
}

pub(super) async fn server_sent_events(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    Extension(flushed): Extension<Flushed>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let seen = Seen { last, flushed: Some(flushed) };
    let opened = open(&shared, &principal, query.as_deref(), limit::SSE_QUEUE_BYTES, seen).await;
    let source = match opened {
        Ok(source) => source,
        Err(response) => return response,
    };
    // The comment goes out with the headers: a client knows at once that its interest is registered.
    let first = SseEvent::default().comment("subscribed");
    let events = stream::unfold((Some(first), Some(source)), |(first, source)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(first), (None, source)));
        }
        let mut source = source?;
        let event = tokio::select! {
            received = source.recv() => match received {
                Ok(item) => item.message(),
                // The last message says why; then the stream ends.
                Err(end) => {
                    let last = SseEvent::default().event("end").data(end.text());
                    return Some((Ok(last), (None, None)));
                }
            },
            () = tokio::time::sleep(limit::COMMENT_EVERY) => SseEvent::default().comment("alive"),
        };
        Some((Ok(event), (None, Some(source))))
    });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
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
    // A message is flushed before the next one is asked for.
    let seen = Seen { last: None, flushed: None };
    match open(&shared, &principal, query.as_deref(), limit::STREAM_QUEUE_BYTES, seen).await {
        Ok(Source::Named(_, true)) => {
            let refused = Refused::invalid("acknowledgement by token is for server-sent events and gRPC");
            problem(StatusCode::BAD_REQUEST, &refused)
        }
        Ok(source) => upgrade
            .max_message_size(limit::WEBSOCKET_MESSAGE_BYTES)
            .max_frame_size(limit::WEBSOCKET_MESSAGE_BYTES)
            .on_upgrade(move |socket| run_socket(socket, source)),
        Err(response) => response,
    }
}

async fn run_socket(mut socket: WebSocket, mut source: Source) {
    let mut ping = tokio::time::interval(limit::COMMENT_EVERY);
    ping.reset();
    loop {
        let sent = tokio::select! {
            received = source.recv() => match received {
                Ok(item) => socket.send(Message::Text(item.structured(true).into())).await,
                Err(end) => {
                    let code = match &end {
                        End::Live(SubscriptionEnd::Draining) | End::Named(NamedEnd::Stopping) => close_code::AWAY,
                        _ => close_code::POLICY,
                    };
                    let frame = CloseFrame { code, reason: end.text().into() };
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

/// What a connection tells of what its client has had.
struct Seen<'r> {
    /// The id of the last event the client has seen.
    last: Option<&'r str>,
    flushed: Option<Flushed>,
}

/// What the parameters of a stream ask for.
#[derive(Default)]
struct Wanted {
    filters: Vec<TopicFilter>,
    subscription: Option<String>,
    group: Option<String>,
    strategy: Option<Strategy>,
    weight: Option<u32>,
    manual: bool,
    credit: Option<usize>,
    settings: Wished,
}

async fn open(
    shared: &Shared,
    principal: &Principal,
    query: Option<&str>,
    queue_bytes: usize,
    seen: Seen<'_>,
) -> Result<Source, Response> {
    let wanted = wanted(query).map_err(|refused| problem(StatusCode::BAD_REQUEST, &refused))?;
    if shared.stop.is_cancelled() {
        return Err(unavailable("the bridge is stopping"));
    }
    let kind = match (&wanted.group, wanted.strategy) {
        (Some(_), strategy) => Kind::Group(strategy.unwrap_or_default()),
        (None, _) => Kind::Single,
    };
    let Some(name) = wanted.group.or(wanted.subscription) else {
        let subscribed = shared.pipeline.subscribe(principal, wanted.filters, queue_bytes).await;
        return subscribed.map(Source::Live).map_err(|refused| match refused {
            SubscribeRefused::InterestFull(message) => {
                problem(StatusCode::TOO_MANY_REQUESTS, &Refused::invalid(message))
            }
            SubscribeRefused::Denied(denied) => problem(StatusCode::FORBIDDEN, &Refused::from(&*denied)),
            SubscribeRefused::Draining => unavailable("the bridge is stopping"),
        });
    };
    let last_seen = seen.last.filter(|_| !wanted.manual);
    let acks = if wanted.manual { Acks::Manual } else { Acks::Auto(seen.flushed) };
    let (filters, weight) = (wanted.filters, wanted.weight.unwrap_or(1));
    let reader = Reader { name: &name, filters, kind, weight, settings: wanted.settings, acks, last_seen };
    let connected = shared.pipeline.connect_named(principal, reader).await;
    let mut connection = connected.map_err(|refused| named_problem(&refused))?;
    if let Some(credit) = wanted.credit {
        connection.set_credit(credit);
    }
    Ok(Source::Named(connection, wanted.manual))
}

pub(super) fn named_problem(refused: &NamedRefused) -> Response {
    let status = match refused {
        NamedRefused::Denied(denied) => return problem(StatusCode::FORBIDDEN, &Refused::from(&**denied)),
        NamedRefused::Name | NamedRefused::GroupName | NamedRefused::Settings(_) => StatusCode::BAD_REQUEST,
        NamedRefused::OtherFilters(_)
        | NamedRefused::Pushed(_)
        | NamedRefused::IsGroup(_)
        | NamedRefused::IsNoGroup(_) => StatusCode::CONFLICT,
        NamedRefused::Webhook(_) => StatusCode::UNPROCESSABLE_ENTITY,
        NamedRefused::Unknown(_) => StatusCode::NOT_FOUND,
        NamedRefused::TooMany | NamedRefused::InterestFull(_) => StatusCode::TOO_MANY_REQUESTS,
        NamedRefused::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, &Refused::invalid(refused.to_string()))
}

fn unavailable(message: &str) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, &Refused::invalid(message))
}

/// The parameters of a request, decoded.
pub(super) fn parameters(query: Option<&str>) -> Result<Vec<(String, String)>, Refused> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let shown: String = name.chars().take(64).collect();
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Refused::invalid(format!("parameter `{shown}` is not UTF-8")))?;
            Ok((name.to_owned(), value.into_owned()))
        })
        .collect()
}

pub(super) fn unknown_parameter(name: &str, known: &str) -> Refused {
    let shown: String = name.chars().take(64).collect();
    Refused::invalid(format!("unknown parameter `{shown}`; known are {known}"))
}

/// Parameters of a stream.
const KNOWN: &str = "`filter`, `subscription`, `ack`, `credit`, `lease`, `maxAttempts`, `backoffMin`, `backoffMax`, `onRetry`";

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Refused> {
    value.parse().map_err(|_| Refused::invalid(format!("parameter `{name}` is no number that fits")))
}

fn wanted(query: Option<&str>) -> Result<Wanted, Refused> {
    let mut wanted = Wanted::default();
    for (name, value) in parameters(query)? {
        match name.as_str() {
            "filter" => wanted.filters.push(filter(&value)?),
            "subscription" => wanted.subscription = Some(value),
            "group" => wanted.group = Some(value),
            "strategy" => {
                let strategy = value.parse().map_err(|()| {
                    Refused::invalid(format!("strategy is one of {}", Strategy::NAMES.join(", ")))
                })?;
                wanted.strategy = Some(strategy);
            }
            "weight" => {
                let weight = value.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
                let weight = weight
                    .ok_or_else(|| Refused::invalid(format!("weight is a number from 1 to {WEIGHT_MAX}")))?;
                wanted.weight = Some(weight);
            }
            "ack" if value == "manual" => wanted.manual = true,
            "ack" if value == "auto" => wanted.manual = false,
            "ack" => return Err(Refused::invalid("ack is `auto` or `manual`")),
            "credit" => {
                let credit = value.parse().ok().filter(|credit| (1..=LEASES_MAX).contains(credit));
                let credit = credit
                    .ok_or_else(|| Refused::invalid(format!("credit is a number from 1 to {LEASES_MAX}")))?;
                wanted.credit = Some(credit);
            }
            "lease" => wanted.settings.lease = Some(number(&name, &value)?),
            "maxAttempts" => wanted.settings.max_attempts = Some(number(&name, &value)?),
            "backoffMin" => wanted.settings.backoff_min = Some(number(&name, &value)?),
            "backoffMax" => wanted.settings.backoff_max = Some(number(&name, &value)?),
            "onRetry" if value == "continue" => wanted.settings.on_retry = Some(OnRetry::Continue),
            "onRetry" if value == "block" => wanted.settings.on_retry = Some(OnRetry::Block),
            "onRetry" => return Err(Refused::invalid("onRetry is `continue` or `block`")),
            _ => return Err(unknown_parameter(&name, KNOWN)),
        }
        if wanted.filters.len() > limit::FILTERS_PER_CLIENT {
            let message = format!("a client has at most {} filters", limit::FILTERS_PER_CLIENT);
            return Err(Refused::invalid(message));
        }
    }
    if wanted.group.is_some() && wanted.subscription.is_some() {
        return Err(Refused::invalid("name a `subscription` or a `group`, not both"));
    }
    if wanted.group.is_none() && (wanted.strategy.is_some() || wanted.weight.is_some()) {
        return Err(Refused::invalid("`strategy` and `weight` are for a `group`"));
    }
    let with_memory = wanted.subscription.is_some() || wanted.group.is_some();
    if wanted.filters.is_empty() && !with_memory {
        return Err(Refused::invalid("give at least one `filter`, such as ?filter=orders.**"));
    }
    if !with_memory && (wanted.manual || wanted.credit.is_some()) {
        return Err(Refused::invalid("`ack` and `credit` are for a `subscription` or a `group`"));
    }
    if wanted.subscription.is_none() && wanted.settings != Wished::default() {
        return Err(Refused::invalid("`lease` and the like are for a `subscription`"));
    }
    if wanted.credit.is_some() && !wanted.manual {
        return Err(Refused::invalid("`credit` goes with ack=manual"));
    }
    Ok(wanted)
}

pub(super) fn filter(text: &str) -> Result<TopicFilter, Refused> {
    TopicFilter::parse(text).map_err(|problem| Refused {
        attribute: Some("filter".to_owned()),
        offset: Some(problem.offset),
        ..Refused::invalid(format!("parameter `filter` is no topic filter: {problem}"))
    })
}
