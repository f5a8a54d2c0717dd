//! One task per peer that this bridge dials: resolve, connect, run the session, wait, again, for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use meshbridge_routing::BridgeId;
use rand::RngExt;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::fallback::{Fallback, TRIALS_GOOD, race};
use super::quic::DialProblem;
use super::session::{Admission, SessionContext};
use super::transport::{Connection, Transport, TransportChoice};
use super::{CloseCode, Direction};

/// The first wait after a failure, and the longest; in between it doubles. Each is drawn from half to the whole.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A session that lasted this long was a good one: the next failure starts over at the shortest wait.
const SETTLED: Duration = Duration::from_secs(10);
/// A whole handshake (RELIABILITY §5).
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// `host:port` as the configuration has it.
#[derive(Clone, Debug)]
pub(crate) struct PeerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A peer that is dialled.
#[derive(Clone, Debug)]
pub(crate) struct PeerToDial {
    pub(crate) bridge: BridgeId,
    pub(crate) address: PeerAddress,
    pub(crate) transport: TransportChoice,
    /// Between two trials of QUIC while the link is on TCP for want of it.
    pub(crate) quic_retry: Duration,
}

/// Why an attempt gave no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptFailed {
    #[error("`{0}` cannot be resolved: {1}")]
    Resolve(String, String),
    #[error("`{0}` has no address")]
    NoAddress(String),
    #[error("no answer from {0} within five seconds")]
    Timeout(SocketAddr),
    #[error("{0}: {1}")]
    Dial(SocketAddr, #[source] DialProblem),
    #[error("{0} is not `{1}`: {2}")]
    WrongPeer(SocketAddr, BridgeId, String),
}

/// Keeps the link to a peer up until `stop`. Cancel-safe at every await: a session that is dropped closes itself.
pub(crate) async fn dial_peer(
    context: SessionContext,
    target: PeerToDial,
    resolver: Arc<TokioResolver>,
    stop: CancellationToken,
) {
    let PeerToDial { bridge: peer, address, .. } = &target;
    let mut fallback = Fallback::new(target.quic_retry);
    let mut backoff = BACKOFF_MIN;
    let dialler = Dialler { context: &context, target: &target, resolver: &resolver, stop: &stop };
    loop {
        context.links.on_dialling(peer, true);
        let attempt = dialler.attempt(target.transport, &mut fallback);
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = attempt => outcome,
        };
        match outcome {
            Ok(admission) => {
                let began = tokio::time::Instant::now();
                dialler.run(admission, &mut fallback).await;
                fallback.on_end(std::time::Instant::now());
                if began.elapsed() >= SETTLED {
                    backoff = BACKOFF_MIN;
                }
            }
            Err(problem) => {
                let problem = describe(&problem);
                warn!(%peer, %address, %problem, "Peer not reached, will be dialled again");
                context.links.on_failure(peer, &problem);
            }
        }
        let wait = backoff.mul_f64(rand::rng().random_range(0.5..=1.0));
        backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Dialler<'a> {
    context: &'a SessionContext,
    target: &'a PeerToDial,
    resolver: &'a TokioResolver,
    stop: &'a CancellationToken,
}

impl Dialler<'_> {
    /// Runs the session of the link to its end, over QUIC again as soon as that is possible.
    async fn run(&self, admission: Admission, fallback: &mut Fallback) {
        let mut is_fallback =
            self.target.transport == TransportChoice::Auto && admission.transport() == Transport::Tcp;
        let mut session = Box::pin(admission.run(self.context.clone(), self.stop.clone()));
        while is_fallback {
            let better = tokio::select! {
                () = &mut session => return,
                better = self.quic_again(fallback) => better,
            };
            let mut better = Box::pin(better.run(self.context.clone(), self.stop.clone()));
            tokio::select! {
                // Replaced by the newer one.
                () = &mut session => {
                    fallback.on_return(&self.target.bridge, std::time::Instant::now());
                    is_fallback = false;
                    session = better;
                }
                // It did not last until it was a session.
                () = &mut better => {}
            }
        }
        session.await;
    }

    /// A connection over QUIC, after as many in a row as make it believable.
    async fn quic_again(&self, fallback: &mut Fallback) -> Admission {
        let mut good = 0;
        loop {
            tokio::time::sleep(fallback.wait()).await;
            let mut unused = Fallback::new(Duration::ZERO);
            match self.attempt(TransportChoice::Only(Transport::Quic), &mut unused).await {
                Ok(admission) => {
                    good += 1;
                    if good >= TRIALS_GOOD {
                        return admission;
                    }
                    admission.refuse(CloseCode::Stopping, "a trial of QUIC").await;
                }
                Err(_) => good = 0,
            }
        }
    }

    async fn attempt(
        &self,
        transport: TransportChoice,
        fallback: &mut Fallback,
    ) -> Result<Admission, AttemptFailed> {
        let PeerToDial { bridge: peer, address, .. } = self.target;
        let mut last = AttemptFailed::NoAddress(address.to_string());
        for remote in resolve(address, self.resolver).await? {
            let connection = match self.connect(transport, fallback, remote).await {
                Ok(connection) => connection,
                Err(problem) => {
                    last = problem;
                    continue;
                }
            };
            match Admission::check(self.context, connection, Direction::Dialled, Some(peer)) {
                Ok(admission) => {
                    fallback.on_connected(peer, admission.transport(), transport);
                    return Ok(admission);
                }
                Err((connection, refused)) => {
                    connection.close(CloseCode::Refused, &refused.to_string());
                    last = AttemptFailed::WrongPeer(remote, peer.clone(), refused.to_string());
                }
            }
        }
        Err(last)
    }

    async fn connect(
        &self,
        transport: TransportChoice,
        fallback: &mut Fallback,
        remote: SocketAddr,
    ) -> Result<Connection, AttemptFailed> {
        if let TransportChoice::Only(transport) = transport {
            return over(self.context, transport, remote).await;
        }
        if fallback.is_blocked() {
            if let Ok(connection) = over(self.context, Transport::Tcp, remote).await {
                return Ok(connection);
            }
            fallback.forget();
        }
        race(self.context, remote).await
    }
}

/// A handshake over this transport, five seconds at most.
pub(super) async fn over(
    context: &SessionContext,
    transport: Transport,
    remote: SocketAddr,
) -> Result<Connection, AttemptFailed> {
    let credentials = context.credentials.load_full();
    let dial = async {
        match transport {
            Transport::Quic => context.endpoint.quic().dial(remote, &credentials).await,
            Transport::Tcp => Ok(context.endpoint.tcp().dial(remote, &credentials).await?.into()),
        }
    };
    match tokio::time::timeout(HANDSHAKE_MAX, dial).await {
        Ok(connected) => connected.map_err(|problem| AttemptFailed::Dial(remote, problem)),
        Err(_) => Err(AttemptFailed::Timeout(remote)),
    }
}

async fn resolve(address: &PeerAddress, resolver: &TokioResolver) -> Result<Vec<SocketAddr>, AttemptFailed> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let answer = resolver
        .lookup_ip(host)
        .await
        .map_err(|problem| AttemptFailed::Resolve(address.to_string(), problem.to_string()))?;
    Ok(answer.iter().map(|ip| SocketAddr::new(ip, address.port)).collect())
}

fn describe(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut source = problem.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
