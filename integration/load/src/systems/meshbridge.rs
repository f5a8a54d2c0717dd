//! Meshbridge: one bridge in each of two zones, A dials B. Clients speak NATS to both.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use serde_json::Value;

use super::{Needs, Pair, Place, Transport};
use crate::certificates;
use crate::connection::Target;
use crate::process::{Server, free_address};
use crate::shapes::Policies;
use crate::wire::Protocol;

const FEDERATION: &str = include_str!("../../federation/federation.yaml");
const DIAMOND: &str = include_str!("../../federation/diamond.yaml");
const DELIVERY: &str = include_str!("../../federation/common/delivery.yaml");
const OPEN: &str = include_str!("../../federation/open/10-open.yaml");
const RULES: &str = include_str!("../../federation/rules/20-rules.yaml");
const REDACTION: &str = include_str!("../../federation/redaction/30-redaction.yaml");

/// What a binary can do, by its own account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abilities {
    pub(super) nats_listener: bool,
    /// Links can be told what to run over; without that they run over QUIC.
    pub(super) transports: bool,
}

/// Asks a binary for the schema of its configuration.
pub(super) fn abilities(program: &Path) -> Abilities {
    let output = Command::new(program).args(["config", "schema", "Bridge"]).output();
    let Ok(schema) = serde_json::from_slice::<Value>(&output.map(|output| output.stdout).unwrap_or_default())
    else {
        return Abilities::default();
    };
    let spec = &schema["properties"]["spec"]["properties"];
    Abilities {
        nats_listener: spec["listeners"]["properties"]["nats"].is_object(),
        transports: spec["peers"]["items"]["properties"]["transport"].is_object(),
    }
}

pub(super) fn start(program: &Path, transport: Transport, needs: Needs, place: Place<'_>) -> Result<Pair> {
    let dials = [("b", &[][..]), ("a", &["b"][..])];
    let mut bridges = start_all(program, FEDERATION, &dials, transport, needs.policies, place)?;
    let (a, b) = (bridges.remove("a").context("a")?, bridges.remove("b").context("b")?);
    let tls = place.client_tls.then(|| client_tls(program, place)).transpose()?;
    Ok(Pair {
        publish_at: Target { address: a.addresses.nats, protocol: Protocol::Nats, tls: tls.clone() },
        subscribe_at: Target { address: b.addresses.nats, protocol: Protocol::Nats, tls },
        servers: vec![a.server, b.server],
    })
}

/// The certificate of a client of the federation's authority.
fn client_tls(program: &Path, place: Place<'_>) -> Result<Arc<ClientConfig>> {
    let (ca, out) = (place.directory.join("ca"), place.directory.join("client"));
    let arguments = [
        "issue",
        "--ca",
        &ca.to_string_lossy(),
        "--federation",
        "bench",
        "--client",
        "load",
        "--out",
        &out.to_string_lossy(),
    ];
    certificate(program, &arguments)?;
    certificates::client(&ca.join("ca.pem"), &out.join("cert.pem"), &out.join("key.pem"))
}

