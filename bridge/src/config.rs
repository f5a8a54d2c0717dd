//! `kind: Bridge`: one node's own configuration, as users write it and as the bridge uses it.

mod audit_log;
mod interest;
mod listeners;
mod peering;
mod policies;
mod quarantine;
mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use meshbridge_policy::{Federation, Key, Node as Yaml, Shape, SourceFile, check, documents};
use meshbridge_routing::{BridgeId, Limits, ZoneName};

use crate::bundles::BundleSettings;
use crate::data_keys::DataKeyFile;
use crate::link::{PeerAddress, PeerListen, PeerToDial};
use crate::listeners::{ListenerKind, ListenerSettings, TlsFiles};
use crate::pipeline::{QuarantineOptions, Quota, Quotas};

use listeners::{ADMIN, LISTENER};
use webhooks::WebhookConfig;

/// Files of the spool at least: what is written, what is ready, the reserve.
const SEGMENTS_MIN: u64 = 8;

static DATA_KEY: Shape = Shape::Map(&[
    Key::required(
        "file",
        &Shape::Text,
        "file with the version in use, as `meshbridge policy keygen` writes it",
    ),
    Key::optional("older", &Shape::Dict(&Shape::Text), "version: file, for reading what older keys made"),
]);

static SPEC: Shape = Shape::Map(&[
    Key::required("zone", &Shape::Name, "the zone this bridge serves"),
    Key::required("federation", &Shape::Text, "the federation document, relative to this file"),
    Key::optional(
        "dataDirectory",
        &Shape::Text,
        "where the bridge keeps its state; `data` beside this file by default",
    ),
    Key::required(
        "tls",
        &Shape::Map(&[
            Key::required("certificate", &Shape::Text, "PEM file with the bridge's chain, leaf first"),
            Key::required("key", &Shape::Text, "PEM file with its private key"),
            Key::required("ca", &Shape::Text, "PEM file with the authorities of the federation"),
            Key::optional(
                "denyList",
                &Shape::Text,
                "file with bridge ids and certificate serials that are refused",
            ),
        ]),
        "the bridge's identity towards its peers",
    ),
    Key::required("peering", &peering::PEERING, "where peers reach this bridge"),
    Key::optional("peers", &peering::PEERS, "the peers this bridge dials"),
    Key::optional(
        "listeners",
        &Shape::Map(&[
            Key::optional("http", &LISTENER, "HTTP: publish, server-sent events, WebSocket"),
            Key::optional("grpc", &LISTENER, "gRPC: meshbridge.v1.Bridge"),
            Key::optional("nats", &LISTENER, "clients of NATS; subjects are topics"),
        ]),
        "where clients reach this bridge",
    ),
    Key::required("admin", &ADMIN, "health, metrics and state; loopback, or mutual TLS"),
    Key::required(
        "policy",
        &Shape::Map(&[
            Key::optional(
                "directories",
                &Shape::List { of: &Shape::Text, non_empty: true },
                "directories with policies, relative to this file; beside `bundles` only for layers that nobody signs",
            ),
            Key::optional("bundles", &Shape::Text, "directory with signed bundles, relative to this file"),
            Key::optional(
                "root",
                &Shape::Text,
                "with `bundles`: the public half of the key that signs the layer federation, in base64",
            ),
            Key::optional(
                "keys",
                &Shape::Dict(&DATA_KEY),
                "files with the keys for data that this bridge holds",
            ),
        ]),
        "where the policies are",
    ),
    Key::optional(
        "spool",
        &Shape::Map(&[
            Key::optional(
                "segmentMiB",
                // An event of the largest size that a frame can have must fit.
                &Shape::Integer { min: 8, max: 1_024 },
                "size of one file of the spool; 64 by default, two are there from the start",
            ),
            Key::optional(
                "sizeMiB",
                &Shape::Integer { min: 64, max: 64 << 20 },
                "size of the spool at which events are refused, less a reserve; 16384 by default",
            ),
        ]),
        "the durable log in the data directory",
    ),
    Key::optional("auditLog", &audit_log::SHAPE, "the log of decisions in the data directory"),
    Key::optional(
        "delivery",
        &Shape::Map(&[
            Key::optional(
                "destinationEvents",
                &Shape::Integer { min: 1, max: 100_000_000 },
                "events that may wait for one destination, each at some 300 bytes of memory; 200000 by default",
            ),
            Key::optional(
                "destinationMiB",
                &Shape::Integer { min: 1, max: 64 << 20 },
                "and their size; half of spool.sizeMiB by default",
            ),
            Key::optional(
                "producerEvents",
                &Shape::Integer { min: 1, max: 100_000_000 },
                "events of one principal that may be kept; 5000000 by default",
            ),
            Key::optional(
                "producerMiB",
                &Shape::Integer { min: 1, max: 64 << 20 },
                "and their size; three quarters of spool.sizeMiB by default",
            ),
            Key::optional(
                "deadLetterEvents",
                &Shape::Integer { min: 1, max: 100_000_000 },
                "dead letters that are kept; a subscription that would add one more pauses, a publication is refused; 100000 by default",
            ),
            Key::optional(
                "deadLetterMiB",
                &Shape::Integer { min: 1, max: 64 << 20 },
                "and their size; a quarter of spool.sizeMiB by default",
            ),
            Key::optional(
                "absenceSecs",
                &Shape::Integer { min: 1, max: 31_536_000 },
                "a full destination that was out of reach for so long gets nothing new; 86400 by default",
            ),
        ]),
        "how much may wait",
    ),
    Key::optional("interest", &interest::SHAPE, "how much may be wanted"),
    Key::optional("quarantine", &quarantine::SHAPE, "events that rules hold until a person decides"),
    Key::optional("webhooks", &webhooks::SHAPE, "pushing to the webhooks of subscriptions"),
    Key::optional(
        "limits",
        &Shape::Map(&[
            Key::optional(
                "eventBytes",
                &Shape::Integer { min: 1_024, max: 1 << 20 },
                "largest event taken from clients",
            ),
            Key::optional(
                "batchBytes",
                &Shape::Integer { min: 1_024, max: 4 << 20 },
                "largest batch taken from clients",
            ),
            Key::optional(
                "connections",
                &Shape::Integer { min: 1, max: 10_000 },
                "connections of each listener",
            ),
        ]),
        "limits below the defaults",
    ),
]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Bridge"]), "write kind: Bridge"),
    Key::required(
        "metadata",
        &Shape::Map(&[Key::required("name", &Shape::Name, "the id of the bridge")]),
        "write metadata: {name: …}",
    ),
    Key::required("spec", &SPEC, "the configuration"),
]);

