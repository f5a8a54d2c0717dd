//! The one place every accepted event passes through before its publisher is answered: into the log, then the answer.
//!
//! Numbers are given and records queued for the log in one step, under the lock of the delivery core, so the order of a
//! lane is the order in which its events were accepted. Nothing leaves before the flush; the core sees to that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meshbridge_delivery::{Core, LeftOut, NewEvent, Outcome, Reading, Ticket, Whereabouts};
use meshbridge_event::{AttributeValue, Event};
use meshbridge_policy::{DeliveryClass, Retain, TopicDelivery};
use meshbridge_routing::{BridgeId, DestinationSet, EventKey, Forwarding, lane_of};
use smallvec::SmallVec;

use super::plan::Planned;
use super::quotas::Full;
use super::replies::is_reply;
use super::stored::Stored;
use super::waiters::{AckLevel, Before, Waiting};
use super::{Accepted, Denied, Held, Inner, Principal, PublishRefused, lock};
use crate::link::FrameDestinations;
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// What a publisher is told to wait when something is full.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Admitted and numbered, not durable yet.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) accepted: Vec<Accepted>,
    pub(super) ticket: Ticket,
    /// By place in `accepted`.
    pub(super) waiters: Vec<(usize, Waiting)>,
}

impl Inner {
    /// Takes a planned batch whole, or refuses it whole.
    pub(super) fn admit(
        &self,
        principal: &Principal,
        generation: &Generation,
        forwarding: &Forwarding,
        mut planned: Vec<Planned>,
        level: AckLevel,
    ) -> Result<Admission, PublishRefused> {
        let options = generation.program.delivery(self.parts.own_zone_index);
        let topics: Vec<TopicDelivery> = planned.iter().map(|plan| options.for_topic(&plan.topic)).collect();
        if topics.iter().all(|topic| topic.class == DeliveryClass::BestEffort)
            || planned.iter().all(|plan| is_reply(&plan.topic))
        {
            let accepted = self.admit_best_effort(generation, forwarding, planned)?;
            return Ok(Admission { accepted, ticket: 0, waiters: Vec::new() });
        }
        // A batch is taken whole, so the strictest of its classes is that of all its events.
        if !self.durable.admits() {
            return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
        }
        for plan in planned.iter_mut().filter(|plan| !plan.is_kept_back) {
            self.choose_groups(generation, forwarding, principal, plan);
        }
        if self.letters.is_full() && planned.iter().any(|plan| plan.letters().next().is_some()) {
            return Err(PublishRefused::LettersFull { retry_after: RETRY_AFTER });
        }
        let Full { full, gone } = self.check_quotas(principal, forwarding, &planned, &topics)?;
        let events = planned.len() as u64;
        let mut unrouted = 0;
        let clock = self.durable.clock();
        let mut new: Vec<NewEvent> = planned
            .iter()
            .zip(&topics)
            .map(|(plan, topic)| {
                let groups =
                    if plan.is_kept_back { SmallVec::new() } else { self.named.matching(&plan.topic) };
                let event = new_event(&self.parts.own, principal, forwarding, plan, *topic, &groups, clock);
                unrouted += u64::from(
                    event.destinations.is_empty()
                        && !event.local
                        && plan.denied.is_empty()
                        && waiting(plan) == 0,
                );
                event
            })
            .collect();
        let is_over =
            |plan: &Planned| end_of_life(&plan.event).is_some_and(|end| clock.remaining(end).is_zero());
        let lives: Vec<u64> = new.iter().map(|event| event.expires).collect();
        let wall = clock.logged();
        let mut waiters = Vec::new();
        let mut repeated: HashMap<usize, Whereabouts> = HashMap::new();
        let (admitted, ticket, targets, left_out) = self.durable.with(|core| {
            let left_out: Vec<_> = new.iter_mut().map(|event| leave_out(core, event, &gone)).collect();
            let unchosen =
                |event: &NewEvent| event.choices.as_ref().map_or(0, |choices| choices.unchosen.len());
            let letters: Vec<_> =
                new.iter().zip(&planned).map(|(event, plan)| letters_of(forwarding, event, plan)).collect();
            let targets: Vec<(SmallVec<[BridgeId; 4]>, bool, usize)> = new
                .iter()
                .zip(&letters)
                .map(|(event, letters)| (goes_to(event, letters), event.local, unchosen(event)))
                .collect();
            let (admitted, ticket) = core.accept(new, wall);
            let fresh = admitted.iter().zip(&targets).zip(planned.iter().zip(&lives)).enumerate();
            for (at, ((one, (remote, local, unchosen)), (plan, expires))) in fresh {
                let Some(body) = one.body else {
                    // Of the event as it was taken: what a new one would be for is another matter.
                    let known = core.whereabouts(&one.key, level > AckLevel::Stored);
                    if level > AckLevel::Stored {
                        let (pending, stored) = (&*known.pending, &*known.stored);
                        let before = Before { body: known.body, pending, stored, groups: known.unchosen };
                        waiters.push((at, self.durable.waiters.add(&one.key, before)));
                    }
                    repeated.insert(at, known);
                    continue;
                };
                // In memory before anybody can ask for it.
                let stored = Stored {
                    key: one.key.clone(),
                    topic: plan.topic.clone(),
                    event: plan.event.clone(),
                    expires: *expires,
                    publisher: Some(Arc::clone(&principal.0)),
                    judged: Some(generation.number),
                    forms: Some((generation.number, plan.variants.to_vec())),
                };
                if !remote.is_empty() || *local || *unchosen > 0 {
                    lock(&self.durable.cache).insert(body, Arc::new(stored));
                }
                if level > AckLevel::Stored {
                    let stored = if *local { std::slice::from_ref(&self.parts.own) } else { &[] };
                    let before = Before { body: Some(body), pending: remote, stored, groups: *unchosen };
                    waiters.push((at, self.durable.waiters.add(&one.key, before)));
                }
                for (bridge, _) in &plan.held {
                    core.hold(body, forwarding.bridge(*bridge).0, std::time::Instant::now());
                }
                for (bridge, reason) in left_out.get(at).into_iter().flatten() {
                    self.parts.metrics.on_left_out(reason.name());
                    // A removed bridge is one without interest, whatever a neighbour still says.
                    if *reason != LeftOut::Removed {
                        core.leave_out(body, bridge.clone(), *reason);
                    }
                }
                for (bridge, by) in letters.get(at).into_iter().flatten() {
                    core.dead_letter(body, bridge, by, std::time::Instant::now());
                }
                for bridge in remote.iter().filter(|bridge| full.contains(bridge)) {
                    let outcome = Outcome::DeadLettered("destination-full".into());
                    core.end_pair(body, bridge, outcome, std::time::Instant::now());
                }
            }
            (admitted, ticket, targets, left_out)
        });
        let results = admitted.into_iter().zip(planned).zip(targets.into_iter().zip(left_out));
        let accepted =
            results.enumerate().map(|(at, ((one, plan), ((remote, local, unchosen), left_out)))| {
                if let Some(known) = repeated.remove(&at) {
                    let own = local.then(|| self.parts.own.clone());
                    return self.as_taken_before(one.key, known, own.into_iter().chain(remote), plan.denied);
                }
                let held = held_of(forwarding, &plan, &remote);
                if let Some(body) = one.body {
                    if !held.is_empty() {
                        self.list_held(generation, forwarding, (body, &one.key), &plan);
                    }
                    if unchosen > 0 {
                        // A member may have come while it was admitted.
                        self.unchosen.changed();
                    }
                    for (bridge, refusal) in &plan.refused {
                        let destination = forwarding.bridge(*bridge).0;
                        self.on_refused_here(
                            &one.key,
                            &plan.topic,
                            &plan.event,
                            destination.as_str(),
                            refusal,
                        );
                    }
                    if !plan.variants.is_empty() || !held.is_empty() {
                        lock(&self.recent).insert(one.key.clone(), plan.topic.clone(), plan.event.clone());
                    }
                }
                let own = local.then(|| self.parts.own.clone());
                let left_out = named_ones(left_out);
                let expired = is_over(&plan);
                if expired {
                    self.parts.metrics.on_dropped(DropReason::Expired, 1);
                }
                Accepted {
                    held,
                    left_out,
                    expired,
                    ..Accepted::new(one.key, own.into_iter().chain(remote).collect(), plan.denied)
                }
            });
        let accepted = accepted.collect();
        self.parts.metrics.on_published(events, unrouted);
        Ok(Admission { accepted, ticket, waiters })
    }
}

