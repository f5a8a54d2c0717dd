//! One connection with one peer: the tasks that read and write it, and its end.
//!
//! | task | ends when |
//! |---|---|
//! | control writer | the connection ends, or a write fails |
//! | control reader | the peer closes the stream, or breaks a rule |
//! | data writer, one a stream | a write fails |
//! | data acceptor, with a reader a stream | the connection ends, or a reader meets a broken batch |
//! | watch | the peer's certificate ends, the session is a day old, or somebody closed it |
//! | transport | what it needs beside the streams cannot be had |
//!
//! The first task to end ends the session; the others are dropped, which is safe: nothing they hold outlives the
//! connection except queued frames, and those go back to the pipeline.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use meshbridge_policy::Federation;
use meshbridge_routing::wire::{RecvTable, SendTable};
use meshbridge_routing::{BridgeId, LinkId, ZoneName};
use rand::RngExt;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::endpoint::PeerEndpoint;
use super::outbox::Outbox;
use super::transport::{CloseCode, Connection, DATA_STREAMS, RecvStream, SendStream, Transport};
use super::writers::WriterThreads;
use super::{Direction, Links, SessionFacts, control, data};
use crate::bundles::BundleHandle;
use crate::identity::{Credentials, PeerCertificate, PeerRefused, wall_reaches};
use crate::metrics::LinkMetrics;
use crate::pipeline::Pipeline;
use crate::router_task::{Command, RouterHandle};

/// Control messages waiting to be written; a table of a large federation is sent in chunks well below this.
const CONTROL_QUEUED_MAX: usize = 16_384;
/// How long the control stream may take to open.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// How long a peer that has closed a data stream may take to say why.
const LAST_WORDS_MAX: Duration = Duration::from_millis(100);
/// A session is renewed after this long, so that no connection outlives a change of trust for ever (G2).
const SESSION_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What every session needs of the bridge.
#[derive(Clone, Debug)]
pub(crate) struct SessionContext {
    pub(crate) own: BridgeId,
    pub(crate) federation: Arc<Federation>,
    pub(crate) credentials: Arc<ArcSwap<Credentials>>,
    pub(crate) endpoint: PeerEndpoint,
    pub(crate) links: Arc<Links>,
    pub(crate) router: RouterHandle,
    pub(crate) pipeline: Pipeline,
    pub(crate) writers: Arc<WriterThreads>,
    pub(crate) bundles: BundleHandle,
}

/// Why a peer whose handshake succeeded gets no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Certificate(#[from] PeerRefused),
    #[error("the federation document lists no bridge `{0}`")]
    Unlisted(BridgeId),
    #[error(
        "`{bridge}` is of zone `{documented}` by the federation document, its certificate says `{claimed}`"
    )]
    OtherZone { bridge: BridgeId, documented: String, claimed: ZoneName },
    #[error("`{0}` has the identity of this bridge itself")]
    Ourselves(BridgeId),
    #[error("the federation document has no link with `{0}`")]
    NoLink(BridgeId),
    #[error("`{found}` answered")]
    AnotherBridge { found: BridgeId },
}

/// A peer that may have a session: its chain verified, it is listed, and it is who we meant.
#[derive(Debug)]
pub(crate) struct Admission {
    connection: Connection,
    facts: SessionFacts,
    certificate: PeerCertificate,
    cost: u32,
}

