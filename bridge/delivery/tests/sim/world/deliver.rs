//! From the core to its subscriber and back.

use super::*;

impl World {
    pub(super) fn send_frames(
        &mut self,
        node: usize,
        body: u64,
        to: &[(BridgeId, u64)],
    ) -> Result<(), String> {
        let Some(core) = self.nodes[node].core.as_ref() else { return Ok(()) };
        // Settled since it was handed out.
        let Some(event) = core.state().events.get(&body) else { return Ok(()) };
        let (key, expires) = (event.key.clone(), event.expires);
        let life = self.reading(node).remaining(expires).as_millis() as u64;
        if expires > 0 && life == 0 {
            // Its end is noted at the next look at the clock.
            return Ok(());
        }
        let dies = (expires > 0).then_some(self.now + life);
        let core = self.nodes[node].core.as_ref().ok_or("sent by nobody")?;
        let event = core.state().events.get(&body).ok_or("known")?;
        let (choices, attempts) = (event.choices.clone(), event.attempts);
        let payload = self.nodes[node].disk.bodies.get(&body).ok_or("a body without bytes")?.clone();
        let id = u64::from_le_bytes(payload[..8].try_into().map_err(|_| "payload")?);
        let published = &self.published[&id];
        // Nothing leaves before it is durable (D3): its publisher could have been told.
        if !published.acknowledged && published.waits.is_some_and(|(life, _)| life == self.nodes[node].lives)
        {
            return Err(format!("{id} leaves before its flush"));
        }
        let full = |(bridge, _): &&(BridgeId, u64)| {
            self.nodes[node].core.as_ref().is_some_and(|core| core.is_full(bridge))
        };
        if let Some((bridge, _)) = to.iter().find(full) {
            return Err(format!("{id} is sent to {bridge}, which has said that it is full"));
        }
        for (bridge, prev) in to {
            let to = self.node_of(bridge);
            if self.holds_back(node, body, bridge)? {
                let life = self.nodes[node].lives;
                let ms = self.rng.random_range(100..6_000);
                self.at(ms, Step::LetGo { node, life, body, to });
                continue;
            }
            let core = self.nodes[node].core.as_ref().ok_or("sent by nobody")?;
            let after = core.follows(body, bridge).unwrap_or(*prev);
            self.send(
                node,
                to,
                Packet::Frame {
                    key: key.clone(),
                    prev: *prev,
                    after,
                    payload: payload.clone(),
                    dies,
                    group: choices.as_ref().is_some_and(|c| c.groups_at(bridge).next().is_some()),
                    alone: choices.as_ref().is_some_and(|c| c.groups_only.contains(bridge)),
                    attempts,
                },
            );
        }
        Ok(())
    }

    /// Whether somebody keeps this pair back now; each time anew, as after a restart.
    fn holds_back(&mut self, node: usize, body: u64, bridge: &BridgeId) -> Result<bool, String> {
        if self.faults.holds == 0 || self.rng.random_range(0..100) >= self.faults.holds {
            return Ok(false);
        }
        let now = self.instant();
        let core = self.nodes[node].core.as_mut().ok_or("held by nobody")?;
        // What has settled or is being ended since it was handed out need not be sent either.
        self.report.held += u64::from(core.hold(body, bridge, now));
        Ok(true)
    }

    pub(super) fn let_go(&mut self, node: usize, life: u64, body: u64, to: usize) -> Result<(), String> {
        let (now, bridge) = (self.instant(), self.nodes[to].id.clone());
        if self.nodes[node].lives == life
            && let Some(core) = self.nodes[node].core.as_mut()
        {
            core.let_go(body, &bridge, now);
            self.drain(node)?;
        }
        Ok(())
    }

    pub(super) fn let_all_go(&mut self) -> Result<(), String> {
        let now = self.instant();
        for node in 0..self.nodes.len() {
            if let Some(core) = self.nodes[node].core.as_mut() {
                core.let_all_go(now);
            }
            self.drain(node)?;
        }
        Ok(())
    }

