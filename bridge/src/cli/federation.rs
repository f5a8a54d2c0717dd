//! A federation on this machine: each bridge its own process, on free loopback ports, with development certificates.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use tokio::process::{Child, ChildStdin, Command};

use super::cert::{Authority, bridge_uri, write_file};
use super::config::{Addresses, render};
use crate::config::read_federation;
use crate::link::TransportChoice;

/// How long a bridge may take until it answers `/readyz`, and the links until they are up.
const READY_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// How long bridges get to stop before they are killed.
const STOP_MAX: Duration = Duration::from_secs(10);
const CERTIFICATE_HOURS: u32 = 30 * 24;

/// A running bridge as `up` prints it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BridgeLine {
    pub(super) bridge: String,
    pub(super) zone: String,
    pub(super) http: String,
    pub(super) grpc: String,
    pub(super) nats: String,
    pub(super) admin: String,
    pub(super) peer: String,
    pub(super) pid: u32,
    pub(super) config: PathBuf,
}

#[derive(Debug)]
struct Member {
    line: BridgeLine,
    child: Child,
    /// Held open: the bridge stops when it closes, also when this process is killed.
    _stdin: Option<ChildStdin>,
    running: bool,
}

/// All bridges of a federation, started by this process.
#[derive(Debug)]
pub(super) struct LocalFederation {
    members: Vec<Member>,
    links: BTreeMap<String, usize>,
    client: reqwest::Client,
}

