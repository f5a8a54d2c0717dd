//! Routers, the links between them, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{
    BridgeId, Limits, LinkId, Members, Router, RouterConfig, RouterEvent, Run, ZoneName,
};
use meshbridge_topic::TopicFilter;

use crate::keyring::FakeKeyring;
use crate::rng::Rng;

const CHAOS: Duration = Duration::from_secs(8);
/// Longer than restored interest lingers, than a clone must be silent, and than some digests take after that.
const QUIET: Duration = Duration::from_secs(80);

pub const FILTERS: [&str; 8] = ["a.b", "a.*", "a.**", "**", "c.d", "c.*", "*.**", "**.d"];

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub delivered: u64,
    pub lost: u64,
    pub cuts: u64,
    pub restarts: u64,
    pub clones: u64,
    pub subscriptions: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.cuts += other.cuts;
        self.restarts += other.restarts;
        self.clones += other.clones;
        self.subscriptions += other.subscriptions;
    }
}

pub struct Node {
    pub id: BridgeId,
    pub zone: ZoneName,
    /// `None` while the bridge is down.
    pub router: Option<Router>,
    pub subscriptions: BTreeMap<TopicFilter, u32>,
    epoch_on_disk: u64,
    woken_for: Option<Instant>,
}

pub struct Wire {
    pub ends: [usize; 2],
    pub cost: u32,
    /// The session both ends have, if they have one.
    pub session: Option<LinkId>,
    /// Per direction.
    blocked: [bool; 2],
}

#[derive(Debug)]
enum Event {
    Deliver { wire: usize, to: usize, link: LinkId, payload: Bytes },
    Wake { node: usize },
    Connect { wire: usize },
    Closed { node: usize, link: LinkId },
}

