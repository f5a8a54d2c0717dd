//! Drives the routing core: one task owns the [`Router`], feeds it commands and time, and carries out what it asks.
//!
//! ```text
//!  sessions ── LinkUp, LinkDown, Control ──┐                 ┌── control messages ──► sessions
//!  listeners ── Subscribe, Unsubscribe ────┼──► Router task ─┼── Forwarding ────────► ArcSwap, read by the pipeline
//!  policy store ── PolicyDigest, Learners ─┘                 └── epoch, faults ─────► epoch file, log
//! ```
//!
//! The task is the only one to touch the router, so there is no lock around it. Commands come over a bounded channel:
//! a session that talks faster than the core can listen is slowed down, alone.

mod announce;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use meshbridge_routing::{BridgeId, Forwarding, GroupName, InterestFull, LinkId, Router, RouterEvent};
use meshbridge_topic::TopicFilter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

pub(crate) use announce::{AnnounceRefused, Announced, Announcing};

use crate::learners::PolicyLearners;
use crate::link::{CloseCode, Links};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;

/// Commands waiting for the core. Large enough for a burst of every link, small enough to slow a babbler down.
const COMMANDS_MAX: usize = 1_024;
/// Commands handled before effects are drained, so that a burst of subscriptions makes one new forwarding table.
const COMMANDS_PER_TURN: usize = 64;

/// Pause between looks at who cannot be told what is wanted: each walks the whole graph.
const LOOK_FOR_UNTOLD: Duration = Duration::from_millis(500);

/// What the rest of the bridge tells the routing core.
#[derive(Debug)]
pub(crate) enum Command {
    LinkUp {
        link: LinkId,
        peer: BridgeId,
        cost: u32,
    },
    LinkDown {
        link: LinkId,
    },
    Control {
        link: LinkId,
        message: Bytes,
    },
    /// All filters of one subscription, or none of them; see [`RouterHandle::announce`].
    Subscribe {
        interest: Announced,
        reply: oneshot::Sender<Result<Announced, InterestFull>>,
    },
    Unsubscribe {
        filters: Vec<TopicFilter>,
    },
    /// A consumer group is here, with a member or without, or no more.
    Group {
        filters: Vec<TopicFilter>,
        name: GroupName,
        live: Option<bool>,
        reply: oneshot::Sender<Result<(), InterestFull>>,
    },
    /// Numbers of this run were used twice: another one begins.
    BeginRun {
        nonce: u64,
    },
    PolicyDigest([u8; 32]),
    /// Other policies are in force: who may learn what is wanted here.
    Learners(Arc<PolicyLearners>),
    /// The bridge has a new certificate: what it says of itself is signed again.
    Resign,
    /// Says goodbye to the neighbours; `lasting` is wanted also while the bridge is away. The reply comes when the messages
    /// are on their way.
    Shutdown {
        lasting: BTreeSet<TopicFilter>,
        done: oneshot::Sender<()>,
    },
    /// For the admin API: `view` is called on the core, between two turns.
    View(View),
}

/// A question to the core.
pub(crate) struct View(Box<dyn FnOnce(&Router) + Send>);

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

/// The way to the routing core.
#[derive(Clone, Debug)]
pub(crate) struct RouterHandle {
    commands: mpsc::Sender<Command>,
}

impl RouterHandle {
    /// Waits while the core is behind. Commands after the end of the bridge go nowhere.
    pub(crate) async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// From a place that cannot wait, such as `Drop`: hands the command to a task where the channel is full.
    pub(crate) fn send_later(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            let handle = self.clone();
            tokio::spawn(async move { handle.send(command).await });
        }
    }

    /// Reads from the core. `None` once it has stopped.
    pub(crate) async fn view<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Router) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let view = Box::new(move |router: &Router| {
            let _ = reply.send(read(router));
        });
        self.send(Command::View(View(view))).await;
        answer.await.ok()
    }
}

/// A channel for [`RouterTask::run`]; made first, because links and pipeline need the handle before the task starts.
pub(crate) fn channel() -> (RouterHandle, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
    (RouterHandle { commands }, receiver)
}

/// Called when the core has taken a higher epoch; the number is on disk when it returns.
pub(crate) type StoreEpoch = Box<dyn FnMut(u64) + Send>;

pub(crate) struct RouterTask {
    pub(crate) router: Router,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) forwarding: Arc<ArcSwap<Forwarding>>,
    pub(crate) links: Arc<Links>,
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store_epoch: StoreEpoch,
    pub(crate) untold: Untold,
}

/// When to look next for those who cannot be told what they may learn, and how many there were.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    due: Option<Instant>,
    cut_off: usize,
    filters: usize,
}

impl RouterTask {
    /// Runs until every handle is gone. Cancel-safe: a turn has no await in it.
    pub(crate) async fn run(mut self) {
        loop {
            let router = self.router.poll_timeout().map(Instant::from_std);
            let deadline = router.into_iter().chain(self.untold.due).min();
            let mut turn = Vec::new();
            tokio::select! {
                received = self.commands.recv_many(&mut turn, COMMANDS_PER_TURN) => if received == 0 { return },
                () = sleep_until(deadline) => self.router.handle_timeout(now()),
            }
            let mut stopped = Vec::new();
            self.router.begin_turn();
            for command in turn {
                self.handle(command, &mut stopped);
            }
            self.router.end_turn(now());
            // Events before messages, because an epoch must be on disk before anything of it leaves. One forwarding table a
            // turn, however much has changed it, and also before the messages: what is acknowledged is acted upon.
            if self.carry_out_events() {
                self.publish_forwarding();
            }
            while let Some(transmit) = self.router.poll_transmit() {
                self.links.send_control(transmit.link, transmit.payload);
            }
            for done in stopped {
                let _ = done.send(());
            }
            if self.untold.due.is_some_and(|due| due <= Instant::now()) {
                self.look_for_untold();
            }
        }
    }

