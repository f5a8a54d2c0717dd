//! Bridges run by the test itself, one process each, on ports and data directories that outlive them, every link over a [`Relay`]. Where [`crate::Federation`]
//! shows what `meshbridge up` does, a mesh is for breaking things: a bridge can be killed, lose its disk and be started again, a link can get any weather.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{Node, Relay, binary, eventually, issue, meshbridge, ports};

mod books;
mod clocks;
mod strikes;

pub use clocks::faketime;
pub use strikes::Image;

const COMMAND_WITHIN: Duration = Duration::from_secs(10);
const READY_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// How much of a bridge's log is shown when a test fails.
const LOG_BYTES_SHOWN: usize = 4_096;

/// Zones of one bridge each, and who dials whom. Zone `north` has the bridge `north-1`.
#[derive(Clone, Debug)]
pub struct Plan {
    zones: Vec<String>,
    links: Vec<(String, String)>,
}

impl Plan {
    /// Zones and the links between them, from who dials to who is dialled.
    pub fn new(links: &[(&str, &str)]) -> Plan {
        let mut zones: Vec<String> = Vec::new();
        for (from, to) in links {
            for zone in [from, to] {
                if !zones.iter().any(|known| known == zone) {
                    zones.push((*zone).to_owned());
                }
            }
        }
        let links = links.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        Plan { zones, links }
    }

    /// `west` – `middle` – `east`.
    pub fn chain() -> Plan {
        Plan::new(&[("west", "middle"), ("middle", "east")])
    }

    /// `west` reaches `east` over `north` and over `south`.
    pub fn diamond() -> Plan {
        Plan::new(&[("west", "north"), ("west", "south"), ("north", "east"), ("south", "east")])
    }

    /// Four bridges that reach each other over `hub` alone.
    pub fn star() -> Plan {
        Plan::new(&[("north", "hub"), ("east", "hub"), ("south", "hub"), ("west", "hub")])
    }

    /// The federation document, with `more` lines in its spec.
    pub fn federation(&self, more: &str) -> String {
        federation(self) + more
    }

    /// The zones, in the order in which the links name them.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// Five bridges in a ring, so that no single cut parts them, and any two do.
    pub fn ring() -> Plan {
        Plan::new(&[("r0", "r1"), ("r1", "r2"), ("r2", "r3"), ("r3", "r4"), ("r4", "r0")])
    }
}

/// How the bridges of a mesh are run, where that is not as usual.
#[derive(Clone, Debug, Default)]
pub struct Rigging {
    /// Another binary than the ordinary one.
    pub binary: Option<PathBuf>,
    /// The section `spool` of every bridge, without its braces.
    pub spool: String,
    /// What carries the links, `quic`, `tcp` or `auto`; where nothing is said, what MESHBRIDGE_TRANSPORT says, or the bridges' default.
    pub transport: Option<&'static str>,
    /// More keys of the section `peering`, each with a comma in front.
    pub peering: String,
    /// Where the data directory of a zone is, if not beside the configuration.
    pub data: BTreeMap<String, PathBuf>,
    /// The section `policy` of every bridge, without its braces, if it is not the plain directory `policies`.
    pub policy: Option<String>,
    /// More lines of the federation document.
    pub federation: String,
    /// Files that a zone begins with, below the directory of its configuration.
    pub files: Vec<(String, PathBuf, Vec<u8>)>,
    /// More variables of every bridge's environment.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// The library that shows each bridge a clock of its own ([`faketime`](crate::faketime), [`Mesh::set_clock`]).
    pub clocks: Option<PathBuf>,
}

#[derive(Debug)]
struct Member {
    node: Node,
    child: Option<Child>,
}

/// A running mesh; its bridges are killed when it is dropped, and end by themselves should the test be killed.
#[derive(Debug)]
pub struct Mesh {
    members: BTreeMap<String, Mutex<Member>>,
    relays: BTreeMap<(String, String), Relay>,
    binary: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    clocks: Option<PathBuf>,
    history: Mutex<Vec<String>>,
    began: Instant,
    directory: TempDir,
}

impl Mesh {
    /// Starts everything and waits until each bridge has a way to each other. The seed is that of the relays.
    pub async fn start(plan: &Plan, seed: u64) -> Result<Mesh> {
        Mesh::start_rigged(plan, seed, &Rigging::default()).await
    }

