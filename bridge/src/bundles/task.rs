//! The one task that owns the keeper and the exchange.
//!
//! ```text
//!  sessions ── up, message, down ──┐                   ┌── parts, lists ──► control streams
//!  SIGHUP, file changes ───────────┼──► BundleTask ────┼── generation ────► PolicyStore, router, decision log
//!  time ───────────────────────────┘                   └── view ──────────► admin port
//! ```
//!
//! Messages of sessions that find the queue full are lost: both sides repeat themselves. Cancel-safe: what has to last
//! is on the disk before anybody hears of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use meshbridge_bundle::{Digest, Effect, Exchange, Judged, Message, Offer, PeerId};
use meshbridge_routing::wire::{BundleMessage, BundleName};
use meshbridge_routing::{BridgeId, LinkId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::alarms::AlarmKind;
use super::keeper::{Keeper, Offered, Source};
use super::view::BundlesView;
use crate::audit::AuditLog;
use crate::link::{CloseCode, Links};
use crate::policy_store::{FileWatch, PolicyStore};
use crate::router_task::{Command, RouterHandle};

/// Things waiting for the task.
const INPUTS_MAX: usize = 1_024;
/// A bridge without a record waits so long for neighbours that do not speak.
const ASK: Duration = Duration::from_secs(10);
/// And so long for those that do, while something is on its way.
const ASK_MAX: Duration = Duration::from_secs(60);
/// How often ends are looked at, and whether those who were asked have answered.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Input {
    Up { link: LinkId, peer: BridgeId },
    Down { link: LinkId },
    Message { link: LinkId, message: BundleMessage },
}

/// The way to the task. A bridge without bundles has one too, and leaves what it hears.
#[derive(Clone, Debug)]
pub(crate) struct BundleHandle {
    inputs: Option<mpsc::Sender<Input>>,
}

/// What [`BundleTask::run`] reads.
#[derive(Debug)]
pub(crate) struct BundleInputs(mpsc::Receiver<Input>);

/// A channel for the task.
pub(crate) fn channel() -> (BundleHandle, BundleInputs) {
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
    (BundleHandle { inputs: Some(inputs) }, BundleInputs(receiver))
}

impl BundleHandle {
    /// Of a bridge that reads plain directories.
    pub(crate) fn none() -> BundleHandle {
        BundleHandle { inputs: None }
    }

    pub(crate) async fn on_session(&self, link: LinkId, peer: &BridgeId) {
        if let Some(inputs) = &self.inputs {
            let _ = inputs.send(Input::Up { link, peer: peer.clone() }).await;
        }
    }

    pub(crate) async fn on_session_end(&self, link: LinkId) {
        if let Some(inputs) = &self.inputs {
            let _ = inputs.send(Input::Down { link }).await;
        }
    }

    pub(crate) fn on_message(&self, link: LinkId, message: BundleMessage) {
        if let Some(inputs) = &self.inputs {
            // Full: the other side says it again, or asks again.
            let _ = inputs.try_send(Input::Message { link, message });
        }
    }
}

/// Everything the task works with.
pub(crate) struct BundleTask {
    pub(crate) keeper: Keeper,
    pub(crate) inputs: BundleInputs,
    /// Neighbours by the federation document.
    pub(crate) neighbours: Vec<BridgeId>,
    pub(crate) policies: Arc<PolicyStore>,
    pub(crate) links: Arc<Links>,
    pub(crate) router: RouterHandle,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) view: Arc<ArcSwap<BundlesView>>,
    /// Told of each change of the policies in force.
    pub(crate) reloaded: mpsc::Sender<()>,
}

impl BundleTask {
    /// Runs until every handle is gone. `kick` is SIGHUP.
    pub(crate) async fn run(self, kick: mpsc::Receiver<()>, watch: FileWatch) {
        let BundleTask { keeper, inputs, neighbours, policies, links, router, audit, view, reloaded } = self;
        let now = Instant::now();
        let mut turn = Turn {
            keeper,
            exchange: Exchange::new(),
            neighbours,
            peers: BTreeMap::new(),
            policies,
            links,
            router,
            audit,
            view,
            reloaded,
            ask_until: now + ASK,
            ask_at_last: now + ASK_MAX,
            has_asked: false,
            shown: 0,
        };
        turn.run(inputs, kick, watch).await;
    }
}