    /// Interest that does not get to all who may learn of it. Nothing is lost by it that could be sent: what has no way
    /// through zones that may learn of it has no lawful way either.
    fn look_for_untold(&mut self) {
        let bridges: BTreeSet<BridgeId> =
            self.router.cut_off().into_iter().flat_map(|(_, bridges)| bridges).collect();
        let filters = self.router.untold();
        let metric = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.interest_cut_off_bridges.set(metric(bridges.len()));
        self.metrics.interest_untold_filters.set(metric(filters));
        if bridges.len() > self.untold.cut_off {
            warn!(
                ?bridges,
                "Bridges that may learn what is wanted here cannot be told: only zones that may not learn it lie between"
            );
        }
        if filters > self.untold.filters {
            warn!(
                filters,
                "Filters are told to no other zone: the policies divide them among too many audiences"
            );
        }
        self.untold = Untold { due: None, cut_off: bridges.len(), filters };
    }

    fn handle(&mut self, command: Command, stopped: &mut Vec<oneshot::Sender<()>>) {
        if matches!(command, Command::Learners(_) | Command::Subscribe { .. } | Command::Group { .. }) {
            self.untold.due.get_or_insert_with(|| Instant::now() + LOOK_FOR_UNTOLD);
        }
        match command {
            Command::LinkUp { link, peer, cost } => self.router.handle_link_up(link, peer, cost, now()),
            Command::LinkDown { link } => self.router.handle_link_down(link, now()),
            Command::Control { link, message } => {
                if let Err(violation) = self.router.handle_message(link, message, now()) {
                    self.links.close(link, CloseCode::Protocol, &violation.to_string());
                }
            }
            Command::Subscribe { mut interest, reply } => {
                let outcome = self.router.subscribe_all(interest.filters(), now()).map(|()| {
                    interest.on_counted();
                    interest
                });
                // Where the subscriber has left meanwhile, its interest comes back and is withdrawn.
                drop(reply.send(outcome));
            }
            Command::Unsubscribe { filters } => self.unsubscribe(&filters),
            Command::Group { filters, name, live, reply } => {
                let _ = reply.send(self.set_group(&filters, &name, live));
            }
            Command::BeginRun { nonce } => self.router.begin_run(nonce, now()),
            Command::PolicyDigest(digest) => self.router.set_policy_digest(digest, now()),
            Command::Learners(learners) => self.router.set_learners(learners, now()),
            Command::Resign => self.router.resign(now()),
            Command::Shutdown { lasting, done } => {
                self.router.shutdown(&lasting, now());
                stopped.push(done);
            }
            Command::View(View(view)) => view(&self.router),
        }
    }

    fn set_group(
        &mut self,
        filters: &[TopicFilter],
        name: &GroupName,
        live: Option<bool>,
    ) -> Result<(), InterestFull> {
        for (taken, filter) in filters.iter().enumerate() {
            if let Err(full) = self.router.set_group(filter, name, live, now()) {
                for filter in &filters[..taken] {
                    // Taking it away needs no room.
                    let _ = self.router.set_group(filter, name, None, now());
                }
                return Err(full);
            }
        }
        Ok(())
    }

    fn unsubscribe(&mut self, filters: &[TopicFilter]) {
        for filter in filters {
            self.router.unsubscribe(filter, now());
        }
    }

    /// Tells whether the forwarding table is another one.
    fn carry_out_events(&mut self) -> bool {
        let mut changed = false;
        let mut raised: Option<u64> = None;
        let mut wants: BTreeSet<BridgeId> = BTreeSet::new();
        while let Some(event) = self.router.poll_event() {
            match event {
                RouterEvent::ForwardingChanged => changed = true,
                RouterEvent::InterestChanged(owner) => {
                    wants.insert(owner);
                }
                RouterEvent::LinkDead(link) => {
                    self.links.close(link, CloseCode::Silent, "no hello for two seconds");
                }
                RouterEvent::EpochRaised(epoch) => raised = raised.max(Some(epoch)),
                RouterEvent::Damped { neighbour, until } => {
                    let secs = until.saturating_duration_since(now()).as_secs();
                    warn!(peer = %neighbour, secs, "Links came and went too often: others are not told of this neighbour for a while");
                }
                other => warn!(event = ?other, "Routing reports"),
            }
        }
        // The router is in the last run that it has begun in this turn: no number of it before its epoch is on the disk.
        if let Some(epoch) = raised {
            // The next run must start above it, also after a crash right now.
            tokio::task::block_in_place(|| (self.store_epoch)(epoch));
            self.pipeline.begin_run(self.router.run());
            info!(
                epoch,
                "Epoch raised: the federation remembers another run of this bridge, or this one was in doubt"
            );
        }
        for owner in wants {
            // On the disk before it is acted upon for long: it must outlive this process while its owner is away (D2).
            let run = self.router.interest_run(&owner);
            let news = self.router.take_interest_news(&owner);
            self.pipeline.remember_interest(&owner, run, news);
        }
        changed
    }

    fn publish_forwarding(&mut self) {
        self.untold.due.get_or_insert_with(|| Instant::now() + LOOK_FOR_UNTOLD);
        let reachable = self.router.forwarding().reachable();
        self.metrics.routes_reachable.set(i64::try_from(reachable).unwrap_or(i64::MAX));
        self.forwarding.store(self.router.forwarding());
        self.pipeline.on_forwarding_changed();
        self.pipeline.groups_changed();
        self.pipeline.resolve_parked();
    }
}

/// The clock of the core; tokio's, so that tests can stop it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