    /// The same, with bridges that are run otherwise.
    pub async fn start_rigged(plan: &Plan, seed: u64, rigging: &Rigging) -> Result<Mesh> {
        let mut directory = tempfile::tempdir()?;
        if std::env::var_os("MESHBRIDGE_KEEP").is_some() {
            directory.disable_cleanup(true);
            eprintln!("the mesh is in {}", directory.path().display());
        }
        let base = directory.path();
        let authority = base.join("ca");
        let made = meshbridge(
            &["cert", "init", "--federation", "acme", "--out", &authority.display().to_string()],
            COMMAND_WITHIN,
        )?;
        ensure!(made.code == 0, "{}", made.stderr);
        let mut ports_of: BTreeMap<&str, [u16; 5]> = BTreeMap::new();
        for zone in &plan.zones {
            let mut own = [0; 5];
            for port in &mut own {
                *port = ports::reserve()?;
            }
            ports_of.insert(zone, own);
        }
        let mut relays = BTreeMap::new();
        for (number, (from, to)) in plan.links.iter().enumerate() {
            let callee = SocketAddr::from(([127, 0, 0, 1], ports_of[to.as_str()][0]));
            let relay = Relay::start(callee, seed.wrapping_add(number as u64)).await?;
            relays.insert((from.clone(), to.clone()), relay);
        }
        let mut members = BTreeMap::new();
        for zone in &plan.zones {
            let dialled: Vec<(&str, SocketAddr)> = relays
                .iter()
                .filter(|((from, _), _)| from == zone)
                .map(|((_, to), relay)| (to.as_str(), relay.address()))
                .collect();
            let node = prepare(base, zone, plan, ports_of[zone.as_str()], &dialled, rigging)?;
            members.insert(zone.clone(), Mutex::new(Member { node, child: None }));
        }
        let binary = rigging.binary.clone().unwrap_or_else(binary);
        let history = Mutex::new(Vec::new());
        let environment = rigging.environment.clone();
        let clocks = rigging.clocks.clone();
        let began = Instant::now();
        let mesh = Mesh { members, relays, binary, environment, clocks, history, began, directory };
        for zone in &plan.zones {
            mesh.set_clock(zone, 0)?;
            mesh.spawn(zone, "")?;
        }
        for zone in &plan.zones {
            mesh.ready(zone).await?;
        }
        mesh.connected().await?;
        Ok(mesh)
    }

