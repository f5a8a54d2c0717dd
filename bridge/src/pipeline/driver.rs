//! Carries out what the delivery core asks for: frames, messages to other ends, offers, alarms. One task, so that the
//! order of the core's actions is the order of their effects.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{Action, Alarm, Choices, ClockDoubt, Effect, GroupEnd, Outcome};
use meshbridge_event::Event;
use meshbridge_routing::wire::{GroupTarget, data::payload_digest, encode_after, encode_groups, encode_hops};
use meshbridge_routing::{BridgeId, Forwarding, Run};
use meshbridge_spool::fail_point;
use rand::TryRng;
use rand::rngs::SysRng;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::admission::{partition, set_of};
use super::form::Form;
use super::judge::Verdict;
use super::named::Lane;
use super::stored::Stored;
use super::subscriptions::Delivery;
use super::{Inner, Pipeline, lock};
use crate::link::{FrameBody, FrameDestination, FrameDestinations, Outbound};
use crate::policy_store::Generation;
use crate::router_task::Command;

/// Actions carried out before the clock and the log are looked at again.
const ACTIONS_PER_TURN: usize = 1_024;
/// Lives and leases are looked at this often.
const TICK: Duration = Duration::from_millis(200);

impl Pipeline {
    /// Runs until `stop`. What is not carried out then is in the log.
    pub(crate) async fn drive(self, stop: CancellationToken) {
        let inner = &self.inner;
        // What was not dealt with by the process before is with its subscriptions before anybody asks for it: a client that
        // comes back with a `Last-Event-ID` speaks of these.
        tokio::task::block_in_place(|| inner.execute_all());
        inner.resumed.store(true, Ordering::Release);
        inner.resumed_now.notify_waiters();
        let mut commits = inner.durable.commits();
        let mut ticked = Instant::now();
        loop {
            let due = inner.durable.view(meshbridge_delivery::Core::poll_timeout);
            let wait = due.map_or(TICK, |at| at.saturating_duration_since(Instant::now()).min(TICK));
            tokio::select! {
                () = stop.cancelled() => return,
                () = inner.durable.wake.notified() => {}
                () = inner.durable.finished.some.notified() => {}
                changed = commits.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
            let committed = *commits.borrow_and_update();
            let tick = ticked.elapsed() >= TICK;
            if tick {
                ticked = Instant::now();
            }
            if !self.journal_keeps_up(&stop).await {
                return;
            }
            inner.advance(committed, tick);
            if tick {
                self.put_groups_to_sleep().await;
                tokio::task::block_in_place(|| inner.look_at_unchosen());
            }
            // Those that come meanwhile have woken the next turn: commits and timers are not to wait for them.
            let mut left = inner.durable.todo.len();
            while left > 0 {
                let actions = inner.durable.todo.take(left.min(ACTIONS_PER_TURN));
                left = left.saturating_sub(ACTIONS_PER_TURN);
                // Reading a body may wait for the disk.
                tokio::task::block_in_place(|| inner.execute(actions));
                tokio::task::yield_now().await;
                if left > 0 && !self.journal_keeps_up(&stop).await {
                    return;
                }
            }
            inner.durable.checkpoint_if_due();
        }
    }
}

impl Inner {
    fn execute_all(&self) {
        // What the core wanted when it was made. What has had its time while nobody ran is handed to nobody.
        let clock = self.durable.clock();
        self.durable.with(|core| {
            if let Some(wall) = clock.for_expiry() {
                core.expire(wall, Instant::now());
            }
        });
        loop {
            let actions = self.durable.todo.take(ACTIONS_PER_TURN);
            if actions.is_empty() {
                return;
            }
            self.execute(actions);
        }
    }

    fn advance(&self, committed: u64, tick: bool) {
        let now = Instant::now();
        let finished = self.durable.finished.take();
        let clock = self.durable.clock();
        let wall = clock.for_expiry().filter(|_| tick);
        let credit = if self.durable.admits() { u64::MAX } else { 0 };
        self.durable.with(|core| {
            if committed > core.committed() {
                core.on_committed(committed, now);
            }
            for (body, delivered) in finished {
                core.on_living_done(body, delivered);
            }
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
            if let Some(wall) = wall {
                core.expire(wall, now);
            }
            if tick {
                core.set_credit(credit, now);
            }
        });
        if tick {
            self.on_clock(clock.doubt());
            self.tick_membership();
            self.tick_named(now);
            self.tick_quarantine(wall, now);
        }
    }

