//! Consumer groups across bridges: one member gets each event, chosen once by the origin (RELIABILITY D9).
//!
//! ```text
//! publish ─► candidates: bridges with the group, this one among them
//!              │  connected member, reachable, no rule against it; this bridge, this zone, then the nearest
//!              ├─ one ──► in the event's record
//!              └─ none ─► the event waits here; looked at again when interest, ways or members change
//! ```
//!
//! A bridge whose last member has left gives back what it holds, and the origin chooses anew, under a new key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meshbridge_delivery::{Choice, Choices, Core, Logged, Outcome};
use meshbridge_event::Event;
use meshbridge_policy::Context;
use meshbridge_routing::{BridgeId, BridgeIndex, Forwarding, GroupMatch, GroupName, Passage};
use smallvec::SmallVec;
use tracing::warn;

use super::admission::partition;
use super::judge::{Asked, Refusal, Verdict};
use super::named::Named;
use super::plan::{Planned, Variant};
use super::stored::Stored;
use super::{Inner, Pipeline, Principal, lock};
use crate::policy_store::Generation;

/// Events chosen anew in one turn.
const TURN: usize = 1_024;
/// A group that no bridge has is believed to be gone after this: news of it may be on the way.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// What waits is looked at this often, also when nothing seems to have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What waits for a bridge with a member.
#[derive(Debug, Default)]
pub(super) struct Unchosen {
    /// Something changed that may give it one.
    changed: AtomicBool,
    looked: Mutex<Option<Instant>>,
    /// Groups that no bridge has, since when.
    nowhere: Mutex<HashMap<GroupName, Instant>>,
}

impl Unchosen {
    pub(super) fn changed(&self) {
        self.changed.store(true, Ordering::Release);
    }
}

/// A bridge that has the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    at: Place,
    /// A member is connected, and there is a way.
    ready: bool,
    /// Less is better: this bridge, this zone, then the cost of the way; equals by the event's partition.
    rank: (u8, u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here(u32),
    There(BridgeIndex),
}

impl Inner {
    /// Chooses a bridge for each group that wants a planned event, and adds it to the plan.
    pub(super) fn choose_groups(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        publisher: &Principal,
        plan: &mut Planned,
    ) {
        let here = self.named.groups_matching(&plan.topic);
        if here.is_empty() && plan.groups.is_empty() {
            return;
        }
        let mut choices = Choices::default();
        let remote = std::mem::take(&mut plan.groups);
        let mut is_any_idle = false;
        for name in names(&here, &remote) {
            let candidates = self.candidates(forwarding, &name, &here, &remote, &plan.event);
            let mut refusals: SmallVec<[(BridgeIndex, Refusal); 2]> = SmallVec::new();
            // Permitted, and without a way that the event may take now.
            let mut waits: Option<Place> = None;
            let chosen = candidates.iter().filter(|candidate| candidate.ready).find(|candidate| {
                let Place::There(bridge) = candidate.at else { return true };
                match self.permits(generation, forwarding, publisher, bridge, plan) {
                    Ok(()) if plan.reaches(forwarding, bridge) => true,
                    Ok(()) => {
                        is_any_idle = true;
                        waits.get_or_insert(candidate.at);
                        false
                    }
                    Err(refusal) => {
                        refusals.push((bridge, refusal));
                        false
                    }
                }
            });
            match chosen.map(|candidate| candidate.at).or(waits) {
                Some(Place::Here(id)) => {
                    choices.chosen.push((self.parts.own.clone(), name));
                    plan.here.push(id);
                }
                Some(Place::There(bridge)) => {
                    let id = forwarding.bridge(bridge).0.clone();
                    if !plan.plain.contains(bridge) && !choices.groups_only.contains(&id) {
                        choices.groups_only.push(id.clone());
                    }
                    choices.chosen.push((id, name));
                }
                // Every bridge with a member is behind a rule: that is how it ends, and who hears of it.
                None if !refusals.is_empty() && refusals.len() == candidates.len() => {
                    // A person may let it go to the best of those that are not simply forbidden.
                    if let Some(at) = refusals.iter().position(|(_, refusal)| refusal.holds()) {
                        let (bridge, refusal) = refusals.swap_remove(at);
                        let id = forwarding.bridge(bridge).0.clone();
                        if !plan.plain.contains(bridge) && !choices.groups_only.contains(&id) {
                            choices.groups_only.push(id.clone());
                        }
                        choices.chosen.push((id, name));
                        plan.hold(bridge, refusal);
                        continue;
                    }
                    for (bridge, refusal) in refusals {
                        if !plan.plain.contains(bridge) {
                            plan.refuse(forwarding, bridge, refusal);
                        }
                    }
                }
                None => choices.unchosen.push(name),
            }
        }
        if is_any_idle {
            // Those that were asked about and not chosen.
            let chosen = |bridge| choices.chosen.iter().any(|(id, _)| id == forwarding.bridge(bridge).0);
            let plain = &plan.plain;
            for variant in &mut plan.variants {
                variant.destinations.retain(|bridge| plain.contains(*bridge) || chosen(*bridge));
            }
            plan.variants.retain(|variant| !variant.destinations.is_empty());
        }
        plan.choices = Some(Box::new(choices));
    }

