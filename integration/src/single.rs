//! One bridge by itself, with an authority of its own and listeners as a test wants them.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::{Admin, binary, eventually, meshbridge, signal};

const READY_WITHIN: Duration = Duration::from_secs(20);
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// Between the choice of free ports and the bridge taking them, another process may be faster.
const STARTS_MAX: usize = 3;
const SOCKETS_TRIED: usize = 16;

/// How the listeners are configured: what follows `listen` in their section, such as `, tokens: tokens.yaml`.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The address both listeners bind.
    pub ip: &'a str,
    /// Rest of the section `http`.
    pub http: &'a str,
    /// Rest of the section `grpc`.
    pub grpc: &'a str,
    /// The same for its listener of NATS.
    pub nats: &'a str,
    /// The section `limits`, without its braces.
    pub limits: &'a str,
    /// The section `webhooks`, without its braces.
    pub webhooks: &'a str,
    /// The section `auditLog`, without its braces.
    pub audit: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup { ip: "127.0.0.1", http: "", grpc: "", nats: "", limits: "", webhooks: "", audit: "" }
    }
}

/// TLS with the bridge's own certificate.
pub const SERVER_TLS: &str = ", tls: {certificate: tls/cert.pem, key: tls/key.pem}";
/// The same, and clients must show a certificate.
pub const MUTUAL_TLS: &str = ", tls: {certificate: tls/cert.pem, key: tls/key.pem, clientCa: ca/ca.pem}";

/// A directory in which a bridge can be started.
#[derive(Debug)]
pub struct Prepared {
    directory: TempDir,
}

/// The running bridge `dmz-1` of zone `dmz`; killed on drop.
#[derive(Debug)]
pub struct Single {
    child: Child,
    directory: TempDir,
    /// `host:port` of its HTTP listener, as a client on this machine reaches it.
    pub http: String,
    /// `host:port` of its gRPC listener.
    pub grpc: String,
    /// Of its listener of NATS.
    pub nats: String,
    /// `host:port` where peers reach it.
    pub peer: String,
    admin: String,
}

impl Prepared {
    /// Makes the authority `ca`, the bridge's certificate in `tls`, its federation and a policy.
    pub fn new() -> Result<Prepared> {
        let prepared = Prepared { directory: tempfile::tempdir()? };
        let base = prepared.path();
        command(&["cert", "init", "--federation", "acme", "--out", &text(&base.join("ca"))])?;
        issue(&base.join("ca"), &base.join("tls"), &BRIDGE)?;
        fs::create_dir(base.join("policies"))?;
        fs::write(base.join("policies/open.yaml"), POLICY)?;
        fs::write(base.join("federation.yaml"), FEDERATION)?;
        Ok(prepared)
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the bridge and waits until it is ready.
    pub async fn start(self, setup: Setup<'_>) -> Result<Single> {
        let mut directory = self.directory;
        for _ in 1..STARTS_MAX {
            match start(directory, setup).await? {
                Started::Ready(single) => return Ok(single),
                Started::PortTaken(again) => directory = again,
            }
        }
        match start(directory, setup).await? {
            Started::Ready(single) => Ok(single),
            Started::PortTaken(_) => bail!("the ports were taken {STARTS_MAX} times"),
        }
    }

    /// Runs a bridge that must not start; its last words.
    pub fn refuses(&self, setup: Setup<'_>) -> Result<String> {
        let (config, _) = write_config(self.path(), setup)?;
        let output = meshbridge(&["run", "--config", &text(&config)], READY_WITHIN)?;
        ensure!(output.code == 3, "exit code {}: {}", output.code, output.stderr);
        Ok(output.stderr)
    }
}

impl Single {
    /// A bridge with these listeners.
    pub async fn start(setup: Setup<'_>) -> Result<Single> {
        Prepared::new()?.start(setup).await
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path().join("ca/ca.pem")
    }

    /// A client's certificate; the directory with `cert.pem` and `key.pem`.
    pub fn client_certificate(&self, name: &str) -> Result<PathBuf> {
        let out = self.path().join("clients").join(name);
        issue(&self.path().join("ca"), &out, &["--client", name])?;
        Ok(out)
    }

    /// Another certificate for the bridge, in a directory of its own.
    pub fn next_certificate(&self, directory: &str) -> Result<PathBuf> {
        let out = self.path().join(directory);
        issue(&self.path().join("ca"), &out, &BRIDGE)?;
        Ok(out)
    }

    /// A client of its admin port.
    pub fn admin(&self) -> Admin {
        Admin::new(&self.admin)
    }

    /// Tells it to read its files again.
    pub fn hang_up(&self) -> Result<()> {
        signal(self.child.id(), "HUP")
    }

    /// Tells it to stop.
    pub fn terminate(&self) -> Result<()> {
        signal(self.child.id(), "TERM")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("bridge.log")).unwrap_or_default()
    }