    pub(super) fn ready(&mut self, node: usize, body: u64, out_of_order: bool) -> Result<(), String> {
        let core = self.nodes[node].core.as_mut().ok_or("ready without a process")?;
        core.on_offered(body, 0);
        self.report.out_of_order += u64::from(out_of_order);
        // In that very moment behind those that have waited.
        match self.nodes[node].back_at.checked_sub(self.now) {
            Some(ms) => {
                let life = self.nodes[node].lives;
                self.at(ms, Step::Offer { node, life, body, out_of_order });
                Ok(())
            }
            None => self.offer(node, body, out_of_order),
        }
    }

    pub(super) fn offer_late(
        &mut self,
        node: usize,
        life: u64,
        body: u64,
        out_of_order: bool,
    ) -> Result<(), String> {
        let Some(core) = self.nodes[node].core.as_ref().filter(|_| self.nodes[node].lives == life) else {
            return Ok(());
        };
        if core.state().events.get(&body).is_none_or(|event| event.open_groups().next().is_none()) {
            self.report.cut_short += 1;
            return Ok(());
        }
        self.offer(node, body, out_of_order)
    }

    fn offer(&mut self, node: usize, body: u64, out_of_order: bool) -> Result<(), String> {
        let group = self.nodes[node].group;
        let core = self.nodes[node].core.as_ref().ok_or("offered by nobody")?;
        let Some(event) = core.state().events.get(&body) else { return Ok(()) };
        if event.open_groups().next().is_none() {
            return Ok(());
        }
        let plain = event.open_groups().any(|id| Some(id) == group);
        let key = event.key.clone();
        let payload = self.nodes[node].disk.bodies.get(&body).ok_or("an offer without bytes")?;
        let id = u64::from_le_bytes(payload[..8].try_into().map_err(|_| "payload")?);
        self.offer_to_member(node, body, id)?;
        if !plain {
            return Ok(());
        }
        let target = &mut self.nodes[node];
        if target.told.contains(&key.to_string()) {
            return Err(format!("{id} is offered again after its origin has said that it was delivered"));
        }
        if target.offered.insert(body, id).is_some() {
            return Err(format!("{id} is offered twice in one life"));
        }
        let again = self.resumed.may_repeat(id);
        self.report.repeated += u64::from(again && target.subscriber.seen.contains_key(&id));
        if target.subscriber.settled.contains(&id) && !again {
            return Err(format!("{id} is offered after its acknowledgement was durable"));
        }
        let seen = target.subscriber.seen.entry(id).or_insert_with(|| (key.to_string(), 0));
        if seen.0 != key.to_string() && !again {
            return Err(format!("{id} came as {} and as {key}", seen.0));
        }
        seen.1 += 1;
        if seen.1 == 1 {
            let last = target.last_offered.entry((key.run, key.lane)).or_default();
            if key.seq < *last && !out_of_order {
                return Err(format!("{key} after {last}, unmarked"));
            }
            *last = key.seq.max(*last);
        }
        self.report.deliveries += 1;
        let life = self.nodes[node].lives;
        let ms = self.rng.random_range(1..200);
        self.at(ms, Step::Acknowledge { node, life, body });
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, node: usize, life: u64, body: u64) -> Result<(), String> {
        if self.nodes[node].lives != life {
            return Ok(());
        }
        let target = &mut self.nodes[node];
        let (Some(core), Some(group), Some(id)) =
            (target.core.as_mut(), target.group, target.offered.get(&body))
        else {
            return Ok(());
        };
        let id = *id;
        if core.end_group(body, group, GroupEnd::Acknowledged) {
            let mut actions = Vec::new();
            while let Some(action) = core.poll_action() {
                if let Action::Append(append) = &action {
                    target.subscriber.acknowledging.push((append.ticket, id));
                }
                actions.push(action);
            }
            self.apply(node, actions)?;
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, node: usize, actions: Vec<Action>) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Append(append) => {
                    self.nodes[node].disk.append(&append);
                    self.check_expiries(node, &append)?;
                    let ms = self.rng.random_range(1..70);
                    let life = self.nodes[node].lives;
                    self.at(ms, Step::Commit { node, life, ticket: append.ticket });
                }
                Action::Effect(effect) => self.effect(node, effect)?,
                other => return Err(format!("an acknowledgement made {other:?}")),
            }
        }
        Ok(())
    }
}
