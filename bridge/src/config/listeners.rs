//! How listeners are written: those for clients, and the admin port.

use meshbridge_policy::{Key, Shape};

use super::quarantine::RELEASERS;

static CLIENT_TLS: Shape = Shape::Map(&[
    Key::required("certificate", &Shape::Text, "PEM file with the server's chain, leaf first"),
    Key::required("key", &Shape::Text, "PEM file with its private key"),
    Key::optional("clientCa", &Shape::Text, "PEM file; clients must then present a certificate signed by it"),
]);

const LISTEN: Key = Key::required("listen", &Shape::Text, "address:port");
const TLS: Key = Key::optional("tls", &CLIENT_TLS, "without it the listener is cleartext");
const TOKENS: Key =
    Key::optional("tokens", &Shape::Text, "file with bearer tokens: a list of {token, principal}");
const ORIGINS: Key = Key::optional(
    "origins",
    &Shape::List { of: &Shape::Text, non_empty: false },
    "web origins that may open a WebSocket",
);

pub(super) static LISTENER: Shape = Shape::Map(&[LISTEN, TLS, TOKENS, ORIGINS]);

pub(super) static ADMIN: Shape = Shape::Map(&[
    LISTEN,
    TLS,
    TOKENS,
    ORIGINS,
    Key::optional(
        "releasers",
        &RELEASERS,
        "principal: layers whose rules it may release quarantined events from; nobody by default",
    ),
]);
