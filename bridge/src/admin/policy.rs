//! Which policies this bridge judges by, and whether the others judge by the same.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use meshbridge_routing::{BridgeId, Router};
use serde::Serialize;

use super::views::hex;
use super::{AdminState, error};
use crate::bundles::BundlesView;
use crate::pipeline::rfc3339;

/// Bridges that are named in one answer; their number is told.
const NAMED_MAX: usize = 100;

#[derive(Serialize)]
struct Policy {
    digest: String,
    generation: u64,
    #[serde(serialize_with = "rfc3339")]
    loaded_at: SystemTime,
    files: usize,
    last_error: Option<String>,
}

pub(super) async fn show(State(state): State<Arc<AdminState>>) -> Response {
    let active = state.policies.active();
    Json(Policy {
        digest: hex(&active.program.digest()),
        generation: active.number,
        loaded_at: active.loaded_at,
        files: active.files,
        last_error: state.policies.last_error(),
    })
    .into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundles {
    bridge: String,
    zone: String,
    #[serde(flatten)]
    view: BundlesView,
    drift: Drift,
}

/// Bridges that report other policies than they should have.
#[derive(Serialize)]
struct Drift {
    count: usize,
    bridges: Vec<String>,
}

pub(super) async fn bundles(State(state): State<Arc<AdminState>>) -> Response {
    let Some(bundles) = &state.bundles else {
        let message = "this bridge reads plain directories: `policy.bundles` of its configuration is not set";
        return error(StatusCode::NOT_FOUND, "not_found", message);
    };
    let drifting: Vec<String> = standings(&state)
        .await
        .into_iter()
        .filter(|standing| standing.in_step == Some(false))
        .map(|standing| standing.bridge)
        .collect();
    let drift = Drift { count: drifting.len(), bridges: drifting.into_iter().take(NAMED_MAX).collect() };
    let (bridge, zone) = (state.bridge.clone(), state.zone.clone());
    Json(Bundles { bridge, zone, view: BundlesView::clone(&bundles.load()), drift }).into_response()
}

/// What a bridge says of its policies in link state.
pub(super) struct Standing {
    pub(super) bridge: String,
    pub(super) digest: String,
    /// Whether that is what a bridge of its zone should have; `None` where nobody here knows.
    pub(super) in_step: Option<bool>,
}

pub(super) async fn standings(state: &AdminState) -> Vec<Standing> {
    type Record = (BridgeId, String, [u8; 32]);
    let read = |router: &Router| -> Vec<Record> {
        router.records().map(|r| (r.bridge.clone(), r.zone.to_string(), r.policy_digest)).collect()
    };
    let records = state.router.view(read).await.unwrap_or_default();
    let own = state.policies.active().mark.digest;
    let view = state.bundles.as_ref().map(|bundles| bundles.load());
    let in_step = |zone: &str, digest: &[u8; 32]| match &view {
        Some(view) => view.is_in_step(zone, digest),
        None => Some(*digest == own),
    };
    let standing = |(bridge, zone, digest): Record| Standing {
        bridge: bridge.to_string(),
        in_step: in_step(&zone, &digest),
        digest: hex(&digest),
    };
    records.into_iter().map(standing).collect()
}

/// As people read it.
pub(super) fn step(in_step: bool) -> &'static str {
    if in_step { "in step" } else { "differs" }
}

/// For `/healthz`: what is wrong with the bundles, if anything is.
pub(super) fn alarms(state: &AdminState) -> Option<String> {
    let view = state.bundles.as_ref()?.load();
    let first = view.alarms.first()?;
    let more = view.alarms.len() - 1;
    Some(format!(
        "{} alarms about policy bundles ({} of {}); see /v1/policy/bundles",
        more + 1,
        first.kind,
        first.about
    ))
}
