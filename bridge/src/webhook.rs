//! The webhook sender: events to HTTP receivers that asked for them, and to nobody else.
//!
//! ```text
//! deliver ─► scheme ─► slot ─► breaker ─► consent ─► pace ─► resolve ─► check ─► connect ─► POST ─► Outcome
//!             http      16 in    open?     OPTIONS    allowed            G10     the very
//!             allowed?  flight             daily      rate                       address
//! ```
//!
//! It keeps no events and makes no second attempt: whoever calls it has the queue, the delivery count and the backoff.
//! All it remembers is by URL ([`state`]), in a bounded cache, so two subscriptions with the same URL share the
//! receiver's consent, rate and health. It spawns one task per open connection, which ends with the connection; a
//! delivery that is dropped leaves nothing behind.

mod address;
mod breaker;
mod connection;
mod consent;
mod network;
mod outcome;
mod pace;
mod request;
mod secret;
mod sign;
mod state;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use address::AddressRules;
pub(crate) use network::{Network, SystemNetwork};
pub(crate) use outcome::{Outcome, RefusedReason};
pub(crate) use request::Delivery;
pub(crate) use sign::SigningKeys;
pub(crate) use target::{Target, TargetUrl};
#[cfg(test)]
use {
    address::{AddressRefused, CheckedAddress, InvalidRange},
    outcome::RetryReason,
    sign::LoadKeysError,
    target::InvalidUrl,
};

use crate::identity::provider;
use connection::Connector;
use consent::Consent;
use state::TargetState;

/// URLs of which something is remembered.
const TARGETS_MAX: u64 = 10_000;
/// How long a delivery waits for its turn before it is handed back.
const PATIENCE: Duration = Duration::from_secs(1);

/// Numbers of RELIABILITY §5, "webhooks out", and G9.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the name to a connection on which requests can be sent, TLS included.
    pub(crate) connect: Duration,
    /// From the request to the last byte of the answer that is read.
    pub(crate) answer: Duration,
    /// Bytes of an answer's body that are read.
    pub(crate) answer_bytes: usize,
    /// Requests in flight to one target.
    pub(crate) in_flight: usize,
    /// How long a consent holds, and how long a refusal is not asked about again.
    pub(crate) consent_life: Duration,
    pub(crate) refusal_life: Duration,
    /// How long the circuit breaker first stays open.
    pub(crate) breaker_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(10),
            answer_bytes: 64 << 10,
            in_flight: 16,
            consent_life: Duration::from_secs(24 * 60 * 60),
            refusal_life: Duration::from_secs(60),
            breaker_wait: Duration::from_secs(5),
        }
    }
}

/// What an operator decides about webhooks.
#[derive(Clone, Debug)]
pub(crate) struct WebhookSettings {
    /// Who we say we are in the handshake: a DNS name, such as `eu-1-a.acme.example`.
    pub(crate) origin: String,
    pub(crate) addresses: AddressRules,
    /// Hosts, as URLs have them, that may be reached without TLS.
    pub(crate) http_hosts: BTreeSet<String>,
    /// The authorities that receivers' certificates are checked against; those of the machine where there are none.
    pub(crate) roots: Option<Arc<RootCertStore>>,
    pub(crate) limits: Limits,
}

/// Why the sender cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookClientError {
    #[error("`{0}` is no name to send webhooks under: use a DNS name")]
    Origin(String),
    #[error("the authorities of this machine cannot be read")]
    Roots(#[source] rustls::Error),
}

/// Sends events to webhooks. One for each bridge.
pub(crate) struct WebhookClient {
    origin: String,
    http_hosts: BTreeSet<String>,
    connector: Connector,
    targets: moka::sync::Cache<String, Arc<TargetState>>,
}

impl WebhookClient {
    pub(crate) fn new(
        settings: WebhookSettings,
        network: Arc<dyn Network>,
    ) -> Result<WebhookClient, WebhookClientError> {
        let WebhookSettings { origin, addresses, http_hosts, roots, limits } = settings;
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        if origin.is_empty() || origin.len() > 253 || !origin.bytes().all(is_name_byte) {
            return Err(WebhookClientError::Origin(origin));
        }
        let tls = Arc::new(tls_config(roots).map_err(WebhookClientError::Roots)?);
        // Longer than a consent, or a quiet target would be asked for each event.
        let idle_max = limits.consent_life.saturating_mul(2);
        let targets = moka::sync::Cache::builder().max_capacity(TARGETS_MAX).time_to_idle(idle_max).build();
        let connector = Connector { rules: addresses, network, tls, limits };
        Ok(WebhookClient { origin, http_hosts, connector, targets })
    }

