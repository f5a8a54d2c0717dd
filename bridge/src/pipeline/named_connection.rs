//! A connection that reads a subscription with memory: what it holds, and how that is acknowledged.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meshbridge_delivery::{GroupEnd, Turn};
use meshbridge_spool::fail_point;
use tracing::error;

use super::judge::Verdict;
use super::members::MEMBER_HOLDS;
use super::named::{HandOut, Named, NamedEnd};
use super::stored::Stored;
use super::subscriptions::Delivery;
use super::{Inner, Pipeline};

/// Names one attempt to deliver one event: subscription, body, lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckToken {
    pub(super) subscription: u32,
    pub(super) body: u64,
    pub(super) lease: u64,
}

impl fmt::Display for AckToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.subscription, self.body, self.lease)
    }
}

impl FromStr for AckToken {
    type Err = ();

    fn from_str(text: &str) -> Result<AckToken, ()> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().and_then(|part| u64::from_str_radix(part, 16).ok()).ok_or(());
        let subscription = u32::try_from(part()?).map_err(|_| ())?;
        Ok(AckToken { subscription, body: part()?, lease: part()? })
    }
}

/// An event that one connection holds.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) token: AckToken,
    /// 1 for the first time.
    pub(crate) count: u32,
}

/// How often a connection has handed everything written to the kernel; grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushed(Arc<AtomicU64>);

impl Flushed {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Who says that an event is dealt with.
#[derive(Clone, Debug)]
pub(crate) enum Acks {
    /// The client, by token.
    Manual,
    /// The task that pushes; its leases last as long as it does.
    Push,
    /// The kernel has taken its bytes. Without a count that is so when the next event is asked for.
    Auto(Option<Flushed>),
}

/// A connection that reads a subscription. Dropping it gives back what it held.
#[derive(Debug)]
pub(crate) struct NamedConnection {
    pipeline: Pipeline,
    named: Arc<Named>,
    connection: u64,
    acks: Acks,
    credit: usize,
    /// To be handed out once what it overtakes is noted on the disk.
    next: Option<Leased>,
    /// Handed out and not acknowledged, with the flushes until then; only with automatic acknowledgement.
    handed: VecDeque<(AckToken, u64)>,
}

impl NamedConnection {
    pub(super) fn new(pipeline: &Pipeline, named: &Arc<Named>, acks: Acks, weight: u32) -> NamedConnection {
        let connection = named.connect(weight);
        let (pipeline, named) = (pipeline.clone(), Arc::clone(named));
        let credit = if named.group.is_some() { MEMBER_HOLDS } else { super::named::LEASES_MAX };
        let handed = VecDeque::new();
        NamedConnection { pipeline, named, connection, acks, credit, next: None, handed }
    }

    /// The next event. Cancel-safe: an event is leased only in the poll that returns it.
    pub(crate) async fn recv(&mut self) -> Result<Leased, NamedEnd> {
        let lease = matches!(self.acks, Acks::Manual).then(|| self.named.settings.lease());
        loop {
            let named = Arc::clone(&self.named);
            let ready = named.ready.notified();
            self.settle_flushed();
            if self.pipeline.inner.draining.load(Ordering::Relaxed) {
                return Err(NamedEnd::Stopping);
            }
            // Each lease becomes records and actions when it ends: none is given while those before are waiting.
            if !self.pipeline.inner.durable.todo.has_room() {
                let room = self.pipeline.inner.durable.todo.room();
                let _ = tokio::time::timeout(Duration::from_secs(1), room).await;
                continue;
            }
            if let Some(AckToken { body, lease, .. }) = self.next.as_ref().map(|leased| leased.token) {
                let hand_out = self.named.hand_out(body, self.connection, lease);
                if let HandOut::OnceNoted(noted) = hand_out {
                    self.pipeline.commit_all().await.map_err(|_| NamedEnd::Stopping)?;
                    self.named.noted_durably(noted);
                    continue;
                }
                let Some(leased) = self.next.take().filter(|_| hand_out == HandOut::Now) else { continue };
                match &self.acks {
                    Acks::Manual | Acks::Push => {}
                    Acks::Auto(None) => self.handed.push_back((leased.token, 0)),
                    Acks::Auto(Some(flushed)) => self.handed.push_back((leased.token, flushed.so_far())),
                }
                return Ok(leased);
            }
            match self.named.take(self.connection, lease, self.credit, Instant::now()) {
                Ok(Some(taken)) => {
                    let token =
                        AckToken { subscription: self.named.id, body: taken.body, lease: taken.token };
                    self.next = self.pipeline.inner.load(&named, token, taken.attempts);
                }
                Ok(None) => {
                    // Pauses and leases end by the clock; the driver looks at it, and wakes. Flushes wake nobody.
                    let pause = if self.handed.is_empty() { 1_000 } else { 10 };
                    let _ = tokio::time::timeout(Duration::from_millis(pause), ready).await;
                }
                Err(end) => {
                    // The wake-up may have been meant for the connection that took over.
                    self.named.wake();
                    return Err(end);
                }
            }
        }
    }