struct Turn {
    keeper: Keeper,
    exchange: Exchange,
    neighbours: Vec<BridgeId>,
    peers: BTreeMap<PeerId, BridgeId>,
    policies: Arc<PolicyStore>,
    links: Arc<Links>,
    router: RouterHandle,
    audit: Arc<AuditLog>,
    view: Arc<ArcSwap<BundlesView>>,
    reloaded: mpsc::Sender<()>,
    ask_until: Instant,
    ask_at_last: Instant,
    /// What is held may come into force.
    has_asked: bool,
    /// What the view shows of the alarms.
    shown: u64,
}

impl Turn {
    async fn run(&mut self, mut inputs: BundleInputs, mut kick: mpsc::Receiver<()>, mut watch: FileWatch) {
        self.has_asked = !self.keeper.is_recovering();
        if !self.has_asked {
            info!("This bridge has no record of policy bundles; its neighbours are asked what they hold");
        }
        self.scan();
        self.activate(self.keeper.in_force.is_none());
        self.show();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut kick_is_open = true;
        loop {
            let due = self.exchange.poll_timeout().map(Instant::from_std);
            tokio::select! {
                input = inputs.0.recv() => match input {
                    Some(input) => self.on_input(input),
                    None => return,
                },
                kicked = kick.recv(), if kick_is_open => match kicked {
                    Some(()) => self.reload(),
                    None => kick_is_open = false,
                },
                () = watch.changed() => self.reload(),
                _ = look.tick() => self.look(),
                () = sleep_until(due) => self.exchange.on_timeout(now()),
            }
            self.carry_out();
        }
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Up { link, peer } => {
                self.peers.insert(PeerId(link.0), peer);
                self.exchange.on_peer_up(PeerId(link.0), now());
            }
            Input::Down { link } => {
                if let Some(peer) = self.peers.remove(&PeerId(link.0)) {
                    self.keeper.forget_peer(peer.as_str());
                }
                self.exchange.on_peer_down(PeerId(link.0), now());
            }
            Input::Message { link, message } => {
                let outcome = match from_wire(message) {
                    Some(message) => {
                        let heard = self.exchange.on_message(PeerId(link.0), message, now());
                        heard.map_err(|problem| problem.to_string())
                    }
                    None => Err("a bundle is of no layer that there is".to_owned()),
                };
                if let Err(problem) = outcome {
                    self.links.close(link, CloseCode::Protocol, &problem);
                }
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.exchange.poll_effect() {
            match effect {
                Effect::Send { to, message } => {
                    self.links.send_control(LinkId(to.0), to_wire(message).encode())
                }
                Effect::Serve { to, digest, offset } => self.serve(to, digest, offset),
                Effect::Fetched { from, offer, archive } => self.on_fetched(from, &offer, &archive),
            }
        }
    }

    fn serve(&self, to: PeerId, digest: Digest, offset: u32) {
        let read = tokio::task::block_in_place(|| self.keeper.part(digest, offset));
        let (total, bytes) = read.unwrap_or_else(|problem| {
            warn!(%digest, %problem, "A policy bundle cannot be passed on");
            (0, Vec::new())
        });
        let message = Message::Part { digest, total, offset, bytes };
        self.links.send_control(LinkId(to.0), to_wire(message).encode());
    }

    fn on_fetched(&mut self, from: PeerId, offer: &Offer, archive: &[u8]) {
        let bridge = self.peers.get(&from).map(ToString::to_string).unwrap_or_default();
        let offered =
            tokio::task::block_in_place(|| self.keeper.offer(archive, Source::Peer(&bridge, offer)));
        let judged = match offered {
            Offered::Taken | Offered::Known => Judged::Taken,
            Offered::Wrong(_) | Offered::Unknown(_) => Judged::Wrong,
            Offered::Older(what) | Offered::Contradicts(what) | Offered::NotNow(what) => {
                warn!(peer = %bridge, %what, "A policy bundle of a neighbour is not taken");
                Judged::NotNow
            }
        };
        self.exchange.judged(from, offer.digest, judged, now());
        if judged == Judged::Taken {
            self.exchange.set_held(self.keeper.offers(), now());
            if offer.layer.is_federation() {
                // Other keys may sign now, for files too.
                self.exchange.forgive(now());
                self.scan();
            }
            self.activate(false);
        }
        self.show();
    }

    /// The directories are read again.
    fn reload(&mut self) {
        self.scan();
        self.exchange.forgive(now());
        self.activate(true);
        self.show();
    }

    fn scan(&mut self) {
        tokio::task::block_in_place(|| self.keeper.scan());
        self.exchange.set_held(self.keeper.offers(), now());
    }

    fn look(&mut self) {
        if !self.has_asked {
            let is_over = self.is_answered()
                || (Instant::now() >= self.ask_until && !self.exchange.is_busy())
                || Instant::now() >= self.ask_at_last;
            if is_over {
                self.has_asked = true;
                self.activate(true);
                if self.keeper.in_force.is_none() {
                    error!(
                        "There is no policy bundle; put one into the directory `policy.bundles`, here or at a neighbour. This bridge takes no events before"
                    );
                }
            }
        }
        // Also long after: a floor is only known to be all of it once everybody has spoken.
        if self.keeper.is_recovering() && self.is_answered() {
            tokio::task::block_in_place(|| self.keeper.finish_recovery());
            self.show();
        }
        self.keeper.watch_ends();
        if self.keeper.alarms.version() != self.shown {
            self.show();
        }
    }

    /// Every neighbour has said what it holds, and what is wanted of that is here.
    fn is_answered(&self) -> bool {
        self.neighbours.iter().all(|neighbour| {
            let mut sessions = self.peers.iter().filter(|(_, peer)| *peer == neighbour);
            sessions.any(|(id, _)| self.exchange.is_settled_with(*id))
        })
    }

    fn activate(&mut self, again: bool) {
        if !self.has_asked {
            return;
        }
        let Some(generation) = tokio::task::block_in_place(|| self.keeper.activate(again)) else {
            self.note_refused();
            return self.show();
        };
        let digest = generation.mark.digest;
        let is_new = self.policies.install(generation);
        self.note_refused();
        self.show();
        if !is_new {
            return;
        }
        let number = self.policies.active().number;
        self.router.send_later(Command::PolicyDigest(digest));
        // Full: the one that is told of already looks at the policies after this.
        let _ = self.reloaded.try_send(());
        let bundles: Vec<String> = self.keeper.in_force_names();
        info!(generation = number, ?bundles, "Policy bundles are in force");
        self.audit.note_policies(number, &digest, bundles);
    }

    fn note_refused(&self) {
        let refused = self.keeper.alarms.iter().find(|(kind, ..)| *kind == AlarmKind::Refused);
        self.policies.note_refused(refused.map(|(_, about, what)| format!("{about}: {what}")));
    }

    fn show(&mut self) {
        self.shown = self.keeper.alarms.version();
        let generation = self.policies.active().number;
        self.view.store(Arc::new(BundlesView::of(&self.keeper, generation)));
    }
}

fn to_wire(message: Message) -> BundleMessage {
    match message {
        Message::Held(offers) => {
            let name = |offer: Offer| BundleName {
                layer: offer.layer.to_string(),
                revision: offer.revision,
                digest: offer.digest.0,
            };
            BundleMessage::Held(offers.into_iter().map(name).collect())
        }
        Message::Pull { digest, offset } => BundleMessage::Pull { digest: digest.0, offset },
        Message::Part { digest, total, offset, bytes } => {
            BundleMessage::Part { digest: digest.0, total, offset, bytes: Bytes::from(bytes) }
        }
    }
}

/// `None` where a name is of no layer.
fn from_wire(message: BundleMessage) -> Option<Message> {
    Some(match message {
        BundleMessage::Held(names) => {
            let offer = |name: BundleName| {
                let layer = name.layer.parse().ok()?;
                Some(Offer { layer, revision: name.revision, digest: Digest(name.digest) })
            };
            Message::Held(names.into_iter().map(offer).collect::<Option<_>>()?)
        }
        BundleMessage::Pull { digest, offset } => Message::Pull { digest: Digest(digest), offset },
        BundleMessage::Part { digest, total, offset, bytes } => {
            Message::Part { digest: Digest(digest), total, offset, bytes: bytes.to_vec() }
        }
    })
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
