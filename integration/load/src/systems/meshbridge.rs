//! Meshbridge: one bridge in each of two zones, A dials B. Clients speak NATS to both.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Needs, Pair, Place, Transport, cleartext};
use crate::process::{Server, free_address};
use crate::shapes::Policies;
use crate::wire::Protocol;

const FEDERATION: &str = include_str!("../../federation/federation.yaml");
const DELIVERY: &str = include_str!("../../federation/common/delivery.yaml");
const OPEN: &str = include_str!("../../federation/open/10-open.yaml");
const RULES: &str = include_str!("../../federation/rules/20-rules.yaml");
const REDACTION: &str = include_str!("../../federation/redaction/30-redaction.yaml");

/// What a binary can do, by its own account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abilities {
    pub(super) nats_listener: bool,
    pub(super) tcp: bool,
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
        tcp: spec["peers"]["items"]["properties"]["transport"].is_object(),
    }
}

pub(super) fn start(program: &Path, transport: Transport, needs: Needs, place: Place<'_>) -> Result<Pair> {
    let directory = place.directory;
    make_certificates(program, directory)?;
    let addresses = [(); 2].map(|()| Addresses::free());
    let [a, b] = addresses;
    let (a, b) = (a?, b?);
    write(directory, "b-1", "b", &b, "", needs.policies)?;
    let transport = match transport {
        Transport::Quic => "",
        Transport::Tcp => ", transport: tcp",
    };
    let peers = format!("{{bridge: b-1, address: \"{}\"{transport}}}", b.peer);
    write(directory, "a-1", "a", &a, &peers, needs.policies)?;
    let run = |name: &str, addresses: &Addresses| -> Result<Server> {
        let config = directory.join(name).join("bridge.yaml");
        let arguments = ["run", "--config", &config.to_string_lossy()];
        let mut server = Server::start(name, program, &arguments, directory)?;
        server.wait_for(addresses.nats, place.interrupt)?;
        Ok(server)
    };
    let server_b = run("b-1", &b)?;
    let server_a = run("a-1", &a)?;
    Ok(Pair {
        publish_at: cleartext(a.nats, Protocol::Nats),
        subscribe_at: cleartext(b.nats, Protocol::Nats),
        servers: vec![server_a, server_b],
    })
}

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

fn make_certificates(program: &Path, directory: &Path) -> Result<()> {
    let ca = directory.join("ca");
    let run = |arguments: &[&str]| -> Result<()> {
        let output = Command::new(program).arg("cert").args(arguments).output()?;
        ensure!(output.status.success(), "cert: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(&["init", "--federation", "bench", "--out", &ca.to_string_lossy()])?;
    for zone in ["a", "b"] {
        let bridge = format!("{zone}-1");
        let out = directory.join(&bridge).join("tls");
        run(&[
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
        ])?;
    }
    Ok(())
}

/// Writes what `meshbridge run` needs for one bridge.
fn write(
    directory: &Path,
    bridge: &str,
    zone: &str,
    addresses: &Addresses,
    peers: &str,
    policies: Policies,
) -> Result<()> {
    let base = directory.join(bridge);
    let documents = base.join("policies");
    fs::create_dir_all(&documents)?;
    fs::write(base.join("federation.yaml"), FEDERATION)?;
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
    let text = format!(
        "apiVersion: meshbridge/v1
kind: Bridge
metadata: {{name: {bridge}}}
spec:
  zone: {zone}
  federation: federation.yaml
  dataDirectory: data
  tls: {{certificate: tls/cert.pem, key: tls/key.pem, ca: ../ca/ca.pem}}
  peering: {{listen: \"{peer}\"}}
  peers: [{peers}]
  listeners:
    nats: {{listen: \"{nats}\"}}
  admin: {{listen: \"{admin}\"}}
  policy: {{directories: [policies]}}
"
    );
    fs::write(base.join("bridge.yaml"), text).context("bridge.yaml")
}
