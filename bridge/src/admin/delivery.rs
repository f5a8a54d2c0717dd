//! The delivery endpoints: accounts, one event, subscriptions, dead letters.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use meshbridge_delivery::DeadLetterEnd;
use meshbridge_routing::EventKey;
use serde::{Deserialize, Serialize};

use super::{AdminState, error};
use crate::pipeline::DeadLetterView;

/// Dead letters of one answer.
const PAGE_MAX: usize = 1_000;

pub(super) async fn accounts(State(state): State<Arc<AdminState>>) -> Response {
    let (accounts, sources) = state.pipeline.accounts();
    let spool = state.pipeline.spool_figures();
    Json(serde_json::json!({
        "bridge": state.bridge,
        "balanced": accounts.iter().all(|account| account.balanced),
        "destinations": accounts,
        "sources": sources,
        "spool": {
            "segments": spool.segments,
            "segmentsMax": spool.segments_max,
            "liveBytes": spool.live_bytes,
            "queuedBytes": spool.queued_bytes,
            "flushMicroseconds": spool.flush.as_micros() as u64,
            "admits": spool.admits,
            "damaged": spool.damaged,
        },
    }))
    .into_response()
}

pub(super) async fn event(State(state): State<Arc<AdminState>>, Path(key): Path<String>) -> Response {
    let Ok(key) = key.parse::<EventKey>() else {
        return error(
            StatusCode::BAD_REQUEST,
            "invalid",
            "this is no event key: origin:epoch-nonce:lane:number",
        );
    };
    match state.pipeline.trace(&key) {
        Some(found) => Json(found).into_response(),
        None => {
            error(StatusCode::NOT_FOUND, "not_found", "this bridge knows nothing of the event (any more)")
        }
    }
}

pub(super) async fn subscriptions(State(state): State<Arc<AdminState>>) -> Response {
    let all: Vec<_> = state
        .pipeline
        .named_views(None)
        .into_iter()
        .map(|one| {
            serde_json::json!({
                "name": one.name, "owner": one.owner, "filters": one.filters, "settings": one.settings,
                "strategy": one.strategy, "members": one.figures.members,
                "connected": one.figures.connected, "waiting": one.figures.waiting,
                "leased": one.figures.leased, "delayed": one.figures.delayed, "deadLetters": one.dead_letters,
                "paused": one.figures.paused,
            })
        })
        .collect();
    Json(serde_json::json!({"bridge": state.bridge, "subscriptions": all})).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The last id of the page before.
    after: Option<String>,
    limit: Option<usize>,
    subscription: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetters {
    bridge: String,
    total: usize,
    entries: Vec<DeadLetterView>,
}

pub(super) async fn dead_letters(State(state): State<Arc<AdminState>>, Query(page): Query<Page>) -> Response {
    let limit = page.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let (total, entries) =
        state.pipeline.browse_dead_letters(page.subscription.as_deref(), page.after.as_deref(), limit);
    Json(DeadLetters { bridge: state.bridge.clone(), total, entries }).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Ids, or all of a subscription, or all.
    #[serde(default)]
    ids: Vec<String>,
    subscription: Option<String>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn replay(State(state): State<Arc<AdminState>>, body: Bytes) -> Response {
    end(&state, &body, DeadLetterEnd::Replayed).await
}

pub(super) async fn purge(State(state): State<Arc<AdminState>>, body: Bytes) -> Response {
    end(&state, &body, DeadLetterEnd::Purged).await
}

async fn end(state: &AdminState, body: &Bytes, how: DeadLetterEnd) -> Response {
    let which: Which = match serde_json::from_slice(body) {
        Ok(which) => which,
        Err(problem) => {
            let message = format!("the body does not fit: {problem}; give ids, subscription or all");
            return error(StatusCode::BAD_REQUEST, "invalid", &message);
        }
    };
    if which.ids.is_empty() && which.subscription.is_none() && !which.all {
        return error(StatusCode::BAD_REQUEST, "invalid", "give ids, subscription or all");
    }
    let chosen = state.pipeline.choose_dead_letters(&which.ids, which.subscription.as_deref());
    match state.pipeline.end_dead_letters(&chosen, how).await {
        Ok(count) => Json(serde_json::json!({"done": count})).into_response(),
        Err(refused) => error(StatusCode::SERVICE_UNAVAILABLE, "stopping", &refused.to_string()),
    }
}