    /// The bridge of a zone.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn zone(&self, zone: &str) -> Node {
        self.member(zone).node.clone()
    }

    /// The names of the zones.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The wire of the link that `from` dials.
    ///
    /// # Panics
    ///
    /// When the plan has no such link.
    pub fn relay(&self, from: &str, to: &str) -> &Relay {
        self.relays.get(&(from.to_owned(), to.to_owned())).unwrap_or_else(|| panic!("no link {from}–{to}"))
    }

    /// All wires, by who dials and who is dialled.
    pub fn relays(&self) -> impl Iterator<Item = (&str, &str, &Relay)> {
        self.relays.iter().map(|((from, to), relay)| (from.as_str(), to.as_str(), relay))
    }

    /// Since the mesh was started.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Kills the bridge of a zone at once, and waits until it is gone.
    pub fn kill(&self, zone: &str) -> Result<()> {
        let mut member = self.member(zone);
        let mut child = member.child.take().with_context(|| format!("{zone} does not run"))?;
        child.kill()?;
        child.wait()?;
        self.note(&format!("killed {zone}"));
        Ok(())
    }

    /// Takes the disk of a bridge that does not run.
    pub fn wipe(&self, zone: &str) -> Result<()> {
        let member = self.member(zone);
        ensure!(member.child.is_none(), "{zone} runs");
        fs::remove_dir_all(data_of(&member.node.config)).with_context(|| format!("wipe {zone}"))?;
        self.note(&format!("wiped {zone}"));
        Ok(())
    }

    /// Starts the bridge of a zone again, on its ports and data, and waits until it is ready.
    pub async fn restart(&self, zone: &str) -> Result<()> {
        self.spawn(zone, "")?;
        self.ready(zone).await?;
        self.note(&format!("{zone} is back"));
        Ok(())
    }

    /// Starts the bridge of a zone so that it fails as `points` says (FAILPOINTS of a binary made for that); it may end before it is ready.
    pub fn start_failing(&self, zone: &str, points: &str) -> Result<()> {
        self.spawn(zone, points)?;
        self.note(&format!("{zone} is back, with {points}"));
        Ok(())
    }

    /// Waits until the bridge of a zone has ended by itself.
    pub async fn ends(&self, zone: &str, within: Duration) -> Result<ExitStatus> {
        let status = eventually(&format!("{zone} ends by itself"), within, || async {
            let mut member = self.member(zone);
            let child = member.child.as_mut().with_context(|| format!("{zone} does not run"))?;
            child.try_wait()?.context("it runs")
        })
        .await
        .with_context(|| self.story())?;
        self.member(zone).child = None;
        self.note(&format!("{zone} ended with {status}"));
        Ok(status)
    }

    /// What the bridge of a zone has logged in all its lives.
    pub fn log(&self, zone: &str) -> String {
        fs::read_to_string(log_of(&self.zone(zone).config)).unwrap_or_default()
    }

    /// Waits until each running bridge has a way to each other.
    pub async fn connected(&self) -> Result<()> {
        let nodes = self.running();
        for node in &nodes {
            let admin = node.admin();
            eventually(&format!("{} reaches every other", node.bridge), SETTLED_WITHIN, || async {
                for other in nodes.iter().filter(|other| other.bridge != node.bridge) {
                    ensure!(admin.route_to(&other.bridge).await?.reachable, "no way to {}", other.bridge);
                }
                Ok(())
            })
            .await
            .with_context(|| self.story())?;
        }
        Ok(())
    }

    /// Waits until each running bridge knows that the bridge of a zone wants `filter`.
    pub async fn knows(&self, zone: &str, filter: &str) -> Result<()> {
        let owner = self.zone(zone).bridge;
        for node in self.running() {
            let admin = node.admin();
            let what = format!("{} knows that {owner} wants {filter}", node.bridge);
            eventually(&what, SETTLED_WITHIN, || async {
                let wanted = admin.interest_of(&owner).await?;
                ensure!(wanted.iter().any(|known| known == filter), "{owner} wants {wanted:?}");
                Ok(())
            })
            .await
            .with_context(|| self.story())?;
        }
        Ok(())
    }

    /// Adds a line to the history.
    pub fn note(&self, what: &str) {
        let line = format!("{:9.3} {what}", self.now().as_secs_f64());
        self.history.lock().expect("not poisoned").push(line);
    }

    /// What was done to the mesh, what became of its packets, and the last words of its bridges: for the message of a failed test.
    pub fn story(&self) -> String {
        let mut story = self.history.lock().expect("not poisoned").join("\n");
        for (from, to, relay) in self.relays() {
            let [forward, backward] = crate::Way::BOTH.map(|way| relay.traffic(way));
            story.push_str(&format!("\nwire {from}–{to}: forward {forward:?}, backward {backward:?}"));
        }
        for zone in self.zones() {
            let log = self.log(zone);
            let start = log.len().saturating_sub(LOG_BYTES_SHOWN);
            let tail = log.char_indices().find(|(at, _)| *at >= start).map_or("", |(at, _)| &log[at..]);
            story.push_str(&format!("\n--- the log of {zone} ends:\n{tail}"));
        }
        story
    }

    /// Where the files of the mesh are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The bridges that run.
    pub fn running(&self) -> Vec<Node> {
        let members = self.members.values().map(|member| member.lock().expect("not poisoned"));
        members.filter(|member| member.child.is_some()).map(|member| member.node.clone()).collect()
    }

    fn member(&self, zone: &str) -> MutexGuard<'_, Member> {
        let member = self.members.get(zone).unwrap_or_else(|| panic!("no zone {zone}"));
        member.lock().expect("not poisoned")
    }

    fn spawn(&self, zone: &str, fail_points: &str) -> Result<()> {
        let mut member = self.member(zone);
        ensure!(member.child.is_none(), "{zone} runs already");
        let log = File::options().create(true).append(true).open(log_of(&member.node.config))?;
        let child = Command::new(&self.binary)
            .args(["run", "--stop-with-stdin", "--config"])
            .arg(&member.node.config)
            .env("MESHBRIDGE_LOG", "info")
            .env("NO_COLOR", "1")
            .env("FAILPOINTS", fail_points)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.clock_of(&member.node.config))
            // Held by the child, so that the bridge ends with the test.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start a bridge")?;
        member.node.pid = child.id();
        member.child = Some(child);
        Ok(())
    }

    async fn ready(&self, zone: &str) -> Result<()> {
        let admin = self.zone(zone).admin();
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok((200, _)) = admin.text("/readyz").await {
                return Ok(());
            }
            let ended = match &mut self.member(zone).child {
                Some(child) => child.try_wait()?,
                None => bail!("{zone} was killed while it started"),
            };
            if let Some(status) = ended {
                bail!("{zone} ended with {status}: {}", self.story());
            }
            ensure!(Instant::now() < deadline, "{zone} is not ready: {}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for member in self.members.values() {
            if let Some(mut child) = member.lock().ok().and_then(|mut member| member.child.take()) {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

fn data_of(config: &Path) -> PathBuf {
    config.with_file_name("data")
}

fn log_of(config: &Path) -> PathBuf {
    config.with_file_name("bridge.log")
}

/// Writes the directory of one bridge.
fn prepare(
    base: &Path,
    zone: &str,
    plan: &Plan,
    [peer, http, grpc, nats, admin]: [u16; 5],
    dialled: &[(&str, SocketAddr)],
    rigging: &Rigging,
) -> Result<Node> {
    let own = base.join(zone);
    let bridge = format!("{zone}-1");
    fs::create_dir_all(own.join("policies"))?;
    issue(&base.join("ca"), &own.join("tls"), &["--zone", zone, "--bridge", &bridge, "--dns", "127.0.0.1"])?;
    fs::write(own.join("policies/open.yaml"), POLICY)?;
    fs::write(own.join("federation.yaml"), plan.federation(&rigging.federation))?;
    for (_, path, bytes) in rigging.files.iter().filter(|(of, ..)| of == zone) {
        let path = own.join(path);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(path, bytes)?;
    }
    let transport =
        rigging.transport.map(str::to_owned).or_else(|| std::env::var("MESHBRIDGE_TRANSPORT").ok());
    let transport = transport.map(|name| format!(", transport: {name}")).unwrap_or_default();
    let peers: String = dialled
        .iter()
        .map(|(to, address)| format!("    - {{bridge: {to}-1, address: \"{address}\"{transport}}}\n"))
        .collect();
    let peers = if peers.is_empty() { "  peers: []\n".to_owned() } else { format!("  peers:\n{peers}") };
    let config = own.join("bridge.yaml");
    let data = rigging.data.get(zone).cloned().unwrap_or_else(|| data_of(&config)).display().to_string();
    let Rigging { spool, peering, .. } = rigging;
    let policy = rigging.policy.as_deref().unwrap_or("directories: [policies]");
    let text = format!(
        "apiVersion: meshbridge/v1
kind: Bridge
metadata: {{name: {bridge}}}
spec:
  zone: {zone}
  federation: federation.yaml
  dataDirectory: \"{data}\"
  tls: {{certificate: tls/cert.pem, key: tls/key.pem, ca: ../ca/ca.pem}}
  peering: {{listen: \"127.0.0.1:{peer}\"{peering}}}
{peers}  listeners:
    http: {{listen: \"127.0.0.1:{http}\"}}
    grpc: {{listen: \"127.0.0.1:{grpc}\"}}
    nats: {{listen: \"127.0.0.1:{nats}\"}}
  admin: {{listen: \"127.0.0.1:{admin}\"}}
  policy: {{{policy}}}
  spool: {{{spool}}}
"
    );
    fs::write(&config, text)?;
    Ok(Node {
        bridge,
        zone: zone.to_owned(),
        http: format!("http://127.0.0.1:{http}"),
        grpc: format!("http://127.0.0.1:{grpc}"),
        nats: format!("nats://127.0.0.1:{nats}"),
        admin: format!("http://127.0.0.1:{admin}"),
        peer: format!("127.0.0.1:{peer}"),
        pid: 0,
        config,
    })
}

fn federation(plan: &Plan) -> String {
    let zones: String = plan
        .zones
        .iter()
        .map(|zone| format!("    {zone}: {{region: eu-west, cloud: onprem, jurisdiction: EU}}\n"))
        .collect();
    let bridges: String =
        plan.zones.iter().map(|zone| format!("    - {{id: {zone}-1, zone: {zone}}}\n")).collect();
    let links: String =
        plan.links.iter().map(|(from, to)| format!("    - {{from: {from}-1, to: {to}-1}}\n")).collect();
    format!(
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {{name: acme}}\nspec:\n  zones:\n{zones}  bridges:\n{bridges}  links:\n{links}  policies: [policies]\n"
    )
}

const POLICY: &str = "
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: open, layer: federation}
spec:
  rules:
    - {name: orders, match: {topics: [\"orders.**\"]}, permit: {}}
";