impl Inner {
    /// The answer to who says an event again: where it still goes, who has had it of those that are remembered, and whom a
    /// new one would be for. Who had it and is not remembered is among the latter as long as nothing has changed; who
    /// subscribed since is, too, and does not get it.
    fn as_taken_before(
        &self,
        key: EventKey,
        known: Whereabouts,
        now: impl Iterator<Item = BridgeId>,
        mut denied: Vec<Denied>,
    ) -> Accepted {
        let ended = self.ends.of(&key).into_iter();
        let had = ended.filter(|(_, outcome)| *outcome == Outcome::Delivered).map(|(bridge, _)| bridge);
        let mut destinations: Vec<BridgeId> =
            known.pending.into_iter().chain(known.stored).chain(had).collect();
        // What has been sent is not denied by a rule of today.
        denied.retain(|one| !destinations.contains(&one.destination));
        destinations.extend(now);
        destinations.sort_unstable();
        destinations.dedup();
        Accepted { duplicate: true, ..Accepted::new(key, destinations, denied) }
    }
}

/// Destinations that a rule keeps it from and for which it is kept, with the rule.
fn letters_of(
    forwarding: &Forwarding,
    event: &NewEvent,
    plan: &Planned,
) -> SmallVec<[(BridgeId, String); 1]> {
    let named = plan.letters().map(|(index, refusal)| (forwarding.bridge(index).0, &refusal.by));
    let kept = named.filter(|(bridge, _)| event.destinations.contains(bridge));
    kept.map(|(bridge, by)| (bridge.clone(), by.clone())).collect()
}

