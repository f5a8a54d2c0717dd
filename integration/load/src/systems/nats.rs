//! nats-server: B takes leafnodes over TLS and wants their certificate, A is one. JetStream, where it is asked for, is at A and syncs each event.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{DURABLE_TOPIC, Needs, Pair, Place};
use crate::connection::Connection;
use crate::process::{Server, free_address};
use crate::wire::{Protocol, nats};

/// Most bytes of the stream; the oldest events go then, which costs what it costs everywhere.
const STREAM_BYTES_MAX: u64 = 2 << 30;

pub(super) fn start(program: &Path, needs: Needs, place: Place<'_>) -> Result<Pair> {
    let (a, b, link) = (free_address()?, free_address()?, free_address()?);
    let certificates = place.certificates.display();
    let tls = |name: &str, more: &str| {
        format!(
            "tls {{ cert_file: \"{certificates}/{name}.pem\", key_file: \"{certificates}/{name}.key\", ca_file: \"{certificates}/ca.pem\", timeout: 5{more} }}"
        )
    };
    let jetstream = if needs.durable {
        let store = place.directory.join("jetstream");
        format!("jetstream {{ store_dir: \"{}\", sync_interval: always }}\n", store.display())
    } else {
        String::new()
    };
    let clients =
        |name: &str| if place.client_tls { tls(name, ", verify: true") + "\n" } else { String::new() };
    let text_b = format!(
        "server_name: b\nlisten: \"{b}\"\nleafnodes {{ listen: \"{link}\", {} }}\n{}",
        tls("b", ", verify: true"),
        clients("b"),
    );
    let text_a = format!(
        "server_name: a\nlisten: \"{a}\"\n{jetstream}leafnodes {{ reconnect: 1, remotes: [ {{ url: \"tls://{link}\", {} }} ] }}\n{}",
        tls("a", ""),
        clients("a"),
    );
    let run = |name: &str, text: &str| -> Result<Server> {
        let file = place.directory.join(format!("{name}.conf"));
        fs::write(&file, text)?;
        Server::start(name, program, &["-c", &file.to_string_lossy()], place.directory)
    };
    let mut server_b = run("b", &text_b)?;
    server_b.wait_for(link, place.interrupt)?;
    server_b.wait_for(b, place.interrupt)?;
    let mut server_a = run("a", &text_a)?;
    server_a.wait_for(a, place.interrupt)?;
    server_b.wait_for(b, place.interrupt)?;
    let pair = Pair {
        publish_at: place.target(a, Protocol::Nats)?,
        subscribe_at: place.target(b, Protocol::Nats)?,
        servers: vec![server_a, server_b],
    };
    if needs.durable {
        make_stream(&pair).context("JetStream")?;
    }
    Ok(pair)
}

fn make_stream(pair: &Pair) -> Result<()> {
    let mut connection = Connection::open(&pair.publish_at, "meshbridge-load-setup")?;
    connection.ask(&nats::expect_answers())?;
    let body = serde_json::json!({
        "name": "BENCH", "subjects": [DURABLE_TOPIC], "storage": "file", "retention": "limits", "discard": "old",
        "max_bytes": STREAM_BYTES_MAX, "max_msgs": -1, "max_consumers": -1, "num_replicas": 1, "duplicate_window": 0,
    });
    connection.ask(&nats::request("$JS.API.STREAM.CREATE.BENCH", &body.to_string()))
}
