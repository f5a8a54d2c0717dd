//! Time, network, faults and the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{
    Action, Alarm, Arrival, Arrived, Core, Effect, GroupEnd, Message, NewEvent, Outcome, State,
};
use meshbridge_routing::{BridgeId, EventKey, Run};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smallvec::SmallVec;

mod clocks;
mod deliver;
mod faults;
mod groups;
mod judge;
mod net;
mod resume;
mod scenario;

use crate::node::Node;
use scenario::LIFE_MS;
pub use scenario::{Faults, Report};

#[derive(Clone, Debug)]
enum Packet {
    /// `group`: chosen for it; `alone`: for nobody else there.
    Frame {
        key: EventKey,
        prev: u64,
        /// It may be offered after this one.
        after: u64,
        payload: Vec<u8>,
        /// When its life is over, by the time of the world.
        dies: Option<u64>,
        group: bool,
        alone: bool,
        attempts: u32,
    },
    Message(Vec<u8>),
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Arrive {
        from: usize,
        to: usize,
        packet: Packet,
    },
    Commit {
        node: usize,
        life: u64,
        ticket: u64,
    },
    /// To a subscriber that was away.
    Offer {
        node: usize,
        life: u64,
        body: u64,
        out_of_order: bool,
    },
    Acknowledge {
        node: usize,
        life: u64,
        body: u64,
    },
    /// Somebody has decided about what was kept back.
    LetGo {
        node: usize,
        life: u64,
        body: u64,
        to: usize,
    },
    Crash,
    Start {
        node: usize,
    },
    Partition,
    Heal {
        from: usize,
        to: usize,
    },
    Wipe,
    Image,
    Rollback,
    /// Of the origin's memory, and of its disk.
    Snapshot,
    Stop,
    Resume,
    /// The run that the core has asked for.
    BeginRun {
        node: usize,
        life: u64,
    },
    /// Of the destination's disk.
    Copy,
    Older,
    /// The federation tells a bridge of its own higher epoch.
    Jump {
        node: usize,
        life: u64,
    },
    Full,
    Rot,
    Room {
        node: usize,
    },
    Member,
    Choose {
        node: usize,
        life: u64,
        body: u64,
    },
    TakeBack {
        node: usize,
        bridge: usize,
    },
    MemberAcknowledges {
        node: usize,
        life: u64,
        body: u64,
        id: u64,
    },
    OriginWipe,
    ClockJump,
    ClockBack {
        node: usize,
    },
    Tick,
}

/// By destination and published id.
type Ends = BTreeMap<(usize, u64), Outcome>;
type EndsByKey = BTreeMap<(usize, String), Outcome>;

/// A publication and what its publisher was told.
#[derive(Clone, Debug)]
struct Published {
    node: usize,
    producer: u128,
    destinations: Vec<usize>,
    grouped: bool,
    /// By the clock of its publisher; 0 for never.
    expires: u64,
    /// By the time of the world.
    dies: u64,
    /// Waits for this ticket of this life.
    waits: Option<(u64, u64)>,
    acknowledged: bool,
    /// The last that it was given.
    key: String,
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
    image: Option<(crate::node::Disk, Ends, EndsByKey)>,
    resumed: resume::Resumed,
    /// The last bridge's disk as it was, and what its subscriber had settled.
    /// The highest epoch that each bridge has used.
    epochs: BTreeMap<usize, u64>,
    copy: Option<(crate::node::Disk, BTreeSet<u64>)>,
    /// Without room for events of others.
    no_room: BTreeSet<usize>,
    groups: groups::Groups,
    clocks: Vec<clocks::Clock>,
    /// Pairs of bridge and event that must be seen there though its origin has forgotten it.
    orphans: Vec<(usize, u64)>,
    /// By destination and key.
    ended_keys: EndsByKey,
    report: Report,
}

const QUIET_MS: u64 = 400_000;

