//! `meshbridge config`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshbridge_policy::{
    classification_shape, delivery_shape, federation_shape, invariant_shape, json_schema, policy_shape,
    policy_test_shape, waiver_shape,
};

use super::cert::write_file;
use super::{Failure, Outcome, federation_file};
use crate::config::read_federation;
use crate::link::TransportChoice;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the JSON Schema of a kind of document; all of them, by kind, where none is named
    Schema {
        /// Bridge, Federation, Policy, Classification, Delivery, Invariant, Waiver or PolicyTest
        kind: Option<String>,
    },
    /// Write the directory that one host needs: node configuration, federation document, policies
    Render(RenderArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct RenderArguments {
    /// The federation document, or the directory that has it
    federation: PathBuf,
    /// The bridge the directory is for
    #[arg(long, value_name = "ID")]
    bridge: String,
    /// Directory to write; named for the bridge by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Schema { kind } => schema(kind.as_deref()),
        Command::Render(arguments) => render_command(arguments),
    }
}

fn schema(kind: Option<&str>) -> Outcome {
    let all = [
        ("Bridge", crate::config::shape()),
        ("Federation", federation_shape()),
        ("Policy", policy_shape()),
        ("Classification", classification_shape()),
        ("Delivery", delivery_shape()),
        ("Invariant", invariant_shape()),
        ("Waiver", waiver_shape()),
        ("PolicyTest", policy_test_shape()),
    ];
    let one = |(name, shape): &(&str, &meshbridge_policy::Shape)| {
        json_schema(shape, &format!("meshbridge/v1 {name}"))
    };
    let printed = match kind {
        None => {
            all.iter().map(|entry| (entry.0.to_owned(), one(entry))).collect::<serde_json::Map<_, _>>().into()
        }
        Some(kind) => {
            let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind));
            let problem = || {
                let known = all.map(|(name, _)| name).join(", ");
                Failure::Input(anyhow::anyhow!("there is no kind `{kind}`: use one of {known}"))
            };
            one(found.ok_or_else(problem)?)
        }
    };
    println!("{printed:#}");
    Ok(())
}

fn render_command(arguments: &RenderArguments) -> Outcome {
    let file = federation_file(&arguments.federation);
    let federation = read_federation(&file)?;
    let Some(bridge) = federation.bridge(&arguments.bridge) else {
        let known: Vec<&str> = federation.bridges().iter().map(|bridge| bridge.id.as_str()).collect();
        let problem = anyhow::anyhow!("no bridge `{}`; there are {}", arguments.bridge, known.join(", "));
        return Err(Failure::Input(problem));
    };
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(&arguments.bridge));
    let port = bridge.address.as_deref().and_then(|a| a.rsplit_once(':')).map_or("7443", |(_, port)| port);
    let mut peers = Vec::new();
    for link in federation.links().iter().filter(|link| link.from == bridge.id) {
        let address = federation.bridge(&link.to).and_then(|peer| peer.address.clone());
        let address = address.unwrap_or_else(|| {
            eprintln!("bridge `{}` has no `address` in the document; edit the one written for it", link.to);
            format!("{}:7443", link.to)
        });
        peers.push((link.to.clone(), address));
    }
    let addresses = Addresses {
        peer: format!("[::]:{port}"),
        http: "127.0.0.1:8080".to_owned(),
        grpc: "127.0.0.1:8081".to_owned(),
        nats: "127.0.0.1:4222".to_owned(),
        admin: "127.0.0.1:9090".to_owned(),
        peers,
        transport: TransportChoice::Auto,
        small: false,
    };
    render(&file, &bridge.id, &bridge.zone, &addresses, &out).map_err(Failure::Input)?;
    println!("{}", out.join("bridge.yaml").display());
    eprintln!(
        "Put cert.pem, key.pem and ca.pem into {} (meshbridge cert issue makes them for development).",
        out.join("tls").display()
    );
    Ok(())
}

/// Where one node listens and whom it dials.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) peer: String,
    pub(super) http: String,
    pub(super) grpc: String,
    pub(super) nats: String,
    pub(super) admin: String,
    pub(super) peers: Vec<(String, String)>,
    /// What carries the links that are dialled.
    pub(super) transport: TransportChoice,
    /// Small files of the spool: many bridges on one machine, for trying out.
    pub(super) small: bool,
}

/// Writes `bridge.yaml`, `federation.yaml` and `policies/` of one node.
pub(super) fn render(
    federation_file: &Path,
    bridge: &str,
    zone: &str,
    addresses: &Addresses,
    out: &Path,
) -> anyhow::Result<()> {
    let federation = read_federation(federation_file)?;
    let policies = out.join("policies");
    std::fs::create_dir_all(&policies).with_context(|| format!("cannot make `{}`", policies.display()))?;
    std::fs::copy(federation_file, out.join("federation.yaml"))
        .with_context(|| format!("cannot copy `{}`", federation_file.display()))?;
    let base = federation_file.parent().unwrap_or(Path::new("."));
    let directories: Vec<PathBuf> = federation.policies().iter().map(|dir| base.join(dir)).collect();
    for source in crate::policy_store::read_sources(&directories)? {
        let from = Path::new(&source.name);
        let name = from.strip_prefix(base).unwrap_or(from).to_string_lossy().replace(['/', '\\'], "-");
        let name = name.strip_prefix("policies-").unwrap_or(&name).to_owned();
        write_file(&policies.join(name), &source.text)?;
    }
    // What is the default is not written.
    let transport = match addresses.transport {
        TransportChoice::Auto => String::new(),
        other => format!(", transport: {}", other.name()),
    };
    let dialled: String = addresses
        .peers
        .iter()
        .map(|(peer, address)| format!("    - {{bridge: {peer}, address: \"{address}\"{transport}}}\n"))
        .collect();
    let dialled =
        if dialled.is_empty() { "  peers: []\n".to_owned() } else { format!("  peers:\n{dialled}") };
    let Addresses { peer, http, grpc, nats, admin, small, .. } = addresses;
    let spool = if *small { "  spool: {segmentMiB: 8, sizeMiB: 1024}\n" } else { "" };
    let text = format!(
        "apiVersion: meshbridge/v1\nkind: Bridge\nmetadata: {{name: {bridge}}}\nspec:\n  zone: {zone}\n  federation: federation.yaml\n  dataDirectory: data\n{spool}  tls: {{certificate: tls/cert.pem, key: tls/key.pem, ca: tls/ca.pem}}\n  peering: {{listen: \"{peer}\"}}\n{dialled}  listeners:\n    http: {{listen: \"{http}\"}}\n    grpc: {{listen: \"{grpc}\"}}\n    nats: {{listen: \"{nats}\"}}\n  admin: {{listen: \"{admin}\"}}\n  policy: {{directories: [policies]}}\n"
    );
    write_file(&out.join("bridge.yaml"), &text)
}