    fn tick_named(&self, now: Instant) {
        self.count_letters();
        for named in self.named.all() {
            let dead = named.tick(now);
            if !dead.is_empty() {
                self.durable.with(|core| {
                    for body in dead {
                        core.end_group(body, named.id, GroupEnd::DeadLettered("attempts-exhausted".into()));
                    }
                });
            }
        }
    }

    fn execute(&self, actions: Vec<Action>) {
        let generation = self.parts.policies.active();
        let forwarding = self.parts.forwarding.load();
        for action in actions {
            match action {
                Action::Send { body, run, to } => self.send(&generation, &forwarding, (body, run), &to),
                Action::Message { to, message } => self.tell(&to, &message),
                Action::Ready { body, out_of_order } => self.offer(body, out_of_order),
                Action::Effect(effect) => self.on_effect(&effect),
                Action::Alarm(alarm) => self.on_alarm(&alarm),
                Action::BeginRun => self.begin_another_run(),
                // The log has it already.
                Action::Append(_) => {}
            }
        }
    }

    fn on_effect(&self, effect: &Effect) {
        self.durable.waiters.on_effect(effect);
        match effect {
            Effect::Released(body) => lock(&self.durable.cache).remove(*body),
            Effect::Ended { key, destination, outcome } => {
                self.parts.metrics.on_ended(outcome.name());
                self.ends.note(key, destination, outcome);
                self.parts.quarantine.on_ended(key, destination);
            }
            Effect::Unchosen { .. } => self.unchosen.changed(),
            Effect::Moved { from, to, body, .. } => {
                self.ends.note_moved(from, to);
                lock(&self.durable.cache).remove(*body);
            }
            Effect::Settled { body, destination } => self.parts.quarantine.on_settled(*body, destination),
        }
    }

    /// Says once for each time that the clock cannot be believed (D13).
    fn on_clock(&self, doubt: Option<ClockDoubt>) {
        if std::mem::replace(&mut *lock(&self.durable.clock_doubt), doubt) == doubt {
            return;
        }
        match doubt {
            Some(ClockDoubt::Ahead) => {
                self.parts.metrics.on_alarm("clock_ahead");
                error!(
                    "The clock has been set far ahead; no event expires until it is set right, or the bridge is started again"
                );
            }
            Some(ClockDoubt::Behind) => {
                self.parts.metrics.on_alarm("clock_behind");
                error!(
                    "The clock says less than it has said before; no event expires until it has caught up"
                );
            }
            None => info!("The clock is believed again"),
        }
    }

    /// Durable before anything of it leaves, as all runs: the routing core sees to it.
    fn begin_another_run(&self) {
        error!(
            "Numbers of events were used twice: this process goes on from an image of its memory; what no destination has settled gets new keys"
        );
        // Not from a generator in memory: that was in the image, too.
        match SysRng.try_next_u64() {
            Ok(nonce) => self.parts.router.send_later(Command::BeginRun { nonce }),
            Err(problem) => error!(%problem, "The system has no randomness for another run; nothing is sent"),
        }
    }

    fn on_alarm(&self, alarm: &Alarm) {
        match alarm {
            Alarm::EgressLost { destination, events } => {
                self.parts.metrics.on_alarm("egress_lost");
                error!(%destination, events, "A destination has lost events that it had stored; they are listed as ended `egress-lost`");
            }
            Alarm::OriginBehind { destination, run, lane, upto } => {
                self.parts.metrics.on_alarm("origin_behind");
                error!(%destination, %run, lane, upto, "A destination knows events of this bridge that it does not know itself: its disk is an older copy, or lied");
            }
            Alarm::UnknownRun { destination, run } => {
                self.parts.metrics.on_alarm("origin_behind");
                error!(%destination, %run, "A destination has ended events of a run of this bridge that it does not know itself: its disk is an older copy, or lied");
            }
            Alarm::OtherDisk { bridge } => {
                self.parts.metrics.on_alarm("other_disk");
                warn!(%bridge, "The bridge has come back with another disk");
            }
        }
    }