impl World {
    pub fn new(seed: u64, faults: Faults) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(2..5);
        let nodes = (0..count).map(|n| Node::new(&format!("b{n}"), n as u128 + 1)).collect();
        let clocks = (0..count).map(|_| clocks::Clock::skewed(&faults, &mut rng)).collect();
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
            resumed: resume::Resumed::default(),
            copy: None,
            epochs: BTreeMap::new(),
            no_room: BTreeSet::new(),
            groups: groups::Groups::default(),
            clocks,
            orphans: Vec::new(),
            ended_keys: BTreeMap::new(),
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
            let ms = self.rng.random_range(0..self.faults.life_ms());
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
            (self.faults.resumes, Step::Snapshot),
            (self.faults.older_destinations, Step::Copy),
            (self.faults.full, Step::Full),
            (self.faults.rots, Step::Rot),
            (self.faults.origin_wipes, Step::OriginWipe),
            (self.faults.clock_jumps, Step::ClockJump),
        ] {
            for _ in 0..count {
                let ms = self.rng.random_range(0..self.faults.life_ms());
                self.at(ms, step.clone());
            }
        }
        self.start_members();
        self.leave()?;
        let life = self.faults.life_ms();
        self.at(0, Step::Tick);
        let mut healed = false;
        while let Some(((at, _), step)) = self.steps.pop_first() {
            self.now = at;
            if at > life + 1_000 && !healed {
                healed = true;
                self.heal()?;
            }
            if at > life + QUIET_MS {
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
        self.clocks.iter_mut().for_each(clocks::Clock::set_right);
        self.blocked.clear();
        self.all_members_come();
        for node in 0..self.nodes.len() {
            self.set_room(node, true)?;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].core.is_none() {
                self.start(node)?;
            }
        }
        self.let_all_go()?;
        self.tell_reachability()
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Publish => self.publish(),
            Step::Arrive { from, to, packet } => self.arrive(from, to, packet),
            Step::Commit { node, life, ticket } => self.commit(node, life, ticket),
            Step::Offer { node, life, body, out_of_order } => self.offer_late(node, life, body, out_of_order),
            Step::Acknowledge { node, life, body } => self.acknowledge(node, life, body),
            Step::LetGo { node, life, body, to } => self.let_go(node, life, body, to),
            Step::Crash => {
                let node = self.rng.random_range(0..self.nodes.len());
                if node == 0 && self.resumed.is_fresh(self.now) { Ok(()) } else { self.crash(node) }
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
                let image = (self.nodes[0].disk.clone(), self.ended.clone(), self.ended_keys.clone());
                self.image = Some(image).filter(|_| self.nodes[0].core.is_some());
                let ms = self.rng.random_range(200..self.faults.older_by_ms.max(4_000));
                self.at(ms, Step::Rollback);
                Ok(())
            }
            Step::Rollback => self.roll_back(),
            Step::Snapshot => self.snapshot(),
            Step::Stop => self.stop(),
            Step::Resume => self.resume(),
            Step::BeginRun { node, life } => self.begin_run(node, life),
            Step::Copy => self.copy_destination(),
            Step::Older => self.roll_back_destination(),
            Step::Jump { node, life } => self.jump(node, life),
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
            Step::Member => self.member(),
            Step::Choose { node, life, body } => self.choose(node, life, body),
            Step::TakeBack { node, bridge } => self.take_back(node, bridge),
            Step::MemberAcknowledges { node, life, body, id } => {
                self.member_acknowledges(node, life, body, id)
            }
            Step::OriginWipe => self.wipe_origin(),
            Step::ClockJump => self.clock_jumps(),
            Step::ClockBack { node } => {
                self.clocks[node].set_right();
                Ok(())
            }
            Step::Tick => self.tick(),
        }
    }

    fn tick(&mut self) -> Result<(), String> {
        let now = self.instant();
        for node in 0..self.nodes.len() {
            let wall = self.reading(node).for_expiry();
            self.report.doubts += u64::from(wall.is_none());
            let Some(core) = self.nodes[node].core.as_mut() else { continue };
            if let Some(wall) = wall {
                core.expire(wall, now);
            }
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
            self.drain(node)?;
        }
        self.retry_unanswered()?;
        let pause = self.pause();
        self.at(pause, Step::Tick);
        Ok(())
    }

    /// Until somebody has something to do; not much later, but in a world where nothing happens for days.
    fn pause(&self) -> u64 {
        if self.faults.absent_ms == 0 {
            return 20;
        }
        let timeouts = self.nodes.iter().filter_map(|node| node.core.as_ref()?.poll_timeout());
        let next =
            timeouts.min().map_or(60_000, |at| at.saturating_duration_since(self.instant()).as_millis());
        let step = self.steps.first_key_value().map_or(60_000, |((at, _), _)| at - self.now);
        (next as u64).min(step).clamp(20, 60_000)
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
        self.clocks[node].set_right_for_start();
        for effect in self.nodes[node].start(nonce, checkpoint, now) {
            self.effect(node, effect)?;
        }
        self.start_clock(node);
        self.nodes[node].back_at = 0;
        if self.faults.slow_ms > 0 {
            self.nodes[node].back_at = self.now + self.rng.random_range(0..self.faults.slow_ms);
        }
        if self.report.held > 0 {
            // What it had offered before a held number it does not know any more: then that one comes unmarked.
            self.nodes[node].last_offered.clear();
        }
        let epoch = self.nodes[node].disk.epoch;
        let highest = self.epochs.entry(node).or_default();
        if epoch <= *highest {
            let life = self.nodes[node].lives;
            let ms = self.rng.random_range(1..2_000);
            self.at(ms, Step::Jump { node, life });
        } else {
            *highest = epoch;
        }
        if self.nodes[node].group.is_none() {
            let core = self.nodes[node].core.as_mut().ok_or("just started")?;
            let group = core.subscribe("all", "test", vec!["**".into()], "");
            let consumer = core.subscribe("workers", "test", vec!["**".into()], "");
            self.nodes[node].group = Some(group);
            self.nodes[node].consumer = Some(consumer);
        }
        self.drain(node)?;
        self.tell_reachability()
    }

    fn publish(&mut self) -> Result<(), String> {
        let wiping = self.faults.wipes > 0 || self.faults.older_destinations > 0;
        let origins = if wiping { self.nodes.len() - 1 } else { self.nodes.len() };
        let node = self.rng.random_range(0..origins.max(1));
        let rolling = self.faults.rollbacks + self.faults.origin_wipes + self.faults.resumes > 0;
        let mut destinations: Vec<usize> =
            (usize::from(rolling)..self.nodes.len()).filter(|_| self.rng.random_bool(0.6)).collect();
        if wiping && !destinations.contains(&(self.nodes.len() - 1)) {
            destinations.push(self.nodes.len() - 1);
        }
        let id = self.next_id;
        self.next_id += 1;
        let life = if self.rng.random_range(0..100) < self.faults.expiries { self.life() } else { 0 };
        let (dies, expires) = self.ends_of(node, life);
        let producer = u128::from(id);
        let grouped = self.faults.groups > 0 && self.rng.random_range(0..100) < self.faults.groups;
        if grouped && self.rng.random_bool(0.5) {
            destinations.clear();
        }
        let published = Published {
            node,
            producer,
            destinations,
            grouped,
            expires,
            dies,
            waits: None,
            acknowledged: false,
            key: String::new(),
        };
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
        let mut event = NewEvent {
            producer: published.producer,
            lane: (id % 3) as u8,
            topic: "t".into(),
            payload: Bytes::copy_from_slice(&id.to_le_bytes()),
            expires: published.expires,
            retain_delivered: self.faults.retain,
            destinations,
            groups: if local { SmallVec::from_slice(&[group]) } else { SmallVec::new() },
            local,
            choices: None,
            publisher: None,
        };
        if published.grouped {
            self.add_group(node, &mut event);
        }
        let unchosen = event.choices.as_ref().is_some_and(|choices| !choices.unchosen.is_empty());
        let wall = self.reading(node).logged();
        let life = self.nodes[node].lives;
        let core = self.nodes[node].core.as_mut().ok_or("publisher's bridge is down")?;
        let (admitted, ticket) = core.accept(vec![event], wall);
        let committed = core.committed();
        let key = admitted[0].key.to_string();
        if let Some(body) = admitted[0].body.filter(|_| unchosen) {
            self.unchosen(node, body);
        }
        if let Some(other) = self.by_key.insert(key.clone(), id)
            && other != id
        {
            // A key that no one was told of may be given again by a later run only, so never.
            return Err(format!("{key} was given to {other} and to {id}"));
        }
        let entry = self.published.get_mut(&id).ok_or("known")?;
        entry.key = key;
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
        self.members_commit(node, life, ticket);
        if let Some(core) = self.nodes[node].core.as_mut() {
            core.on_committed(ticket, now);
        }
        self.drain(node)
    }

    fn node_of(&self, id: &BridgeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).expect("a bridge of this world")
    }

    fn drain(&mut self, node: usize) -> Result<(), String> {
        while let Some(action) = self.nodes[node].core.as_mut().and_then(Core::poll_action) {
            match action {
                Action::Append(append) => {
                    self.nodes[node].disk.append(&append);
                    self.check_expiries(node, &append)?;
                    let ms = self.rng.random_range(1..70);
                    let life = self.nodes[node].lives;
                    self.at(ms, Step::Commit { node, life, ticket: append.ticket });
                }
                Action::Send { body, to, .. } => self.send_frames(node, body, &to)?,
                Action::Message { to, message } => {
                    let to = self.node_of(&to);
                    self.send(node, to, Packet::Message(message.encode()));
                }
                Action::Ready { body, out_of_order } => self.ready(node, body, out_of_order)?,
                Action::Effect(effect) => self.effect(node, effect)?,
                Action::Alarm(Alarm::EgressLost { events, .. }) => self.report.egress_lost += events,
                Action::Alarm(Alarm::OtherDisk { bridge }) => {
                    self.report.other_disks += u64::from(bridge == self.nodes[0].id);
                }
                Action::Alarm(Alarm::OriginBehind { .. } | Alarm::UnknownRun { .. })
                    if self.report.rollbacks + self.report.origin_wipes + self.report.resumes > 0 =>
                {
                    self.report.behind += 1;
                }
                Action::BeginRun if self.report.resumes > 0 => {
                    let life = self.nodes[node].lives;
                    let ms = self.rng.random_range(1..50);
                    self.at(ms, Step::BeginRun { node, life });
                }
                Action::BeginRun => return Err("numbers in doubt that nobody used twice".into()),
                Action::Alarm(alarm) => return Err(format!("{alarm:?}")),
            }
        }
        Ok(())
    }
}