    /// The egress verdict on a bridge that was not planned for; one that is permitted joins the plan.
    fn permits(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        publisher: &Principal,
        bridge: BridgeIndex,
        plan: &mut Planned,
    ) -> Result<(), Refusal> {
        if plan.variants.iter().any(|variant| variant.destinations.contains(&bridge)) {
            return Ok(());
        }
        let stopped = || plan.refused.iter().chain(&plan.held);
        if let Some((_, refusal)) = stopped().find(|(known, _)| *known == bridge) {
            return Err(refusal.clone());
        }
        let zone = forwarding.bridge(bridge).1;
        let same_zone = |variant: &&mut Variant| {
            variant.destinations.first().is_some_and(|other| forwarding.bridge(*other).1 == zone)
        };
        if let Some(variant) = plan.variants.iter_mut().find(same_zone) {
            variant.destinations.push(bridge);
            return Ok(());
        }
        let event = if *zone == self.parts.own_zone {
            let passage = self.home_passage(generation, &plan.topic, &plan.event, Some(&publisher.0));
            (plan.event.clone(), passage, false)
        } else {
            let program = &generation.program;
            let Some(to) = program.zone(zone.as_str()) else { return Err(Refusal::unknown_zone()) };
            let from = self.parts.own_zone_index;
            let asked = Asked {
                context: Context::Egress,
                from,
                to,
                topic: &plan.topic,
                event: &plan.event,
                publisher: Some(&publisher.0),
                subscriber: None,
                hops: 0,
            };
            match self.judge(generation, &asked) {
                Verdict::Pass(edited) => {
                    let form = edited.unwrap_or_else(|| plan.event.clone());
                    let passage = self.passage(generation, &asked, &form);
                    (form, passage, false)
                }
                Verdict::Wait(_) => (plan.event.clone(), Passage::ANY, true),
                Verdict::Stop(refusal) => return Err(refusal),
            }
        };
        let (event, passage, waits) = event;
        plan.variants.push(Variant { event, destinations: SmallVec::from_iter([bridge]), passage, waits });
        Ok(())
    }

    /// The bridges that have the group, best first.
    fn candidates(
        &self,
        forwarding: &Forwarding,
        name: &GroupName,
        here: &[Arc<Named>],
        remote: &[GroupMatch],
        event: &Event,
    ) -> SmallVec<[Candidate; 4]> {
        let own = here.iter().filter(|named| named.group_name() == Some(name)).map(|named| Candidate {
            at: Place::Here(named.id),
            ready: named.is_live(),
            rank: (0, 0, 0),
        });
        let there = remote.iter().filter(|one| one.name == *name).map(|one| {
            let (bridge, zone) = forwarding.bridge(one.bridge);
            let cost = forwarding.cost_to(one.bridge);
            let home = *zone == self.parts.own_zone;
            let spread = rendezvous(bridge, partition(event));
            Candidate {
                at: Place::There(one.bridge),
                ready: one.live && cost.is_some() && !self.is_left_out(bridge),
                rank: (if home { 1 } else { 2 }, cost.unwrap_or(u64::MAX), spread),
            }
        });
        let mut all: SmallVec<[Candidate; 4]> = own.chain(there).collect();
        all.sort_by_key(|candidate| candidate.rank);
        all
    }

    /// Operators have drained or removed the bridge.
    fn is_left_out(&self, bridge: &BridgeId) -> bool {
        self.durable.view(|core| core.state().membership.leaves_out(bridge).is_some())
    }