/// The form of the document.
pub(crate) fn shape() -> &'static Shape {
    &DOCUMENT
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigProblem {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The documents have errors; the text has all of them.
    #[error("{0}")]
    Invalid(meshbridge_policy::Diagnostics),
    /// The documents are well-formed and do not fit each other, or the machine.
    #[error("{0}")]
    Inconsistent(String),
}

#[derive(Clone, Debug)]
pub(crate) struct PeerTls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
    pub(crate) deny_list: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Listener {
    listen: SocketAddr,
    tls: Option<TlsFiles>,
    tokens: Option<PathBuf>,
    origins: Vec<String>,
}

/// How large the durable log and its files are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpoolSettings {
    pub(crate) segment_bytes: u64,
    pub(crate) segments_max: u64,
}

/// A node's configuration with everything found and checked; paths are absolute.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) bridge: BridgeId,
    pub(crate) zone: ZoneName,
    pub(crate) federation: Federation,
    pub(crate) data_dir: PathBuf,
    pub(crate) spool: SpoolSettings,
    pub(crate) audit: crate::audit::Options,
    pub(crate) quotas: Quotas,
    pub(crate) interest: Limits,
    pub(crate) quarantine: QuarantineOptions,
    pub(crate) webhooks: WebhookConfig,
    pub(crate) tls: PeerTls,
    pub(crate) peering: PeerListen,
    pub(crate) peers: Vec<PeerToDial>,
    pub(crate) policy_directories: Vec<PathBuf>,
    /// Where signed bundles come from; `None` where policies are read from plain directories alone.
    pub(crate) bundles: Option<BundleSettings>,
    pub(crate) data_keys: Vec<DataKeyFile>,
    http: Option<Listener>,
    grpc: Option<Listener>,
    nats: Option<Listener>,
    admin: Listener,
    event_bytes_max: usize,
    batch_bytes_max: usize,
    connections_max: usize,
}

/// Reads a file with the name that diagnostics show.
pub(crate) fn read_source(path: &Path) -> Result<SourceFile, ConfigProblem> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigProblem::Unreadable { path: path.to_owned(), source })?;
    Ok(SourceFile { name: path.display().to_string(), text })
}

/// Reads a federation document.
pub(crate) fn read_federation(path: &Path) -> Result<Federation, ConfigProblem> {
    Federation::parse(&read_source(path)?).map_err(ConfigProblem::Invalid)
}

