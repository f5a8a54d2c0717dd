//! Quarantine (POLICY §3): what a rule holds at its origin until a person releases it, refuses it, or its time is over.
//!
//! ```text
//!  egress verdict `quarantine` ─► the pair stays pending in the spool, and is not sent (delivery core, `hold`)
//!       │ listed here: rule, layer, key, destination
//!       ├─ release ─► judged again without that rule ─► sent, stopped by another rule, or held by another one
//!       ├─ refuse ──► ends `denied`
//!       ├─ time ────► ends `dead-lettered`
//!       └─ other policies in force ─► judged again
//! ```
//!
//! What is held is in nobody's file: after a restart each pair is judged when it would be sent, and held again. Only what
//! people said is kept, in [`rulings`]. The time runs from the event's acceptance, so no restart prolongs it.
//!
//! One driver judges and holds what is sent; publishers hold what they publish. Neither takes a lock of this module and
//! the core's at the same time.

mod listed;
mod people;
mod rulings;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meshbridge_routing::{BridgeId, EventKey, Forwarding};
use tracing::{error, info};

use super::judge::Refusal;
use super::plan::Planned;
use super::stored::Stored;
use super::{Inner, lock};
use crate::policy_store::Generation;
use listed::Listed;
pub(super) use listed::{HeldId, HeldPair};
pub(crate) use people::{HeldView, RulingRefused, Which};
use rulings::Rulings;

/// Times and lists are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pairs ended or listed in one look.
const TURN: usize = 1_024;

/// What the configuration says.
#[derive(Clone, Debug)]
pub(crate) struct QuarantineOptions {
    /// How long a person may take, from the acceptance of the event.
    pub(crate) timeout: Duration,
    /// Principals of the admin port and the layers whose rules they may release events from.
    pub(crate) releasers: HashMap<String, Vec<String>>,
}

/// What is held at this bridge, and what people have said of it.
#[derive(Debug)]
pub(crate) struct Quarantine {
    options: QuarantineOptions,
    rulings: Mutex<Rulings>,
    /// Pairs with a ruling: none in most bridges, and then nobody takes the lock.
    ruled: AtomicUsize,
    listed: Mutex<Listed>,
    /// Listed pairs, for the same reason.
    held: AtomicUsize,
    /// The generation under which everything was judged that is held.
    generation: AtomicU64,
    looked: Mutex<Option<Instant>>,
    /// The file was damaged, and nobody has counted that yet.
    damage: Mutex<Option<String>>,
}

impl Quarantine {
    /// Reads what people have said of events that had not ended.
    pub(crate) fn open(directory: &Path, options: QuarantineOptions) -> io::Result<Quarantine> {
        let (rulings, damage) = Rulings::open(directory)?;
        Ok(Quarantine {
            options,
            ruled: AtomicUsize::new(rulings.len()),
            rulings: Mutex::new(rulings),
            listed: Mutex::default(),
            held: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            looked: Mutex::default(),
            damage: Mutex::new(damage),
        })
    }

    /// The rules that a person has released the pair from.
    pub(super) fn released(&self, key: &EventKey, destination: &BridgeId) -> Arc<[Arc<str>]> {
        if self.ruled.load(Ordering::Acquire) == 0 {
            return Arc::default();
        }
        lock(&self.rulings).released(&(key.clone(), destination.clone()))
    }

    /// It is held no longer.
    pub(super) fn unlist(&self, body: u64, destination: &BridgeId) {
        if self.held.load(Ordering::Acquire) > 0 {
            let mut listed = lock(&self.listed);
            listed.remove(&HeldId { body, destination: destination.clone() });
            self.held.store(listed.len(), Ordering::Release);
        }
    }

    /// Its destination has it, or it has ended.
    pub(super) fn on_settled(&self, body: u64, destination: &BridgeId) {
        self.unlist(body, destination);
    }