    /// Tries again for what waits for a bridge with a member. From the driver's turn.
    pub(super) fn look_at_unchosen(&self) {
        let now = Instant::now();
        let changed = self.unchosen.changed.swap(false, Ordering::AcqRel);
        {
            let mut looked = lock(&self.unchosen.looked);
            if !changed && looked.is_some_and(|at| now < at + LOOK_EVERY) {
                return;
            }
            *looked = Some(now);
        }
        self.take_back_unreachable();
        let waiting: Vec<(GroupName, Vec<u64>)> = self.durable.view(|core| {
            let waiting = core.state().unchosen.iter();
            waiting
                .map(|(name, bodies)| (name.clone(), bodies.iter().copied().take(TURN).collect()))
                .collect()
        });
        lock(&self.unchosen.nowhere).retain(|name, _| waiting.iter().any(|(waits, _)| waits == name));
        let mut moved = 0;
        for (name, bodies) in waiting {
            for body in bodies {
                match self.choose_for(body, &name) {
                    Found::Chosen => moved += 1,
                    // What waits behind it waits for the same members.
                    Found::Waits => break,
                    Found::Gone => {}
                }
            }
        }
        if moved >= TURN {
            self.unchosen.changed();
        }
    }

    fn choose_for(&self, body: u64, name: &GroupName) -> Found {
        let stored = match self.durable.stored(body) {
            Ok(stored) => stored,
            Err(problem) => {
                warn!(body, problem, "An event that waits for a consumer group cannot be read back");
                let outcome = Outcome::DeadLettered("origin-lost".into());
                self.durable.with(|core| core.end_unchosen(body, Some(name), &outcome));
                return Found::Gone;
            }
        };
        let generation = self.parts.policies.active();
        let forwarding = self.parts.forwarding.load();
        let here = self.named.groups_matching(&stored.topic);
        let mut remote = SmallVec::new();
        forwarding.match_topic(&stored.topic, &mut Default::default(), &mut remote);
        let candidates = self.candidates(&forwarding, name, &here, &remote, &stored.event);
        let ready: SmallVec<[Candidate; 4]> = candidates.iter().copied().filter(|one| one.ready).collect();
        let mut refusals: SmallVec<[Refusal; 2]> = SmallVec::new();
        let mut holding = None;
        let chosen = ready.iter().find(|candidate| match candidate.at {
            Place::Here(_) => true,
            Place::There(bridge) => match self.may_leave(&generation, &forwarding, bridge, &stored) {
                Ok(()) => true,
                Err(refusal) => {
                    if refusal.holds() {
                        holding.get_or_insert(**candidate);
                    }
                    refusals.push(refusal);
                    false
                }
            },
        });
        // Where every bridge is behind a rule, one that only a person can open is where it waits.
        let held = holding.filter(|_| refusals.len() == candidates.len());
        let Some(chosen) = chosen.copied().or(held) else {
            return self.nobody_for(body, name, &candidates, refusals);
        };
        let choice = match chosen.at {
            Place::Here(id) => Choice::Here(id),
            Place::There(bridge) => Choice::Bridge(forwarding.bridge(bridge).0.clone()),
        };
        let logged = Logged {
            topic: stored.topic.as_str(),
            publisher: stored.publisher.clone(),
            payload: stored.event.encoded().clone(),
        };
        let wall = self.durable.wall();
        let admitted = self.durable.with(|core| core.choose(body, name, choice, logged, wall));
        if admitted.is_some() {
            self.parts.metrics.on_group_chosen_anew();
        }
        Found::Chosen
    }

    fn nobody_for(
        &self,
        body: u64,
        name: &GroupName,
        candidates: &[Candidate],
        refusals: SmallVec<[Refusal; 2]>,
    ) -> Found {
        if candidates.is_empty() {
            let since = *lock(&self.unchosen.nowhere).entry(name.clone()).or_insert_with(Instant::now);
            if since.elapsed() < GONE_AFTER {
                return Found::Waits;
            }
            let outcome = Outcome::DeadLettered("subscription-ended".into());
            self.durable.with(|core| core.end_unchosen(body, Some(name), &outcome));
            return Found::Gone;
        }
        if refusals.len() == candidates.len()
            && let Some(refusal) = refusals.into_iter().next()
        {
            let outcome = Outcome::Denied(refusal.by.into());
            self.durable.with(|core| core.end_unchosen(body, Some(name), &outcome));
            return Found::Gone;
        }
        Found::Waits
    }