impl Node {
    pub(crate) fn load(path: &Path) -> Result<Node, ConfigProblem> {
        let file = read_source(path)?;
        let mut problems = meshbridge_policy::Diagnostics::default();
        let all = documents(&file, &mut problems);
        if let [document] = all.as_slice() {
            check(document, shape(), &mut problems);
        }
        if problems.has_errors() {
            return Err(ConfigProblem::Invalid(problems));
        }
        let [document] = all.as_slice() else {
            let message = format!("`{}` must hold exactly one document", path.display());
            return Err(ConfigProblem::Inconsistent(message));
        };
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        let base = std::path::absolute(&base).unwrap_or(base);
        lower(document, &base).map_err(|problem| {
            // A problem of the federation document keeps its own form.
            match problem.downcast::<ConfigProblem>() {
                Ok(problem) => problem,
                Err(problem) => ConfigProblem::Inconsistent(format!("`{}`: {problem:#}", path.display())),
            }
        })
    }

    /// The listeners for clients.
    pub(crate) fn client_listeners(&self) -> anyhow::Result<Vec<ListenerSettings>> {
        let kinds = [
            (&self.http, ListenerKind::Http),
            (&self.grpc, ListenerKind::Grpc),
            (&self.nats, ListenerKind::Nats),
        ];
        Ok(kinds
            .into_iter()
            .filter_map(|(listener, kind)| Some(self.settings(listener.as_ref()?, kind)))
            .collect())
    }

    /// The admin listener, and whether it is behind mutual TLS. Elsewhere than on loopback it must be.
    pub(crate) fn admin_listener(&self) -> anyhow::Result<(ListenerSettings, bool)> {
        let mutual = self.admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !self.admin.listen.ip().is_loopback() && !mutual {
            bail!(
                "the admin port on {} is reachable from other machines: give it `tls` with a `clientCa`, or listen on 127.0.0.1",
                self.admin.listen
            );
        }
        Ok((self.settings(&self.admin, ListenerKind::Admin), mutual))
    }

    fn settings(&self, listener: &Listener, kind: ListenerKind) -> ListenerSettings {
        ListenerSettings {
            kind,
            address: listener.listen,
            tls: listener.tls.clone(),
            tokens: listener.tokens.clone(),
            origins: listener.origins.clone(),
            event_bytes_max: self.event_bytes_max,
            batch_bytes_max: self.batch_bytes_max,
            connections_max: self.connections_max,
        }
    }
}

