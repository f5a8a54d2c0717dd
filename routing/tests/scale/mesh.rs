//! Many routers and the links between them in virtual time, for size instead of mischief: every message arrives, within the
//! 50 ms that a link takes. What goes wrong here is what changes the topology.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{
    BridgeId, Limits, LinkId, Members, Router, RouterConfig, RouterEvent, Run, ZoneName,
};
use meshbridge_topic::TopicFilter;

use crate::keyring::FakeKeyring;
use crate::rng::Rng;

/// What a message takes, in microseconds: 50 ms at most, and not always the same, so that they overtake each other.
const DELAY_US: [u64; 2] = [45_000, 50_000];
/// Every which bridge asks for its table after each input.
const ASKS: usize = 20;
/// Topics that someone may want.
pub const TOPICS: usize = 32;

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub bridges: usize,
    pub links: usize,
}

pub struct Node {
    pub id: BridgeId,
    pub zone: ZoneName,
    /// `None` while it is down.
    pub router: Option<Router>,
    /// Topics that have a subscriber here.
    pub wants: BTreeSet<usize>,
    pub wires: Vec<usize>,
    epoch: u64,
    woken_for: Option<Instant>,
}

pub struct Wire {
    pub ends: [usize; 2],
    pub cost: u32,
    pub session: Option<LinkId>,
    /// It stays down until somebody says otherwise.
    pub down: bool,
    /// Nothing passes, and nobody is told.
    pub silent: bool,
}

/// What the routers said and did since it was last emptied.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Messages and bytes by kind, with their length prefix.
    pub kinds: [(u64, u64); 10],
    /// Bytes of what is no hello and no digest, by wire.
    pub by_wire: Vec<u64>,
    /// Processor time of an input after which a router had another table, that table included, in nanoseconds.
    pub recomputed_ns: Vec<u64>,
    /// Processor time of all inputs, and how many.
    pub busy_ns: u64,
    pub inputs: u64,
}

#[derive(Debug)]
enum Event {
    Deliver { to: usize, link: LinkId, payload: Bytes },
    Wake { node: usize },
    Closed { node: usize, link: LinkId },
}