    /// What was said of it has done its work.
    pub(super) fn on_ended(&self, key: &EventKey, destination: &BridgeId) {
        if self.ruled.load(Ordering::Acquire) > 0 {
            let mut rulings = lock(&self.rulings);
            rulings.forget(&(key.clone(), destination.clone()));
            self.ruled.store(rulings.len(), Ordering::Release);
        }
    }

    fn list(&self, id: HeldId, pair: HeldPair) {
        let mut listed = lock(&self.listed);
        listed.insert(id, pair);
        self.held.store(listed.len(), Ordering::Release);
    }
}

impl Inner {
    /// Lists what was held at its publication.
    pub(super) fn list_held(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        (body, key): (u64, &EventKey),
        plan: &Planned,
    ) {
        for (bridge, refusal) in &plan.held {
            let (destination, zone) = forwarding.bridge(*bridge);
            let pair =
                HeldPair { zone: zone.to_string(), ..HeldPair::new(key, &plan.topic, &plan.event, refusal) };
            self.list_if_held(generation, HeldId { body, destination: destination.clone() }, pair);
        }
    }

    /// Holds a pair that was about to be sent, unless a person has said how it ends.
    pub(super) fn hold_back(&self, generation: &Generation, stored: &Stored, id: HeldId, refusal: &Refusal) {
        let HeldId { body, destination } = &id;
        let known = (stored.key.clone(), destination.clone());
        let refused = lock(&self.parts.quarantine.rulings).refused(&known).map(people::outcome_of);
        if let Some(outcome) = refused {
            self.durable.with(|core| core.not_sent(*body, destination, outcome, Instant::now()));
            return;
        }
        if !self.durable.with(|core| core.hold(*body, destination, Instant::now())) {
            return;
        }
        let forwarding = self.parts.forwarding.load();
        let zone = forwarding.index_of(destination).map(|index| forwarding.bridge(index).1.to_string());
        let pair = HeldPair {
            zone: zone.unwrap_or_default(),
            ..HeldPair::new(&stored.key, &stored.topic, &stored.event, refusal)
        };
        self.list_if_held(generation, id, pair);
    }

    fn list_if_held(&self, generation: &Generation, id: HeldId, mut pair: HeldPair) {
        let HeldId { body, destination } = id.clone();
        let found = self.durable.view(|core| {
            let event = core.state().events.get(&body).filter(|_| core.is_held(body, &destination))?;
            Some((event.at, event.size))
        });
        let Some((since_ms, size_bytes)) = found else { return };
        (pair.since_ms, pair.size_bytes) = (since_ms, size_bytes);
        self.parts.quarantine.list(id, pair);
        // The driver may have looked for other policies before this was held.
        if self.parts.policies.active().number != generation.number {
            self.durable.with(|core| core.let_go(body, &destination, Instant::now()));
        }
    }

    /// From the driver's turn: other policies, times that are over, places in the list.
    pub(super) fn tick_quarantine(&self, wall: Option<u64>, now: Instant) {
        let quarantine = &self.parts.quarantine;
        let generation = self.parts.policies.active().number;
        if quarantine.generation.swap(generation, Ordering::AcqRel) != generation {
            self.durable.with(|core| core.let_all_go(now));
        }
        let is_first = {
            let mut looked = lock(&quarantine.looked);
            if looked.is_some_and(|at| now < at + LOOK_EVERY) {
                return;
            }
            looked.replace(now).is_none()
        };
        if is_first {
            self.forget_ended_rulings();
        }
        if let Some(damage) = lock(&quarantine.damage).take() {
            self.parts.metrics.on_alarm("quarantine_damaged");
            error!(damage, "What people said of quarantined events is lost: those are held again");
        }
        if let Some(wall) = wall {
            self.end_overdue(wall, now);
        }
        self.list_further(now);
        self.tidy_quarantine();
        self.look_at_kept_back();
    }