pub struct World {
    pub nodes: Vec<Node>,
    pub wires: Vec<Wire>,
    pub counts: Counts,
    start: Instant,
    now: Instant,
    rng: Rng,
    loss_percent: u64,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    links: u64,
    trace: blake3::Hasher,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time; only differences are used")]
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let size = 3 + rng.pick(4);
        let name = |i: usize| BridgeId::parse(&format!("b{i}")).expect("a name");
        let zone = |i: usize| ZoneName::parse(&format!("z{}", i % 4)).expect("a name");
        let start = Instant::now();
        let nodes = (0..size).map(|i| Node {
            id: name(i),
            zone: zone(i),
            router: None,
            subscriptions: BTreeMap::new(),
            epoch_on_disk: 0,
            woken_for: None,
        });
        let mut wires: Vec<Wire> = Vec::new();
        for b in 1..size {
            for a in 0..b {
                // A tree of random shape, and chords. Few distinct costs, so that ties are common.
                if a == b - 1 || rng.percent(35) {
                    let cost = [10, 10, 20, 30][rng.pick(4)];
                    wires.push(Wire { ends: [a, b], cost, session: None, blocked: [false; 2] });
                }
            }
        }
        let mut world = World {
            nodes: nodes.collect(),
            wires,
            counts: Counts::default(),
            start,
            now: start,
            rng,
            loss_percent: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            links: 0,
            trace: blake3::Hasher::new(),
        };
        (0..size).for_each(|node| world.boot(node, true));
        (0..world.wires.len()).for_each(|wire| world.connect_later(wire));
        world
    }

    pub fn trace(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    /// Faults and churn.
    pub fn chaos(&mut self) {
        self.loss_percent = self.rng.below(30);
        let end = self.now + CHAOS;
        while self.now < end {
            let pause = Duration::from_millis(self.rng.below(400));
            self.run_until(self.now + pause);
            self.fault();
        }
    }

    /// Everything is repaired and left alone.
    pub fn quiet(&mut self) {
        self.loss_percent = 0;
        for node in 0..self.nodes.len() {
            if self.nodes[node].router.is_none() {
                self.boot(node, true);
            }
        }
        for wire in 0..self.wires.len() {
            self.wires[wire].blocked = [false; 2];
            self.connect_later(wire);
        }
        self.run_until(self.now + QUIET);
    }

    fn fault(&mut self) {
        let node = self.rng.pick(self.nodes.len());
        let wire = self.rng.pick(self.wires.len());
        match self.rng.below(100) {
            0..40 => self.subscribe(node),
            40..65 => self.unsubscribe(node),
            65..75 => {
                // Silence, one way or both; found out by hello.
                let both = self.rng.percent(50);
                self.wires[wire].blocked = [true, both];
                self.counts.cuts += 1;
            }
            75..82 => self.wires[wire].blocked = [false; 2],
            82..88 => self.close(wire),
            88..96 if self.nodes[node].router.is_some() => self.crash(node),
            88..96 => {
                let counted = self.rng.percent(85);
                self.boot(node, counted);
            }
            _ => {
                if let Some(router) = &mut self.nodes[node].router {
                    router.resign(self.now);
                    self.drain(node);
                }
            }
        }
    }

    fn subscribe(&mut self, node: usize) {
        let filter = TopicFilter::parse(FILTERS[self.rng.pick(FILTERS.len())]).expect("a filter");
        let now = self.now;
        if let Some(router) = &mut self.nodes[node].router {
            router.subscribe(&filter, now).expect("far below the limits");
            *self.nodes[node].subscriptions.entry(filter).or_default() += 1;
            self.counts.subscriptions += 1;
            self.drain(node);
        }
    }

    fn unsubscribe(&mut self, node: usize) {
        let count = self.nodes[node].subscriptions.len();
        if count == 0 {
            return;
        }
        let chosen = self.rng.pick(count);
        let now = self.now;
        let Node { router: Some(router), subscriptions, .. } = &mut self.nodes[node] else { return };
        let filter = subscriptions.keys().nth(chosen).expect("below the count").clone();
        router.unsubscribe(&filter, now);
        let left = subscriptions.get_mut(&filter).expect("a key");
        *left -= 1;
        if *left == 0 {
            subscriptions.remove(&filter);
        }
        self.drain(node);
    }

    /// Subscribers die with their bridge; half of them come back at once when it boots.
    fn crash(&mut self, node: usize) {
        self.nodes[node].router = None;
        self.nodes[node].woken_for = None;
        for wire in 0..self.wires.len() {
            if self.wires[wire].ends.contains(&node) {
                self.close(wire);
            }
        }
    }

    /// `counted`: the epoch file was there. Without, the disk is a copy: the same epoch under another nonce.
    fn boot(&mut self, node: usize, counted: bool) {
        let state = &mut self.nodes[node];
        if counted {
            state.epoch_on_disk += 1;
        } else {
            self.counts.clones += 1;
        }
        let members: Members = self.nodes.iter().map(|node| (node.id.clone(), node.zone.clone())).collect();
        let state = &mut self.nodes[node];
        let keyring = FakeKeyring { id: state.id.clone(), zone: state.zone.clone() };
        let config = RouterConfig {
            federation: "sim".to_owned(),
            id: state.id.clone(),
            zone: state.zone.clone(),
            run: Run { epoch: state.epoch_on_disk, nonce: self.rng.next() },
            members,
            limits: Limits::default(),
            seed: self.rng.next(),
            policy_digest: [0; 32],
        };
        let mut router = Router::new(config, Arc::new(keyring), self.now);
        router.restore_interest(state.subscriptions.keys().cloned(), self.now);
        let rng = &mut self.rng;
        state.subscriptions.retain(|_, _| rng.percent(50));
        for (filter, count) in &state.subscriptions {
            (0..*count).for_each(|_| router.subscribe(filter, self.now).expect("far below the limits"));
        }
        state.router = Some(router);
        self.counts.restarts += 1;
        self.drain(node);
        for wire in 0..self.wires.len() {
            if self.wires[wire].ends.contains(&node) {
                self.connect_later(wire);
            }
        }
    }

    fn close(&mut self, wire: usize) {
        let Some(link) = self.wires[wire].session.take() else { return };
        for node in self.wires[wire].ends {
            // Each end finds out by itself.
            let delay = self.rng.below(100);
            self.at(delay, Event::Closed { node, link });
        }
        self.connect_later(wire);
    }

    fn connect_later(&mut self, wire: usize) {
        let delay = 200 + self.rng.below(300);
        self.at(delay, Event::Connect { wire });
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + Duration::from_millis(delay_ms), self.sequence), event);
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.on_event(event);
        }
        self.now = end;
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Wake { node } => {
                if self.nodes[node].woken_for.take_if(|at| *at <= now).is_some() {
                    if let Some(router) = &mut self.nodes[node].router {
                        router.handle_timeout(now);
                    }
                    self.drain(node);
                }
            }
            Event::Closed { node, link } => {
                if let Some(router) = &mut self.nodes[node].router {
                    router.handle_link_down(link, now);
                    self.drain(node);
                }
            }
            Event::Connect { wire } => {
                let Wire { ends, cost, session, blocked } = &self.wires[wire];
                let alive = ends.iter().all(|node| self.nodes[*node].router.is_some());
                if session.is_some() || blocked.contains(&true) || !alive {
                    if session.is_none() && alive {
                        self.connect_later(wire);
                    }
                    return;
                }
                let (ends, cost) = (*ends, *cost);
                self.links += 1;
                let link = LinkId(self.links);
                self.wires[wire].session = Some(link);
                for (node, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
                    let other = self.nodes[other].id.clone();
                    let router = self.nodes[node].router.as_mut().expect("alive");
                    router.handle_link_up(link, other, cost, now);
                    self.drain(node);
                }
            }
            Event::Deliver { wire, to, link, payload } => {
                if self.wires[wire].session != Some(link) {
                    return;
                }
                self.counts.delivered += 1;
                self.trace.update(&(now - self.start).as_nanos().to_le_bytes());
                self.trace.update(&[to as u8]);
                self.trace.update(&payload);
                if let Some(router) = &mut self.nodes[to].router {
                    router.handle_message(link, payload, now).expect("nobody breaks the protocol");
                    self.drain(to);
                }
            }
        }
    }

    /// Events first: the epoch is on the disk before anything leaves.
    fn drain(&mut self, node: usize) {
        let mut dead = Vec::new();
        let Node { router: Some(router), epoch_on_disk, .. } = &mut self.nodes[node] else { return };
        while let Some(event) = router.poll_event() {
            match event {
                RouterEvent::EpochRaised(epoch) => *epoch_on_disk = epoch,
                RouterEvent::LinkDead(link) => dead.push(link),
                RouterEvent::Refused { peer, why } => panic!("a true statement of {peer} was refused: {why}"),
                RouterEvent::ForwardingChanged | RouterEvent::CloneDetected { .. } => {}
            }
        }
        loop {
            let Some(transmit) = self.nodes[node].router.as_mut().and_then(Router::poll_transmit) else {
                break;
            };
            self.transmit(node, transmit.link, transmit.payload);
        }
        for link in dead {
            if let Some(wire) = self.wires.iter().position(|wire| wire.session == Some(link)) {
                self.close(wire);
            }
        }
        let timeout = self.nodes[node].router.as_ref().and_then(Router::poll_timeout);
        if let Some(at) = timeout.filter(|at| self.nodes[node].woken_for.is_none_or(|woken| *at < woken)) {
            self.nodes[node].woken_for = Some(at);
            self.sequence += 1;
            self.queue.insert((at.max(self.now), self.sequence), Event::Wake { node });
        }
    }

    fn transmit(&mut self, from: usize, link: LinkId, payload: Bytes) {
        let Some(index) = self.wires.iter().position(|wire| wire.session == Some(link)) else { return };
        let wire = &self.wires[index];
        let direction = usize::from(wire.ends[0] != from);
        let to = wire.ends[1 - direction];
        if wire.blocked[direction] || self.rng.percent(self.loss_percent) {
            self.counts.lost += 1;
            return;
        }
        // Every message takes its own time, so they overtake each other.
        let delay = if self.rng.percent(5) { 300 } else { 1 + self.rng.below(20) };
        self.at(delay, Event::Deliver { wire: index, to, link, payload });
    }
}