struct Entry(Instant, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub struct Mesh {
    pub nodes: Vec<Node>,
    pub wires: Vec<Wire>,
    pub now: Instant,
    pub rng: Rng,
    pub traffic: Traffic,
    /// When a router last had another table.
    pub changed_at: Instant,
    members: Members,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    /// The wire of each session; a session's id is its place.
    sessions: Vec<usize>,
}

pub fn filter(topic: usize) -> TopicFilter {
    TopicFilter::parse(&format!("scale.t{topic}")).expect("a filter")
}

/// Processor time of this thread.
fn processor_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Mesh {
    /// A connected graph: a random tree, and random links up to their number. All is up and has settled.
    pub fn settled(seed: u64, size: Size) -> Mesh {
        let mut mesh = Mesh::new(seed, size);
        (0..size.bridges).for_each(|node| mesh.boot(node));
        mesh.run_for(Duration::from_secs(3));
        mesh.traffic = Traffic { by_wire: vec![0; mesh.wires.len()], ..Traffic::default() };
        mesh
    }

    fn new(seed: u64, size: Size) -> Mesh {
        let mut rng = Rng::new(seed);
        let mut pairs: BTreeSet<[usize; 2]> = (1..size.bridges).map(|b| [rng.pick(b), b]).collect();
        while pairs.len() < size.links {
            let (a, b) = (rng.pick(size.bridges), rng.pick(size.bridges));
            // R6: a record lists 64 links at most; no bridge comes near.
            if a != b {
                pairs.insert([a.min(b), a.max(b)]);
            }
        }
        Mesh::over(rng, size.bridges, pairs)
    }

    /// Bridges that are down, and the links they will have.
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time; only differences are used")]
    pub fn over(mut rng: Rng, bridges: usize, pairs: BTreeSet<[usize; 2]>) -> Mesh {
        let start = Instant::now();
        let node = |i: usize| Node {
            id: BridgeId::parse(&format!("b{i:03}")).expect("a name"),
            zone: ZoneName::parse(&format!("z{}", i % 50)).expect("a name"),
            router: None,
            wants: BTreeSet::new(),
            wires: Vec::new(),
            epoch: 0,
            woken_for: None,
        };
        let mut nodes: Vec<Node> = (0..bridges).map(node).collect();
        let wires: Vec<Wire> = pairs
            .into_iter()
            .map(|ends| {
                let cost = [10, 10, 20, 30][rng.pick(4)];
                Wire { ends, cost, session: None, down: false, silent: false }
            })
            .collect();
        for (place, wire) in wires.iter().enumerate() {
            wire.ends.iter().for_each(|end| nodes[*end].wires.push(place));
        }
        for node in &mut nodes {
            node.wants = (0..rng.pick(4)).map(|_| rng.pick(TOPICS)).collect();
        }
        Mesh {
            members: nodes.iter().map(|node| (node.id.clone(), node.zone.clone())).collect(),
            traffic: Traffic { by_wire: vec![0; wires.len()], ..Traffic::default() },
            nodes,
            wires,
            now: start,
            rng,
            changed_at: start,
            queue: BinaryHeap::new(),
            sequence: 0,
            sessions: Vec::new(),
        }
    }

    /// Starts a bridge; its links come up with it.
    pub fn boot(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        state.epoch += 1;
        let keyring = FakeKeyring::new(state.id.clone(), state.zone.clone());
        let config = RouterConfig {
            federation: "scale".to_owned(),
            id: state.id.clone(),
            zone: state.zone.clone(),
            run: Run { epoch: state.epoch, nonce: self.rng.next() },
            members: self.members.clone(),
            limits: Limits::default(),
            seed: self.rng.next(),
            policy_digest: [0; 32],
        };
        let mut router = Router::new(config, Arc::new(keyring), self.now);
        for topic in &state.wants {
            router.subscribe(&filter(*topic), self.now).expect("far below the limits");
        }
        state.router = Some(router);
        state.woken_for = None;
        self.drain(node);
        for wire in self.nodes[node].wires.clone() {
            self.wires[wire].silent = false;
            self.connect(wire);
        }
    }

    /// Ends a bridge. Its neighbours hear of it from the kernel of its machine, or, `silently`, from nobody.
    pub fn kill(&mut self, node: usize, silently: bool) {
        self.nodes[node].router = None;
        for wire in self.nodes[node].wires.clone() {
            match silently {
                true => self.wires[wire].silent = true,
                false => self.close(wire),
            }
        }
    }

    pub fn connect(&mut self, wire: usize) {
        let Wire { ends, cost, session, down, .. } = self.wires[wire];
        if down || session.is_some() || ends.iter().any(|end| self.nodes[*end].router.is_none()) {
            return;
        }
        self.open(wire, ends, cost);
    }

    fn open(&mut self, wire: usize, ends: [usize; 2], cost: u32) {
        let link = LinkId(self.sessions.len() as u64);
        self.sessions.push(wire);
        self.wires[wire].session = Some(link);
        for side in [0, 1] {
            let other = self.nodes[ends[1 - side]].id.clone();
            self.with_router(ends[side], |router, now| router.handle_link_up(link, other, cost, now));
        }
    }

    /// Each end hears of it by itself.
    pub fn close(&mut self, wire: usize) {
        let Some(link) = self.wires[wire].session.take() else { return };
        for node in self.wires[wire].ends {
            let delay = self.rng.below(DELAY_US[1]);
            self.at(delay, Event::Closed { node, link });
        }
    }

    /// The link has another cost: a new session takes the place of the one before (R36).
    pub fn change_cost(&mut self, wire: usize, cost: u32) {
        let Wire { ends, session, .. } = self.wires[wire];
        self.wires[wire].cost = cost;
        let Some(former) = session else { return };
        self.open(wire, ends, cost);
        for node in ends {
            self.at(DELAY_US[1], Event::Closed { node, link: former });
        }
    }

    pub fn subscribe(&mut self, node: usize, topic: usize) {
        self.nodes[node].wants.insert(topic);
        self.with_router(node, |router, now| {
            router.subscribe(&filter(topic), now).expect("far below the limits")
        });
    }

    pub fn unsubscribe(&mut self, node: usize, topic: usize) {
        self.nodes[node].wants.remove(&topic);
        self.with_router(node, |router, now| router.unsubscribe(&filter(topic), now));
    }

    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.queue.peek().is_some_and(|Reverse(entry)| entry.0 <= end) {
            let Some(Reverse(Entry(at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            match event {
                Event::Deliver { to, link, payload } => {
                    let wire = &self.wires[self.sessions[link.0 as usize]];
                    if !wire.silent && wire.session == Some(link) {
                        self.with_router(to, |router, now| {
                            router.handle_message(link, payload, now).expect("nobody breaks the protocol");
                        });
                    }
                }
                Event::Closed { node, link } => {
                    self.with_router(node, |router, now| router.handle_link_down(link, now));
                }
                Event::Wake { node } => {
                    if self.nodes[node].woken_for.take_if(|at| *at <= self.now).is_some() {
                        self.with_router(node, |router, now| router.handle_timeout(now));
                    }
                }
            }
        }
        self.now = end;
    }

    fn with_router(&mut self, node: usize, input: impl FnOnce(&mut Router, Instant)) {
        let Some(router) = &mut self.nodes[node].router else { return };
        let generation = router.forwarding().generation();
        let start = processor_ns();
        input(router, self.now);
        let took = processor_ns() - start;
        self.traffic.inputs += 1;
        self.traffic.busy_ns += took;
        if router.forwarding().generation() != generation {
            self.changed_at = self.now;
            // A table is computed when it is asked for. A few bridges ask after each input, as one does that has nothing
            // else to do; the others when they are judged.
            if node.is_multiple_of(ASKS) {
                router.forwarding().reachable();
                self.traffic.recomputed_ns.push(processor_ns() - start);
            }
        }
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        let Some(router) = &mut self.nodes[node].router else { return };
        let mut dead = Vec::new();
        while let Some(event) = router.poll_event() {
            match event {
                RouterEvent::LinkDead(link) => dead.push(link),
                RouterEvent::ForwardingChanged
                | RouterEvent::InterestChanged(_)
                | RouterEvent::Damped { .. } => {}
                other => panic!("nobody lies here: {other:?} at {}", self.nodes[node].id),
            }
        }
        while let Some(transmit) = self.nodes[node].router.as_mut().and_then(Router::poll_transmit) {
            self.transmit(node, transmit.link, transmit.payload);
        }
        for link in dead {
            let wire = self.sessions[link.0 as usize];
            if self.wires[wire].session == Some(link) {
                self.close(wire);
            }
        }
        let timeout = self.nodes[node].router.as_ref().and_then(Router::poll_timeout);
        if let Some(at) = timeout.filter(|at| self.nodes[node].woken_for.is_none_or(|woken| *at < woken)) {
            self.nodes[node].woken_for = Some(at);
            let delay = at.saturating_duration_since(self.now).as_micros() as u64 + 1;
            self.at(delay, Event::Wake { node });
        }
    }

    fn transmit(&mut self, from: usize, link: LinkId, payload: Bytes) {
        let wire = self.sessions[link.0 as usize];
        let kind = usize::from(payload[0]);
        let bytes = payload.len() as u64 + 4;
        self.traffic.kinds[kind].0 += 1;
        self.traffic.kinds[kind].1 += bytes;
        if ![HELLO, DIGEST].contains(&kind) {
            self.traffic.by_wire[wire] += bytes;
        }
        let ends = self.wires[wire].ends;
        let to = if ends[0] == from { ends[1] } else { ends[0] };
        let delay = DELAY_US[0] + self.rng.below(DELAY_US[1] - DELAY_US[0]);
        self.at(delay, Event::Deliver { to, link, payload });
    }

    fn at(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        let at = self.now + Duration::from_micros(delay_us);
        self.queue.push(Reverse(Entry(at, self.sequence, event)));
    }
}

/// Kinds of control messages, as `wire` numbers them.
pub const HELLO: usize = 2;
pub const LINK_STATE: usize = 3;
pub const DIGEST: usize = 5;
