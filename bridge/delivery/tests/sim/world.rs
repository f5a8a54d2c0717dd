//! Time, network, faults and the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{
    Action, Alarm, Arrival, Arrived, Core, Effect, GroupEnd, Message, NewEvent, Outcome,
};
use meshbridge_routing::{BridgeId, EventKey};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smallvec::SmallVec;

use crate::node::Node;

#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Per cent of all packets.
    pub loss: u32,
    /// Per cent of what is no frame, beside it.
    pub message_loss: u32,
    pub repeat: u32,
    pub jitter_ms: u64,
    /// Crashes of any bridge, in a life of the world.
    pub crashes: u32,
    pub partitions: u32,
    /// Disks replaced by blank ones, of bridges that are no origins.
    pub wipes: u32,
    /// Disks replaced by an older copy of themselves, of bridges that are no destinations.
    pub rollbacks: u32,
    /// Crashes after which a batch of taken events cannot be read.
    pub rots: u32,
    /// Times that a bridge has no room for events of others, for a while.
    pub full: u32,
    pub retain: bool,
    /// Per cent of events with a short life.
    pub expiries: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub published: u64,
    pub deliveries: u64,
    pub resent: u64,
    pub packets_lost: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub wipes: u64,
    pub rollbacks: u64,
    pub full: u64,
    pub rots: u64,
    pub out_of_order: u64,
    pub egress_lost: u64,
    pub expired: u64,
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.published += other.published;
        self.deliveries += other.deliveries;
        self.resent += other.resent;
        self.packets_lost += other.packets_lost;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.wipes += other.wipes;
        self.rollbacks += other.rollbacks;
        self.full += other.full;
        self.rots += other.rots;
        self.out_of_order += other.out_of_order;
        self.egress_lost += other.egress_lost;
        self.expired += other.expired;
    }
}

#[derive(Clone, Debug)]
enum Packet {
    Frame { key: EventKey, prev: u64, payload: Vec<u8>, expires: u64 },
    Message(Vec<u8>),
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Arrive { from: usize, to: usize, packet: Packet },
    Commit { node: usize, life: u64, ticket: u64 },
    Acknowledge { node: usize, life: u64, body: u64 },
    Crash,
    Start { node: usize },
    Partition,
    Heal { from: usize, to: usize },
    Wipe,
    Image,
    Rollback,
    Full,
    Rot,
    Room { node: usize },
    Tick,
}

/// By destination and published id.
type Ends = BTreeMap<(usize, u64), Outcome>;

/// A publication and what its publisher was told.
#[derive(Clone, Debug)]
struct Published {
    node: usize,
    producer: u128,
    destinations: Vec<usize>,
    expires: u64,
    /// Waits for this ticket of this life.
    waits: Option<(u64, u64)>,
    acknowledged: bool,
}

#[derive(Debug)]
pub struct World {
    faults: Faults,
    rng: StdRng,
    base: Instant,
    now: u64,
    order: u64,
    steps: BTreeMap<(u64, u64), Step>,
    nodes: Vec<Node>,
    blocked: BTreeSet<(usize, usize)>,
    published: BTreeMap<u64, Published>,
    next_id: u64,
    /// (node, id) that an origin reported as ended other than delivered.
    ended: Ends,
    by_key: BTreeMap<String, u64>,
    nonce: u64,
    image: Option<(crate::node::Disk, Ends)>,
    /// Without room for events of others.
    no_room: BTreeSet<usize>,
    refused_frames: u64,
    report: Report,
}

const QUIET_MS: u64 = 400_000;
const LIFE_MS: u64 = 20_000;

