//! The first words: what the server says of itself, and what a client says of itself.

use serde::{Deserialize, Serialize};

/// The version of the server protocol that clients may rely on: headers, no-responders, request-reply.
const PROTOCOL_LEVEL: &str = "2.10.0";

/// What `INFO` tells.
#[derive(Debug, Serialize)]
pub(super) struct Info<'a> {
    pub(super) server_id: &'a str,
    pub(super) server_name: &'a str,
    version: &'static str,
    proto: u8,
    pub(super) host: String,
    pub(super) port: u16,
    headers: bool,
    pub(super) max_payload: usize,
    pub(super) client_id: u64,
    pub(super) client_ip: String,
    pub(super) auth_required: bool,
    pub(super) tls_required: bool,
    pub(super) tls_verify: bool,
    /// The bridge is stopping: the client should find another server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) ldm: bool,
}

impl<'a> Info<'a> {
    pub(super) fn of(server: &'a str, max_payload: usize) -> Info<'a> {
        Info {
            server_id: server,
            server_name: server,
            version: PROTOCOL_LEVEL,
            proto: 1,
            host: String::new(),
            port: 0,
            headers: true,
            max_payload,
            client_id: 0,
            client_ip: String::new(),
            auth_required: false,
            tls_required: false,
            tls_verify: false,
            ldm: false,
        }
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("INFO {json}\r\n").into_bytes()
    }
}

/// What `CONNECT` tells. Unknown keys are those of newer clients.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Connect {
    #[serde(default)]
    pub(super) verbose: bool,
    #[serde(default)]
    pub(super) headers: bool,
    #[serde(default)]
    pub(super) no_responders: bool,
    pub(super) auth_token: Option<String>,
    pub(super) user: Option<String>,
    pub(super) pass: Option<String>,
    pub(super) name: Option<String>,
}
