//! The systems that are compared: each is a pair of servers A and B with an encrypted, mutually authenticated link between them. Events are published at A and
//! received at B.

mod meshbridge;
mod mosquitto;
mod nats;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::certificates;
use crate::connection::{Interrupt, Target};
use crate::host::first_line;
use crate::process::Server;
use crate::shapes::Policies;
use crate::wire::Protocol;

pub(crate) use meshbridge::{Diamond, start_diamond};

/// Topic of events that are kept in memory only.
pub(crate) const FAST_TOPIC: &str = "bench.fast.events";
/// Topic of events that are on disk before the publisher is answered.
pub(crate) const DURABLE_TOPIC: &str = "bench.kept.events";

/// One of the systems, as it is compared.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct System {
    /// Stable, for scripts: `meshbridge-tcp`.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) title: String,
    pub(crate) version: String,
    #[serde(skip)]
    pub(crate) kind: Kind,
    #[serde(skip)]
    pub(crate) program: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nats {
        /// Whether JetStream can write through to the disk, from version 2.10 on.
        syncs: bool,
    },
    Mosquitto {
        qos: u8,
    },
    Meshbridge {
        transport: Transport,
    },
}

/// What carries the link between two bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The binary knows no other.
    OnlyQuic,
    Quic,
    Tcp,
}

/// What a pair must be able to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    pub(crate) durable: bool,
    /// Headers beside the payload.
    pub(crate) attributes: bool,
    pub(crate) policies: Policies,
}

/// A running pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) publish_at: Target,
    pub(crate) subscribe_at: Target,
    servers: Vec<Server>,
}

impl Pair {
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// What the servers have said, for an error.
    pub(crate) fn log(&self) -> String {
        let tail = |server: &Server| {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(6)..].join("\n")
        };
        self.servers.iter().map(tail).collect::<Vec<_>>().join("\n")
    }
}

/// Where servers are started, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) certificates: &'a Path,
    /// Clients speak TLS too, and show a certificate.
    pub(crate) client_tls: bool,
    pub(crate) interrupt: &'a Interrupt,
}

impl System {
    /// Whether the system has what is needed; the reason where it has not.
    pub(crate) fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match self.kind {
            Kind::Meshbridge { .. } => None,
            Kind::Mosquitto { .. } if needs.durable => {
                Some("mosquitto writes no event through to the disk before it answers")
            }
            Kind::Nats { syncs: false } if needs.durable => {
                Some("JetStream before 2.10 has no setting that writes each event through to the disk")
            }
            _ if needs.policies != Policies::Off => Some("has no such policies"),
            Kind::Mosquitto { .. } if needs.attributes => Some("MQTT 3.1.1 has no headers"),
            _ => None,
        }
    }

    /// Starts both servers in a directory of their own and returns when clients can connect.
    pub(crate) fn start(&self, needs: Needs, place: Place<'_>) -> Result<Pair> {
        fs::create_dir_all(place.directory)?;
        match self.kind {
            Kind::Nats { .. } => nats::start(&self.program, needs, place),
            Kind::Mosquitto { qos } => mosquitto::start(&self.program, qos, place),
            Kind::Meshbridge { transport } => meshbridge::start(&self.program, transport, needs, place),
        }
        .with_context(|| format!("starting {}", self.title))
    }
}

/// Programs that the comparison is told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    pub(crate) meshbridge: Option<PathBuf>,
    pub(crate) nats: Option<PathBuf>,
    pub(crate) nats_current: Option<PathBuf>,
    pub(crate) mosquitto: Option<PathBuf>,
}

/// What is not compared, and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// Finds the systems that can be compared with these programs.
pub(crate) fn find(programs: &Programs) -> (Vec<System>, Vec<Skipped>) {
    let mut systems = Vec::new();
    let mut skipped = Vec::new();
    let mut skip =
        |what: &str, why: &str| skipped.push(Skipped { what: what.to_owned(), why: why.to_owned() });
    match &programs.meshbridge {
        None => skip("Meshbridge", "no binary: build it, or name it with --meshbridge"),
        Some(program) => {
            let version = first_line(&program.to_string_lossy(), &["--version"]);
            let can = meshbridge::abilities(program);
            let quic = if can.transports { Transport::Quic } else { Transport::OnlyQuic };
            let links = [
                ("meshbridge-quic", "QUIC", quic, true),
                ("meshbridge-tcp", "TCP+TLS", Transport::Tcp, can.transports),
            ];
            for (id, name, transport, there) in links {
                let title = format!("Meshbridge, {name}");
                if !can.nats_listener {
                    skip(
                        &title,
                        "this binary has no NATS listener (`meshbridge config schema Bridge`), and the generator speaks nothing else that it has",
                    );
                } else if !there {
                    skip(&title, "this binary has no such links (`meshbridge config schema Bridge`)");
                } else {
                    let (kind, version, program) =
                        (Kind::Meshbridge { transport }, version.clone(), program.clone());
                    systems.push(System { id, title, version, kind, program });
                }
            }
        }
    }
    let mut versions = Vec::new();
    for (id, named, program) in [
        ("nats", "nats-server", &programs.nats),
        ("nats-current", "current nats-server", &programs.nats_current),
    ] {
        let Some(program) = program else {
            skip(named, "not installed");
            continue;
        };
        let line = first_line(&program.to_string_lossy(), &["--version"]);
        let Some(version) = line.rsplit('v').next().filter(|version| version.contains('.')) else {
            skip(named, &format!("{} does not tell its version: {line}", program.display()));
            continue;
        };
        if versions.contains(&version.to_owned()) {
            skip(named, &format!("it is the same version, {version}"));
            continue;
        }
        versions.push(version.to_owned());
        systems.push(System {
            id,
            title: format!("nats-server {version} leafnode, TLS"),
            version: version.to_owned(),
            kind: Kind::Nats { syncs: at_least(version, (2, 10)) },
            program: program.clone(),
        });
    }
    match &programs.mosquitto {
        None => skip("mosquitto", "not installed"),
        Some(program) => {
            let line = first_line(&program.to_string_lossy(), &["-h"]);
            let version = line.split_whitespace().last().unwrap_or_default().to_owned();
            for (id, qos) in [("mosquitto-qos0", 0), ("mosquitto-qos1", 1)] {
                systems.push(System {
                    id,
                    title: format!("mosquitto {version} bridge, QoS {qos}, TLS"),
                    version: version.clone(),
                    kind: Kind::Mosquitto { qos },
                    program: program.clone(),
                });
            }
        }
    }
    (systems, skipped)
}

fn at_least(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= least
}

impl Place<'_> {
    /// Where clients of a server that shows one of our certificates connect to.
    fn target(&self, address: std::net::SocketAddr, protocol: Protocol) -> Result<Target> {
        let file = |name: &str| self.certificates.join(name);
        let config = || certificates::client(&file("ca.pem"), &file("a.pem"), &file("a.key"));
        Ok(Target { address, protocol, tls: self.client_tls.then(config).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(at_least("2.10.27", (2, 10)) && at_least("3.0", (2, 10)));
        assert!(!at_least("2.9.10", (2, 10)) && !at_least("", (2, 10)));
    }

    #[test]
    fn what_is_not_there_is_listed_with_the_reason() {
        let (systems, skipped) = find(&Programs::default());
        assert!(systems.is_empty());
        assert_eq!(skipped.len(), 4, "{skipped:?}");
        assert!(skipped.iter().all(|one| !one.why.is_empty()));
    }
}