fn lower(document: &Yaml, base: &Path) -> anyhow::Result<Node> {
    let spec = document.get("spec").ok_or_else(|| anyhow!("`spec` is missing"))?;
    let text = |node: &Yaml, key: &str| node.get(key).and_then(Yaml::text).unwrap_or_default().to_owned();
    let path = |node: &Yaml, key: &str| base.join(text(node, key));
    let name = document.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default();
    let bridge = BridgeId::parse(&name)?;
    let zone = ZoneName::parse(&text(spec, "zone"))?;
    let federation = read_federation(&path(spec, "federation"))?;
    let listed = federation
        .bridge(&name)
        .ok_or_else(|| anyhow!("the federation document lists no bridge `{name}`"))?;
    if listed.zone != zone.as_str() {
        bail!("the federation document has bridge `{name}` in zone `{}`, not `{zone}`", listed.zone);
    }
    let section = |key: &str| spec.get(key).ok_or_else(|| anyhow!("`{key}` is missing"));
    let tls = section("tls")?;
    let peering = section("peering")?;
    let peers = peering::lower_peers(spec.get("peers"), peering, &name, &federation)?;
    let listeners = spec.get("listeners");
    let client = |key: &str| -> anyhow::Result<Option<Listener>> {
        let node = listeners.and_then(|listeners| listeners.get(key));
        node.map(|node| lower_listener(node, base).with_context(|| format!("listener `{key}`"))).transpose()
    };
    let (policy_directories, bundles) = policies::lower(section("policy")?, base, &federation)?;
    let limit = |key: &str, default: usize| {
        let value = spec.get("limits").and_then(|limits| limits.get(key)).and_then(Yaml::integer);
        value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
    };
    let spool = |key: &str, default: u64| {
        let value = spec.get("spool").and_then(|spool| spool.get(key)).and_then(Yaml::integer);
        value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default)
    };
    let size_mib = spool("sizeMiB", 16_384);
    let quota = |key: &str, default: u64| {
        let value = spec.get("delivery").and_then(|delivery| delivery.get(key)).and_then(Yaml::integer);
        value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default)
    };
    let of = |who: &str, events: u64, mib: u64| Quota {
        events: quota(&format!("{who}Events"), events),
        bytes: quota(&format!("{who}MiB"), mib) << 20,
    };
    let quotas = Quotas {
        destination: of("destination", 200_000, size_mib / 2),
        producer: of("producer", 5_000_000, size_mib / 4 * 3),
        letters: of("deadLetter", 100_000, size_mib / 4),
        absence: Duration::from_secs(quota("absenceSecs", 86_400)),
    };
    let segment_mib = spool("segmentMiB", 64);
    let segments_max = size_mib / segment_mib;
    if segments_max < SEGMENTS_MIN {
        bail!("`spool`: sizeMiB must be at least {SEGMENTS_MIN} times segmentMiB");
    }
    Ok(Node {
        webhooks: webhooks::lower(spec.get("webhooks"), base),
        quotas,
        interest: interest::lower(spec.get("interest")),
        audit: audit_log::lower(spec.get("auditLog")),
        spool: SpoolSettings { segment_bytes: segment_mib << 20, segments_max },
        data_dir: base.join(spec.get("dataDirectory").and_then(Yaml::text).unwrap_or("data")),
        tls: PeerTls {
            certificate: path(tls, "certificate"),
            key: path(tls, "key"),
            ca: path(tls, "ca"),
            deny_list: tls.get("denyList").map(|_| path(tls, "denyList")),
        },
        peering: peering::lower(peering)?,
        peers,
        data_keys: lower_data_keys(section("policy")?, base),
        policy_directories,
        bundles,
        http: client("http")?,
        grpc: client("grpc")?,
        nats: client("nats")?,
        quarantine: quarantine::lower(spec.get("quarantine"), section("admin")?, &federation)?,
        admin: lower_listener(section("admin")?, base).context("listener `admin`")?,
        event_bytes_max: limit("eventBytes", meshbridge_event::limits::EVENT_BYTES_MAX),
        batch_bytes_max: limit("batchBytes", meshbridge_event::limits::BATCH_BYTES_MAX),
        connections_max: limit("connections", 10_000),
        bridge,
        zone,
        federation,
    })
}

/// Files of keys for data, by name and version.
fn lower_data_keys(policy: &Yaml, base: &Path) -> Vec<DataKeyFile> {
    let mut files = Vec::new();
    for (name, node) in policy.get("keys").map(Yaml::entries).unwrap_or_default() {
        let name = name.text().unwrap_or_default();
        let mut add = |version: Option<u32>, path: Option<&str>| {
            files.extend(path.map(|path| DataKeyFile {
                name: name.to_owned(),
                version,
                path: base.join(path),
            }));
        };
        add(None, node.get("file").and_then(Yaml::text));
        for (version, path) in node.get("older").map(Yaml::entries).unwrap_or_default() {
            // What is no number is no version of any key, and refused as such.
            let number = version.text().and_then(|text| text.parse().ok()).unwrap_or(0);
            add(Some(number), path.text());
        }
    }
    files
}

fn lower_listener(node: &Yaml, base: &Path) -> anyhow::Result<Listener> {
    let text = |node: &Yaml, key: &str| node.get(key).and_then(Yaml::text).unwrap_or_default().to_owned();
    let tls = node.get("tls").map(|tls| TlsFiles {
        certificate: base.join(text(tls, "certificate")),
        key: base.join(text(tls, "key")),
        client_ca: tls.get("clientCa").map(|_| base.join(text(tls, "clientCa"))),
    });
    let origins = node.get("origins").map(Yaml::items).unwrap_or_default();
    Ok(Listener {
        listen: parse_address(&text(node, "listen"))?,
        tls,
        tokens: node.get("tokens").map(|_| base.join(text(node, "tokens"))),
        origins: origins.iter().filter_map(Yaml::text).map(str::to_owned).collect(),
    })
}

fn parse_address(text: &str) -> anyhow::Result<SocketAddr> {
    text.parse().map_err(|_| anyhow!("`{text}` is not address:port, such as 127.0.0.1:7443 or [::]:7443"))
}

/// `host:port`; an IPv6 address stands in brackets.
pub(crate) fn parse_peer_address(text: &str) -> anyhow::Result<PeerAddress> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() => Ok(PeerAddress { host: host.to_owned(), port }),
        _ => Err(anyhow!("`{text}` is not host:port")),
    }
}
