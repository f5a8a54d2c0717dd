//! The admin port: health, metrics and the state of the bridge as JSON. It changes nothing
//! but dead letters, what is held in quarantine, and whether other bridges are drained or removed.
//!
//! On loopback it answers without credentials, so a page in a browser on the same machine is the outsider to keep
//! out: `Host` must name the loopback and `Origin`, where there is one, too (RELIABILITY G13). Anywhere else the
//! listener demands mutual TLS, which is decided where it is bound.

mod delivery;
mod guard;
mod kept;
mod live;
mod peers;
mod policy;
mod quarantine;
mod state;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};

pub(crate) use guard::HostGuard;
pub(crate) use kept::ExportParameters;
pub(crate) use live::{CaptureParameters, WatchParameters};
pub(crate) use state::AdminState;

/// The routes of the admin port.
pub(crate) fn router(state: Arc<AdminState>, guard: HostGuard) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/peers", get(views::peers))
        .route("/v1/peers/{bridge}", get(peers::show))
        .route("/v1/peers/{bridge}/drain", post(peers::drain))
        .route("/v1/peers/{bridge}/remove", post(peers::remove))
        .route("/v1/routes", get(views::routes))
        .route("/v1/interest", get(views::interest))
        .route("/v1/policy", get(policy::show))
        .route("/v1/policy/bundles", get(policy::bundles))
        .route("/v1/policy/drift", get(views::drift))
        .route("/v1/policy/watch", post(live::watch))
        .route("/v1/policy/capture", post(live::capture))
        .route("/v1/deadletters", get(views::dead_letters))
        .route("/v1/delivery", get(delivery::accounts))
        .route("/v1/events/{key}", get(delivery::event))
        .route("/v1/subscriptions", get(delivery::subscriptions))
        .route("/v1/dlq", get(delivery::dead_letters))
        .route("/v1/dlq/{id}", get(kept::letter))
        .route("/v1/dlq/export", post(kept::export_letters))
        .route("/v1/dlq/replay", post(delivery::replay))
        .route("/v1/dlq/purge", post(delivery::purge))
        .route("/v1/quarantine", get(quarantine::list))
        .route("/v1/quarantine/{id}", get(kept::held))
        .route("/v1/quarantine/export", post(kept::export_held))
        .route("/v1/quarantine/release", post(quarantine::release))
        .route("/v1/quarantine/refuse", post(quarantine::refuse))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(state)
}

/// Red when the spool is damaged or an account does not balance. Alarms about policy bundles are told, but leave it
/// green: the policies are in force, and a restart, which red asks for at many places, would mend nothing.
async fn healthz(State(state): State<Arc<AdminState>>) -> Response {
    if state.pipeline.is_healthy() {
        return match policy::alarms(&state) {
            Some(alarms) => format!("ok; {alarms}").into_response(),
            None => "ok".into_response(),
        };
    }
    let message = "the spool is damaged, or an account does not balance; see /v1/delivery";
    error(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", message)
}

async fn readyz(State(state): State<Arc<AdminState>>) -> Response {
    let readiness = state.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    state.refresh_gauges();
    let drifting = policy::standings(&state).await.iter().filter(|one| one.in_step == Some(false)).count();
    state.metrics.policy_drift.set(i64::try_from(drifting).unwrap_or(i64::MAX));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
        .into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(serde_json::json!({"error": {"code": code, "message": message}}))).into_response()
}
