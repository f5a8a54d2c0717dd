//! Where peers reach this bridge and which of them it dials, over what: the sections `peering` and `peers`.

use std::time::Duration;

use anyhow::bail;
use meshbridge_policy::{Federation, Key, Node as Yaml, Shape};
use meshbridge_routing::BridgeId;

use super::{parse_address, parse_peer_address};
use crate::link::{PeerListen, PeerToDial, TransportChoice};

/// Rare enough to cost nothing, often enough for the network that was mended at night.
const QUIC_RETRY_SECS: u64 = 30;

pub(super) static PEERING: Shape = Shape::Map(&[
    Key::required("listen", &Shape::Text, "address:port, for QUIC over UDP and for TLS over TCP"),
    Key::optional("tcp", &Shape::Bool, "false: UDP only; true by default"),
    Key::optional(
        "quicRetrySecs",
        &Shape::Integer { min: 1, max: 3_600 },
        "how often a link that fell back to TCP tries QUIC; 30 by default, more where QUIC comes and goes",
    ),
]);

pub(super) static PEERS: Shape = Shape::List {
    of: &Shape::Map(&[
        Key::required("bridge", &Shape::Name, "the peer's id in the federation document"),
        Key::required("address", &Shape::Text, "host:port"),
        Key::optional(
            "transport",
            &Shape::OneOf(&TransportChoice::NAMES),
            "auto by default: QUIC, and TCP while QUIC does not get through",
        ),
    ]),
    non_empty: false,
};

pub(super) fn lower(peering: &Yaml) -> anyhow::Result<PeerListen> {
    Ok(PeerListen {
        address: parse_address(peering.get("listen").and_then(Yaml::text).unwrap_or_default())?,
        tcp: peering.get("tcp").and_then(Yaml::boolean).unwrap_or(true),
    })
}

/// Those that `name` dials; each must be a link of the federation document.
pub(super) fn lower_peers(
    peers: Option<&Yaml>,
    peering: &Yaml,
    name: &str,
    federation: &Federation,
) -> anyhow::Result<Vec<PeerToDial>> {
    let retry = peering.get("quicRetrySecs").and_then(Yaml::integer);
    let retry = retry.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(QUIC_RETRY_SECS);
    let mut lowered = Vec::new();
    for peer in peers.map(Yaml::items).unwrap_or_default() {
        let text = |key: &str| peer.get(key).and_then(Yaml::text).unwrap_or_default();
        let id = text("bridge");
        let linked = federation.links().iter().any(|link| link.from == name && link.to == id);
        if !linked {
            bail!("peer `{id}`: the federation document has no link from `{name}` to it");
        }
        lowered.push(PeerToDial {
            bridge: BridgeId::parse(id)?,
            address: parse_peer_address(text("address"))?,
            transport: TransportChoice::parse(text("transport")).unwrap_or_default(),
            quic_retry: Duration::from_secs(retry),
        });
    }
    Ok(lowered)
}