    /// What nobody decided about in time ends as a dead letter.
    fn end_overdue(&self, wall: u64, now: Instant) {
        let quarantine = &self.parts.quarantine;
        let timeout = u64::try_from(quarantine.options.timeout.as_millis()).unwrap_or(u64::MAX);
        let overdue: Vec<HeldId> = self.durable.view(|core| {
            let accepted = |body: &u64| core.state().events.get(body).map_or(0, |event| event.at);
            let mut overdue = Vec::new();
            for (destination, bodies) in core.held() {
                // They lie in the order of their acceptance.
                let over = bodies.take_while(|body| accepted(body).saturating_add(timeout) <= wall);
                let room = TURN - overdue.len();
                overdue.extend(over.take(room).map(|body| HeldId { body, destination: destination.clone() }));
            }
            overdue
        });
        for id in overdue {
            let pair = lock(&quarantine.listed).get(&id).cloned();
            let rule = pair.as_ref().map_or("quarantine", |pair| &pair.rule).to_owned();
            let reason = format!("quarantine-timeout: {rule}");
            self.durable.with(|core| core.dead_letter(id.body, &id.destination, &reason, now));
            quarantine.unlist(id.body, &id.destination);
            self.parts.metrics.on_quarantine_ended("timed_out");
            info!(id = %id, rule, "Nobody decided about a quarantined event in time");
            if let Some(pair) = pair {
                self.on_timed_out(&id, &pair);
            }
        }
    }

    /// Where the list was full and is not any more, what is held beside it is judged again, and listed.
    fn list_further(&self, now: Instant) {
        let quarantine = &self.parts.quarantine;
        let (listed, room) = {
            let listed = lock(&quarantine.listed);
            (listed.len(), listed.room())
        };
        let held: usize = self.durable.view(|core| core.held().map(|(_, bodies)| bodies.len()).sum());
        if held <= listed || room == 0 {
            return;
        }
        let known: HashSet<HeldId> = lock(&quarantine.listed).iter().map(|(id, _)| id.clone()).collect();
        let further: Vec<HeldId> = self.durable.view(|core| {
            let all = core.held().flat_map(|(destination, bodies)| {
                bodies.map(|body| HeldId { body, destination: destination.clone() })
            });
            all.filter(|id| !known.contains(id)).take(room.min(TURN)).collect()
        });
        self.durable.with(|core| {
            for id in &further {
                core.let_go(id.body, &id.destination, now);
            }
        });
    }

    /// Pairs may have ended without a word to the file: it is written later than the log.
    fn forget_ended_rulings(&self) {
        let quarantine = &self.parts.quarantine;
        let open: HashSet<rulings::Pair> = {
            let all = lock(&quarantine.rulings).pairs();
            self.durable.view(|core| {
                let is_open = |(key, destination): &rulings::Pair| {
                    let Some(state) = core.state().destinations.get(destination) else { return false };
                    let awaited = state.awaiting.get(&(key.run, key.lane));
                    state.pending(key.run, key.lane, key.seq).is_some()
                        || awaited.is_some_and(|set| set.contains(key.seq))
                };
                all.into_iter().filter(is_open).collect()
            })
        };
        let mut rulings = lock(&quarantine.rulings);
        rulings.retain(|pair| open.contains(pair));
        quarantine.ruled.store(rulings.len(), Ordering::Release);
    }

    /// Forgets what concerns nothing any more.
    fn tidy_quarantine(&self) {
        let quarantine = &self.parts.quarantine;
        if quarantine.held.load(Ordering::Acquire) > 0 {
            let listed: Vec<HeldId> = lock(&quarantine.listed).iter().map(|(id, _)| id.clone()).collect();
            let gone = self.durable.view(|core| {
                let events = &core.state().events;
                let is_open = |id: &HeldId| {
                    events.get(&id.body).is_some_and(|event| event.destinations.contains(&id.destination))
                };
                listed.into_iter().filter(|id| !is_open(id)).collect::<Vec<_>>()
            });
            gone.iter().for_each(|id| quarantine.unlist(id.body, &id.destination));
        }
        // Also when the last one has gone.
        if let Err(problem) = lock(&quarantine.rulings).tidy() {
            error!(%problem, "The file of what people said of quarantined events cannot be written");
        }
    }
}
