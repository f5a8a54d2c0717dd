//! The JSON of each state endpoint. These types are the API; the domain types behind them may change without it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use meshbridge_routing::{BridgeId, InterestView, Router, ZoneName};
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
    /// It may learn something of what is wanted here, and only zones that may not lie before it: it is not told.
    cut_off: bool,
}

pub(super) async fn routes(State(state): State<Arc<AdminState>>) -> Response {
    let read = state
        .router
        .view(|router| {
            (router.forwarding().generation(), router.routes().collect::<Vec<_>>(), router.cut_off())
        })
        .await;
    let Some((generation, routes, cut_off)) = read else { return stopping() };
    let cut_off: BTreeSet<BridgeId> = cut_off.into_iter().flat_map(|(_, bridges)| bridges).collect();
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
            cut_off: cut_off.contains(&route.bridge),
        })
        .collect();
    Json(Routes { bridge: state.bridge.clone(), generation, routes }).into_response()
}

#[derive(Serialize)]
struct Interest {
    bridge: String,
    sets: Vec<InterestSet>,
    /// Filters that no other zone is told of, because the audiences are too many.
    untold: usize,
}

#[derive(Serialize)]
struct InterestSet {
    bridge: String,
    zone: String,
    /// The zones that may learn of this set.
    audience: AudienceView,
    /// Of an own set: bridges of its audience that only zones that may not learn of it lie before.
    cut_off: Vec<String>,
    epoch: u64,
    version: u64,
    complete: bool,
    count: usize,
    filters: Vec<String>,
    /// Consumer groups there.
    groups: Vec<InterestGroup>,
}

/// `all`, or a list of zones.
#[derive(Serialize)]
#[serde(untagged)]
enum AudienceView {
    Everyone(&'static str),
    Zones(Vec<String>),
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
    let read = |router: &Router| {
        (router.interest_sets().collect::<Vec<_>>(), router.cut_off(), router.untold(), router.id().clone())
    };
    let Some((sets, cut_off, untold, own)) = state.router.view(read).await else {
        return stopping();
    };
    let cut_off = |set: &InterestView| {
        let of_set = cut_off.iter().filter(|(audience, _)| set.bridge == own && *audience == set.audience);
        of_set.flat_map(|(_, bridges)| bridges).map(ToString::to_string).collect()
    };
    let names = |zones: &[ZoneName]| AudienceView::Zones(zones.iter().map(ToString::to_string).collect());
    let sets = sets
        .into_iter()
        .map(|set| InterestSet {
            bridge: set.bridge.to_string(),
            zone: set.zone.to_string(),
            audience: set.audience.list().map_or(AudienceView::Everyone("all"), names),
            cut_off: cut_off(&set),
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
    Json(Interest { bridge: state.bridge.clone(), sets, untold }).into_response()
}

pub(super) async fn drift(State(state): State<Arc<AdminState>>) -> Response {
    Json(state.drift.report(state.policies.active().number)).into_response()
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