    fn may_leave(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        bridge: BridgeIndex,
        stored: &Stored,
    ) -> Result<(), Refusal> {
        let zone = forwarding.bridge(bridge).1;
        if *zone == self.parts.own_zone {
            return Ok(());
        }
        let program = &generation.program;
        let Some(to) = program.zone(zone.as_str()) else { return Err(Refusal::unknown_zone()) };
        let from = self.parts.own_zone_index;
        let asked = Asked {
            context: Context::Egress,
            from,
            to,
            topic: &stored.topic,
            event: &stored.event,
            publisher: stored.publisher.as_deref(),
            subscriber: None,
            hops: 0,
        };
        match self.judge(generation, &asked) {
            Verdict::Pass(_) | Verdict::Wait(_) => Ok(()),
            Verdict::Stop(refusal) => Err(refusal),
        }
    }

    /// Events chosen for a bridge that cannot be reached, and that never left for there, go to another that can.
    fn take_back_unreachable(&self) {
        let forwarding = self.parts.forwarding.load();
        let cut_off = self.parts.bridges.iter().filter(|bridge| {
            **bridge != self.parts.own
                && forwarding.index_of(bridge).is_none_or(|index| forwarding.cost_to(index).is_none())
        });
        for bridge in cut_off {
            let unsent = self.durable.view(|core| core.unsent_groups(bridge));
            let mut hopeless: SmallVec<[GroupName; 4]> = SmallVec::new();
            for (body, name) in unsent.into_iter().take(TURN) {
                if hopeless.contains(&name) {
                    continue;
                }
                if !self.another_is_ready(&forwarding, body, &name) {
                    hopeless.push(name);
                    continue;
                }
                self.durable.with(|core| core.take_group_back(body, bridge, &name));
            }
        }
    }

    fn another_is_ready(&self, forwarding: &Forwarding, body: u64, name: &GroupName) -> bool {
        let Ok(stored) = self.durable.stored(body) else { return false };
        let here = self.named.groups_matching(&stored.topic);
        let mut remote = SmallVec::new();
        forwarding.match_topic(&stored.topic, &mut Default::default(), &mut remote);
        self.candidates(forwarding, name, &here, &remote, &stored.event).iter().any(|one| one.ready)
    }

    /// The members here are gone for longer than a reconnection takes: the federation hears of it, and what they have not
    /// acknowledged goes back to its origins.
    pub(super) fn give_back_group(&self, named: &Named, held: Vec<(u64, u32)>) {
        let Some(name) = named.group_name() else { return };
        let stay: Vec<u64> = self.durable.with(|core| {
            let stays = |(body, attempts): (u64, u32)| {
                let state = core.state();
                let starts = state.starts - state.events.get(&body)?.start;
                let returned = core.return_group(body, named.id, name, attempts.saturating_add(starts));
                // A dead letter that is replayed has ended for its origin: it waits here.
                let open =
                    |core: &Core| core.state().events.get(&body)?.open_groups().find(|id| *id == named.id);
                (!returned && open(core).is_some()).then_some(body)
            };
            held.into_iter().filter_map(stays).collect()
        });
        stay.into_iter().for_each(|body| named.offer(body, 0));
    }

    /// Also what was taken for the group and has not come to it yet.
    pub(super) fn give_back_all(&self, named: &Named, held: Vec<(u64, u32)>) {
        let known: std::collections::HashSet<u64> = held.iter().map(|(body, _)| *body).collect();
        let more: Vec<(u64, u32)> = self.durable.view(|core| {
            let events = core.state().events.iter();
            let open = events.filter(|(_, event)| event.open_groups().any(|id| id == named.id));
            open.map(|(body, _)| (body, 0)).filter(|(body, _)| !known.contains(body)).collect()
        });
        self.give_back_group(named, held.into_iter().chain(more).collect());
    }
}

impl Pipeline {
    /// Interest, ways or members have changed: events that wait for a consumer group may find a bridge now.
    pub(crate) fn groups_changed(&self) {
        self.inner.unchosen.changed();
        self.inner.durable.wake.notify_one();
    }
}

enum Found {
    Chosen,
    Waits,
    Gone,
}

fn names(here: &[Arc<Named>], remote: &[GroupMatch]) -> SmallVec<[GroupName; 2]> {
    let here = here.iter().filter_map(|named| named.group_name().cloned());
    let mut names: SmallVec<[GroupName; 2]> = here.chain(remote.iter().map(|one| one.name.clone())).collect();
    names.sort();
    names.dedup();
    names
}

/// Highest-random-weight hashing: bridges that are equally near share the partitions, and each partition stays where it
/// is while its bridge does.
fn rendezvous(bridge: &BridgeId, partition: &str) -> u64 {
    let mut hash = blake3::Hasher::new();
    hash.update(bridge.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(partition.as_bytes());
    let mut half = [0; 8];
    hash.finalize_xof().fill(&mut half);
    u64::from_le_bytes(half)
}