/// Its destinations, but for those that it is only kept for.
fn goes_to(event: &NewEvent, letters: &[(BridgeId, String)]) -> SmallVec<[BridgeId; 4]> {
    let is_letter = |bridge: &&BridgeId| letters.iter().any(|(known, _)| known == *bridge);
    event.destinations.iter().filter(|bridge| !is_letter(bridge)).cloned().collect()
}

/// Destinations that it does not go to before a person has decided, as the publisher hears of them.
fn held_of(forwarding: &Forwarding, plan: &Planned, remote: &[BridgeId]) -> Vec<Held> {
    let held = plan.held.iter().map(|(bridge, refusal)| Held {
        destination: forwarding.bridge(*bridge).0.clone(),
        by: refusal.by.clone(),
    });
    held.filter(|held| remote.contains(&held.destination)).collect()
}

/// Consumer groups that wait for a bridge with a member.
fn waiting(plan: &Planned) -> usize {
    plan.choices.as_ref().map_or(0, |choices| choices.unchosen.len())
}

fn new_event(
    own: &BridgeId,
    principal: &Principal,
    forwarding: &Forwarding,
    plan: &Planned,
    topic: TopicDelivery,
    groups: &[u32],
    clock: Reading,
) -> NewEvent {
    let end = end_of_life(&plan.event);
    let over = end.is_some_and(|end| clock.remaining(end).is_zero());
    let plain_here = plan.local || !groups.is_empty();
    let mut choices = plan.choices.clone().filter(|_| !over);
    if let Some(choices) = &mut choices
        && !plain_here
    {
        choices.groups_only.push(own.clone());
    }
    // A dead letter is a pair like others, which ends at once.
    let indices = plan.pending().chain(plan.letters().map(|(index, _)| index)).filter(|_| !over);
    NewEvent {
        producer: plan
            .producer
            .unwrap_or_else(|| producer(&principal.0, plan.event.source(), plan.event.id())),
        lane: lane_of(plan.topic.as_str(), partition(&plan.event)),
        topic: plan.topic.as_str().into(),
        payload: plan.event.encoded().clone(),
        expires: end.unwrap_or(0),
        retain_delivered: topic.retain == Retain::Delivered,
        destinations: indices.map(|index| forwarding.bridge(index).0.clone()).collect(),
        groups: if over { SmallVec::new() } else { groups.iter().chain(&plan.here).copied().collect() },
        local: (plain_here || !plan.here.is_empty()) && !over,
        choices,
        publisher: Some(Arc::clone(&principal.0)),
    }
}

