//! Events that a rule keeps back when they are published (POLICY §3, `publish`).
//!
//! ```text
//!  publish verdict `dead-letter` ─► pair with this bridge itself, ended so: a dead letter of this bridge
//!                  `quarantine` ──► pair with this bridge itself, held
//!                                      │ refused, or its time is over: ends `denied`, `dead-lettered`
//!                                      ▼ released, or other policies
//!  replayed ───────────────────────► judged again as a publication of the same publisher ─► a new event, under a new key
//! ```
//!
//! What is kept is the event after the protections that hold here: what a rule wants edited before it is stored is stored
//! edited, or not at all. Events of class best-effort have nowhere to be kept.

use std::sync::Arc;
use std::time::Instant;

use meshbridge_delivery::Outcome;
use meshbridge_event::Event;
use meshbridge_policy::Context;
use meshbridge_routing::EventKey;
use tracing::warn;

use super::admission::producer;
use super::judge::{Asked, Verdict};
use super::membership::REPLAYED;
use super::quarantine::HeldId;
use super::stored::Stored;
use super::waiters::AckLevel;
use super::{Inner, Principal, Publication};
use crate::policy_store::Generation;

/// Events looked at in one turn of the driver.
const TURN: usize = 256;

impl Inner {
    /// From the driver's turn, now and then: what was released, or is held no longer for other reasons.
    pub(super) fn look_at_kept_back(&self) {
        let bodies: Vec<u64> = self.durable.view(|core| core.kept_back().take(TURN).collect());
        if !bodies.is_empty() {
            // Reading a body may wait for the disk.
            tokio::task::block_in_place(|| bodies.into_iter().for_each(|body| self.judge_kept_back(body)));
        }
    }

    fn judge_kept_back(&self, body: u64) {
        let own = &self.parts.own;
        let now = Instant::now();
        let stored = match self.durable.stored(body) {
            Ok(stored) => stored,
            Err(problem) => {
                warn!(body, problem, "An event that was kept back cannot be read back from the spool");
                let outcome = Outcome::DeadLettered("origin-lost".into());
                return self.durable.with(|core| core.end_pair(body, own, outcome, now));
            }
        };
        let generation = self.parts.policies.active();
        let released = self.parts.quarantine.released(&stored.key, own);
        match self.judge_stored(&generation, &stored, &released) {
            Verdict::Pass(edited) => {
                // Where there is no room it is looked at again.
                let Some(to) = self.publish_again(&generation, &stored, edited) else { return };
                self.durable.with(|core| core.end_pair(body, own, Outcome::Moved, now));
                self.ends.note_moved(&stored.key, &to);
                self.parts.quarantine.unlist(body, own);
            }
            Verdict::Wait(_) => {}
            Verdict::Stop(refusal) if refusal.holds() => {
                let id = HeldId { body, destination: own.clone() };
                self.hold_back(&generation, &stored, id, &refusal);
            }
            Verdict::Stop(refusal) => {
                self.on_refused_here(&stored.key, &stored.topic, &stored.event, own.as_str(), &refusal);
                self.parts.quarantine.unlist(body, own);
                self.durable.with(|core| {
                    if refusal.keeps() {
                        core.dead_letter(body, own, &refusal.by, now);
                    } else {
                        core.end_pair(body, own, refusal.outcome(), now);
                    }
                });
            }
        }
    }

    /// Publishes a dead letter of this kind again. `false` where there is none, a rule still stops it, or there is no room.
    pub(super) fn replay_kept_back(&self, body: u64) -> bool {
        let own = &self.parts.own;
        let is_there = self.durable.view(|core| core.state().membership.has_letter(body, own));
        let Ok(stored) = tokio::task::block_in_place(|| self.durable.stored(body)) else { return false };
        if !is_there {
            return false;
        }
        let generation = self.parts.policies.active();
        let Verdict::Pass(edited) = self.judge_stored(&generation, &stored, &[]) else { return false };
        let published = self.publish_again(&generation, &stored, edited).is_some();
        if published {
            self.durable.with(|core| core.end_letter(body, own));
        }
        published
    }

    fn judge_stored(&self, generation: &Generation, stored: &Stored, released: &[Arc<str>]) -> Verdict {
        let own = self.parts.own_zone_index;
        let asked = Asked {
            context: Context::Publish,
            from: own,
            to: own,
            topic: &stored.topic,
            event: &stored.event,
            publisher: stored.publisher.as_deref(),
            subscriber: None,
            hops: 0,
        };
        self.judge_released(generation, &asked, released)
    }

    /// As its publisher would; a crash before the former one is ended finds the new one by what it is a retry of.
    fn publish_again(
        &self,
        generation: &Generation,
        stored: &Stored,
        edited: Option<Event>,
    ) -> Option<EventKey> {
        let publisher = Principal(stored.publisher.clone().unwrap_or_default());
        let event = edited.unwrap_or_else(|| stored.event.clone());
        let publication = Publication { topic: stored.topic.clone(), event };
        let forwarding = self.parts.forwarding.load();
        let mut planned = self.plan(generation, &forwarding, &publisher, vec![publication]);
        let retry = producer(REPLAYED, self.parts.own.as_str(), &stored.key.to_string());
        planned.iter_mut().for_each(|plan| plan.producer = Some(retry));
        let admission = self.admit(&publisher, generation, &forwarding, planned, AckLevel::Stored).ok()?;
        Some(admission.accepted.first()?.key.clone())
    }
}