fn certificate(program: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).arg("cert").args(arguments).output()?;
    ensure!(output.status.success(), "cert: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Four bridges with two paths between A and B.
#[derive(Debug)]
pub(crate) struct Diamond {
    pub(crate) publish_at: Target,
    pub(crate) subscribe_at: Target,
    pub(crate) admin: SocketAddr,
    /// The bridges between, by id.
    pub(crate) carriers: BTreeMap<String, Server>,
    // Held for their Drop.
    _ends: [Server; 2],
}

pub(crate) fn start_diamond(program: &Path, transport: Transport, place: Place<'_>) -> Result<Diamond> {
    let dials = [("b", &[][..]), ("c", &["b"][..]), ("d", &["b"][..]), ("a", &["c", "d"][..])];
    let mut bridges = start_all(program, DIAMOND, &dials, transport, Policies::Off, place)?;
    let (a, b) = (bridges.remove("a").context("a")?, bridges.remove("b").context("b")?);
    Ok(Diamond {
        publish_at: Target { address: a.addresses.nats, protocol: Protocol::Nats, tls: None },
        subscribe_at: Target { address: b.addresses.nats, protocol: Protocol::Nats, tls: None },
        admin: a.addresses.admin,
        carriers: bridges.into_iter().map(|(zone, bridge)| (format!("{zone}-1"), bridge.server)).collect(),
        _ends: [a.server, b.server],
    })
}

struct Bridge {
    server: Server,
    addresses: Addresses,
}

/// One bridge for each zone, by its name; who is dialled stands before who dials.
fn start_all(
    program: &Path,
    federation: &str,
    dials: &[(&str, &[&str])],
    transport: Transport,
    policies: Policies,
    place: Place<'_>,
) -> Result<BTreeMap<String, Bridge>> {
    fs::create_dir_all(place.directory)?;
    let zones: Vec<&str> = dials.iter().map(|(zone, _)| *zone).collect();
    make_certificates(program, place.directory, &zones)?;
    let mut bridges: BTreeMap<String, Bridge> = BTreeMap::new();
    for (zone, dialled) in dials {
        let peers = dialled.iter().map(|peer| {
            let address = bridges[*peer].addresses.peer;
            format!("{{bridge: {peer}-1, address: \"{address}\"{}}}", dial_over(transport))
        });
        let peers = peers.collect::<Vec<_>>().join(", ");
        let addresses = Addresses::free()?;
        let base = place.directory.join(format!("{zone}-1"));
        write(
            &base,
            zone,
            federation,
            &addresses,
            Written { peers: &peers, policies, client_tls: place.client_tls },
        )?;
        let config = base.join("bridge.yaml");
        let arguments = ["run", "--config", &config.to_string_lossy()];
        let mut server = Server::start(&format!("{zone}-1"), program, &arguments, place.directory)?;
        server.wait_for(addresses.nats, place.interrupt)?;
        bridges.insert((*zone).to_owned(), Bridge { server, addresses });
    }
    Ok(bridges)
}

/// The words in a peer's entry.
fn dial_over(transport: Transport) -> &'static str {
    match transport {
        Transport::OnlyQuic => "",
        Transport::Quic => ", transport: quic",
        Transport::Tcp => ", transport: tcp",
    }
}

#[derive(Debug)]
struct Addresses {
    peer: SocketAddr,
    nats: SocketAddr,
    admin: SocketAddr,
}

impl Addresses {
    fn free() -> Result<Addresses> {
        Ok(Addresses { peer: free_address()?, nats: free_address()?, admin: free_address()? })
    }
}

fn make_certificates(program: &Path, directory: &Path, zones: &[&str]) -> Result<()> {
    let ca = directory.join("ca");
    certificate(program, &["init", "--federation", "bench", "--out", &ca.to_string_lossy()])?;
    for zone in zones {
        let bridge = format!("{zone}-1");
        let out = directory.join(&bridge).join("tls");
        let arguments = [
            "issue",
            "--ca",
            &ca.to_string_lossy(),
            "--federation",
            "bench",
            "--zone",
            zone,
            "--bridge",
            &bridge,
            "--dns",
            "127.0.0.1",
            "--out",
            &out.to_string_lossy(),
        ];
        certificate(program, &arguments)?;
    }
    Ok(())
}

/// What differs between the configurations of bridges.
struct Written<'a> {
    peers: &'a str,
    policies: Policies,
    client_tls: bool,
}

/// Writes what `meshbridge run` needs for one bridge.
fn write(
    base: &Path,
    zone: &str,
    federation: &str,
    addresses: &Addresses,
    Written { peers, policies, client_tls }: Written<'_>,
) -> Result<()> {
    let documents = base.join("policies");
    fs::create_dir_all(&documents)?;
    fs::write(base.join("federation.yaml"), federation)?;
    fs::write(documents.join("delivery.yaml"), DELIVERY)?;
    let chosen: &[(&str, &str)] = match policies {
        Policies::Off => &[("10-open.yaml", OPEN)],
        Policies::Rules => &[("20-rules.yaml", RULES)],
        Policies::Redaction => &[("20-rules.yaml", RULES), ("30-redaction.yaml", REDACTION)],
    };
    for (name, text) in chosen {
        fs::write(documents.join(name), text)?;
    }
    let Addresses { peer, nats, admin } = addresses;
    let tls = if client_tls {
        ", tls: {certificate: tls/cert.pem, key: tls/key.pem, clientCa: ../ca/ca.pem}"
    } else {
        ""
    };
    let text = format!(
        "apiVersion: meshbridge/v1
kind: Bridge
metadata: {{name: {zone}-1}}
spec:
  zone: {zone}
  federation: federation.yaml
  dataDirectory: data
  tls: {{certificate: tls/cert.pem, key: tls/key.pem, ca: ../ca/ca.pem}}
  peering: {{listen: \"{peer}\"}}
  peers: [{peers}]
  listeners:
    nats: {{listen: \"{nats}\"{tls}}}
  admin: {{listen: \"{admin}\"}}
  policy: {{directories: [policies]}}
  interest: {{filtersPerBridge: 2000000, filters: 4000000}}
"
    );
    fs::write(base.join("bridge.yaml"), text).context("bridge.yaml")
}
