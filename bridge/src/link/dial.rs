//! One task per peer that this bridge dials: resolve, connect, run the session, wait, again, for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use meshbridge_routing::BridgeId;
use rand::RngExt;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::quic::DialProblem;
use super::session::{Admission, SessionContext};
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

/// Why an attempt gave no session.
#[derive(Debug, thiserror::Error)]
enum AttemptFailed {
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

/// Keeps the link to `peer` up until `stop`. Cancel-safe at every await: a session that is dropped closes itself.
pub(crate) async fn dial_peer(
    context: SessionContext,
    peer: BridgeId,
    address: PeerAddress,
    resolver: Arc<TokioResolver>,
    stop: CancellationToken,
) {
    let mut backoff = BACKOFF_MIN;
    loop {
        context.links.on_dialling(&peer, true);
        let attempt = attempt(&context, &peer, &address, &resolver);
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = attempt => outcome,
        };
        match outcome {
            Ok(admission) => {
                let began = tokio::time::Instant::now();
                admission.run(context.clone(), stop.clone()).await;
                if began.elapsed() >= SETTLED {
                    backoff = BACKOFF_MIN;
                }
            }
            Err(problem) => {
                let problem = describe(&problem);
                warn!(%peer, %address, %problem, "Peer not reached, will be dialled again");
                context.links.on_failure(&peer, &problem);
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

async fn attempt(
    context: &SessionContext,
    peer: &BridgeId,
    address: &PeerAddress,
    resolver: &TokioResolver,
) -> Result<Admission, AttemptFailed> {
    let mut last = AttemptFailed::NoAddress(address.to_string());
    for remote in resolve(address, resolver).await? {
        let credentials = context.credentials.load_full();
        let dial = context.endpoint.dial(remote, &credentials);
        let connection = match tokio::time::timeout(HANDSHAKE_MAX, dial).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(problem)) => {
                last = AttemptFailed::Dial(remote, problem);
                continue;
            }
            Err(_) => {
                last = AttemptFailed::Timeout(remote);
                continue;
            }
        };
        match Admission::check(context, connection, Direction::Dialled, Some(peer)) {
            Ok(admission) => return Ok(admission),
            Err((connection, refused)) => {
                connection.close(CloseCode::Refused, &refused.to_string());
                last = AttemptFailed::WrongPeer(remote, peer.clone(), refused.to_string());
            }
        }
    }
    Err(last)
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
