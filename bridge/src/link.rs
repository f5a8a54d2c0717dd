//! Links to the neighbours: who is connected, and the way to send to them.
//!
//! ```text
//!  dial.rs    one task per peer we dial: resolve, connect, run the session, back off, again ──┐
//!  accept.rs  one task: handshakes that others began ────────────────────────────────────────┤
//!             both over endpoint.rs: quic.rs or tcp.rs, which transport.rs makes alike         ▼
//!  session.rs   control reader ─► router task        control writer ◄─ send_control (bounded)
//!               data readers   ─► pipeline           data writers   ◄─ Outbox (bounded, per stream)
//! ```
//!
//! A link has at most one session. A newer one replaces an older one: when a peer restarts, its old connection still
//! looks alive here, and waiting for it to time out would keep the peer away.

mod accept;
mod bench;
mod control;
mod data;
mod dial;
mod endpoint;
mod fallback;
mod outbox;
mod quic;
mod session;
mod tcp;
mod transport;
mod view;
mod writers;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use meshbridge_routing::{BridgeId, LinkId, ZoneName};
use tracing::{info, warn};

pub(crate) use accept::accept_peers;
pub(crate) use bench::{Load, pump, swallow};
pub(crate) use dial::{PeerAddress, PeerToDial, dial_peer};
pub(crate) use endpoint::{PeerEndpoint, PeerListen};
pub(crate) use outbox::{Barred, FrameBody, FrameDestination, FrameDestinations, NotQueued, Outbound};
pub(crate) use session::{Session, SessionContext};
pub(crate) use transport::{CloseCode, Transport, TransportChoice};
pub(crate) use view::PeerView;
pub(crate) use writers::WriterThreads;

use crate::identity::Credentials;
use crate::metrics::{LinkMetrics, Metrics};
use outbox::QueueBudget;

/// Who began the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Dialled,
    Accepted,
}

/// A link of this bridge as the configuration and the federation document know it.
#[derive(Debug)]
struct LinkState {
    zone: ZoneName,
    cost: u32,
    direction: Direction,
    /// Where we dial, as configured.
    address: Option<String>,
    /// Where we dial.
    transport: Option<TransportChoice>,
    dialling: bool,
    session: Option<Arc<Session>>,
    last_error: Option<String>,
    metrics: LinkMetrics,
}

/// What a link is known by before its first session.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredLink {
    pub(crate) peer: BridgeId,
    pub(crate) zone: ZoneName,
    pub(crate) cost: u32,
    pub(crate) direction: Direction,
    pub(crate) address: Option<String>,
    pub(crate) transport: Option<TransportChoice>,
}

/// Every link of this bridge.
#[derive(Debug)]
pub(crate) struct Links {
    /// Read by the data path without a lock.
    sessions: ArcSwap<HashMap<LinkId, Arc<Session>>>,
    links: Mutex<BTreeMap<BridgeId, LinkState>>,
    next: AtomicU64,
    budget: Arc<QueueBudget>,
    metrics: Arc<Metrics>,
}

