//! The JSON of each state endpoint. These types are the API; the domain types behind them may change without it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use super::{AdminState, policy};
use crate::link::PeerView;
use crate::pipeline::{DEAD_LETTERS_MAX, DeadLetter};

#[derive(Serialize)]
struct Peers {
    bridge: String,
    zone: String,
    policy_digest: String,
    peers: Vec<PeerView>,
}

pub(super) async fn peers(State(state): State<Arc<AdminState>>) -> Response {
    let standings = policy::standings(&state).await;
    let mut peers = state.links.view();
    for peer in &mut peers {
        let standing = standings.iter().find(|standing| standing.bridge == peer.bridge);
        peer.policy_digest = standing.map(|standing| standing.digest.clone());
        peer.policy = standing.and_then(|standing| standing.in_step).map(policy::step);
    }
    Json(Peers {
        bridge: state.bridge.clone(),
        zone: state.zone.clone(),
        policy_digest: hex(&state.policies.active().mark.digest),
        peers,
    })
    .into_response()
}

#[derive(Serialize)]
struct Routes {
    bridge: String,
    generation: u64,
    routes: Vec<Route>,
}

#[derive(Serialize)]
struct Route {
    bridge: String,
    zone: String,
    reachable: bool,
    cost: Option<u64>,
    hops: Option<usize>,
    next_hop: Option<String>,
    path: Vec<String>,
}

pub(super) async fn routes(State(state): State<Arc<AdminState>>) -> Response {
    let read = state
        .router
        .view(|router| (router.forwarding().generation(), router.routes().collect::<Vec<_>>()))
        .await;
    let Some((generation, routes)) = read else { return stopping() };
    let routes = routes
        .into_iter()
        .map(|route| Route {
            bridge: route.bridge.to_string(),
            zone: route.zone.to_string(),
            reachable: route.reachable,
            cost: route.reachable.then_some(route.cost),
            hops: route.reachable.then_some(route.hops),
            next_hop: route.next_hop.map(|bridge| bridge.to_string()),
            path: route.path.iter().map(ToString::to_string).collect(),
        })
        .collect();
    Json(Routes { bridge: state.bridge.clone(), generation, routes }).into_response()
}

#[derive(Serialize)]
struct Interest {
    bridge: String,
    sets: Vec<InterestSet>,
}

#[derive(Serialize)]
struct InterestSet {
    bridge: String,
    zone: String,
    epoch: u64,
    version: u64,
    complete: bool,
    count: usize,
    filters: Vec<String>,
    /// Consumer groups there.
    groups: Vec<InterestGroup>,
}

#[derive(Serialize)]
struct InterestGroup {
    filter: String,
    /// The group's name and its owner's.
    group: String,
    /// A member is connected.
    live: bool,
}

/// Filters shown for one bridge; a set may have a hundred thousand, `count` tells how many there are.
const FILTERS_SHOWN: usize = 1_000;

pub(super) async fn interest(State(state): State<Arc<AdminState>>) -> Response {
    let Some(sets) = state.router.view(|router| router.interest_sets().collect::<Vec<_>>()).await else {
        return stopping();
    };
    let sets = sets
        .into_iter()
        .map(|set| InterestSet {
            bridge: set.bridge.to_string(),
            zone: set.zone.to_string(),
            epoch: set.run.epoch,
            version: set.version,
            complete: set.complete,
            count: set.filters.len() + set.groups.len(),
            groups: set
                .groups
                .iter()
                .take(FILTERS_SHOWN)
                .map(|(filter, group)| InterestGroup {
                    filter: filter.as_str().to_owned(),
                    group: group.name.to_string(),
                    live: group.live,
                })
                .collect(),
            filters: set
                .filters
                .iter()
                .take(FILTERS_SHOWN)
                .map(|filter| filter.as_str().to_owned())
                .collect(),
        })
        .collect();
    Json(Interest { bridge: state.bridge.clone(), sets }).into_response()
}

#[derive(Serialize)]
struct DeadLetters {
    capacity: usize,
    overwritten: u64,
    entries: Vec<DeadLetter>,
}

pub(super) async fn dead_letters(State(state): State<Arc<AdminState>>) -> Response {
    let (entries, overwritten) = state.pipeline.dead_letters();
    Json(DeadLetters { capacity: DEAD_LETTERS_MAX, overwritten, entries }).into_response()
}

fn stopping() -> Response {
    super::error(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the bridge is stopping")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