    /// Sends an event on its way under the policies in force now (RELIABILITY §2, step 4).
    fn send(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        (body, run): (u64, Run),
        to: &[(BridgeId, u64)],
    ) {
        let stored = match self.durable.stored(body) {
            Ok(stored) => stored,
            // Settled since it was handed out, and released.
            Err(_) if self.durable.view(|core| !core.state().events.contains_key(&body)) => return,
            Err(problem) => return self.on_unreadable(body, to, &problem),
        };
        let known = self.durable.view(|core| {
            let event = core.state().events.get(&body).filter(|event| event.key.run == run)?;
            let follows = |(bridge, _): &(BridgeId, u64)| Some((bridge.clone(), core.follows(body, bridge)?));
            let after: SmallVec<[(BridgeId, u64); 1]> = to.iter().filter_map(follows).collect();
            Some((event.key.clone(), event.choices.clone(), event.attempts, after))
        });
        let Some((key, choices, attempts, after)) = known else { return };
        let mut forms: SmallVec<[(Form, FrameDestinations); 2]> = SmallVec::new();
        for (bridge, prev) in to {
            let Some(index) = forwarding.index_of(bridge) else { continue };
            let Some(form) = self.form_for(generation, forwarding, &stored, body, bridge) else {
                continue;
            };
            let destination = FrameDestination { bridge: index, prev: *prev };
            // Forms of one class share their bytes.
            match forms.iter_mut().find(|(known, _)| known.is_shared_with(&form)) {
                Some((_, destinations)) => destinations.push(destination),
                None => forms.push((form, FrameDestinations::from_iter([destination]))),
            }
        }
        let now = Instant::now();
        let life = (stored.expires > 0).then(|| self.durable.clock().remaining(stored.expires));
        if life == Some(Duration::ZERO) {
            // The core ends it at its next look at the clock.
            return;
        }
        for (Form { payload, passage }, destinations) in forms {
            let extension =
                choices.as_ref().and_then(|choices| groups_of(forwarding, choices, attempts, &destinations));
            let mine = |(bridge, _): &&(BridgeId, u64)| {
                destinations.iter().any(|one| forwarding.bridge(one.bridge).0 == bridge)
            };
            let after: SmallVec<[(BridgeId, u64); 1]> = after.iter().filter(mine).cloned().collect();
            let hop_limit = forwarding.default_hop_limit(&set_of(&destinations), &passage);
            let frame = Outbound {
                hop_limit,
                body: Arc::new(FrameBody {
                    key: key.clone(),
                    topic: stored.topic.clone(),
                    digest: payload_digest(&payload),
                    payload,
                    policy: generation.mark,
                    passage,
                    extensions: [extension, encode_after(&after), Some(encode_hops(hop_limit))]
                        .into_iter()
                        .flatten()
                        .collect(),
                }),
                destinations,
                since: now,
                expires: life.map(|life| now + life),
                barred: None,
            };
            fail_point!("origin.before-send");
            self.forward(forwarding, frame, None);
            fail_point!("origin.after-send");
        }
    }

    /// Its bytes are gone with a damaged file: the pairs end, with that reason.
    fn on_unreadable(&self, body: u64, to: &[(BridgeId, u64)], problem: &str) {
        error!(body, problem, "An event cannot be read back from the spool");
        self.parts.metrics.on_alarm("unreadable");
        self.durable.with(|core| {
            for (bridge, _) in to {
                core.end_pair(body, bridge, Outcome::DeadLettered("origin-lost".into()), Instant::now());
            }
        });
    }

