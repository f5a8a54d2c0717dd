//! `meshbridge bench`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use meshbridge_routing::{BridgeId, ZoneName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::cert::{Authority, bridge_uri, write_file};
use super::{Failure, Outcome, Output, block_on};
use crate::identity::{BridgeIdentity, CredentialFiles, Credentials};
use crate::link::{Load, PeerEndpoint, PeerListen, Transport, pump, swallow};

const FEDERATION: &str = "bench";
const ENDS: [&str; 2] = ["sender", "receiver"];
const RESET_SEED: [u8; 32] = [0; 32];

/// Pumps frames over one link between two processes on loopback, for each transport, and says what that takes.
///
/// The figures are those of transport, encryption and framing alone: no policy, no spool, no subscriber. They hold for
/// this machine, now; compare transports within one run. Processor time is that of both processes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How long each measurement takes
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,
    /// Payload of a frame
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    payload_bytes: u32,
    /// Measurements of each transport, alternating
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Be the receiving process; the directory has its certificate
    #[arg(long, hide = true, value_name = "DIR")]
    receive: Option<PathBuf>,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Measured {
    transport: &'static str,
    mb_per_sec: f64,
    frames_per_sec: f64,
    cpu_secs_per_gb: Option<f64>,
    sender_cpu_secs_per_gb: Option<f64>,
}

/// What the receiving process says at its end.
#[derive(Debug, Serialize, Deserialize)]
struct Received {
    bytes: u64,
    secs: f64,
    cpu_secs: Option<f64>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    if let Some(directory) = &arguments.receive {
        return block_on(receive(directory))?.map_err(Failure::Fault);
    }
    let measured = block_on(measure(arguments))?.map_err(Failure::Fault)?;
    if arguments.output == Output::Json {
        println!("{:#}", serde_json::to_value(&measured).map_err(|problem| Failure::Fault(problem.into()))?);
        return Ok(());
    }
    println!(
        "{:10} {:>10} {:>12} {:>12} {:>18}",
        "transport", "MB/s", "frames/s", "CPU-s/GB", "of it the sender"
    );
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    for one in &measured {
        let (all, sender) = (shown(one.cpu_secs_per_gb), shown(one.sender_cpu_secs_per_gb));
        println!(
            "{:10} {:>10.0} {:>12.0} {all:>12} {sender:>18}",
            one.transport, one.mb_per_sec, one.frames_per_sec
        );
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Measured>> {
    let temporary = tempfile::Builder::new().prefix("meshbridge-").tempdir()?;
    let authority = Authority::generate(FEDERATION, 1)?;
    for end in ENDS {
        let directory = temporary.path().join(end);
        authority.issue(&bridge_uri(FEDERATION, end, end), &[], 1)?.write(&directory)?;
        write_file(&directory.join("ca.pem"), authority.certificate())?;
    }
    let load = Load {
        payload_bytes: arguments.payload_bytes as usize,
        lasts: Duration::from_secs(arguments.seconds),
    };
    let mut measured = Vec::new();
    for _ in 0..arguments.rounds {
        for transport in Transport::ALL {
            measured.push(once(temporary.path(), transport, load).await?);
        }
    }
    Ok(measured)
}

async fn once(base: &Path, transport: Transport, load: Load) -> anyhow::Result<Measured> {
    let (mut child, mut lines) = start_receiver(&base.join(ENDS[1]))?;
    let address: SocketAddr = next_line(&mut lines).await?.parse()?;
    let (endpoint, credentials) = endpoint(&base.join(ENDS[0]), ENDS[0])?;
    let before = cpu_secs();
    pump(&endpoint, &credentials, transport, address, load).await?;
    let own = cpu_secs().zip(before).map(|(after, before)| after - before);
    endpoint.close("the measurement is over").await;
    let received: Received = serde_json::from_str(&next_line(&mut lines).await?)?;
    child.wait().await?;
    let gb = received.bytes as f64 / 1e9;
    Ok(Measured {
        transport: transport.name(),
        mb_per_sec: received.bytes as f64 / 1e6 / received.secs,
        frames_per_sec: received.bytes as f64 / load.payload_bytes as f64 / received.secs,
        cpu_secs_per_gb: own.zip(received.cpu_secs).map(|(own, other)| (own + other) / gb),
        sender_cpu_secs_per_gb: own.map(|own| own / gb),
    })
}

fn start_receiver(directory: &Path) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let mut child = Command::new(program)
        .args(["bench", "--receive"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the receiving process")?;
    let stdout = child.stdout.take().ok_or_else(|| anyhow!("the receiving process has no stdout"))?;
    Ok((child, BufReader::new(stdout).lines()))
}

async fn next_line(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<String> {
    lines.next_line().await?.context("the receiving process has ended")
}

async fn receive(directory: &Path) -> anyhow::Result<()> {
    let (endpoint, _) = endpoint(directory, ENDS[1])?;
    println!("{}", endpoint.local_addr()?);
    let before = cpu_secs();
    let (bytes, took) = swallow(&endpoint).await?;
    let cpu_secs = cpu_secs().zip(before).map(|(after, before)| after - before);
    let received = Received { bytes, secs: took.as_secs_f64(), cpu_secs };
    println!("{}", serde_json::to_string(&received)?);
    Ok(())
}

fn endpoint(directory: &Path, name: &str) -> anyhow::Result<(PeerEndpoint, Credentials)> {
    let identity = BridgeIdentity {
        federation: FEDERATION.to_owned(),
        zone: ZoneName::parse(name)?,
        bridge: BridgeId::parse(name)?,
    };
    let files = CredentialFiles {
        certificate: directory.join("cert.pem"),
        key: directory.join("key.pem"),
        ca: directory.join("ca.pem"),
        deny_list: None,
    };
    let credentials = Credentials::load(&files, &identity)?;
    let listen = PeerListen { address: SocketAddr::from(([127, 0, 0, 1], 0)), tcp: true };
    Ok((PeerEndpoint::bind(listen, &credentials, &RESET_SEED)?, credentials))
}

/// Processor time of this process, all threads, in user mode and kernel. `None` where the system does not tell this
/// way.
fn cpu_secs() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, kernel): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // Linux counts these in hundredths, whatever its own tick is.
    Some((user + kernel) as f64 / 100.0)
}
