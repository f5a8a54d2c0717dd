//! The accept loop of all listeners: who may connect, how many, how fast, and for how long.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use governor::{Quota, RateLimiter};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info};

use super::auth::{Authenticator, ClientConnection, principal_of};
use super::limits::{self as limit};
use super::{ListenerKind, ListenerSettings};
use crate::identity::{provider, read_chain, read_roots};

/// Connections of one authenticated client.
const PER_IDENTITY_MAX: usize = 256;

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindProblem {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}")]
    Address {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Certificates or tokens cannot be used.
    #[error("the listener on {address} cannot be set up: {reason}")]
    Settings { address: SocketAddr, reason: String },
}

/// A listener that holds its address and does not serve yet.
#[derive(Debug)]
pub(crate) struct BoundListener {
    listener: TcpListener,
    settings: ListenerSettings,
    tls: Option<Arc<rustls::ServerConfig>>,
    authenticator: Arc<Authenticator>,
}

/// Takes the address and reads the listener's files.
pub(crate) async fn bind(settings: ListenerSettings) -> Result<BoundListener, BindProblem> {
    let address = settings.address;
    let reason = |problem: anyhow::Error| BindProblem::Settings { address, reason: format!("{problem:#}") };
    let tls = tls_config(&settings).map_err(reason)?;
    let demands = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let authenticator = Authenticator::new(settings.tokens.clone(), demands)
        .map_err(|reason| BindProblem::Settings { address, reason })?;
    let listener =
        TcpListener::bind(address).await.map_err(|source| BindProblem::Address { address, source })?;
    Ok(BoundListener { listener, settings, tls: tls.map(Arc::new), authenticator: Arc::new(authenticator) })
}

