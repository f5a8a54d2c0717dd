//! Where clients reach a bridge: HTTP, gRPC and the admin port behind one accept loop.
//!
//! ```text
//!  TcpListener ─► accept.rs: caps, rate ─► connection.rs: TLS, hyper (HTTP/1, h2), who is it ─► axum router
//!                                                                            ├─ http.rs   publish, streams
//!                                                                            ├─ grpc.rs   meshbridge.v1.Bridge
//!                                                                            └─ admin     state, metrics
//! ```
//!
//! Limits are those of RELIABILITY §5. A panic in a connection's task ends that connection and nothing else.

mod accept;
mod auth;
mod certificates;
mod connection;
mod grpc;
mod http;
mod limits;
mod nats;
mod places;
mod publish;
mod stream;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use tokio_util::sync::CancellationToken;

pub(crate) use accept::{BoundListener, bind};
pub(crate) use certificates::ListenerCertificates;

use crate::pipeline::Pipeline;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    Http,
    Grpc,
    Nats,
    Admin,
}

/// Files of a listener's TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Clients must present a certificate signed by it.
    pub(crate) client_ca: Option<PathBuf>,
}

/// A listener, resolved.
#[derive(Clone, Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) kind: ListenerKind,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) tokens: Option<PathBuf>,
    /// Web origins that may open a WebSocket; requests without an origin are no web pages.
    pub(crate) origins: Vec<String>,
    pub(crate) event_bytes_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) connections_max: usize,
}

impl BoundListener {
    /// Serves clients until `stop`, then lets open requests end.
    pub(crate) async fn serve(self, pipeline: Pipeline, stop: CancellationToken) {
        let router: Router = match self.settings().kind {
            ListenerKind::Nats => return nats::serve(self, pipeline, stop).await,
            ListenerKind::Grpc => grpc::router(pipeline, self.settings(), stop.clone()).await,
            ListenerKind::Http | ListenerKind::Admin => http::router(pipeline, self.settings(), stop.clone()),
        };
        self.serve_router(router, stop).await;
    }
}
