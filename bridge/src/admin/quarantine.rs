//! What rules hold at this bridge, and what people say of it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};

use super::{AdminState, error};
use crate::pipeline::{HeldView, Principal, RulingRefused, Which};

/// Held pairs of one answer.
const PAGE_MAX: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The last id of the page before.
    after: Option<String>,
    limit: Option<usize>,
    rule: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Quarantined {
    bridge: String,
    /// Listed, over all pages.
    total: usize,
    /// Held and not listed, because the list is full.
    unlisted: usize,
    entries: Vec<HeldView>,
}

pub(super) async fn list(State(state): State<Arc<AdminState>>, Query(page): Query<Page>) -> Response {
    let limit = page.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let (total, unlisted, entries) =
        state.pipeline.quarantined(page.rule.as_deref(), page.after.as_deref(), limit);
    Json(Quarantined { bridge: state.bridge.clone(), total, unlisted, entries }).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    ids: Vec<String>,
    rule: Option<String>,
    reason: String,
}

pub(super) async fn release(
    State(state): State<Arc<AdminState>>,
    Extension(by): Extension<Principal>,
    body: Bytes,
) -> Response {
    match read(&body) {
        Ok((which, reason)) => answer(state.pipeline.release(&by, &which, &reason)),
        Err(response) => response,
    }
}

pub(super) async fn refuse(
    State(state): State<Arc<AdminState>>,
    Extension(by): Extension<Principal>,
    body: Bytes,
) -> Response {
    match read(&body) {
        Ok((which, reason)) => answer(state.pipeline.refuse(&by, &which, &reason).await),
        Err(response) => response,
    }
}

#[allow(clippy::result_large_err)]
fn read(body: &Bytes) -> Result<(Which, String), Response> {
    let invalid = |message: &str| error(StatusCode::BAD_REQUEST, "invalid", message);
    let asked: Asked = serde_json::from_slice(body).map_err(|problem| {
        invalid(&format!("the body does not fit: {problem}; give ids or rule, and reason"))
    })?;
    match (asked.ids.is_empty(), asked.rule) {
        (false, None) => Ok((Which::Ids(asked.ids), asked.reason)),
        (true, Some(rule)) => Ok((Which::Rule(rule), asked.reason)),
        _ => Err(invalid("give either ids or rule")),
    }
}

fn answer(outcome: Result<usize, RulingRefused>) -> Response {
    let refused = match outcome {
        Ok(done) => return Json(serde_json::json!({"done": done})).into_response(),
        Err(refused) => refused,
    };
    let (status, code) = match &refused {
        RulingRefused::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
        RulingRefused::Reason => (StatusCode::BAD_REQUEST, "invalid"),
        RulingRefused::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
        RulingRefused::Unrecorded | RulingRefused::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        RulingRefused::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "disk"),
        RulingRefused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    error(status, code, &refused.to_string())
}