fn tls_config(settings: &ListenerSettings) -> anyhow::Result<Option<rustls::ServerConfig>> {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    let Some(files) = &settings.tls else { return Ok(None) };
    let chain = read_chain(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read `{}`", files.key.display()))?;
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match &files.client_ca {
        Some(ca) => {
            let roots = Arc::new(read_roots(ca)?);
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider());
            // With tokens beside it, a certificate is one of two ways to show who one is.
            let verifier =
                if settings.tokens.is_some() { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = match settings.kind {
        ListenerKind::Grpc => vec![b"h2".to_vec()],
        ListenerKind::Http | ListenerKind::Admin => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    config.max_early_data_size = 0;
    Ok(Some(config))
}

/// Connections by client, so that one cannot take them all.
#[derive(Debug, Default)]
struct PerIdentity(Mutex<HashMap<Arc<str>, usize>>);

struct IdentityPlace(Arc<PerIdentity>, Arc<str>);

impl PerIdentity {
    fn take(self: &Arc<Self>, name: &Arc<str>) -> Option<IdentityPlace> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(Arc::clone(name)).or_default();
        if *count >= PER_IDENTITY_MAX {
            return None;
        }
        *count += 1;
        Some(IdentityPlace(Arc::clone(self), Arc::clone(name)))
    }
}

impl Drop for IdentityPlace {
    fn drop(&mut self) {
        let mut held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.1);
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl BoundListener {
    pub(super) fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    /// Serves `router` until `stop`. Each request carries the client's principal as an extension.
    pub(crate) async fn serve_router(self, router: Router, stop: CancellationToken) {
        let address = self.settings.address;
        info!(%address, kind = ?self.settings.kind, tls = self.tls.is_some(), "Listening");
        let places = Arc::new(Semaphore::new(self.settings.connections_max));
        let strangers = Arc::new(Semaphore::new(limit::UNAUTHENTICATED_MAX));
        let handshakes = Arc::new(Semaphore::new(limit::HANDSHAKES_MAX));
        let identities = Arc::new(PerIdentity::default());
        let rate = RateLimiter::keyed(
            Quota::per_second(limit::RATE_PER_SOURCE).allow_burst(limit::BURST_PER_SOURCE),
        );
        let acceptor = self.tls.clone().map(TlsAcceptor::from);
        let mut connections = JoinSet::new();
        let mut seen: u64 = 0;
        loop {
            let (stream, remote) = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(problem) => {
                        // Out of descriptors, or a client that left at once: neither ends the listener.
                        debug!(%problem, "Accept failed");
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            seen += 1;
            if seen.is_multiple_of(1_024) {
                rate.retain_recent();
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            if !remote.ip().is_loopback() && rate.check_key(&source(remote.ip())).is_err() {
                continue;
            }
            let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else { continue };
            let connection = Connection {
                router: router.clone(),
                acceptor: acceptor.clone(),
                authenticator: Arc::clone(&self.authenticator),
                handshakes: Arc::clone(&handshakes),
                identities: Arc::clone(&identities),
                kind: self.settings.kind,
                stop: stop.clone(),
            };
            connections.spawn(async move { connection.run(stream, remote, place, stranger).await });
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limit::DRAIN_MAX, drained).await;
    }
}

/// An IPv4 address, or the /64 of an IPv6 one.
fn source(ip: IpAddr) -> [u8; 8] {
    let mut key = [0; 8];
    match ip {
        IpAddr::V4(v4) => key[4..].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => key.copy_from_slice(&v6.octets()[..8]),
    }
    key
}

struct Connection {
    router: Router,
    acceptor: Option<TlsAcceptor>,
    authenticator: Arc<Authenticator>,
    handshakes: Arc<Semaphore>,
    identities: Arc<PerIdentity>,
    kind: ListenerKind,
    stop: CancellationToken,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        remote: SocketAddr,
        _place: OwnedSemaphorePermit,
        stranger: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let (stream, certificate): (Pin<Box<dyn Stream>>, _) = match &self.acceptor {
            None => (Box::pin(stream), None),
            Some(acceptor) => {
                let Ok(_turn) = self.handshakes.acquire().await else { return };
                match tokio::time::timeout(limit::HANDSHAKE_MAX, acceptor.accept(stream)).await {
                    Ok(Ok(tls)) => {
                        let chain = tls.get_ref().1.peer_certificates();
                        let principal = chain.and_then(|chain| principal_of(chain.first()?));
                        (Box::pin(tls), principal)
                    }
                    Ok(Err(problem)) => return debug!(%remote, %problem, "TLS handshake failed"),
                    Err(_) => return debug!(%remote, "TLS handshake took too long"),
                }
            }
        };
        let _identity = match &certificate {
            Some(principal) => match self.identities.take(&principal.0) {
                Some(place) => Some(place),
                None => return debug!(%remote, "Client has too many connections"),
            },
            None => None,
        };
        // A certificate has shown who the client is, and loopback needs no more; others hold their place among the
        // strangers for as long as they are connected.
        let known = certificate.is_some() || remote.ip().is_loopback();
        let _stranger = (!known).then_some(stranger);
        let client = ClientConnection { loopback: remote.ip().is_loopback(), certificate };
        self.http(stream, client, remote).await;
    }

    async fn http(self, stream: Pin<Box<dyn Stream>>, client: ClientConnection, remote: SocketAddr) {
        let authenticator = self.authenticator;
        let kind = self.kind;
        let router = self.router;
        let service = tower::service_fn(move |mut request: Request<Incoming>| {
            let router = router.clone();
            let principal = authenticator.principal(&client, request.headers());
            async move {
                let response = match principal {
                    Ok(principal) => {
                        request.extensions_mut().insert(principal);
                        router
                            .oneshot(request.map(axum::body::Body::new))
                            .await
                            .unwrap_or_else(|never| match never {})
                    }
                    Err(refused) if kind == ListenerKind::Grpc => {
                        tonic::Status::unauthenticated(refused.to_string()).into_http()
                    }
                    Err(refused) => super::http::unauthorised(&refused.to_string()).into_response(),
                };
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limit::HEADER_READ_MAX)
            .max_headers(limit::HEADERS_MAX)
            .max_buf_size(limit::BUFFER_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limit::H2_STREAMS)
            .initial_stream_window_size(limit::H2_STREAM_WINDOW)
            .initial_connection_window_size(limit::H2_CONNECTION_WINDOW)
            .max_header_list_size(limit::H2_HEADER_LIST)
            .max_frame_size(limit::H2_FRAME)
            .max_pending_accept_reset_streams(limit::H2_PENDING_RESETS)
            .max_local_error_reset_streams(limit::H2_LOCAL_RESETS)
            .max_send_buf_size(limit::H2_SEND_BUFFER)
            .keep_alive_interval(limit::H2_PING_EVERY)
            .keep_alive_timeout(limit::H2_PING_ANSWER);
        let connection =
            builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(problem) = outcome {
            debug!(%remote, %problem, "Connection ended");
        }
    }
}