    /// Waits until the log has a line with all of these.
    pub async fn logs(&self, parts: &[&str]) -> Result<()> {
        eventually(&format!("a line with {parts:?}"), COMMAND_WITHIN, || async {
            let log = self.log();
            ensure!(log.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{log}");
            Ok(())
        })
        .await
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Issues a certificate with `cert issue`.
pub fn issue(authority: &Path, out: &Path, whom: &[&str]) -> Result<()> {
    let (authority, out) = (text(authority), text(out));
    let mut arguments = vec!["cert", "issue", "--federation", "acme", "--ca", &authority, "--out", &out];
    arguments.extend(whom);
    command(&arguments)
}

const BRIDGE: [&str; 8] = ["--zone", "dmz", "--bridge", "dmz-1", "--dns", "localhost", "--dns", "127.0.0.1"];
const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: acme}
spec:
  zones:
    dmz: {region: eu-west, cloud: onprem, jurisdiction: EU}
    internal: {region: eu-west, cloud: onprem, jurisdiction: EU}
  bridges:
    - {id: dmz-1, zone: dmz}
    - {id: internal-1, zone: internal}
  links:
    - {from: internal-1, to: dmz-1}
  policies: [policies]
";
const POLICY: &str = "
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: open, layer: federation}
spec:
  rules:
    - {name: orders, match: {topics: [\"orders.**\"]}, permit: {}}
";

enum Started {
    Ready(Single),
    PortTaken(TempDir),
}

async fn start(directory: TempDir, setup: Setup<'_>) -> Result<Started> {
    let (config, [http, grpc, nats, admin, peer]) = write_config(directory.path(), setup)?;
    let log = fs::File::create(directory.path().join("bridge.log"))?;
    let child = Command::new(binary())
        .arg("run")
        .arg("--config")
        .arg(config)
        .env("MESHBRIDGE_LOG", "info,meshbridge::listeners=debug")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let mut single = Single { child, directory, http, grpc, nats, peer, admin: format!("http://{admin}") };
    let ready = single.admin();
    let deadline = std::time::Instant::now() + READY_WITHIN;
    loop {
        if let Some(status) = single.child.try_wait()? {
            let log = single.log();
            ensure!(log.contains("cannot listen"), "the bridge ended with {status}: {log}");
            let empty = tempfile::tempdir()?;
            return Ok(Started::PortTaken(std::mem::replace(&mut single.directory, empty)));
        }
        match ready.text("/readyz").await {
            Ok((200, _)) => return Ok(Started::Ready(single)),
            _ if std::time::Instant::now() > deadline => bail!("not ready: {}", single.log()),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The configuration, on ports that are free now: HTTP, gRPC, NATS, admin, peering.
fn write_config(base: &Path, setup: Setup<'_>) -> Result<(PathBuf, [String; 5])> {
    let Setup { ip, http, grpc, nats, limits, webhooks, audit } = setup;
    let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(held) {
        *port = listener?.local_addr()?.port();
    }
    let [http_port, grpc_port, nats_port, admin_port] = ports;
    let peer_port = peer_port()?;
    let text = format!(
        "apiVersion: meshbridge/v1
kind: Bridge
metadata: {{name: dmz-1}}
spec:
  zone: dmz
  federation: federation.yaml
  tls: {{certificate: tls/cert.pem, key: tls/key.pem, ca: ca/ca.pem}}
  peering: {{listen: \"127.0.0.1:{peer_port}\"}}
  listeners:
    http: {{listen: \"{ip}:{http_port}\"{http}}}
    grpc: {{listen: \"{ip}:{grpc_port}\"{grpc}}}
    nats: {{listen: \"127.0.0.1:{nats_port}\"{nats}}}
  admin: {{listen: \"127.0.0.1:{admin_port}\"}}
  policy: {{directories: [policies]}}
  limits: {{{limits}}}
  spool: {{segmentMiB: 8, sizeMiB: 256}}
  webhooks: {{{webhooks}}}
  auditLog: {{{audit}}}
"
    );
    let config = base.join("bridge.yaml");
    fs::write(&config, text)?;
    let all = [http_port, grpc_port, nats_port, admin_port, peer_port];
    Ok((config, all.map(|port| format!("127.0.0.1:{port}"))))
}

/// A port that is free for both protocols of peers.
fn peer_port() -> Result<u16> {
    let mut taken = None;
    for _ in 0..SOCKETS_TRIED {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(_) => return Ok(udp.local_addr()?.port()),
            Err(problem) => taken = Some(problem),
        }
    }
    Err(taken.context("no port was tried")?.into())
}

fn command(arguments: &[&str]) -> Result<()> {
    let output = meshbridge(arguments, COMMAND_WITHIN)?;
    ensure!(output.code == 0, "meshbridge {arguments:?}: {}", output.stderr);
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