    fn settle_flushed(&mut self) {
        let flushes = match &self.acks {
            Acks::Auto(Some(flushed)) => flushed.so_far(),
            Acks::Auto(None) | Acks::Manual | Acks::Push => u64::MAX,
        };
        let ready = self.handed.iter().take_while(|(_, before)| *before < flushes).count();
        let tokens: Vec<AckToken> = self.handed.drain(..ready).map(|(token, _)| token).collect();
        self.pipeline.inner.end_leases(&tokens);
    }

    /// Further events that may be held unacknowledged.
    pub(crate) fn set_credit(&mut self, credit: usize) {
        self.credit = credit;
    }

    pub(crate) fn name(&self) -> &str {
        &self.named.name
    }
}

impl Drop for NamedConnection {
    fn drop(&mut self) {
        if matches!(self.acks, Acks::Auto(Some(_))) {
            self.settle_flushed();
        }
        self.named.disconnect(self.connection);
    }
}

impl Inner {
    /// The event of a lease; `None` where it has ended meanwhile, or comes again later.
    fn load(&self, named: &Named, token: AckToken, attempts: u32) -> Option<Leased> {
        let found = self.durable.view(|core| {
            let state = core.state();
            let event = state.events.get(&token.body)?;
            // A lease of an earlier process may have been taken: each start counts as an attempt.
            let starts = state.starts.saturating_sub(event.start).saturating_add(event.attempts);
            Some((starts, state.turns.of(token.body, token.subscription)))
        });
        let Some((starts, turn)) = found else {
            named.forget(token.body);
            return None;
        };
        let note = |turn: Turn| {
            self.durable.with(|core| core.note_turn(token.body, token.subscription, turn));
        };
        let end = |end: GroupEnd| {
            self.durable.with(|core| core.end_group(token.body, token.subscription, end));
            named.forget(token.body);
        };
        let stored = match tokio::task::block_in_place(|| self.durable.stored(token.body)) {
            Ok(stored) => stored,
            Err(problem) => {
                error!(body = token.body, %problem, "An event cannot be read back from the spool");
                end(GroupEnd::DeadLettered("destination-lost".into()));
                return None;
            }
        };
        let event = match self.judge_for_owner(&stored, &named.owner) {
            Verdict::Pass(edited) => edited.unwrap_or_else(|| stored.event.clone()),
            Verdict::Wait(held) => {
                named.postpone(token.body, token.lease, held.after, Instant::now());
                if !turn.overtaken && named.group.is_none() {
                    note(Turn { overtaken: true, ..turn });
                    named.noted_first();
                }
                return None;
            }
            Verdict::Stop(refusal) => {
                let now = Instant::now();
                if !refusal.keeps() || named.takes_letter(token.body, token.lease, now) {
                    end(refusal.group_end());
                }
                return None;
            }
        };
        let (key, topic) = (stored.key.clone(), stored.topic.clone());
        let delivery = Arc::new(Delivery { body: Some(token.body), key, topic, event });
        self.parts.metrics.on_delivered(1);
        let tries = turn.before.saturating_add(attempts).max(turn.tries);
        if tries != turn.tries {
            // What is counted goes on counting after a start (P3), so it is on the disk before the next count is told.
            note(Turn { tries, ..turn });
            named.noted_first();
        }
        let count = tries.saturating_add(starts).saturating_add(1);
        Some(Leased { delivery, token, count })
    }

    /// What the rules in force make of an event for the owner of a subscription: as it came over the border, then as it
    /// is handed out.
    fn judge_for_owner(&self, stored: &Stored, owner: &str) -> Verdict {
        let edited = match self.judge_delivery(stored) {
            Verdict::Pass(edited) => edited,
            // Its rates were asked when it was taken.
            Verdict::Wait(_) => None,
            stop => return stop,
        };
        let event = edited.as_ref().unwrap_or(&stored.event);
        match self.judge_for(&stored.key, &stored.topic, event, owner) {
            Verdict::Pass(again) => Verdict::Pass(again.or(edited)),
            verdict => verdict,
        }
    }

    /// Acknowledges what these leases hold; gives for each whether it was running.
    pub(super) fn end_leases(&self, tokens: &[AckToken]) -> Vec<bool> {
        let now = Instant::now();
        let named = |token: &AckToken| self.named.get(token.subscription);
        let running: Vec<bool> = tokens
            .iter()
            .map(|token| named(token).is_some_and(|named| named.end_lease(token.body, token.lease, now)))
            .collect();
        if running.contains(&true) {
            fail_point!("destination.before-acknowledging");
            self.durable.with(|core| {
                for (token, _) in tokens.iter().zip(&running).filter(|(_, running)| **running) {
                    core.end_group(token.body, token.subscription, GroupEnd::Acknowledged);
                }
            });
        }
        running
    }
}
