//! Draining and removing other bridges as destinations of this one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use meshbridge_routing::BridgeId;
use serde::Deserialize;

use super::{AdminState, error};
use crate::pipeline::MembershipRefused;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Drain {
    undo: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Remove {
    /// Also where something is pending and the bridge was not drained.
    yes: bool,
}

pub(super) async fn show(State(state): State<Arc<AdminState>>, Path(bridge): Path<String>) -> Response {
    match parse(&bridge) {
        Ok(bridge) => answer(state.pipeline.bridge_view(&bridge)),
        Err(response) => response,
    }
}

pub(super) async fn drain(
    State(state): State<Arc<AdminState>>,
    Path(bridge): Path<String>,
    body: Bytes,
) -> Response {
    match (parse(&bridge), read::<Drain>(&body)) {
        (Ok(bridge), Ok(wish)) => answer(state.pipeline.drain_bridge(&bridge, !wish.undo).await),
        (Err(response), _) | (_, Err(response)) => response,
    }
}

pub(super) async fn remove(
    State(state): State<Arc<AdminState>>,
    Path(bridge): Path<String>,
    body: Bytes,
) -> Response {
    match (parse(&bridge), read::<Remove>(&body)) {
        (Ok(bridge), Ok(wish)) => answer(state.pipeline.remove_bridge(&bridge, wish.yes).await),
        (Err(response), _) | (_, Err(response)) => response,
    }
}

#[allow(clippy::result_large_err)]
fn parse(bridge: &str) -> Result<BridgeId, Response> {
    BridgeId::parse(bridge).map_err(|_| error(StatusCode::BAD_REQUEST, "invalid", "this is no bridge id"))
}

#[allow(clippy::result_large_err)]
fn read<T: Default + serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|problem| {
        error(StatusCode::BAD_REQUEST, "invalid", &format!("the body does not fit: {problem}"))
    })
}

fn answer<T: serde::Serialize>(outcome: Result<T, MembershipRefused>) -> Response {
    let refused = match outcome {
        Ok(view) => return Json(view).into_response(),
        Err(refused) => refused,
    };
    let (status, code) = match &refused {
        MembershipRefused::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
        MembershipRefused::Own(_) => (StatusCode::BAD_REQUEST, "invalid"),
        MembershipRefused::Removed(_) => (StatusCode::CONFLICT, "removed"),
        MembershipRefused::Pending { .. } => (StatusCode::CONFLICT, "pending"),
        MembershipRefused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    error(status, code, &refused.to_string())
}
