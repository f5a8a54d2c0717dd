//! From a URL to an answer: resolve, check, connect to the checked address, speak HTTP/1.1 over it, read what is
//! wanted of the answer. One task per connection drives it; dropping the connection ends the task.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::Host;

use super::Limits;
use super::address::{AddressRefused, AddressRules, CheckedAddress};
use super::network::Network;
use super::target::TargetUrl;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// A connection is used again within this time of silence, and this age: addresses and rules change.
const IDLE_MAX: Duration = Duration::from_secs(30);
const AGE_MAX: Duration = Duration::from_secs(300);
/// What a request that went out on an old connection still gets; more than any answer may take.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeFailed {
    #[error(transparent)]
    NotAllowed(AddressRefused),
    #[error("the name cannot be resolved")]
    Unresolvable,
    #[error("no connection")]
    Unreachable,
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("the certificate or the handshake is not acceptable")]
    Tls,
    #[error("no answer in time")]
    AnswerTimeout,
    #[error("the connection broke before an answer came")]
    ConnectionLost,
}

/// The head of an answer; its body has been read, up to the limit, and forgotten.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// An open connection to a checked address.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    opened: Instant,
    used: Instant,
    _driver: AbortOnDropHandle<()>,
}

/// Connections of one target that wait for their next request.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| {
            !one.sender.is_closed() && one.used.elapsed() < IDLE_MAX && one.opened.elapsed() < AGE_MAX
        });
        idle.pop()
    }

    fn put(&self, connection: Connection, max: usize) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < max {
            idle.push(connection);
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Idle")
    }
}

/// Opens connections and asks over them.
pub(super) struct Connector {
    pub(super) rules: AddressRules,
    pub(super) network: Arc<dyn Network>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) limits: Limits,
}

impl Connector {
    /// Sends a request and reads the answer. Cancel-safe: what is dropped closes its connection.
    pub(super) async fn exchange(
        &self,
        idle: &Idle,
        url: &TargetUrl,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answer, ExchangeFailed> {
        loop {
            let reused = idle.take();
            let is_reused = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => self.open(url).await?,
            };
            let deadline = Instant::now() + self.limits.answer;
            if is_reused && !matches!(timeout_at(deadline, connection.sender.ready()).await, Ok(Ok(()))) {
                // It was closed since it was last used; take the next, or a new one.
                continue;
            }
            let answer = timeout_at(deadline, connection.sender.try_send_request(request));
            match answer.await.map_err(|_| ExchangeFailed::AnswerTimeout)? {
                Ok(response) => {
                    let (Parts { status, headers, .. }, body) = response.into_parts();
                    // The status says what became of the event, whatever becomes of the body.
                    if let Ok(true) = timeout_at(deadline, self.read_to_end(body)).await {
                        connection.used = Instant::now();
                        idle.put(connection, self.limits.in_flight);
                    }
                    return Ok(Answer { status, headers });
                }
                // The receiver closed an idle connection while we took it up: nothing was sent.
                Err(mut problem) => match problem.take_message().filter(|_| is_reused) {
                    Some(unsent) => request = unsent,
                    None => return Err(ExchangeFailed::ConnectionLost),
                },
            }
        }
    }

    /// `true` where the whole body is within the limit; what is beyond is not read.
    async fn read_to_end(&self, mut body: Incoming) -> bool {
        let mut left = self.limits.answer_bytes;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    }

    async fn open(&self, url: &TargetUrl) -> Result<Connection, ExchangeFailed> {
        let deadline = Instant::now() + self.limits.connect;
        let addresses = timeout_at(deadline, self.addresses(url));
        let addresses = addresses.await.map_err(|_| ExchangeFailed::ConnectTimeout)??;
        let mut last = ExchangeFailed::Unreachable;
        let count = addresses.len().min(ADDRESSES_MAX);
        for (at, address) in addresses.into_iter().take(ADDRESSES_MAX).enumerate() {
            // Each address gets its share of the time, so that one black hole does not hide the others.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = Instant::now() + left / u32::try_from(count - at).unwrap_or(1);
            last = match timeout_at(share, self.open_at(url, address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(problem)) => problem,
                Err(_) => ExchangeFailed::ConnectTimeout,
            };
        }
        Err(last)
    }

    /// Resolves and checks. One refused address refuses the name: a mixed answer is how rebinding begins.
    async fn addresses(&self, url: &TargetUrl) -> Result<Vec<CheckedAddress>, ExchangeFailed> {
        let found: Vec<IpAddr> = match url.host() {
            Host::Ipv4(ip) => vec![ip.into()],
            Host::Ipv6(ip) => vec![ip.into()],
            Host::Domain(name) => {
                self.network.lookup(name).await.map_err(|_| ExchangeFailed::Unresolvable)?
            }
        };
        if found.is_empty() {
            return Err(ExchangeFailed::Unresolvable);
        }
        let is_this_machine = |ip| self.network.is_this_machine(ip);
        found
            .into_iter()
            .map(|ip| self.rules.check((ip, url.port()).into(), &is_this_machine))
            .collect::<Result<_, _>>()
            .map_err(ExchangeFailed::NotAllowed)
    }

    async fn open_at(&self, url: &TargetUrl, address: CheckedAddress) -> Result<Connection, ExchangeFailed> {
        let stream = self.network.connect(address).await.map_err(|_| ExchangeFailed::Unreachable)?;
        if !url.is_tls() {
            return speak(stream).await;
        }
        let name = match url.host() {
            Host::Ipv4(ip) => ServerName::from(IpAddr::from(ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::from(ip)),
            Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| ExchangeFailed::Unresolvable)?,
        };
        let secured = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        speak(secured.map_err(|_| ExchangeFailed::Tls)?).await
    }
}

async fn speak<T>(stream: T) -> Result<Connection, ExchangeFailed>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| ExchangeFailed::ConnectionLost)?;
    let driver = tokio::spawn(async move {
        // How it ended is told to whoever waits for an answer. The time bounds connections that nobody takes up again.
        let _ = timeout(AGE_MAX + LAST_ANSWER, connection).await;
    });
    let now = Instant::now();
    Ok(Connection { sender, opened: now, used: now, _driver: AbortOnDropHandle::new(driver) })
}
