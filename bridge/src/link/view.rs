//! A link as `/v1/peers` shows it.

use meshbridge_routing::BridgeId;
use serde::Serialize;

use super::{Direction, LinkState, TransportChoice};

/// One configured link; counters are those of this process, over all sessions.
#[derive(Debug, Serialize)]
pub(crate) struct PeerView {
    pub(crate) bridge: String,
    zone: String,
    state: &'static str,
    direction: &'static str,
    /// What carries the session; without one, what is to be tried. `null` where only the peer knows.
    transport: Option<&'static str>,
    remote: Option<String>,
    cost: u32,
    rtt_ms: Option<f64>,
    up_secs: Option<f64>,
    pub(crate) policy_digest: Option<String>,
    /// Whether that is the digest which its zone should have.
    pub(crate) policy: Option<&'static str>,
    queued_bytes: usize,
    sent: Traffic,
    received: Traffic,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Traffic {
    events: u64,
    data_bytes: u64,
    control_bytes: u64,
}

pub(super) fn of(peer: &BridgeId, link: &LinkState) -> PeerView {
    let session = link.session.as_deref();
    let state = match (session, link.dialling) {
        (Some(_), _) => "up",
        (None, true) => "connecting",
        (None, false) => "down",
    };
    let metrics = &link.metrics;
    PeerView {
        bridge: peer.to_string(),
        zone: link.zone.to_string(),
        state,
        direction: match link.direction {
            Direction::Dialled => "dialled",
            Direction::Accepted => "accepted",
        },
        transport: match session {
            Some(session) => Some(session.transport().name()),
            None => link.transport.map(TransportChoice::name),
        },
        remote: session.map(|s| s.remote.to_string()).or_else(|| link.address.clone()),
        cost: link.cost,
        rtt_ms: session.and_then(|s| s.round_trip()).map(|rtt| rtt.as_secs_f64() * 1e3),
        up_secs: session.map(|s| s.since.elapsed().as_secs_f64()),
        policy_digest: None,
        policy: None,
        queued_bytes: session.map_or(0, |s| s.outbox.queued_bytes()),
        sent: Traffic {
            events: metrics.sent_events.get(),
            data_bytes: metrics.sent_data_bytes.get(),
            control_bytes: metrics.sent_control_bytes.get(),
        },
        received: Traffic {
            events: metrics.received_events.get(),
            data_bytes: metrics.received_data_bytes.get(),
            control_bytes: metrics.received_control_bytes.get(),
        },
        last_error: link.last_error.clone(),
    }
}
