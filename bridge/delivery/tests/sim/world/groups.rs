//! One consumer group for the whole world: a member behind some bridges, and the choices that daemons would make.

use meshbridge_delivery::{Choice, Choices, Logged};
use meshbridge_routing::GroupName;

use super::*;

/// A daemon that found no member looks again after this.
const AGAIN_MS: u64 = 300;

#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// Bridges with a connected member.
    live: BTreeSet<usize>,
    /// Published id → the bridge and key of each offer to a member.
    offers: BTreeMap<u64, Vec<(usize, String)>>,
    /// Acknowledged by a member, and that is durable.
    settled: BTreeSet<u64>,
    /// Acknowledged, durable or not.
    acknowledged: BTreeSet<u64>,
    /// By node, life and ticket: ids whose acknowledgement that batch holds.
    acknowledging: Vec<(usize, u64, u64, u64)>,
    /// Offers of a body at a node.
    tries: BTreeMap<(usize, u64), u32>,
    /// Keys that continue another.
    moved: BTreeSet<String>,
}

pub(super) fn name() -> GroupName {
    GroupName::parse("workers@test").expect("a name")
}

impl Groups {
    pub(super) fn is_live(&self, node: usize) -> bool {
        self.live.contains(&node)
    }
}

impl World {
    pub(super) fn start_members(&mut self) {
        if self.faults.groups > 0 {
            self.groups.live = (0..self.nodes.len()).collect();
            for _ in 0..self.faults.members {
                let ms = self.rng.random_range(0..LIFE_MS);
                self.at(ms, Step::Member);
            }
        }
    }

    /// A member comes or goes.
    pub(super) fn member(&mut self) -> Result<(), String> {
        let node = self.rng.random_range(0..self.nodes.len());
        if self.groups.live.insert(node) {
            return Ok(());
        }
        self.groups.live.remove(&node);
        self.report.members_left += 1;
        let (consumer, Some(core)) = (self.nodes[node].consumer, self.nodes[node].core.as_mut()) else {
            return Ok(());
        };
        let Some(group) = consumer else { return Ok(()) };
        let events = core.state().events.iter();
        let held = events.filter(|(_, event)| event.open_groups().any(|id| id == group));
        let bodies: Vec<u64> = held.map(|(body, _)| body).collect();
        for body in bodies {
            let tries = self.groups.tries.get(&(node, body)).copied().unwrap_or(0);
            core.return_group(body, group, &name(), tries);
        }
        self.drain(node)
    }

    pub(super) fn all_members_come(&mut self) {
        self.groups.live = (0..self.nodes.len()).collect();
    }

    /// As a daemon does by what it has heard, which may be old.
    fn choice(&mut self, node: usize) -> Option<Choice> {
        let heard = self.rng.random_range(0..100) >= 15;
        let reachable = |other: &usize| {
            *other == node
                || self.nodes[*other].core.is_some()
                    && !self.blocked.contains(&(node, *other))
                    && !self.blocked.contains(&(*other, node))
        };
        let candidates: Vec<usize> = if heard {
            self.groups.live.iter().copied().filter(reachable).collect()
        } else {
            (0..self.nodes.len()).collect()
        };
        let at = if candidates.contains(&node) && self.rng.random_bool(0.3) {
            node
        } else {
            *candidates.get(self.rng.random_range(0..candidates.len().max(1)))?
        };
        if at != node {
            return Some(Choice::Bridge(self.nodes[at].id.clone()));
        }
        self.nodes[node].consumer.map(Choice::Here)
    }

    /// Adds the group to a publication.
    pub(super) fn add_group(&mut self, node: usize, event: &mut NewEvent) {
        let mut choices = Choices::default();
        let own = self.nodes[node].id.clone();
        match self.choice(node) {
            None => choices.unchosen.push(name()),
            Some(Choice::Here(group)) => {
                if !event.local {
                    choices.groups_only.push(own.clone());
                }
                choices.chosen.push((own, name()));
                event.groups.push(group);
                event.local = true;
            }
            Some(Choice::Bridge(bridge)) => {
                if !event.destinations.contains(&bridge) {
                    event.destinations.push(bridge.clone());
                    choices.groups_only.push(bridge.clone());
                }
                choices.chosen.push((bridge, name()));
            }
        }
        event.choices = Some(Box::new(choices));
    }

    pub(super) fn unchosen(&mut self, node: usize, body: u64) {
        let life = self.nodes[node].lives;
        let ms = self.rng.random_range(1..AGAIN_MS);
        self.at(ms, Step::Choose { node, life, body });
    }