impl LocalFederation {
    /// Renders every bridge's directory below `data` and starts them all; returns when each is ready.
    pub(super) async fn start(
        federation_file: &Path,
        data: &Path,
        transport: TransportChoice,
    ) -> anyhow::Result<LocalFederation> {
        let federation = read_federation(federation_file)?;
        let authority = Authority::generate(federation.name(), 365)?;
        let mut ports = BTreeMap::new();
        for bridge in federation.bridges() {
            ports.insert(bridge.id.clone(), Ports::reserve()?);
        }
        let mut links: BTreeMap<String, usize> = BTreeMap::new();
        for link in federation.links() {
            *links.entry(link.from.clone()).or_default() += 1;
            *links.entry(link.to.clone()).or_default() += 1;
        }
        // Reserved together, so that no two got the same; released together, right before the bridges take them.
        let addresses: BTreeMap<String, Addresses> = federation
            .bridges()
            .iter()
            .map(|bridge| {
                let own = &ports[&bridge.id];
                let dialled = federation.links().iter().filter(|link| link.from == bridge.id);
                let peers = dialled.map(|link| (link.to.clone(), ports[&link.to].peer.clone())).collect();
                let addresses = Addresses {
                    peer: own.peer.clone(),
                    http: own.http.clone(),
                    grpc: own.grpc.clone(),
                    nats: own.nats.clone(),
                    admin: own.admin.clone(),
                    peers,
                    transport,
                    small: true,
                };
                (bridge.id.clone(), addresses)
            })
            .collect();
        drop(ports);
        let mut members = Vec::new();
        for bridge in federation.bridges() {
            let out = data.join(&bridge.id);
            let addresses = &addresses[&bridge.id];
            render(federation_file, &bridge.id, &bridge.zone, addresses, &out)?;
            let uri = bridge_uri(federation.name(), &bridge.zone, &bridge.id);
            authority.issue(&uri, &[], CERTIFICATE_HOURS)?.write(&out.join("tls"))?;
            write_file(&out.join("tls").join("ca.pem"), authority.certificate())?;
            let config = out.join("bridge.yaml");
            let (child, stdin) = spawn(&config)?;
            let line = BridgeLine {
                bridge: bridge.id.clone(),
                zone: bridge.zone.clone(),
                http: format!("http://{}", addresses.http),
                grpc: format!("http://{}", addresses.grpc),
                nats: format!("nats://{}", addresses.nats),
                admin: format!("http://{}", addresses.admin),
                peer: addresses.peer.clone(),
                pid: child.id().unwrap_or_default(),
                config,
            };
            members.push(Member { line, child, _stdin: Some(stdin), running: true });
        }
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let mut started = LocalFederation { members, links, client };
        for at in 0..started.members.len() {
            started.wait_ready(at).await?;
        }
        Ok(started)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &BridgeLine> {
        self.members.iter().map(|member| &member.line)
    }

    async fn wait_ready(&mut self, at: usize) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + READY_MAX;
        let member = &mut self.members[at];
        let url = format!("{}/readyz", member.line.admin);
        loop {
            if let Some(status) = member.child.try_wait()? {
                bail!("bridge `{}` ended while starting ({status}); its log is above", member.line.bridge);
            }
            let answer = self.client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("bridge `{}` was not ready within {} seconds", member.line.bridge, READY_MAX.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until every link is up at both its ends, and every bridge has a way to every other it is linked with.
    pub(super) async fn wait_links(&self) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + READY_MAX;
        for member in &self.members {
            let wanted = self.links.get(&member.line.bridge).copied().unwrap_or(0);
            loop {
                let peers = self.get(&format!("{}/v1/peers", member.line.admin)).await.unwrap_or_default();
                let up = peers["peers"]
                    .as_array()
                    .map_or(0, |all| all.iter().filter(|p| p["state"] == "up").count());
                let routes = self.get(&format!("{}/v1/routes", member.line.admin)).await.unwrap_or_default();
                let reached = routes["routes"]
                    .as_array()
                    .map_or(0, |all| all.iter().filter(|route| route["reachable"] == true).count());
                if up >= wanted && reached >= wanted {
                    break;
                }
                if tokio::time::Instant::now() > deadline {
                    bail!("bridge `{}` has {up} of {wanted} links after {READY_MAX:?}", member.line.bridge);
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    pub(super) async fn get(&self, url: &str) -> anyhow::Result<serde_json::Value> {
        Ok(self.client.get(url).send().await?.json().await?)
    }

    /// The next bridge that ends by itself, with how it ended.
    pub(super) async fn next_death(&mut self) -> (usize, String) {
        loop {
            for (at, member) in self.members.iter_mut().enumerate().filter(|(_, member)| member.running) {
                if let Ok(Some(status)) = member.child.try_wait() {
                    member.running = false;
                    return (
                        at,
                        format!("bridge `{}` (pid {}) ended: {status}", member.line.bridge, member.line.pid),
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a bridge again on its ports and data; its line has the new pid.
    pub(super) async fn restart(&mut self, at: usize) -> anyhow::Result<BridgeLine> {
        let member = &mut self.members[at];
        let (child, stdin) = spawn(&member.line.config)?;
        member.line.pid = child.id().unwrap_or_default();
        member.child = child;
        member._stdin = Some(stdin);
        member.running = true;
        self.wait_ready(at).await?;
        Ok(self.members[at].line.clone())
    }

    /// Stops every bridge and waits for it; kills what does not stop in time.
    pub(super) async fn stop(mut self) {
        for member in &mut self.members {
            member._stdin = None;
        }
        let deadline = tokio::time::Instant::now() + STOP_MAX;
        for member in &mut self.members {
            if tokio::time::timeout_at(deadline, member.child.wait()).await.is_err() {
                let _ = member.child.kill().await;
            }
        }
    }
}

fn spawn(config: &Path) -> anyhow::Result<(Child, ChildStdin)> {
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let level = std::env::var("MESHBRIDGE_LOG").unwrap_or_else(|_| "warn".to_owned());
    let mut child = Command::new(program)
        .arg("run")
        .arg("--config")
        .arg(config)
        .arg("--stop-with-stdin")
        .env("MESHBRIDGE_LOG", level)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        // Its own group: Ctrl-C in a terminal reaches this process, which stops the bridges in order.
        .process_group(0)
        .spawn()
        .context("cannot start a bridge")?;
    let stdin = child.stdin.take().ok_or_else(|| anyhow!("a bridge has no stdin"))?;
    Ok((child, stdin))
}

/// Free ports of the loopback, held until dropped.
struct Ports {
    peer: String,
    http: String,
    grpc: String,
    nats: String,
    admin: String,
    _held: (UdpSocket, [TcpListener; 5]),
}

impl Ports {
    fn reserve() -> anyhow::Result<Ports> {
        let (peer, udp, tcp) = found(|address| Ok((UdpSocket::bind(address)?, TcpListener::bind(address)?)))
            .map(|(address, (udp, tcp))| (address, udp, tcp))?;
        let client = || found(TcpListener::bind::<SocketAddr>);
        let (http, grpc, nats, admin) = (client()?, client()?, client()?, client()?);
        Ok(Ports {
            // Peers find a bridge under one number, whichever protocol they speak.
            peer: peer.to_string(),
            http: http.0.to_string(),
            grpc: grpc.0.to_string(),
            nats: nats.0.to_string(),
            admin: admin.0.to_string(),
            _held: (udp, [tcp, http.1, grpc.1, nats.1, admin.1]),
        })
    }
}

/// A loopback port that `bind` takes. Below those that systems give to clients, so that no connection takes it between
/// its release and the bridge.
fn found<T>(bind: impl Fn(SocketAddr) -> std::io::Result<T>) -> anyhow::Result<(SocketAddr, T)> {
    const TRIES: usize = 200;
    let mut problem = None;
    for _ in 0..TRIES {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..32_000)));
        match bind(address) {
            Ok(bound) => return Ok((address, bound)),
            Err(taken) => problem = Some(taken),
        }
    }
    Err(problem.map_or_else(|| anyhow!("no free port"), anyhow::Error::from)).context("no free port")
}
