//! mosquitto: A has a bridge to B over TLS, and B wants its certificate.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Pair, Place};
use crate::process::{Server, free_address};
use crate::wire::Protocol;

pub(super) fn start(program: &Path, qos: u8, place: Place<'_>) -> Result<Pair> {
    let (a, b, link) = (free_address()?, free_address()?, free_address()?);
    let certificates = place.certificates.display();
    // Queues without a bound: the generator's window is the bound, and nothing is dropped for a number in a file.
    let common = "user root\nper_listener_settings true\nmax_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nlog_type warning\nlog_type error\npersistence false\n";
    let tls = |name: &str| {
        format!(
            "cafile {certificates}/ca.pem\ncertfile {certificates}/{name}.pem\nkeyfile {certificates}/{name}.key\nrequire_certificate true\n"
        )
    };
    let client = |port: u16, name: &str| {
        let tls = if place.client_tls { tls(name) } else { String::new() };
        format!("listener {port} 127.0.0.1\nallow_anonymous true\n{tls}")
    };
    let text_b = format!(
        "{common}{}listener {} 127.0.0.1\nallow_anonymous true\n{}",
        client(b.port(), "b"),
        link.port(),
        tls("b"),
    );
    let text_a = format!(
        "{common}{}connection a-to-b\naddress {link}\ntopic bench/# out {qos}\nremote_clientid a\nnotifications false\ntry_private true\nrestart_timeout 1\nbridge_cafile {certificates}/ca.pem\nbridge_certfile {certificates}/a.pem\nbridge_keyfile {certificates}/a.key\n",
        client(a.port(), "a")
    );
    let run = |name: &str, text: &str| -> Result<Server> {
        let file = place.directory.join(format!("{name}.conf"));
        fs::write(&file, text)?;
        Server::start(name, program, &["-c", &file.to_string_lossy()], place.directory)
    };
    let mut server_b = run("b", &text_b)?;
    server_b.wait_for(b, place.interrupt)?;
    server_b.wait_for(link, place.interrupt)?;
    let mut server_a = run("a", &text_a)?;
    server_a.wait_for(a, place.interrupt)?;
    let protocol = Protocol::Mqtt { qos };
    Ok(Pair {
        publish_at: place.target(a, protocol)?,
        subscribe_at: place.target(b, protocol)?,
        servers: vec![server_a, server_b],
    })
}