impl Admission {
    pub(super) fn check(
        context: &SessionContext,
        connection: Connection,
        direction: Direction,
        expected: Option<&BridgeId>,
    ) -> Result<Admission, (Connection, Refused)> {
        match judge(context, &connection, expected) {
            Ok((certificate, cost)) => {
                let facts = SessionFacts {
                    peer: certificate.identity.bridge.clone(),
                    direction,
                    remote: connection.remote(),
                    since: Instant::now(),
                };
                Ok(Admission { connection, facts, certificate, cost })
            }
            Err(refused) => Err((connection, refused)),
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.connection.transport()
    }

    /// Gives the connection back without a session.
    pub(super) async fn refuse(self, code: CloseCode, reason: &str) {
        self.connection.refuse(code, reason).await;
    }

    /// Runs the session to its end.
    pub(super) async fn run(self, context: SessionContext, stop: CancellationToken) {
        let peer = self.facts.peer.clone();
        let open = async {
            match self.facts.direction {
                Direction::Dialled => self.connection.open_control().await,
                Direction::Accepted => self.connection.accept_control().await,
            }
        };
        // The accepting side sees the stream with its first bytes: the hello that the dialling side sends at once.
        let (session, queued) = Session::new(&self, &context);
        let opened = match self.facts.direction {
            Direction::Dialled => {
                begin(&context, &session, self.cost).await;
                tokio::time::timeout(OPEN_MAX, open).await
            }
            Direction::Accepted => {
                let opened = tokio::time::timeout(OPEN_MAX, open).await;
                if matches!(opened, Ok(Ok(_))) {
                    begin(&context, &session, self.cost).await;
                }
                opened
            }
        };
        let (reason, control) = match opened {
            Ok(Ok((mut send, recv))) => {
                let reason = run_tasks(&context, &session, (&mut send, recv), queued, stop).await;
                (reason, Some(send))
            }
            Ok(Err(problem)) => (problem.to_string(), None),
            Err(_) => ("the peer opened no control stream".to_owned(), None),
        };
        session.close(CloseCode::Stopping, &reason);
        context.links.on_session_end(&session, &reason);
        context.links.on_failure(&peer, &reason);
        context.router.send(Command::LinkDown { link: session.link }).await;
        context.bundles.on_session_end(session.link).await;
        context.pipeline.redispatch(session.outbox.take_all());
        // Last: the federation routes around us meanwhile.
        if let Some(control) = control {
            control.farewell(&session.connection).await;
        }
    }
}

fn judge(
    context: &SessionContext,
    connection: &Connection,
    expected: Option<&BridgeId>,
) -> Result<(PeerCertificate, u32), Refused> {
    let certificate = PeerCertificate::check(&context.credentials.load(), &connection.peer_chain())?;
    let bridge = &certificate.identity.bridge;
    if let Some(expected) = expected
        && bridge != expected
    {
        return Err(Refused::AnotherBridge { found: bridge.clone() });
    }
    if *bridge == context.own {
        return Err(Refused::Ourselves(bridge.clone()));
    }
    let documented = context.federation.bridge(bridge.as_str()).map(|listed| listed.zone.to_string());
    let documented = documented.ok_or_else(|| Refused::Unlisted(bridge.clone()))?;
    if documented != certificate.identity.zone.as_str() {
        let claimed = certificate.identity.zone.clone();
        return Err(Refused::OtherZone { bridge: bridge.clone(), documented, claimed });
    }
    let cost = context.links.cost(bridge).ok_or_else(|| Refused::NoLink(bridge.clone()))?;
    Ok((certificate, cost))
}

/// The session becomes visible before the core hears of it, so that its first message has somewhere to go.
async fn begin(context: &SessionContext, session: &Arc<Session>, cost: u32) {
    context.links.on_session(session);
    let up = Command::LinkUp { link: session.link, peer: session.peer.clone(), cost };
    context.router.send(up).await;
    context.bundles.on_session(session.link, &session.peer).await;
}

async fn run_tasks(
    context: &SessionContext,
    session: &Arc<Session>,
    (control_send, control_recv): (&mut SendStream, RecvStream),
    queued: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) -> String {
    let writers = async {
        let mut all = tokio::task::JoinSet::new();
        for stream in 0..DATA_STREAMS {
            let session = Arc::clone(session);
            let (pipeline, threads) = (context.pipeline.clone(), Arc::clone(&context.writers));
            all.spawn(data::write_stream(session, pipeline, threads, stream));
        }
        match all.join_next().await {
            Some(Ok(reason)) => reason,
            _ => "a data writer failed".to_owned(),
        }
    };
    let tasks = async {
        let mut told = std::pin::pin!(control::read(context, session, control_recv));
        let reason = tokio::select! {
            reason = &mut told => return reason,
            reason = control::write(session, control_send, queued) => return reason,
            reason = watch(session) => return reason,
            reason = session.connection.drive() => return reason,
            () = stop.cancelled() => return "the bridge is stopping".to_owned(),
            reason = writers => reason,
            reason = data::read_streams(context, session) => reason,
        };
        // A peer on TCP closes its connections one after another, and only the control stream says why. A process that
        // was killed closes them all at once, so nothing is lost by listening to the end.
        tokio::time::timeout(LAST_WORDS_MAX, told).await.unwrap_or(reason)
    };
    tokio::select! {
        // First: a close ends all streams as well, and only it says why.
        biased;
        reason = session.connection.closed() => reason,
        reason = tasks => reason,
    }
}

async fn watch(session: &Session) -> String {
    let end = UNIX_EPOCH + Duration::from_secs(session.certificate.not_after_unix);
    let renewal = SESSION_AGE_MAX.mul_f64(rand::rng().random_range(0.9..=1.0));
    tokio::select! {
        () = wall_reaches(end) => {
            session.close(CloseCode::Identity, "the certificate has expired");
            "the peer's certificate has expired".to_owned()
        }
        () = tokio::time::sleep(renewal) => "the session is renewed after a day".to_owned(),
    }
}

/// A live connection with one peer.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) link: LinkId,
    pub(crate) peer: BridgeId,
    pub(crate) direction: Direction,
    pub(crate) remote: SocketAddr,
    pub(crate) since: Instant,
    pub(crate) certificate: PeerCertificate,
    pub(crate) outbox: Outbox,
    pub(super) connection: Connection,
    pub(super) metrics: LinkMetrics,
    control: mpsc::Sender<Bytes>,
    /// What we have announced to the peer, and what it has announced to us.
    pub(super) sent_table: Mutex<SendTable>,
    pub(super) received_table: Mutex<RecvTable>,
    /// Told whenever the peer announced more.
    pub(super) table_grew: Notify,
}

impl Session {
    fn new(admission: &Admission, context: &SessionContext) -> (Arc<Session>, mpsc::Receiver<Bytes>) {
        let (control, queued) = mpsc::channel(CONTROL_QUEUED_MAX);
        let facts = admission.facts.clone();
        let session = Session {
            link: context.links.next_link(),
            metrics: context.links.metrics_of(&facts.peer),
            peer: facts.peer,
            direction: facts.direction,
            remote: facts.remote,
            since: facts.since,
            certificate: admission.certificate.clone(),
            outbox: Outbox::new(Arc::clone(&context.links.budget)),
            connection: admission.connection.clone(),
            control,
            sent_table: Mutex::default(),
            received_table: Mutex::default(),
            table_grew: Notify::new(),
        };
        (Arc::new(session), queued)
    }

    /// `false` when the peer is so far behind that no more is queued for it.
    pub(super) fn offer_control(&self, message: Bytes) -> bool {
        !matches!(self.control.try_send(message), Err(mpsc::error::TrySendError::Full(_)))
    }

    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.connection.close(code, reason);
    }

    pub(crate) fn transport(&self) -> Transport {
        self.connection.transport()
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.connection.round_trip()
    }

    pub(super) fn table(&self) -> std::sync::MutexGuard<'_, SendTable> {
        self.sent_table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