    /// Makes one attempt to deliver one event. Takes at most about two handshakes and an answer (29 s); may be dropped
    /// at any time.
    pub(crate) async fn deliver(&self, target: &Target, delivery: &Delivery) -> Outcome {
        self.attempt(target, false, async |state| {
            let wait = state.with_pace(|pace, now| pace.reserve(PATIENCE, now));
            match wait {
                Ok(wait) => sleep(wait).await,
                Err(wait) => return Outcome::NotSent(wait),
            }
            let Some(request) = request::delivery(target, delivery, SystemTime::now()) else {
                return Outcome::Refused(RefusedReason::Unsendable);
            };
            let outcome = match self.connector.exchange(&state.idle, &target.url, request).await {
                Ok(answer) => Outcome::of_answer(&answer, SystemTime::now()),
                Err(problem) => problem.into(),
            };
            if let Outcome::RetryAfter(pause) = outcome {
                state.with_pace(|pace, now| pace.hold(pause, now));
            }
            outcome
        })
        .await
    }

    /// Asks the target for its consent now, whatever it said before: for a new subscription, and for one whose URL
    /// changed. `Accepted` is a yes.
    pub(crate) async fn ask_consent(&self, target: &Target) -> Outcome {
        self.attempt(target, true, async |_| Outcome::Accepted).await
    }

    async fn attempt(
        &self,
        target: &Target,
        ask_again: bool,
        send: impl AsyncFnOnce(&TargetState) -> Outcome,
    ) -> Outcome {
        if !target.url.is_tls() && !self.http_hosts.contains(&target.url.host().to_string()) {
            return Outcome::Refused(RefusedReason::Insecure);
        }
        let limits = &self.connector.limits;
        let state = self.targets.get_with_by_ref(target.url.as_str(), || Arc::new(TargetState::new(limits)));
        let Ok(Ok(_slot)) = timeout(PATIENCE, state.slots.acquire()).await else {
            return Outcome::NotSent(PATIENCE);
        };
        let attempt = match state.begin() {
            Ok(attempt) => attempt,
            Err(wait) => return Outcome::NotSent(wait),
        };
        let outcome = match self.consent(&state, &target.url, ask_again).await {
            Ok(()) => send(&state).await,
            Err(outcome) => outcome,
        };
        attempt.finish(outcome.health());
        outcome
    }

    /// Makes sure there is a consent that still holds. One handshake at a time; the others wait for its end.
    async fn consent(&self, state: &TargetState, url: &TargetUrl, ask_again: bool) -> Result<(), Outcome> {
        let waiting_since = Instant::now();
        let mut consent = state.consent.lock().await;
        match &*consent {
            Consent::Given { until } if Instant::now() < *until && !ask_again => return Ok(()),
            Consent::Withheld { until } if Instant::now() < *until && !ask_again => {
                return Err(Outcome::Refused(RefusedReason::NoConsent));
            }
            Consent::Failed { at, outcome } if waiting_since <= *at => return Err(outcome.clone()),
            _ => {}
        }
        let (now_known, result) = self.handshake(state, url).await;
        *consent = now_known;
        result
    }

    async fn handshake(&self, state: &TargetState, url: &TargetUrl) -> (Consent, Result<(), Outcome>) {
        let limits = &self.connector.limits;
        let failed = |outcome: Outcome| {
            (Consent::Failed { at: Instant::now(), outcome: outcome.clone() }, Err(outcome))
        };
        let Ok(question) = consent::question(url, &self.origin) else {
            return failed(Outcome::Refused(RefusedReason::Unsendable));
        };
        let answer = match self.connector.exchange(&state.idle, url, question).await {
            Ok(answer) => answer,
            Err(problem) => return failed(problem.into()),
        };
        let status = answer.status;
        let rate = if status.is_success() { consent::read(&self.origin, &answer.headers) } else { Err(()) };
        match rate {
            Ok(rate) => {
                state.with_pace(|pace, _| pace.allow(rate));
                (Consent::Given { until: Instant::now() + limits.consent_life }, Ok(()))
            }
            // It could not say; only then is asking again worth while.
            Err(()) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                let outcome = Outcome::of_answer(&answer, SystemTime::now());
                if let Outcome::RetryAfter(pause) = outcome {
                    state.with_pace(|pace, now| pace.hold(pause, now));
                }
                failed(outcome)
            }
            Err(()) if status == StatusCode::GONE => failed(Outcome::Gone),
            Err(()) => {
                let until = Instant::now() + limits.refusal_life;
                (Consent::Withheld { until }, Err(Outcome::Refused(RefusedReason::NoConsent)))
            }
        }
    }
}

impl std::fmt::Debug for WebhookClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookClient").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// TLS 1.3, the machine's authorities or the given ones, no client certificate: our identity in the federation is
/// nobody's business out there.
fn tls_config(roots: Option<Arc<RootCertStore>>) -> Result<ClientConfig, rustls::Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(provider())?))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_early_data = false;
    Ok(config)
}