impl Links {
    pub(crate) fn new(configured: Vec<ConfiguredLink>, metrics: Arc<Metrics>) -> Links {
        let links = configured
            .into_iter()
            .map(|link| {
                let state = LinkState {
                    zone: link.zone,
                    cost: link.cost,
                    direction: link.direction,
                    address: link.address,
                    transport: link.transport,
                    dialling: false,
                    session: None,
                    last_error: None,
                    metrics: metrics.link(link.peer.as_str()),
                };
                (link.peer, state)
            })
            .collect();
        Links {
            sessions: ArcSwap::default(),
            links: Mutex::new(links),
            next: AtomicU64::new(1),
            budget: Arc::default(),
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BridgeId, LinkState>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_link(&self) -> LinkId {
        LinkId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn session(&self, link: LinkId) -> Option<Arc<Session>> {
        self.sessions.load().get(&link).cloned()
    }

    /// The sessions of one moment, for a batch.
    pub(crate) fn sessions(&self) -> arc_swap::Guard<Arc<HashMap<LinkId, Arc<Session>>>> {
        self.sessions.load()
    }

    /// Cost of the link to `peer`; a peer that the document lists without a link to us gets `None`.
    pub(crate) fn cost(&self, peer: &BridgeId) -> Option<u32> {
        self.lock().get(peer).map(|link| link.cost)
    }

    /// All neighbours by the federation document.
    pub(crate) fn peers(&self) -> Vec<BridgeId> {
        self.lock().keys().cloned().collect()
    }

    fn metrics_of(&self, peer: &BridgeId) -> LinkMetrics {
        let known = self.lock().get(peer).map(|link| link.metrics.clone());
        known.unwrap_or_else(|| self.metrics.link(peer.as_str()))
    }

    /// Hands a control message to a session. A session that does not read its control stream is closed: its peer
    /// would work with routes of the past.
    pub(crate) fn send_control(&self, link: LinkId, message: Bytes) {
        let Some(session) = self.session(link) else { return };
        if !session.offer_control(message) {
            session.close(CloseCode::Silent, "the control stream is not read");
        }
    }

    pub(crate) fn close(&self, link: LinkId, code: CloseCode, reason: &str) {
        if let Some(session) = self.session(link) {
            session.close(code, reason);
        }
    }

    /// Cuts every session whose peer the credentials now in force deny (RELIABILITY G2).
    pub(crate) fn recheck(&self, credentials: &Credentials) {
        for session in self.sessions.load().values() {
            if session.certificate.is_denied(credentials) {
                warn!(peer = %session.peer, "Link cut, its peer is on the deny-list");
                session.close(CloseCode::Identity, "on the deny-list");
            }
        }
    }

    fn on_dialling(&self, peer: &BridgeId, dialling: bool) {
        if let Some(link) = self.lock().get_mut(peer) {
            link.dialling = dialling;
        }
    }

    fn on_failure(&self, peer: &BridgeId, problem: &str) {
        // What failed beside a session that lives, such as a trial of another transport, is no error of the link.
        if let Some(link) = self.lock().get_mut(peer).filter(|link| link.session.is_none()) {
            link.last_error = Some(problem.to_owned());
        }
    }

    /// Registers a session; the one it replaces is closed. After this, messages for its link find it.
    fn on_session(&self, session: &Arc<Session>) {
        let replaced = {
            let mut links = self.lock();
            let link = links.get_mut(&session.peer).expect("sessions are made only for configured links");
            link.direction = session.direction;
            link.last_error = None;
            link.dialling = false;
            link.metrics.on_up(session.transport());
            link.session.replace(Arc::clone(session))
        };
        self.sessions.rcu(|sessions| {
            let mut next = HashMap::clone(sessions);
            next.insert(session.link, Arc::clone(session));
            next
        });
        info!(peer = %session.peer, remote = %session.remote, direction = ?session.direction, transport = session.transport().name(), "Link up");
        if let Some(old) = replaced {
            old.close(CloseCode::Replaced, "replaced by a newer session");
        }
    }

    fn on_session_end(&self, session: &Session, reason: &str) {
        self.sessions.rcu(|sessions| {
            let mut next = HashMap::clone(sessions);
            next.remove(&session.link);
            next
        });
        let mut links = self.lock();
        if let Some(link) = links.get_mut(&session.peer)
            && link.session.as_ref().is_some_and(|current| current.link == session.link)
        {
            link.session = None;
            link.last_error = Some(reason.to_owned());
            link.metrics.on_down();
            info!(peer = %session.peer, %reason, "Link down");
        }
    }

    /// Every configured link, up or not, as the admin API shows it.
    pub(crate) fn view(&self) -> Vec<PeerView> {
        self.lock().iter().map(|(peer, link)| view::of(peer, link)).collect()
    }
}

/// Where a session came from and what it is for; made once a handshake has shown who the peer is.
#[derive(Clone, Debug)]
pub(crate) struct SessionFacts {
    pub(crate) peer: BridgeId,
    pub(crate) direction: Direction,
    pub(crate) remote: SocketAddr,
    pub(crate) since: Instant,
}
