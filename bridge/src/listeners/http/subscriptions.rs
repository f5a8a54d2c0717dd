//! Subscriptions with memory over HTTP: making, looking at, acknowledging, deleting.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;

use super::super::limits as limit;
use super::super::publish::Refused;
use super::streams::{filter, named_problem};
use super::{Shared, body, problem};
use crate::pipeline::{Acknowledged, Kind, NamedRefused, NamedView, OnRetry, Principal, Strategy, Wished};
use crate::webhook::TargetUrl;

/// Bytes of a request body here.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Tokens of one request.
const TOKENS_MAX: usize = 4_096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Make {
    name: String,
    filters: Vec<String>,
    /// A webhook that gets the events.
    push: Option<Push>,
    /// A consumer group, shared with members at other bridges.
    group: Option<Sharing>,
    lease: Option<f64>,
    max_attempts: Option<u32>,
    backoff_min: Option<f64>,
    backoff_max: Option<f64>,
    on_retry: Option<OnRetry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    url: String,
}

/// How the members of a group share.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sharing {
    strategy: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    tokens: Vec<String>,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
) -> Response {
    let all: Vec<_> = shared.pipeline.named_views(Some(&principal)).iter().map(view).collect();
    Json(serde_json::json!({"subscriptions": all})).into_response()
}

pub(super) async fn make(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    body: Body,
) -> Response {
    let wanted: Make = match read(body).await {
        Ok(wanted) => wanted,
        Err(refused) => return problem(StatusCode::BAD_REQUEST, &refused),
    };
    if wanted.filters.is_empty() || wanted.filters.len() > limit::FILTERS_PER_CLIENT {
        let message = format!("`filters` has 1 to {} filters", limit::FILTERS_PER_CLIENT);
        return problem(StatusCode::BAD_REQUEST, &Refused::invalid(message));
    }
    let filters: Result<Vec<_>, Refused> = wanted.filters.iter().map(|text| filter(text)).collect();
    let filters = match filters {
        Ok(filters) => filters,
        Err(refused) => return problem(StatusCode::BAD_REQUEST, &refused),
    };
    let push = match wanted.push.map(|push| TargetUrl::parse(&push.url)).transpose() {
        Ok(push) => push,
        Err(problem) => {
            let refused =
                Refused { attribute: Some("push.url".to_owned()), ..Refused::invalid(problem.to_string()) };
            return super::problem(StatusCode::BAD_REQUEST, &refused);
        }
    };
    let kind = match kind(push, wanted.group.as_ref()) {
        Ok(kind) => kind,
        Err(refused) => return problem(StatusCode::BAD_REQUEST, &refused),
    };
    let settings = Wished {
        lease: wanted.lease,
        max_attempts: wanted.max_attempts,
        backoff_min: wanted.backoff_min,
        backoff_max: wanted.backoff_max,
        on_retry: wanted.on_retry,
    };
    match shared.pipeline.ensure_named(&principal, &wanted.name, filters, kind, &settings).await {
        Ok(named) => shown(&shared, &principal, &named.name, StatusCode::CREATED).await,
        Err(refused) => named_problem(&refused),
    }
}

fn kind(push: Option<TargetUrl>, group: Option<&Sharing>) -> Result<Kind, Refused> {
    match (push, group) {
        (None, None) => Ok(Kind::Single),
        (Some(url), None) => Ok(Kind::Push(url)),
        (None, Some(group)) if group.strategy.is_empty() => Ok(Kind::Group(Strategy::default())),
        (None, Some(group)) => group.strategy.parse().map(Kind::Group).map_err(|()| Refused {
            attribute: Some("group.strategy".to_owned()),
            ..Refused::invalid(format!("`group.strategy` is one of {}", Strategy::NAMES.join(", ")))
        }),
        (Some(_), Some(_)) => Err(Refused::invalid("a consumer group cannot be pushed to a webhook")),
    }
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Response {
    shown(&shared, &principal, &name, StatusCode::OK).await
}

async fn shown(shared: &Shared, principal: &Principal, name: &str, status: StatusCode) -> Response {
    let all = shared.pipeline.named_views(Some(principal));
    match all.iter().find(|one| one.name == name) {
        Some(found) => {
            let mut view = view(found);
            view["interestKnownTo"] = shared.pipeline.interest_at_neighbours().await.into_iter().collect();
            (status, Json(view)).into_response()
        }
        None => named_problem(&NamedRefused::Unknown(name.chars().take(128).collect())),
    }
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Response {
    match shared.pipeline.delete_named(&principal, &name).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => named_problem(&refused),
    }
}

pub(super) async fn acknowledge(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    match tokens(body).await {
        Ok(tokens) => answer(shared.pipeline.acknowledge(&principal, &name, &tokens).await),
        Err(refused) => problem(StatusCode::BAD_REQUEST, &refused),
    }
}

pub(super) async fn give_back(
    State(shared): State<Shared>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    match tokens(body).await {
        Ok(tokens) => answer(shared.pipeline.give_back(&principal, &name, &tokens)),
        Err(refused) => problem(StatusCode::BAD_REQUEST, &refused),
    }
}

fn answer(outcome: Result<Acknowledged, NamedRefused>) -> Response {
    match outcome {
        Ok(done) => Json(serde_json::json!({"settled": done.settled, "stale": done.stale})).into_response(),
        Err(refused) => named_problem(&refused),
    }
}

async fn tokens(body: Body) -> Result<Vec<String>, Refused> {
    let Tokens { tokens } = read(body).await?;
    if tokens.len() > TOKENS_MAX {
        return Err(Refused::invalid(format!("`tokens` has at most {TOKENS_MAX}")));
    }
    Ok(tokens)
}

async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Refused> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|problem| Refused::invalid(format!("the body does not fit: {problem}")))
}

fn view(one: &NamedView) -> serde_json::Value {
    serde_json::json!({
        "name": one.name,
        "owner": one.owner,
        "filters": one.filters,
        "push": one.push,
        "group": one.strategy.map(|strategy| serde_json::json!({"strategy": strategy, "members": one.figures.members})),
        "settings": one.settings,
        "connected": one.figures.connected,
        "waiting": one.figures.waiting,
        "leased": one.figures.leased,
        "delayed": one.figures.delayed,
        "deadLetters": one.dead_letters,
        "paused": one.figures.paused,
    })
}