    pub(super) fn choose(&mut self, node: usize, life: u64, body: u64) -> Result<(), String> {
        if self.nodes[node].lives != life || self.nodes[node].core.is_none() {
            return Ok(());
        }
        let Some(choice) = self.choice(node) else {
            self.unchosen(node, body);
            return Ok(());
        };
        let payload = self.nodes[node].disk.bodies.get(&body).ok_or("a body without bytes")?.clone();
        let id = u64::from_le_bytes(payload[..8].try_into().map_err(|_| "payload")?);
        let wall = self.reading(node).logged();
        let logged = Logged { topic: "t", publisher: None, payload: payload.into() };
        let Some(core) = self.nodes[node].core.as_mut() else { return Ok(()) };
        if let Some(admitted) = core.choose(body, &name(), choice, logged, wall) {
            self.report.moved += 1;
            self.by_key.insert(admitted.key.to_string(), id);
            self.groups.moved.insert(admitted.key.to_string());
        }
        self.drain(node)
    }

    /// What waits for a bridge that is out of reach, and never left for it, goes elsewhere.
    pub(super) fn take_back(&mut self, node: usize, bridge: usize) -> Result<(), String> {
        let other = self.nodes[bridge].id.clone();
        if let Some(core) = self.nodes[node].core.as_mut() {
            for (body, name) in core.unsent_groups(&other) {
                self.report.taken_back += u64::from(core.take_group_back(body, &other, &name));
            }
        }
        self.drain(node)
    }

    pub(super) fn offer_to_member(&mut self, node: usize, body: u64, id: u64) -> Result<(), String> {
        let life = self.nodes[node].lives;
        let Some(group) = self.nodes[node].consumer else { return Ok(()) };
        let core = self.nodes[node].core.as_mut().ok_or("ready without a process")?;
        let Some(event) = core.state().events.get(&body) else { return Ok(()) };
        if !event.open_groups().any(|id| id == group) {
            return Ok(());
        }
        if !self.groups.live.contains(&node) {
            // Perhaps offered before the bridge started again.
            let tries = self.groups.tries.get(&(node, body)).copied().unwrap_or(0);
            core.return_group(body, group, &name(), tries);
            return Ok(());
        }
        let again = event.attempts > 0 || core.state().starts > event.start;
        let key = event.key.to_string();
        if self.groups.settled.contains(&id) {
            return Err(format!("{id} is offered to a member after another had durably ended it"));
        }
        let offers = self.groups.offers.entry(id).or_default();
        if let Some((at, former)) = offers.iter().find(|(_, former)| *former != key)
            && !again
        {
            return Err(format!("{id} was offered at b{at} as {former}, and unmarked at b{node} as {key}"));
        }
        offers.push((node, key));
        *self.groups.tries.entry((node, body)).or_default() += 1;
        let ms = self.rng.random_range(1..400);
        self.at(ms, Step::MemberAcknowledges { node, life, body, id });
        Ok(())
    }

    pub(super) fn member_acknowledges(
        &mut self,
        node: usize,
        life: u64,
        body: u64,
        id: u64,
    ) -> Result<(), String> {
        if self.nodes[node].lives != life || !self.groups.live.contains(&node) {
            return Ok(());
        }
        let (consumer, Some(core)) = (self.nodes[node].consumer, self.nodes[node].core.as_mut()) else {
            return Ok(());
        };
        let Some(group) = consumer else { return Ok(()) };
        if core.end_group(body, group, GroupEnd::Acknowledged) {
            let ticket = core.last_ticket() + 1;
            self.groups.acknowledged.insert(id);
            self.groups.acknowledging.push((node, life, ticket, id));
        }
        self.drain(node)
    }

    pub(super) fn members_commit(&mut self, node: usize, life: u64, ticket: u64) {
        let done = |entry: &(usize, u64, u64, u64)| (entry.0, entry.1) == (node, life) && entry.2 <= ticket;
        self.groups.settled.extend(self.groups.acknowledging.iter().filter(|e| done(e)).map(|e| e.3));
        self.groups.acknowledging.retain(|entry| !done(entry));
    }

    pub(super) fn is_moved(&self, key: &EventKey) -> bool {
        self.groups.moved.contains(&key.to_string())
    }

    pub(super) fn judge_group(&self, id: u64, published: &Published) -> Result<(), String> {
        let offers = self.groups.offers.get(&id);
        if published.grouped && published.expires == 0 && !self.groups.acknowledged.contains(&id) {
            return Err(format!("{id} was acknowledged by no member of its group (offers: {offers:?})"));
        }
        Ok(())
    }
}