impl World {
    pub fn new(seed: u64, faults: Faults) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(2..5);
        let nodes = (0..count).map(|n| Node::new(&format!("b{n}"), n as u128 + 1)).collect();
        World {
            faults,
            rng,
            base: Instant::now(),
            now: 1_000,
            order: 0,
            steps: BTreeMap::new(),
            nodes,
            blocked: BTreeSet::new(),
            published: BTreeMap::new(),
            next_id: 1,
            ended: BTreeMap::new(),
            by_key: BTreeMap::new(),
            nonce: 0,
            image: None,
            no_room: BTreeSet::new(),
            refused_frames: 0,
            report: Report::default(),
        }
    }

    fn at(&mut self, ms: u64, step: Step) {
        self.order += 1;
        self.steps.insert((self.now + ms, self.order), step);
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    pub fn run(&mut self) -> Result<Report, String> {
        for node in 0..self.nodes.len() {
            self.start(node)?;
        }
        for n in 0..self.rng.random_range(60..200) {
            let ms = self.rng.random_range(0..LIFE_MS);
            self.at(ms, Step::Publish);
            if n % 3 == 0 {
                self.at(ms, Step::Publish);
            }
        }
        for (count, step) in [
            (self.faults.crashes, Step::Crash),
            (self.faults.partitions, Step::Partition),
            (self.faults.wipes, Step::Wipe),
            (self.faults.rollbacks, Step::Image),
            (self.faults.full, Step::Full),
            (self.faults.rots, Step::Rot),
        ] {
            for _ in 0..count {
                let ms = self.rng.random_range(0..LIFE_MS);
                self.at(ms, step.clone());
            }
        }
        self.at(0, Step::Tick);
        let mut healed = false;
        while let Some(((at, _), step)) = self.steps.pop_first() {
            self.now = at;
            if at > LIFE_MS + 1_000 && !healed {
                healed = true;
                self.heal()?;
            }
            if at > LIFE_MS + QUIET_MS {
                break;
            }
            let tick = matches!(step, Step::Tick);
            self.step(step)?;
            // Nothing is under way any more: what the judge sees is the end.
            if healed && tick && self.now % 1_000 < 20 && self.judge().is_ok() {
                return Ok(self.report.clone());
            }
        }
        self.judge()?;
        Ok(self.report.clone())
    }

    fn heal(&mut self) -> Result<(), String> {
        self.faults = Faults { retain: self.faults.retain, ..Faults::default() };
        self.blocked.clear();
        for node in 0..self.nodes.len() {
            self.set_room(node, true)?;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].core.is_none() {
                self.start(node)?;
            }
        }
        self.tell_reachability()
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Publish => self.publish(),
            Step::Arrive { from, to, packet } => self.arrive(from, to, packet),
            Step::Commit { node, life, ticket } => self.commit(node, life, ticket),
            Step::Acknowledge { node, life, body } => self.acknowledge(node, life, body),
            Step::Crash => {
                let node = self.rng.random_range(0..self.nodes.len());
                self.crash(node)
            }
            Step::Start { node } => self.start(node),
            Step::Partition => {
                let (from, to) =
                    (self.rng.random_range(0..self.nodes.len()), self.rng.random_range(0..self.nodes.len()));
                if from == to {
                    return Ok(());
                }
                self.report.partitions += 1;
                let both = self.rng.random_bool(0.5);
                let ms = self.rng.random_range(500..8_000);
                self.blocked.insert((from, to));
                self.at(ms, Step::Heal { from, to });
                if both {
                    self.blocked.insert((to, from));
                    self.at(ms, Step::Heal { from: to, to: from });
                }
                self.tell_reachability()
            }
            Step::Heal { from, to } => {
                self.blocked.remove(&(from, to));
                self.tell_reachability()
            }
            Step::Wipe => self.wipe(),
            Step::Image => {
                let image = (self.nodes[0].disk.clone(), self.ended.clone());
                self.image = Some(image).filter(|_| self.nodes[0].core.is_some());
                let ms = self.rng.random_range(200..4_000);
                self.at(ms, Step::Rollback);
                Ok(())
            }
            Step::Rollback => self.roll_back(),
            Step::Rot => {
                let node = self.rng.random_range(0..self.nodes.len());
                if self.nodes[node].core.is_some() && self.nodes[node].rot() {
                    self.report.rots += 1;
                    self.crash(node)?;
                }
                Ok(())
            }
            Step::Full => {
                let node = self.rng.random_range(0..self.nodes.len());
                self.report.full += 1;
                self.set_room(node, false)?;
                let ms = self.rng.random_range(200..5_000);
                self.at(ms, Step::Room { node });
                Ok(())
            }
            Step::Room { node } => self.set_room(node, true),
            Step::Tick => self.tick(),
        }
    }

    fn tick(&mut self) -> Result<(), String> {
        self.at(20, Step::Tick);
        let now = self.instant();
        for node in 0..self.nodes.len() {
            let wall = self.now;
            let Some(core) = self.nodes[node].core.as_mut() else { continue };
            core.expire(wall, now);
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
            self.drain(node)?;
        }
        self.retry_unanswered()
    }

    /// Publishers whose bridge died before it answered ask again with the same id.
    fn retry_unanswered(&mut self) -> Result<(), String> {
        let open: Vec<u64> = self
            .published
            .iter()
            .filter(|(_, p)| !p.acknowledged && p.waits.is_none() && self.nodes[p.node].core.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.submit(id)?;
        }
        Ok(())
    }

    fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].core.is_some() {
            return Ok(());
        }
        self.nonce += 1;
        let nonce = self.nonce * 7919;
        let checkpoint = self.rng.random_bool(0.5);
        let now = self.instant();
        for effect in self.nodes[node].start(nonce, checkpoint, now) {
            self.effect(node, effect)?;
        }
        if self.nodes[node].group.is_none() {
            let core = self.nodes[node].core.as_mut().ok_or("just started")?;
            let group = core.subscribe("all", "test", vec!["**".into()], "");
            self.nodes[node].group = Some(group);
        }
        self.drain(node)?;
        self.tell_reachability()
    }

    fn crash(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].core.is_none() {
            return Ok(());
        }
        self.report.crashes += 1;
        let keep = self.rng.random_range(0..4);
        self.nodes[node].crash(keep);
        let life = self.nodes[node].lives;
        for published in self.published.values_mut().filter(|p| p.node == node) {
            if published.waits.is_some_and(|(at, _)| at == life) {
                published.waits = None;
            }
        }
        let ms = self.rng.random_range(10..5_000);
        self.at(ms, Step::Start { node });
        self.tell_reachability()
    }

    /// A bridge that publishes nothing (the last) comes back with a blank disk.
    fn wipe(&mut self) -> Result<(), String> {
        let node = self.nodes.len() - 1;
        if self.nodes[node].core.is_none() {
            return Ok(());
        }
        self.report.wipes += 1;
        self.nonce += 1;
        let epoch = self.nodes[node].disk.epoch;
        let fresh = Node::new(&format!("b{node}"), u128::from(self.nonce) << 32);
        let old = std::mem::replace(&mut self.nodes[node], fresh);
        self.nodes[node].disk.epoch = epoch;
        self.nodes[node].lives = old.lives;
        self.nodes[node].subscriber = old.subscriber;
        // It may get again what the disk knew to be acknowledged.
        self.nodes[node].subscriber.settled.clear();
        let ms = self.rng.random_range(10..2_000);
        self.at(ms, Step::Start { node });
        self.tell_reachability()
    }

    /// The first bridge, which is nobody's destination, goes on from an older copy of its disk.
    fn roll_back(&mut self) -> Result<(), String> {
        let Some((mut image, ended)) = self.image.take() else { return Ok(()) };
        if self.nodes[0].core.is_none() {
            return Ok(());
        }
        self.report.rollbacks += 1;
        self.nodes[0].crash(0);
        image.batches.truncate(image.durable);
        // What was accepted after the image is forgotten, also by its publishers.
        let known = image.fold(&self.nodes[0].id).0.producers;
        self.published.retain(|id, published| {
            published.node != 0 || !published.acknowledged || known.get(u128::from(*id)).is_some()
        });
        // What it was told after the image it is told again, or both ends have forgotten it.
        let own =
            |published: &BTreeMap<u64, Published>, id: &u64| published.get(id).is_none_or(|p| p.node == 0);
        self.ended.retain(|(_, id), _| !own(&self.published, id));
        self.ended.extend(ended.into_iter().filter(|((_, id), _)| own(&self.published, id)));
        self.nodes[0].disk = image;
        for published in self.published.values_mut().filter(|p| p.node == 0) {
            published.waits = None;
        }
        let ms = self.rng.random_range(10..2_000);
        self.at(ms, Step::Start { node: 0 });
        self.tell_reachability()
    }

    fn set_room(&mut self, node: usize, room: bool) -> Result<(), String> {
        if room {
            self.no_room.remove(&node);
        } else {
            self.no_room.insert(node);
        }
        let now = self.instant();
        if let Some(core) = self.nodes[node].core.as_mut() {
            core.set_credit(if room { u64::MAX } else { 0 }, now);
        }
        self.drain(node)
    }

    fn tell_reachability(&mut self) -> Result<(), String> {
        let now = self.instant();
        for a in 0..self.nodes.len() {
            for b in 0..self.nodes.len() {
                if a == b {
                    continue;
                }
                let up = self.nodes[b].core.is_some()
                    && !self.blocked.contains(&(a, b))
                    && !self.blocked.contains(&(b, a));
                let other = self.nodes[b].id.clone();
                if let Some(core) = self.nodes[a].core.as_mut() {
                    core.on_reachable(&other, up, now);
                }
            }
            self.drain(a)?;
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), String> {
        let wiping = self.faults.wipes > 0;
        let origins = if wiping { self.nodes.len() - 1 } else { self.nodes.len() };
        let node = self.rng.random_range(0..origins.max(1));
        let rolling = self.faults.rollbacks > 0;
        let mut destinations: Vec<usize> =
            (usize::from(rolling)..self.nodes.len()).filter(|_| self.rng.random_bool(0.6)).collect();
        if wiping && !destinations.contains(&(self.nodes.len() - 1)) {
            destinations.push(self.nodes.len() - 1);
        }
        let id = self.next_id;
        self.next_id += 1;
        let expires = if self.rng.random_range(0..100) < self.faults.expiries {
            self.now + self.rng.random_range(1..3_000)
        } else {
            0
        };
        let producer = u128::from(id);
        let published = Published { node, producer, destinations, expires, waits: None, acknowledged: false };
        self.published.insert(id, published);
        self.report.published += 1;
        if self.nodes[node].core.is_some() { self.submit(id) } else { Ok(()) }
    }

    fn submit(&mut self, id: u64) -> Result<(), String> {
        let published = self.published[&id].clone();
        let node = published.node;
        let own = |n: &&usize| **n == node;
        let others = published.destinations.iter().filter(|n| **n != node);
        let destinations: SmallVec<[BridgeId; 4]> = others.map(|n| self.nodes[*n].id.clone()).collect();
        let local = published.destinations.iter().any(|n| own(&n));
        let group = self.nodes[node].group.ok_or("no subscription")?;
        let event = NewEvent {
            producer: published.producer,
            lane: (id % 3) as u8,
            topic: "t".into(),
            payload: Bytes::copy_from_slice(&id.to_le_bytes()),
            expires: published.expires,
            retain_delivered: self.faults.retain,
            destinations,
            groups: if local { SmallVec::from_slice(&[group]) } else { SmallVec::new() },
            local,
        };
        let wall = self.now;
        let life = self.nodes[node].lives;
        let core = self.nodes[node].core.as_mut().ok_or("publisher's bridge is down")?;
        let (admitted, ticket) = core.accept(vec![event], wall);
        let key = admitted[0].key.to_string();
        if let Some(other) = self.by_key.insert(key.clone(), id)
            && other != id
        {
            // A key that no one was told of may be given again by a later run only, so never.
            return Err(format!("{key} was given to {other} and to {id}"));
        }
        let committed = core.committed();
        let entry = self.published.get_mut(&id).ok_or("known")?;
        if ticket <= committed {
            entry.acknowledged = true;
        } else {
            entry.waits = Some((life, ticket));
        }
        self.drain(node)
    }

    fn commit(&mut self, node: usize, life: u64, ticket: u64) -> Result<(), String> {
        if self.nodes[node].lives != life || self.nodes[node].core.is_none() {
            return Ok(());
        }
        let now = self.instant();
        let durable = self.nodes[node].before + ticket as usize;
        self.nodes[node].disk.durable = self.nodes[node].disk.durable.max(durable);
        let subscriber = &mut self.nodes[node].subscriber;
        let done: Vec<u64> =
            subscriber.acknowledging.iter().filter(|(at, _)| *at <= ticket).map(|(_, id)| *id).collect();
        subscriber.acknowledging.retain(|(at, _)| *at > ticket);
        subscriber.settled.extend(done);
        for published in self.published.values_mut().filter(|p| p.node == node) {
            if published.waits.is_some_and(|(of, at)| of == life && at <= ticket) {
                published.waits = None;
                published.acknowledged = true;
            }
        }
        if let Some(core) = self.nodes[node].core.as_mut() {
            core.on_committed(ticket, now);
        }
        self.drain(node)
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), String> {
        if self.blocked.contains(&(from, to)) {
            self.report.packets_lost += 1;
            return Ok(());
        }
        let (now, wall) = (self.instant(), self.now);
        let sender = self.nodes[from].id.clone();
        let group = self.nodes[to].group;
        let Some(core) = self.nodes[to].core.as_mut() else { return Ok(()) };
        match packet {
            Packet::Frame { key, prev, payload, expires } => {
                if self.no_room.contains(&to) {
                    // As a bridge does that is full: not taken, and the origin hears of it by its credit.
                    self.report.packets_lost += 1;
                    self.refused_frames += 1;
                } else if core.classify(&key, now) == Arrival::New {
                    let groups = group.into_iter().collect();
                    let payload = Bytes::from(payload);
                    core.take(Arrived { key, prev, topic: "t".into(), payload, expires, groups }, wall);
                } else {
                    self.report.resent += 1;
                }
            }
            Packet::Message(bytes) => {
                let message = Message::decode(&bytes).map_err(|problem| format!("message: {problem}"))?;
                core.on_message(&sender, message, now);
            }
        }
        self.drain(to)
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let is_message = matches!(packet, Packet::Message(_));
        let loss = self.faults.loss + if is_message { self.faults.message_loss } else { 0 };
        let copies = if self.rng.random_range(0..100) < self.faults.repeat { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.random_range(0..100) < loss {
                self.report.packets_lost += 1;
                continue;
            }
            let ms = 5 + if self.faults.jitter_ms > 0 {
                self.rng.random_range(0..self.faults.jitter_ms)
            } else {
                0
            };
            self.at(ms, Step::Arrive { from, to, packet: packet.clone() });
        }
    }

    fn node_of(&self, id: &BridgeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).expect("a bridge of this world")
    }

    fn drain(&mut self, node: usize) -> Result<(), String> {
        while let Some(action) = self.nodes[node].core.as_mut().and_then(Core::poll_action) {
            match action {
                Action::Append(append) => {
                    self.nodes[node].disk.append(&append);
                    let ms = self.rng.random_range(1..70);
                    let life = self.nodes[node].lives;
                    self.at(ms, Step::Commit { node, life, ticket: append.ticket });
                }
                Action::Send { body, to } => self.send_frames(node, body, &to)?,
                Action::Message { to, message } => {
                    let to = self.node_of(&to);
                    self.send(node, to, Packet::Message(message.encode()));
                }
                Action::Ready { body, out_of_order } => self.ready(node, body, out_of_order)?,
                Action::Effect(effect) => self.effect(node, effect)?,
                Action::Alarm(Alarm::EgressLost { events, .. }) => self.report.egress_lost += events,
                Action::Alarm(Alarm::OtherDisk { .. }) => {}
                Action::Alarm(Alarm::OriginBehind { .. }) if self.report.rollbacks > 0 => {}
                Action::Alarm(alarm) => return Err(format!("{alarm:?}")),
            }
        }
        Ok(())
    }

    fn send_frames(&mut self, node: usize, body: u64, to: &[(BridgeId, u64)]) -> Result<(), String> {
        let Some(core) = self.nodes[node].core.as_ref() else { return Ok(()) };
        // Settled since it was handed out.
        let Some(event) = core.state().events.get(&body) else { return Ok(()) };
        let (key, expires) = (event.key.clone(), event.expires);
        let payload = self.nodes[node].disk.bodies.get(&body).ok_or("a body without bytes")?.clone();
        let id = u64::from_le_bytes(payload[..8].try_into().map_err(|_| "payload")?);
        let published = &self.published[&id];
        // Nothing leaves before it is durable (D3): its publisher could have been told.
        if !published.acknowledged && published.waits.is_some_and(|(life, _)| life == self.nodes[node].lives)
        {
            return Err(format!("{id} leaves before its flush"));
        }
        for (bridge, prev) in to {
            let to = self.node_of(bridge);
            self.send(
                node,
                to,
                Packet::Frame { key: key.clone(), prev: *prev, payload: payload.clone(), expires },
            );
        }
        Ok(())
    }

    fn ready(&mut self, node: usize, body: u64, out_of_order: bool) -> Result<(), String> {
        let core = self.nodes[node].core.as_mut().ok_or("ready without a process")?;
        core.on_offered(body, 0);
        self.report.out_of_order += u64::from(out_of_order);
        let Some(event) = core.state().events.get(&body) else { return Ok(()) };
        if event.open_groups().next().is_none() {
            return Ok(());
        }
        let key = event.key.clone();
        let payload = self.nodes[node].disk.bodies.get(&body).ok_or("an offer without bytes")?;
        let id = u64::from_le_bytes(payload[..8].try_into().map_err(|_| "payload")?);
        let target = &mut self.nodes[node];
        if target.offered.insert(body, id).is_some() {
            return Err(format!("{id} is offered twice in one life"));
        }
        if target.subscriber.settled.contains(&id) {
            return Err(format!("{id} is offered after its acknowledgement was durable"));
        }
        let seen = target.subscriber.seen.entry(id).or_insert_with(|| (key.to_string(), 0));
        if seen.0 != key.to_string() {
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

    fn acknowledge(&mut self, node: usize, life: u64, body: u64) -> Result<(), String> {
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

    fn apply(&mut self, node: usize, actions: Vec<Action>) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Append(append) => {
                    self.nodes[node].disk.append(&append);
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

    fn effect(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        let Effect::Ended { key, destination, outcome } = effect else { return Ok(()) };
        if key.origin != self.nodes[node].id {
            return Ok(());
        }
        let id = *self.by_key.get(&key.to_string()).ok_or("an end of an unknown event")?;
        let at = self.node_of(&destination);
        if let Some(before) = self.ended.insert((at, id), outcome.clone())
            && before != outcome
        {
            return Err(format!("{id} at b{at} ended as {before:?} and as {outcome:?}"));
        }
        self.report.expired += u64::from(outcome == Outcome::Expired);
        Ok(())
    }

    /// After everything is quiet.
    fn judge(&mut self) -> Result<(), String> {
        if self.refused_frames > 40 + 12 * self.report.full {
            return Err(format!("{} frames to bridges without room", self.refused_frames));
        }
        for (id, published) in &self.published {
            if !published.acknowledged {
                return Err(format!("{id} was never acknowledged"));
            }
            for to in &published.destinations {
                let ended = self.ended.get(&(*to, *id));
                let seen = self.nodes[*to].subscriber.seen.contains_key(id);
                match ended {
                    Some(Outcome::Delivered) if seen => {}
                    Some(Outcome::Delivered) => {
                        return Err(format!("{id} counts as delivered at b{to} and was not"));
                    }
                    // What its subscriber had acknowledged cannot have expired (D7).
                    Some(Outcome::Expired)
                        if published.expires > 0 && !self.nodes[*to].subscriber.settled.contains(id) => {}
                    Some(Outcome::DeadLettered(why))
                        if &**why == "egress-lost"
                            && !self.faults.retain
                            && self.report.wipes + self.report.rots > 0 => {}
                    Some(Outcome::DeadLettered(why))
                        if &**why == "outcome-forgotten" && self.report.rollbacks > 0 && seen => {}
                    Some(other) => return Err(format!("{id} ended at b{to} as {other:?}")),
                    None => return Err(format!("{id} has no end at b{to} (seen: {seen})")),
                }
            }
        }
        for node in &self.nodes {
            let state = node.core.as_ref().ok_or("a bridge is down at the end")?.state();
            for (bridge, destination) in &state.destinations {
                let account = destination.account;
                if account.sent != account.ended() || destination.open() != 0 {
                    return Err(format!("{} to {bridge}: {account:?}, {} open", node.id, destination.open()));
                }
            }
            if !state.events.is_empty() {
                return Err(format!("{} still keeps {:?}", node.id, state.events.iter().next()));
            }
            if let Some((origin, source)) =
                state.sources.iter().find(|(_, source)| !source.outcomes.is_empty())
            {
                return Err(format!("{} still has {} outcomes for {origin}", node.id, source.outcomes.len()));
            }
        }
        Ok(())
    }
}