    /// To the subscriptions here, with memory or without.
    fn offer(&self, body: u64, out_of_order: bool) {
        let found = self.durable.view(|core| {
            let event = core.state().events.get(&body)?;
            let groups: SmallVec<[u32; 4]> = event.open_groups().collect();
            let lane: Lane = (event.key.origin.clone(), event.key.lane);
            // Of an earlier process.
            let turns = groups.iter().map(|group| (*group, core.state().turns.of(body, *group)));
            let tried = turns.filter(|(_, turn)| turn.tries > turn.before);
            let tried: SmallVec<[(u32, u32); 1]> =
                tried.map(|(group, turn)| (group, turn.tries - turn.before)).collect();
            Some((groups, event.groups_only, lane, tried))
        });
        let Some((groups, groups_only, lane, tried)) = found else { return };
        if out_of_order {
            self.parts.metrics.on_out_of_order();
        }
        fail_point!("destination.before-offer");
        // Its bytes are looked at only where somebody decides by them: a start with much waiting reads nothing.
        let live = !groups_only && self.subscriptions.len() > 0;
        let by_partition = |group: &u32| self.named.get(*group).is_some_and(|named| named.is_sticky());
        let (living, partition) = if live || groups.iter().any(by_partition) {
            self.offer_bytes(body, live, &groups)
        } else {
            (Ok(0), 0)
        };
        self.durable.with(|core| match living {
            Ok(living) => core.on_offered(body, living),
            Err(denied) => core.on_denied(body, denied),
        });
        for group in groups {
            match self.named.get(group) {
                Some(named) => {
                    tried
                        .iter()
                        .filter(|(of, _)| *of == group)
                        .for_each(|(_, tries)| named.tried(body, *tries));
                    named.offer_in(body, lane.clone(), partition);
                }
                // Deleted while the event was on its way into the log.
                None => self.durable.with(|core| core.end_group_for_good(body, group)),
            }
        }
    }

    /// How many subscriptions without memory have it now, or which rule forbids it to them; and its partition.
    fn offer_bytes(&self, body: u64, live: bool, groups: &[u32]) -> (Result<u32, Outcome>, u32) {
        match self.durable.stored(body) {
            Ok(stored) => {
                let living = if live { self.offer_live(body, &stored) } else { Ok(0) };
                (living, partition_hash(&stored.event))
            }
            Err(problem) => {
                error!(body, problem, "An event cannot be read back from the spool");
                self.parts.metrics.on_alarm("unreadable");
                self.durable.with(|core| {
                    for group in groups {
                        core.end_group(body, *group, GroupEnd::DeadLettered("destination-lost".into()));
                    }
                });
                (Ok(0), 0)
            }
        }
    }

    /// To the subscriptions without memory, where the rules in force still allow it; gives how many have it now.
    fn offer_live(&self, body: u64, stored: &Stored) -> Result<u32, Outcome> {
        let event = match self.judge_delivery(stored) {
            Verdict::Pass(edited) => edited.unwrap_or_else(|| stored.event.clone()),
            Verdict::Wait(_) => stored.event.clone(),
            Verdict::Stop(refusal) => return Err(refusal.outcome()),
        };
        let (key, topic) = (stored.key.clone(), stored.topic.clone());
        Ok(self.hand_out(&Arc::new(Delivery { body: Some(body), key, topic, event })))
    }
}

/// Tells the destinations of a frame which consumer groups they were chosen for.
fn groups_of(
    forwarding: &Forwarding,
    choices: &Choices,
    attempts: u32,
    destinations: &FrameDestinations,
) -> Option<(u8, u8, Bytes)> {
    let ids = destinations.iter().map(|destination| forwarding.bridge(destination.bridge).0);
    let targets: SmallVec<[GroupTarget; 2]> = ids
        .filter(|bridge| choices.groups_only.contains(bridge) || choices.groups_at(bridge).next().is_some())
        .map(|bridge| GroupTarget {
            bridge: bridge.clone(),
            plain: !choices.groups_only.contains(bridge),
            attempts: u16::try_from(attempts).unwrap_or(u16::MAX),
            groups: choices.groups_at(bridge).cloned().collect(),
        })
        .collect();
    if targets.is_empty() { None } else { encode_groups(&targets) }
}

fn partition_hash(event: &Event) -> u32 {
    let mut hasher = DefaultHasher::new();
    partition(event).hash(&mut hasher);
    hasher.finish() as u32
}
