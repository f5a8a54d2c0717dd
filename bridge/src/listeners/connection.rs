//! One connection: handshake, then hyper, then each request with the name of its client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::ListenerKind;
use super::auth::{Authenticator, Shown, Unauthorised};
use super::certificates::{ListenerCertificates, not_after};
use super::limits as limit;
use super::places::{Place, TooMany};
use super::stream::{Answering, HeadClock, Stream};
use crate::pipeline::Principal;

/// What the connections of a listener of HTTP share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) router: Router,
    pub(super) door: Arc<Door>,
}

/// What lets the connections of a listener in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) certificates: Option<Arc<ListenerCertificates>>,
    pub(super) authenticator: Authenticator,
    pub(super) handshakes: Semaphore,
    pub(super) kind: ListenerKind,
    pub(super) stop: CancellationToken,
}

/// Serves one client until it leaves, breaks a rule, or the listener stops.
pub(super) async fn serve(host: Arc<Host>, stream: TcpStream, remote: SocketAddr, place: Place) {
    let _ = stream.set_nodelay(true);
    let Some(certificates) = &host.door.certificates else {
        return run(&host, stream, remote, place, Shown::Nothing, None).await;
    };
    let acceptor = TlsAcceptor::from(certificates.current());
    let handshake = async {
        let _turn = host.door.handshakes.acquire().await.ok()?;
        Some(tokio::time::timeout(limit::HANDSHAKE_MAX, acceptor.accept(stream)).await)
    };
    match handshake.await {
        Some(Ok(Ok(tls))) => {
            let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
            let shown = Shown::of_chain(chain);
            let ends = chain.iter().filter_map(not_after).min();
            run(&host, tls, remote, place, shown, ends).await;
        }
        Some(Ok(Err(problem))) => debug!(%remote, %problem, "TLS handshake failed"),
        Some(Err(_)) => debug!(%remote, "TLS handshake took too long"),
        None => {}
    }
}

async fn run<S>(
    host: &Arc<Host>,
    stream: S,
    remote: SocketAddr,
    place: Place,
    shown: Shown,
    ends: Option<SystemTime>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if remote.ip().is_loopback() {
        place.local();
    }
    let clock = Arc::new(HeadClock::start(tokio::time::Instant::now()));
    let place = Arc::new(place);
    let client = Arc::new(Client {
        host: Arc::clone(host),
        shown,
        remote,
        place: Arc::clone(&place),
        clock: Arc::clone(&clock),
        requests: AtomicU32::new(0),
    });
    if let Shown::Named(principal) = &client.shown
        && let Err(problem) = client.introduce(principal)
    {
        return debug!(%remote, %problem, "Connection refused");
    }
    let stream = TokioIo::new(Stream::new(stream, Arc::clone(&clock), place, ends));
    let service = tower::service_fn(move |request| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    let builder = builder(host.door.kind);
    let connection = builder.serve_connection_with_upgrades(stream, TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let mut overdue = std::pin::pin!(clock.overdue());
    let mut old = std::pin::pin!(grown_old(host.door.kind));
    let mut leaving = false;
    let outcome = loop {
        tokio::select! {
            outcome = connection.as_mut() => break outcome,
            () = overdue.as_mut() => return debug!(%remote, "Request head took too long"),
            () = host.door.stop.cancelled(), if !leaving => {}
            () = old.as_mut(), if !leaving => {}
        }
        leaving = true;
        connection.as_mut().graceful_shutdown();
    };
    if let Err(problem) = outcome {
        debug!(%remote, %problem, "Connection ended");
    }
}

/// gRPC clients keep a connection for ever; now and then they must come anew, which spreads them over listeners.
async fn grown_old(kind: ListenerKind) {
    match kind {
        ListenerKind::Grpc => tokio::time::sleep(limit::GRPC_CONNECTION_AGE_MAX).await,
        ListenerKind::Http | ListenerKind::Nats | ListenerKind::Admin => std::future::pending().await,
    }
}

fn builder(kind: ListenerKind) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // From one request to the end of the next one's head; `HeadClock` has the time for the head alone.
        .header_read_timeout(limit::IDLE_MAX)
        .max_headers(limit::HEADERS_MAX)
        .max_buf_size(limit::BUFFER_BYTES);
    let streams = match kind {
        ListenerKind::Grpc => limit::GRPC_CALLS,
        ListenerKind::Http | ListenerKind::Nats | ListenerKind::Admin => limit::H2_STREAMS,
    };
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .initial_stream_window_size(limit::H2_STREAM_WINDOW)
        .initial_connection_window_size(limit::H2_CONNECTION_WINDOW)
        .max_header_list_size(limit::H2_HEADER_LIST)
        .max_frame_size(limit::H2_FRAME)
        .max_pending_accept_reset_streams(limit::H2_PENDING_RESETS)
        .max_local_error_reset_streams(limit::H2_LOCAL_RESETS)
        .max_send_buf_size(limit::H2_SEND_BUFFER)
        .keep_alive_interval(limit::H2_PING_EVERY)
        .keep_alive_timeout(limit::H2_PING_ANSWER);
    builder
}

/// What the requests of a connection share.
struct Client {
    host: Arc<Host>,
    shown: Shown,
    remote: SocketAddr,
    place: Arc<Place>,
    clock: Arc<HeadClock>,
    requests: AtomicU32,
}

impl Client {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Answer> {
        let answering = self.clock.on_request();
        let version = request.version();
        let number = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut response = match self.admit(&request) {
            Ok(principal) => {
                request.extensions_mut().insert(principal);
                request.extensions_mut().insert(self.clock.flushed().clone());
                let request = request.map(Body::new);
                self.host.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
            Err(refused) => refused.response(self.host.door.kind),
        };
        let http1 = version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if http1 && number >= limit::REQUESTS_PER_CONNECTION {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Answer { body, _answering: answering })
    }

    fn admit(&self, request: &Request<Incoming>) -> Result<Principal, NotAdmitted> {
        let principal = self.host.door.authenticator.principal(&self.shown, request.headers())?;
        if principal != Principal::anonymous() {
            self.introduce(&principal)?;
        }
        Ok(principal)
    }

    fn introduce(&self, principal: &Principal) -> Result<(), TooMany> {
        if self.place.known(principal)? {
            debug!(remote = %self.remote, %principal, "Client is known");
        }
        Ok(())
    }
}

/// Why a request is not even looked at; the text is for its client.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error(transparent)]
    Unauthorised(#[from] Unauthorised),
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl NotAdmitted {
    fn response(&self, kind: ListenerKind) -> Response {
        let message = self.to_string();
        match (self, kind) {
            (NotAdmitted::Unauthorised(_), ListenerKind::Grpc) => {
                tonic::Status::unauthenticated(message).into_http()
            }
            (NotAdmitted::TooMany(_), ListenerKind::Grpc) => {
                tonic::Status::resource_exhausted(message).into_http()
            }
            (NotAdmitted::Unauthorised(_), _) => super::http::unauthorised(&message),
            (NotAdmitted::TooMany(_), _) => super::http::too_many(&message),
        }
    }
}

/// The body of an answer; the connection is busy until it is gone.
struct Answer {
    body: Body,
    _answering: Answering,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