/// Takes the bridges out that get nothing new.
fn leave_out(core: &Core, event: &mut NewEvent, gone: &[BridgeId]) -> SmallVec<[(BridgeId, LeftOut); 1]> {
    let membership = &core.state().membership;
    let mut left_out = SmallVec::new();
    let full = |bridge: &BridgeId| gone.contains(bridge).then_some(LeftOut::Full);
    event.destinations.retain(|bridge| match membership.leaves_out(bridge).or_else(|| full(bridge)) {
        Some(reason) => {
            left_out.push((bridge.clone(), reason));
            false
        }
        None => true,
    });
    if let Some(choices) = event.choices.as_mut().filter(|_| !left_out.is_empty()) {
        // Its groups wait for another bridge.
        let out = |bridge: &BridgeId| left_out.iter().any(|(left, _)| left == bridge);
        let gone: Vec<_> = choices.chosen.extract_if(.., |(bridge, _)| out(bridge)).collect();
        choices.unchosen.extend(gone.into_iter().map(|(_, name)| name));
        choices.groups_only.retain(|bridge| !out(bridge));
    }
    left_out
}

/// Those that the publisher hears of.
pub(super) fn named_ones(left_out: SmallVec<[(BridgeId, LeftOut); 1]>) -> Vec<(BridgeId, LeftOut)> {
    left_out.into_iter().filter(|(_, reason)| *reason != LeftOut::Removed).collect()
}

/// What makes a retry the same event (P4).
pub(super) fn producer(principal: &str, source: &str, id: &str) -> u128 {
    let mut hash = blake3::Hasher::new();
    for part in [principal, source, id] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut half = [0; 16];
    hash.finalize_xof().fill(&mut half);
    u128::from(owner(principal)) << 88 | u128::from_le_bytes(half) >> 40
}

/// The 40 bits of a producer's id that are its principal's; the core counts by them.
pub(super) fn owner(principal: &str) -> u64 {
    let hash = blake3::hash(principal.as_bytes());
    hash.as_bytes().iter().take(5).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

pub(super) fn set_of(destinations: &FrameDestinations) -> DestinationSet {
    let mut set = DestinationSet::default();
    destinations.iter().for_each(|destination| set.insert(destination.bridge));
    set
}

/// What decides the lane beside the topic: `partitionkey`, or else the source.
pub(super) fn partition(event: &Event) -> &str {
    match event.attribute("partitionkey") {
        Some(AttributeValue::String(key)) => key,
        _ => event.source(),
    }
}

/// Its `expirytime`, in milliseconds since 1970; `None` where there is none or it is no time. Never 0, which is none.
pub(super) fn end_of_life(event: &Event) -> Option<u64> {
    let text = event.attribute("expirytime")?.to_text();
    let end = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).ok()?;
    Some(u64::try_from(end.unix_timestamp_nanos() / 1_000_000).unwrap_or(0).max(1))
}
